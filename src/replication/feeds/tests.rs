//! Conversations of a master with replicas that are played by the test.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Feeds, FeedsConfig, Outcome, ReplicaId, SnapshotPlan, Stream, Surroundings};
use crate::journal::Journal;
use crate::journal::cursor::{Cursor, Progress};
use crate::journal::position::{Offset, Position, ReplId};
use crate::random::Random;
use crate::replication::feed::{self, Event, OutputLimit, Profile, SnapshotId};
use crate::replication::handshake::{PsyncReply, Refusal, ping_line};
use crate::replication::identity::{FullReason, Identity, PsyncRequest, RequestedId};
use crate::replication::place::{DiskWindow, Place};
use crate::replication::replconf::{Capabilities, Filter, Replconf};

/// A master with its journal and time. Logs are left out of what it says.
struct Master {
    feeds: Feeds,
    journal: Journal,
    identity: Identity,
    random: Random,
    now: Duration,
    around: Surroundings,
    plans: Vec<SnapshotPlan>,
    streams: Vec<(ReplicaId, Cursor)>,
    on_disk: Vec<(ReplicaId, Arc<Progress>)>,
    disk: Option<DiskWindow>,
}

fn config() -> FeedsConfig {
    FeedsConfig {
        delay: Duration::ZERO,
        ..FeedsConfig::default()
    }
}

fn modern(port: i64) -> Profile {
    let mut profile = Profile::new("10.0.0.7");
    profile.note(Replconf::ListeningPort(port));
    profile.note(Replconf::Capability(Capabilities::EOF));
    profile.note(Replconf::Capability(Capabilities::PSYNC2));
    profile
}

fn fresh() -> PsyncRequest {
    PsyncRequest {
        id: RequestedId::Any,
        byte: -1,
        failover: false,
    }
}

impl Master {
    fn new(config: FeedsConfig) -> Self {
        let mut random = Random::from_seed(1);
        Master {
            feeds: Feeds::new(config),
            journal: Journal::new(Offset(0)),
            identity: Identity::new(&mut random),
            random,
            now: Duration::from_secs(1000),
            around: Surroundings {
                is_master: true,
                paused: false,
            },
            plans: Vec::new(),
            streams: Vec::new(),
            on_disk: Vec::new(),
            disk: None,
        }
    }

    fn with(
        &mut self,
        work: impl FnOnce(&mut Feeds, &mut Stream<'_>, Duration, &mut Vec<Action>),
    ) -> String {
        let mut actions = Vec::new();
        let mut stream = Stream {
            journal: &mut self.journal,
            identity: &mut self.identity,
            random: &mut self.random,
            disk: self.disk,
        };
        work(&mut self.feeds, &mut stream, self.now, &mut actions);
        let mut told = Vec::new();
        for action in actions {
            told.extend(self.tell(action));
        }
        told.join(", ")
    }

    fn tell(&mut self, action: Action) -> Option<String> {
        Some(match action {
            Action::Feed(replica, action) => {
                let what = match action {
                    feed::Action::Send(bytes) => match &bytes[..] {
                        b"\n" => "LF".into(),
                        line => String::from_utf8_lossy(line)
                            .trim_end()
                            .replace(self.identity.id().as_str(), "<id>"),
                    },
                    feed::Action::SendFile(_) => "file".into(),
                    feed::Action::Stream(Place::Disk(progress)) => {
                        let from = progress.read();
                        self.on_disk.push((replica, progress));
                        format!("stream from {from} on disk")
                    }
                    feed::Action::LeaveMemory => {
                        self.streams.retain(|(owner, _)| *owner != replica);
                        "leave memory".into()
                    }
                    feed::Action::Stream(Place::Memory(cursor)) => {
                        let from = cursor.position();
                        self.streams.push((replica, cursor));
                        format!("stream from {from}")
                    }
                    feed::Action::Close(reason) => format!("close: {reason}"),
                };
                format!("{}: {what}", replica.0)
            }
            Action::BeginSnapshot(plan) => {
                let told = format!("snapshot {} to {:?}", plan.snapshot.0, plan.target);
                self.plans.push(plan);
                told
            }
            Action::AbandonSnapshot { snapshot, .. } => format!("abandon {}", snapshot.0),
            Action::Ping => {
                self.journal.append(&ping_line());
                "PING".into()
            }
            Action::Log(..) => return None,
        })
    }

    fn psync(&mut self, replica: u64, profile: Profile, request: &PsyncRequest) -> String {
        self.with(|feeds, stream, now, actions| {
            let outcome = feeds.psync(ReplicaId(replica), profile, request, stream, now, actions);
            assert!(outcome.is_ok());
        })
    }

    /// The snapshot is taken now.
    fn begin(&mut self, snapshot: u64) -> String {
        self.with(|feeds, stream, now, actions| {
            let at = Position {
                id: stream.identity.id(),
                offset: stream.journal.end(),
                stream_db: None,
            };
            feeds.snapshot_begun(SnapshotId(snapshot), at, stream.journal, now, actions);
        })
    }

    fn event(&mut self, replica: u64, event: Event) -> String {
        self.with(|feeds, _, now, actions| feeds.handle(ReplicaId(replica), event, now, actions))
    }

    fn ack(&mut self, replica: u64, offset: i64) -> String {
        self.event(
            replica,
            Event::Ack {
                offset: Offset(offset),
                synced: None,
            },
        )
    }

    fn tick(&mut self, later_ms: u64) -> String {
        self.now += Duration::from_millis(later_ms);
        let around = self.around;
        self.with(|feeds, stream, now, actions| feeds.tick(around, stream, now, actions))
    }

    /// A replica that is online and streams, as the given one.
    fn online(&mut self, replica: u64) {
        self.psync(replica, modern(6000 + replica as i64), &fresh());
        let snapshot = self.plans.last().unwrap().snapshot;
        self.begin(snapshot.0);
        self.event(replica, Event::PayloadSent);
        self.with(|feeds, _, now, actions| feeds.snapshot_ended(snapshot, now, actions));
        let end = self.journal.end().0;
        assert_eq!(
            self.ack(replica, end),
            format!("{replica}: stream from {end}")
        );
    }

    fn write(&mut self, bytes: usize) {
        self.journal.append(&vec![b'x'; bytes]);
    }

    /// Takes all that is there for a replica off the journal.
    fn drain(&mut self, replica: u64) {
        for (owner, cursor) in &mut self.streams {
            if owner.0 == replica {
                cursor.next(usize::MAX, &mut Vec::new()).unwrap();
            }
        }
    }

    fn state(&self, replica: u64) -> &'static str {
        self.feeds.get(ReplicaId(replica)).unwrap().state_name()
    }
}

#[test]
fn a_diskless_replica_hears_nothing_after_the_mark_until_it_acknowledges() {
    let mut master = Master::new(config());
    assert_eq!(
        master.psync(7, modern(6380), &fresh()),
        "snapshot 1 to Sockets"
    );
    assert_eq!(master.state(7), "wait_bgsave");
    master.write(50);
    assert_eq!(master.begin(1), "7: +FULLRESYNC <id> 50");
    master.write(30);
    assert_eq!(master.tick(1000), "", "no keep-alive into the payload");
    assert_eq!(master.event(7, Event::PayloadSent), "");
    assert_eq!(master.state(7), "online");
    assert_eq!(master.feeds.count_acked(Offset(0)), 1);
    assert_eq!(master.tick(1000), "");
    assert_eq!(master.ack(7, 50), "7: stream from 50");
    assert_eq!(
        master.feeds.info_lines(master.now).next().unwrap(),
        "slave0:ip=10.0.0.7,port=6380,state=online,offset=50,lag=0"
    );
    master.drain(7);
    assert_eq!(master.ack(7, 80), "");
    assert_eq!(master.feeds.count_acked(Offset(80)), 1);
    assert_eq!(
        master.feeds.role_entries().collect::<Vec<_>>(),
        [("10.0.0.7", 6380, Offset(80))]
    );
}

#[test]
fn an_ack_that_beats_the_end_of_the_payload_opens_the_stream_there() {
    let mut master = Master::new(config());
    master.psync(7, modern(6380), &fresh());
    master.begin(1);
    assert_eq!(master.ack(7, 0), "");
    assert_eq!(master.event(7, Event::PayloadSent), "7: stream from 0");
}

#[test]
fn a_replica_without_eof_gets_a_file_and_the_stream_right_behind_it() {
    let mut master = Master::new(config());
    assert_eq!(
        master.psync(7, Profile::new("h"), &fresh()),
        "snapshot 1 to Disk"
    );
    assert_eq!(master.tick(1000), "", "its snapshot is about to begin");
    assert_eq!(master.begin(1), "7: +FULLRESYNC <id> 0");
    assert_eq!(master.tick(1000), "7: LF");
    let told = master.with(|feeds, _, now, actions| {
        feeds.file_ready(SnapshotId(1), 1234, now, actions);
    });
    assert_eq!(told, "7: $1234, 7: file");
    assert_eq!(master.state(7), "send_bulk");
    assert_eq!(master.tick(1000), "", "no keep-alive into the payload");
    assert_eq!(master.event(7, Event::PayloadSent), "7: stream from 0");
    assert_eq!(master.state(7), "online");
}

#[test]
fn sync_is_told_no_place_and_is_never_expected_to_acknowledge() {
    let mut master = Master::new(config());
    let told = master.with(|feeds, stream, now, actions| {
        let outcome = feeds.sync(ReplicaId(7), modern(1), stream, now, actions);
        assert_eq!(outcome, Ok(Outcome::FullSync(FullReason::Asked)));
    });
    assert_eq!(told, "snapshot 1 to Sockets");
    assert_eq!(master.begin(1), "");
    assert_eq!(master.event(7, Event::PayloadSent), "");
    assert_eq!(master.tick(200_000), "PING");
    assert_eq!(master.ack(7, 0), "7: stream from 0");
}

#[test]
fn a_fresh_server_answers_any_request_with_a_full_sync_at_offset_0() {
    let mut master = Master::new(config());
    let before = master.identity.id();
    let request = PsyncRequest {
        id: RequestedId::Named(before),
        byte: -1,
        failover: false,
    };
    master.psync(7, modern(1), &request);
    assert_ne!(
        master.identity.id(),
        before,
        "a backlog made from nothing begins a new history"
    );
    assert_eq!(master.begin(1), "7: +FULLRESYNC <id> 0");
    let stats = master.feeds.stats();
    assert_eq!((stats.full, stats.partial_ok, stats.partial_err), (1, 0, 1));
}

#[test]
fn a_replica_that_comes_back_continues_and_the_counters_say_why_others_do_not() {
    let mut master = Master::new(config());
    master.online(1);
    master.write(100);
    let own = RequestedId::Named(master.identity.id());
    let at = |id, byte| PsyncRequest {
        id,
        byte,
        failover: false,
    };
    assert_eq!(
        master.psync(2, modern(2), &at(own, 41)),
        "2: +CONTINUE <id>, 2: stream from 40"
    );
    assert_eq!(
        master.psync(3, Profile::new("h"), &at(own, 101)),
        "3: +CONTINUE, 3: stream from 100",
        "without psync2 no id is told"
    );
    assert_eq!(
        master.psync(2, modern(2), &at(own, 41)),
        "",
        "it is one already"
    );
    master.psync(4, modern(4), &at(own, 102));
    let stranger = RequestedId::Named(ReplId::parse(&[b'f'; 40]).unwrap());
    master.psync(5, modern(5), &at(stranger, 50));
    let stats = master.feeds.stats();
    assert_eq!((stats.full, stats.partial_ok, stats.partial_err), (3, 2, 2));
    let by_name: Vec<(&str, u64)> = FullReason::NAMES
        .into_iter()
        .zip(stats.full_by_reason)
        .collect();
    assert!(by_name.contains(&("asked", 1)));
    assert!(by_name.contains(&("ahead", 1)));
    assert!(by_name.contains(&("unknown_id", 1)));
}

#[test]
fn those_who_wait_together_ride_together_and_who_is_late_takes_the_next() {
    let mut master = Master::new(FeedsConfig {
        delay: Duration::from_secs(5),
        ..config()
    });
    assert_eq!(master.psync(1, modern(1), &fresh()), "");
    assert_eq!(
        master.feeds.deadline(),
        Some(master.now + Duration::from_secs(1))
    );
    assert_eq!(master.tick(1000), "1: LF");
    assert_eq!(master.psync(2, modern(2), &fresh()), "");
    assert_eq!(master.tick(3999), "1: LF, 2: LF");
    assert_eq!(
        master.tick(1),
        "snapshot 1 to Sockets",
        "the first has waited 5 s"
    );
    assert_eq!(master.plans[0].riders, [ReplicaId(1), ReplicaId(2)]);
    assert_eq!(
        master.begin(1),
        "1: +FULLRESYNC <id> 0, 2: +FULLRESYNC <id> 0"
    );
    assert_eq!(master.psync(3, modern(3), &fresh()), "");
    assert_eq!(
        master.tick(5000),
        "snapshot 2 to Sockets, PING",
        "beside the first one: nothing forks here"
    );
}

#[test]
fn enough_replicas_need_not_wait_for_more() {
    let mut master = Master::new(FeedsConfig {
        delay: Duration::from_secs(1000),
        replicas_enough: 2,
        ..config()
    });
    assert_eq!(master.psync(1, modern(1), &fresh()), "");
    assert_eq!(
        master.psync(2, modern(2), &fresh()),
        "snapshot 1 to Sockets"
    );
}

#[test]
fn different_needs_are_served_by_different_snapshots_and_no_more_than_allowed_at_once() {
    let mut master = Master::new(FeedsConfig {
        snapshots_max: 2,
        ..config()
    });
    let mut functions = modern(2);
    functions.note(Replconf::RdbFilter(Filter::FunctionsOnly));
    let mut versioned = modern(3);
    versioned.note(Replconf::Version(90_000));
    assert_eq!(
        master.psync(1, modern(1), &fresh()),
        "snapshot 1 to Sockets"
    );
    assert_eq!(
        master.psync(2, functions, &fresh()),
        "snapshot 2 to Sockets"
    );
    assert_eq!(master.psync(3, versioned, &fresh()), "");
    master.begin(1);
    let told =
        master.with(|feeds, _, now, actions| feeds.snapshot_ended(SnapshotId(1), now, actions));
    assert_eq!(told, "snapshot 3 to Sockets");
    assert_eq!(master.plans[2].requirement.version, Some(90_000));
}

#[test]
fn a_file_in_the_making_is_joined_at_its_own_offset() {
    let mut master = Master::new(FeedsConfig {
        diskless: false,
        ..config()
    });
    assert_eq!(master.psync(1, modern(1), &fresh()), "snapshot 1 to Disk");
    master.write(10);
    master.begin(1);
    master.write(90);
    assert_eq!(
        master.psync(2, modern(2), &fresh()),
        "2: +FULLRESYNC <id> 10"
    );
    let mut rdb_only = modern(3);
    rdb_only.rdb_only = true;
    assert_eq!(
        master.psync(3, rdb_only, &fresh()),
        "3: +FULLRESYNC <id> 10"
    );
    assert_eq!(
        master.psync(4, Profile::new("h"), &fresh()),
        "snapshot 2 to Disk",
        "it understands less than the first rider"
    );
    let told = master.with(|feeds, _, now, actions| {
        feeds.file_ready(SnapshotId(1), 5, now, actions);
    });
    assert_eq!(told, "1: $5, 1: file, 2: $5, 2: file, 3: $5, 3: file");
    assert_eq!(
        master.psync(5, modern(5), &fresh()),
        "snapshot 3 to Disk",
        "a complete file is not joined"
    );
    assert_eq!(master.event(2, Event::PayloadSent), "2: stream from 10");
}

#[test]
fn a_replica_that_wants_only_the_snapshot_is_closed_behind_it_and_keeps_no_stream() {
    let mut master = Master::new(config());
    let mut profile = modern(1);
    profile.note(Replconf::RdbOnly(true));
    master.psync(1, profile, &fresh());
    master.begin(1);
    for _ in 0..100 {
        master.write(100_000);
    }
    assert!(master.journal.window().unwrap().length() < 2_000_000);
    let told = master.event(1, Event::PayloadSent);
    assert!(
        told.starts_with("1: close: it has the snapshot that it asked for"),
        "{told}"
    );
    assert_eq!(master.feeds.count_acked(Offset(0)), 0);
}

#[test]
fn a_filtered_replica_must_know_the_mark() {
    let mut master = Master::new(config());
    let mut profile = Profile::new("h");
    profile.note(Replconf::RdbFilter(Filter::Nothing));
    master.with(|feeds, stream, now, actions| {
        let refused = feeds.sync(ReplicaId(1), profile, stream, now, actions);
        assert_eq!(refused, Err(Refusal::FilterWithoutEof));
    });
    assert_eq!(master.feeds.count(), 0);
    let mut profile = modern(2);
    profile.note(Replconf::RdbFilter(Filter::Nothing));
    master.feeds.set_config(FeedsConfig {
        diskless: false,
        ..config()
    });
    assert_eq!(
        master.psync(2, profile, &fresh()),
        "snapshot 1 to Sockets",
        "also where files are the rule"
    );
}

#[test]
fn a_snapshot_that_nobody_waits_for_is_abandoned() {
    let mut master = Master::new(config());
    master.psync(1, modern(1), &fresh());
    master.begin(1);
    let told = master.with(|feeds, _, now, actions| feeds.detach(ReplicaId(1), now, actions));
    assert_eq!(told, "abandon 1");
    master.psync(2, modern(2), &fresh());
    let told = master.tick(61_000);
    assert_eq!(told, "PING");
    master.begin(2);
    let told = master.tick(61_000);
    assert_eq!(
        told, "PING",
        "whoever writes to the socket knows if it is stuck"
    );
    let told = master.with(|feeds, _, now, actions| feeds.detach(ReplicaId(2), now, actions));
    assert_eq!(told, "abandon 2");
    assert_eq!(master.event(2, Event::PayloadSent), "");
}

#[test]
fn a_failed_snapshot_sends_its_riders_away() {
    let mut master = Master::new(config());
    master.psync(1, modern(1), &fresh());
    let told = master.with(|feeds, _, now, actions| {
        feeds.snapshot_failed(SnapshotId(1), "no memory", now, actions);
    });
    assert_eq!(
        told,
        "1: -ERR BGSAVE failed, replication can't continue, 1: close: its snapshot failed: no memory"
    );
    master.psync(2, modern(2), &fresh());
    master.begin(2);
    let told = master.with(|feeds, _, now, actions| {
        feeds.snapshot_failed(SnapshotId(2), "no memory", now, actions);
    });
    assert_eq!(
        told, "2: close: its snapshot failed: no memory",
        "an error line would be taken for the payload"
    );
}

#[test]
fn a_silent_replica_is_closed_and_an_empty_line_is_a_sign_of_life() {
    let mut master = Master::new(config());
    master.around.paused = true;
    master.online(1);
    assert_eq!(master.tick(60_000), "");
    assert_eq!(master.event(1, Event::Heard), "");
    assert_eq!(master.tick(60_000), "");
    assert_eq!(
        master.tick(1000),
        "1: close: it acknowledged nothing for 61 s"
    );
    assert_eq!(master.tick(1000), "", "once");
    assert_eq!(master.feeds.count_acked(Offset(0)), 0);
}

#[test]
fn a_replica_too_far_behind_is_closed_but_never_within_the_backlog() {
    let limit = OutputLimit {
        hard_bytes: 512 * 1024,
        soft_bytes: 256 * 1024,
        soft_for: Duration::from_secs(10),
    };
    let mut master = Master::new(FeedsConfig {
        output_limit: limit,
        backlog_bytes: 8 << 20,
        ..config()
    });
    master.online(1);
    master.write(8 << 20);
    assert_eq!(
        master.tick(1000),
        "",
        "the backlog would grant as much anyway"
    );
    master.write(1);
    let told = master.tick(1000);
    assert!(
        told.starts_with("1: close: it is 8388609 bytes behind"),
        "{told}"
    );
    assert_eq!(master.feeds.stats().limit_closes, 1);
}

#[test]
fn the_soft_limit_closes_only_who_stays_behind() {
    let limit = OutputLimit {
        hard_bytes: 0,
        soft_bytes: 100_000,
        soft_for: Duration::from_secs(10),
    };
    let mut master = Master::new(FeedsConfig {
        output_limit: limit,
        backlog_bytes: 16 * 1024,
        ping_period: Duration::from_secs(1000),
        ..config()
    });
    master.online(1);
    master.write(200_000);
    assert_eq!(master.tick(1000), "");
    assert_eq!(master.tick(9000), "");
    master.drain(1);
    assert_eq!(master.tick(1000), "");
    master.write(200_000);
    assert_eq!(master.tick(1000), "");
    assert_eq!(master.tick(10_000), "");
    assert!(
        master
            .tick(1000)
            .starts_with("1: close: it is 200000 bytes behind")
    );
}

#[test]
fn ping_goes_out_when_the_stream_is_quiet_for_a_period_and_only_from_the_top() {
    let mut master = Master::new(config());
    master.online(1);
    let mut pings = Vec::new();
    for second in 1..=40 {
        if second == 15 {
            master.write(5);
        }
        master.event(1, Event::Heard);
        let told = master.tick(1000);
        if told == "PING" {
            pings.push(second);
        }
    }
    assert_eq!(pings, [10, 25, 35]);
    master.around.is_master = false;
    master.event(1, Event::Heard);
    assert_eq!(master.tick(30_000), "");
    master.around.is_master = true;
    master.around.paused = true;
    master.event(1, Event::Heard);
    assert_eq!(master.tick(30_000), "");
}

#[test]
fn the_backlog_is_freed_when_nobody_came_back_and_the_history_ends_with_it() {
    let mut master = Master::new(config());
    master.online(1);
    let id = master.identity.id();
    master.streams.clear();
    master.with(|feeds, _, now, actions| feeds.detach(ReplicaId(1), now, actions));
    assert_eq!(
        master.feeds.deadline(),
        Some(master.now + Duration::from_secs(3600))
    );
    master.tick(3_599_999);
    assert!(master.journal.has_backlog());
    master.around.is_master = false;
    master.tick(1);
    assert!(master.journal.has_backlog(), "a replica keeps it");
    assert_eq!(master.feeds.deadline(), None);
    master.around.is_master = true;
    master.with(|feeds, _, now, _| feeds.start_backlog_ttl(now));
    master.tick(3_600_000);
    assert!(!master.journal.has_backlog());
    assert_ne!(master.identity.id(), id);
    let before = master.journal.end();
    master.write(100);
    assert_eq!(master.journal.end(), before);
}

#[test]
fn an_aof_that_still_records_keeps_the_history_when_the_backlog_goes() {
    let mut master = Master::new(config());
    let _aof = master.journal.reader_at(Offset(0)).unwrap();
    let id = master.identity.id();
    master.online(1);
    assert_eq!(master.identity.id(), id, "there is no gap in it");
    master.with(|feeds, _, now, actions| feeds.detach(ReplicaId(1), now, actions));
    master.tick(3_600_000);
    assert!(!master.journal.has_backlog());
    assert_eq!(master.identity.id(), id);
}

#[test]
fn good_replicas_are_online_and_were_heard_of_lately() {
    let mut master = Master::new(config());
    master.online(1);
    master.online(2);
    master.psync(3, modern(3), &fresh());
    let lag_max = Duration::from_secs(10);
    assert_eq!(master.feeds.count_good(lag_max, master.now), 2);
    master.now += Duration::from_millis(10_900);
    assert_eq!(master.feeds.count_good(lag_max, master.now), 2);
    master.ack(1, 0);
    master.now += Duration::from_millis(100);
    assert_eq!(master.feeds.count_good(lag_max, master.now), 1);
}

#[test]
fn nobody_is_believed_to_have_more_than_was_sent() {
    let mut master = Master::new(config());
    master.online(1);
    master.write(100);
    master.ack(1, 1_000_000);
    assert_eq!(master.feeds.count_acked(Offset(1)), 0);
    master.drain(1);
    let event = Event::Ack {
        offset: Offset(90),
        synced: Some(Offset(80)),
    };
    master.event(1, event);
    master.ack(1, 20);
    assert_eq!(master.feeds.count_acked(Offset(90)), 1, "acks only rise");
    assert_eq!(master.feeds.count_acked(Offset(91)), 0);
    assert_eq!(master.feeds.count_synced(Offset(80)), 1);
    assert_eq!(master.feeds.count_synced(Offset(81)), 0);
    assert_eq!(master.feeds.lagging(Offset(100)).count(), 1);
    assert_eq!(master.feeds.lagging(Offset(90)).count(), 0);
}

#[test]
fn acks_are_asked_for_once_and_only_where_somebody_can_answer() {
    let mut master = Master::new(config());
    master.feeds.want_acks();
    assert!(!master.feeds.take_acks_wanted());
    master.online(1);
    assert!(!master.feeds.take_acks_wanted());
    master.feeds.want_acks();
    master.feeds.want_acks();
    assert!(master.feeds.take_acks_wanted());
    assert!(!master.feeds.take_acks_wanted());
}

#[test]
fn a_changed_history_sends_everybody_away() {
    let mut master = Master::new(config());
    master.online(1);
    master.psync(2, modern(2), &fresh());
    let told = master.with(|feeds, _, now, actions| feeds.discard_all(now, actions));
    assert_eq!(
        told,
        "1: close: our history changes, it may come back, \
         2: close: our history changes, it may come back, abandon 2"
    );
}

#[test]
fn a_replica_is_known_by_what_it_announces() {
    let mut master = Master::new(config());
    let mut profile = modern(6380);
    profile.note(Replconf::IpAddress("replica.example".into()));
    master.psync(1, profile, &fresh());
    assert!(
        master.feeds.find("replica.example", 6380).is_none(),
        "not online"
    );
    master.begin(1);
    master.event(1, Event::PayloadSent);
    master.ack(1, 0);
    assert_eq!(
        master.feeds.find("replica.example", 6380).unwrap().0,
        ReplicaId(1)
    );
    assert!(master.feeds.find("10.0.0.7", 6380).is_none());
}

#[test]
fn the_lines_of_a_full_sync_are_read_by_the_other_end() {
    let mut master = Master::new(config());
    master.psync(1, modern(1), &fresh());
    master.write(3);
    let line = master.begin(1);
    let line = line
        .strip_prefix("1: ")
        .unwrap()
        .replace("<id>", master.identity.id().as_str());
    assert_eq!(
        PsyncReply::parse(line.as_bytes()),
        PsyncReply::FullResync {
            id: master.identity.id(),
            offset: Offset(3)
        }
    );
}

#[test]
fn snapshots_through_sockets_keep_their_period() {
    let mut master = Master::new(FeedsConfig {
        delay: Duration::ZERO,
        period: Duration::from_secs(20),
        ..config()
    });
    assert_eq!(
        master.psync(1, modern(1), &fresh()),
        "snapshot 1 to Sockets"
    );
    master.begin(1);
    assert_eq!(master.psync(2, modern(2), &fresh()), "");
    assert!(!master.tick(19_000).contains("snapshot"));
    assert!(master.tick(1_000).contains("snapshot 2 to Sockets"));
}

mod disk;
