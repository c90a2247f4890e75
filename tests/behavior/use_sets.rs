//! Sets: membership, random members, and the algebra of several sets.

use std::collections::BTreeSet;

use crate::support::server;
use crate::support::transcript::transcript;

#[test]
fn members_come_and_go() {
    transcript(
        r#"
        > SADD s a b c a
        :3
        > SADD s a
        :0
        > SCARD s
        :3
        > SCARD nokey
        :0
        ~> SMEMBERS s
        ["a" "b" "c"]
        > SMEMBERS nokey
        []
        > SISMEMBER s a
        :1
        > SISMEMBER s x
        :0
        > SISMEMBER nokey a
        :0
        > SMISMEMBER s a x b
        [:1 :0 :1]
        > SMISMEMBER nokey a b
        [:0 :0]
        > SREM s a x
        :1
        > SREM s b c
        :2
        > EXISTS s
        :0
        > SREM nokey a
        :0
        > SADD s
        -ERR wrong number of arguments for 'sadd' command
        > SMISMEMBER s
        -ERR wrong number of arguments for 'smismember' command
        "#,
    );
}

#[test]
fn members_move_between_sets() {
    transcript(
        r#"
        > SADD a 1 2
        :2
        > SADD b 3
        :1
        > SMOVE a b 1
        :1
        > SMOVE a b 9
        :0
        > SMOVE a a 2
        :1
        > SMOVE a a 9
        :0
        > SMOVE nokey b 1
        :0
        > SMOVE a c 2
        :1
        > EXISTS a
        :0
        ~> SMEMBERS b
        ["1" "3"]
        > SMEMBERS c
        ["2"]
        > SET s v
        +OK
        > SMOVE b s 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SMOVE s b 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SMOVE nokey s 1
        :0
        "#,
    );
}

#[test]
fn sets_are_combined() {
    transcript(
        r#"
        > SADD a 1 2 3 4
        :4
        > SADD b 3 4 5
        :3
        > SADD c 4 x
        :2
        ~> SINTER a b
        ["3" "4"]
        ~> SINTER a b c
        ["4"]
        ~> SINTER a nokey
        []
        ~> SUNION a c
        ["1" "2" "3" "4" "x"]
        ~> SUNION nokey nokey2
        []
        ~> SDIFF a b
        ["1" "2"]
        ~> SDIFF a b c
        ["1" "2"]
        ~> SDIFF nokey a
        []
        ~> SDIFF a nokey
        ["1" "2" "3" "4"]
        > SINTERSTORE d a b
        :2
        ~> SMEMBERS d
        ["3" "4"]
        > SUNIONSTORE d a b
        :5
        ~> SMEMBERS d
        ["1" "2" "3" "4" "5"]
        > SDIFFSTORE d a b
        :2
        ~> SMEMBERS d
        ["1" "2"]
        > SINTERSTORE d a nokey
        :0
        > EXISTS d
        :0
        > SUNIONSTORE a a b
        :5
        ~> SMEMBERS a
        ["1" "2" "3" "4" "5"]
        > SET s v
        +OK
        > SINTER a s
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SUNION a s
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SDIFF a s
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SINTERSTORE s a b
        :3
        > TYPE s
        +set
        > SINTERCARD 2 a b
        :3
        > SINTERCARD 2 a b LIMIT 1
        :1
        > SINTERCARD 2 a b LIMIT 0
        :3
        > SINTERCARD 2 a b LIMIT -1
        -ERR LIMIT can't be negative
        > SINTERCARD 0 a
        -ERR numkeys should be greater than 0
        > SINTERCARD x a
        -ERR numkeys should be greater than 0
        > SINTERCARD 3 a b
        -ERR Number of keys can't be greater than number of args
        > SINTERCARD 2 a b LIMIT
        -ERR syntax error
        > SINTERCARD 1 a b
        -ERR syntax error
        > SINTER
        -ERR wrong number of arguments for 'sinter' command
        "#,
    );
}

#[test]
fn random_members_are_members() {
    transcript(
        r#"
        > SADD s 1
        :1
        > SRANDMEMBER s
        "1"
        > SRANDMEMBER s 5
        ["1"]
        > SRANDMEMBER s -3
        ["1" "1" "1"]
        > SRANDMEMBER s 0
        []
        > SRANDMEMBER nokey
        nil
        > SRANDMEMBER nokey 2
        []
        > SRANDMEMBER s x
        -ERR value is not an integer or out of range
        > SRANDMEMBER s -9223372036854775808
        -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        > SRANDMEMBER s 1 2
        -ERR syntax error
        > SPOP s 0
        []
        > SPOP s
        "1"
        > EXISTS s
        :0
        > SPOP s
        nil
        > SPOP s 2
        []
        > SADD s 1
        :1
        > SPOP s -1
        -ERR value is out of range, must be positive
        > SPOP s x
        -ERR value is out of range, must be positive
        > SPOP s 1 2
        -ERR syntax error
        > SPOP s 10
        ["1"]
        > EXISTS s
        :0
        "#,
    );
}

#[test]
fn spop_takes_what_it_answers() {
    let server = server::sluice().start();
    let mut client = server.client();
    let mut model: BTreeSet<String> = (0..1000).map(|number| format!("m{number}")).collect();
    for member in &model {
        client.command(&["SADD", "s", member]);
    }
    while !model.is_empty() {
        for member in client.must("SPOP s 37").texts() {
            assert!(
                model.remove(&member),
                "{member} was popped twice or never there"
            );
        }
        assert_eq!(client.must("SCARD s").integer(), model.len() as i64);
    }
    assert_eq!(client.must("EXISTS s").integer(), 0);
}

#[test]
fn random_members_are_spread_over_the_set() {
    let server = server::sluice().start();
    let mut client = server.client();
    for number in 0..200 {
        client.must(&format!("SADD s member{number}"));
    }
    let distinct: BTreeSet<String> = client
        .must("SRANDMEMBER s -4000")
        .texts()
        .into_iter()
        .collect();
    // Each of 200 is missed by 4000 draws with a chance of e^-20.
    assert_eq!(distinct.len(), 200);
    let sample: BTreeSet<String> = client
        .must("SRANDMEMBER s 150")
        .texts()
        .into_iter()
        .collect();
    assert_eq!(sample.len(), 150);
}

#[test]
fn sets_of_integers_are_compact_until_something_else_comes() {
    transcript(
        r#"
        > SADD s 1 -5 300 70000 9223372036854775807
        :5
        > OBJECT ENCODING s
        "intset"
        > SMEMBERS s
        ["-5" "1" "300" "70000" "9223372036854775807"]
        > SADD s 007
        :1
        > SISMEMBER s 7
        :0
        > SISMEMBER s 007
        :1
        ~> SMEMBERS s
        ["-5" "007" "1" "300" "70000" "9223372036854775807"]
        > SREM s 007
        :1
        > SADD t 9223372036854775808
        :1
        > SISMEMBER t 9223372036854775808
        :1
        "#,
    );
}

#[test]
fn sets_are_wrong_for_commands_of_other_types() {
    transcript(
        r#"
        > SET k v
        +OK
        > SADD k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SREM k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SCARD k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SISMEMBER k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SMISMEMBER k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SMEMBERS k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SPOP k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SPOP k 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SRANDMEMBER k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SRANDMEMBER k 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SSCAN k 0
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SADD s a
        :1
        > GET s
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LPUSH s a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HGET s a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZSCORE s a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}
