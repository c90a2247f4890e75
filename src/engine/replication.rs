//! The master's end inside the engine: identity, journal and replicas change together, under the lock.
//!
//! [`Feeds`] decides; here its actions are carried out: lines and cursors go to the replica's task ([`FeedWork`] in its
//! queue), snapshots are taken at once and handed to the tasks that walk them ([`Engine::take_due_snapshots`]).
//! The replica's end is in [`super::following`].

use std::time::Duration;

use crate::clients::ClientKey;
use crate::clients::session::{Blocked, FeedWork, Role};
use crate::config::Config;
use crate::config::values::ClientClass;
use crate::engine::intent::Intent;
use crate::journal::effect::encode_argv;
use crate::journal::position::{Offset, Position};
use crate::memory;
use crate::replication::feed::{self, OutputLimit, Profile, SnapshotId, Target};
use crate::replication::feeds::{
    Action, Feeds, FeedsConfig, ReplicaId, SnapshotPlan, Stream, Surroundings,
};
use crate::replication::handshake::{Refusal, ping_line};
use crate::replication::identity::{Identity, PsyncRequest};
use crate::snapshot::Snapshot;

use super::Engine;
use super::error::CommandError;
use super::following::Following;

/// What a node knows about its replicas and its master.
pub struct Replication {
    pub identity: Identity,
    pub feeds: Feeds,
    pub following: Following,
    /// Snapshots taken for replicas, for the task that walks them.
    due_snapshots: Vec<(SnapshotPlan, Snapshot)>,
    /// Snapshots whose last rider has left, or that are given up.
    abandoned: Vec<SnapshotId>,
    /// Snapshots that are being walked, the oldest first.
    walking: Vec<Walking>,
}

/// A snapshot for replicas that holds on to the dataset as it was.
struct Walking {
    snapshot: SnapshotId,
    target: Target,
    /// [`memory::copied_bytes`] when it was taken.
    copied_at_start: u64,
}

impl Replication {
    pub fn new(config: &Config, identity: Identity) -> Self {
        Replication {
            identity,
            feeds: Feeds::new(feeds_config(config)),
            following: Following::new(config),
            due_snapshots: Vec::new(),
            abandoned: Vec::new(),
            walking: Vec::new(),
        }
    }
}

impl Engine {
    /// PSYNC. The answer goes out as the first work of the replica's task, not as a reply.
    pub fn psync(&mut self, client: ClientKey, request: &PsyncRequest) -> Result<(), CommandError> {
        let profile = self.replica_profile(client)?;
        let (replica, now) = (ReplicaId(client.id.0), self.monotonic);
        let mut actions = Vec::new();
        let disk = self.disk_window();
        let mut stream = Stream {
            journal: &mut self.journal,
            identity: &mut self.replication.identity,
            random: &mut self.random,
            disk,
        };
        let outcome =
            self.replication
                .feeds
                .psync(replica, profile, request, &mut stream, now, &mut actions);
        self.begin_feeding(client, outcome.map(|_| ()), actions)
    }

    /// SYNC.
    pub fn sync(&mut self, client: ClientKey) -> Result<(), CommandError> {
        let profile = self.replica_profile(client)?;
        let (replica, now) = (ReplicaId(client.id.0), self.monotonic);
        let mut actions = Vec::new();
        let disk = self.disk_window();
        let mut stream = Stream {
            journal: &mut self.journal,
            identity: &mut self.replication.identity,
            random: &mut self.random,
            disk,
        };
        let outcome = self
            .replication
            .feeds
            .sync(replica, profile, &mut stream, now, &mut actions);
        self.begin_feeding(client, outcome.map(|_| ()), actions)
    }

    fn replica_profile(&mut self, client: ClientKey) -> Result<Profile, CommandError> {
        if self.is_replica() && !self.link_is_up() {
            return Err(CommandError::new(Refusal::MasterLinkDown.text()));
        }
        let client = self.clients.get(client);
        if !client.outbox.buffer.is_empty() || client.outbox.wire.unsent_bytes() > 0 {
            return Err(CommandError::new(Refusal::PendingOutput.text()));
        }
        Ok(match &client.session.profile {
            Some(profile) => (**profile).clone(),
            None => Profile::new(ip_of(&client.ends.peer)),
        })
    }

    fn begin_feeding(
        &mut self,
        client: ClientKey,
        outcome: Result<(), Refusal>,
        actions: Vec<Action>,
    ) -> Result<(), CommandError> {
        outcome.map_err(|refusal| CommandError::new(refusal.text()))?;
        self.clients.get_mut(client).session.role = Role::Replica;
        self.carry_out(actions);
        Ok(())
    }

    /// Tells the feeds what a replica did or what became of what was sent to it.
    pub fn feed_event(&mut self, client: ClientKey, event: feed::Event) {
        let mut actions = Vec::new();
        let now = self.monotonic;
        let is_ack = matches!(event, feed::Event::Ack { .. });
        self.replication
            .feeds
            .handle(ReplicaId(client.id.0), event, now, &mut actions);
        self.carry_out(actions);
        if is_ack {
            self.answer_waits();
        }
    }

    pub fn forget_replica(&mut self, client: ClientKey) {
        let mut actions = Vec::new();
        let now = self.monotonic;
        self.replication
            .feeds
            .detach(ReplicaId(client.id.0), now, &mut actions);
        self.carry_out(actions);
    }

    /// Carries out what the feeds have decided, and what follows from that.
    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Feed(replica, action) => {
                    self.queue_feed_work(replica, FeedWork::Do(action))
                }
                Action::BeginSnapshot(plan) => self.begin_snapshot(plan),
                Action::AbandonSnapshot { snapshot, .. } => {
                    self.replication
                        .due_snapshots
                        .retain(|(plan, _)| plan.snapshot != snapshot);
                    self.give_snapshot_up(snapshot);
                }
                Action::Ping => {
                    self.journal.append(&ping_line());
                }
                Action::Log(level, text) => log::log!(level, "{text}"),
            }
        }
    }

    fn begin_snapshot(&mut self, plan: SnapshotPlan) {
        let (now, mut actions) = (self.monotonic, Vec::new());
        if !self.is_replica() {
            // What was selected before is not part of the snapshot: the next write selects again.
            self.unit.effects.set_stream_db(None);
        }
        let at = self.stream_position();
        let snapshot = self.take_snapshot();
        self.replication
            .feeds
            .snapshot_begun(plan.snapshot, at, &self.journal, now, &mut actions);
        let riders = plan.riders.clone();
        let (id, target) = (plan.snapshot, plan.target);
        self.replication.walking.push(Walking {
            snapshot: id,
            target,
            copied_at_start: memory::copied_bytes(),
        });
        self.replication.due_snapshots.push((plan, snapshot));
        // The lines that announce the snapshot come first, then the socket is lent.
        self.carry_out(actions);
        if target == Target::Sockets {
            for rider in riders {
                self.queue_feed_work(rider, FeedWork::LendSocket(id));
            }
        }
        self.intents.push(Intent::FeedReplicas);
    }

    /// Has the task stop that walks this snapshot; replicas that wait for it are sent away by its end.
    fn give_snapshot_up(&mut self, snapshot: SnapshotId) {
        self.forget_walk(snapshot);
        self.replication.abandoned.push(snapshot);
        self.intents.push(Intent::FeedReplicas);
    }

    /// Nothing is held on to any more for this snapshot: all that is left is bytes on their way.
    pub fn forget_walk(&mut self, snapshot: SnapshotId) {
        let walking = &mut self.replication.walking;
        walking.retain(|walk| walk.snapshot != snapshot);
    }

    /// [`memory::copied_bytes`] when the oldest snapshot for replicas was taken that is still being walked.
    pub fn oldest_walk(&self) -> Option<u64> {
        let oldest = self.replication.walking.first()?;
        Some(oldest.copied_at_start)
    }

    /// Gives up the oldest snapshot for replicas: they will ask again.
    pub fn give_oldest_walk_up(&mut self) {
        if let Some(walk) = self.replication.walking.first() {
            self.give_snapshot_up(walk.snapshot);
        }
    }

    /// Gives up all snapshots that are being written to disk for replicas: for who is about to leave.
    pub fn give_walks_to_disk_up(&mut self) {
        let to_disk = |walk: &&Walking| walk.target == Target::Disk;
        let walks = self.replication.walking.iter().filter(to_disk);
        for snapshot in walks.map(|walk| walk.snapshot).collect::<Vec<_>>() {
            self.give_snapshot_up(snapshot);
        }
    }

    fn queue_feed_work(&mut self, replica: ReplicaId, work: FeedWork) {
        let Some(key) = self.clients.key_of(crate::clients::ClientId(replica.0)) else {
            return;
        };
        if let Some(client) = self.clients.find_mut(key) {
            client.session.feed_queue.push_back(work);
            client.wake();
        }
    }

    /// The next thing for a replica's task to do.
    pub fn next_feed_work(&mut self, client: ClientKey) -> Option<FeedWork> {
        self.clients
            .find_mut(client)?
            .session
            .feed_queue
            .pop_front()
    }

    /// Snapshots that are to be walked and sent, and ids of those that are not to be any more.
    pub fn take_due_snapshots(&mut self) -> (Vec<(SnapshotPlan, Snapshot)>, Vec<SnapshotId>) {
        (
            std::mem::take(&mut self.replication.due_snapshots),
            std::mem::take(&mut self.replication.abandoned),
        )
    }

    /// A file for replicas is complete.
    pub fn snapshot_file_ready(&mut self, snapshot: SnapshotId, length_bytes: u64) {
        self.forget_walk(snapshot);
        let mut actions = Vec::new();
        self.replication
            .feeds
            .file_ready(snapshot, length_bytes, self.monotonic, &mut actions);
        self.carry_out(actions);
    }

    /// A walk for replicas is over, well or not.
    pub fn snapshot_ended(&mut self, snapshot: SnapshotId, failure: Option<&str>) {
        self.forget_walk(snapshot);
        let mut actions = Vec::new();
        let now = self.monotonic;
        match failure {
            None => self
                .replication
                .feeds
                .snapshot_ended(snapshot, now, &mut actions),
            Some(reason) => {
                self.replication
                    .feeds
                    .snapshot_failed(snapshot, reason, now, &mut actions)
            }
        }
        self.carry_out(actions);
    }

    /// Sends all replicas away: the history they follow is about to be replaced or renamed.
    pub fn discard_replicas(&mut self) {
        let mut actions = Vec::new();
        let now = self.monotonic;
        self.replication.feeds.discard_all(now, &mut actions);
        self.carry_out(actions);
    }

    /// Where the dataset stands, with the database that the stream has selected.
    pub fn stream_position(&self) -> Position {
        let stream_db = match self.replication.following.position() {
            Some(position) => position.stream_db,
            None => self.unit.effects.stream_db(),
        };
        Position {
            id: self.replication.identity.id(),
            offset: self.journal.end(),
            stream_db,
        }
    }

    /// What a snapshot file says about its place, if there is anybody who could continue from it.
    pub fn snapshot_position(&mut self) -> Option<Position> {
        if self.replication.following.has_loaded() {
            // The link stands where the dataset will be, not where it is.
            return None;
        }
        let mut position = match self.replication.following.position() {
            Some(position) => position,
            None if !self.is_replica() && self.journal.is_active() => self.stream_position(),
            None => return None,
        };
        position.stream_db = Some(position.stream_db.unwrap_or(0));
        self.replication.identity.mark_told();
        Some(position)
    }

    /// Ten times a second: what time brings to replicas.
    pub fn replication_tick(&mut self) {
        self.replication
            .feeds
            .set_config(feeds_config(&self.config));
        let around = Surroundings {
            is_master: !self.is_replica(),
            paused: self.pauses.mode(self.monotonic).is_some(),
        };
        let mut actions = Vec::new();
        let disk = self.disk_window();
        let mut stream = Stream {
            journal: &mut self.journal,
            identity: &mut self.replication.identity,
            random: &mut self.random,
            disk,
        };
        self.replication
            .feeds
            .tick(around, &mut stream, self.monotonic, &mut actions);
        self.carry_out(actions);
        self.link_deadline();
        // Appending frees too, but what a slow replica has caught up on may be all that is left to do.
        self.journal.shared().trim();
    }

    /// WAIT needs to know now how far the replicas are.
    pub fn request_acks(&mut self) {
        if self.replication.feeds.count() > 0 && !self.is_replica() && self.journal.is_active() {
            let mut line = Vec::new();
            encode_argv(&[b"REPLCONF", b"GETACK", b"*"], &mut line);
            self.journal.append(&line);
        }
    }

    /// Replicas that have acknowledged `offset`.
    pub fn replicas_past(&self, offset: Offset) -> usize {
        self.replication.feeds.count_acked(offset)
    }

    /// Ends the waits for replicas and disks that have what they wait for.
    pub fn answer_waits(&mut self) {
        for key in self.clients.keys() {
            let Some(client) = self.clients.find(key) else {
                continue;
            };
            match client.session.blocked {
                Some(Blocked::ForReplicas {
                    replicas, offset, ..
                }) => {
                    let count = self.replicas_past(offset);
                    if count >= replicas {
                        self.unblock(key, |reply| reply.integer(count as i64));
                    }
                }
                Some(Blocked::ForDisks {
                    local,
                    replicas,
                    offset,
                    ..
                }) => self.answer_disk_wait(key, local, replicas, offset),
                _ => {}
            }
        }
    }

    /// Whether `min-replicas-to-write` forbids writes now.
    pub fn lacks_good_replicas(&self) -> bool {
        let (wanted, lag) = (
            self.config.min_replicas_to_write as usize,
            self.config.min_replicas_max_lag,
        );
        if wanted == 0 || lag == 0 || self.is_replica() {
            return false;
        }
        let lag = Duration::from_secs(lag.into());
        self.replication.feeds.count_good(lag, self.monotonic) < wanted
    }
}

/// The address without its port.
pub fn ip_of(peer: &str) -> String {
    let ip = peer.rsplit_once(':').map_or(peer, |(ip, _)| ip);
    ip.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn feeds_config(config: &Config) -> FeedsConfig {
    let seconds = |seconds: u64| Duration::from_secs(seconds);
    let limit = config.client_output_buffer_limit[ClientClass::Replica as usize];
    FeedsConfig {
        timeout: seconds(config.repl_timeout.into()),
        ping_period: seconds(config.repl_ping_replica_period.into()),
        diskless: config.repl_diskless_sync,
        delay: seconds(config.repl_diskless_sync_delay.into()),
        period: seconds(config.repl_diskless_sync_period.into()),
        replicas_enough: config.repl_diskless_sync_max_replicas as usize,
        snapshots_max: 4,
        backlog_bytes: config.repl_backlog_size,
        backlog_ttl: seconds(config.repl_backlog_ttl),
        output_limit: OutputLimit {
            hard_bytes: limit.hard_bytes,
            soft_bytes: limit.soft_bytes,
            soft_for: seconds(limit.soft_seconds),
        },
    }
}
