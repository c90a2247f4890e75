//! What happens where a limit is reached.

use std::time::Duration;

use crate::support::client::{Broken, Client, encoded};
use crate::support::server;
use crate::support::transcript::play;
use crate::support::wait;

#[test]
fn one_client_too_many_is_told_so() {
    let server = server::sluice().set("maxclients", "10").start();
    let mut clients = Vec::new();
    let refused = loop {
        assert!(clients.len() <= 10, "at most ten may come in");
        let mut client = server.client();
        match client.try_command(&["PING"]) {
            Ok(reply) if reply.is_error() => break reply.to_string(),
            Ok(_) => clients.push(client),
            Err(broken) => panic!("{broken}"),
        }
    };
    assert_eq!(refused, "-ERR max number of clients reached");
    assert_eq!(clients.len(), 10);
    assert!(
        clients[0]
            .must("INFO stats")
            .text()
            .contains("rejected_connections:")
    );
    clients.pop();
    wait::until("a place is free", || {
        let mut client = server.client();
        matches!(client.try_command(&["PING"]), Ok(reply) if !reply.is_error())
    });
    clients[0].must("CONFIG SET maxclients 20");
    let mut another = server.client();
    another.must("PING");
}

#[test]
fn a_client_that_does_not_read_is_dropped_at_its_limit() {
    let server = server::sluice()
        .set("client-output-buffer-limit", "normal 2mb 0 0")
        .start();
    server.must(&format!("SET big {}", "x".repeat(1_000_000)));
    let mut lazy = server.client();
    lazy.must("PING");
    lazy.write_patience(Duration::from_secs(5));
    for _ in 0..100 {
        if lazy.try_send_bytes(b"GET big\r\n").is_err() {
            break;
        }
    }
    wait::until("the lazy client is gone", || {
        server.info_number("connected_clients") == 1
    });
    wait::until("the log says why", || {
        server.log().to_lowercase().contains("output buffer limit")
    });
    assert_eq!(server.must("STRLEN big").integer(), 1_000_000);
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped_at_its_limit() {
    let server = server::sluice()
        .set("client-output-buffer-limit", "pubsub 1mb 0 0")
        .start();
    let mut lazy = server.client();
    lazy.call("SUBSCRIBE news");
    let mut publisher = server.client();
    let message = "x".repeat(100_000);
    wait::until("the lazy subscriber is gone", || {
        publisher.command(&["PUBLISH", "news", &message]).integer() == 0
    });
}

#[test]
fn a_soft_limit_counts_seconds() {
    let server = server::sluice()
        .set("client-output-buffer-limit", "pubsub 0 1mb 1")
        .start();
    let mut lazy = server.client();
    lazy.call("SUBSCRIBE news");
    let mut publisher = server.client();
    let message = "x".repeat(100_000);
    for _ in 0..150 {
        publisher.command(&["PUBLISH", "news", &message]);
    }
    wait::until("the lazy subscriber is gone after a second", || {
        publisher.command(&["PUBLISH", "news", "x"]).integer() == 0
    });
}

#[test]
fn a_query_that_grows_without_end_is_cut_off() {
    let server = server::sluice()
        .set("client-query-buffer-limit", "1mb")
        .start();
    let mut client = server.client();
    client.must("PING");
    client.write_patience(Duration::from_secs(5));
    let mut sent = client.try_send_bytes(b"*2\r\n$4\r\nECHO\r\n$100000000\r\n");
    for _ in 0..5000 {
        if sent.is_err() {
            break;
        }
        sent = client.try_send_bytes(&[b'x'; 1000]);
    }
    wait::until("the greedy client is gone", || {
        server.info_number("connected_clients") == 1
    });
    assert_eq!(server.must("PING").text(), "PONG");
}

#[test]
fn an_idle_client_is_dropped_after_its_time() {
    let server = server::sluice().set("timeout", "1").start();
    let mut idle = server.client();
    idle.must("PING");
    let mut subscriber = server.client();
    subscriber.call("SUBSCRIBE news");
    assert_eq!(idle.until_closed().expect("closed by the server"), b"");
    server.must("PUBLISH news still-here");
    assert_eq!(subscriber.reply().texts()[2], "still-here");
}

#[test]
fn writes_are_refused_when_memory_is_full() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("SET k v");
    client.must("CONFIG SET maxmemory 1");
    play(
        &server,
        r#"
        > SET a 1
        -OOM command not allowed when used memory > 'maxmemory'.
        > GET k
        "v"
        > DEL k
        :1
        > LPUSH l 1
        -OOM command not allowed when used memory > 'maxmemory'.
        > LPOP l
        nil
        > MULTI
        +OK
        > SET a 1
        -OOM command not allowed when used memory > 'maxmemory'.
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > CONFIG SET maxmemory 0
        +OK
        > SET a 1
        +OK
        "#,
    );
}

#[test]
fn values_do_not_grow_beyond_the_largest_bulk() {
    let server = server::sluice().set("proto-max-bulk-len", "1mb").start();
    play(
        &server,
        r#"
        > SETRANGE k 1048576 x
        -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        > SETRANGE k 1048575 x
        :1048576
        > APPEND k x
        -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        > STRLEN k
        :1048576
        "#,
    );
}

#[test]
fn writes_need_their_replicas() {
    let server = server::sluice().set("min-replicas-to-write", "1").start();
    play(
        &server,
        r#"
        > SET k v
        -NOREPLICAS Not enough good replicas to write.
        > GET k
        nil
        > CONFIG SET min-replicas-to-write 0
        +OK
        > SET k v
        +OK
        "#,
    );
}

#[test]
fn a_unix_socket_serves_too() {
    let home = server::fresh_directory();
    let path = home.join("socket");
    let server = server::sluice()
        .set("unixsocket", &path.to_string_lossy())
        .set("unixsocketperm", "700")
        .start();
    let mut client = Client::try_connect_unix(&path).expect("it listens");
    client.must("SET k v");
    assert_eq!(server.must("GET k").text(), "v");
    assert!(
        client
            .must("CLIENT INFO")
            .text()
            .contains(&format!("addr={}:0", path.display()))
    );
    drop(server);
    std::fs::remove_dir_all(&home).expect("ours to remove");
}

#[test]
fn ipv6_is_served_where_it_is_there() {
    let server = server::sluice().set("bind", "127.0.0.1 -::1").start();
    server.must("PING");
    if let Ok(mut client) = Client::try_connect_to(("::1", server.port())) {
        client.must("SET k v");
        assert!(client.must("CLIENT INFO").text().contains("addr=[::1]:"));
    }
}

#[test]
fn an_address_that_is_taken_is_refused_with_words() {
    let first = server::sluice().start();
    let ended = server::sluice().port(first.port()).run_to_end();
    assert!(!ended.status.success());
    assert!(ended.log.contains("already in use"), "{ended}");
}

#[test]
fn a_client_that_sends_without_reading_does_not_fill_memory() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.write_patience(Duration::from_millis(300));
    client.must(&format!("SET v {}", "x".repeat(100_000)));
    let before = server.info_number("used_memory");
    let mut bytes = Vec::new();
    for _ in 0..500 {
        bytes.extend_from_slice(b"GET v\r\n");
    }
    // 50 MB of replies, never read: they may wait, but for this client only.
    let sent = client.try_send_bytes(&bytes);
    assert!(matches!(sent, Ok(()) | Err(Broken::TimedOut)));
    let mut other = server.client();
    for _ in 0..100 {
        other.must("GET v");
    }
    drop(client);
    wait::until("the waiting replies are freed", || {
        server.info_number("used_memory") < before + 5_000_000
    });
}

#[test]
fn a_client_that_sends_without_end_keeps_nobody_waiting() {
    const WRITES: usize = 400_000;
    let server = server::sluice().start();
    let mut asking = server.client();
    asking.must("SET n 0");
    let mut flooding = server.client();
    flooding.send_line("CLIENT REPLY OFF");
    let flood = std::thread::spawn(move || {
        let many = encoded(&["INCR", "n"]).repeat(WRITES / 100);
        (0..100).for_each(|_| flooding.send_bytes(&many));
        flooding
    });
    let mut seen_on_the_way = Vec::new();
    wait::until("all is counted", || {
        let count = asking
            .must("GET n")
            .text()
            .parse::<usize>()
            .expect("a number");
        if 0 < count && count < WRITES && seen_on_the_way.last() != Some(&count) {
            seen_on_the_way.push(count);
        }
        count == WRITES
    });
    flood.join().expect("sent");
    assert!(seen_on_the_way.len() >= 3, "{seen_on_the_way:?}");
}
