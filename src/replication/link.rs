//! The replica's end: one master followed, as events in, actions out and one deadline.
//!
//! [`Link::handle`] takes what happened and the time, and says what to do; the driver does it, in order, and reports back. It
//! owns at most one socket and one load at a time. What the driver promises:
//!
//! - After `Connect` it reports `Connected` or `ConnectFailed`, then `Bytes` and at last `Closed`; after `Close`, nothing more
//!   from that socket.
//! - It applies the stream whole commands at a time and says how far it is with [`Link::applied`], also before it reports
//!   `Closed`; then it forgets bytes that are not executed yet. While MULTI is open, what is applied stands still.
//! - It reads the socket only while [`Link::wants_bytes`], and calls [`Link::excuse_silence`] when it could not read by its own fault.
//! - It answers `EndLoad` with `Loaded` or `LoadFailed` once the decoder has found its own end exactly there.
//!
//! Invariants: `resume` is always where the dataset in place stands, so whatever breaks, the next PSYNC asks for the right byte;
//! nothing but a finished load replaces a dataset; no failure is final. What is buffered inside is bounded: a line, a mark,
//! and the bytes behind a snapshot that came in one read with its end.
//! Knows no socket, no clock and no key.

mod full_sync;
mod greeting;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use log::Level;

use super::handshake::{Greeting, Lines, Step, ack_line, ping_line};
use super::payload::{Framing, KEEP_ALIVE, Receiver};
use crate::journal::position::{Offset, Position, ReplId};
use full_sync::Loading;
use status::{Failure, History};

pub use status::SyncProgress;

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Follow this master, instead of the one before. `claim` is where a dataset stands that did not come over this link: a
    /// demoted master's, or one loaded at start; without it the link goes on from what it knows.
    ReplicaOf {
        host: String,
        port: u16,
        claim: Option<Position>,
        /// Ask the target to become the master first (a coordinated failover).
        failover: bool,
    },
    /// Follow nobody.
    NoOne,
    Connected,
    ConnectFailed(String),
    Bytes(Bytes),
    Closed,
    /// [`Link::deadline`] has come.
    Deadline,
    /// The whole payload was decoded; `stream_db` is what it says is selected in the stream.
    Loaded {
        load: LoadId,
        stream_db: Option<u32>,
    },
    LoadFailed {
        load: LoadId,
        reason: String,
    },
    /// The dataset in place was given up before the new one was complete (to save memory): nothing is left to continue from.
    DatasetDropped,
    /// The stream asked for an ACK (REPLCONF GETACK); what is applied does not count those bytes yet.
    AckRequested,
    /// The stream is not a stream of commands: everything from this master is in doubt.
    StreamBroken(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Connect {
        host: String,
        port: u16,
    },
    Send(Bytes),
    /// A snapshot begins: the dataset at `position`, whose database in the stream only its content tells.
    BeginLoad {
        load: LoadId,
        framing: Framing,
        position: Position,
        /// It continues the history of the dataset in place, which may be read from meanwhile.
        same_history: bool,
    },
    Load(Bytes),
    /// The body is complete.
    EndLoad,
    /// Forget the load that was begun.
    AbortLoad,
    /// Sub-replicas must go: what they follow is about to be replaced or renamed.
    DiscardSubReplicas,
    /// Put the loaded dataset in place, take over its history, start the journal over at its offset, keep a backlog.
    Swap(Position),
    /// The stream goes on behind `at` under `id`; keep a backlog.
    Continue {
        id: ReplId,
        at: Offset,
    },
    /// Bytes of the stream.
    Apply(Bytes),
    Close,
    /// The target of a coordinated failover has answered.
    FailoverAnswered {
        accepted: bool,
    },
    Log(Level, String),
}

/// Tells loads apart, so that the end of an aborted one is not taken for that of the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadId(pub u64);

/// Settings, as they may change at any time.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    pub greeting: Greeting,
    /// `repl-timeout`: how long a master may be silent.
    pub timeout: Duration,
}

/// A replica's end of one link.
pub struct Link {
    config: LinkConfig,
    target: Option<Target>,
    state: State,
    /// Where the dataset in place stands; `None`: it continues nothing.
    resume: Option<Position>,
    /// On our disk, where an AOF says so.
    synced: Option<Offset>,
    /// When the master was last heard, or began to owe us something.
    last_io: Duration,
    last_load: LoadId,
    /// Loads that failed in a row, connection losses not counted.
    load_failures: u32,
    history: History,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    failover: bool,
}

/// Named by what is waited for.
#[derive(Debug)]
enum State {
    Off,
    /// The time of the next attempt.
    Backoff {
        until: Duration,
    },
    Connecting,
    AwaitPong {
        lines: Lines,
    },
    AwaitAuth {
        lines: Lines,
        steps: VecDeque<Step>,
    },
    AwaitReplconf {
        lines: Lines,
        steps: VecDeque<Step>,
    },
    AwaitPsyncReply {
        lines: Lines,
    },
    AwaitPayloadHeader {
        position: Position,
        receiver: Receiver,
    },
    Loading(Loading),
    Streaming {
        /// Received, in contrast to applied.
        read: Offset,
        next_ack: Duration,
    },
}

impl Link {
    /// A link that follows nobody.
    pub fn new(config: LinkConfig) -> Self {
        Link {
            config,
            target: None,
            state: State::Off,
            resume: None,
            synced: None,
            last_io: Duration::ZERO,
            last_load: LoadId::default(),
            load_failures: 0,
            history: History::default(),
        }
    }

    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// When [`Event::Deadline`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let silence_ends = self.last_io + self.timeout();
        match &self.state {
            State::Off => None,
            State::Backoff { until } => Some(*until),
            State::Loading(loading) if !loading.connected => None,
            State::Loading(loading) if loading.finishing => Some(loading.next_keep_alive),
            State::Loading(loading) => Some(silence_ends.min(loading.next_keep_alive)),
            State::Streaming { next_ack, .. } => Some(silence_ends.min(*next_ack)),
            _ => Some(silence_ends),
        }
    }

    /// Whether the socket should be read: not while a complete snapshot is being put in place, so that what follows waits in
    /// the master's buffers.
    pub fn wants_bytes(&self) -> bool {
        !matches!(&self.state, State::Loading(loading) if loading.finishing)
    }

    /// Every command of the stream up to `offset` is executed, with `stream_db` selected.
    pub fn applied(&mut self, offset: Offset, stream_db: Option<u32>) {
        if let Some(resume) = &mut self.resume {
            resume.offset = offset;
            resume.stream_db = stream_db;
        }
    }

    /// What the AOF has on disk, to be told with each ACK; `None` without one.
    pub fn set_synced(&mut self, synced: Option<Offset>) {
        self.synced = synced;
    }

    /// The driver did not read for reasons of its own (a full queue, a pause): the master is not to blame for silence.
    pub fn excuse_silence(&mut self, now: Duration) {
        self.last_io = now;
    }

    /// Moves on. Events that mean nothing in the present state change nothing.
    pub fn handle(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::ReplicaOf {
                host,
                port,
                claim,
                failover,
            } => {
                self.hang_up(now, actions);
                self.resume = claim.or(self.resume);
                self.load_failures = 0;
                self.history.target_changed();
                self.target = Some(Target {
                    host,
                    port,
                    failover,
                });
                self.connect(now, actions);
            }
            Event::NoOne => {
                self.hang_up(now, actions);
                self.target = None;
                self.resume = None;
                self.state = State::Off;
            }
            Event::Connected => self.connected(now, actions),
            Event::ConnectFailed(reason) => {
                if matches!(self.state, State::Connecting) {
                    self.state = State::Off;
                    self.retry(Failure::Connect(reason), now, actions);
                }
            }
            Event::Bytes(bytes) => self.receive(bytes, now, actions),
            Event::Closed => self.closed(now, actions),
            Event::Deadline => self.deadline_came(now, actions),
            Event::Loaded { load, stream_db } => self.loaded(load, stream_db, now, actions),
            Event::LoadFailed { load, reason } => {
                if matches!(&self.state, State::Loading(loading) if loading.load == load) {
                    self.load_failures += 1;
                    self.fail(Failure::Load(reason), now, actions);
                }
            }
            Event::DatasetDropped => {
                if self.resume.take().is_some() {
                    actions.push(Action::DiscardSubReplicas);
                }
            }
            Event::AckRequested => {
                if let State::Streaming { .. } = self.state {
                    self.acknowledge(now, actions);
                }
            }
            Event::StreamBroken(reason) => {
                if let State::Streaming { .. } = self.state {
                    self.resume = None;
                    self.fail(Failure::Stream(reason), now, actions);
                }
            }
        }
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.max(TIMEOUT_MIN)
    }

    fn connect(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(target) = &self.target else { return };
        self.history.attempt_begins(now);
        self.last_io = now;
        self.state = State::Connecting;
        actions.push(Action::Connect {
            host: target.host.clone(),
            port: target.port,
        });
    }

    fn connected(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Connecting) {
            return;
        }
        self.last_io = now;
        self.state = State::AwaitPong {
            lines: Lines::default(),
        };
        actions.push(Action::Send(ping_line()));
    }

    fn receive(&mut self, mut bytes: Bytes, now: Duration, actions: &mut Vec<Action>) {
        if bytes.is_empty() || matches!(self.state, State::Off | State::Backoff { .. }) {
            return;
        }
        self.last_io = now;
        while !bytes.is_empty() {
            let before = bytes.len();
            let outcome = match &mut self.state {
                State::AwaitPong { lines }
                | State::AwaitAuth { lines, .. }
                | State::AwaitReplconf { lines, .. }
                | State::AwaitPsyncReply { lines } => match lines.next(&mut bytes) {
                    None => Ok(()),
                    Some(Err(_)) => Err(Failure::LineTooLong(self.state.name())),
                    // An empty line is a keep-alive.
                    Some(Ok(line)) if line.is_empty() => Ok(()),
                    Some(Ok(line)) => self.line(&line, now, actions),
                },
                State::AwaitPayloadHeader { .. } => self.payload_header(&mut bytes, now, actions),
                State::Loading(_) => self.payload_body(&mut bytes, actions),
                State::Streaming { read, .. } => {
                    *read = read.plus(bytes.len());
                    actions.push(Action::Apply(std::mem::take(&mut bytes)));
                    Ok(())
                }
                State::Off | State::Backoff { .. } | State::Connecting => return,
            };
            if let Err(failure) = outcome {
                return self.fail(failure, now, actions);
            }
            debug_assert!(bytes.len() < before, "each round takes something");
        }
    }

    fn stream_begins(&mut self, at: Offset, now: Duration, actions: &mut Vec<Action>) {
        self.history.link_up(now);
        self.load_failures = 0;
        let text = format!("following from offset {at}");
        self.history.log(&self.target, Level::Info, &text, actions);
        self.state = State::Streaming {
            read: at,
            next_ack: now,
        };
        self.acknowledge(now, actions);
    }

    fn acknowledge(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let (State::Streaming { next_ack, .. }, Some(resume)) = (&mut self.state, &self.resume) {
            *next_ack = now + ACK_PERIOD;
            actions.push(Action::Send(ack_line(resume.offset, self.synced)));
        }
    }

    fn closed(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::Off | State::Backoff { .. } => {}
            State::Loading(loading) if loading.finishing => {
                loading.connected = false;
                loading.held.clear();
            }
            state => {
                let failure = Failure::Closed(state.name());
                self.end_connection(now, actions);
                self.retry(failure, now, actions);
            }
        }
    }

    fn deadline_came(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let silent = now >= self.last_io + self.timeout();
        match &mut self.state {
            State::Off => {}
            State::Backoff { until } if now >= *until => self.connect(now, actions),
            State::Loading(loading) if !loading.connected => {}
            State::Loading(loading) => {
                if silent && !loading.finishing {
                    let failure = Failure::Silent(self.state.name());
                    return self.fail(failure, now, actions);
                }
                if now >= loading.next_keep_alive {
                    loading.next_keep_alive = now + KEEP_ALIVE_PERIOD;
                    actions.push(Action::Send(Bytes::from_static(KEEP_ALIVE)));
                }
            }
            state if silent => {
                let failure = Failure::Silent(state.name());
                self.fail(failure, now, actions);
            }
            State::Streaming { next_ack, .. } if now >= *next_ack => self.acknowledge(now, actions),
            _ => {}
        }
    }

    /// Something went wrong while the connection is still there.
    fn fail(&mut self, failure: Failure, now: Duration, actions: &mut Vec<Action>) {
        if self.has_connection() {
            actions.push(Action::Close);
        }
        self.end_connection(now, actions);
        self.retry(failure, now, actions);
    }

    /// Ends what is going on because somebody wants so.
    fn hang_up(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.has_connection() {
            actions.push(Action::Close);
        }
        self.end_connection(now, actions);
    }

    fn has_connection(&self) -> bool {
        match &self.state {
            State::Off | State::Backoff { .. } => false,
            State::Loading(loading) => loading.connected,
            _ => true,
        }
    }

    fn end_connection(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match &self.state {
            State::Loading(_) => actions.push(Action::AbortLoad),
            State::Streaming { .. } => self.history.link_down(now),
            _ => {}
        }
        self.state = State::Off;
    }

    /// Tries again: at once, but not more often than once per period, and more rarely while loads keep failing.
    fn retry(&mut self, failure: Failure, now: Duration, actions: &mut Vec<Action>) {
        let Some(target) = &self.target else { return };
        let period = if target.failover {
            FAILOVER_RETRY_PERIOD
        } else {
            RETRY_PERIOD
        };
        let period = match failure {
            Failure::Load(_) => {
                RETRY_PERIOD * (1 << (self.load_failures.saturating_sub(1)).min(LOAD_DOUBLINGS_MAX))
            }
            _ => period,
        };
        let until = match failure {
            // A load takes long: counted from now, it would never be delayed otherwise.
            Failure::Load(_) => now + period,
            _ => self.history.attempt_began() + period,
        };
        let wait = until.saturating_sub(now);
        let next = if wait.is_zero() {
            "trying again now".into()
        } else {
            format!("trying again in {} ms", wait.as_millis())
        };
        let level = match failure {
            Failure::NotNow(_) => Level::Info,
            _ => Level::Warn,
        };
        let text = format!("{failure}; {next}");
        self.history.log(&self.target, level, &text, actions);
        self.history.failed(failure);
        if wait.is_zero() {
            self.connect(now, actions);
        } else {
            self.state = State::Backoff { until };
        }
    }
}

impl State {
    /// What is waited for, as logs say it.
    fn name(&self) -> &'static str {
        match self {
            State::Off => "nothing",
            State::Backoff { .. } => "the next attempt",
            State::Connecting => "the connection",
            State::AwaitPong { .. } => "the answer to PING",
            State::AwaitAuth { .. } => "the answer to AUTH",
            State::AwaitReplconf { .. } => "the answers to REPLCONF",
            State::AwaitPsyncReply { .. } => "the answer to PSYNC",
            State::AwaitPayloadHeader { .. } => "the snapshot",
            State::Loading(_) => "the rest of the snapshot",
            State::Streaming { .. } => "the stream",
        }
    }
}

/// How often what is applied is told, besides when it is asked for.
const ACK_PERIOD: Duration = Duration::from_secs(1);

/// How often a master hears an empty line while a snapshot is loaded.
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(1);

const RETRY_PERIOD: Duration = Duration::from_secs(1);
const FAILOVER_RETRY_PERIOD: Duration = Duration::from_millis(100);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// 1, 2, 4, 8 and from then on 16 seconds between loads that fail in a row: each costs the master a snapshot.
const LOAD_DOUBLINGS_MAX: u32 = 4;
