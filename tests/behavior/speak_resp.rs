//! Bytes on the port: RESP2, RESP3, inline lines, and everything that is none of them.

use std::time::Duration;

use crate::support::client::{Broken, Client, encoded};
use crate::support::server::{self, Server};
use crate::support::transcript::transcript;
use crate::support::value::Value;
use crate::support::wait;

/// Sends raw bytes on a fresh connection; all that comes back until the server closes it.
fn answer_and_end(server: &Server, bytes: &[u8]) -> String {
    let mut client = server.client();
    client.send_bytes(bytes);
    let said = client
        .until_closed()
        .unwrap_or_else(|broken| panic!("{:?}: {broken}", String::from_utf8_lossy(bytes)));
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn an_inline_line_is_a_command() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.send_bytes(b"PING\r\nset  k\t\"a b\\x21\\n\"  \r\nGET k\nECHO 'single \\' quote'\n");
    assert_eq!(client.reply(), Value::Simple("PONG".into()));
    assert_eq!(client.reply(), Value::Simple("OK".into()));
    assert_eq!(client.reply(), Value::bulk("a b!\n"));
    assert_eq!(client.reply(), Value::bulk("single ' quote"));
}

#[test]
fn empty_lines_and_empty_arrays_are_skipped() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.send_bytes(b"\r\n\r\n   \r\n*0\r\n*-1\r\n*-5\r\nPING\r\n");
    assert_eq!(client.reply(), Value::Simple("PONG".into()));
}

#[test]
fn unbalanced_quotes_end_the_connection() {
    let server = server::sluice().start();
    let expected = "-ERR Protocol error: unbalanced quotes in request\r\n";
    assert_eq!(answer_and_end(&server, b"SET k \"open\r\n"), expected);
    assert_eq!(answer_and_end(&server, b"SET k \"a\"b\r\n"), expected);
}

#[test]
fn an_endless_inline_line_ends_the_connection() {
    let server = server::sluice().start();
    let line = vec![b'a'; 70_000];
    assert_eq!(
        answer_and_end(&server, &line),
        "-ERR Protocol error: too big inline request\r\n"
    );
}

#[test]
fn malformed_counts_and_lengths_are_named_before_the_connection_ends() {
    let server = server::sluice().start();
    for (bytes, expected) in [
        ("*abc\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*1\r\n$abc\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$-5\r\n", "invalid bulk length"),
        ("*1\r\n$ 1\r\n", "invalid bulk length"),
        ("*1\r\n$+1\r\n", "invalid bulk length"),
        ("*1\r\n$01\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("*1\r\nPING\r\n", "expected '$', got 'P'"),
        ("*2\r\n$4\r\nECHO\r\n*1\r\n", "expected '$', got '*'"),
        ("*1\r\n\r\n", "expected '$', got ' '"),
    ] {
        assert_eq!(
            answer_and_end(&server, bytes.as_bytes()),
            format!("-ERR Protocol error: {expected}\r\n"),
            "after {bytes:?}"
        );
    }
    assert_eq!(server.must("PING").text(), "PONG");
}

#[test]
fn an_endless_count_or_length_line_ends_the_connection() {
    let server = server::sluice().start();
    let mut count = b"*".to_vec();
    count.resize(70_000, b'1');
    assert_eq!(
        answer_and_end(&server, &count),
        "-ERR Protocol error: too big mbulk count string\r\n"
    );
    let mut length = b"*1\r\n$".to_vec();
    length.resize(70_000, b'1');
    assert_eq!(
        answer_and_end(&server, &length),
        "-ERR Protocol error: too big bulk count string\r\n"
    );
}

#[test]
fn what_came_before_garbage_is_answered_first() {
    let server = server::sluice().start();
    assert_eq!(
        answer_and_end(
            &server,
            b"*1\r\n$4\r\nPING\r\n*1\r\n:0\r\n*1\r\n$4\r\nPING\r\n"
        ),
        "+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n"
    );
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let server = server::sluice().start();
    let mut client = server.client();
    for byte in encoded(&["SET", "key", "value with \r\n inside"]) {
        client.send_bytes(&[byte]);
    }
    assert_eq!(client.reply(), Value::Simple("OK".into()));
    for byte in b"GET key\r\n" {
        client.send_bytes(&[*byte]);
    }
    assert_eq!(client.reply(), Value::bulk("value with \r\n inside"));
}

#[test]
fn half_a_request_is_dropped_with_its_connection() {
    let server = server::sluice().start();
    let whole = encoded(&["SET", "half", "1"]);
    for end in 1..whole.len() {
        let mut client = server.client();
        client.send_bytes(&whole[..end]);
        client.stop_sending();
        assert_eq!(client.until_closed().expect("closed in peace"), b"");
    }
    assert_eq!(server.must("EXISTS half").integer(), 0);
}

#[test]
fn slow_clients_hold_back_nobody() {
    let server = server::sluice().start();
    let mut slow: Vec<Client> = (0..100).map(|_| server.client()).collect();
    for client in &mut slow {
        client.send_bytes(b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$1000000\r\nab");
    }
    let mut quick = server.client();
    for number in 0..1000 {
        assert_eq!(
            quick.command(&["SET", "k", &number.to_string()]),
            Value::Simple("OK".into())
        );
    }
    assert_eq!(quick.must("EXISTS slow").integer(), 0);
}

#[test]
fn a_pipeline_of_any_depth_is_answered_in_order() {
    let server = server::sluice().start();
    let mut client = server.client();
    let commands: Vec<Vec<String>> = (0..50_000)
        .map(|number| vec!["ECHO".to_string(), number.to_string()])
        .collect();
    // A thread reads while this one writes: neither side may have to buffer everything.
    let mut bytes = Vec::new();
    for command in &commands {
        bytes.extend_from_slice(&encoded(command));
    }
    client.send_bytes(&bytes);
    for number in 0..50_000 {
        assert_eq!(client.reply(), Value::bulk(number.to_string()));
    }
}

#[test]
fn commands_after_an_error_in_a_pipeline_still_run() {
    let server = server::sluice().start();
    let mut client = server.client();
    let replies = client.pipeline(&[
        vec!["SET", "k", "1"],
        vec!["LPUSH", "k", "x"],
        vec!["NOSUCH"],
        vec!["GET"],
        vec!["INCR", "k"],
    ]);
    assert!(replies[1].text().starts_with("WRONGTYPE"));
    assert!(replies[2].text().starts_with("ERR unknown command"));
    assert!(replies[3].text().starts_with("ERR wrong number"));
    assert_eq!(replies[4], Value::Integer(2));
}

#[test]
fn a_large_bulk_comes_back_whole() {
    let server = server::sluice().start();
    let mut client = server.client();
    for size in [16_384, 32_768, 65_536, 1_000_003, 20_000_000] {
        let value: Vec<u8> = (0..size).map(|place: u32| (place % 251) as u8).collect();
        client.command(&[b"SET".as_slice(), b"big", &value]);
        assert!(
            client.command(&["GET", "big"]) == Value::Bulk(value),
            "{size} bytes"
        );
    }
    assert_eq!(client.must("STRLEN big").integer(), 20_000_000);
}

#[test]
fn binary_keys_and_values_are_kept_as_they_are() {
    let server = server::sluice().start();
    let mut client = server.client();
    let every: Vec<u8> = (0..=255).collect();
    client.command(&[b"SET".as_slice(), &every, &every]);
    assert_eq!(
        client.command(&[b"GET".as_slice(), &every]),
        Value::Bulk(every)
    );
    client.command(&["SET", "", "empty key"]);
    assert_eq!(client.command(&["GET", ""]), Value::bulk("empty key"));
}

#[test]
fn a_limit_on_the_bulk_length_can_be_set() {
    let server = server::sluice().start();
    server.must("CONFIG SET proto-max-bulk-len 1mb");
    assert_eq!(
        answer_and_end(&server, b"*2\r\n$4\r\nECHO\r\n$1048577\r\n"),
        "-ERR Protocol error: invalid bulk length\r\n"
    );
    let fits = "x".repeat(1 << 20);
    assert_eq!(
        server.client().command(&["ECHO", &fits]),
        Value::bulk(&fits)
    );
}

#[test]
fn counts_are_small_until_a_client_has_authenticated() {
    let server = server::sluice().set("requirepass", "secret").start();
    assert_eq!(
        answer_and_end(&server, b"*11\r\n"),
        "-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
    assert_eq!(
        answer_and_end(&server, b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"),
        "-ERR Protocol error: unauthenticated bulk length\r\n"
    );
    let mut client = server.client();
    client.must("AUTH secret");
    let long = "x".repeat(20_000);
    assert_eq!(client.command(&["ECHO", &long]), Value::bulk(&long));
}

#[test]
fn a_browser_that_posts_is_turned_away() {
    let server = server::sluice().start();
    assert_eq!(
        answer_and_end(&server, b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET evil 1\r\n"),
        ""
    );
    server.await_log("SECURITY ATTACK");
    answer_and_end(&server, b"GET k\r\nHost: 127.0.0.1:6379\r\nSET evil 1\r\n");
    assert_eq!(server.must("EXISTS evil").integer(), 0);
}

#[test]
fn many_connections_come_and_go() {
    let server = server::sluice().start();
    for round in 0..20 {
        let mut clients: Vec<Client> = (0..50).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send_line(&format!("ECHO {round}"));
        }
        for client in &mut clients {
            assert_eq!(client.reply(), Value::bulk(round.to_string()));
        }
    }
    wait::until("the closed connections are forgotten", || {
        server.info_number("connected_clients") <= 2
    });
}

#[test]
fn quit_answers_and_then_closes() {
    let server = server::sluice().start();
    assert_eq!(
        answer_and_end(&server, b"PING\r\nQUIT\r\nPING\r\n"),
        "+PONG\r\n+OK\r\n"
    );
}

#[test]
fn nothing_is_said_that_was_not_asked_for() {
    let server = server::sluice().start();
    assert!(server.client().is_silent_for(Duration::from_millis(100)));
}

#[test]
fn a_half_closed_connection_is_still_answered() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.send_bytes(b"PING\r\n");
    assert_eq!(client.reply(), Value::Simple("PONG".into()));
    client.stop_sending();
    assert!(matches!(client.try_reply(), Err(Broken::Closed)));
}

#[test]
fn ping_and_echo() {
    transcript(
        r#"
        > PING
        +PONG
        > PING "hello there"
        "hello there"
        > PING a b
        -ERR wrong number of arguments for 'ping' command
        > ECHO hi
        "hi"
        > ECHO
        -ERR wrong number of arguments for 'echo' command
        > echo ""
        ""
        > pInG
        +PONG
        "#,
    );
}

#[test]
fn unknown_commands_are_quoted_back() {
    transcript(
        r#"
        > NOSUCH
        -ERR unknown command 'NOSUCH', with args beginning with:
        > nosuch a b c
        -ERR unknown command 'nosuch', with args beginning with: 'a' 'b' 'c'
        > NOSUCH "with space" 'it''s' "\r\n"
        -ERR unknown command 'NOSUCH', with args beginning with: 'with space' 'its' '  '
        > NOSUCH 0123456789012345678901234567890123456789012345678901234567890123456789 0123456789012345678901234567890123456789012345678901234567890123456789 last
        -ERR unknown command 'NOSUCH', with args beginning with: '0123456789012345678901234567890123456789012345678901234567890123456789' '0123456789012345678901234567890123456789012345678901234'
        > 01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789
        -ERR unknown command '01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567', with args beginning with:
        > ""
        -ERR unknown command '', with args beginning with:
        > CONFIG NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP.
        > CONFIG nosuch a b
        -ERR unknown subcommand 'nosuch'. Try CONFIG HELP.
        > CLIENT
        -ERR wrong number of arguments for 'client' command
        > OBJECT BAD k
        -ERR unknown subcommand 'BAD'. Try OBJECT HELP.
        > GET
        -ERR wrong number of arguments for 'get' command
        > GET a b
        -ERR wrong number of arguments for 'get' command
        > CLIENT GETNAME x
        -ERR wrong number of arguments for 'client|getname' command
        > DEBUG
        -ERR wrong number of arguments for 'debug' command
        "#,
    );
}

#[test]
fn hello_switches_the_protocol() {
    transcript(
        r#"
        > HELLO
        ["server" "redis" "version" "..." "proto" :2 "id" :... "mode" "standalone" "role" "master" "modules" []]
        > HELLO 3
        {"server": "redis", "version": "...", "proto": :3, "id": :..., "mode": "standalone", "role": "master", "modules": []}
        > HELLO 2
        ["server" "redis" "version" "..." "proto" :2 "id" :... "mode" "standalone" "role" "master" "modules" []]
        > HELLO 4
        -NOPROTO unsupported protocol version
        > HELLO 1
        -NOPROTO unsupported protocol version
        > HELLO abc
        -ERR Protocol version is not an integer or out of range
        > HELLO 3 SETNAME tester
        {"server": "redis", "version": "...", "proto": :3, "id": :..., "mode": "standalone", "role": "master", "modules": []}
        > CLIENT GETNAME
        "tester"
        > HELLO 2 AUTH default wrong
        ["server" "redis" "version" "..." "proto" :2 "id" :... "mode" "standalone" "role" "master" "modules" []]
        > HELLO 2 AUTH nobody wrong
        -WRONGPASS invalid username-password pair or user is disabled.
        > HELLO 2 SETNAME "bad name"
        -ERR Client names cannot contain spaces, newlines or special characters.
        > HELLO 2 NOSUCH
        -ERR Syntax error in HELLO option 'NOSUCH'
        > HELLO 2 AUTH default
        -ERR Syntax error in HELLO option 'AUTH'
        > HELLO 2 SETNAME
        -ERR Syntax error in HELLO option 'SETNAME'
        "#,
    );
}

#[test]
fn resp3_has_types_of_its_own() {
    transcript(
        r#"
        > HELLO 3
        {...}
        > GET nokey
        _
        > LPOP nokey
        _
        > LPOP nokey 2
        _
        > HSET h f 1
        :1
        > HGETALL h
        {"f": "1"}
        > HGETALL nokey
        {}
        > SADD s 1 2
        :2
        > SMEMBERS s
        ~["1" "2"]
        > SMEMBERS nokey
        ~[]
        > SPOP nokey
        _
        > SPOP nokey 1
        ~[]
        > SRANDMEMBER nokey
        _
        > SRANDMEMBER nokey 2
        []
        > SINTER s s
        ~["1" "2"]
        > ZADD z 1.5 a 2 b
        :2
        > ZSCORE z a
        ,1.5
        > ZSCORE z nope
        _
        > ZMSCORE z a nope
        [,1.5 _]
        > ZRANGE z 0 -1 WITHSCORES
        [["a" ,1.5] ["b" ,2]]
        > ZRANGE z 0 -1
        ["a" "b"]
        > ZPOPMIN z
        ["a" ,1.5]
        > ZPOPMAX z 5
        [["b" ,2]]
        > ZPOPMIN nokey
        []
        > ZADD z INCR 1 q
        ,1
        > ZADD z NX INCR 1 q
        _
        > ZINCRBY z 0.1 q
        ,1.1000000000000001
        > ZRANK z nope
        _
        > INCRBYFLOAT f 1.5
        "1.5"
        > HINCRBYFLOAT h g 2.5
        "2.5"
        > HRANDFIELD h 1 WITHVALUES
        [[...]]
        > HMGET h f nope
        ["1" _]
        > MGET nokey
        [_]
        > CONFIG GET port
        {"port": "..."}
        > OBJECT ENCODING nokey
        _
        > EXISTS nokey
        :0
        > CLIENT GETNAME
        _
        > MULTI
        +OK
        > GET nokey
        +QUEUED
        > EXEC
        [_]
        > WATCH nokey
        +OK
        > SET nokey 1
        +OK
        > MULTI
        +OK
        > EXEC
        _
        > COMMAND INFO nosuch
        [_]
        "#,
    );
}

#[test]
fn reset_brings_a_connection_back_to_its_beginning() {
    transcript(
        r#"
        > HELLO 3
        {...}
        > SELECT 3
        +OK
        > CLIENT SETNAME me
        +OK
        > MULTI
        +OK
        > SET k v
        +QUEUED
        > RESET
        +RESET
        > CLIENT GETNAME
        nil
        > EXEC
        -ERR EXEC without MULTI
        > GET k
        nil
        > SUBSCRIBE news
        ["subscribe" "news" :1]
        > RESET
        +RESET
        > GET k
        nil
        "#,
    );
}

#[test]
fn select_takes_the_numbers_it_has() {
    transcript(
        r#"
        > SELECT 15
        +OK
        > SELECT 16
        -ERR DB index is out of range
        > SELECT -1
        -ERR DB index is out of range
        > SELECT abc
        -ERR value is not an integer or out of range
        > SELECT 99999999999999
        -ERR value is out of range, value must between -2147483648 and 2147483647
        > SELECT
        -ERR wrong number of arguments for 'select' command
        > SET k v
        +OK
        > SELECT 0
        +OK
        > EXISTS k
        :0
        "#,
    );
}

#[test]
fn a_password_guards_everything_but_the_door() {
    let server = server::sluice().set("requirepass", "secret").start();
    crate::support::transcript::play(
        &server,
        r#"
        > GET k
        -NOAUTH Authentication required.
        > PING
        -NOAUTH Authentication required.
        > NOSUCH
        -ERR unknown command 'NOSUCH', with args beginning with:
        > AUTH
        -ERR wrong number of arguments for 'auth' command
        > AUTH wrong
        -WRONGPASS invalid username-password pair or user is disabled.
        > AUTH default wrong
        -WRONGPASS invalid username-password pair or user is disabled.
        > AUTH nobody secret
        -WRONGPASS invalid username-password pair or user is disabled.
        > AUTH a b c
        -ERR syntax error
        > HELLO 3
        -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time
        > HELLO 3 AUTH default wrong
        -WRONGPASS invalid username-password pair or user is disabled.
        > HELLO 3 AUTH default secret
        {...}
        > GET k
        _
        b> AUTH secret
        +OK
        b> GET k
        nil
        c> AUTH default secret
        +OK
        c> PING
        +PONG
        c> CONFIG SET requirepass ""
        +OK
        d> PING
        +PONG
        d> AUTH any
        -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
        "#,
    );
}
