//! After a cut, a restart or a change of master: continue where one stopped, as long as it is still known where.

use std::time::Duration;

use crate::support::agree::assert_agree;
use crate::support::dice::Dice;
use crate::support::load::Load;
use crate::support::proxy::{Direction, Proxy};
use crate::support::server::{self, Setup};
use crate::support::stream::Follower;
use crate::support::wait;

fn node() -> Setup {
    server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .set("repl-backlog-size", "10mb")
}

#[test]
fn a_cut_link_continues_where_it_stopped() {
    let [master, replica] = [node().start(), node().start()];
    let proxy = Proxy::to(master.port());
    replica.follow_port(proxy.port());
    replica.await_link();
    let load = Load::new(1)
        .pause(Duration::from_millis(1))
        .start(master.port());
    for round in 1..=5 {
        load.await_more(500);
        proxy.cut();
        wait::until("a partial resync happened", || {
            master.info_number("sync_partial_ok") >= round
        });
    }
    load.stop();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1);
}

#[test]
fn a_link_cut_at_any_byte_continues() {
    let [master, replica] = [node().start(), node().start()];
    let proxy = Proxy::to(master.port());
    replica.follow_port(proxy.port());
    replica.await_link();
    let seed = Dice::seed_from("SLUICE_SEED", 21);
    let mut dice = Dice::new(seed);
    let load = Load::new(seed)
        .pause(Duration::from_millis(1))
        .start(master.port());
    for _ in 0..20 {
        // Long enough to let the handshake through, short enough to cut inside commands.
        proxy.cut_after_down(150 + dice.below(30_000) as u64);
        wait::until("the cut came", || proxy.has_cut());
        wait::until("the link is up again", || {
            replica.info("master_link_status") == "up"
        });
    }
    load.stop();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1, "seed {seed}");
}

#[test]
fn small_pieces_do_not_matter() {
    let [master, replica] = [node().start(), node().start()];
    let proxy = Proxy::to(master.port());
    proxy.pieces(7);
    Load::new(3).commands(300).keys(20).run(master.port());
    replica.follow_port(proxy.port());
    replica.await_link();
    Load::new(4).commands(300).keys(20).run(master.port());
    assert_agree(&master, &replica);
}

#[test]
fn a_gap_larger_than_the_backlog_needs_a_full_sync() {
    let master = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .set("repl-backlog-size", "16kb")
        .start();
    let replica = node().start();
    let proxy = Proxy::to(master.port());
    replica.follow_port(proxy.port());
    replica.await_link();
    let refused = master.info_number("sync_partial_err");
    proxy.refuse(true);
    proxy.cut();
    wait::until("the link is down", || {
        replica.info("master_link_status") == "down"
    });
    let mut client = master.client();
    for number in 0..100 {
        client.command(&["SET", &format!("k{number}"), &"x".repeat(10_000)]);
    }
    proxy.refuse(false);
    wait::until("the link is up", || {
        replica.info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 2);
    assert_eq!(master.info_number("sync_partial_err"), refused + 1);
}

#[test]
fn a_half_open_link_is_noticed_and_renewed() {
    for direction in [Direction::Down, Direction::Up] {
        let master = node()
            .set("repl-timeout", "2")
            .set("repl-ping-replica-period", "1")
            .start();
        let replica = node().set("repl-timeout", "2").start();
        let proxy = Proxy::to(master.port());
        replica.follow_port(proxy.port());
        replica.await_link();
        let before = proxy.connections();
        proxy.stall(direction, true);
        master.must("SET k v");
        wait::until("a new connection is made", || proxy.connections() > before);
        proxy.stall(direction, false);
        wait::until("the link is up", || {
            replica.info("master_link_status") == "up"
        });
        assert_agree(&master, &replica);
        assert_eq!(master.info_number("sync_full"), 1);
    }
}

#[test]
fn a_killed_connection_is_renewed() {
    let [master, replica] = [node().start(), node().start()];
    replica.follow(&master);
    master.must("SET k v");
    assert_eq!(master.must("CLIENT KILL TYPE replica").integer(), 1);
    wait::until("a partial resync happened", || {
        master.info_number("sync_partial_ok") == 1
    });
    assert_eq!(replica.must("CLIENT KILL TYPE master").integer(), 1);
    wait::until("and another one", || {
        master.info_number("sync_partial_ok") == 2
    });
    assert_agree(&master, &replica);
}

#[test]
fn a_restarted_replica_continues() {
    let master = node().start();
    let mut replica = node().set("save", "3600 1000000").start();
    Load::new(5).commands(2000).run(master.port());
    replica.follow(&master);
    assert_agree(&master, &replica);
    assert!(replica.terminate().success());
    let load = Load::new(6).commands(3000).start(master.port());
    load.await_more(1000);
    replica.start_again_with(&[("replicaof", &format!("127.0.0.1 {}", master.port()))]);
    load.stop();
    replica.await_link();
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 1);
    assert_eq!(master.info_number("sync_partial_ok"), 1);
}

#[test]
fn a_restarted_master_is_continued_from() {
    let mut master = node().set("save", "3600 1000000").start();
    let replica = node().start();
    Load::new(7).commands(2000).lasting().run(master.port());
    replica.follow(&master);
    assert_agree(&master, &replica);
    let id = master.info("master_replid");
    assert!(master.terminate().success());
    master.start_again();
    assert_eq!(
        master.info("master_replid2"),
        id,
        "the old history is its second"
    );
    Load::new(8).commands(2000).run(master.port());
    wait::until("the link is up", || {
        replica.info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
    assert_eq!(master.info_number("sync_full"), 0);
    assert_eq!(master.info_number("sync_partial_ok"), 1);
    assert_eq!(replica.info("master_replid"), master.info("master_replid"));
}

#[test]
fn a_master_that_was_killed_is_synced_from_anew() {
    let mut master = node().start();
    let replica = node().start();
    replica.follow(&master);
    master.must("SET lost v");
    assert_agree(&master, &replica);
    master.kill();
    master.start_again();
    master.must("SET fresh v");
    wait::until("the link is up", || {
        replica.info("master_link_status") == "up"
    });
    assert_agree(&master, &replica);
    assert_eq!(replica.must("EXISTS lost").integer(), 0);
    assert_eq!(master.info_number("sync_full"), 1);
}

#[test]
fn siblings_continue_with_the_promoted_one() {
    let [mut master, first, second] = [node().start(), node().start(), node().start()];
    first.follow(&master);
    second.follow(&master);
    Load::new(9).commands(2000).run(master.port());
    assert_agree(&master, &first);
    assert_agree(&master, &second);
    master.kill();
    first.must("REPLICAOF NO ONE");
    first.must("SET after promotion");
    second.follow(&first);
    assert_agree(&first, &second);
    assert_eq!(first.info_number("sync_full"), 0);
    assert_eq!(first.info_number("sync_partial_ok"), 1);
}

#[test]
fn psync_is_granted_exactly_within_the_backlog() {
    let master = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .set("repl-backlog-size", "16kb")
        .start();
    let mut follower = Follower::attach(&master);
    let id = follower.replication_id.clone();
    let start = follower.offset;
    for number in 0..50 {
        master.must(&format!("SET k{number} {}", "x".repeat(50)));
    }
    master.must("PUBLISH done x");
    follower.commands_until_published("done");
    let end = follower.offset;
    for offset in [start, start + 1, (start + end) / 2, end - 1, end] {
        let (answer, mut client) = Follower::ask(&master, &id, offset);
        assert_eq!(
            answer,
            format!("+CONTINUE {id}").as_str(),
            "offset {offset} of {start}..{end}"
        );
        if end > offset {
            client
                .exactly((end - offset) as usize)
                .expect("all that was missed");
        }
        assert!(client.is_silent_for(Duration::from_millis(20)));
    }
    for (id, offset) in [
        (id.as_str(), end + 1),
        (id.as_str(), end + 1000),
        ("0000000000000000000000000000000000000000", start),
        ("short", start),
    ] {
        let (answer, _client) = Follower::ask(&master, id, offset);
        assert!(
            answer.starts_with("+FULLRESYNC "),
            "{id} {offset}: {answer}"
        );
    }
    for number in 0..100 {
        master.must(&format!("SET k{number} {}", "x".repeat(1000)));
    }
    let (answer, _client) = Follower::ask(&master, &id, end);
    assert!(
        answer.starts_with("+FULLRESYNC "),
        "out of the backlog: {answer}"
    );
    assert!(master.info_number("sync_partial_err") >= 4);
    assert_eq!(master.info_number("sync_partial_ok"), 5);
}

#[test]
fn what_is_continued_with_is_byte_for_byte_what_was_missed() {
    let master = node().start();
    let mut follower = Follower::attach(&master);
    let (id, start) = (follower.replication_id.clone(), follower.offset);
    Load::new(11).commands(1000).lasting().run(master.port());
    master.must("PUBLISH done x");
    let mut seen = Vec::new();
    let end = loop {
        let words = follower.try_next().expect("the stream goes on");
        seen.extend(crate::support::client::encoded(&words));
        if words[0] == b"PUBLISH" {
            break follower.offset;
        }
    };
    let mut dice = Dice::new(12);
    for _ in 0..20 {
        let offset = start + dice.below((end - start) as usize) as u64;
        let (answer, mut client) = Follower::ask(&master, &id, offset);
        assert!(answer.starts_with("+CONTINUE"), "{answer}");
        let missed = client.exactly((end - offset) as usize).expect("all of it");
        assert!(
            missed == seen[(offset - start) as usize..],
            "from offset {offset}"
        );
    }
}

#[test]
fn the_backlog_is_kept_for_its_time_and_then_freed() {
    let master = node().set("repl-backlog-ttl", "1").start();
    let replica = node().start();
    replica.follow(&master);
    assert_eq!(master.info("repl_backlog_active"), "1");
    let id = master.info("master_replid");
    replica.must("REPLICAOF NO ONE");
    wait::until("the backlog is freed", || {
        master.info("repl_backlog_active") == "0"
    });
    assert_ne!(
        master.info("master_replid"),
        id,
        "what follows is another history"
    );
}
