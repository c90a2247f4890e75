//! What INFO and ROLE say about a link, and why it failed last.

use std::fmt;
use std::time::Duration;

use log::Level;

use super::{Action, Link, State, Target};
use crate::journal::position::{Offset, Position};
use crate::replication::payload::Framing;

/// Why an attempt ended, as logs and INFO tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Connect(String),
    /// The master ended the connection while this was waited for.
    Closed(&'static str),
    /// Nothing came for the timeout while this was waited for.
    Silent(&'static str),
    LineTooLong(&'static str),
    Pong(String),
    Auth(String),
    /// It asks us to come again.
    NotNow(String),
    Psync(String),
    NothingToContinue,
    Snapshot(String),
    PayloadHeader(String),
    TooMuchHeld,
    Load(String),
    Stream(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(reason) => write!(f, "cannot connect: {reason}"),
            Failure::Closed(waited) => {
                write!(f, "it closed the connection while we waited for {waited}")
            }
            Failure::Silent(waited) => write!(f, "it was silent while we waited for {waited}"),
            Failure::LineTooLong(waited) => write!(f, "an endless line instead of {waited}"),
            Failure::Pong(line) => write!(f, "it is not ready, PING was answered {line}"),
            Failure::Auth(line) => write!(f, "it refuses our password: {line}"),
            Failure::NotNow(text) => write!(f, "it cannot serve us now: {text}"),
            Failure::Psync(text) => write!(f, "PSYNC was answered {text}"),
            Failure::NothingToContinue => {
                write!(f, "it continues a stream of which we have nothing")
            }
            Failure::Snapshot(text) => write!(f, "it gave up the snapshot: {text}"),
            Failure::PayloadHeader(line) => write!(f, "{line} instead of a snapshot"),
            Failure::TooMuchHeld => write!(f, "too much stream behind the snapshot at once"),
            Failure::Load(reason) => write!(f, "the snapshot did not load: {reason}"),
            Failure::Stream(reason) => write!(f, "the stream is broken: {reason}"),
        }
    }
}

/// What a link remembers beyond its state.
#[derive(Debug, Default)]
pub(super) struct History {
    attempt_began: Duration,
    attempts_since_up: u64,
    attempts: u64,
    up_since: Option<Duration>,
    down_since: Option<Duration>,
    down_total: Duration,
    last_failure: Option<Failure>,
}

impl History {
    pub(super) fn attempt_begins(&mut self, now: Duration) {
        self.attempt_began = now;
        self.attempts += 1;
        self.attempts_since_up += 1;
    }

    pub(super) fn attempt_began(&self) -> Duration {
        self.attempt_began
    }

    pub(super) fn link_up(&mut self, now: Duration) {
        if let Some(since) = self.down_since.take() {
            self.down_total += now.saturating_sub(since);
        }
        self.up_since = Some(now);
        self.attempts_since_up = 0;
    }

    pub(super) fn link_down(&mut self, now: Duration) {
        self.up_since = None;
        self.down_since = Some(now);
    }

    pub(super) fn target_changed(&mut self) {
        self.attempts_since_up = 0;
        self.last_failure = None;
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        self.last_failure = Some(failure);
    }

    pub(super) fn log(
        &self,
        target: &Option<Target>,
        level: Level,
        text: &str,
        actions: &mut Vec<Action>,
    ) {
        if let Some(Target { host, port, .. }) = target {
            actions.push(Action::Log(level, format!("master {host}:{port}: {text}")));
        }
    }
}

/// How far a full sync is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncProgress {
    /// 0 while it is not known: before the header, and for a marked payload.
    pub total_bytes: u64,
    pub read_bytes: u64,
    pub last_io_seconds_ago: u64,
}

impl SyncProgress {
    /// Negative for a marked payload, as peers print it.
    pub fn left_bytes(&self) -> i64 {
        self.total_bytes as i64 - self.read_bytes as i64
    }

    /// 0 where the total is not known.
    pub fn percent(&self) -> f64 {
        if self.total_bytes == 0 {
            return 0.0;
        }
        self.read_bytes as f64 * 100.0 / self.total_bytes as f64
    }
}

impl Link {
    /// The master that is followed.
    pub fn master(&self) -> Option<(&str, u16)> {
        self.target
            .as_ref()
            .map(|target| (target.host.as_str(), target.port))
    }

    /// `master_link_status:up`.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Streaming { .. })
    }

    /// The state as ROLE names it.
    pub fn role_state(&self) -> &'static str {
        match self.state {
            State::Off => "none",
            State::Backoff { .. } => "connect",
            State::Connecting => "connecting",
            State::AwaitPong { .. }
            | State::AwaitAuth { .. }
            | State::AwaitReplconf { .. }
            | State::AwaitPsyncReply { .. } => "handshake",
            State::AwaitPayloadHeader { .. } | State::Loading(_) => "sync",
            State::Streaming { .. } => "connected",
        }
    }

    /// Where the dataset in place stands, for saving it and for promotion; `None` where it continues nothing.
    pub fn position(&self) -> Option<Position> {
        self.resume
    }

    /// `master_last_io_seconds_ago`: -1 while the link is not up.
    pub fn last_io_seconds_ago(&self, now: Duration) -> i64 {
        if self.is_up() {
            seconds_since(self.last_io, now) as i64
        } else {
            -1
        }
    }

    /// `master_sync_in_progress`.
    pub fn is_syncing(&self) -> bool {
        matches!(
            self.state,
            State::AwaitPayloadHeader { .. } | State::Loading(_)
        )
    }

    /// `slave_read_repl_offset`: received from the master, executed or not.
    pub fn read_offset(&self) -> i64 {
        match self.state {
            State::Streaming { read, .. } => read.0,
            _ => self.applied_offset(),
        }
    }

    /// `slave_repl_offset`: executed; 1 where there is nothing to continue from.
    pub fn applied_offset(&self) -> i64 {
        self.resume.map_or(1, |resume| resume.offset.0)
    }

    /// Bytes received and not executed yet.
    pub fn unapplied_bytes(&self) -> u64 {
        match self.state {
            State::Streaming { read, .. } => {
                read.since(self.resume.map_or(Offset::ZERO, |resume| resume.offset))
            }
            _ => 0,
        }
    }

    /// How far the full sync is, while there is one.
    pub fn sync_progress(&self, now: Duration) -> Option<SyncProgress> {
        let (total_bytes, read_bytes) = match &self.state {
            State::AwaitPayloadHeader { .. } => (0, 0),
            State::Loading(loading) => {
                let total_bytes = match loading.framing {
                    Framing::Sized(bytes) => bytes,
                    Framing::Marked(_) => 0,
                };
                (total_bytes, loading.receiver.body_bytes())
            }
            _ => return None,
        };
        Some(SyncProgress {
            total_bytes,
            read_bytes,
            last_io_seconds_ago: seconds_since(self.last_io, now),
        })
    }

    /// `master_link_down_since_seconds`: -1 if it was never up.
    pub fn down_since_seconds(&self, now: Duration) -> i64 {
        self.history
            .down_since
            .map_or(-1, |since| seconds_since(since, now) as i64)
    }

    /// `master_link_up_since_seconds`, while it is up.
    pub fn up_since_seconds(&self, now: Duration) -> Option<u64> {
        self.history.up_since.map(|since| seconds_since(since, now))
    }

    /// `total_disconnect_time_sec`: since the first time that it was up.
    pub fn down_total_seconds(&self, now: Duration) -> u64 {
        let current = self
            .history
            .down_since
            .map_or(Duration::ZERO, |since| now.saturating_sub(since));
        (self.history.down_total + current).as_secs()
    }

    /// `master_current_sync_attempts` and `master_total_sync_attempts`.
    pub fn attempts(&self) -> (u64, u64) {
        (self.history.attempts_since_up, self.history.attempts)
    }

    /// Why the last attempt or link ended, in words.
    pub fn last_failure(&self) -> Option<String> {
        self.history.last_failure.as_ref().map(Failure::to_string)
    }
}

fn seconds_since(earlier: Duration, now: Duration) -> u64 {
    now.saturating_sub(earlier).as_secs()
}
