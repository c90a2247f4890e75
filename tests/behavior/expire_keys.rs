//! Lifetimes of keys, and the other commands on keys themselves.

use crate::support::server;
use crate::support::transcript::transcript;
use crate::support::wait;

#[test]
fn lifetimes_are_given_and_taken() {
    transcript(
        r#"
        > SET k v
        +OK
        > TTL k
        :-1
        > PTTL k
        :-1
        > EXPIRETIME k
        :-1
        > PEXPIRETIME k
        :-1
        > TTL nokey
        :-2
        > PTTL nokey
        :-2
        > EXPIRETIME nokey
        :-2
        > PEXPIRETIME nokey
        :-2
        > EXPIRE k 100
        :1
        > TTL k
        :100
        > PEXPIRE k 200000
        :1
        > TTL k
        :200
        > EXPIREAT k 4102444800
        :1
        > EXPIRETIME k
        :4102444800
        > PEXPIREAT k 4102444800123
        :1
        > PEXPIRETIME k
        :4102444800123
        > EXPIRETIME k
        :4102444800
        > PERSIST k
        :1
        > PERSIST k
        :0
        > PERSIST nokey
        :0
        > EXPIRE nokey 100
        :0
        > EXPIRE k 0
        :1
        > EXISTS k
        :0
        > SET k v
        +OK
        > EXPIRE k -100
        :1
        > EXISTS k
        :0
        > SET k v
        +OK
        > EXPIREAT k 1
        :1
        > EXISTS k
        :0
        > SET k v
        +OK
        > PEXPIREAT k -5
        :1
        > EXISTS k
        :0
        "#,
    );
}

#[test]
fn lifetimes_are_given_under_conditions() {
    transcript(
        r#"
        > SET k v
        +OK
        > EXPIRE k 100 XX
        :0
        > EXPIRE k 100 GT
        :0
        > EXPIRE k 100 NX
        :1
        > EXPIRE k 200 NX
        :0
        > EXPIRE k 200 GT
        :1
        > EXPIRE k 100 GT
        :0
        > EXPIRE k 300 LT
        :0
        > EXPIRE k 100 LT
        :1
        > EXPIRE k 150 XX
        :1
        > TTL k
        :150
        > PERSIST k
        :1
        > EXPIRE k 100 LT
        :1
        > EXPIRE k 200 XX GT
        :1
        > TTL k
        :200
        > EXPIRE k 100 NX XX
        -ERR NX and XX, GT or LT options at the same time are not compatible
        > EXPIRE k 100 NX GT
        -ERR NX and XX, GT or LT options at the same time are not compatible
        > EXPIRE k 100 GT LT
        -ERR GT and LT options at the same time are not compatible
        > EXPIRE k 100 NOSUCH
        -ERR Unsupported option NOSUCH
        > EXPIRE k 100 NX NOSUCH
        -ERR Unsupported option NOSUCH
        > EXPIRE k -1 GT
        :0
        > EXISTS k
        :1
        > EXPIRE k -1 LT
        :1
        > EXISTS k
        :0
        "#,
    );
}

#[test]
fn impossible_lifetimes_are_refused() {
    transcript(
        r#"
        > SET k v
        +OK
        > EXPIRE k abc
        -ERR value is not an integer or out of range
        > EXPIRE k 1.5
        -ERR value is not an integer or out of range
        > EXPIRE k ""
        -ERR value is not an integer or out of range
        > EXPIRE k 9223372036854775807
        -ERR invalid expire time in 'expire' command
        > EXPIRE k 9223372036854775
        -ERR invalid expire time in 'expire' command
        > EXPIRE k -9223372036854775807
        -ERR invalid expire time in 'expire' command
        > PEXPIRE k 9223372036854775807
        -ERR invalid expire time in 'pexpire' command
        > PEXPIRE k 9223372036854770000
        -ERR invalid expire time in 'pexpire' command
        > EXPIREAT k 9223372036854775807
        -ERR invalid expire time in 'expireat' command
        > EXPIREAT k 9223372036854776
        -ERR invalid expire time in 'expireat' command
        > PEXPIREAT k 9223372036854775808
        -ERR value is not an integer or out of range
        > PEXPIREAT k 9223372036854775807
        :1
        > PEXPIRETIME k
        :9223372036854775807
        > TTL k
        :9223...
        > EXPIRE k
        -ERR wrong number of arguments for 'expire' command
        > EXPIRE nokey abc
        -ERR value is not an integer or out of range
        "#,
    );
}

#[test]
fn writes_keep_or_end_a_lifetime() {
    transcript(
        r#"
        > SET k 1 EX 1000
        +OK
        > INCR k
        :2
        > APPEND k 0
        :2
        > SETRANGE k 0 2
        :2
        > TTL k
        :1000
        > GETSET k 5
        "20"
        > TTL k
        :-1
        > SET k 5 EX 1000
        +OK
        > MSET k 6
        +OK
        > TTL k
        :-1
        > RPUSH l a
        :1
        > EXPIRE l 1000
        :1
        > RPUSH l b
        :2
        > LPOP l
        "a"
        > LSET l 0 c
        +OK
        > TTL l
        :1000
        > RENAME l m
        +OK
        > TTL m
        :1000
        > COPY m n
        :1
        > TTL n
        :1000
        > SADD s 1
        :1
        > EXPIRE s 1000
        :1
        > SUNIONSTORE s s
        :1
        > TTL s
        :-1
        > SET other x
        +OK
        > RENAME other m
        +OK
        > TTL m
        :-1
        "#,
    );
}

#[test]
fn keys_are_renamed() {
    transcript(
        r#"
        > SET a 1
        +OK
        > RENAME a b
        +OK
        > GET b
        "1"
        > EXISTS a
        :0
        > RENAME a b
        -ERR no such key
        > RENAME b b
        +OK
        > RENAMENX b b
        :0
        > RENAMENX b c
        :1
        > SET b 2
        +OK
        > RENAMENX b c
        :0
        > RENAMENX nokey c
        -ERR no such key
        > LPUSH l x
        :1
        > RENAME l c
        +OK
        > TYPE c
        +list
        "#,
    );
}

#[test]
fn keys_are_copied_and_moved() {
    transcript(
        r#"
        > SET a 1
        +OK
        > COPY a b
        :1
        > COPY a b
        :0
        > SET a 2
        +OK
        > COPY a b REPLACE
        :1
        > GET b
        "2"
        > COPY a a
        -ERR source and destination objects are the same
        > COPY nokey b
        :0
        > COPY a b DB 1
        :1
        > COPY a b DB 99
        -ERR DB index is out of range
        > COPY a b DB x
        -ERR value is not an integer or out of range
        > COPY a b NOSUCH
        -ERR syntax error
        > COPY a a DB 1
        :1
        > MOVE a 1
        :0
        > MOVE b 0
        -ERR source and destination objects are the same
        > MOVE b 99
        -ERR DB index is out of range
        > MOVE b x
        -ERR value is not an integer or out of range
        > SET fresh 1
        +OK
        > MOVE fresh 1
        :1
        > EXISTS fresh
        :0
        > MOVE nokey 1
        :0
        > SELECT 1
        +OK
        > GET a
        "2"
        > GET b
        "2"
        > GET fresh
        "1"
        > SWAPDB 0 1
        +OK
        > GET a
        "2"
        > SWAPDB 1 1
        +OK
        > SWAPDB 0 99
        -ERR DB index is out of range
        > SWAPDB x 0
        -ERR invalid first DB index
        > SWAPDB 0 x
        -ERR invalid second DB index
        > DBSIZE
        :2
        > FLUSHDB
        +OK
        > DBSIZE
        :0
        > FLUSHALL
        +OK
        > FLUSHALL ASYNC
        +OK
        > FLUSHALL SYNC
        +OK
        > FLUSHDB ASYNC
        +OK
        > FLUSHDB NOSUCH
        -ERR syntax error
        > FLUSHALL SYNC ASYNC
        -ERR syntax error
        "#,
    );
}

#[test]
fn keys_are_deleted_counted_and_named() {
    transcript(
        r#"
        > MSET a 1 b 2 c 3
        +OK
        > EXISTS a b a nokey
        :3
        > DEL a nokey
        :1
        > UNLINK b b
        :1
        > TOUCH c nokey c
        :2
        > TYPE c
        +string
        > TYPE nokey
        +none
        > RPUSH l 1
        :1
        > TYPE l
        +list
        > SADD s 1
        :1
        > TYPE s
        +set
        > HSET h a 1
        :1
        > TYPE h
        +hash
        > ZADD z 1 a
        :1
        > TYPE z
        +zset
        > DBSIZE
        :5
        > DEL
        -ERR wrong number of arguments for 'del' command
        > EXISTS
        -ERR wrong number of arguments for 'exists' command
        > TYPE
        -ERR wrong number of arguments for 'type' command
        "#,
    );
}

#[test]
fn dumped_values_are_restored() {
    transcript(
        r#"
        > DUMP nokey
        nil
        > RESTORE k 0 ""
        -ERR DUMP payload version or checksum are wrong
        > RESTORE k 0 garbage
        -ERR DUMP payload version or checksum are wrong
        > RESTORE k 0 "\x00\x03abc\x0a\x00\xd4\x8b\xda\xd1\xea\xb9\xac\x4d"
        -ERR DUMP payload version or checksum are wrong
        > SET k v
        +OK
        > RESTORE k 0 garbage
        -BUSYKEY Target key name already exists.
        > RESTORE k -1 x REPLACE
        -ERR Invalid TTL value, must be >= 0
        > RESTORE k abc x REPLACE
        -ERR value is not an integer or out of range
        > RESTORE k 0 x NOSUCH
        -ERR syntax error
        > RESTORE k 0 x IDLETIME -1
        -ERR Invalid IDLETIME value, must be >= 0
        > RESTORE k 0 x FREQ 256
        -ERR Invalid FREQ value, must be >= 0 and <= 255
        > RESTORE k 0 x REPLACE IDLETIME
        -ERR syntax error
        > RESTORE k
        -ERR wrong number of arguments for 'restore' command
        "#,
    );
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("RPUSH l a b 300 c");
    let payload = client.must("DUMP l").bytes();
    let restore = |words: &[&[u8]]| {
        let mut command: Vec<&[u8]> = vec![b"RESTORE", b"copy"];
        command.extend_from_slice(words);
        server.client().command(&command).to_string()
    };
    assert_eq!(restore(&[b"0", &payload]), "+OK");
    assert_eq!(
        restore(&[b"0", &payload]),
        "-BUSYKEY Target key name already exists."
    );
    assert_eq!(restore(&[b"100000", &payload, b"REPLACE"]), "+OK");
    assert!((90..=100).contains(&client.must("TTL copy").integer()));
    assert_eq!(
        restore(&[b"4102444800000", &payload, b"REPLACE", b"ABSTTL"]),
        "+OK"
    );
    assert_eq!(client.must("EXPIRETIME copy").integer(), 4_102_444_800);
    assert_eq!(
        client.must("LRANGE copy 0 -1").texts(),
        ["a", "b", "300", "c"]
    );
    assert_eq!(
        restore(&[b"0", &payload, b"REPLACE", b"IDLETIME", b"1000"]),
        "+OK"
    );
    assert!(client.must("OBJECT IDLETIME copy").integer() >= 999);
    assert_eq!(restore(&[b"1", &payload, b"REPLACE", b"ABSTTL"]), "+OK");
    assert_eq!(client.must("EXISTS copy").integer(), 0);
    for end in 0..payload.len() {
        let cut = restore(&[b"0", &payload[..end], b"REPLACE"]);
        assert_eq!(
            cut, "-ERR DUMP payload version or checksum are wrong",
            "{end} bytes"
        );
        let mut flipped = payload.clone();
        flipped[end] ^= 0x10;
        let flipped = restore(&[b"0", &flipped, b"REPLACE"]);
        assert_eq!(
            flipped, "-ERR DUMP payload version or checksum are wrong",
            "byte {end}"
        );
    }
}

#[test]
fn a_key_is_gone_when_its_time_is_over() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("DEBUG SET-ACTIVE-EXPIRE 0");
    client.must("SET k v PX 20");
    client.must("RPUSH l a");
    client.must("PEXPIRE l 20");
    wait::until("both keys are gone for readers", || {
        client.must("EXISTS k l").integer() == 0
    });
    assert_eq!(client.must("GET k").to_string(), "nil");
    assert_eq!(client.must("TYPE l").text(), "none");
    assert_eq!(client.must("TTL k").integer(), -2);
    assert_eq!(client.must("RPUSH l b").integer(), 1);
    assert_eq!(client.must("TTL l").integer(), -1);
    assert_eq!(server.info_number("expired_keys"), 2);
}

#[test]
fn keys_that_nobody_touches_expire_too() {
    let server = server::sluice().start();
    let mut client = server.client();
    let commands: Vec<Vec<String>> = (0..2000)
        .map(|number| {
            let lifetime = (1 + number % 50).to_string();
            vec![
                "SET".into(),
                format!("k{number}"),
                "v".into(),
                "PX".into(),
                lifetime,
            ]
        })
        .collect();
    client.pipeline(&commands);
    client.must("SET stays v");
    wait::until("the expiry cycle has found all", || {
        client.must("DBSIZE").integer() == 1
    });
    assert_eq!(server.info_number("expired_keys"), 2000);
}
