//! CONFIG, the config file and the command line.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::client::Client;
use crate::support::server::{self, Server};
use crate::support::transcript::{play, transcript};

#[test]
fn parameters_are_read_and_set() {
    transcript(
        r#"
        > CONFIG GET maxmemory
        ["maxmemory" "0"]
        > CONFIG SET maxmemory 100mb
        +OK
        > CONFIG GET maxmemory
        ["maxmemory" "104857600"]
        > CONFIG SET maxmemory 1gb
        +OK
        > CONFIG GET MAXMEMORY
        ["MAXMEMORY" "1073741824"]
        > CONFIG SET maxmemory 1g
        +OK
        > CONFIG GET maxmemory
        ["maxmemory" "1000000000"]
        > CONFIG SET maxmemory abc
        -ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value
        > CONFIG SET maxmemory -1
        -ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value
        > CONFIG SET maxmemory 1xb
        -ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value
        > CONFIG SET maxmemory 0
        +OK
        > CONFIG SET save "900 1 300 10"
        +OK
        > CONFIG GET save
        ["save" "900 1 300 10"]
        > CONFIG SET save ""
        +OK
        > CONFIG GET save
        ["save" ""]
        > CONFIG SET save abc
        -ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters
        > CONFIG SET save "900"
        -ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters
        > CONFIG SET save "900 -1"
        -ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters
        > CONFIG SET timeout 10
        +OK
        > CONFIG GET timeout
        ["timeout" "10"]
        > CONFIG SET timeout -1
        -ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 and 2147483647 inclusive
        > CONFIG SET timeout abc
        -ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer
        > CONFIG SET appendonly maybe
        -ERR CONFIG SET failed (possibly related to argument 'appendonly') - argument must be 'yes' or 'no'
        > CONFIG SET replica-read-only no
        +OK
        > CONFIG GET slave-read-only
        ["slave-read-only" "no"]
        > CONFIG SET slave-read-only yes
        +OK
        > CONFIG GET replica-read-only
        ["replica-read-only" "yes"]
        > CONFIG SET maxmemory-policy allkeys-lru
        +OK
        > CONFIG SET maxmemory-policy nosuch
        -ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction
        > CONFIG SET port abc
        -ERR CONFIG SET failed (possibly related to argument 'port') - argument couldn't be parsed into an integer
        > CONFIG SET nosuch 1
        -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
        > CONFIG SET timeout
        -ERR wrong number of arguments for 'config|set' command
        > CONFIG SET
        -ERR wrong number of arguments for 'config|set' command
        > CONFIG GET
        -ERR wrong number of arguments for 'config|get' command
        > CONFIG GET nosuch
        []
        ~> CONFIG GET timeout maxmemory-policy timeout
        ["10" "allkeys-lru" "maxmemory-policy" "timeout"]
        > CONFIG SET databases 5
        -ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config
        > CONFIG SET daemonize yes
        -ERR CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config
        > CONFIG SET timeout 5 timeout 6
        -ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter
        "#,
    );
}

#[test]
fn several_parameters_are_set_together_or_not_at_all() {
    transcript(
        r#"
        > CONFIG SET timeout 11 hz 20
        +OK
        > CONFIG GET timeout
        ["timeout" "11"]
        > CONFIG GET hz
        ["hz" "20"]
        > CONFIG SET timeout 12 maxmemory abc
        -ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value
        > CONFIG GET timeout
        ["timeout" "11"]
        > CONFIG SET timeout 13 nosuch 1
        -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
        > CONFIG GET timeout
        ["timeout" "11"]
        "#,
    );
}

#[test]
fn limits_of_output_buffers_are_set_by_class() {
    transcript(
        r#"
        > CONFIG GET client-output-buffer-limit
        ["client-output-buffer-limit" "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"]
        > CONFIG SET client-output-buffer-limit "normal 1mb 2mb 60"
        +OK
        > CONFIG GET client-output-buffer-limit
        ["client-output-buffer-limit" "normal 1048576 2097152 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60"]
        > CONFIG SET client-output-buffer-limit "replica 10 20 5 pubsub 1 2 3"
        +OK
        > CONFIG GET client-output-buffer-limit
        ["client-output-buffer-limit" "normal 1048576 2097152 60 slave 10 20 5 pubsub 1 2 3"]
        > CONFIG SET client-output-buffer-limit "nosuch 1 2 3"
        -ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Invalid client class specified in buffer limit configuration.
        > CONFIG SET client-output-buffer-limit "normal 1 2"
        -ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Wrong number of arguments in buffer limit configuration.
        > CONFIG SET client-output-buffer-limit "normal a 2 3"
        -ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Error in hard, soft or soft_seconds setting in buffer limit configuration.
        "#,
    );
}

#[test]
fn a_file_is_read_with_its_units_quotes_and_includes() {
    let home = server::fresh_directory();
    fs::write(home.join("more.conf"), "hz 37\nmaxmemory 3mb\n").expect("writable");
    let text = format!(
        "# a remark\n\n  timeout 17  \nsave 900 1\nsave 300 10\ninclude {}\nmaxmemory 2MB\nMaxClients 500\nproto-max-bulk-len 10mb\n\
         requirepass \"with blank \\x41\"\nenable-debug-command yes\n\
         client-output-buffer-limit normal 1 2 3\n",
        home.join("more.conf").display()
    );
    let server = server::sluice().bare().home(&home).conf(&text).start();
    play(
        &server,
        r#"
        > AUTH "with blank A"
        +OK
        > CONFIG GET timeout
        ["timeout" "17"]
        > CONFIG GET hz
        ["hz" "37"]
        > CONFIG GET maxmemory
        ["maxmemory" "2097152"]
        > CONFIG GET maxclients
        ["maxclients" "500"]
        > CONFIG GET proto-max-bulk-len
        ["proto-max-bulk-len" "10485760"]
        > CONFIG GET save
        ["save" "900 1 300 10"]
        "#,
    );
    remove(server, &home);
}

#[test]
fn commands_can_be_renamed_and_taken_away() {
    let server = server::sluice()
        .conf("rename-command KEYS \"\"\nrename-command FLUSHALL wipe\n")
        .start();
    play(
        &server,
        r#"
        > KEYS *
        -ERR unknown command 'KEYS', with args beginning with: '*'
        > FLUSHALL
        -ERR unknown command 'FLUSHALL', with args beginning with:
        > WIPE
        +OK
        "#,
    );
}

fn remove(server: Server, home: &Path) {
    drop(server);
    fs::remove_dir_all(home).expect("ours to remove");
}

#[test]
fn words_on_the_command_line_win_over_the_file() {
    let server = server::sluice()
        .bare()
        .conf("timeout 17\nhz 30\n")
        .set("timeout", "18")
        .start();
    assert_eq!(server.must("CONFIG GET timeout").texts()[1], "18");
    assert_eq!(server.must("CONFIG GET hz").texts()[1], "30");
}

#[test]
fn an_address_is_changed_for_good_or_not_at_all() {
    let server = server::sluice().start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken_port = taken.local_addr().expect("it is bound").port();
    let mut client = server.client();
    let refused = client.call(&format!("CONFIG SET hz 27 port {taken_port}"));
    assert_eq!(
        refused.text(),
        "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs."
    );
    for addresses in ["192.0.2.1", "127.0.0.1 192.0.2.1"] {
        let refused = client.call(&format!("CONFIG SET bind \"{addresses}\""));
        assert_eq!(
            refused.text(),
            "ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses."
        );
    }
    // Nothing has changed, and connections still come in.
    let settings = server.must("CONFIG GET port").texts();
    assert_eq!(settings[1], server.port().to_string());
    assert_eq!(server.must("CONFIG GET bind").texts()[1], "127.0.0.1");
    assert_ne!(server.must("CONFIG GET hz").texts()[1], "27");

    // The old sockets are in the way of some of these.
    for addresses in ["*", "127.0.0.1", "127.0.0.1 -::1"] {
        client.must(&format!("CONFIG SET bind \"{addresses}\""));
        assert_eq!(server.must("CONFIG GET bind").texts()[1], addresses);
    }
    let port = server::free_port();
    client.must(&format!("CONFIG SET port {port}"));
    let mut other = Client::connect(port);
    assert_eq!(other.must("PING").text(), "PONG");
    assert!(Client::try_connect(server.port()).is_err());
    other.must(&format!("CONFIG SET port {}", server.port()));
    server.must("PING");
}

#[test]
fn values_of_several_words_may_come_as_one_word() {
    let server = server::sluice()
        .set_as_one_word("save", "900 1 300 10")
        .set_as_one_word("client-output-buffer-limit", "replica 1 2 3")
        .start();
    assert_eq!(server.must("CONFIG GET save").texts()[1], "900 1 300 10");
    let limits = server.must("CONFIG GET client-output-buffer-limit").texts();
    assert!(limits[1].contains("slave 1 2 3"), "{limits:?}");
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    for (text, line, said) in [
        (
            "timeout 10\nnosuchoption 1\n",
            "nosuchoption 1",
            "Bad directive",
        ),
        ("timeout abc\n", "timeout abc", ""),
        ("timeout\n", "timeout", ""),
        ("maxmemory 1xb\n", "maxmemory 1xb", ""),
        ("maxmemory-policy nosuch\n", "maxmemory-policy nosuch", ""),
        ("requirepass \"open\n", "requirepass", "nbalanced"),
        ("save 1\n", "save 1", ""),
        ("port 99999999\n", "port 99999999", ""),
    ] {
        let ended = server::sluice().bare().conf(text).run_to_end();
        assert!(!ended.status.success(), "{text:?} should be refused");
        assert!(
            ended.log.contains(line) && ended.log.contains(said),
            "{text:?}: the log should show {line:?} and {said:?}: {ended}"
        );
        let number = text
            .lines()
            .position(|found| found.starts_with(line))
            .unwrap_or(0)
            + 1;
        assert!(
            ended.log.contains(&format!("line {number}")),
            "{text:?}: line {number} should be named: {ended}"
        );
    }
}

#[test]
fn a_missing_file_is_refused() {
    let ended = server::sluice()
        .bare()
        .conf("include /nonexistent/sluice.conf\n")
        .run_to_end();
    assert!(!ended.status.success());
    assert!(ended.log.contains("/nonexistent/sluice.conf"), "{ended}");
}

#[test]
fn an_unknown_word_on_the_command_line_is_refused() {
    let ended = server::sluice().set("nosuchoption", "1").run_to_end();
    assert!(!ended.status.success());
    assert!(ended.log.contains("nosuchoption"), "{ended}");
}

#[test]
fn rewrite_keeps_remarks_and_brings_changes() {
    let mut server = server::sluice()
        .bare()
        .conf("# my remark\ntimeout 17\nenable-debug-command yes\nsave 900 1\n\nhz 30 \n")
        .start();
    play(
        &server,
        r#"
        > CONFIG SET timeout 99 maxmemory 5mb save "60 5" requirepass "a b"
        +OK
        > CONFIG REWRITE
        +OK
        "#,
    );
    let text = fs::read_to_string(server.conf_path()).expect("it is there");
    for line in [
        "# my remark",
        "timeout 99",
        "hz 30",
        "save 60 5",
        "maxmemory 5mb",
        "requirepass \"a b\"",
    ] {
        assert!(
            text.lines().any(|found| found.trim() == line),
            "{line:?} should stand in:\n{text}"
        );
    }
    assert!(
        !text.contains("900 1"),
        "the old save point is gone:\n{text}"
    );
    let mut client = server.client();
    client.must("AUTH 'a b'");
    client.send_line("SHUTDOWN NOSAVE");
    server.await_exit();
    server.start_again();
    let mut client = server.client();
    client.must("AUTH 'a b'");
    assert_eq!(client.must("CONFIG GET timeout").texts()[1], "99");
    assert_eq!(client.must("CONFIG GET maxmemory").texts()[1], "5242880");
    assert_eq!(client.must("CONFIG GET save").texts()[1], "60 5");
}

#[test]
fn rewrite_without_a_file_says_so() {
    let server = server::sluice().start();
    assert_eq!(
        server.call("CONFIG REWRITE").text(),
        "ERR The server is running without a config file"
    );
}

#[test]
fn replicaof_is_kept_by_a_rewrite() {
    let mut server = server::sluice()
        .bare()
        .conf("enable-debug-command yes\nsave \"\"\n")
        .start();
    server.must("REPLICAOF 127.0.0.1 1");
    server.must("CONFIG REWRITE");
    server.kill();
    server.start_again();
    assert_eq!(server.info("role"), "slave");
    server.must("REPLICAOF NO ONE");
    server.must("CONFIG REWRITE");
    server.kill();
    server.start_again();
    assert_eq!(server.info("role"), "master");
}

#[test]
fn version_and_help_are_printed() {
    for option in ["--version", "-v", "--help", "-h"] {
        let output = Command::new(server::sluice_binary())
            .arg(option)
            .output()
            .expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let expected = if option.contains('v') { "v=" } else { "Usage" };
        assert!(said.contains(expected), "{option}: {said}");
    }
}

#[test]
fn resetstat_resets_the_counters() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("SET k v");
    client.must("GET k");
    client.call("LPUSH k v");
    client.must("GET nokey");
    client.must("CONFIG RESETSTAT");
    for field in [
        "keyspace_hits",
        "keyspace_misses",
        "expired_keys",
        "total_error_replies",
    ] {
        assert_eq!(server.info_number(field), 0, "{field}");
    }
    let stats = client.must("INFO commandstats").text();
    assert!(!stats.contains("cmdstat_set:"), "{stats}");
    let errors = client.must("INFO errorstats").text();
    assert!(!errors.contains("WRONGTYPE"), "{errors}");
}

#[test]
fn the_working_directory_can_be_changed() {
    let server = server::sluice()
        .set("enable-protected-configs", "yes")
        .start();
    let folder = server.home().join("elsewhere");
    fs::create_dir(&folder).expect("ours");
    server.must(&format!("CONFIG SET dir {}", folder.display()));
    server.must("CONFIG SET dbfilename other.rdb");
    server.must("SAVE");
    assert!(folder.join("other.rdb").exists());
    let refused = server.call("CONFIG SET dir /nonexistent/folder").text();
    assert!(refused.starts_with("ERR CONFIG SET failed"), "{refused}");
    let refused = server.call("CONFIG SET dbfilename a/b").text();
    assert!(refused.starts_with("ERR CONFIG SET failed"), "{refused}");
}
