//! Replicas of replicas: one stream with one offset, all the way down.

use std::time::Duration;

use crate::support::agree::assert_agree;
use crate::support::load::Load;
use crate::support::proxy::Proxy;
use crate::support::server::{self, Server, Setup};
use crate::support::value::Value;
use crate::support::wait;

fn node() -> Setup {
    server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .set("repl-backlog-size", "10mb")
}

/// So many nodes, each following the one before it.
fn chain(length: usize) -> Vec<Server> {
    let nodes: Vec<Server> = (0..length).map(|_| node().start()).collect();
    for pair in nodes.windows(2) {
        pair[1].follow(&pair[0]);
    }
    nodes
}

#[test]
fn a_chain_of_four_agrees_under_writes() {
    let nodes = chain(4);
    let load = Load::new(1).start(nodes[0].port());
    load.await_more(10_000);
    load.stop();
    for replica in &nodes[1..] {
        assert_agree(&nodes[0], replica);
        assert_eq!(
            replica.info("master_replid"),
            nodes[0].info("master_replid")
        );
    }
}

#[test]
fn a_chain_can_be_built_from_its_end() {
    let nodes: Vec<Server> = (0..3).map(|_| node().start()).collect();
    nodes[0].must("SET k v");
    nodes[2].follow_port(nodes[1].port());
    nodes[1].follow_port(nodes[0].port());
    for replica in &nodes[1..] {
        wait::until("the data has come down", || {
            replica.call("GET k") == Value::bulk("v")
        });
        assert_agree(&nodes[0], replica);
    }
}

#[test]
fn the_end_of_a_chain_stays_attached_when_its_middle_loses_the_master() {
    let nodes: Vec<Server> = (0..3).map(|_| node().start()).collect();
    let proxy = Proxy::to(nodes[0].port());
    nodes[1].follow_port(proxy.port());
    nodes[1].await_link();
    nodes[2].follow(&nodes[1]);
    let load = Load::new(2)
        .pause(Duration::from_millis(1))
        .start(nodes[0].port());
    for round in 1..=3 {
        load.await_more(300);
        proxy.cut();
        wait::until("a partial resync happened", || {
            nodes[0].info_number("sync_partial_ok") >= round
        });
    }
    load.stop();
    assert_agree(&nodes[0], &nodes[1]);
    assert_agree(&nodes[0], &nodes[2]);
    assert_eq!(
        nodes[1].info_number("sync_full"),
        1,
        "only the first one of the end"
    );
}

#[test]
fn a_full_sync_of_the_middle_reaches_the_end() {
    let nodes = chain(3);
    let other = node().start();
    Load::new(3).commands(2000).run(other.port());
    nodes[1].follow(&other);
    wait::until("the end has the other data", || {
        nodes[2].try_info("master_replid") == other.info("master_replid")
    });
    assert_agree(&other, &nodes[1]);
    assert_agree(&other, &nodes[2]);
}

#[test]
fn a_promoted_middle_keeps_its_replicas_without_a_full_sync() {
    let nodes = chain(3);
    Load::new(4).commands(2000).run(nodes[0].port());
    assert_agree(&nodes[0], &nodes[2]);
    nodes[1].must("REPLICAOF NO ONE");
    Load::new(5).commands(2000).run(nodes[1].port());
    wait::until("the end is linked again", || {
        nodes[2].info("master_link_status") == "up"
            && nodes[2].info("master_replid") == nodes[1].info("master_replid")
    });
    assert_agree(&nodes[1], &nodes[2]);
    assert_eq!(nodes[1].info_number("sync_full"), 1);
    // And the whole chain can be turned round.
    nodes[0].follow(&nodes[2]);
    assert_agree(&nodes[1], &nodes[0]);
}

#[test]
fn a_replica_may_move_up_and_down_its_chain() {
    let nodes = chain(3);
    Load::new(6).commands(1000).run(nodes[0].port());
    assert_agree(&nodes[0], &nodes[2]);
    nodes[2].follow(&nodes[0]);
    Load::new(7).commands(1000).run(nodes[0].port());
    assert_agree(&nodes[0], &nodes[2]);
    nodes[2].follow(&nodes[1]);
    Load::new(8).commands(1000).run(nodes[0].port());
    assert_agree(&nodes[0], &nodes[2]);
    let full: i64 = nodes.iter().map(|node| node.info_number("sync_full")).sum();
    assert_eq!(full, 2, "only the first sync of each");
}

#[test]
fn writes_on_a_writable_middle_stay_there() {
    let nodes = chain(3);
    nodes[1].must("CONFIG SET replica-read-only no");
    nodes[1].must("SET own v");
    nodes[0].must("SET shared v");
    wait::until("the shared key arrives", || {
        nodes[2].must("EXISTS shared").integer() == 1
    });
    assert_eq!(nodes[2].must("EXISTS own").integer(), 0);
    assert_eq!(nodes[0].must("EXISTS own").integer(), 0);
}

#[test]
fn a_middle_without_its_master_does_not_sync_others() {
    let nodes = chain(2);
    let late = node().start();
    nodes[1].follow_port(1);
    late.follow_port(nodes[1].port());
    late.await_log("MASTER <-> REPLICA sync started");
    wait::holds_for(Duration::from_millis(300), "the late one waits", || {
        late.info("master_link_status") == "down"
    });
}
