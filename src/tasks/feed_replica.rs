//! The master end of one replica: its connection, once PSYNC or SYNC was accepted.
//!
//! Started by `serve_client`; woken by its socket, by the journal and by the engine; ends when either side closes. What is
//! to be sent comes as [`FeedWork`] from the engine, strictly in order; the journal's bytes follow once its place in it has
//! been handed over: from memory by a cursor, or from disk until memory has what comes next.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::clients::Closing;
use crate::clients::session::FeedWork;
use crate::io::rider::Fate;
use crate::journal::cursor::{self as stream, Cursor};
use crate::journal::position::Offset;
use crate::replication::feed::{Action, Event};
use crate::replication::place::Place;

use super::engine_lock::EngineLock;
use super::feed_from_disk::{DiskFeed, Next};
use super::full_sync::Transfers;
use super::serve_client::{Connection, Progress};

/// So much of the journal, or of a file, is taken at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Feeds a replica until it is gone.
pub async fn feed(connection: Connection, transfers: Transfers) {
    let (key, lock) = (connection.state.key, connection.state.lock.clone());
    if lock.with(|engine| engine.config.repl_disable_tcp_nodelay) {
        // A peer that has gone already makes this fail; the first write will tell.
        let _ = connection.socket().set_nodelay(false);
    }
    let mut feeding = Feeding {
        source: Source::None,
        file: None,
        ends: false,
    };
    feeding.run(connection, &transfers).await;
    lock.with(|engine| engine.disconnect(key));
}

struct Feeding {
    source: Source,
    file: Option<SendingFile>,
    /// Nothing follows what is being written.
    ends: bool,
}

/// Where the stream comes from.
enum Source {
    /// It does not flow yet, or never will.
    None,
    Memory(Cursor),
    Disk(Box<DiskFeed>),
}

struct SendingFile {
    file: Arc<File>,
    sent: u64,
}

impl Feeding {
    async fn run(&mut self, mut connection: Connection, transfers: &Transfers) {
        let (key, lock) = (connection.state.key, connection.state.lock.clone());
        loop {
            // The last words go out where that takes no waiting: a peer that takes nothing may be why this ends.
            if connection.write().is_err()
                || connection.standing().closing == Some(Closing::Now)
                || self.ends
            {
                return;
            }
            if let Some(work) = lock.with(|engine| engine.next_feed_work(key)) {
                match work {
                    FeedWork::Do(action) => self.carry_out(action, &mut connection, transfers),
                    FeedWork::LendSocket(snapshot) => {
                        while !connection.state.out.is_empty() {
                            connection.wait().await;
                            if connection.write().is_err() {
                                return;
                            }
                        }
                        let Ok((socket, lent)) = connection.lend() else {
                            return;
                        };
                        let fate = transfers.board(snapshot, key.id.0, socket).recv().await;
                        if let Ok(fate) = &fate {
                            lent.note_written_elsewhere(fate.bytes_sent());
                        }
                        let Ok(Fate::Done { socket, .. }) = fate else {
                            return;
                        };
                        let Ok(back) = lent.take_back(socket) else {
                            return;
                        };
                        connection = back;
                        lock.with(|engine| engine.feed_event(key, Event::PayloadSent));
                        connection.refresh();
                    }
                }
                continue;
            }
            if self.fill(&mut connection, &lock) {
                continue;
            }
            match connection.read() {
                Ok(Progress::Worked) => {
                    lock.with(|engine| engine.feed_event(key, Event::Heard));
                    continue;
                }
                Ok(Progress::Idle) => {}
                Ok(Progress::End) | Err(_) => return,
            }
            let waits = match &mut self.source {
                Source::None => true,
                _ if !connection.state.out.is_empty() => true,
                Source::Memory(cursor) => {
                    let at = cursor.position();
                    wait_for_sendable(&connection, at)
                        .unwrap_or_else(|| cursor.wake_on_bytes(&connection.state.waker))
                }
                // Its waker is where the piece is being read, or where the next is written.
                Source::Disk(feed) => {
                    wait_for_sendable(&connection, feed.position()).unwrap_or(true)
                }
            };
            if waits {
                connection.wait().await;
            }
            connection.refresh();
        }
    }

    fn carry_out(&mut self, action: Action, connection: &mut Connection, transfers: &Transfers) {
        match action {
            Action::Send(bytes) => connection.state.out.push_bytes(&bytes),
            Action::SendFile(snapshot) => match transfers.file(snapshot) {
                Some(file) => self.file = Some(SendingFile { file, sent: 0 }),
                None => self.ends = true,
            },
            Action::Stream(Place::Memory(cursor)) => self.source = Source::Memory(cursor),
            Action::Stream(Place::Disk(progress)) => self.go_to_disk(progress, connection),
            Action::LeaveMemory => {
                if let Source::Memory(cursor) = &self.source {
                    self.go_to_disk(cursor.progress(), connection);
                }
            }
            Action::Close(reason) => {
                log::info!(
                    "replica client id={}: closed, {reason}",
                    connection.state.key.id.0
                );
                self.ends = true;
                self.source = Source::None;
            }
        }
    }

    /// Adds the next bytes of the file or the journal, while there is room; true if it did.
    fn fill(&mut self, connection: &mut Connection, lock: &EngineLock) -> bool {
        if connection.state.out.len() > PIECE_BYTES / 2 {
            return false;
        }
        if let Some(sending) = &mut self.file {
            let mut piece = vec![0; PIECE_BYTES];
            match sending.file.read_at(&mut piece, sending.sent) {
                Ok(0) if !connection.state.out.is_empty() => return false,
                Ok(0) => {
                    self.file = None;
                    lock.with(|engine| engine.feed_event(connection.state.key, Event::PayloadSent));
                }
                Ok(count) => {
                    sending.sent += count as u64;
                    piece.truncate(count);
                    connection.state.out.push_shared(Bytes::from(piece));
                    lock.with(|engine| {
                        engine.feed_event(connection.state.key, Event::PayloadMoved)
                    });
                }
                Err(error) => {
                    log::warn!(
                        "replica client id={}: reading its snapshot: {error}",
                        connection.state.key.id.0
                    );
                    self.ends = true;
                }
            }
            return true;
        }
        let sendable = connection.durability().sendable();
        let moved = match &mut self.source {
            Source::None => Ok(false),
            Source::Memory(cursor) => {
                let mut pieces = Vec::new();
                let sendable = sendable.since(cursor.position());
                let bytes_max = sendable.min(PIECE_BYTES as u64) as usize;
                let read = cursor.next(bytes_max, &mut pieces);
                for piece in pieces {
                    connection.state.out.push_shared(piece);
                }
                read.map(|count| count > 0)
                    .map_err(|_| "its place in the stream is gone".to_owned())
            }
            Source::Disk(feed) => match feed.next(sendable, &connection.state.waker) {
                Next::Bytes(bytes) => {
                    connection.state.out.push_shared(bytes);
                    Ok(true)
                }
                Next::Later => Ok(false),
                Next::Failed(error) => Err(error.to_string()),
            },
        };
        match moved {
            Ok(true) => {
                self.return_to_memory(connection, lock, false);
                true
            }
            Ok(false) => false,
            Err(_) if self.return_to_memory(connection, lock, true) => true,
            Err(reason) => {
                log::warn!("replica client id={}: {reason}", connection.state.key.id.0);
                self.ends = true;
                true
            }
        }
    }

    /// Lets go of memory. What comes next is read from disk.
    fn go_to_disk(&mut self, progress: Arc<stream::Progress>, connection: &Connection) {
        let archive = connection
            .state
            .lock
            .with(|engine| engine.archive().cloned());
        match archive {
            Some(archive) => self.source = Source::Disk(Box::new(DiskFeed::new(archive, progress))),
            None => {
                log::warn!(
                    "replica client id={}: its place in the stream was on disk, and nothing is there any more",
                    connection.state.key.id.0
                );
                self.ends = true;
            }
        }
    }

    /// Goes over to memory where it has what comes next: once the replica is near enough to the end to stay there, or
    /// however far it is. True if it did.
    fn return_to_memory(
        &mut self,
        connection: &Connection,
        lock: &EngineLock,
        however_far: bool,
    ) -> bool {
        let Source::Disk(feed) = &self.source else {
            return false;
        };
        let Some(progress) = feed.rest() else {
            return false;
        };
        let (key, at) = (connection.state.key, progress.read());
        let cursor = lock.with(|engine| {
            let near = engine.memory_for_replicas() / 2;
            if !however_far && engine.journal.end().since(at) > near {
                return None;
            }
            let cursor = engine
                .journal
                .shared()
                .reader_going_on(Arc::clone(progress))?;
            engine.feed_event(key, Event::CaughtUp);
            Some(cursor)
        });
        if let Some(cursor) = cursor {
            log::info!(
                "replica client id={}: goes on from memory at offset {at}",
                key.id.0
            );
            self.source = Source::Memory(cursor);
            return true;
        }
        false
    }
}

/// Whether the byte behind `at` has to wait until it is durable here, and a waker was left for that; none if it may go.
fn wait_for_sendable(connection: &Connection, at: Offset) -> Option<bool> {
    let (durability, waker) = (connection.durability(), &connection.state.waker);
    (durability.sendable() <= at).then(|| durability.wake_when_sendable(at, waker))
}
