//! A master and its replicas: the first copy, and staying equal.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::getpeername;
use rustix::net::sockopt::tcp_nodelay;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::support::agree::assert_agree;
use crate::support::load::Load;
use crate::support::proxy::Proxy;
use crate::support::server::{self, Server, Setup};
use crate::support::stream::{Follower, first_line, read_payload};
use crate::support::transcript::play;
use crate::support::value::Value;
use crate::support::wait;

/// A node that does not wait for further replicas before it syncs one.
fn node() -> Setup {
    server::sluice().set("repl-diskless-sync-delay", "0")
}

#[test]
fn a_replica_gets_the_data_and_follows_the_writes() {
    let [master, replica] = [node().start(), node().start()];
    Load::new(1).commands(5000).run(master.port());
    replica.must("SET old data");
    replica.follow(&master);
    assert_eq!(replica.must("EXISTS old").integer(), 0);
    assert_agree(&master, &replica);
    let load = Load::new(2).start(master.port());
    load.await_more(20_000);
    load.stop();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1);
}

#[test]
fn a_replica_syncs_in_every_mode_under_writes() {
    for diskless in ["yes", "no"] {
        for load_mode in ["disabled", "on-empty-db", "swapdb"] {
            let master = node().set("repl-diskless-sync", diskless).start();
            let replica = node().set("repl-diskless-load", load_mode).start();
            let load = Load::new(3).start(master.port());
            load.await_more(2000);
            replica.follow(&master);
            load.await_more(2000);
            load.stop();
            assert_agree(&master, &replica);
        }
    }
}

#[test]
fn both_ends_tell_how_they_stand() {
    let [master, replica] = [node().start(), node().start()];
    master.must("SET k v");
    assert_eq!(replica.info("role"), "master");
    replica.follow(&master);
    assert_agree(&master, &replica);
    assert_eq!(replica.info("rdb_last_load_keys_loaded"), "1");
    let info = replica.must("INFO replication").text();
    for (field, expected) in [
        ("role", "slave"),
        ("master_host", "127.0.0.1"),
        ("master_port", &master.port().to_string()),
        ("master_link_status", "up"),
        ("master_sync_in_progress", "0"),
        ("slave_priority", "100"),
        ("slave_read_only", "1"),
        ("replica_announced", "1"),
        ("connected_slaves", "0"),
        ("master_replid", &master.info("master_replid")),
        ("master_replid2", &"0".repeat(40)),
        ("second_repl_offset", "-1"),
        ("repl_backlog_active", "1"),
    ] {
        assert_eq!(server::info_field(&info, field), expected, "{field}");
    }
    let start = format!("ip=127.0.0.1,port={},state=online,offset=", replica.port());
    wait::until("the master says that it is online", || {
        master.info("slave0").starts_with(&start)
    });
    assert_eq!(master.info("connected_slaves"), "1");
    let role = replica.must("ROLE").items();
    assert_eq!(role[0].text(), "slave");
    assert_eq!(role[1].text(), "127.0.0.1");
    assert_eq!(role[2].integer(), i64::from(master.port()));
    assert_eq!(role[3].text(), "connected");
    wait::until("the master has an acknowledged offset", || {
        let role = master.must("ROLE").items();
        match &role[2] {
            Value::Array(replicas) => replicas
                .first()
                .is_some_and(|replica| replica.items()[2].integer() == role[1].integer()),
            _ => false,
        }
    });
}

#[test]
fn a_replica_refuses_writes_from_clients() {
    let [master, replica] = [node().start(), node().start()];
    replica.follow(&master);
    play(
        &replica,
        r#"
        > SET k v
        -READONLY You can't write against a read only replica.
        > DEL nokey
        -READONLY You can't write against a read only replica.
        > GET k
        nil
        > MULTI
        +OK
        > SET k v
        -READONLY You can't write against a read only replica.
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > WAIT 0 0
        -ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.
        > CONFIG SET replica-read-only no
        +OK
        > SET own v
        +OK
        > GET own
        "v"
        "#,
    );
    assert_eq!(master.must("EXISTS own").integer(), 0);
}

#[test]
fn a_replica_without_its_master_serves_stale_data_or_none() {
    let mut master = node().start();
    let replica = node().start();
    master.must("SET k v");
    replica.follow(&master);
    assert_agree(&master, &replica);
    master.kill();
    wait::until("the link is down", || {
        replica.info("master_link_status") == "down"
    });
    assert_eq!(replica.must("GET k").text(), "v");
    replica.must("CONFIG SET replica-serve-stale-data no");
    let refused = replica.call("GET k").text();
    assert_eq!(
        refused,
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    );
    assert!(replica.info_number("master_link_down_since_seconds") >= 0);
    master.start_again();
    master.must("SET k back");
    wait::until("the link is up again", || {
        replica.try_info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
}

#[test]
fn several_replicas_share_a_sync() {
    let master = server::sluice()
        .set("repl-diskless-sync", "yes")
        .set("repl-diskless-sync-delay", "2")
        .start();
    Load::new(5).commands(5000).run(master.port());
    let replicas: Vec<Server> = (0..3).map(|_| node().start()).collect();
    for replica in &replicas {
        replica.follow_port(master.port());
    }
    for replica in &replicas {
        replica.await_link();
        assert_agree(&master, replica);
    }
    assert_eq!(master.info_number("rdb_saves"), 0, "nothing went to disk");
    assert_eq!(master.info_number("sync_full"), 3);
    assert_eq!(master.info_number("connected_slaves"), 3);
}

#[test]
fn a_password_guards_the_sync_too() {
    let master = node().set("requirepass", "secret").start();
    let replica = node().start();
    let mut client = master.client();
    client.must("AUTH secret");
    client.must("SET k v");
    replica.follow_port(master.port());
    replica.await_log("NOAUTH");
    replica.must("CONFIG SET masterauth wrong");
    replica.await_log("WRONGPASS");
    replica.must("CONFIG SET masterauth secret");
    wait::until("the link is up", || {
        replica.info("master_link_status") == "up"
    });
    assert_eq!(replica.must("GET k").text(), "v");
}

#[test]
fn wait_counts_the_replicas_that_have_it() {
    let master = node().start();
    let replicas: Vec<Server> = (0..2).map(|_| node().start()).collect();
    for replica in &replicas {
        replica.follow(&master);
    }
    let mut client = master.client();
    client.must("SET k v");
    assert_eq!(client.must("WAIT 2 5000").integer(), 2);
    replicas[0].freeze();
    client.must("SET k w");
    assert_eq!(client.must("WAIT 2 200").integer(), 1);
    assert_eq!(client.must("WAIT 1 0").integer(), 1);
    let mut waiting = master.client();
    waiting.must("SET k x");
    waiting.send_line("WAIT 2 0");
    assert!(waiting.is_silent_for(Duration::from_millis(100)));
    replicas[0].thaw();
    assert_eq!(waiting.reply(), Value::Integer(2));
}

#[test]
fn too_few_replicas_stop_the_writes() {
    let master = node()
        .set("min-replicas-to-write", "1")
        .set("min-replicas-max-lag", "2")
        .start();
    let replica = node().start();
    assert!(master.call("SET k v").text().starts_with("NOREPLICAS"));
    replica.follow(&master);
    wait::until("the replica counts", || !master.call("SET k v").is_error());
    assert_eq!(master.info("min_slaves_good_slaves"), "1");
    replica.freeze();
    wait::until("it lags too much", || {
        master.call("SET k v").text().starts_with("NOREPLICAS")
    });
    replica.thaw();
    wait::until("it counts again", || !master.call("SET k v").is_error());
    assert_agree(&master, &replica);
}

#[test]
fn expiry_is_the_masters_business() {
    let [master, replica] = [node().start(), node().start()];
    replica.follow(&master);
    master.must("DEBUG SET-ACTIVE-EXPIRE 0");
    master.must("SET k v PX 50");
    master.must("SET other v PX 50");
    wait::until("both keys have arrived", || {
        replica.must("DBSIZE").integer() == 2
    });
    wait::until("the replica hides what has expired", || {
        replica.must("EXISTS k").integer() == 0 && replica.must("GET k").is_nil()
    });
    assert_eq!(
        replica.must("DBSIZE").integer(),
        2,
        "it waits for the master's DEL"
    );
    assert_eq!(master.must("EXISTS k other").integer(), 0);
    wait::until("the deletions arrive", || {
        replica.must("DBSIZE").integer() == 0
    });
    assert_agree(&master, &replica);
}

#[test]
fn a_writable_replica_expires_what_its_own_clients_have_written() {
    let [master, replica] = [node().start(), node().start()];
    replica.follow(&master);
    replica.must("CONFIG SET replica-read-only no");
    master.must("DEBUG SET-ACTIVE-EXPIRE 0");
    master.must("SET theirs v PX 50");
    wait::until("it has arrived", || replica.must("DBSIZE").integer() == 1);
    for line in [
        "SET own v PX 50",
        "SET renamed v PX 50",
        "RENAME renamed to",
        "SADD set member",
        "PEXPIRE set 50",
        "SET long v EX 1000",
    ] {
        replica.must(line);
    }
    assert!(replica.info_number("slave_expires_tracked_keys") >= 1);
    wait::until("what is its own has gone", || {
        replica.must("DBSIZE").integer() == 2
    });
    wait::until("the master's key is hidden", || {
        replica.must("EXISTS theirs").integer() == 0
    });
    assert_eq!(replica.must("DBSIZE").integer(), 2);
    assert_eq!(replica.info_number("slave_expires_tracked_keys"), 1);
    assert_eq!(replica.must("EXISTS long").integer(), 1);
}

#[test]
fn files_that_only_serve_a_sync_are_removed_where_told() {
    for removed in ["no", "yes"] {
        let disk = || {
            let setup = node().set("repl-diskless-sync", "no");
            setup.set("rdb-del-sync-files", removed)
        };
        let [master, replica, lasting] = [
            disk().start(),
            disk().start(),
            disk().set("save", "3600 100000").start(),
        ];
        Load::new(8).commands(500).run(master.port());
        for replica in [&replica, &lasting] {
            replica.follow(&master);
            assert_agree(&master, replica);
        }
        let has_file = |server: &Server| server.home().join("dump.rdb").exists();
        let expected = removed == "no";
        wait::until("the files are as they should be", || {
            has_file(&master) == expected && has_file(&replica) == expected
        });
        assert!(has_file(&lasting), "where snapshots are wanted, one stays");
    }
}

#[test]
fn a_sync_whose_snapshot_retains_too_much_is_given_up() {
    let master = node()
        .set("rdbcompression", "no")
        .set("snapshot-retained-bytes-max", "500kb")
        .start();
    // More than what waits between the walk and a replica that does not read.
    master.must("DEBUG POPULATE 100000 key 1000");
    let mut mute = Follower::shake_hands(&master);
    mute.send(&["PSYNC", "?", "-1"]);
    assert!(first_line(&mut mute).starts_with("+FULLRESYNC"));
    master.await_log("for SYNC with target");
    let writes: Vec<Vec<String>> = (0..10_000)
        .map(|number| vec!["APPEND".into(), format!("key:{number}"), "more".into()])
        .collect();
    master.client().pipeline(&writes);
    master.await_log("The snapshot for replicas is given up: it retains");
    wait::until("the replica is sent away", || {
        master.info("connected_slaves") == "0"
    });
    let replica = node().start();
    replica.follow(&master);
    assert_agree(&master, &replica);
}

#[test]
fn the_bytes_of_a_snapshot_are_counted_as_sent() {
    for diskless in ["yes", "no"] {
        let master = node().set("repl-diskless-sync", diskless);
        let master = master.set("rdbcompression", "no").start();
        master.must("DEBUG POPULATE 1000 key 1000");
        let replica = node().start();
        replica.follow(&master);
        assert_agree(&master, &replica);
        assert!(master.info_number("total_net_repl_output_bytes") > 1_000_000);
        assert!(master.info_number("total_net_output_bytes") > 1_000_000);
    }
}

/// Whether the master's socket to `replica` sends small packets at once; none if this may not be looked at.
fn sends_at_once(master: &Server) -> Option<bool> {
    let clients = master.must("CLIENT LIST TYPE replica").text();
    let address = clients
        .split(" addr=")
        .nth(1)?
        .split(' ')
        .next()?
        .to_owned();
    let process = Pid::from_raw(master.pid() as i32)?;
    let process = pidfd_open(process, PidfdFlags::empty()).ok()?;
    for number in 0..200 {
        let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
            continue;
        };
        let peer = getpeername(&socket).ok().flatten();
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        if peer.is_some_and(|peer| peer.to_string() == address) {
            return tcp_nodelay(&socket).ok();
        }
    }
    None
}

#[test]
fn small_packets_to_replicas_wait_for_company_where_told() {
    for (disabled, expected) in [("no", true), ("yes", false)] {
        let master = node().set("repl-disable-tcp-nodelay", disabled).start();
        let replica = node().start();
        replica.follow(&master);
        assert_agree(&master, &replica);
        match sends_at_once(&master) {
            Some(found) => assert_eq!(found, expected),
            None => eprintln!("SKIPPED: the sockets of another process may not be looked at here"),
        }
    }
}

#[test]
fn a_replica_that_does_not_read_is_dropped_at_its_limit() {
    let master = node()
        .set("client-output-buffer-limit", "replica 3mb 0 0")
        .set("repl-backlog-size", "16kb")
        .start();
    let replica = node().start();
    replica.follow(&master);
    replica.freeze();
    let value = "x".repeat(100_000);
    let mut client = master.client();
    wait::until("the frozen replica is dropped", || {
        for number in 0..20 {
            client.command(&["SET", &format!("k{number}"), &value]);
        }
        master.info("connected_slaves") == "0"
    });
    replica.thaw();
    wait::until("it has synced anew", || {
        master.info("connected_slaves") == "1" && replica.try_info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 2);
}

#[test]
fn a_promoted_replica_takes_writes() {
    let [master, replica] = [node().start(), node().start()];
    master.must("SET k v");
    replica.follow(&master);
    assert_agree(&master, &replica);
    let id = master.info("master_replid");
    replica.must("REPLICAOF NO ONE");
    assert_eq!(replica.info("role"), "master");
    assert_eq!(
        replica.info("master_replid2"),
        id,
        "the old history is remembered"
    );
    assert_ne!(replica.info("master_replid"), id);
    replica.must("SET k own");
    assert_eq!(master.must("GET k").text(), "v");
    // The other way round: the old master has nothing of its own since, so it can continue.
    master.follow(&replica);
    assert_agree(&replica, &master);
    assert_eq!(master.must("GET k").text(), "own");
    assert_eq!(replica.info_number("sync_full"), 0);
}

#[test]
fn a_sync_that_is_cut_is_tried_again() {
    let master = node().start();
    master.must("DEBUG POPULATE 50000 key 100");
    let proxy = Proxy::to(master.port());
    let replica = node().start();
    replica.must("SET old data");
    for bytes in [200, 5000, 300_000] {
        proxy.cut_after_down(bytes);
        replica.follow_port(proxy.port());
        wait::until("the sync is cut", || proxy.has_cut());
        let kept = replica.call("GET old");
        assert!(
            kept == Value::bulk("data") || kept.is_error() || kept.is_nil(),
            "{kept}"
        );
    }
    wait::until_within(Duration::from_secs(60), "the sync works", || {
        replica.try_info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
}

#[test]
fn half_a_snapshot_never_becomes_the_dataset() {
    for mode in ["disabled", "swapdb"] {
        let master = node().start();
        master.must("DEBUG POPULATE 50000 key 100");
        let proxy = Proxy::to(master.port());
        let replica = node().set("repl-diskless-load", mode).start();
        replica.must("SET old data");
        proxy.cut_after_down(1_000_000);
        replica.follow_port(proxy.port());
        wait::until("it has connected", || proxy.connections() == 1);
        proxy.refuse(true);
        wait::until("the sync is cut", || proxy.has_cut());
        wait::until("the replica answers from the old data", || {
            replica.call("GET old") == Value::bulk("data")
        });
        assert_eq!(replica.must("DBSIZE").integer(), 1, "{mode}");
    }
}

#[test]
fn garbage_from_a_master_leaves_the_old_data_and_the_process_alone() {
    for answers in [
        "+FULLRESYNC 0123456789012345678901234567890123456789 10\r\n$20\r\nREDIS0010 but not so!",
        "+FULLRESYNC 0123456789012345678901234567890123456789 10\r\n$EOF:0123456789012345678901234567890123456789\r\ngarbage",
        "+FULLRESYNC short 10\r\n$0\r\n",
        "+FULLRESYNC 0123456789012345678901234567890123456789 abc\r\n",
        "+FULLRESYNC 0123456789012345678901234567890123456789 10\r\n$-5\r\n",
        "+FULLRESYNC 0123456789012345678901234567890123456789 10\r\n$99999999999999999999\r\n",
        "+FULLRESYNC\r\n",
        "+CONTINUE\r\n",
        "-NOMASTERLINK no\r\n",
        "$5\r\nhello\r\n",
        "\0\0\0\0\r\n",
    ] {
        let mut replica = node()
            .set("repl-diskless-load", "swapdb")
            .set("repl-timeout", "2")
            .start();
        replica.must("SET old data");
        let impostor = Impostor::answering(answers);
        replica.follow_port(impostor.port);
        wait::until("the impostor was asked", || impostor.answered() >= 1);
        wait::holds_for(Duration::from_millis(200), "the replica lives", || {
            replica.is_running()
        });
        replica.must("REPLICAOF NO ONE");
        if !answers.starts_with("+CONTINUE") {
            wait::until(&format!("the old data is served after {answers:?}"), || {
                replica.call("GET old") == Value::bulk("data")
            });
        }
    }
}

/// A master that says yes to the handshake, then something odd.
struct Impostor {
    port: u16,
    answered: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl Impostor {
    fn answering(answer: &'static str) -> Impostor {
        use std::io::{BufRead, BufReader, Write};
        use std::sync::atomic::Ordering;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let answered = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = answered.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut writer = stream.try_clone().expect("a socket can be cloned");
                for line in BufReader::new(stream).lines() {
                    let said = match line {
                        Ok(line) if line == "PING" => "+PONG\r\n",
                        Ok(line) if line == "REPLCONF" => "+OK\r\n",
                        Ok(line) if line == "PSYNC" || line == "SYNC" => {
                            count.fetch_add(1, Ordering::SeqCst);
                            answer
                        }
                        Ok(_) => continue,
                        Err(_) => break,
                    };
                    if writer.write_all(said.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        Impostor { port, answered }
    }

    fn answered(&self) -> u32 {
        self.answered.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn a_hand_made_replica_gets_a_snapshot_and_the_stream() {
    for diskless in ["yes", "no"] {
        let master = node().set("repl-diskless-sync", diskless).start();
        master.must("SET k v");
        let mut follower = Follower::attach(&master);
        assert_eq!(follower.was_diskless, diskless == "yes");
        assert!(follower.payload.starts_with(b"REDIS00"));
        master.must("SET k w");
        master.must("INCR n");
        let said: Vec<Vec<Vec<u8>>> = (0..3).map(|_| follower.next()).collect();
        let said: Vec<String> = said
            .iter()
            .map(|words| crate::support::value::typed(words))
            .collect();
        assert_eq!(said, ["SELECT 0", "SET k w", "INCR n"]);
    }
}

/// A byte between the end mark and the stream would shift every offset that the replica counts.
#[test]
fn nothing_comes_between_a_snapshot_and_the_stream() {
    for diskless in ["yes", "no"] {
        let master = server::sluice()
            .set("repl-diskless-sync", diskless)
            .set("repl-diskless-sync-delay", "2")
            .start();
        master.must("SET k v");
        let mut client = Follower::shake_hands(&master);
        client.send(&["PSYNC", "?", "-1"]);
        assert!(first_line(&mut client).starts_with("+FULLRESYNC"));
        read_payload(&mut client);
        assert!(
            client.is_silent_for(Duration::from_millis(1200)),
            "diskless {diskless}: the master says {:?}",
            client.whatever()
        );
    }
}

#[test]
fn the_old_sync_is_still_spoken() {
    let master = node().start();
    master.must("SET k v");
    let mut client = master.client();
    client.send(&["SYNC"]);
    let (payload, _) = read_payload(&mut client);
    assert!(payload.starts_with(b"REDIS00"));
}

#[test]
fn debug_digest_and_reads_go_on_while_a_replica_syncs() {
    let master = node().set("rdb-key-save-delay", "50").start();
    master.must("DEBUG POPULATE 10000");
    let replica = node().start();
    replica.follow_port(master.port());
    wait::until("the sync runs", || master.info("connected_slaves") == "1");
    let mut client = master.client();
    for number in 0..200 {
        client.must(&format!("SET during{number} v"));
    }
    master.must("CONFIG SET rdb-key-save-delay 0");
    replica.await_link();
    assert_agree(&master, &replica);
}
