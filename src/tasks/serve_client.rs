//! One connection: read all that has arrived, parse all of it, take the lock once, write once.
//!
//! Started by accept, on a reactor; woken by its socket and by the engine (messages, answers to blocked commands, CLIENT
//! KILL); ends when either side closes. A connection that becomes a replica is handed to `feed_replica`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::aof::durability::{Durability, Hold};
use crate::clients::wire::Wire;
use crate::clients::{ClientKey, Closing, Ends};
use crate::cow::element;
use crate::engine::Engine;
use crate::engine::connections::Standing;
use crate::engine::dispatch::Flow;
use crate::engine::spec::{Keys, flag};
use crate::engine::table::{self, Lookup};
use crate::io::reactor::yield_now;
use crate::io::socket::Socket;
use crate::io::stream::Stream;
use crate::protocol::reply::ReplyBuffer;
use crate::protocol::request::{Argv, Limits, OwnedRequest, Parser, ProtocolError};

use super::engine_lock::EngineLock;
use super::full_sync::Transfers;

/// So many requests are executed under one lock at most.
const REQUESTS_PER_LOCK: usize = 128;

/// Keyspaces smaller than this lie in the caches: prefetching would cost more than it saves.
const PREFETCH_KEYS_MIN: usize = 50_000;

/// An idle connection keeps at most this much of each buffer.
const IDLE_BUFFER_BYTES: usize = 16 * 1024;

const SLICES_PER_WRITE: usize = 64;

/// A connection reads so often before others get their turn.
const READS_IN_A_ROW: u32 = 2;

/// Serves `socket` until it ends.
pub async fn serve(socket: Socket, lock: EngineLock, transfers: Transfers) {
    let ends = ends_of(&socket);
    let stream = match Stream::register(socket) {
        Ok(stream) => stream,
        Err(error) => {
            log::warn!("Error registering a new connection: {error}");
            return;
        }
    };
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let key = match lock.with(|engine| engine.connect(ends)) {
        Ok(key) => key,
        Err(refusal) => {
            // The peer may already be gone; there is nobody else to tell.
            let _ = stream.try_write(format!("-{}\r\n", refusal.text()).as_bytes());
            return;
        }
    };
    let mut connection = Connection::new(key, stream, lock, waker);
    if let Ended::BecameReplica = connection.run().await {
        super::feed_replica::feed(connection, transfers).await;
    } else {
        connection.state.lock.with(|engine| engine.disconnect(key));
    }
}

/// What a connection's task owns.
pub struct Connection {
    pub stream: Stream,
    pub state: State,
}

/// All of a connection but its socket.
pub struct State {
    pub key: ClientKey,
    pub lock: EngineLock,
    pub waker: Waker,
    wire: Arc<Wire>,
    parser: Parser,
    /// The beginning of a request whose rest has not arrived.
    tail: Vec<u8>,
    /// Requests that have arrived but may not run yet.
    waiting: VecDeque<OwnedRequest>,
    /// Being written.
    pub out: ReplyBuffer,
    standing: Standing,
    durability: Arc<Durability>,
    /// What `out` waits for.
    hold: Option<Hold>,
    /// A waker has been left for this one.
    hold_waits: Option<Hold>,
    limits: Limits,
    /// The peer will send no more.
    at_end: bool,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(hold) = self.hold_waits
            && !self.durability.is_passed(hold)
        {
            self.durability.forget(&self.waker);
        }
    }
}

impl State {
    /// The last batch has written something: everything answered from now on waits for that.
    fn take_hold(&mut self) {
        if let Some(hold) = self.standing.hold.take() {
            self.hold = Some(hold);
        }
    }

    /// A connection again, with the socket that was lent.
    pub fn take_back(self, socket: Socket) -> io::Result<Connection> {
        Ok(Connection {
            stream: Stream::register(socket)?,
            state: self,
        })
    }

    /// So many bytes went out while the socket was lent.
    pub fn note_written_elsewhere(&self, bytes: u64) {
        self.wire.note_write(bytes as usize);
    }
}

/// Why [`Connection::run`] returned.
pub enum Ended {
    Closed,
    BecameReplica,
}

impl Connection {
    fn new(key: ClientKey, stream: Stream, lock: EngineLock, waker: Waker) -> Self {
        let (limits, standing, wire, durability) = lock.with(|engine| {
            let standing = engine.end_batch(key, &mut ReplyBuffer::default(), &waker);
            let wire = engine.clients.get(key).outbox.wire.clone();
            let durability = Arc::clone(&engine.aof.durability);
            (engine.limits_of(key), standing, wire, durability)
        });
        let state = State {
            key,
            lock,
            waker,
            wire,
            parser: Parser::default(),
            tail: Vec::new(),
            waiting: VecDeque::new(),
            out: ReplyBuffer::default(),
            standing,
            durability,
            hold: None,
            hold_waits: None,
            limits,
            at_end: false,
        };
        Connection { stream, state }
    }

    /// Serves until the connection ends or turns into a replica's.
    pub async fn run(&mut self) -> Ended {
        let mut reads_in_a_row = 0;
        loop {
            if self.write().is_err() || self.state.standing.closing == Some(Closing::Now) {
                return Ended::Closed;
            }
            if self.state.standing.closing.is_some()
                || (self.state.at_end && self.state.waiting.is_empty())
            {
                if self.state.out.is_empty() && !self.state.standing.blocked {
                    return Ended::Closed;
                }
            } else if self.state.standing.is_replica && self.state.out.is_empty() {
                return Ended::BecameReplica;
            } else if self.state.hold.is_some() {
                // What would be read now would have to be answered behind what waits.
                if self.stream.is_ended() {
                    return Ended::Closed;
                }
            } else if !self.state.standing.blocked {
                let progress = if self.state.waiting.is_empty() {
                    self.read()
                } else {
                    Ok(self.execute_waiting())
                };
                match progress {
                    Ok(Progress::Worked) => {
                        reads_in_a_row += 1;
                        if reads_in_a_row == READS_IN_A_ROW {
                            // A peer that sends faster than we work would keep everybody else waiting.
                            reads_in_a_row = 0;
                            yield_now().await;
                        }
                        continue;
                    }
                    Ok(Progress::Idle) => {}
                    Ok(Progress::End) => {
                        self.state.at_end = true;
                        continue;
                    }
                    Err(_) => return Ended::Closed,
                }
            } else if self.stream.is_ended() {
                return Ended::Closed;
            }
            reads_in_a_row = 0;
            self.wait().await;
            self.refresh();
        }
    }

    pub fn socket(&self) -> &Socket {
        self.stream.socket()
    }

    /// Gives the socket away for a while, out of the reactor. Nothing is to be written any more.
    pub fn lend(self) -> io::Result<(Socket, State)> {
        Ok((self.stream.into_socket()?, self.state))
    }

    /// Waits for bytes, for room to write, for the disk or for the engine.
    pub async fn wait(&mut self) {
        if let Some(hold) = self.state.hold {
            let (durability, waker) = (&self.state.durability, &self.state.waker);
            // The waker left before may have been used up: a disk that was busy for a moment wakes too.
            if self.state.hold_waits.take().is_some() {
                durability.forget(waker);
            }
            if !durability.wake_when_passed(hold, waker) {
                return;
            }
            self.state.hold_waits = Some(hold);
        }
        let is_held = self.state.hold.is_some();
        let mut polled = false;
        poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            let readable = !self.state.at_end && self.stream.poll_readable(context).is_ready();
            let writable = !self.state.out.is_empty()
                && !is_held
                && self.stream.poll_writable(context).is_ready();
            let busy = self.state.standing.blocked || !self.state.waiting.is_empty() || is_held;
            if (readable && !busy) || writable {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Takes over what the engine has for this client.
    pub fn refresh(&mut self) {
        let (key, out, waker) = (self.state.key, &mut self.state.out, &self.state.waker);
        self.state.standing = self
            .state
            .lock
            .with(|engine| engine.end_batch(key, out, waker));
        self.state.limits.authenticated = self.state.standing.authenticated;
        self.state.take_hold();
    }

    /// What of the journal is on disk.
    pub fn durability(&self) -> &Durability {
        &self.state.durability
    }

    pub fn standing(&self) -> Standing {
        self.state.standing
    }

    /// Writes as much as the socket takes; nothing while the disk has not what is answered.
    pub fn write(&mut self) -> io::Result<()> {
        if let Some(hold) = self.state.hold {
            if !self.state.durability.is_passed(hold) {
                return Ok(());
            }
            self.state.hold = None;
            self.state.hold_waits = None;
        }
        while !self.state.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let count = self.state.out.gather(&mut slices);
            let written = if count == 1 {
                self.stream.try_write(&slices[0])
            } else {
                self.stream.try_write_vectored(&slices[..count])
            };
            match written {
                Ok(written) => {
                    self.state.out.advance(written);
                    self.state.wire.note_write(written);
                    self.state.wire.set_unsent_bytes(self.state.out.len());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.state.out.shrink(IDLE_BUFFER_BYTES);
        Ok(())
    }

    /// Reads once, executes what that completes.
    pub fn read(&mut self) -> io::Result<Progress> {
        if let Some((buffer, missing)) = self.state.parser.receiving() {
            let room = buffer.capacity() - buffer.len();
            debug_assert!(room > 0 && missing > 0);
            let read = if room <= missing {
                self.stream.try_read_spare(buffer)
            } else {
                // The buffer has more room than the argument has bytes left: what follows must not be swallowed.
                let mut rest = vec![0; missing];
                self.stream
                    .try_read(&mut rest)
                    .inspect(|&count| buffer.extend_from_slice(&rest[..count]))
            };
            return match read {
                Ok(0) => Ok(Progress::End),
                Ok(count) => {
                    self.state.wire.note_read(count);
                    let tail = std::mem::take(&mut self.state.tail);
                    self.consume(tail);
                    Ok(Progress::Worked)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Idle),
                Err(error) => Err(error),
            };
        }
        crate::io::reactor::with_read_buffer(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => Ok(Progress::End),
            Ok(count) => {
                self.state.wire.note_read(count);
                let bytes = &buffer[..count];
                if self.state.tail.is_empty() {
                    // The common case: everything stays in the thread's buffer, only a cut request is copied out.
                    let (consumed, keep) = self.parse_input(bytes);
                    self.state.tail.extend_from_slice(&bytes[consumed..keep]);
                } else {
                    let mut tail = std::mem::take(&mut self.state.tail);
                    tail.extend_from_slice(bytes);
                    self.consume(tail);
                }
                Ok(Progress::Worked)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Idle),
            Err(error) => Err(error),
        })
    }

    /// Works on bytes that the connection owns and keeps the part that is not yet done with.
    fn consume(&mut self, mut bytes: Vec<u8>) {
        let (consumed, keep) = self.parse_input(&bytes);
        bytes.truncate(keep);
        bytes.drain(..consumed);
        if bytes.is_empty() && bytes.capacity() > IDLE_BUFFER_BYTES {
            bytes = Vec::new();
        }
        self.state.tail = bytes;
    }

    /// Parses and executes; returns which bytes of the input are to be kept.
    fn parse_input(&mut self, input: &[u8]) -> (usize, usize) {
        let (parsed, error) = self.state.parser.parse(input, self.state.limits);
        self.execute_batch(input);
        if let Some(error) = error {
            self.refuse(&error);
        }
        let held = (parsed.keep - parsed.consumed) + self.state.parser.held_bytes();
        let key = self.state.key;
        self.state.wire.set_held_bytes(held);
        if held > IDLE_BUFFER_BYTES {
            self.state.standing.closing =
                self.state.lock.with(|engine| engine.note_input(key, held));
        }
        (parsed.consumed, parsed.keep)
    }

    fn execute_batch(&mut self, input: &[u8]) {
        let count = self.state.parser.request_count();
        let mut next = 0;
        while next < count {
            let end = (next + REQUESTS_PER_LOCK).min(count);
            let mut found = [Lookup::Unknown; REQUESTS_PER_LOCK];
            for (place, index) in found.iter_mut().zip(next..end) {
                *place = table::lookup(self.state.parser.request(input, index));
            }
            let (key, out, waker, parser) = (
                self.state.key,
                &mut self.state.out,
                &self.state.waker,
                &self.state.parser,
            );
            let (executed, standing) = self.state.lock.with(|engine| {
                engine.begin_batch(key);
                let requests = (next..end)
                    .map(|index| parser.request(input, index))
                    .zip(found);
                if end - next > 1 {
                    prefetch(engine, key, requests.clone());
                }
                let mut executed = next;
                for (argv, found) in requests {
                    match engine.execute(key, argv, found) {
                        Flow::Next => executed += 1,
                        Flow::Stop => {
                            executed += 1;
                            break;
                        }
                        Flow::Postponed => break,
                    }
                }
                (executed, engine.end_batch(key, out, waker))
            });
            self.state.standing = standing;
            self.state.take_hold();
            self.state.limits.authenticated = standing.authenticated;
            if executed < end {
                self.state.waiting.extend(
                    (executed..count).map(|index| self.state.parser.request(input, index).into()),
                );
                return;
            }
            next = end;
            if next < count {
                // A failed write shows again at the next one.
                let _ = self.write();
            }
        }
    }

    /// Goes on with requests that had to wait.
    fn execute_waiting(&mut self) -> Progress {
        let (key, out, waker, waiting) = (
            self.state.key,
            &mut self.state.out,
            &self.state.waker,
            &mut self.state.waiting,
        );
        let before = waiting.len();
        self.state.standing = self.state.lock.with(|engine| {
            engine.begin_batch(key);
            for _ in 0..REQUESTS_PER_LOCK {
                let Some(request) = waiting.front() else {
                    break;
                };
                let argv = request.argv();
                let flow = engine.execute(key, argv, table::lookup(argv));
                if flow != Flow::Postponed {
                    waiting.pop_front();
                }
                if flow != Flow::Next {
                    break;
                }
            }
            engine.end_batch(key, out, waker)
        });
        self.state.take_hold();
        if self.state.waiting.len() < before {
            Progress::Worked
        } else {
            Progress::Idle
        }
    }

    /// Tells the peer what is wrong with its bytes, and closes.
    fn refuse(&mut self, error: &ProtocolError) {
        let (key, out, waker) = (self.state.key, &mut self.state.out, &self.state.waker);
        self.state.standing = self.state.lock.with(|engine| {
            engine.protocol_error(key, error);
            engine.end_batch(key, out, waker)
        });
        self.state.take_hold();
    }
}

/// What one step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Worked,
    Idle,
    /// The peer has closed its side.
    End,
}

/// Fetches what the batch will touch into the caches, in two rounds that overlap their misses.
fn prefetch<'a>(
    engine: &Engine,
    key: ClientKey,
    requests: impl Iterator<Item = (Argv<'a>, Lookup)>,
) {
    let Some(client) = engine.clients.find(key) else {
        return;
    };
    let database = engine.keyspace.db(client.session.db);
    if database.len() < PREFETCH_KEYS_MIN {
        return;
    }
    let mut hashes = [0; REQUESTS_PER_LOCK];
    let mut count = 0;
    for (argv, found) in requests {
        if let Lookup::Found(command) = found
            && let Keys::Range { first: 1, .. } = command.spec.keys
            && argv.len() > 1
        {
            hashes[count] = element::hash(argv.get(1));
            if command.spec.has(flag::WRITE) {
                database.prefetch_mut(hashes[count]);
            } else {
                database.prefetch(hashes[count]);
            }
            count += 1;
        }
    }
    for hash in &hashes[..count] {
        database.prefetch_entry(*hash);
    }
}

fn ends_of(socket: &Socket) -> Ends {
    use std::os::fd::{AsFd, AsRawFd};
    Ends {
        peer: socket.peer_name().to_string(),
        local: socket.local_name().to_string(),
        fd: socket.as_fd().as_raw_fd(),
        is_unix: socket.peer_name().is_unix(),
        is_local: socket.peer_name().is_local(),
    }
}
