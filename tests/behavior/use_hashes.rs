//! Hashes: fields with values, counters in fields.

use std::collections::BTreeMap;

use crate::support::server;
use crate::support::transcript::transcript;

#[test]
fn fields_are_set_and_read() {
    transcript(
        r#"
        > HSET h a 1 b 2
        :2
        > HSET h a 3 c 4
        :1
        > HGET h a
        "3"
        > HGET h nope
        nil
        > HGET nokey a
        nil
        > HMGET h a nope c
        ["3" nil "4"]
        > HMGET nokey a b
        [nil nil]
        > HMSET h d 5
        +OK
        > HSETNX h d 6
        :0
        > HSETNX h e 6
        :1
        > HLEN h
        :5
        > HLEN nokey
        :0
        > HSTRLEN h a
        :1
        > HSTRLEN h nope
        :0
        > HSTRLEN nokey a
        :0
        > HEXISTS h a
        :1
        > HEXISTS h nope
        :0
        > HEXISTS nokey a
        :0
        > HGETALL h
        ["a" "3" "b" "2" "c" "4" "d" "5" "e" "6"]
        > HKEYS h
        ["a" "b" "c" "d" "e"]
        > HVALS h
        ["3" "2" "4" "5" "6"]
        > HGETALL nokey
        []
        > HKEYS nokey
        []
        > HVALS nokey
        []
        > HDEL h a nope
        :1
        > HDEL h b c d e
        :4
        > EXISTS h
        :0
        > HDEL nokey a
        :0
        > HSET h a
        -ERR wrong number of arguments for 'hset' command
        > HSET h a 1 b
        -ERR wrong number of arguments for 'hset' command
        > HMSET h a
        -ERR wrong number of arguments for 'hmset' command
        > HMSET h a 1 b
        -ERR wrong number of arguments for 'hmset' command
        > HGET h
        -ERR wrong number of arguments for 'hget' command
        "#,
    );
}

#[test]
fn fields_count() {
    transcript(
        r#"
        > HINCRBY h n 5
        :5
        > HINCRBY h n -7
        :-2
        > HINCRBY h n abc
        -ERR value is not an integer or out of range
        > HINCRBY h n 1.5
        -ERR value is not an integer or out of range
        > HSET h text abc
        :1
        > HINCRBY h text 1
        -ERR hash value is not an integer
        > HSET h max 9223372036854775807
        :1
        > HINCRBY h max 1
        -ERR increment or decrement would overflow
        > HSET h min -9223372036854775808
        :1
        > HINCRBY h min -1
        -ERR increment or decrement would overflow
        > HINCRBYFLOAT h f 10.5
        "10.5"
        > HINCRBYFLOAT h f 0.1
        "10.6"
        > HINCRBYFLOAT h f -5
        "5.6"
        > HINCRBYFLOAT h f 5.0e3
        "5005.60000000000000009"
        > HINCRBYFLOAT h f abc
        -ERR value is not a valid float
        > HINCRBYFLOAT h f nan
        -ERR value is not a valid float
        > HINCRBYFLOAT h f inf
        -ERR value is NaN or Infinity
        > HINCRBYFLOAT h text 1
        -ERR hash value is not a float
        > HSET h sp " 1"
        :1
        > HINCRBY h sp 1
        -ERR hash value is not an integer
        > HINCRBYFLOAT h sp 1
        -ERR hash value is not a float
        > HSET h f 3.0
        :0
        > HINCRBYFLOAT h f 0
        "3"
        > HGET h f
        "3"
        "#,
    );
}

#[test]
fn random_fields_are_fields() {
    transcript(
        r#"
        > HSET h a 1
        :1
        > HRANDFIELD h
        "a"
        > HRANDFIELD h 5
        ["a"]
        > HRANDFIELD h -3
        ["a" "a" "a"]
        > HRANDFIELD h 0
        []
        > HRANDFIELD h 2 WITHVALUES
        ["a" "1"]
        > HRANDFIELD h -2 WITHVALUES
        ["a" "1" "a" "1"]
        > HRANDFIELD nokey
        nil
        > HRANDFIELD nokey 2
        []
        > HRANDFIELD h x
        -ERR value is not an integer or out of range
        > HRANDFIELD h 1 NOSUCH
        -ERR syntax error
        > HRANDFIELD h 1 WITHVALUES x
        -ERR syntax error
        > HRANDFIELD h -9223372036854775808
        -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        > HRANDFIELD h -4611686018427387905 WITHVALUES
        -ERR value is out of range
        "#,
    );
}

#[test]
fn a_hash_stays_the_same_through_all_its_forms() {
    let server = server::sluice().start();
    let mut client = server.client();
    let mut model = BTreeMap::new();
    for number in 0..3000 {
        let (field, value) = match number % 50 {
            49 => ("f".repeat(number), "v".repeat(number)),
            _ => (format!("field{}", number % 700), number.to_string()),
        };
        client.command(&["HSET", "h", &field, &value]);
        model.insert(field, value);
        if number % 7 == 0 {
            let gone = format!("field{}", number / 2);
            let there = model.remove(&gone).is_some();
            assert_eq!(
                client.command(&["HDEL", "h", &gone]).integer(),
                i64::from(there)
            );
        }
    }
    let found: BTreeMap<String, String> = client
        .must("HGETALL h")
        .texts()
        .chunks(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    assert!(found == model);
    assert_eq!(client.must("HLEN h").integer(), model.len() as i64);
}

#[test]
fn a_hash_changes_its_encoding_at_its_limits() {
    transcript(
        r#"
        > CONFIG SET hash-max-listpack-entries 3 hash-max-listpack-value 5
        +OK
        > HSET h a 1 b 2 c 3
        :3
        > OBJECT ENCODING h
        "listpack"
        > HSET h d 4
        :1
        > OBJECT ENCODING h
        "hashtable"
        > HSET g a 12345
        :1
        > OBJECT ENCODING g
        "listpack"
        > HSET g a 123456
        :0
        > OBJECT ENCODING g
        "hashtable"
        > HSET f 123456 a
        :1
        > OBJECT ENCODING f
        "hashtable"
        > CONFIG GET hash-max-ziplist-entries
        ["hash-max-ziplist-entries" "3"]
        ~> CONFIG GET hash-max-*-value
        ["5" "5" "hash-max-listpack-value" "hash-max-ziplist-value"]
        "#,
    );
}

#[test]
fn hashes_are_wrong_for_commands_of_other_types() {
    transcript(
        r#"
        > SET k v
        +OK
        > HSET k a 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HSETNX k a 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HGET k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HMGET k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HDEL k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HLEN k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HSTRLEN k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HEXISTS k a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HGETALL k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HKEYS k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HVALS k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HINCRBY k a 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HINCRBYFLOAT k a 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HRANDFIELD k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HSCAN k 0
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HSET h a 1
        :1
        > GET h
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SADD h a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LPUSH h a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZADD h 1 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}
