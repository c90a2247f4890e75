//! What an operator can see: INFO, SLOWLOG, MONITOR, COMMAND, OBJECT, MEMORY, DEBUG.

use std::time::Duration;

use crate::support::server;
use crate::support::transcript::{play, transcript};
use crate::support::value::Value;
use crate::support::wait;

#[test]
fn info_tells_who_and_how_much() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("SET k v");
    client.must("SET e v EX 1000");
    client.must("GET k");
    client.must("GET nokey");
    client.call("LPUSH k v");
    client.must("SELECT 3");
    client.must("RPUSH l a b");
    let info = client.must("INFO everything").text();
    for (field, expected) in [
        ("role", "master"),
        ("tcp_port", &server.port().to_string()),
        ("process_id", &server.pid().to_string()),
        ("redis_mode", "standalone"),
        ("connected_slaves", "0"),
        ("keyspace_hits", "1"),
        ("keyspace_misses", "1"),
        ("total_error_replies", "1"),
        ("errorstat_WRONGTYPE", "count=1"),
        ("loading", "0"),
        ("rdb_changes_since_last_save", "4"),
        ("master_repl_offset", "0"),
        ("aof_enabled", "0"),
        ("cluster_enabled", "0"),
    ] {
        assert_eq!(server::info_field(&info, field), expected, "{field}");
    }
    assert!(server::info_field(&info, "db0").starts_with("keys=2,expires=1,avg_ttl="));
    assert!(server::info_field(&info, "db3").starts_with("keys=1,expires=0,avg_ttl=0"));
    assert!(server::info_field(&info, "cmdstat_get").starts_with("calls=2,usec="));
    assert!(server::info_field(&info, "cmdstat_lpush").contains("failed_calls=1"));
    assert_eq!(server::info_field(&info, "run_id").len(), 40);
    assert_eq!(server::info_field(&info, "master_replid").len(), 40);
    let used: u64 = server::info_field(&info, "used_memory")
        .parse()
        .expect("a number");
    assert!(used > 10_000, "{used}");
    wait::until("the resident memory was measured", || {
        server.info_number("used_memory_rss") > used as i64 / 4
    });
}

#[test]
fn info_has_sections() {
    let server = server::sluice().start();
    let mut client = server.client();
    let replication = client.must("INFO replication").text();
    assert!(
        replication.starts_with("# Replication\r\n"),
        "{replication}"
    );
    assert!(!replication.contains("# Server"));
    let two = client.must("INFO server clients").text();
    assert!(two.contains("# Server") && two.contains("# Clients") && !two.contains("# Stats"));
    let plain = client.must("INFO").text();
    assert!(!plain.contains("# Commandstats"));
    assert!(client.must("INFO all").text().contains("# Commandstats"));
    assert_eq!(client.must("INFO nosuch").text(), "");
    client.must("HELLO 3");
    assert!(matches!(client.must("INFO server"), Value::Verbatim(format, _) if format == "txt"));
}

#[test]
fn used_memory_follows_the_data() {
    let server = server::sluice().start();
    let before = server.info_number("used_memory");
    let value = "x".repeat(1000);
    let mut client = server.client();
    let commands: Vec<Vec<String>> = (0..10_000)
        .map(|number| vec!["SET".into(), format!("k{number}"), value.clone()])
        .collect();
    client.pipeline(&commands);
    let full = server.info_number("used_memory");
    assert!(
        full - before > 10_000_000,
        "10 MB were stored: {before} to {full}"
    );
    client.must("FLUSHALL SYNC");
    wait::until("the memory is given back", || {
        server.info_number("used_memory") < before + 2_000_000
    });
}

#[test]
fn slow_commands_are_remembered() {
    let server = server::sluice()
        .set("slowlog-log-slower-than", "10000")
        .start();
    let mut client = server.client();
    client.must("CLIENT SETNAME sleeper");
    client.must("SLOWLOG RESET");
    client.must("SET k v");
    assert_eq!(client.must("SLOWLOG LEN").integer(), 0);
    client.must("DEBUG SLEEP 0.02");
    assert_eq!(client.must("SLOWLOG LEN").integer(), 1);
    let entry = client.must("SLOWLOG GET").items()[0].items();
    assert!(entry[2].integer() >= 20_000, "microseconds: {}", entry[2]);
    assert_eq!(entry[3].texts(), ["DEBUG", "SLEEP", "0.02"]);
    assert_eq!(
        entry[4].text(),
        format!("127.0.0.1:{}", client.local_port())
    );
    assert_eq!(entry[5].text(), "sleeper");
    client.must("CONFIG SET slowlog-log-slower-than 0");
    let many: Vec<String> = (0..100).map(|number| format!("word{number}")).collect();
    let mut command = vec!["DEL".to_string()];
    command.extend(many);
    client.command(&command);
    let entry = client.must("SLOWLOG GET 1").items()[0].items();
    let words = entry[3].texts();
    assert_eq!(words.len(), 32);
    assert_eq!(words[31], "... (70 more arguments)");
    client.command(&["GET", &"x".repeat(300)]);
    let entry = client.must("SLOWLOG GET 1").items()[0].items();
    assert_eq!(
        entry[3].texts()[1],
        format!("{}... (172 more bytes)", "x".repeat(128))
    );
    client.must("CONFIG SET slowlog-max-len 2");
    client.must("PING");
    assert_eq!(client.must("SLOWLOG LEN").integer(), 2);
    client.must("CONFIG SET slowlog-log-slower-than -1");
    play(
        &server,
        r#"
        > SLOWLOG RESET
        +OK
        > SLOWLOG GET
        []
        > SLOWLOG GET 0
        []
        > SLOWLOG GET -1
        []
        > SLOWLOG GET -2
        -ERR count should be greater than or equal to -1
        > SLOWLOG GET abc
        -ERR count should be greater than or equal to -1
        > SLOWLOG NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try SLOWLOG HELP.
        > SLOWLOG
        -ERR wrong number of arguments for 'slowlog' command
        "#,
    );
}

#[test]
fn a_monitor_sees_every_command() {
    let server = server::sluice().start();
    let mut monitor = server.client();
    assert_eq!(monitor.call("MONITOR").to_string(), "+OK");
    let mut client = server.client();
    client.must("SELECT 3");
    client.command(&[b"SET".as_slice(), b"k", b"with \"quotes\"\r\n\x01\xff"]);
    let from = format!("127.0.0.1:{}", client.local_port());
    let line = monitor.reply().text();
    assert!(
        line.ends_with(&format!(" [3 {from}] \"SELECT\" \"3\"")),
        "{line}"
    );
    let (seconds, micros) = line
        .split(' ')
        .next()
        .and_then(|stamp| stamp.split_once('.'))
        .unwrap_or(("", ""));
    assert!(seconds.len() >= 10 && micros.len() == 6, "{line}");
    let line = monitor.reply().text();
    let expected = format!(" [3 {from}] \"SET\" \"k\" \"with \\\"quotes\\\"\\r\\n\\x01\\xff\"");
    assert!(line.ends_with(&expected), "{line}");
    client.must("MULTI");
    client.must("INCR n");
    client.must("EXEC");
    client.call("AUTH secret");
    client.must("CONFIG GET port");
    client.must("PING last");
    let seen: Vec<String> = (0..5).map(|_| monitor.reply().text()).collect();
    for (line, end) in seen.iter().zip([
        "\"MULTI\"",
        "\"INCR\" \"n\"",
        "\"EXEC\"",
        "\"AUTH\" \"(redacted)\"",
        "\"PING\" \"last\"",
    ]) {
        assert!(line.ends_with(end), "{line} should end with {end}");
    }
    assert!(monitor.call("RESET").text() == "RESET");
    client.must("PING unseen");
    assert!(monitor.is_silent_for(Duration::from_millis(50)));
}

#[test]
fn the_command_table_can_be_asked() {
    transcript(
        r#"
        > COMMAND INFO get
        [["get" :2 [+readonly +fast] :1 :1 :1 [+@read +@string +@fast] ...]]
        > COMMAND INFO nosuch get|x
        [nil nil]
        > COMMAND GETKEYS SET k v
        ["k"]
        > COMMAND GETKEYS MSET a 1 b 2
        ["a" "b"]
        > COMMAND COUNT x
        -ERR wrong number of arguments for 'command|count' command
        > COMMAND NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.
        ~> COMMAND LIST FILTERBY PATTERN incr*
        ["incr" "incrby" "incrbyfloat"]
        > COMMAND LIST FILTERBY PATTERN nosuch*
        []
        > COMMAND LIST FILTERBY ACLCAT nosuch
        []
        > COMMAND LIST FILTERBY MODULE nosuch
        []
        > COMMAND LIST FILTERBY NOSUCH x
        -ERR syntax error
        > COMMAND LIST FILTERBY
        -ERR syntax error
        > COMMAND INFO
        [...]
        "#,
    );
    let server = server::sluice().start();
    let count = server.must("COMMAND COUNT").integer() as usize;
    // Subcommands are listed too.
    assert!(server.must("COMMAND LIST").items().len() > count);
    assert_eq!(server.must("COMMAND").items().len(), count);
    assert_eq!(server.must("COMMAND DOCS").items().len(), 2 * count);
    assert!(count >= 120, "{count} commands");
    let docs = server.must("COMMAND DOCS set get");
    assert_eq!(docs.items().len(), 4);
}

#[test]
fn objects_tell_about_themselves() {
    let server = server::sluice().start();
    play(
        &server,
        r#"
        > SET k 12345
        +OK
        > OBJECT ENCODING k
        "int"
        > OBJECT ENCODING nokey
        nil
        > OBJECT REFCOUNT nokey
        nil
        > OBJECT FREQ k
        -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        > OBJECT FREQ nokey
        nil
        > OBJECT IDLETIME nokey
        nil
        > OBJECT NOSUCH k
        -ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP.
        > OBJECT ENCODING
        -ERR wrong number of arguments for 'object|encoding' command
        > OBJECT
        -ERR wrong number of arguments for 'object' command
        > SET s text
        +OK
        > OBJECT REFCOUNT s
        :1
        > OBJECT IDLETIME s
        :0
        > CONFIG SET maxmemory-policy allkeys-lfu
        +OK
        > OBJECT IDLETIME k
        -ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        > SET f v
        +OK
        > OBJECT FREQ f
        :5
        "#,
    );
}

#[test]
fn memory_of_a_key_is_told() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("SET small v");
    client.command(&["SET", "large", &"x".repeat(100_000)]);
    let small = client.must("MEMORY USAGE small").integer();
    let large = client.must("MEMORY USAGE large").integer();
    assert!((20..200).contains(&small), "{small}");
    assert!((100_000..140_000).contains(&large), "{large}");
    for number in 0..1000 {
        client.must(&format!("HSET h field{number} value{number}"));
    }
    let sampled = client.must("MEMORY USAGE h").integer();
    let whole = client.must("MEMORY USAGE h SAMPLES 0").integer();
    assert!((15_000..300_000).contains(&whole), "{whole}");
    assert!(
        sampled.abs_diff(whole) < 100_000,
        "{sampled} against {whole}"
    );
    play(
        &server,
        r#"
        > MEMORY USAGE nokey
        nil
        > MEMORY USAGE small SAMPLES -1
        -ERR syntax error
        > MEMORY USAGE small SAMPLES x
        -ERR value is not an integer or out of range
        > MEMORY USAGE small NOSUCH 1
        -ERR syntax error
        > MEMORY USAGE
        -ERR wrong number of arguments for 'memory|usage' command
        > MEMORY NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try MEMORY HELP.
        "#,
    );
}

#[test]
fn debug_shows_the_inside() {
    let server = server::sluice().start();
    play(
        &server,
        r#"
        > SET k v
        +OK
        > DEBUG OBJECT k
        +Value at:... refcount:1 encoding:embstr serializedlength:2 lru:... lru_seconds_idle:...
        > DEBUG OBJECT nokey
        -ERR no such key
        > DEBUG DIGEST
        +264ccf65edec66bccfa7cc659414ccca432057d2
        > DEBUG DIGEST-VALUE k
        [+d79ee9fe5d5ad902d7f6620efc3b07b75ddd742f]
        > DEBUG DIGEST-VALUE k nokey
        [+d79ee9fe5d5ad902d7f6620efc3b07b75ddd742f +0000000000000000000000000000000000000000]
        > DEBUG NOSUCH
        -ERR unknown subcommand or wrong number of arguments for 'NOSUCH'. Try DEBUG HELP.
        > DEBUG SLEEP 0
        +OK
        > FLUSHALL
        +OK
        > DEBUG DIGEST
        +0000000000000000000000000000000000000000
        > RPUSH l a b c
        :3
        > SADD s 1 2 3
        :3
        > HSET h f v g w
        :2
        > ZADD z 1 a 2.5 b
        :2
        > SET e v PXAT 4102444800000
        +OK
        > SELECT 3
        +OK
        > SET in3 x
        +OK
        > DEBUG DIGEST
        +ccf7056468b8726a95acf71d8e8e83a89d70b3cf
        > SELECT 0
        +OK
        > DEBUG DIGEST-VALUE l s h z e
        [+8bf72d812571eea9b927f3c11beb0c4165a6ff89 +2a462a3f51a1db89738ebbeef0c47ce1bbc85246 +d127864ed50239662bf61bafc9bda63c17da5b37 +c45c5b051acd64070e5ed1a949939d5145f806c5 +311b17018163335616e089f6b951c82c477335ac]
        > DEBUG RELOAD
        +OK
        > DEBUG DIGEST
        +ccf7056468b8726a95acf71d8e8e83a89d70b3cf
        > DEBUG POPULATE 10
        +OK
        > DBSIZE
        :15
        > GET key:5
        "value:5"
        > DEBUG POPULATE 3 other 20
        +OK
        > STRLEN other:1
        :20
        > DEBUG SET-ACTIVE-EXPIRE 0
        +OK
        > DEBUG SET-ACTIVE-EXPIRE 1
        +OK
        > DEBUG CHANGE-REPL-ID
        +OK
        "#,
    );
    let guarded = server::sluice().set("enable-debug-command", "no").start();
    let refused = guarded.call("DEBUG SLEEP 0").text();
    assert!(
        refused.starts_with("ERR DEBUG command not allowed."),
        "{refused}"
    );
}

#[test]
fn a_digest_does_not_depend_on_order_or_form() {
    let [one, other] = [server::sluice().start(), server::sluice().start()];
    let [mut a, mut b] = [one.client(), other.client()];
    for number in 0..300 {
        a.must(&format!("SADD s m{number}"));
        b.must(&format!("SADD s m{}", 299 - number));
        a.must(&format!("HSET h f{number} {number}"));
        b.must(&format!("HSET h f{} {}", 299 - number, 299 - number));
        a.must(&format!("SET k{number} {number}"));
        b.must(&format!("SET k{} {}", 299 - number, 299 - number));
    }
    b.must("SADD s extra");
    assert_ne!(a.must("DEBUG DIGEST"), b.must("DEBUG DIGEST"));
    b.must("SREM s extra");
    assert_eq!(a.must("DEBUG DIGEST"), b.must("DEBUG DIGEST"));
    b.must("EXPIRE s 1000");
    assert_ne!(a.must("DEBUG DIGEST"), b.must("DEBUG DIGEST"));
}

#[test]
fn the_node_tells_the_time_and_its_role() {
    let server = server::sluice().start();
    let time = server.must("TIME").items();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs() as i64;
    assert!(time[0].integer().abs_diff(now) <= 1);
    assert!((0..1_000_000).contains(&time[1].integer()));
    assert!(server.must("LASTSAVE").integer().abs_diff(now) <= 5);
    play(
        &server,
        r#"
        > ROLE
        ["master" :0 []]
        > ROLE x
        -ERR wrong number of arguments for 'role' command
        > TIME x
        -ERR wrong number of arguments for 'time' command
        > DBSIZE x
        -ERR wrong number of arguments for 'dbsize' command
        > LASTSAVE x
        -ERR wrong number of arguments for 'lastsave' command
        > WAIT 0 0
        :0
        > WAIT 1 10
        :0
        > WAIT x 0
        -ERR value is not an integer or out of range
        > WAIT 0 x
        -ERR timeout is not an integer or out of range
        > WAIT 0 -1
        -ERR timeout is negative
        > WAIT -1 0
        :0
        > REPLICAOF NO
        -ERR wrong number of arguments for 'replicaof' command
        > REPLICAOF host abc
        -ERR Invalid master port
        > REPLICAOF NO ONE
        +OK
        > SLAVEOF NO ONE
        +OK
        > REPLCONF
        +OK
        > REPLCONF listening-port
        -ERR syntax error
        > REPLCONF nosuch x
        -ERR Unrecognized REPLCONF option: nosuch
        > REPLCONF listening-port abc
        -ERR value is not an integer or out of range
        > REPLCONF listening-port 1234
        +OK
        > REPLCONF capa eof capa psync2
        +OK
        > REPLCONF ip-address 1.2.3.4
        +OK
        > PSYNC
        -ERR wrong number of arguments for 'psync' command
        > PSYNC ?
        -ERR wrong number of arguments for 'psync' command
        "#,
    );
}

#[test]
fn what_takes_long_is_on_record() {
    let server = server::sluice().start();
    play(
        &server,
        r#"
        > LATENCY LATEST
        []
        > LATENCY HISTORY command
        []
        > LATENCY GRAPH command
        -ERR No samples available for event 'command'
        > LATENCY RESET
        :0
        > CONFIG SET latency-monitor-threshold 1
        +OK
        "#,
    );
    server.must("DEBUG POPULATE 300000 key 10");
    let latest = server.must("LATENCY LATEST").items();
    let of_command = latest
        .iter()
        .find(|event| event.items()[0].text() == "command");
    let items = of_command.expect("POPULATE takes long").items();
    assert!(items[1].integer() > 1_000_000_000 && items[2].integer() >= 1);
    assert!(items[3].integer() >= items[2].integer());
    let history = server.must("LATENCY HISTORY command").items();
    assert!(history.iter().any(|it| it.items()[0] == items[1]));
    let graph = server.must("LATENCY GRAPH command").text();
    assert!(graph.starts_with("command - high ") && graph.contains('#'));
    let report = server.must("LATENCY DOCTOR").text();
    assert!(report.contains("1. command: "), "{report}");
    let count = server
        .must("LATENCY RESET command nothing command")
        .integer();
    assert_eq!(count, 1);
    server.must("CONFIG SET latency-monitor-threshold 0");
    server.must("DEBUG POPULATE 600000 key 10");
    assert!(server.must("LATENCY HISTORY command").items().is_empty());
}

#[test]
fn calls_are_counted_by_how_long_they_took() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("CONFIG RESETSTAT");
    for _ in 0..5 {
        client.must("GET key");
    }
    let found = client.must("LATENCY HISTOGRAM get nothing set").items();
    assert_eq!((found.len(), found[0].text()), (2, "get".to_string()));
    let histogram = found[1].items();
    assert_eq!(
        (histogram[0].text(), histogram[1].integer()),
        ("calls".to_string(), 5)
    );
    let steps: Vec<i64> = histogram[3].items().iter().map(|it| it.integer()).collect();
    assert_eq!(steps.last(), Some(&5), "{steps:?}");
    let all = client.must("LATENCY HISTOGRAM").items();
    assert!(all.len() >= 6, "get, latency|histogram, config|resetstat");
    client.must("CONFIG SET latency-tracking no");
    client.must("CONFIG RESETSTAT");
    assert!(client.must("LATENCY HISTOGRAM").items().is_empty());
}
