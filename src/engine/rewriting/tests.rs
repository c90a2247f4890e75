use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::*;
use crate::aof::candidate::Candidate;
use crate::aof::disk::RealDisk;
use crate::aof::writer::{Orders, Writer};
use crate::clients::{ClientKey, Ends};
use crate::clock::{Clock, UnixMillis};
use crate::config::Config;
use crate::engine::table;
use crate::journal::position::Offset;
use crate::protocol::request::OwnedRequest;
use crate::random::Random;

struct World {
    engine: Engine,
    client: ClientKey,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual(UnixMillis(1_000));
        let mut engine = Engine::new(Config::default(), clock, Random::from_seed(1));
        let ends = Ends {
            is_local: true,
            ..Ends::default()
        };
        let client = engine.connect(ends).expect("room for a client");
        World { engine, client }
    }

    /// With a writer whose orders nobody carries out, and the reader that it would read with.
    fn with_writer() -> (Self, Orders, Cursor) {
        let mut world = World::new();
        world.engine.config.appendonly = true;
        let cursor = world.engine.journal.reader_at(Offset(0)).expect("the end");
        let orders = world.begin_set();
        (world, orders, cursor)
    }

    fn begin_set(&mut self) -> Orders {
        let (writer, orders) = Writer::new(Waker::noop().clone());
        let at = self.engine.journal.end();
        self.engine.begin_aof(writer, at);
        orders
    }

    /// What stands in the client's outbox after the request, line ends as spaces.
    fn ask(&mut self, request: &str) -> String {
        let request = OwnedRequest::new(request.split(' ').map(str::as_bytes));
        let argv = request.argv();
        self.engine.execute(self.client, argv, table::lookup(argv));
        let client = self.engine.clients.get_mut(self.client);
        let buffer = std::mem::take(&mut client.outbox.buffer);
        String::from_utf8(buffer.to_vec())
            .expect("text")
            .replace("\r\n", " ")
    }

    /// Fails the rewrite that is running.
    fn fail(&mut self) {
        let number = self.engine.rewrites.begun;
        self.engine.end_rewrite(number, Err("a test".into()));
    }

    fn is_rewriting_now(&self) -> bool {
        self.engine.rewrites.running.is_some()
    }
}

fn candidate() -> Candidate {
    let path = std::env::temp_dir().join("sluice-no-such-candidate");
    Candidate::new(Arc::new(RealDisk), path, BaseFormat::Rdb, 0, 0)
}

fn position(byte: u8, offset: i64) -> Position {
    Position {
        id: ReplId::parse(&[byte; 40]).expect("hexadecimal"),
        offset: Offset(offset),
        stream_db: Some(3),
    }
}

const STARTED: &str = "+Background append only file rewriting started ";
const SCHEDULED: &str = "+Background append only file rewriting scheduled ";

#[test]
fn the_snapshot_and_the_new_segment_stand_at_the_same_offset_and_the_next_write_selects() {
    let (mut world, orders, mut cursor) = World::with_writer();
    world.ask("SET k v");
    let end = world.engine.journal.end();
    assert!(end > Offset(0), "writes are recorded");
    assert_eq!(world.ask("BGREWRITEAOF"), STARTED);
    let job = world.engine.take_rewrite().expect("it was begun");
    let Some(Order::Rotate { at, .. }) = orders.next() else {
        panic!("the writer is told to rotate");
    };
    assert_eq!((at, at.offset, at.stream_db), (job.at, end, None));
    assert_eq!(job.snapshot.position.map(|place| place.offset), Some(end));
    assert!(job.options.aof_base && matches!(job.continuation, Continuation::Segment(_)));
    let mut read: Vec<Bytes> = Vec::new();
    cursor.next(1 << 20, &mut read).expect("the same history");
    read.clear();
    world.ask("SET k w");
    cursor.next(1 << 20, &mut read).expect("the same history");
    assert!(read.concat().starts_with(b"*2\r\n$6\r\nSELECT"));
    assert!(world.engine.take_rewrite().is_none(), "it was taken");
}

#[test]
fn one_runs_at_a_time_and_one_asked_for_in_a_transaction_waits_for_the_next_round() {
    let mut world = World::new();
    assert_eq!(world.ask("BGREWRITEAOF"), STARTED);
    assert_eq!(
        world.ask("BGREWRITEAOF"),
        "-ERR Background append only file rewriting already in progress "
    );
    world.engine.end_rewrite(1, Ok(()));
    world.ask("MULTI");
    world.ask("BGREWRITEAOF");
    assert_eq!(world.ask("EXEC"), format!("*1 {SCHEDULED}"));
    assert!(!world.is_rewriting_now() && world.engine.rewrites.scheduled);
    world.engine.rewrite_if_due();
    assert!(world.is_rewriting_now() && !world.engine.rewrites.scheduled);
}

#[test]
fn a_save_is_no_hindrance() {
    let mut world = World::new();
    world.ask("BGSAVE");
    assert_eq!(world.ask("BGREWRITEAOF"), STARTED);
}

#[test]
fn without_an_aof_the_base_stands_alone_at_a_place_that_nobody_can_ask_for() {
    let mut world = World::new();
    world.ask("BGREWRITEAOF");
    let job = world.engine.take_rewrite().expect("it was begun");
    assert!(matches!(job.continuation, Continuation::Nothing));
    assert!(job.snapshot.position.is_none());
    assert_ne!(job.at.id, world.engine.replication.identity.id());
}

#[test]
fn switching_on_begins_a_history_where_nothing_was_recorded_before() {
    let mut world = World::new();
    world.ask("SET before 1");
    let id = world.engine.replication.identity.id();
    assert_eq!(world.ask("CONFIG SET appendonly yes"), "+OK ");
    assert!(world.engine.is_beginning_set());
    let job = world.engine.take_rewrite().expect("it was begun");
    assert_ne!(job.at.id, id);
    let Continuation::NewSet(cursor) = job.continuation else {
        panic!("a set is begun");
    };
    assert_eq!(cursor.position(), job.at.offset);
    world.ask("SET after 1");
    assert!(cursor.lag_bytes() > 0, "from here on writes are recorded");
}

#[test]
fn a_first_base_that_fails_ends_its_writer_and_is_tried_again_at_once_up_to_three_times() {
    let mut world = World::new();
    world.ask("CONFIG SET appendonly yes");
    for failures in 1..=3 {
        assert!(world.is_rewriting_now(), "after {failures} failures");
        drop(world.engine.take_rewrite());
        let orders = world.begin_set();
        world.fail();
        assert!(matches!(orders.next(), Some(Order::Close { .. })));
        assert!(!world.engine.aof.is_on());
        world.engine.rewrite_if_due();
    }
    assert!(!world.is_rewriting_now(), "now it waits a minute");
    assert_eq!(world.ask("BGREWRITEAOF"), STARTED);
    assert!(world.engine.is_beginning_set());
}

#[test]
fn switching_off_gives_up_what_runs_and_closes_the_set() {
    let (mut world, orders, _cursor) = World::with_writer();
    world.ask("BGREWRITEAOF");
    let job = world.engine.take_rewrite().expect("it was begun");
    world.ask("CONFIG SET appendonly no");
    assert!(job.cancelled.is_set() && !world.is_rewriting_now());
    assert!(matches!(orders.next(), Some(Order::Rotate { .. })));
    assert!(matches!(orders.next(), Some(Order::Close { .. })));
    let base = world
        .engine
        .adopt_base(job.number, candidate(), job.at, |_| {});
    assert!(base.is_some(), "nobody wants it any more");
    world.engine.rewrite_if_due();
    assert!(!world.is_rewriting_now());
}

#[test]
fn a_writer_that_begins_a_set_for_nobody_is_told_to_end() {
    let mut world = World::new();
    world.ask("CONFIG SET appendonly yes");
    let job = world.engine.take_rewrite().expect("it was begun");
    world.ask("CONFIG SET appendonly no");
    let orders = world.begin_set();
    assert!(!world.engine.keep_set_begun_for(job.number));
    assert!(matches!(orders.next(), Some(Order::Close { .. })));
    assert!(!world.engine.aof.is_on());
}

#[test]
fn growth_begins_a_rewrite_by_itself() {
    let (mut world, orders, _cursor) = World::with_writer();
    world.engine.rewrites.size_after_last_bytes = Some(1000);
    world.ask("CONFIG SET auto-aof-rewrite-min-size 1500");
    for (bytes, expected) in [(1400, false), (1999, false), (2000, true)] {
        orders.tell(|status| status.current_bytes = bytes);
        world.engine.rewrite_if_due();
        assert_eq!(world.is_rewriting_now(), expected, "{bytes} bytes");
    }
    orders.tell(|status| status.current_bytes = 700);
    world.engine.end_rewrite(1, Ok(()));
    assert_eq!(world.engine.rewrites.size_after_last_bytes, Some(700));
}

#[test]
fn a_full_sync_that_came_through_a_file_replaces_the_set_without_a_snapshot() {
    let (mut world, orders, _cursor) = World::with_writer();
    let at = position(b'a', 5000);
    world.ask("BGREWRITEAOF");
    world.engine.journal.reset(at.offset);
    world.engine.replace_set(Some(candidate()), at);
    let Some(Order::Replace { base, cursor, .. }) = orders.next() else {
        panic!("the writer is told to go over");
    };
    assert_eq!((base.at, cursor.position()), (at, at.offset));
    assert!(!world.is_rewriting_now(), "it was of the old history");
    world.engine.rewrite_if_due();
    assert!(!world.is_rewriting_now());
}

#[test]
fn a_full_sync_that_was_not_kept_makes_a_snapshot_necessary() {
    let (mut world, orders, _cursor) = World::with_writer();
    let at = position(b'a', 5000);
    world.engine.journal.reset(at.offset);
    world.engine.replace_set(None, at);
    assert!(matches!(orders.next(), Some(Order::Close { .. })));
    world.engine.rewrite_if_due();
    assert!(world.engine.is_beginning_set());
}

#[test]
fn a_writer_that_cannot_go_over_raises_the_alarm() {
    let (mut world, orders, _cursor) = World::with_writer();
    let at = position(b'a', 5000);
    world.engine.journal.reset(at.offset);
    world.engine.replace_set(Some(candidate()), at);
    let order = orders.next().expect("the writer is told to go over");
    order.refuse("a test");
    world.engine.rewrite_if_due();
    assert!(matches!(orders.next(), Some(Order::Close { .. })));
    assert!(world.engine.is_beginning_set());
}
