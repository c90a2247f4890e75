//! The master end of one replica: its connection, once PSYNC or SYNC was accepted.
//!
//! Started by `serve_client`; woken by its socket, by the journal and by the engine; ends when either side closes. What is
//! to be sent comes as [`FeedWork`] from the engine, strictly in order; the journal's bytes follow once its cursor has
//! been handed over.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use crate::clients::Closing;
use crate::clients::session::FeedWork;
use crate::io::rider::Fate;
use crate::journal::cursor::Cursor;
use crate::replication::feed::{Action, Event};

use super::engine_lock::EngineLock;
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
        cursor: None,
        file: None,
        ends: false,
    };
    feeding.run(connection, &transfers).await;
    lock.with(|engine| engine.disconnect(key));
}

struct Feeding {
    cursor: Option<Cursor>,
    file: Option<SendingFile>,
    /// Nothing follows what is being written.
    ends: bool,
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
            let waits = match &mut self.cursor {
                Some(cursor) if connection.state.out.is_empty() => {
                    let (durability, waker) = (connection.durability(), &connection.state.waker);
                    let at = cursor.position();
                    if durability.sendable() <= at {
                        durability.wake_when_sendable(at, waker)
                    } else {
                        cursor.wake_on_bytes(waker)
                    }
                }
                _ => true,
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
            Action::Stream(cursor) => self.cursor = Some(cursor),
            Action::Close(reason) => {
                log::info!(
                    "replica client id={}: closed, {reason}",
                    connection.state.key.id.0
                );
                self.ends = true;
                self.cursor = None;
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
        let Some(cursor) = &mut self.cursor else {
            return false;
        };
        let mut pieces = Vec::new();
        let sendable = connection.durability().sendable().since(cursor.position());
        let bytes_max = sendable.min(PIECE_BYTES as u64) as usize;
        match cursor.next(bytes_max, &mut pieces) {
            Ok(0) => false,
            Ok(_) => {
                for piece in pieces {
                    connection.state.out.push_shared(piece);
                }
                true
            }
            Err(_) => {
                log::warn!(
                    "replica client id={}: its place in the stream is gone",
                    connection.state.key.id.0
                );
                self.ends = true;
                true
            }
        }
    }
}
