//! Replicas whose place is on disk, or is about to be.

use super::{Master, config, fresh, modern};
use crate::journal::Window;
use crate::journal::position::{Offset, ReplId};
use crate::replication::feed::{self, Event, OutputLimit};
use crate::replication::feeds::{FeedsConfig, ReplicaId};
use crate::replication::identity::{PsyncRequest, RequestedId};
use crate::replication::place::DiskWindow;

/// Segments on disk hold everything from `start` on.
fn disk(master: &Master, start: i64, memory_bytes_max: Option<u64>) -> Option<DiskWindow> {
    Some(DiskWindow {
        window: Window {
            start: Offset(start),
            end: master.journal.end(),
        },
        memory_bytes_max,
    })
}

#[test]
fn a_replica_that_is_behind_what_memory_holds_continues_from_disk_and_one_behind_that_does_not() {
    let mut master = Master::new(FeedsConfig {
        backlog_bytes: 16 * 1024,
        ..config()
    });
    master.online(1);
    master.event(1, Event::Discard(feed::CloseReason::HistoryChanged));
    master.with(|feeds, _, now, actions| feeds.detach(ReplicaId(1), now, actions));
    master.streams.clear();
    for _ in 0..100 {
        master.write(1000);
    }
    let memory = master.journal.window().unwrap().start.0;
    assert!(memory > 60_000);
    master.disk = disk(&master, 30_000, None);
    let request = |byte| PsyncRequest {
        id: RequestedId::Named(ReplId::NONE),
        byte,
        failover: false,
    };
    let id = RequestedId::Named(master.identity.id());
    let ask = |byte| PsyncRequest {
        id,
        ..request(byte)
    };
    assert_eq!(
        master.psync(2, modern(2), &ask(memory + 1)),
        format!("2: +CONTINUE <id>, 2: stream from {memory}")
    );
    assert_eq!(
        master.psync(3, modern(3), &ask(30_001)),
        "3: +CONTINUE <id>, 3: stream from 30000 on disk"
    );
    assert!(
        master
            .psync(4, modern(4), &ask(30_000))
            .contains("snapshot")
    );
    let lines: Vec<String> = master
        .feeds
        .place_lines(master.journal.end(), master.now)
        .map(|line| line.split(",ms").next().unwrap().to_owned())
        .collect();
    assert_eq!(lines[1], "from=disk,bytes_behind=70000");
    // What was sent to one that reads from disk bounds what it can acknowledge, as for any other.
    master.on_disk[0].1.note_read(Offset(50_000));
    master.ack(3, 99_999);
    assert_eq!(
        master.feeds.get(ReplicaId(3)).unwrap().acked(),
        Offset(50_000)
    );
    assert_eq!(master.feeds.stats().partial_from_disk, 1);
}

#[test]
fn a_replica_too_far_behind_for_memory_is_moved_to_disk_or_as_the_setting_says_closed() {
    for spills in [true, false] {
        let mut master = Master::new(FeedsConfig {
            backlog_bytes: 16 * 1024,
            output_limit: OutputLimit {
                hard_bytes: 50_000,
                ..OutputLimit::default()
            },
            ..config()
        });
        master.online(1);
        master.write(50_000);
        master.disk = disk(&master, 0, spills.then_some(50_000));
        assert_eq!(master.tick(1000), "");
        master.write(1);
        master.disk = disk(&master, 0, spills.then_some(50_000));
        let told = master.tick(1000);
        if !spills {
            assert!(
                told.starts_with("1: close: it is 50001 bytes behind"),
                "{told}"
            );
            continue;
        }
        assert_eq!(told, "1: leave memory");
        master.write(100_000);
        assert_eq!(master.tick(1000), "", "on disk no limit holds");
        assert_eq!(master.feeds.stats().spills, 1);
        master.event(1, Event::CaughtUp);
        master.disk = disk(&master, 0, Some(50_000));
        assert_eq!(master.tick(1000), "1: leave memory");
    }
}

#[test]
fn a_stream_that_waits_for_a_full_sync_to_end_is_let_go_of_and_read_from_disk_afterwards() {
    let mut master = Master::new(config());
    master.psync(7, modern(6380), &fresh());
    master.begin(1);
    master.write(3_000_000);
    master.disk = disk(&master, 0, Some(2_000_000));
    assert_eq!(master.tick(1000), "");
    assert!(master.feeds.get(ReplicaId(7)).unwrap().is_on_disk());
    master.write(3_000_000);
    let held = master.journal.shared().held().memory_bytes;
    assert!(held < 4_000_000, "{held} bytes are held for nobody");
    assert_eq!(master.event(7, Event::PayloadSent), "");
    assert_eq!(master.ack(7, 0), "7: stream from 0 on disk");
}
