//! Lists: push and pop at both ends, look, cut and move.

use crate::support::server;
use crate::support::transcript::transcript;
use crate::support::value::Value;

#[test]
fn push_and_pop_at_both_ends() {
    transcript(
        r#"
        > RPUSH l a b c
        :3
        > LPUSH l z y
        :5
        > LRANGE l 0 -1
        ["y" "z" "a" "b" "c"]
        > LLEN l
        :5
        > LLEN nokey
        :0
        > LPOP l
        "y"
        > RPOP l
        "c"
        > LPOP l 2
        ["z" "a"]
        > RPOP l 0
        []
        > LPOP l 0
        []
        > RPOP l 10
        ["b"]
        > EXISTS l
        :0
        > LPOP l
        nil
        > LPOP l 1
        nil*
        > LPOP l 0
        nil*
        > RPOP nokey 3
        nil*
        > LPUSHX l a
        :0
        > RPUSHX l a
        :0
        > RPUSH l 1
        :1
        > LPUSHX l a b
        :3
        > RPUSHX l c
        :4
        > LRANGE l 0 -1
        ["b" "a" "1" "c"]
        > LPOP l -1
        -ERR value is out of range, must be positive
        > LPOP l abc
        -ERR value is out of range, must be positive
        > LPOP l 1 2
        -ERR wrong number of arguments for 'lpop' command
        > RPUSH l
        -ERR wrong number of arguments for 'rpush' command
        > LPUSH
        -ERR wrong number of arguments for 'lpush' command
        "#,
    );
}

#[test]
fn ranges_and_indexes_count_from_either_end() {
    transcript(
        r#"
        > RPUSH l a b c d e
        :5
        > LRANGE l 1 3
        ["b" "c" "d"]
        > LRANGE l -2 -1
        ["d" "e"]
        > LRANGE l -100 100
        ["a" "b" "c" "d" "e"]
        > LRANGE l 3 1
        []
        > LRANGE l 5 10
        []
        > LRANGE nokey 0 -1
        []
        > LRANGE l a 1
        -ERR value is not an integer or out of range
        > LRANGE l 0 1.5
        -ERR value is not an integer or out of range
        > LRANGE l 0 99999999999999999999
        -ERR value is not an integer or out of range
        > LINDEX l 0
        "a"
        > LINDEX l -1
        "e"
        > LINDEX l 5
        nil
        > LINDEX l -6
        nil
        > LINDEX nokey 0
        nil
        > LINDEX l abc
        -ERR value is not an integer or out of range
        > LSET l 0 A
        +OK
        > LSET l -1 E
        +OK
        > LRANGE l 0 -1
        ["A" "b" "c" "d" "E"]
        > LSET l 5 x
        -ERR index out of range
        > LSET l -6 x
        -ERR index out of range
        > LSET nokey 0 x
        -ERR no such key
        > LSET l abc x
        -ERR value is not an integer or out of range
        "#,
    );
}

#[test]
fn elements_are_inserted_removed_and_trimmed() {
    transcript(
        r#"
        > RPUSH l a b a c a b
        :6
        > LINSERT l BEFORE c x
        :7
        > LINSERT l after c y
        :8
        > LINSERT l BEFORE nope z
        :-1
        > LINSERT nokey BEFORE a z
        :0
        > LINSERT l NEAR a z
        -ERR syntax error
        > LRANGE l 0 -1
        ["a" "b" "a" "x" "c" "y" "a" "b"]
        > LREM l 1 a
        :1
        > LREM l -1 b
        :1
        > LREM l 0 a
        :2
        > LREM l 0 nope
        :0
        > LREM nokey 0 a
        :0
        > LREM l x a
        -ERR value is not an integer or out of range
        > LRANGE l 0 -1
        ["b" "x" "c" "y"]
        > LTRIM l 1 2
        +OK
        > LRANGE l 0 -1
        ["x" "c"]
        > LTRIM l 5 10
        +OK
        > EXISTS l
        :0
        > LTRIM nokey 0 1
        +OK
        > RPUSH l a b c
        :3
        > LTRIM l -2 -1
        +OK
        > LRANGE l 0 -1
        ["b" "c"]
        > LTRIM l a b
        -ERR value is not an integer or out of range
        > LREM l 0 b
        :1
        > LREM l 0 c
        :1
        > EXISTS l
        :0
        "#,
    );
}

#[test]
fn elements_move_between_lists() {
    transcript(
        r#"
        > RPUSH a 1 2 3
        :3
        > LMOVE a b LEFT RIGHT
        "1"
        > LMOVE a b right left
        "3"
        > LRANGE b 0 -1
        ["3" "1"]
        > RPOPLPUSH a b
        "2"
        > EXISTS a
        :0
        > LRANGE b 0 -1
        ["2" "3" "1"]
        > LMOVE b b LEFT RIGHT
        "2"
        > RPOPLPUSH b b
        "2"
        > LRANGE b 0 -1
        ["2" "3" "1"]
        > LMOVE nokey b LEFT LEFT
        nil
        > RPOPLPUSH nokey b
        nil
        > LMOVE a b UP DOWN
        -ERR syntax error
        > LMOVE a b LEFT
        -ERR wrong number of arguments for 'lmove' command
        > SET s v
        +OK
        > LMOVE b s LEFT LEFT
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LMOVE s b LEFT LEFT
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > RPOPLPUSH b s
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LRANGE b 0 -1
        ["2" "3" "1"]
        "#,
    );
}

#[test]
fn lists_are_wrong_for_commands_of_other_types() {
    transcript(
        r#"
        > RPUSH l a
        :1
        > GET l
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > INCR l
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SADD l a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HSET l f v
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZADD l 1 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SET s v
        +OK
        > LPUSH s a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > RPUSHX s a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LLEN s
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LINDEX s 0
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LSET s 0 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LREM s 0 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LTRIM s 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LINSERT s BEFORE a b
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LPOP s
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > RPOP s 2
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LRANGE s 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn a_list_keeps_its_order_through_all_its_forms() {
    let server = server::sluice().start();
    let mut client = server.client();
    let mut model: Vec<String> = Vec::new();
    for number in 0..5000 {
        // Every hundredth element is larger than a whole compact node.
        let element = match number % 100 {
            99 => "x".repeat(10_000 + number),
            _ => format!("element{number}"),
        };
        if number % 3 == 0 {
            client.command(&["LPUSH", "l", &element]);
            model.insert(0, element);
        } else {
            client.command(&["RPUSH", "l", &element]);
            model.push(element);
        }
    }
    assert_eq!(client.must("LRANGE l 0 -1").texts(), model);
    for index in [0, 1, 99, 1234, 4999] {
        assert_eq!(
            client.must(&format!("LINDEX l {index}")),
            Value::bulk(&model[index])
        );
    }
    client.must("LTRIM l 1000 3999");
    assert_eq!(client.must("LRANGE l 0 -1").texts(), model[1000..4000]);
    client.must("LSET l 5 changed");
    assert_eq!(client.must("LRANGE l 5 5").texts(), ["changed"]);
}
