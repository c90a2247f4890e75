//! The replica's end inside the engine: the link to a master, and its stream applied to the data.
//!
//! [`Link`] decides; its actions stand in one queue and are carried out strictly in order. Those that touch data are
//! carried out here, under the lock; the others are handed to the task that owns the socket, one at a time
//! ([`Engine::next_link_step`]). The stream is executed as the requests of a client of its own (CLIENT LIST shows it with
//! flag M) and appended verbatim to the journal, so that sub-replicas share our offsets.

mod dataset;

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use crate::clients::session::{Role, Session};
use crate::clients::{ClientKey, Ends};
use crate::config::Config;
use crate::config::values::MasterAddress;
use crate::engine::dispatch::Flow;
use crate::engine::intent::Intent;
use crate::engine::table;
use crate::journal::effect::Framing;
use crate::journal::position::Position;
use crate::protocol::request::{Limits, Parser};
use crate::replication::handshake::Greeting;
use crate::replication::link::{Action, Event, Link, LinkConfig, LoadId};
use crate::replication::payload;
use crate::replication::replconf::Capabilities;

use super::Engine;

use dataset::Arrived;

pub use dataset::LoadWay;

/// Commands of the stream that are executed under one lock.
const COMMANDS_PER_STEP: usize = 256;

/// Everything about our own master.
pub struct Following {
    link: Link,
    actions: VecDeque<Action>,
    /// Received and not executed yet.
    stream: BytesMut,
    /// Its batch refers to `stream`.
    parser: Parser,
    /// The next request of the batch, and how many bytes the batch takes.
    next_request: usize,
    consumed: usize,
    /// Why the stream cannot go on behind the batch.
    broken: Option<String>,
    /// The stream's own client, while the link is up.
    client: Option<ClientKey>,
    /// A dataset that has been loaded and waits for its [`Action::Swap`].
    arrived: Option<Arrived>,
    /// Bytes of an open transaction: executed as far as queueing goes, not applied.
    held: BytesMut,
    /// The task that drives the link.
    waker: Option<Waker>,
}

/// What the task that owns the link's socket does next.
#[derive(Debug)]
pub enum LinkStep {
    Connect {
        host: String,
        port: u16,
    },
    Send(Bytes),
    BeginLoad {
        load: LoadId,
        framing: payload::Framing,
        way: LoadWay,
    },
    Load(Bytes),
    EndLoad,
    AbortLoad,
    Close,
    /// Executed a part of the stream; there is more.
    Again,
    /// Nothing to do before bytes arrive (if they are wanted), the deadline comes or it is woken.
    Wait {
        deadline: Option<Duration>,
        wants_bytes: bool,
    },
}

impl Following {
    pub fn new(config: &Config) -> Self {
        Following {
            link: Link::new(link_config(config)),
            actions: VecDeque::new(),
            stream: BytesMut::new(),
            parser: Parser::contiguous(),
            next_request: 0,
            consumed: 0,
            broken: None,
            client: None,
            arrived: None,
            held: BytesMut::new(),
            waker: None,
        }
    }

    /// Where the dataset stands, if it came from a master.
    pub fn position(&self) -> Option<Position> {
        self.link.position()
    }

    /// Whether a dataset is complete that has not taken its place yet.
    pub fn has_loaded(&self) -> bool {
        self.arrived.is_some()
    }

    /// Whether the link has decided to close the socket that the task holds, or is about to get: what it still brings is of
    /// no interest.
    fn gives_socket_up(&self) -> bool {
        let closes = |action: &Action| matches!(action, Action::Close);
        self.actions.iter().any(closes)
    }

    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Engine {
    /// Whether the link to the master stands and its stream flows.
    pub fn link_is_up(&self) -> bool {
        self.replication.following.link.is_up()
    }

    /// Lets the task that drives the link look again.
    pub fn wake_link(&mut self) {
        if let Some(waker) = self.replication.following.waker.take() {
            waker.wake();
        }
    }

    /// Tells the link what has happened; what follows is queued for [`Engine::next_link_step`].
    pub fn link_event(&mut self, event: Event) {
        let mut actions = Vec::new();
        let (now, kept) = (self.monotonic, self.kept());
        let following = &mut self.replication.following;
        if is_of_socket(&event) && following.gives_socket_up() {
            return;
        }
        if matches!(event, Event::Closed) {
            // What came before the end is executed before it is forgotten.
            following.actions.push_back(Action::Close);
        }
        following.link.set_synced(kept);
        following.link.handle(event, now, &mut actions);
        following.actions.extend(actions);
        self.wake_link();
    }

    /// Whether the socket, or the one that is on its way, is still wanted; `waker` is woken when that may have changed.
    pub fn is_socket_wanted(&mut self, waker: &Waker) -> bool {
        let following = &mut self.replication.following;
        following.waker = Some(waker.clone());
        !following.gives_socket_up()
    }

    /// Reports the link's deadline once it has passed.
    pub fn link_deadline(&mut self) {
        let config = link_config(&self.config);
        let following = &mut self.replication.following;
        following.link.set_config(config);
        if following
            .link
            .deadline()
            .is_some_and(|at| at <= self.monotonic)
        {
            self.link_event(Event::Deadline);
        }
    }

    /// Carries out the next actions up to one that is the task's.
    pub fn next_link_step(&mut self, waker: &Waker) -> LinkStep {
        if self.is_link_killed() {
            self.end_stream();
            if self.link_is_up() {
                self.link_event(Event::Closed);
            }
        }
        loop {
            match self.apply_stream() {
                Applied::All => {}
                Applied::Some => return LinkStep::Again,
                Applied::Postponed => return self.while_postponed(waker),
            }
            let Some(action) = self.replication.following.actions.pop_front() else {
                break;
            };
            if let Some(step) = self.carry_out_link(action) {
                return step;
            }
        }
        let following = &mut self.replication.following;
        following.waker = Some(waker.clone());
        LinkStep::Wait {
            deadline: following.link.deadline(),
            wants_bytes: following.link.wants_bytes(),
        }
    }

    /// A pause holds the stream back, and with it what is to be done after it. Our master hears that we are alive all the same,
    /// and is not blamed for what we do not read.
    fn while_postponed(&mut self, waker: &Waker) -> LinkStep {
        let following = &mut self.replication.following;
        following.link.excuse_silence(self.monotonic);
        let of_this_stream = |action: &Action| !matches!(action, Action::Close);
        let ack = following
            .actions
            .iter()
            .take_while(|action| of_this_stream(action))
            .position(|action| matches!(action, Action::Send(_)));
        if let Some(Action::Send(bytes)) = ack.and_then(|place| following.actions.remove(place)) {
            return LinkStep::Send(bytes);
        }
        following.waker = Some(waker.clone());
        LinkStep::Wait {
            deadline: None,
            wants_bytes: false,
        }
    }

    fn carry_out_link(&mut self, action: Action) -> Option<LinkStep> {
        match action {
            Action::Connect { host, port } => return Some(LinkStep::Connect { host, port }),
            Action::Send(bytes) => return Some(LinkStep::Send(bytes)),
            Action::BeginLoad {
                load,
                framing,
                same_history,
                ..
            } => {
                return Some(self.begin_link_load(load, framing, same_history));
            }
            Action::Load(bytes) => {
                if let Some(loading) = &mut self.persistence.loading {
                    loading.loaded_bytes += bytes.len() as u64;
                }
                return Some(LinkStep::Load(bytes));
            }
            Action::EndLoad => return Some(LinkStep::EndLoad),
            Action::AbortLoad => {
                self.persistence.loading = None;
                self.forget_arrived();
                return Some(LinkStep::AbortLoad);
            }
            Action::Close => {
                self.end_stream();
                return Some(LinkStep::Close);
            }
            Action::DiscardSubReplicas => self.discard_replicas(),
            Action::Swap(position) => self.swap_in(position),
            Action::Continue { id, at } => {
                let backlog = self.config.repl_backlog_size;
                let is_renamed = self.replication.identity.continue_as(id, at);
                if is_renamed {
                    self.discard_replicas();
                }
                if !self.journal.has_backlog() {
                    if self.journal.end() != at {
                        // Nobody recorded what lies between.
                        self.withdraw_archive();
                        self.journal.reset(at);
                    }
                    self.journal.create_backlog(backlog);
                }
                if is_renamed {
                    self.rotate_aof();
                }
                let db = self
                    .replication
                    .following
                    .link
                    .position()
                    .and_then(|position| position.stream_db);
                self.begin_stream(db);
            }
            Action::Apply(bytes) => self.replication.following.stream.extend_from_slice(&bytes),
            Action::FailoverAnswered { .. } => {}
            Action::Log(level, text) => log::log!(level, "{text}"),
        }
        None
    }

    /// The stream gets a client of its own.
    fn begin_stream(&mut self, db: Option<u32>) {
        self.end_stream();
        let name = match &self.config.replicaof {
            Some(MasterAddress { host, port }) => format!("{host}:{port}"),
            None => String::new(),
        };
        let ends = Ends {
            peer: name,
            is_local: true,
            ..Ends::default()
        };
        let session = Session {
            role: Role::Master,
            authenticated: true,
            db: db.unwrap_or(0) as usize,
            ..Session::default()
        };
        self.replication.following.client =
            Some(self.clients.connect(ends, session, self.monotonic));
    }

    /// What has been received and not executed is forgotten; it will be asked for again.
    fn end_stream(&mut self) {
        let following = &mut self.replication.following;
        following.stream.clear();
        following.held.clear();
        following.parser = Parser::contiguous();
        (following.next_request, following.consumed, following.broken) = (0, 0, None);
        if let Some(client) = following.client.take() {
            self.disconnect(client);
        }
    }

    /// CLIENT KILL of the stream's client ends the link.
    fn is_link_killed(&self) -> bool {
        let client = self.replication.following.client;
        client.is_some_and(|key| {
            self.clients
                .find(key)
                .is_none_or(|client| client.closing.is_some())
        })
    }

    /// Executes the next part of what has been received.
    fn apply_stream(&mut self) -> Applied {
        let following = &mut self.replication.following;
        let Some(client) = following.client else {
            following.stream.clear();
            return Applied::All;
        };
        let mut parser = std::mem::take(&mut following.parser);
        let mut stream = std::mem::take(&mut following.stream);
        if following.next_request == parser.request_count() {
            // The batch before is done with: its bytes go, and what has come since is parsed.
            stream.advance(following.consumed);
            (following.consumed, following.next_request) = (0, 0);
            let (parsed, error) = parser.parse(&stream, STREAM_LIMITS);
            following.consumed = parsed.consumed;
            following.broken = error.map(|error| error.text());
        }
        let outcome = self.execute_stream(client, &parser, &stream);
        let following = &mut self.replication.following;
        if following.client != Some(client) {
            // The stream has ended by what it carried.
            return Applied::All;
        }
        let is_done = following.next_request == parser.request_count();
        (following.parser, following.stream) = (parser, stream);
        if is_done && let Some(reason) = following.broken.take() {
            self.link_event(Event::StreamBroken(reason));
            return Applied::All;
        }
        match outcome {
            Flow::Postponed => Applied::Postponed,
            _ if is_done => Applied::All,
            _ => Applied::Some,
        }
    }

    /// Runs some requests of the batch and appends their bytes to our own journal, many at a time.
    fn execute_stream(&mut self, client: ClientKey, parser: &Parser, stream: &[u8]) -> Flow {
        let end_before = |index: usize| match index {
            0 => 0,
            _ => parser.request_end(index - 1),
        };
        let count = parser.request_count();
        let first = self.replication.following.next_request;
        let last = (first + COMMANDS_PER_STEP).min(count);
        // Executed up to `done`, recorded up to `recorded`.
        let (mut recorded, mut done) = (end_before(first), end_before(first));
        let mut outcome = Flow::Next;
        let cannot_save = self.cannot_save();
        for index in first..last {
            let (argv, start) = (parser.request(stream, index), end_before(index));
            let mut words = stream[start..].iter();
            if words.find(|byte| !byte.is_ascii_whitespace()) != Some(&b'*') {
                let following = &mut self.replication.following;
                following.broken = Some("an inline request in the stream".into());
                following.next_request = count;
                break;
            }
            if argv.get(0).eq_ignore_ascii_case(b"REPLCONF") {
                // It may ask how far we are, which does not count the question itself.
                self.record(client, &stream[recorded..start]);
                recorded = start;
            }
            if cannot_save && self.refuses_unsaved(argv) {
                outcome = Flow::Postponed;
                break;
            }
            let was_in_transaction = self.is_in_transaction(client);
            if self.execute(client, argv, table::lookup(argv)) == Flow::Postponed {
                outcome = Flow::Postponed;
                break;
            }
            if self.replication.following.client != Some(client) {
                return outcome;
            }
            self.replication.following.next_request = index + 1;
            done = parser.request_end(index);
            if !was_in_transaction && self.is_in_transaction(client) {
                // What stands before MULTI is applied; from here on all or nothing.
                self.record_applied(client, &stream[recorded..start]);
                recorded = start;
            }
        }
        let following = &self.replication.following;
        if following.next_request == count && following.broken.is_none() {
            // Empty lines behind the last request are bytes of the stream too.
            done = following.consumed;
        }
        if done > recorded {
            self.record(client, &stream[recorded..done]);
        }
        outcome
    }

    fn is_in_transaction(&self, client: ClientKey) -> bool {
        self.clients
            .find(client)
            .is_some_and(|client| client.session.transaction.is_some())
    }

    /// The bytes of executed requests go into our own journal; inside a transaction they wait for its end.
    fn record(&mut self, client: ClientKey, bytes: &[u8]) {
        if self.is_in_transaction(client) {
            self.replication.following.held.extend_from_slice(bytes);
        } else {
            self.record_applied(client, bytes);
        }
    }

    /// Everything up to the end of `bytes` is in the dataset.
    fn record_applied(&mut self, client: ClientKey, bytes: &[u8]) {
        let db = self.clients.find(client).map(|client| client.session.db);
        let following = &mut self.replication.following;
        let end = if following.held.is_empty() {
            self.journal.append(bytes)
        } else {
            following.held.extend_from_slice(bytes);
            self.journal.append(&following.held.split())
        };
        following.link.applied(end, db.map(|db| db as u32));
    }

    /// REPLCONF GETACK in the stream.
    ///
    /// Somebody may wait for our disk as well: what is not on it yet is acknowledged once it is.
    pub fn acknowledge_master(&mut self) {
        self.link_event(Event::AckRequested);
        if let Some(position) = self.replication.following.position() {
            self.owe_synced_ack(position.offset);
        }
    }

    /// REPLICAOF host port: follow another master, or the first one.
    pub fn follow(&mut self, master: MasterAddress) {
        let was_master = self.config.replicaof.is_none();
        if was_master && !self.unit.effects.is_empty() {
            // A transaction has written before it came here: that is part of our own history still.
            self.unit
                .effects
                .finish(Framing::Together, &mut self.journal);
        }
        let claim = was_master.then(|| {
            let stream_db = self.unit.effects.stream_db();
            self.replication
                .identity
                .position_to_claim(self.journal.end(), stream_db)
        });
        self.config.replicaof = Some(master.clone());
        self.unit.recording = false;
        self.release_blocked();
        let MasterAddress { host, port } = master;
        log::info!("Connecting to MASTER {host}:{port}");
        self.link_event(Event::ReplicaOf {
            host,
            port,
            claim,
            failover: false,
        });
        self.intents.push(Intent::DriveLink);
    }

    /// REPLICAOF NO ONE: this node becomes a master, and its former history stays valid up to here.
    pub fn promote(&mut self) {
        if self.config.replicaof.take().is_none() {
            return;
        }
        // From here on every expiry is ours.
        self.local_expiries.clear();
        // What the link has decided and nobody has carried out yet belongs to the history that we leave.
        let following = &mut self.replication.following;
        following
            .actions
            .retain(|action| matches!(action, Action::Close | Action::AbortLoad));
        let position = following.position();
        self.forget_arrived();
        self.link_event(Event::NoOne);
        self.end_stream();
        let end = self.journal.end();
        if let Some(Position { stream_db, .. }) = position {
            let identity = &mut self.replication.identity;
            identity.shift(end, stream_db, &mut self.random);
            if !self.journal.has_backlog() {
                // The offset must move with what is written from here on: others stand here too.
                let backlog = self.config.repl_backlog_size;
                self.journal.create_backlog(backlog);
            }
        } else {
            self.replication.identity.begin(&mut self.random);
        }
        self.unit.effects.set_stream_db(None);
        self.rotate_aof();
        self.discard_replicas();
        self.replication.feeds.start_backlog_ttl(self.monotonic);
        log::info!(
            "Setting secondary replication ID to {}, valid up to offset: {}. New replication ID is {}",
            self.replication.identity.second_id(),
            self.replication.identity.second_offset(),
            self.replication.identity.id()
        );
    }
}

const STREAM_LIMITS: Limits = Limits {
    bulk_bytes_max: i64::MAX,
    authenticated: true,
};

fn is_of_socket(event: &Event) -> bool {
    matches!(
        event,
        Event::Connected | Event::ConnectFailed(_) | Event::Bytes(_) | Event::Closed
    )
}

/// What a step over the stream has come to.
enum Applied {
    All,
    Some,
    /// Paused; goes on when woken.
    Postponed,
}

fn link_config(config: &Config) -> LinkConfig {
    let text =
        |bytes: &[u8]| (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned());
    let announced = config.replica_announce_port;
    LinkConfig {
        greeting: Greeting {
            user: text(&config.masteruser),
            password: text(&config.masterauth),
            port: if announced != 0 {
                announced
            } else {
                config.port
            },
            ip: text(config.replica_announce_ip.as_bytes()),
            capabilities: Capabilities::EOF.with(Capabilities::PSYNC2),
            version: None,
        },
        timeout: Duration::from_secs(config.repl_timeout.into()),
    }
}
