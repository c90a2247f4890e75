//! Replicas that are further behind than memory reaches: fed from the journal's segments on disk, without a full sync.

use std::time::Duration;

use crate::support::agree::{assert_agree, digest};
use crate::support::server::{self, Server, Setup};
use crate::support::wait;

const VALUE_BYTES: usize = 50_000;

fn node() -> Setup {
    server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .set("save", "")
}

/// A master that keeps next to nothing in memory, with an AOF or with history alone.
fn master(appendonly: &str) -> Setup {
    node()
        .set("repl-backlog-size", "100kb")
        .set("client-output-buffer-limit", "replica 4mb 0 0")
        .set("repl-timeout", "600")
        .set("appendonly", appendonly)
        .set(
            "repl-backlog-disk-size",
            if appendonly == "yes" { "0" } else { "1gb" },
        )
}

/// Writes about so many bytes of values that differ, into a few keys.
fn write(server: &Server, bytes: usize, seed: usize) {
    let mut client = server.client();
    client.patience(Duration::from_secs(30));
    for round in 0..bytes / VALUE_BYTES / 10 {
        let commands: Vec<Vec<String>> = (0..10)
            .map(|number| {
                let value = format!("{seed}:{round}:{number}:");
                let times = VALUE_BYTES / value.len();
                vec!["SET".into(), format!("key:{number}"), value.repeat(times)]
            })
            .collect();
        client.pipeline(&commands);
    }
}

/// Memory of the process, in bytes.
fn resident_bytes(server: &Server) -> i64 {
    server.info_number("used_memory")
}

fn a_stopped_replica_goes_on(master: Setup, replica: Setup) {
    let (master, replica) = (master.start(), replica.start());
    replica.follow(&master);
    write(&master, 1_000_000, 0);
    assert_agree(&master, &replica);
    let refused = master.info_number("sync_partial_err");
    let before = resident_bytes(&master);
    replica.freeze();
    for part in 1..=6 {
        write(&master, 10_000_000, part);
    }
    wait::until("the replica was moved to disk", || {
        master.info("sluice_slave0").starts_with("from=disk,")
    });
    wait::until(
        "memory holds nothing for the replica, nor for the next sync",
        || resident_bytes(&master) - before < 16_000_000,
    );
    replica.thaw();
    assert_agree(&master, &replica);
    wait::until("the replica is fed from memory again", || {
        master.info("sluice_slave0") == "from=memory,bytes_behind=0,ms_behind=0"
    });
    write(&master, 1_000_000, 7);
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1);
    assert_eq!(master.info_number("sync_partial_err"), refused);
    assert!(master.info_number("sluice_replicas_moved_to_disk") >= 1);
}

#[test]
fn a_replica_that_stands_still_costs_no_memory_and_goes_on_from_the_aof() {
    a_stopped_replica_goes_on(master("yes"), node());
}

#[test]
fn a_replica_that_stands_still_goes_on_from_history_alone_without_an_aof() {
    a_stopped_replica_goes_on(master("no"), node());
}

#[test]
fn a_real_replica_that_stands_still_goes_on_from_disk() {
    let Some(redis) = server::redis() else { return };
    a_stopped_replica_goes_on(master("yes"), redis.set("save", ""));
}

fn an_absent_replica_continues(appendonly: &str, more: &[(&str, &str)]) {
    let mut setup = master(appendonly);
    for (name, value) in more {
        setup = setup.set(name, value);
    }
    let master = setup.start();
    let mut replica = node()
        .set("replicaof", &format!("127.0.0.1 {}", master.port()))
        .set("appendonly", "yes")
        .start();
    replica.await_link();
    write(&master, 1_000_000, 0);
    assert_agree(&master, &replica);
    replica.kill();
    write(&master, 30_000_000, 1);
    replica.start_again();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1);
    assert_eq!(master.info_number("sluice_sync_partial_from_disk"), 1);
    assert!(master.log().contains("on disk, "), "{}", master.log_tail());
}

#[test]
fn a_replica_that_was_away_for_long_continues_from_the_aof() {
    an_absent_replica_continues("yes", &[]);
}

#[test]
fn a_replica_that_was_away_for_long_continues_from_an_annotated_aof() {
    an_absent_replica_continues("yes", &[("aof-timestamp-enabled", "yes")]);
}

#[test]
fn a_replica_that_was_away_for_long_continues_from_history_alone() {
    an_absent_replica_continues("no", &[]);
}

#[test]
fn where_slow_replicas_are_dropped_the_limits_act_as_ever() {
    let master = master("yes").set("repl-slow-replica", "drop").start();
    let replica = node().start();
    replica.follow(&master);
    assert_agree(&master, &replica);
    replica.freeze();
    write(&master, 20_000_000, 1);
    wait::until("the replica was closed", || {
        master.info("connected_slaves") == "0"
    });
    assert!(master.log().contains("client-output-buffer-limit allows"));
    assert_eq!(master.info("sluice_replicas_moved_to_disk"), "0");
    replica.thaw();
    assert_agree(&master, &replica);
}

#[test]
fn history_goes_piece_by_piece_and_a_replica_that_needs_what_is_gone_gets_a_full_sync() {
    let master = master("no").set("repl-backlog-disk-size", "8mb").start();
    let mut replica = node()
        .set("replicaof", &format!("127.0.0.1 {}", master.port()))
        .set("appendonly", "yes")
        .start();
    replica.await_link();
    assert_agree(&master, &replica);
    replica.kill();
    write(&master, 60_000_000, 1);
    wait::until("history is cut to its size", || {
        let length = master.info_number("sluice_backlog_disk_histlen");
        (8_000_000..=40_000_000).contains(&length)
    });
    replica.start_again();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full_too_old"), 1);
    assert_eq!(master.info("aof_enabled"), "0");
    master.must("CONFIG SET repl-backlog-disk-size 0");
    assert_eq!(master.info("sluice_backlog_disk_active"), "0");
    wait::until("nothing of it is on disk", || {
        let files = std::fs::read_dir(master.home().join("appendonlydir"));
        files.is_ok_and(|files| files.count() <= 1)
    });
    master.must("CONFIG SET repl-backlog-disk-size 8mb");
    wait::until("history begins again", || {
        master.info("sluice_backlog_disk_active") == "1"
    });
}

#[test]
fn after_a_restart_without_an_aof_history_is_used_where_it_joins_up_with_the_rdb_file() {
    for is_clean in [true, false] {
        let mut master = master("no").start();
        let mut replica = node()
            .set("replicaof", &format!("127.0.0.1 {}", master.port()))
            .set("appendonly", "yes")
            .start();
        replica.await_link();
        write(&master, 1_000_000, 0);
        assert_agree(&master, &replica);
        replica.kill();
        write(&master, 10_000_000, 1);
        master.must("SAVE");
        if is_clean {
            master.client().send_line("SHUTDOWN SAVE");
            master.await_exit();
        } else {
            // Behind the file, and lost.
            write(&master, 1_000_000, 2);
            master.kill();
        }
        master.start_again();
        write(&master, 1_000_000, 3);
        replica.start_again();
        assert_agree(&master, &replica);
        assert_eq!(master.info_number("sync_full"), 0, "{}", master.log_tail());
        assert_eq!(master.info_number("sluice_sync_partial_from_disk"), 1);
        assert_ne!(digest(&master), "0".repeat(40));
    }
}
