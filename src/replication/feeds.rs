//! All replicas of this node: who shares a snapshot with whom and when it begins, and what concerns them together.
//!
//! - **PSYNC and SYNC**: the decision is [`Identity::decide`]'s; here it is carried out. A backlog that is created from nothing
//!   means a new history, and one that is freed ends it, so identity, journal and feeds change together ([`Stream`]).
//! - **Snapshots**: replicas that need the same and wait at the same time ride one. A snapshot through sockets waits
//!   `repl-diskless-sync-delay` for more riders, and who comes later gets the next one, which may run beside it. A file that is
//!   still being written can be joined: the newcomer's place in the journal is kept by the first rider.
//! - **Time**: keep-alives, timeouts, limits and PING go by whole seconds ([`Feeds::tick`]).
//!
//! Everything here runs under the engine lock; the actions are carried out before it is given back, or, for bytes to sockets,
//! handed to the tasks that own them.

mod limits;
mod snapshots;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use super::feed::{
    self, CloseReason, Event, Feed, OutputLimit, Profile, RequestKind, Requirement, SnapshotId,
    Target,
};
use super::handshake::{Refusal, ping_line};
use super::identity::{Decision, FullReason, Identity, PsyncRequest};
use super::pace::Pace;
use super::place::DiskWindow;
use crate::journal::Journal;
use crate::journal::position::Offset;
use crate::random::Random;

/// The replicas of this node.
#[derive(Debug, Default)]
pub struct Feeds {
    config: FeedsConfig,
    feeds: BTreeMap<ReplicaId, Feed>,
    /// Snapshots that are being made or sent.
    running: BTreeMap<SnapshotId, Target>,
    last_snapshot: SnapshotId,
    /// When the last snapshot through sockets began.
    last_sockets_at: Option<Duration>,
    /// When the last replica left; `None` while there is one, or never was.
    alone_since: Option<Duration>,
    next_second: Duration,
    /// The journal's end at the last second, and since when it stands there.
    quiet_at: Offset,
    quiet_since: Duration,
    acks_wanted: bool,
    pace: Pace,
    stats: SyncStats,
}

/// A replica's connection: its client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

/// Settings, as they may change at any time.
#[derive(Clone, Debug)]
pub struct FeedsConfig {
    /// `repl-timeout`.
    pub timeout: Duration,
    /// `repl-ping-replica-period`.
    pub ping_period: Duration,
    /// `repl-diskless-sync`.
    pub diskless: bool,
    /// `repl-diskless-sync-delay`.
    pub delay: Duration,
    /// `repl-diskless-sync-period`: two snapshots through sockets begin at least this far apart.
    pub period: Duration,
    /// `repl-diskless-sync-max-replicas`: so many need not wait for more; 0 is off.
    pub replicas_enough: usize,
    /// How many snapshots for replicas may run at the same time.
    pub snapshots_max: usize,
    /// `repl-backlog-size`.
    pub backlog_bytes: u64,
    /// `repl-backlog-ttl`; zero is for ever.
    pub backlog_ttl: Duration,
    /// `client-output-buffer-limit replica`.
    pub output_limit: OutputLimit,
}

impl Default for FeedsConfig {
    fn default() -> Self {
        FeedsConfig {
            timeout: Duration::from_secs(60),
            ping_period: Duration::from_secs(10),
            diskless: true,
            delay: Duration::from_secs(5),
            period: Duration::ZERO,
            replicas_enough: 0,
            snapshots_max: 4,
            backlog_bytes: 1024 * 1024,
            backlog_ttl: Duration::from_secs(3600),
            output_limit: OutputLimit {
                hard_bytes: 256 * 1024 * 1024,
                soft_bytes: 64 * 1024 * 1024,
                soft_for: Duration::from_secs(60),
            },
        }
    }
}

/// The history that replicas are fed from, and its name.
pub struct Stream<'a> {
    pub journal: &'a mut Journal,
    pub identity: &'a mut Identity,
    pub random: &'a mut Random,
    /// What can be had of it from disk.
    pub disk: Option<DiskWindow>,
}

/// What stands around a tick.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Nobody above us: only then do we ping, and may a backlog be freed.
    pub is_master: bool,
    /// Writes are paused (CLIENT PAUSE, failover): the offset must not move.
    pub paused: bool,
}

#[derive(Debug)]
pub enum Action {
    /// To one replica.
    Feed(ReplicaId, feed::Action),
    /// Take a snapshot now, under this same lock, and report it with [`Feeds::snapshot_begun`], or with
    /// [`Feeds::snapshot_failed`]. The stream's selected database becomes unknown with it.
    BeginSnapshot(SnapshotPlan),
    /// Nobody waits for it any more.
    AbandonSnapshot {
        snapshot: SnapshotId,
        target: Target,
    },
    /// Append PING to the journal, as [`ping_line`] writes it.
    Ping,
    Log(log::Level, String),
}

/// A snapshot to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPlan {
    pub snapshot: SnapshotId,
    pub target: Target,
    pub requirement: Requirement,
    pub riders: Vec<ReplicaId>,
}

/// What became of a PSYNC or SYNC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is a replica already; the request is ignored.
    Ignored,
    Continues,
    FullSync(FullReason),
}

/// Counters for INFO stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStats {
    pub full: u64,
    pub partial_ok: u64,
    pub partial_err: u64,
    /// Full syncs by cause, in the order of [`FullReason::NAMES`].
    pub full_by_reason: [u64; FullReason::NAMES.len()],
    /// Replicas closed for being too far behind.
    pub limit_closes: u64,
    /// Of `partial_ok`, those whose stream begins on disk.
    pub partial_from_disk: u64,
    /// Replicas that were moved to disk for being too far behind.
    pub spills: u64,
}

impl Feeds {
    pub fn new(config: FeedsConfig) -> Self {
        Feeds {
            config,
            ..Feeds::default()
        }
    }

    pub fn config(&self) -> &FeedsConfig {
        &self.config
    }

    pub fn set_config(&mut self, config: FeedsConfig) {
        self.config = config;
    }

    /// Serves `PSYNC`. What refuses it for other reasons than the replica's own profile was checked before.
    pub fn psync(
        &mut self,
        replica: ReplicaId,
        profile: Profile,
        request: &PsyncRequest,
        stream: &mut Stream<'_>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<Outcome, Refusal> {
        if self.feeds.contains_key(&replica) {
            return Ok(Outcome::Ignored);
        }
        if let Some(refusal) = profile.refusal() {
            return Err(refusal);
        }
        let reason = match stream.identity.decide(request, stream.window()) {
            Decision::Continue { id, from } => match stream.place_at(from) {
                Some(place) => {
                    let text = format!(
                        "continues from offset {from} {}, {} bytes behind",
                        if place.is_on_disk() {
                            "on disk"
                        } else {
                            "in memory"
                        },
                        stream.journal.end().since(from)
                    );
                    actions.push(told(log::Level::Info, &profile, &text));
                    self.stats.partial_ok += 1;
                    self.stats.partial_from_disk += u64::from(place.is_on_disk());
                    self.attach(replica, now, actions, |actions| {
                        Feed::continuing(profile, &id, place, now, actions)
                    });
                    return Ok(Outcome::Continues);
                }
                None => FullReason::NoBacklog {
                    wanted: request.byte,
                },
            },
            Decision::Full(reason) => reason,
        };
        self.stats.partial_err += u64::from(reason.is_refusal());
        self.full_sync(
            replica,
            profile,
            RequestKind::Psync,
            &reason,
            stream,
            now,
            actions,
        );
        Ok(Outcome::FullSync(reason))
    }

    /// Serves `SYNC`: always a full sync.
    pub fn sync(
        &mut self,
        replica: ReplicaId,
        profile: Profile,
        stream: &mut Stream<'_>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<Outcome, Refusal> {
        if self.feeds.contains_key(&replica) {
            return Ok(Outcome::Ignored);
        }
        if let Some(refusal) = profile.refusal() {
            return Err(refusal);
        }
        let reason = FullReason::Asked;
        self.full_sync(
            replica,
            profile,
            RequestKind::Sync,
            &reason,
            stream,
            now,
            actions,
        );
        Ok(Outcome::FullSync(reason))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where a request, the stream and the time meet"
    )]
    fn full_sync(
        &mut self,
        replica: ReplicaId,
        profile: Profile,
        request: RequestKind,
        reason: &FullReason,
        stream: &mut Stream<'_>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let text = format!("full sync, {reason}");
        actions.push(told(log::Level::Info, &profile, &text));
        self.stats.full += 1;
        self.stats.full_by_reason[reason.index()] += 1;
        if !stream.journal.has_backlog()
            && !stream.journal.create_backlog(self.config.backlog_bytes)
        {
            stream.identity.begin(stream.random);
        }
        let file = self.joinable_file(&profile);
        self.attach(replica, now, actions, |_| {
            Feed::waiting(profile, request, now)
        });
        match file {
            Some((snapshot, at)) => {
                self.begin(
                    replica,
                    snapshot,
                    Target::Disk,
                    at,
                    stream.journal,
                    now,
                    actions,
                );
            }
            None => self.begin_due_snapshots(now, actions),
        }
    }

    fn attach(
        &mut self,
        replica: ReplicaId,
        now: Duration,
        actions: &mut Vec<Action>,
        make: impl FnOnce(&mut Vec<feed::Action>) -> Feed,
    ) {
        if self.feeds.is_empty() {
            self.next_second = now + SECOND;
            self.quiet_since = now;
        }
        self.alone_since = None;
        let mut feed_actions = Vec::new();
        let feed = make(&mut feed_actions);
        self.feeds.insert(replica, feed);
        self.pass_on(replica, feed_actions, actions);
    }

    /// Any event of one replica.
    pub fn handle(
        &mut self,
        replica: ReplicaId,
        event: Event,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if let Some(feed) = self.feeds.get_mut(&replica) {
            let mut feed_actions = Vec::new();
            feed.handle(event, now, self.config.timeout, &mut feed_actions);
            let leaves = feed.is_closing();
            self.pass_on(replica, feed_actions, actions);
            if leaves {
                self.abandon_unridden(now, actions);
            }
        }
    }

    /// Its connection is gone.
    pub fn detach(&mut self, replica: ReplicaId, now: Duration, actions: &mut Vec<Action>) {
        if self.feeds.remove(&replica).is_some() {
            self.abandon_unridden(now, actions);
            if self.feeds.is_empty() {
                self.alone_since = Some(now);
            }
        }
    }

    /// All of them must go: the history they follow is about to be replaced or renamed.
    pub fn discard_all(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let replicas: Vec<ReplicaId> = self.feeds.keys().copied().collect();
        for replica in replicas {
            let event = Event::Discard(CloseReason::HistoryChanged);
            self.handle(replica, event, now, actions);
        }
    }

    /// The clock of "no replicas for so long" starts now: after a promotion, and for a master that starts with a backlog.
    pub fn start_backlog_ttl(&mut self, now: Duration) {
        if self.feeds.is_empty() {
            self.alone_since = Some(now);
        }
    }

    /// What time brings: due snapshots at once, and each second keep-alives, timeouts, limits, PING and the backlog's end.
    pub fn tick(
        &mut self,
        around: Surroundings,
        stream: &mut Stream<'_>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.begin_due_snapshots(now, actions);
        self.pace.note(stream.journal.end(), now);
        self.spill(stream, actions);
        if now >= self.next_second {
            self.next_second = now + SECOND;
            let end = stream.journal.end();
            let backlog_bytes = stream.journal.backlog_size_bytes().unwrap_or(0);
            let replicas: Vec<ReplicaId> = self.feeds.keys().copied().collect();
            for replica in replicas {
                self.handle(replica, Event::Second, now, actions);
                self.check_limit(replica, end, backlog_bytes, now, actions);
            }
            self.ping_if_quiet(around, end, now, actions);
        }
        if self.backlog_ends().is_some_and(|ends| now >= ends) {
            self.alone_since = None;
            if around.is_master && stream.journal.has_backlog() {
                self.free_backlog(stream, actions);
            }
        }
    }

    /// A stream that moves by itself needs no sign of life.
    fn ping_if_quiet(
        &mut self,
        around: Surroundings,
        end: Offset,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if end != self.quiet_at {
            self.quiet_at = end;
            self.quiet_since = now;
        }
        let quiet_for = now.saturating_sub(self.quiet_since);
        let replicas = !self.feeds.is_empty();
        if replicas && quiet_for >= self.config.ping_period && around.is_master && !around.paused {
            self.quiet_since = now;
            self.quiet_at = end.plus(ping_line().len());
            actions.push(Action::Ping);
        }
    }

    fn free_backlog(&mut self, stream: &mut Stream<'_>, actions: &mut Vec<Action>) {
        stream.journal.free_backlog();
        if !stream.journal.is_active() {
            // Writes pass unrecorded from now on: whoever was here before must not continue.
            stream.identity.begin(stream.random);
        }
        let text = format!(
            "no replica for {} s, the backlog is freed",
            self.config.backlog_ttl.as_secs()
        );
        actions.push(Action::Log(log::Level::Info, text));
    }

    /// The next time at which [`Feeds::tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        if self.feeds.is_empty() {
            return self.backlog_ends();
        }
        let snapshot = self
            .waiting_groups()
            .iter()
            .filter(|_| self.running.len() < self.config.snapshots_max.max(1))
            .map(|group| group.since + self.config.delay)
            .min();
        Some(snapshot.map_or(self.next_second, |due| due.min(self.next_second)))
    }

    fn backlog_ends(&self) -> Option<Duration> {
        let alone_since = self.alone_since?;
        (!self.config.backlog_ttl.is_zero()).then(|| alone_since + self.config.backlog_ttl)
    }

    /// A replica's own actions, and what its leaving means for others.
    fn pass_on(
        &mut self,
        replica: ReplicaId,
        feed_actions: Vec<feed::Action>,
        actions: &mut Vec<Action>,
    ) {
        for action in feed_actions {
            if let (feed::Action::Close(reason), Some(feed)) = (&action, self.feeds.get(&replica)) {
                if matches!(reason, CloseReason::Behind { .. }) {
                    self.stats.limit_closes += 1;
                }
                let level = match reason {
                    CloseReason::RdbOnlyDone | CloseReason::HistoryChanged => log::Level::Info,
                    _ => log::Level::Warn,
                };
                let text = format!("closed, {reason}");
                actions.push(told(level, feed.profile(), &text));
            }
            actions.push(Action::Feed(replica, action));
        }
    }

    /// Somebody waits for ACKs: [`Feeds::take_acks_wanted`] tells it once.
    pub fn want_acks(&mut self) {
        self.acks_wanted = true;
    }

    /// Whether one `REPLCONF GETACK *` is to be appended, at the end of a turn.
    pub fn take_acks_wanted(&mut self) -> bool {
        std::mem::take(&mut self.acks_wanted) && self.online().next().is_some()
    }

    pub fn stats(&self) -> SyncStats {
        self.stats
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&mut self) {
        self.stats = SyncStats::default();
    }
}

fn told(level: log::Level, profile: &Profile, text: &str) -> Action {
    Action::Log(
        level,
        format!("replica {}:{}: {text}", profile.ip(), profile.port()),
    )
}

/// The command that asks every replica for an ACK, as argv.
pub const GETACK: [&[u8]; 3] = [b"REPLCONF", b"GETACK", b"*"];

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
