//! A replica's stream out of the segments on disk: reads ahead by one piece, on a thread that may block.
//!
//! Started by `feed_replica` for a replica whose place is not in memory; ends when memory has what comes next, or when the
//! segments have not.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use async_std::task;
use bytes::Bytes;

use crate::aof::archive::Archive;
use crate::aof::disk::RealDisk;
use crate::aof::reader::{ReadError, Reader};
use crate::journal::cursor::Progress;
use crate::journal::position::Offset;

/// So much is read at a time.
const PIECE_BYTES: usize = 512 * 1024;

/// A place on disk.
pub struct DiskFeed {
    archive: Arc<Archive>,
    progress: Arc<Progress>,
    /// None while a thread reads with it.
    reader: Option<Reader>,
    slot: Arc<Mutex<Option<Piece>>>,
}

/// What a thread has read, with the reader that it had.
struct Piece {
    reader: Reader,
    outcome: Result<Vec<u8>, ReadError>,
}

/// What there is now.
pub enum Next {
    Bytes(Bytes),
    /// Nothing; the waker is woken when that may have changed.
    Later,
    Failed(ReadError),
}

impl DiskFeed {
    /// Goes on from where `progress` stands.
    pub fn new(archive: Arc<Archive>, progress: Arc<Progress>) -> Self {
        let reader = Reader::new(Arc::new(RealDisk), Arc::clone(&archive), progress.read());
        DiskFeed {
            archive,
            progress,
            reader: Some(reader),
            slot: Arc::default(),
        }
    }

    /// The next bytes before `limit`, if they are at hand.
    pub fn next(&mut self, limit: Offset, waker: &Waker) -> Next {
        if let Some(Piece { reader, outcome }) = self.take() {
            let position = reader.position();
            self.reader = Some(reader);
            match outcome {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    self.progress.note_read(position);
                    return Next::Bytes(Bytes::from(bytes));
                }
                Err(error) => return Next::Failed(error),
            }
        }
        let Some(mut reader) = self.reader.take() else {
            return Next::Later;
        };
        let is_held = reader.position() >= limit;
        if is_held || self.archive.wake_when_written(reader.position(), waker) {
            self.reader = Some(reader);
            return Next::Later;
        }
        let (slot, waker) = (Arc::clone(&self.slot), waker.clone());
        task::spawn_blocking(move || {
            let outcome = reader.read(limit, PIECE_BYTES);
            let piece = Piece { reader, outcome };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(piece);
            waker.wake();
        });
        Next::Later
    }

    /// Where everything was sent up to, if nothing has been read beyond.
    pub fn rest(&self) -> Option<&Arc<Progress>> {
        let reader = self.reader.as_ref()?;
        (reader.position() == self.progress.read()).then_some(&self.progress)
    }

    pub fn position(&self) -> Offset {
        self.progress.read()
    }

    fn take(&self) -> Option<Piece> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

impl fmt::Debug for DiskFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskFeed at {}", self.position())
    }
}
