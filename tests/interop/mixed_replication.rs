//! Ours and redis-server in one replication tree, in every order, under writes of all five types.

use std::time::Duration;

use crate::support::agree::assert_agree;
use crate::support::dice::Dice;
use crate::support::load::Load;
use crate::support::proxy::Proxy;
use crate::support::server::{self, Server, Setup};
use crate::support::wait;

fn tuned(setup: Setup) -> Setup {
    setup
        .set("repl-diskless-sync-delay", "0")
        .set("repl-backlog-size", "20mb")
}

fn ours() -> Setup {
    tuned(server::sluice())
}

/// A real one, or nothing.
fn real() -> Option<Setup> {
    server::redis().map(tuned)
}

/// Syncs under writes, then writes on, then compares.
fn follow_under_writes(master: Server, replica: Server, seed: u64) {
    Load::new(seed).commands(5000).run(master.port());
    let load = Load::new(seed + 1).start(master.port());
    load.await_more(2000);
    replica.follow(&master);
    load.await_more(5000);
    load.stop();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1);
    assert_eq!(replica.try_info("unexpected_error_replies"), "0");
}

#[test]
fn a_real_replica_follows_us_with_and_without_disk() {
    for diskless in ["yes", "no"] {
        for load_mode in ["disabled", "swapdb", "on-empty-db"] {
            let Some(real) = real() else {
                return;
            };
            follow_under_writes(
                ours().set("repl-diskless-sync", diskless).start(),
                real.set("repl-diskless-load", load_mode).start(),
                1,
            );
        }
    }
}

#[test]
fn we_follow_a_real_master_with_and_without_disk() {
    for diskless in ["yes", "no"] {
        for load_mode in ["disabled", "swapdb", "on-empty-db"] {
            let Some(real) = real() else {
                return;
            };
            follow_under_writes(
                real.set("repl-diskless-sync", diskless).start(),
                ours().set("repl-diskless-load", load_mode).start(),
                3,
            );
        }
    }
}

#[test]
fn collections_past_their_compact_form_arrive_whole() {
    let limits = |setup: Setup| {
        setup
            .set("list-max-listpack-size", "4")
            .set("set-max-intset-entries", "4")
            .set("hash-max-listpack-entries", "4")
            .set("zset-max-listpack-entries", "4")
    };
    let Some(real) = real() else {
        return;
    };
    follow_under_writes(limits(ours()).start(), real.clone().start(), 5);
    follow_under_writes(ours().start(), limits(real.clone()).start(), 7);
    follow_under_writes(limits(real.clone()).start(), ours().start(), 9);
    follow_under_writes(real.start(), limits(ours()).start(), 11);
}

fn chain_agrees_under_writes(nodes: [Server; 3], seed: u64) {
    nodes[1].follow(&nodes[0]);
    nodes[2].follow(&nodes[1]);
    let load = Load::new(seed).start(nodes[0].port());
    load.await_more(10_000);
    load.stop();
    assert_agree(&nodes[0], &nodes[1]);
    assert_agree(&nodes[0], &nodes[2]);
    // The middle is promoted: the end continues without a full sync.
    nodes[1].must("REPLICAOF NO ONE");
    Load::new(seed + 1).commands(3000).run(nodes[1].port());
    wait::until("the end has followed the promotion", || {
        nodes[2].try_info("master_replid") == nodes[1].info("master_replid")
            && nodes[2].try_info("master_link_status") == "up"
    });
    assert_agree(&nodes[1], &nodes[2]);
    assert_eq!(nodes[1].info_number("sync_full"), 1);
    // The old master comes back as a replica of the end; it wrote nothing meanwhile.
    nodes[0].follow(&nodes[2]);
    assert_agree(&nodes[1], &nodes[0]);
}

#[test]
fn a_chain_ours_real_ours_agrees() {
    let Some(real) = real() else {
        return;
    };
    chain_agrees_under_writes([ours().start(), real.start(), ours().start()], 21);
}

#[test]
fn a_chain_real_ours_real_agrees() {
    let Some(real) = real() else {
        return;
    };
    chain_agrees_under_writes([real.clone().start(), ours().start(), real.start()], 31);
}

#[test]
fn one_master_feeds_both_kinds_at_once() {
    for ours_is_master in [true, false] {
        let Some(real) = real() else {
            return;
        };
        let patient = |setup: Setup| setup.set("repl-diskless-sync-delay", "1").start();
        let master = if ours_is_master {
            patient(ours())
        } else {
            patient(real.clone())
        };
        let replicas = [ours().start(), real.start(), ours().start()];
        let load = Load::new(41).start(master.port());
        load.await_more(3000);
        for replica in &replicas {
            replica.follow_port(master.port());
        }
        for replica in &replicas {
            replica.await_link();
        }
        load.await_more(3000);
        load.stop();
        for replica in &replicas {
            assert_agree(&master, replica);
        }
    }
}

fn link_cut_at_any_byte_continues(master: Server, replica: Server, seed: u64) {
    let proxy = Proxy::to(master.port());
    replica.follow_port(proxy.port());
    replica.await_link();
    let mut dice = Dice::new(seed);
    let load = Load::new(seed)
        .pause(Duration::from_millis(1))
        .start(master.port());
    for _ in 0..12 {
        proxy.cut_after_down(150 + dice.below(50_000) as u64);
        wait::until("the cut came", || proxy.has_cut());
        wait::until("the link is up again", || {
            replica.try_info("master_link_status") == "up"
        });
    }
    load.stop();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1, "seed {seed}");
}

#[test]
fn a_real_replica_continues_after_cuts_at_any_byte() {
    let Some(real) = real() else {
        return;
    };
    link_cut_at_any_byte_continues(
        ours().start(),
        real.start(),
        Dice::seed_from("SLUICE_SEED", 51),
    );
}

#[test]
fn we_continue_with_a_real_master_after_cuts_at_any_byte() {
    let Some(real) = real() else {
        return;
    };
    link_cut_at_any_byte_continues(
        real.start(),
        ours().start(),
        Dice::seed_from("SLUICE_SEED", 61),
    );
}

fn sync_cut_anywhere_ends_well(master: Server, replica: Server, seed: u64) {
    Load::new(seed)
        .commands(20_000)
        .lasting()
        .run(master.port());
    let proxy = Proxy::to(master.port());
    let mut dice = Dice::new(seed);
    for _ in 0..6 {
        proxy.cut_after_down(50 + dice.below(200_000) as u64);
        replica.follow_port(proxy.port());
        wait::until("the sync is cut or over", || {
            proxy.has_cut() || replica.try_info("master_link_status") == "up"
        });
        replica.must("REPLICAOF NO ONE");
        replica.call("FLUSHALL");
        proxy.cut_after_down(u32::MAX.into());
    }
    proxy.cut();
    replica.follow_port(proxy.port());
    wait::until_within(Duration::from_secs(60), "the sync works at last", || {
        replica.try_info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
}

#[test]
fn syncs_that_are_cut_anywhere_end_well() {
    for load_mode in ["disabled", "swapdb"] {
        let Some(real) = real() else {
            return;
        };
        sync_cut_anywhere_ends_well(
            ours().start(),
            real.clone().set("repl-diskless-load", load_mode).start(),
            71,
        );
        sync_cut_anywhere_ends_well(
            real.start(),
            ours().set("repl-diskless-load", load_mode).start(),
            72,
        );
    }
}

#[test]
fn restarts_of_either_kind_continue() {
    let Some(real) = real() else {
        return;
    };
    let saving = |setup: Setup| setup.set("save", "3600 1000000").start();
    for (master, mut replica) in [
        (saving(ours()), saving(real.clone())),
        (saving(real.clone()), saving(ours())),
    ] {
        replica.follow(&master);
        Load::new(81).commands(3000).run(master.port());
        assert_agree(&master, &replica);
        assert!(replica.terminate().success());
        Load::new(82).commands(1000).run(master.port());
        let target = format!("127.0.0.1 {}", master.port());
        replica.start_again_with(&[("replicaof", &target)]);
        replica.await_link();
        assert_agree(&master, &replica);
        assert_eq!(master.info_number("sync_full"), 1);
        assert_eq!(master.info_number("sync_partial_ok"), 1);
    }
    for (mut master, replica) in [
        (saving(ours()), saving(real.clone())),
        (saving(real), saving(ours())),
    ] {
        replica.follow(&master);
        Load::new(83).commands(3000).lasting().run(master.port());
        assert_agree(&master, &replica);
        assert!(master.terminate().success());
        master.start_again();
        Load::new(84).commands(1000).run(master.port());
        wait::until("the link is up", || {
            replica.try_info("master_link_status") == "up"
        });
        assert_agree(&master, &replica);
        assert_eq!(master.info_number("sync_full"), 0);
    }
}
