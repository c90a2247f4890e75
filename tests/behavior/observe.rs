//! What an operator can see: INFO, CLIENT, SLOWLOG, MONITOR, COMMAND, OBJECT, MEMORY, DEBUG.

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
    let resident: u64 = server::info_field(&info, "used_memory_rss")
        .parse()
        .expect("a number");
    assert!(
        used > 10_000 && resident > used / 4,
        "used {used}, resident {resident}"
    );
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
fn clients_are_named_listed_and_described() {
    let server = server::sluice().start();
    play(
        &server,
        r#"
        > CLIENT GETNAME
        nil
        > CLIENT SETNAME worker
        +OK
        > CLIENT GETNAME
        "worker"
        > CLIENT SETNAME "with blank"
        -ERR Client names cannot contain spaces, newlines or special characters.
        > CLIENT SETNAME ""
        +OK
        > CLIENT GETNAME
        nil
        > CLIENT LIST TYPE nosuch
        -ERR Unknown client type 'nosuch'
        > CLIENT LIST ID x
        -ERR Invalid client ID
        > CLIENT LIST ID 0
        ""
        > CLIENT LIST NOSUCH
        -ERR syntax error
        > CLIENT LIST TYPE
        -ERR syntax error
        > CLIENT LIST TYPE master
        ""
        > CLIENT ID x
        -ERR wrong number of arguments for 'client|id' command
        > CLIENT NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.
        > CLIENT NO-EVICT maybe
        -ERR syntax error
        > CLIENT NO-EVICT on
        +OK
        "#,
    );
    let mut one = server.client();
    let mut two = server.client();
    let (first, second) = (
        one.must("CLIENT ID").integer(),
        two.must("CLIENT ID").integer(),
    );
    assert!(second > first);
    two.must("CLIENT SETNAME second");
    two.must("SELECT 5");
    two.must("MULTI");
    two.must("PING");
    let line = one.must(&format!("CLIENT LIST ID {second}")).text();
    for part in [
        &format!("id={second} "),
        &format!(" addr=127.0.0.1:{} ", two.local_port()),
        &format!(" laddr=127.0.0.1:{} ", server.port()),
        " name=second ",
        " flags=x ",
        " db=5 ",
        " sub=0 psub=0 ",
        " multi=1 ",
        " cmd=ping ",
        " user=default ",
        " resp=2",
    ] {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
    assert!(one.must("CLIENT LIST").text().lines().count() >= 2);
    let own = one.must("CLIENT INFO").text();
    assert!(
        own.starts_with(&format!("id={first} ")) && own.contains("cmd=client|info"),
        "{own}"
    );
    let mut subscriber = server.client();
    subscriber.call("SUBSCRIBE a");
    assert!(
        one.must("CLIENT LIST TYPE pubsub")
            .text()
            .contains(" flags=P ")
    );
}

#[test]
fn clients_are_killed_by_every_filter() {
    let server = server::sluice().start();
    let mut operator = server.client();
    let gone = |client: &mut crate::support::client::Client| {
        let said = client.until_closed().expect("killed, so closed");
        assert!(said.is_empty());
    };
    let mut victim = server.client();
    let id = victim.must("CLIENT ID").integer();
    assert_eq!(
        operator.call(&format!("CLIENT KILL ID {id}")).to_string(),
        ":1"
    );
    gone(&mut victim);
    let mut victim = server.client();
    victim.must("PING");
    let address = format!("127.0.0.1:{}", victim.local_port());
    assert_eq!(
        operator.call(&format!("CLIENT KILL {address}")).to_string(),
        "+OK"
    );
    gone(&mut victim);
    assert_eq!(
        operator.call(&format!("CLIENT KILL {address}")).to_string(),
        "-ERR No such client"
    );
    let mut victim = server.client();
    victim.must("PING");
    let address = format!("127.0.0.1:{}", victim.local_port());
    assert_eq!(
        operator
            .call(&format!("CLIENT KILL ADDR {address}"))
            .to_string(),
        ":1"
    );
    gone(&mut victim);
    let mut victim = server.client();
    victim.call("SUBSCRIBE a");
    assert_eq!(operator.call("CLIENT KILL TYPE pubsub").to_string(), ":1");
    assert_eq!(victim.until_closed().expect("closed"), b"");
    let mut victim = server.client();
    victim.must("PING");
    let listening = format!("127.0.0.1:{}", server.port());
    let killed = operator.must(&format!("CLIENT KILL LADDR {listening} SKIPME yes"));
    assert!(killed.integer() >= 1);
    gone(&mut victim);
    let mut victim = server.client();
    victim.must("PING");
    assert!(
        operator
            .must("CLIENT KILL USER default SKIPME yes")
            .integer()
            >= 1
    );
    gone(&mut victim);
    play(
        &server,
        r#"
        > CLIENT KILL ID 999999
        :0
        > CLIENT KILL ID x
        -ERR client-id should be greater than 0
        > CLIENT KILL TYPE nosuch
        -ERR Unknown client type 'nosuch'
        > CLIENT KILL USER nobody
        -ERR No such user 'nobody'
        > CLIENT KILL SKIPME maybe
        -ERR syntax error
        > CLIENT KILL NOSUCH x
        -ERR syntax error
        > CLIENT KILL ID
        -ERR No such client
        > CLIENT KILL 1.2.3.4:5
        -ERR No such client
        > CLIENT KILL TYPE normal ID 999999
        :0
        "#,
    );
    // One's own connection answers before it ends.
    assert!(operator.must("CLIENT KILL TYPE normal SKIPME no").integer() >= 1);
    gone(&mut operator);
}

#[test]
fn clients_are_paused_and_released() {
    let server = server::sluice().start();
    let mut operator = server.client();
    let mut writer = server.client();
    let mut reader = server.client();
    operator.must("CLIENT PAUSE 100000 WRITE");
    writer.send_line("SET k v");
    assert!(writer.is_silent_for(Duration::from_millis(100)));
    assert_eq!(reader.must("GET k").to_string(), "nil");
    operator.must("CLIENT UNPAUSE");
    assert_eq!(writer.reply().to_string(), "+OK");
    // This one holds back whoever would release it, too.
    operator.must("CLIENT PAUSE 200 ALL");
    reader.send_line("GET k");
    assert!(reader.is_silent_for(Duration::from_millis(50)));
    assert_eq!(reader.reply(), Value::bulk("v"));
    operator.must("CLIENT PAUSE 50");
    writer.send_line("SET k w");
    assert_eq!(writer.reply().to_string(), "+OK");
    play(
        &server,
        r#"
        > CLIENT PAUSE abc
        -ERR timeout is not an integer or out of range
        > CLIENT PAUSE -1
        -ERR timeout is negative
        > CLIENT PAUSE 10 NOSUCH
        -ERR CLIENT PAUSE mode must be WRITE or ALL
        > CLIENT PAUSE
        -ERR wrong number of arguments for 'client|pause' command
        > CLIENT UNPAUSE x
        -ERR wrong number of arguments for 'client|unpause' command
        > CLIENT UNPAUSE
        +OK
        "#,
    );
}

#[test]
fn replies_can_be_silenced() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.send_line("CLIENT REPLY OFF");
    client.send_line("SET k 1");
    client.send_line("NOSUCH");
    client.send_line("CLIENT REPLY ON");
    assert_eq!(client.reply().to_string(), "+OK");
    client.send_line("CLIENT REPLY SKIP");
    client.send_line("INCR k");
    client.send_line("GET k");
    assert_eq!(client.reply(), Value::bulk("2"));
    assert_eq!(
        client.call("CLIENT REPLY maybe").to_string(),
        "-ERR syntax error"
    );
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
        [["get" :2 [+readonly +fast] :1 :1 :1 [+@read +@string +@fast] [] [["flags" [+RO +access] "begin_search" ["type" "index" "spec" ["index" :1]] "find_keys" ["type" "range" "spec" ["lastkey" :0 "keystep" :1 "limit" :0]]]] []]]
        > COMMAND INFO nosuch get|x
        [nil nil]
        > COMMAND GETKEYS SET k v
        ["k"]
        > COMMAND GETKEYS MSET a 1 b 2
        ["a" "b"]
        > COMMAND GETKEYS PING
        -ERR wrong number of arguments for 'command|getkeys' command
        > COMMAND GETKEYS NOSUCH
        -ERR wrong number of arguments for 'command|getkeys' command
        > COMMAND GETKEYS GET
        -ERR wrong number of arguments for 'command|getkeys' command
        > COMMAND COUNT x
        -ERR wrong number of arguments for 'command|count' command
        > COMMAND NOSUCH
        -ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.
        > COMMAND LIST FILTERBY PATTERN z*count
        ["zcount" "zlexcount"]
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
