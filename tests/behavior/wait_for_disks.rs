//! WAITAOF: writes on disk, here and on replicas, and how soon that is told.

use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::server::{self, Server, Setup};
use crate::support::stream::Follower;
use crate::support::wait;

fn with_aof(policy: &str) -> Setup {
    server::sluice()
        .set("appendonly", "yes")
        .set("appendfsync", policy)
        .set("repl-diskless-sync-delay", "0")
}

/// Numbers of disks.
#[track_caller]
fn disks(client: &mut Client, line: &str) -> (i64, i64) {
    let reply = client.must(line);
    let numbers: Vec<i64> = reply.items().iter().map(|item| item.integer()).collect();
    (numbers[0], numbers[1])
}

fn replica_of(master: &Server, policy: &str) -> Server {
    let replica = with_aof(policy).start();
    replica.follow(master);
    replica.await_link();
    wait::until("the set of the replica has its base", || {
        replica.log().contains("is the base now")
    });
    replica
}

#[test]
fn our_own_disk_is_waited_for() {
    for policy in ["always", "everysec"] {
        let server = with_aof(policy).start();
        let mut client = server.client();
        for number in 0..3 {
            client.must(&format!("SET key {number}"));
            assert_eq!(disks(&mut client, "WAITAOF 1 0 0"), (1, 0), "{policy}");
            assert!(server.info("aof_synced_offset") == server.info("master_repl_offset"));
        }
        // In one go, too: what is parked is answered behind what is held.
        let lines = ["SET a 1", "WAITAOF 1 0 0", "GET a"];
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let replies = client.pipeline(&lines.map(words));
        assert_eq!(replies[1].items()[0].integer(), 1);
        assert_eq!(replies[2].text(), "1");
    }
}

#[test]
fn where_nothing_is_synced_the_time_runs_out() {
    let server = with_aof("no").start();
    let mut client = server.client();
    client.must("INCR n");
    assert_eq!(disks(&mut client, "WAITAOF 1 0 100"), (0, 0));
    assert_eq!(disks(&mut client, "WAITAOF 0 0 0"), (0, 0));
    client.must("MULTI");
    client.must("INCR n");
    client.must("WAITAOF 1 1 0");
    let replies = client.must("EXEC");
    assert_eq!(replies.items()[1].items()[0].integer(), 0);
    // Another may cut the wait short, as if its time were over or with an error.
    for (way, expected) in [("TIMEOUT", "0"), ("ERROR", "UNBLOCKED")] {
        let id = client.must("CLIENT ID").integer();
        client.send_line("WAITAOF 1 0 0");
        let mut other = server.client();
        wait::until("it is blocked", || {
            other.must(&format!("CLIENT UNBLOCK {id} {way}")).integer() == 1
        });
        let reply = client.reply();
        let text = match reply.is_error() {
            true => reply.text(),
            false => reply.items()[0].integer().to_string(),
        };
        assert!(text.starts_with(expected), "{way}: {text}");
    }
    // The end of the AOF is the end of the wait for it.
    client.send_line("WAITAOF 1 0 0");
    wait::until("it waits", || server.info("blocked_clients") == "1");
    server.must("CONFIG SET appendonly no");
    let reply = client.reply().text();
    assert_eq!(
        reply,
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    );
    assert_eq!(disks(&mut client, "WAITAOF 0 0 0"), (0, 0));
}

#[test]
fn the_first_base_has_to_be_there() {
    let server = server::sluice().start();
    let mut client = server.client();
    client.must("SET key value");
    server.must("CONFIG SET appendonly yes");
    assert_eq!(disks(&mut client, "WAITAOF 1 0 0"), (1, 0));
    let manifest = server.home().join("appendonlydir/appendonly.aof.manifest");
    let text = std::fs::read_to_string(manifest).expect("a whole set");
    assert!(text.contains(" type b"), "{text}");
}

#[test]
fn replicas_acknowledge_as_soon_as_it_is_on_their_disks() {
    let master = with_aof("everysec").start();
    let replica = replica_of(&master, "always");
    let mut client = master.client();
    let mut longest = Duration::ZERO;
    for number in 0..5 {
        client.must(&format!("SET key {number}"));
        let began = Instant::now();
        assert_eq!(disks(&mut client, "WAITAOF 0 1 0").1, 1);
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_millis(900), "{longest:?}");
    replica.must("CONFIG SET appendfsync everysec");
    for number in 0..3 {
        client.must(&format!("SET key {number}"));
        assert_eq!(disks(&mut client, "WAITAOF 1 1 0"), (1, 1));
        assert!(replica.info_number("aof_synced_offset") > 0);
    }
    // One that has the writes but not on disk does not count.
    replica.must("CONFIG SET appendfsync no");
    client.must("SET key last");
    assert_eq!(disks(&mut client, "WAITAOF 1 1 1500"), (1, 0));
    assert_eq!(client.must("WAIT 1 0").integer(), 1);
    replica.must("CONFIG SET appendonly no");
    client.must("SET key last");
    assert_eq!(disks(&mut client, "WAITAOF 1 1 1500"), (1, 0));
    replica.must("CONFIG SET appendonly yes");
    replica.must("CONFIG SET appendfsync everysec");
    assert_eq!(disks(&mut client, "WAITAOF 1 1 0"), (1, 1));
}

#[test]
fn a_master_without_an_aof_waits_for_the_disks_of_others() {
    let master = server::sluice()
        .set("repl-diskless-sync-delay", "0")
        .start();
    let _replica = replica_of(&master, "everysec");
    let mut client = master.client();
    client.must("SET key value");
    assert_eq!(disks(&mut client, "WAITAOF 0 1 0"), (0, 1));
    assert!(client.call("WAITAOF 1 1 0").is_error());
}

#[test]
fn what_a_replica_says_of_its_disk_is_believed_as_far_as_it_was_sent() {
    let server = with_aof("no").start();
    let mut follower = Follower::attach(&server);
    let mut client = server.client();
    client.must("SET key value");
    client.send_line("WAITAOF 0 1 0");
    while follower.next()[0] != b"SET" {}
    follower.acknowledge();
    assert!(client.is_silent_for(Duration::from_millis(100)), "no FACK");
    follower.acknowledge_synced(1_000_000);
    assert_eq!(client.reply().items()[1].integer(), 1);
    client.must("SET key value");
    assert_eq!(disks(&mut client, "WAITAOF 0 1 100"), (0, 0));
}

#[test]
fn a_replica_is_asked_in_vain() {
    let master = with_aof("no").start();
    let replica = with_aof("no").start();
    let mut waiting = replica.client();
    waiting.must("SET key value");
    waiting.send_line("WAITAOF 1 0 0");
    wait::until("it waits", || replica.info("blocked_clients") == "1");
    replica.follow(&master);
    assert!(
        waiting
            .reply()
            .text()
            .starts_with("UNBLOCKED force unblock")
    );
    assert_eq!(
        waiting.call("WAITAOF 0 0 0").text(),
        "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and \
         are not propagated."
    );
}
