//! The master's end of one replica, as events in and actions out.
//!
//! The feed holds the replica's place in the journal (a [`Place`]) from the moment its snapshot is taken, so that nothing it
//! will need is freed, and hands it over when the stream may flow. What it decides by itself is what concerns one replica: its
//! reply lines, when the stream opens, when it is given up. Who shares a snapshot with whom is [`super::feeds`]' concern.
//!
//! Invariants: no byte is sent between the end of a payload and the stream; a keep-alive only before the payload begins; a
//! replica that wants only the snapshot holds nothing in the journal.

mod limits;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::handshake::{PsyncReply, Refusal};
use super::payload::{Framing, KEEP_ALIVE};
use super::place::Place;
use super::replconf::{Capabilities, Filter, Replconf};
use crate::journal::cursor::Progress;
use crate::journal::position::{Offset, Position, ReplId};

/// One replica, from its PSYNC or SYNC until it is gone.
#[derive(Debug)]
pub struct Feed {
    profile: Profile,
    request: RequestKind,
    state: State,
    acked: Offset,
    synced: Offset,
    /// When it last acknowledged, or showed with an empty line that it is alive.
    heard_at: Duration,
    /// Where its stream is; `None` before its snapshot, and for one that wants no stream.
    progress: Option<Arc<Progress>>,
    /// It is fed from disk, and nothing is kept in memory for it.
    on_disk: bool,
    /// Since when it has been behind by more than the soft limit.
    soft_since: Option<Duration>,
}

/// What a client says about itself before it asks to be a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Where its connection comes from.
    pub peer_ip: String,
    announced_ip: Option<String>,
    port: i64,
    pub capabilities: Capabilities,
    pub rdb_only: bool,
    filter: Filter,
    version: Option<u32>,
}

/// What a snapshot has to be like. Replicas that need the same ride the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    pub filter: Filter,
    /// As reported; decides which RDB version a peer can read.
    pub version: Option<u32>,
}

/// How it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// It is told where the snapshot stands, and acknowledges.
    Psync,
    /// A tool, or a replica older than 2.8: told nothing, expected to acknowledge nothing.
    Sync,
}

/// Where a snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file first, then its bytes with their length in front.
    Disk,
    /// Straight to the replicas' sockets, with a mark behind.
    Sockets,
}

/// One run over the dataset for the sake of replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u64);

/// Named by what is waited for; in brackets what INFO calls it.
#[derive(Debug)]
enum State {
    /// For a snapshot to begin (wait_bgsave).
    AwaitSnapshot {
        since: Duration,
        chosen: Option<SnapshotId>,
    },
    /// For the file, or for the end of what goes through the socket (wait_bgsave).
    AwaitPayload {
        snapshot: SnapshotId,
        target: Target,
        at: Position,
        cursor: Option<Place>,
        acked: bool,
    },
    /// For the file to be sent (send_bulk).
    SendPayload {
        snapshot: SnapshotId,
        cursor: Option<Place>,
        moved_at: Duration,
    },
    /// For the first ACK, before which nothing may follow the mark (online).
    AwaitAck { cursor: Place },
    /// For the end (online).
    Streaming,
    /// For the driver to close the connection.
    Closing,
}

#[derive(Debug)]
pub enum Event {
    /// The snapshot it rides was taken at `at`. `cursor` stands there, unless the replica wants no stream.
    SnapshotBegun {
        snapshot: SnapshotId,
        target: Target,
        at: Position,
        cursor: Option<Place>,
    },
    SnapshotFailed(String),
    /// The file is complete and has this many bytes.
    FileReady(u64),
    /// Its socket took bytes of the file.
    PayloadMoved,
    /// Its socket took the last byte of the payload.
    PayloadSent,
    Ack {
        offset: Offset,
        synced: Option<Offset>,
    },
    /// An empty line: it is alive.
    Heard,
    /// Its stream comes from memory again.
    CaughtUp,
    /// A second has passed.
    Second,
    /// It is not to be served any more.
    Discard(CloseReason),
}

#[derive(Debug)]
pub enum Action {
    Send(Bytes),
    /// Send the snapshot's file, and nothing behind it, then report the payload as sent.
    SendFile(SnapshotId),
    /// Send the journal from here on, for ever.
    Stream(Place),
    /// Go on with the stream from disk: what memory keeps for it is too much.
    LeaveMemory,
    /// Close the connection; what was sent before is still to go out, where that takes no waiting.
    Close(CloseReason),
}

/// How much of the journal a replica may be behind; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_for: Duration,
}

/// Why a replica's connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It has the snapshot that it wanted.
    RdbOnlyDone,
    SnapshotFailed(String),
    /// No ACK for this long.
    Silent(Duration),
    /// It took no byte of the payload for this long.
    PayloadStuck(Duration),
    /// This far behind, more than that.
    Behind {
        bytes: u64,
        limit_bytes: u64,
    },
    /// The history that it follows is replaced or renamed: it comes back and learns the new one.
    HistoryChanged,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::RdbOnlyDone => write!(f, "it has the snapshot that it asked for"),
            CloseReason::SnapshotFailed(reason) => write!(f, "its snapshot failed: {reason}"),
            CloseReason::Silent(silence) => {
                write!(f, "it acknowledged nothing for {} s", silence.as_secs())
            }
            CloseReason::PayloadStuck(silence) => write!(
                f,
                "it took nothing of its snapshot for {} s",
                silence.as_secs()
            ),
            CloseReason::Behind { bytes, limit_bytes } => write!(
                f,
                "it is {bytes} bytes behind, client-output-buffer-limit allows {limit_bytes}"
            ),
            CloseReason::HistoryChanged => write!(f, "our history changes, it may come back"),
        }
    }
}

impl Profile {
    pub fn new(peer_ip: impl Into<String>) -> Self {
        Profile {
            peer_ip: peer_ip.into(),
            announced_ip: None,
            port: 0,
            capabilities: Capabilities::NONE,
            rdb_only: false,
            filter: Filter::Everything,
            version: None,
        }
    }

    /// Notes what one REPLCONF pair says; those that are not about the client itself change nothing.
    pub fn note(&mut self, option: Replconf) {
        match option {
            Replconf::ListeningPort(port) => self.port = port,
            Replconf::IpAddress(ip) => self.announced_ip = Some(ip).filter(|ip| !ip.is_empty()),
            Replconf::Capability(more) => self.capabilities = self.capabilities.with(more),
            Replconf::RdbOnly(only) => self.rdb_only = only,
            Replconf::RdbFilter(filter) => self.filter = filter,
            Replconf::Version(version) => self.version = Some(version),
            Replconf::Ack { .. }
            | Replconf::MalformedAck
            | Replconf::GetAck
            | Replconf::RdbChannel(_)
            | Replconf::MainChannelClient(_)
            | Replconf::RdbClient(_) => {}
        }
    }

    /// What it wants to be called, else where it comes from.
    pub fn ip(&self) -> &str {
        self.announced_ip.as_deref().unwrap_or(&self.peer_ip)
    }

    /// As it said, 0 if it said nothing.
    pub fn port(&self) -> i64 {
        self.port
    }

    pub fn requirement(&self) -> Requirement {
        Requirement {
            filter: self.filter,
            version: self.version,
        }
    }

    /// A filtered snapshot goes through the socket only, so a peer must know the mark.
    pub fn refusal(&self) -> Option<Refusal> {
        let filtered = self.filter != Filter::Everything;
        (filtered && !self.capabilities.contains(Capabilities::EOF))
            .then_some(Refusal::FilterWithoutEof)
    }
}

impl Feed {
    /// A replica whose stream goes on at once.
    pub fn continuing(
        profile: Profile,
        id: &ReplId,
        place: Place,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Self {
        let mut feed = Feed::waiting(profile, RequestKind::Psync, now);
        feed.progress = Some(place.progress());
        feed.on_disk = place.is_on_disk();
        feed.state = State::Streaming;
        actions.push(Action::Send(PsyncReply::continue_with(
            id,
            feed.profile.capabilities,
        )));
        actions.push(Action::Stream(place));
        feed
    }

    /// A replica that needs a snapshot.
    pub fn waiting(profile: Profile, request: RequestKind, now: Duration) -> Self {
        Feed {
            profile,
            request,
            state: State::AwaitSnapshot {
                since: now,
                chosen: None,
            },
            acked: Offset::ZERO,
            synced: Offset::ZERO,
            heard_at: now,
            progress: None,
            on_disk: false,
            soft_since: None,
        }
    }

    pub fn handle(
        &mut self,
        event: Event,
        now: Duration,
        timeout: Duration,
        actions: &mut Vec<Action>,
    ) {
        match event {
            Event::SnapshotBegun {
                snapshot,
                target,
                at,
                cursor,
            } => {
                if !matches!(self.state, State::AwaitSnapshot { .. }) {
                    return;
                }
                if self.request == RequestKind::Psync {
                    actions.push(Action::Send(PsyncReply::full_resync(&at)));
                }
                self.progress = cursor.as_ref().map(Place::progress);
                self.state = State::AwaitPayload {
                    snapshot,
                    target,
                    at,
                    cursor,
                    acked: false,
                };
            }
            Event::SnapshotFailed(reason) => {
                let said_nothing_yet = matches!(
                    self.state,
                    State::AwaitSnapshot { .. }
                        | State::AwaitPayload {
                            target: Target::Disk,
                            ..
                        }
                );
                if said_nothing_yet {
                    let line = format!("-{}\r\n", Refusal::SnapshotFailed.text());
                    actions.push(Action::Send(Bytes::from(line)));
                }
                self.close(CloseReason::SnapshotFailed(reason), actions);
            }
            Event::FileReady(length) => {
                if let State::AwaitPayload {
                    snapshot, cursor, ..
                } = &mut self.state
                {
                    let (snapshot, cursor) = (*snapshot, cursor.take());
                    actions.push(Action::Send(Framing::Sized(length).header()));
                    actions.push(Action::SendFile(snapshot));
                    self.state = State::SendPayload {
                        snapshot,
                        cursor,
                        moved_at: now,
                    };
                }
            }
            Event::PayloadMoved => {
                if let State::SendPayload { moved_at, .. } = &mut self.state {
                    *moved_at = now;
                }
            }
            Event::PayloadSent => self.payload_sent(now, actions),
            Event::Ack { offset, synced } => self.acknowledged(offset, synced, now, actions),
            Event::Heard => self.heard_at = now,
            Event::CaughtUp => self.on_disk = false,
            Event::Second => self.second(now, timeout, actions),
            Event::Discard(reason) => self.close(reason, actions),
        }
    }

    fn payload_sent(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let (cursor, opens) = match &mut self.state {
            // Behind a mark there is silence until the replica shows that it has found it.
            State::AwaitPayload { cursor, acked, .. } => (cursor.take(), *acked),
            // Behind a length the stream may follow at once.
            State::SendPayload { cursor, .. } => (cursor.take(), true),
            _ => return,
        };
        self.heard_at = now;
        match cursor {
            None => self.close(CloseReason::RdbOnlyDone, actions),
            Some(cursor) if opens => {
                self.state = State::Streaming;
                actions.push(Action::Stream(cursor));
            }
            Some(cursor) => self.state = State::AwaitAck { cursor },
        }
    }

    fn acknowledged(
        &mut self,
        offset: Offset,
        synced: Option<Offset>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.heard_at = now;
        // Nobody can have more than was sent.
        let sent = self
            .progress
            .as_ref()
            .map_or(Offset::ZERO, |progress| progress.read());
        self.acked = self.acked.max(offset.min(sent));
        self.synced = self.synced.max(synced.unwrap_or_default().min(sent));
        if let Some(progress) = &self.progress {
            progress.confirm(self.acked);
        }
        match std::mem::replace(&mut self.state, State::Streaming) {
            State::AwaitAck { cursor } => actions.push(Action::Stream(cursor)),
            mut other => {
                if let State::AwaitPayload { acked, .. } = &mut other {
                    *acked = true;
                }
                self.state = other;
            }
        }
    }

    fn second(&mut self, now: Duration, timeout: Duration, actions: &mut Vec<Action>) {
        let keep_alive = Action::Send(Bytes::from_static(KEEP_ALIVE));
        match &self.state {
            // Once a snapshot is chosen, its payload may be on its way before this line would be.
            State::AwaitSnapshot { chosen: None, .. }
            | State::AwaitPayload {
                target: Target::Disk,
                ..
            } => actions.push(keep_alive),
            // Whoever writes the payload to the socket drops a replica that takes nothing of it.
            State::AwaitSnapshot { .. }
            | State::AwaitPayload {
                target: Target::Sockets,
                ..
            } => {}
            State::SendPayload { moved_at, .. } => {
                let stuck = now.saturating_sub(*moved_at);
                if stuck > timeout {
                    self.close(CloseReason::PayloadStuck(stuck), actions);
                }
            }
            State::AwaitAck { .. } | State::Streaming => {
                let silence = now.saturating_sub(self.heard_at);
                if silence > timeout && self.request == RequestKind::Psync {
                    self.close(CloseReason::Silent(silence), actions);
                }
            }
            State::Closing => {}
        }
    }

    fn close(&mut self, reason: CloseReason, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Closing) {
            self.state = State::Closing;
            actions.push(Action::Close(reason));
        }
    }

    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Since when it has waited for a snapshot that has not begun, if no snapshot was chosen for it yet.
    pub fn waiting_since(&self) -> Option<Duration> {
        match self.state {
            State::AwaitSnapshot {
                since,
                chosen: None,
            } => Some(since),
            _ => None,
        }
    }

    /// It will ride `snapshot`.
    pub fn choose(&mut self, snapshot: SnapshotId) {
        if let State::AwaitSnapshot { chosen, .. } = &mut self.state {
            *chosen = Some(snapshot);
        }
    }

    /// The snapshot that it rides.
    pub fn snapshot(&self) -> Option<SnapshotId> {
        match &self.state {
            State::AwaitSnapshot { chosen, .. } => *chosen,
            State::AwaitPayload { snapshot, .. } | State::SendPayload { snapshot, .. } => {
                Some(*snapshot)
            }
            _ => None,
        }
    }

    /// Where the snapshot stands that it waits for to become a file: others may still join it.
    pub fn joinable(&self) -> Option<(SnapshotId, Position)> {
        match &self.state {
            State::AwaitPayload {
                snapshot,
                target: Target::Disk,
                at,
                cursor,
                ..
            } if matches!(cursor, Some(Place::Memory(_))) || self.profile.rdb_only => {
                Some((*snapshot, *at))
            }
            _ => None,
        }
    }

    pub fn is_online(&self) -> bool {
        matches!(self.state, State::AwaitAck { .. } | State::Streaming)
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    pub fn acked(&self) -> Offset {
        self.acked
    }

    /// On its disk, as far as it has told.
    pub fn synced(&self) -> Offset {
        self.synced
    }

    /// Time since its last ACK; 0 until it is online.
    pub fn lag(&self, now: Duration) -> Duration {
        if self.is_online() {
            now.saturating_sub(self.heard_at)
        } else {
            Duration::ZERO
        }
    }

    /// How much of the journal is kept for it or still to be sent.
    pub fn bytes_behind(&self, end: Offset) -> u64 {
        self.progress
            .as_ref()
            .map_or(0, |progress| end.since(progress.read()))
    }

    /// The state as INFO names it.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::AwaitSnapshot { .. } | State::AwaitPayload { .. } => "wait_bgsave",
            State::SendPayload { .. } => "send_bulk",
            State::AwaitAck { .. } | State::Streaming | State::Closing => "online",
        }
    }

    /// `ip=...,port=...,state=...,offset=...,lag=...`
    pub fn info_line(&self, now: Duration) -> String {
        format!(
            "ip={},port={},state={},offset={},lag={}",
            self.profile.ip(),
            self.profile.port(),
            self.state_name(),
            self.acked,
            self.lag(now).as_secs()
        )
    }
}
