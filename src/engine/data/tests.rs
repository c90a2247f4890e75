//! Keys that expire, as clients, watchers, replicas and the journal see it, by a clock that is set by hand.

use std::time::Duration;

use crate::clients::session::Role;
use crate::clients::{ClientKey, Ends};
use crate::clock::{Clock, UnixMillis};
use crate::config::Config;
use crate::config::events::KeyspaceEvents;
use crate::config::values::MasterAddress;
use crate::engine::pause::{PauseMode, Purpose};
use crate::engine::{Engine, table};
use crate::journal::position::Offset;
use crate::protocol::request::OwnedRequest;
use crate::random::Random;

struct Node {
    engine: Engine,
    clock: Clock,
    client: ClientKey,
    other: ClientKey,
    seen: Offset,
}

impl Node {
    fn new() -> Self {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let mut engine = Engine::new(Config::default(), clock.clone(), Random::from_seed(1));
        engine.journal.create_backlog(1 << 20);
        engine.unit.effects.set_stream_db(Some(0));
        let mut connect = || {
            let ends = Ends {
                is_local: true,
                ..Ends::default()
            };
            engine.connect(ends).expect("few clients")
        };
        let (client, other) = (connect(), connect());
        Node {
            seen: engine.journal.end(),
            engine,
            clock,
            client,
            other,
        }
    }

    /// What `client` is answered, in the form of the wire, with `|` for line ends.
    fn ask_as(&mut self, client: ClientKey, request: &str) -> String {
        let request = OwnedRequest::new(request.split(' ').map(str::as_bytes));
        let argv = request.argv();
        self.engine.refresh_time();
        self.engine.execute(client, argv, table::lookup(argv));
        let buffer = &mut self.engine.clients.get_mut(client).outbox.buffer;
        let answer = String::from_utf8(buffer.to_vec()).expect("text");
        buffer.clear();
        answer.trim_end().replace("\r\n", "|")
    }

    fn ask(&mut self, request: &str) -> String {
        self.ask_as(self.client, request)
    }

    fn check(&mut self, expected: &[(&str, &str)]) {
        for (request, answer) in expected {
            assert_eq!(self.ask(request), *answer, "{request}");
        }
    }

    fn pass(&mut self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
        self.engine.refresh_time();
    }

    /// What has been recorded since the last call, each effect's words with spaces.
    fn recorded(&mut self) -> Vec<String> {
        let journal = &mut self.engine.journal;
        let mut blocks = Vec::new();
        let mut cursor = journal.reader_at(self.seen).expect("in the backlog");
        cursor.next(1 << 20, &mut blocks).expect("in the backlog");
        self.seen = journal.end();
        String::from_utf8(blocks.concat())
            .expect("text")
            .split_terminator('*')
            .skip(1)
            .map(|effect| {
                let words: Vec<&str> = effect.split("\r\n").skip(2).step_by(2).collect();
                words.join(" ")
            })
            .collect()
    }

    fn become_replica(&mut self) {
        self.engine.config.replicaof = Some(MasterAddress {
            host: "master".into(),
            port: 1,
        });
        self.engine.clients.get_mut(self.other).session.role = Role::Master;
    }

    fn expire_all(&mut self) -> u64 {
        let before = self.engine.counters.expired;
        while self.engine.expire_some() {}
        self.engine.counters.expired - before
    }
}

#[test]
fn a_key_that_is_met_after_its_time_is_deleted_and_the_deletion_recorded_first() {
    let mut node = Node::new();
    node.check(&[("SET k 1 PX 100", "+OK"), ("TTL k", ":0")]);
    node.pass(100);
    node.check(&[("PTTL k", ":0"), ("GET k", "$1|1")]);
    node.pass(1);
    node.check(&[("DBSIZE", ":1"), ("INCR k", ":1"), ("TTL k", ":-1")]);
    assert_eq!(
        node.recorded(),
        ["SET k 1 PXAT 1000100", "MULTI", "DEL k", "INCR k", "EXEC"]
    );
    node.check(&[("PEXPIRE k 5", ":1")]);
    node.pass(6);
    node.check(&[("EXISTS k", ":0"), ("DEL k", ":0"), ("DBSIZE", ":0")]);
    assert_eq!(node.recorded(), ["PEXPIREAT k 1000106", "DEL k"]);
    assert_eq!(node.engine.counters.expired, 2);
}

#[test]
fn a_time_that_has_passed_deletes_at_once() {
    let mut node = Node::new();
    node.check(&[
        ("SET a 1", "+OK"),
        ("EXPIRE a 0", ":1"),
        ("SET b 1", "+OK"),
        ("EXPIREAT b 1000", ":1"),
        ("SET c 1", "+OK"),
        ("GETEX c PXAT 1000000", "$1|1"),
        ("EXISTS a b c", ":0"),
    ]);
    assert_eq!(
        node.recorded(),
        ["SET a 1", "DEL a", "SET b 1", "DEL b", "SET c 1", "DEL c"]
    );
    assert_eq!(node.engine.counters.expired, 0);
}

#[test]
fn the_active_cycle_deletes_what_nobody_meets_each_deletion_for_itself() {
    let mut node = Node::new();
    for number in 0..1_000 {
        node.ask(&format!("SET k{number} v PX {}", 100 + number));
    }
    node.check(&[("SET stays v", "+OK"), ("SELECT 3", "+OK")]);
    node.check(&[("SET there v PX 100", "+OK")]);
    node.recorded();
    assert_eq!(node.expire_all(), 0);
    node.pass(600);
    let expired = node.expire_all();
    assert!((436..=501).contains(&expired), "{expired}");
    let effects = node.recorded();
    assert!(!effects.contains(&"MULTI".to_string()));
    assert_eq!(effects.len() as u64, expired + 2, "and two SELECTs");
    node.pass(1_000);
    node.expire_all();
    assert_eq!(node.engine.counters.expired, 1_001);
    node.check(&[
        ("DBSIZE", ":0"),
        ("SELECT 0", "+OK"),
        ("KEYS *", "*1|$5|stays"),
    ]);
}

#[test]
fn a_slice_of_the_active_cycle_is_short() {
    let mut node = Node::new();
    for number in 0..500 {
        node.ask(&format!("SET k{number} v PX 10"));
    }
    node.pass(1_000);
    assert!(node.engine.expire_some());
    assert_eq!(node.engine.counters.expired, 200);
    node.expire_all();
    assert_eq!(node.engine.counters.expired, 500);
}

#[test]
fn a_key_whose_life_was_prolonged_or_made_endless_stays() {
    let mut node = Node::new();
    node.check(&[
        ("SET longer v PX 100", "+OK"),
        ("SET endless v PX 100", "+OK"),
        ("SET again v PX 100", "+OK"),
        ("PEXPIRE longer 500000", ":1"),
        ("PERSIST endless", ":1"),
        ("SET again w", "+OK"),
    ]);
    node.pass(1_000);
    assert_eq!(node.expire_all(), 0);
    node.pass(499_100);
    assert_eq!(node.expire_all(), 1);
    node.check(&[("DBSIZE", ":2"), ("EXISTS longer", ":0")]);
}

#[test]
fn expiry_travels_with_rename_copy_and_move() {
    let mut node = Node::new();
    node.check(&[
        ("SET k v PX 100", "+OK"),
        ("COPY k copy", ":1"),
        ("COPY k k DB 1", ":1"),
        ("RENAME k renamed", "+OK"),
        ("SET m v PX 100", "+OK"),
        ("MOVE m 2", ":1"),
        ("SWAPDB 1 3", "+OK"),
    ]);
    node.pass(200);
    assert_eq!(node.expire_all(), 4);
    assert!(node.engine.keyspace.is_empty());
}

#[test]
fn a_replica_hides_what_has_expired_and_waits_for_its_master() {
    let mut node = Node::new();
    node.check(&[("SET k 5 PX 100", "+OK"), ("SET n 1", "+OK")]);
    node.become_replica();
    node.pass(200);
    assert_eq!(node.expire_all(), 0);
    node.check(&[
        ("GET k", "$-1"),
        ("EXISTS k", ":0"),
        ("TYPE k", "+none"),
        ("TTL k", ":-2"),
        ("KEYS *", "*1|$1|n"),
        ("SCAN 0", "*2|$1|0|*1|$1|n"),
        ("RANDOMKEY", "$1|n"),
        ("DBSIZE", ":2"),
    ]);
    // The master's clock decides: to its commands the key lives.
    let master = node.other;
    node.ask_as(master, "INCR k");
    assert_eq!(node.engine.keyspace.db(0).volatile_len(), 1);
    node.ask_as(master, "PERSIST k");
    node.check(&[("GET k", "$1|6")]);
    // A time that has passed is stored, and the key waits for its deletion.
    node.ask_as(master, "PEXPIREAT k 5");
    assert_eq!(node.engine.keyspace.db(0).len(), 2);
    node.check(&[("GET k", "$-1")]);
    node.ask_as(master, "DEL k");
    node.check(&[("DBSIZE", ":1")]);
    assert_eq!(node.engine.counters.expired, 0);
}

#[test]
fn a_promoted_replica_expires_what_it_has_hidden() {
    let mut node = Node::new();
    node.check(&[("SET k 5 PX 100", "+OK")]);
    node.become_replica();
    node.pass(200);
    node.engine.config.replicaof = None;
    assert_eq!(node.expire_all(), 1);
}

#[test]
fn a_writable_replica_deletes_what_it_writes_over_and_tells_nobody() {
    let mut node = Node::new();
    node.check(&[("SET k 5 PX 100", "+OK")]);
    node.recorded();
    node.become_replica();
    node.engine.config.replica_read_only = false;
    node.pass(200);
    node.check(&[("INCR k", ":1"), ("TTL k", ":-1")]);
    assert!(node.recorded().is_empty());
}

#[test]
fn while_writes_are_paused_nothing_expires_and_expired_keys_read_as_missing() {
    let mut node = Node::new();
    node.check(&[("SET k v PX 100", "+OK")]);
    node.recorded();
    let (now, until) = (node.engine.monotonic, Duration::from_secs(3_600));
    let pauses = &mut node.engine.pauses;
    pauses.pause(Purpose::Client, PauseMode::Write, until, now);
    node.pass(200);
    assert_eq!(node.expire_all(), 0);
    node.check(&[("GET k", "$-1"), ("DBSIZE", ":1")]);
    assert!(node.recorded().is_empty());
    node.engine.pauses.unpause(Purpose::Client);
    assert_eq!(node.expire_all(), 1);
}

/// Whether EXEC still runs after `meanwhile`, of which `client` watches `k` from its middle on.
fn runs(before: &[&str], millis: u64, meanwhile: &[&str], more_millis: u64) -> bool {
    let mut node = Node::new();
    for request in before {
        node.ask(request);
    }
    node.pass(millis);
    node.check(&[("WATCH k", "+OK")]);
    for request in meanwhile {
        let other = node.other;
        node.ask_as(other, request);
    }
    node.pass(more_millis);
    node.check(&[("MULTI", "+OK"), ("PING", "+QUEUED")]);
    match node.ask("EXEC").as_str() {
        "*1|+PONG" => true,
        "*-1" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn a_watched_key_that_expires_has_changed_met_or_not() {
    let set = &["SET k v PX 100"][..];
    assert!(runs(set, 0, &[], 0));
    assert!(!runs(set, 0, &[], 200));
    assert!(!runs(&["SET k v"], 0, &["PEXPIRE k 100"], 0));
    assert!(!runs(&["SET k v"], 0, &["DEL k"], 0));
    assert!(!runs(&[], 0, &["SET k v"], 0));
    assert!(runs(&[], 0, &["DEL k", "GET k"], 0));
}

#[test]
fn a_key_that_had_expired_when_it_was_watched_may_go_but_not_come() {
    let set = &["SET k v PX 100"][..];
    assert!(runs(set, 200, &[], 0));
    assert!(runs(set, 200, &["GET k"], 0));
    assert!(runs(set, 200, &["DEL k"], 0));
    assert!(runs(set, 200, &["FLUSHALL"], 0));
    assert!(!runs(set, 200, &["SET k w"], 0));
    assert!(!runs(set, 200, &["GET k", "SET k w"], 0));
}

#[test]
fn emptied_and_swapped_databases_fail_watches_of_what_was_or_is_there() {
    assert!(!runs(&["SET k v"], 0, &["FLUSHDB"], 0));
    assert!(!runs(&["SET k v"], 0, &["FLUSHALL"], 0));
    assert!(runs(&["SET other v"], 0, &["FLUSHALL"], 0));
    assert!(runs(&["SET k v"], 0, &["SELECT 1", "FLUSHDB"], 0));
    assert!(!runs(&["SET k v"], 0, &["SWAPDB 0 1"], 0));
    assert!(!runs(
        &["SELECT 1", "SET k v", "SELECT 0"],
        0,
        &["SWAPDB 0 1"],
        0
    ));
    assert!(runs(&["SET other v"], 0, &["SWAPDB 1 0"], 0));
    // A key that was missing and arrives expired still is.
    let elsewhere = &["SELECT 1", "SET k v PX 100", "SELECT 0"][..];
    assert!(runs(elsewhere, 200, &["SWAPDB 0 1"], 0));
    assert!(!runs(elsewhere, 0, &["SWAPDB 0 1"], 0));
}

#[test]
fn expiry_is_an_event_of_its_own() {
    let mut node = Node::new();
    node.engine.config.notify_keyspace_events =
        KeyspaceEvents::parse(b"AKE").expect("known letters");
    let other = node.other;
    node.ask_as(other, "PSUBSCRIBE *");
    node.ask("SET k v PX 10");
    node.pass(100);
    node.ask("GET k");
    let heard = node.engine.clients.get(other).outbox.buffer.to_vec();
    let heard = String::from_utf8(heard).expect("text");
    let events: Vec<&str> = heard.split("__keyevent@0__:").skip(1).collect();
    let names: Vec<&str> = events
        .iter()
        .filter_map(|event| event.split("\r\n").next())
        .collect();
    assert_eq!(names, ["set", "expire", "expired"]);
}
