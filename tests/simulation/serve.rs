//! One connection at the master's end: what `tasks/serve_client` and `tasks/feed_replica` do, over the network in memory.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use sluice::clients::session::FeedWork;
use sluice::clients::{ClientKey, Closing, Ends};
use sluice::engine::connections::Standing;
use sluice::engine::dispatch::Flow;
use sluice::engine::table;
use sluice::journal::cursor::Cursor;
use sluice::protocol::reply::ReplyBuffer;
use sluice::protocol::request::{OwnedRequest, Parser};
use sluice::replication::feed::{Action, Event};
use sluice::replication::place::Place;

use crate::full_sync::Fate;
use crate::network::Socket;
use crate::node::{Node, Sabotage};
use crate::trace;

const READ_BYTES: usize = 64 * 1024;

/// Smaller than in production, so that a piece is not the whole dataset.
const PIECE_BYTES: usize = 2 * 1024;

pub async fn serve(node: Rc<Node>, socket: Socket) {
    let ends = Ends {
        peer: format!("10.0.0.{}:{}", socket.peer() + 1, 40_000 + socket.number()),
        ..Ends::default()
    };
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let Ok(key) = node.lock(|engine| engine.connect(ends)).await else {
        return;
    };
    let (limits, standing) = node.with(|engine| {
        let standing = engine.end_batch(key, &mut ReplyBuffer::default(), &waker);
        (engine.limits_of(key), standing)
    });
    let mut connection = Connection {
        node: node.clone(),
        key,
        peer: socket.peer(),
        socket: Some(socket),
        waker,
        parser: Parser::default(),
        tail: Vec::new(),
        waiting: VecDeque::new(),
        out: ReplyBuffer::default(),
        standing,
        limits,
        at_end: false,
    };
    if connection.run().await {
        if let Some(socket) = &connection.socket {
            socket.feed();
        }
        let mut feeding = Feeding {
            cursor: None,
            file: None,
            ends: false,
            is_silent: false,
        };
        feeding.run(&mut connection).await;
        node.last_departure.set(Some(node.sim.now()));
    }
    node.with(|engine| engine.disconnect(key));
}

struct Connection {
    node: Rc<Node>,
    key: ClientKey,
    peer: usize,
    socket: Option<Socket>,
    waker: Waker,
    parser: Parser,
    tail: Vec<u8>,
    waiting: VecDeque<OwnedRequest>,
    out: ReplyBuffer,
    standing: Standing,
    limits: sluice::protocol::request::Limits,
    at_end: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Worked,
    Idle,
    End,
}

impl Connection {
    /// Serves until the connection ends (false) or turns into a replica's.
    async fn run(&mut self) -> bool {
        loop {
            if self.write().is_err() || self.standing.closing == Some(Closing::Now) {
                return false;
            }
            if self.standing.closing.is_some() || (self.at_end && self.waiting.is_empty()) {
                if self.out.is_empty() && !self.standing.blocked {
                    return false;
                }
            } else if self.standing.is_replica && self.out.is_empty() {
                return true;
            } else if !self.standing.blocked {
                let progress = if self.waiting.is_empty() {
                    self.read().await
                } else {
                    Ok(self.execute_waiting())
                };
                match progress {
                    Ok(Progress::Worked) => continue,
                    Ok(Progress::Idle) => {}
                    Ok(Progress::End) => {
                        self.at_end = true;
                        continue;
                    }
                    Err(_) => return false,
                }
            } else if self.socket.as_ref().is_none_or(Socket::is_ended) {
                return false;
            }
            self.wait().await;
            self.refresh();
        }
    }

    async fn wait(&self) {
        let mut polled = false;
        poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            let Some(socket) = &self.socket else {
                return Poll::Ready(());
            };
            let readable = !self.at_end && socket.poll_readable(context).is_ready();
            let writable = !self.out.is_empty() && socket.poll_writable(context).is_ready();
            let busy = self.standing.blocked || !self.waiting.is_empty();
            if (readable && !busy) || writable {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn refresh(&mut self) {
        let (key, out, waker) = (self.key, &mut self.out, &self.waker);
        self.standing = self.node.with(|engine| engine.end_batch(key, out, waker));
        self.limits.authenticated = self.standing.authenticated;
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.out.gather(&mut slices);
            let mut written = 0;
            let mut outcome = Ok(());
            for slice in &slices[..count] {
                match socket.try_write(slice) {
                    Ok(count) => written += count,
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            self.out.advance(written);
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<Progress> {
        let Some(socket) = &self.socket else {
            return Ok(Progress::End);
        };
        match socket.try_read(READ_BYTES) {
            Ok(None) => Ok(Progress::End),
            Ok(Some(bytes)) => {
                let mut tail = std::mem::take(&mut self.tail);
                tail.extend_from_slice(&bytes);
                self.node.sim.contend().await;
                self.consume(tail);
                Ok(Progress::Worked)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Idle),
            Err(error) => Err(error),
        }
    }

    fn consume(&mut self, mut bytes: Vec<u8>) {
        let (parsed, error) = self.parser.parse(&bytes, self.limits);
        self.execute_batch(&bytes);
        if let Some(error) = error {
            let (key, out, waker) = (self.key, &mut self.out, &self.waker);
            self.standing = self.node.with(|engine| {
                engine.protocol_error(key, &error);
                engine.end_batch(key, out, waker)
            });
        }
        bytes.truncate(parsed.keep);
        bytes.drain(..parsed.consumed);
        self.tail = bytes;
    }

    fn execute_batch(&mut self, input: &[u8]) {
        let count = self.parser.request_count();
        if count == 0 {
            return;
        }
        let (key, out, waker, parser) = (self.key, &mut self.out, &self.waker, &self.parser);
        let (executed, standing) = self.node.with(|engine| {
            engine.begin_batch(key);
            let mut executed = 0;
            for index in 0..count {
                let argv = parser.request(input, index);
                match engine.execute(key, argv, table::lookup(argv)) {
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
        self.standing = standing;
        self.limits.authenticated = standing.authenticated;
        let rest = (executed..count).map(|index| self.parser.request(input, index).into());
        self.waiting.extend(rest);
        if !self.out.is_empty() {
            let (peer, out) = (self.peer, &self.out);
            self.node.note_to(peer, || trace::shown(&out.to_vec()));
        }
    }

    fn execute_waiting(&mut self) -> Progress {
        let (key, out, waker, waiting) = (self.key, &mut self.out, &self.waker, &mut self.waiting);
        let before = waiting.len();
        self.standing = self.node.with(|engine| {
            engine.begin_batch(key);
            while let Some(request) = waiting.front() {
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
        match self.waiting.len() < before {
            true => Progress::Worked,
            false => Progress::Idle,
        }
    }
}

struct Feeding {
    cursor: Option<Cursor>,
    file: Option<SendingFile>,
    ends: bool,
    /// The mark was sent and the replica has not said a word since: nothing may follow.
    is_silent: bool,
}

struct SendingFile {
    file: Bytes,
    sent: usize,
}

impl Feeding {
    async fn run(&mut self, connection: &mut Connection) {
        let (key, node) = (connection.key, connection.node.clone());
        loop {
            if connection.write().is_err()
                || connection.standing.closing == Some(Closing::Now)
                || self.ends
            {
                return;
            }
            if let Some(work) = node.lock(|engine| engine.next_feed_work(key)).await {
                match work {
                    FeedWork::Do(action) => self.carry_out(action, connection),
                    FeedWork::LendSocket(snapshot) => {
                        while !connection.out.is_empty() {
                            connection.wait().await;
                            if connection.write().is_err() {
                                return;
                            }
                        }
                        let Some(socket) = connection.socket.take() else {
                            return;
                        };
                        let board = node.transfers().board(snapshot, key.id.0, socket);
                        let Ok(Fate::Done(socket)) = board.recv().await else {
                            return;
                        };
                        connection.socket = Some(socket);
                        self.is_silent = true;
                        node.lock(|engine| engine.feed_event(key, Event::PayloadSent))
                            .await;
                        if node.sabotage.get() == Sabotage::SkipAckGate {
                            self.assume_ack(connection);
                        }
                        connection.refresh();
                    }
                }
                continue;
            }
            if self.fill(connection).await {
                continue;
            }
            match connection.read().await {
                Ok(Progress::Worked) => {
                    self.is_silent = false;
                    node.lock(|engine| engine.feed_event(key, Event::Heard))
                        .await;
                    continue;
                }
                Ok(Progress::Idle) => {}
                Ok(Progress::End) | Err(_) => return,
            }
            let waits = match &mut self.cursor {
                Some(cursor) if connection.out.is_empty() => {
                    cursor.wake_on_bytes(&connection.waker)
                }
                _ => true,
            };
            if waits {
                connection.wait().await;
            }
            connection.refresh();
            if node.sabotage.get() == Sabotage::AssumeAck {
                self.assume_ack(connection);
            }
        }
    }

    fn assume_ack(&self, connection: &Connection) {
        let key = connection.key;
        connection.node.with(|engine| {
            let (offset, synced) = (engine.journal.end(), None);
            engine.feed_event(key, Event::Ack { offset, synced });
        });
    }

    fn carry_out(&mut self, action: Action, connection: &mut Connection) {
        let (node, peer) = (&connection.node, connection.peer);
        if self.is_silent && !matches!(action, Action::Close(_)) {
            node.sim
                .fail(format!("{}: something follows the mark", node.name));
        }
        match action {
            Action::Send(bytes) => {
                node.note_to(peer, || trace::shown(&bytes));
                connection.out.push_bytes(&bytes);
            }
            Action::SendFile(snapshot) => match node.transfers().file(snapshot) {
                Some(file) => self.file = Some(SendingFile { file, sent: 0 }),
                None => self.ends = true,
            },
            Action::Stream(Place::Memory(cursor)) => {
                node.note_to(peer, || format!("the stream from {}", cursor.position()));
                self.cursor = Some(cursor);
            }
            Action::Stream(Place::Disk(_)) | Action::LeaveMemory => {
                node.sim.fail("there is no disk here".to_owned());
            }
            Action::Close(reason) => {
                node.note_to(peer, || format!("closes: {reason}"));
                self.ends = true;
                self.cursor = None;
            }
        }
    }

    async fn fill(&mut self, connection: &mut Connection) -> bool {
        if connection.out.len() > PIECE_BYTES / 2 {
            return false;
        }
        let (key, node, peer) = (connection.key, &connection.node, connection.peer);
        if let Some(sending) = &mut self.file {
            let end = (sending.sent + PIECE_BYTES).min(sending.file.len());
            if sending.sent == end && !connection.out.is_empty() {
                return false;
            }
            let piece = sending.file.slice(sending.sent..end);
            sending.sent = end;
            if piece.is_empty() {
                self.file = None;
                node.lock(|engine| engine.feed_event(key, Event::PayloadSent))
                    .await;
            } else {
                connection.out.push_shared(piece);
                node.lock(|engine| engine.feed_event(key, Event::PayloadMoved))
                    .await;
            }
            return true;
        }
        let Some(cursor) = &mut self.cursor else {
            return false;
        };
        let mut pieces = Vec::new();
        match cursor.next(PIECE_BYTES, &mut pieces) {
            Ok(0) => false,
            Ok(_) => {
                node.note_to(peer, || trace::shown_stream(&pieces.concat()));
                for piece in pieces {
                    connection.out.push_shared(piece);
                }
                true
            }
            Err(_) => {
                node.note_to(peer, || "closes: its place in the stream is gone".into());
                self.ends = true;
                true
            }
        }
    }
}
