mod faults;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::aof::disk::Disk;
use crate::aof::manifest::{self, Manifest};
use crate::aof::names::{BaseFormat, Names};
use crate::aof::simulated::{Fault, SimulatedDisk, Trouble};
use crate::clock::UnixMillis;
use crate::journal::Journal;
use crate::journal::position::{Position, ReplId};
use crate::random::Random;
use crate::tasks::sync_aof::{Job, Outcome};

/// A driver without its thread: rounds are run by the test.
struct World {
    disk: SimulatedDisk,
    journal: Journal,
    driver: Driver,
    /// The sync thread's ends: what it is given lies there.
    _jobs: Receiver<Job>,
    _outcomes: Sender<Outcome>,
    writer: Writer,
    clock: Clock,
    /// All that was ever appended.
    stream: Vec<u8>,
    id: ReplId,
}

fn names() -> Names {
    Names::new(Path::new("/data"), "appendonlydir", "appendonly.aof")
}

impl World {
    fn new(seed: u64, policy: Policy) -> Self {
        let disk = SimulatedDisk::new(seed);
        disk.create_directory(Path::new("/data")).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let at = Position {
            id: ReplId::random(&mut Random::from_seed(seed)),
            offset: Offset(1000),
            stream_db: None,
        };
        let journal = Journal::new(at.offset);
        let cursor = journal.reader_at(at.offset).unwrap();
        let mut log = Log::begin(shared, names(), Manifest::default(), at, false).unwrap();
        let temp = names().path(&names().temp_base(1, 1));
        disk.create(&temp).unwrap().sync().unwrap();
        log.adopt(&Base {
            temp,
            at,
            format: BaseFormat::Commands,
            bytes: 0,
            crc64: None,
        })
        .unwrap();
        let (writer, orders) = Writer::new(Waker::noop().clone());
        writer.set_policy(policy);
        writer.exit_on_error(false);
        let durability = Arc::new(Durability::default());
        durability.begin(at.offset, policy);
        let clock = Clock::manual(UnixMillis(1_700_000_000_000));
        let (syncer, jobs, outcomes) = Syncer::pair();
        let driver = Driver::new(log, cursor, orders, durability, clock.clone(), syncer);
        World {
            disk,
            journal,
            driver,
            _jobs: jobs,
            _outcomes: outcomes,
            writer,
            clock,
            stream: Vec::new(),
            id: at.id,
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.journal.append(bytes);
        self.stream.extend_from_slice(bytes);
    }

    fn end(&self) -> Position {
        Position {
            id: self.id,
            offset: self.journal.end(),
            stream_db: None,
        }
    }

    fn trouble(&self, errno: i32, after: u64, operations: u64) {
        self.disk.set_trouble(Some(Trouble {
            from: self.disk.operations() + after,
            what: Fault::Fails { errno, operations },
        }));
    }

    /// Until there is nothing to do, without waiting for anything.
    fn settle(&mut self) {
        while matches!(self.driver.round(), Round::Worked | Round::Wrote) {}
    }

    /// Lets seconds go by until all is on disk.
    fn recover(&mut self) {
        for _ in 0..100 {
            self.settle();
            if self.driver.durability.synced() == self.journal.end() {
                return;
            }
            self.clock.advance(RETRY_AFTER);
        }
        panic!("{:?}", self.driver.orders.tell(|status| status.clone()));
    }

    fn order(&mut self, order: impl FnOnce(Answer) -> Order) -> Receiver<Result<Done, String>> {
        let (sender, receiver) = channel();
        self.writer.order(order(Box::new(move |outcome| {
            let _ = sender.send(outcome);
        })));
        receiver
    }

    /// The journal's bytes of all segments.
    fn on_disk(&self) -> Vec<u8> {
        let manifest = manifest::read(&self.disk, &names())
            .unwrap()
            .unwrap()
            .manifest;
        let segments = manifest.history.iter().chain(&manifest.segments);
        let files = segments.map(|line| {
            let bytes = self.disk.read(&names().path(&line.name)).unwrap();
            bytes[line.facts.prelude_bytes as usize..].to_vec()
        });
        files.collect::<Vec<_>>().concat()
    }
}

#[test]
fn what_the_journal_has_is_one_write_and_one_sync() {
    let mut world = World::new(1, Policy::Always);
    for _ in 0..50 {
        world.append(b"*1\r\n$4\r\nPING\r\n");
    }
    world.settle();
    assert_eq!(world.on_disk(), world.stream);
    let status = world.writer.status();
    assert_eq!((status.writes, status.syncs), (1, 1));
    assert_eq!(world.driver.durability.synced(), world.journal.end());
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    for policy in [Policy::Always, Policy::System] {
        let mut world = World::new(2, policy);
        world.trouble(libc::ENOSPC, 0, 5);
        world.append(b"first ");
        world.settle();
        let failure = world.writer.failure();
        assert_eq!(failure.as_deref(), Some("No space left on device"));
        world.append(b"second ");
        for _ in 0..10 {
            world.clock.advance(RETRY_AFTER);
            world.settle();
        }
        assert_eq!(world.writer.failure(), None, "{policy:?}");
        assert_eq!(world.on_disk(), b"first second ");
        assert_eq!(world.driver.durability.written(), world.journal.end());
    }
}

#[test]
fn after_a_failed_sync_under_always_the_bytes_are_written_again() {
    let mut world = World::new(3, Policy::Always);
    world.append(b"synced ");
    world.settle();
    world.trouble(libc::EIO, 1, 1);
    // Seed and operation are such that the write works and its sync does not.
    world.append(b"a ");
    world.settle();
    assert_eq!(world.driver.durability.synced(), Offset(1007));
    assert_eq!(
        world.writer.failure().as_deref(),
        Some("Input/output error")
    );
    assert_eq!(world.driver.log.end(), Offset(1007));
    world.append(b"b ");
    world.recover();
    assert_eq!(world.on_disk(), b"synced a b ");
    assert!(!world.writer.is_failing());
}

#[test]
fn an_order_is_carried_out_where_it_was_given_whatever_was_written_since() {
    let mut world = World::new(4, Policy::Always);
    world.driver.history_bytes_max = u64::MAX;
    world.append(b"before ");
    let at = world.end();
    let rotated = world.order(|answer| Order::Rotate { at, answer });
    world.append(b"after ");
    world.settle();
    assert_eq!(rotated.try_recv().unwrap(), Ok(Done { at: at.offset }));
    let segments = world.driver.log.manifest().segments.clone();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0].facts.end, Some(at.offset));
    assert_eq!(world.on_disk(), world.stream);
    let end = world.journal.end();
    let closed = world.order(|answer| Order::Close { at: end, answer });
    world.append(b"too late");
    while world.driver.round() != Round::Ended {}
    assert_eq!(closed.try_recv().unwrap(), Ok(Done { at: end }));
    assert_eq!(world.on_disk(), b"before after ");
}

#[test]
fn a_close_is_refused_while_the_disk_fails_and_works_afterwards() {
    let mut world = World::new(5, Policy::Always);
    world.trouble(libc::ENOSPC, 0, 30);
    world.append(b"some ");
    let end = world.journal.end();
    let closed = world.order(|answer| Order::Close { at: end, answer });
    world.settle();
    world.settle();
    assert!(closed.try_recv().unwrap().is_err());
    world.disk.set_trouble(None);
    world.recover();
    let closed = world.order(|answer| Order::Close { at: end, answer });
    while world.driver.round() != Round::Ended {}
    assert!(closed.try_recv().unwrap().is_ok());
    assert_eq!(world.on_disk(), b"some ");
}

#[test]
fn whatever_fails_the_disk_ends_up_with_the_stream() {
    for seed in 0..300 {
        let mut random = Random::from_seed(seed);
        let mut world = World::new(seed, Policy::Always);
        world.driver.history_bytes_max = u64::MAX;
        for _ in 0..40 {
            match random.below(8) {
                0 => {
                    let at = world.end();
                    world.order(|answer| Order::Rotate { at, answer });
                }
                1 => {
                    world.id = ReplId::random(&mut random);
                    let at = world.end();
                    world.order(|answer| Order::Rotate { at, answer });
                }
                2 => world.trouble(libc::EIO, random.below(10), 1 + random.below(5)),
                3 => world.settle(),
                4 => world.clock.advance(RETRY_AFTER),
                _ => {
                    let bytes = vec![b'a' + random.below(26) as u8; random.below(300) as usize];
                    world.append(&bytes);
                }
            }
        }
        world.recover();
        // Orders that were left for after the last byte.
        for _ in 0..5 {
            world.clock.advance(RETRY_AFTER);
            world.settle();
        }
        assert_eq!(world.on_disk(), world.stream, "seed {seed}");
        assert_eq!(world.driver.log.id(), Some(world.id), "seed {seed}");
    }
}

#[test]
fn reasons_are_those_of_the_system_without_numbers() {
    let full = io::Error::from_raw_os_error(libc::ENOSPC);
    assert_eq!(reason(&full), "No space left on device");
    assert_eq!(
        reason(&io::ErrorKind::WriteZero.into()),
        "No space left on device"
    );
    assert_eq!(reason(&io::Error::other("as it is")), "as it is");
}

#[test]
fn an_order_that_comes_while_the_disk_is_at_work_is_kept_to_to_the_byte() {
    let mut world = World::new(20, Policy::System);
    world.settle();
    world.append(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(world.driver.carry_out_orders(), Round::Idle);
    // Between the look at the orders and the write, as while files of the history are being removed.
    let at = world.end();
    let rotated = world.order(|answer| Order::Rotate { at, answer });
    world.append(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(world.driver.write(), Round::Worked);
    assert_eq!(world.driver.log.end(), at.offset);
    world.settle();
    rotated.try_recv().unwrap().unwrap();
    assert_eq!(world.on_disk(), world.stream);
}

#[test]
fn a_rotation_that_could_wait_fails_with_the_disk() {
    let mut world = World::new(21, Policy::System);
    world.settle();
    world.trouble(libc::ENOSPC, 0, 1000);
    world.append(b"*1\r\n$4\r\nPING\r\n");
    world.settle();
    let at = world.end();
    let rotated = world.order(|answer| Order::Rotate { at, answer });
    world.settle();
    assert!(rotated.try_recv().unwrap().is_err());
    world.disk.set_trouble(None);
    world.clock.advance(RETRY_AFTER);
    world.settle();
    assert_eq!(world.on_disk(), world.stream);
}

#[test]
fn an_abandoned_writer_ends_and_refuses_what_waits() {
    let mut world = World::new(22, Policy::System);
    world.settle();
    world.trouble(libc::ENOSPC, 0, 1000);
    world.append(b"*1\r\n$4\r\nPING\r\n");
    world.settle();
    assert!(world.writer.abandon() && !world.writer.abandon());
    assert_eq!(world.driver.round(), Round::Ended);
}
