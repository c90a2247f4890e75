//! The journal from an offset on, out of the segments on disk: what a replica gets that is behind what memory keeps.
//!
//! Blocks: each call opens or reads a file. Hands out the bytes of the journal and nothing else: no prelude, no `#` line, nothing
//! that the writer has not finished. Goes from segment to segment as they follow each other; one that loses its name while it is
//! read is read to its end.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::journal::position::Offset;

use super::archive::{Archive, Piece};
use super::disk::{Disk, DiskFile};
use super::stripper::Stripper;

/// A place in the archive.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    archive: Arc<Archive>,
    epoch: u64,
    position: Offset,
    open: Option<Open>,
    /// Kept, so that its memory is used again.
    raw: Vec<u8>,
}

/// The segment in which the reader stands.
#[derive(Debug)]
struct Open {
    piece: Piece,
    file: Box<dyn DiskFile>,
    /// Of the next byte to be read.
    file_at: u64,
    /// Where annotations may stand.
    stripper: Option<Stripper>,
    /// Journal bytes that come first and were asked for by nobody.
    to_skip: u64,
}

/// Why there is no next byte.
#[derive(Debug)]
pub enum ReadError {
    /// The segment that holds the byte behind `at` is not there any more.
    Gone { at: Offset, first: Option<Offset> },
    /// Nobody writes to disk any more what follows `at`.
    Ended { at: Offset },
    /// The set belongs to another history now.
    OtherHistory,
    /// What was being done to which file.
    Io {
        step: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
}

impl Reader {
    /// A reader whose first byte is the one behind `at`. Nothing is opened yet.
    pub fn new(disk: Arc<dyn Disk>, archive: Arc<Archive>, at: Offset) -> Self {
        let epoch = archive.view().epoch;
        Reader {
            disk,
            archive,
            epoch,
            position: at,
            open: None,
            raw: Vec::new(),
        }
    }

    /// Everything before it was handed out.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// About `bytes_max` of the next bytes and none behind `limit`; empty where there are none yet.
    ///
    /// # Errors
    /// The bytes are gone, or cannot be read; the reader is of no use after that.
    pub fn read(&mut self, limit: Offset, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        let mut out = Vec::new();
        while out.is_empty() {
            let view = self.archive.view();
            if view.epoch != self.epoch {
                return Err(ReadError::OtherHistory);
            }
            let limit = limit.min(view.written);
            if view.ended && self.position >= view.written {
                return Err(ReadError::Ended { at: self.position });
            }
            if self.position >= limit {
                break;
            }
            if self.open.is_none() {
                self.open_next()?;
            }
            let Some(open) = &mut self.open else { continue };
            let listed = view.pieces.iter();
            if let Some(piece) = listed.rev().find(|it| it.start == open.piece.start) {
                open.piece.end = piece.end;
            }
            let end = open.piece.end;
            if end.is_some_and(|end| self.position >= end) {
                self.open = None;
                continue;
            }
            let stop = end.map_or(limit, |end| end.min(limit));
            let wanted = stop.since(self.position).min(bytes_max as u64);
            let is_at_end = open.read(wanted, &mut self.raw, &mut out)?;
            if self.archive.view().cuts != view.cuts {
                // Where annotations stand may be another place now.
                self.open = None;
                out.clear();
                continue;
            }
            self.position = self.position.plus(out.len());
            if is_at_end && out.is_empty() {
                let is_last = view
                    .pieces
                    .last()
                    .is_some_and(|it| it.start == open.piece.start);
                if is_last {
                    // It is being written again after a sync that failed.
                    break;
                }
                // It has lost its name, and with it the note of where it ends: here.
                let piece = open.piece.clone();
                self.open = None;
                if view.find(self.position).is_some_and(|it| *it == piece) {
                    let cause = io::ErrorKind::UnexpectedEof.into();
                    return Err(ReadError::io("read", &piece)(cause));
                }
            }
        }
        Ok(out)
    }

    fn open_next(&mut self) -> Result<(), ReadError> {
        // A file may get another name between the look at the list and the opening.
        for attempt in 0.. {
            let view = self.archive.view();
            let gone = || ReadError::Gone {
                at: self.position,
                first: view.pieces.first().map(|piece| piece.start),
            };
            let piece = view.find(self.position).ok_or_else(gone)?;
            match self.disk.open(&piece.path) {
                Ok(file) => {
                    self.open = Some(Open::new(piece.clone(), file, self.position));
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if attempt >= ATTEMPTS_MAX {
                        return Err(gone());
                    }
                }
                Err(error) => return Err(ReadError::io("open", piece)(error)),
            }
        }
        Ok(())
    }
}

impl Open {
    fn new(piece: Piece, file: Box<dyn DiskFile>, at: Offset) -> Self {
        let before = at.since(piece.start);
        let (file_at, to_skip) = match piece.annotated {
            true => (piece.prelude_bytes, before),
            false => (piece.prelude_bytes + before, 0),
        };
        Open {
            stripper: piece.annotated.then(Stripper::default),
            piece,
            file,
            file_at,
            to_skip,
        }
    }

    /// Up to `wanted` of the next journal bytes onto `out`; true at the end of the file.
    fn read(
        &mut self,
        wanted: u64,
        raw: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        while out.is_empty() {
            let ahead = match self.stripper {
                Some(_) => (wanted + self.to_skip).clamp(1, READ_BYTES_MAX),
                None => wanted,
            };
            raw.resize(ahead as usize, 0);
            let count = loop {
                match self.file.read_at(raw, self.file_at) {
                    Ok(count) => break count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(ReadError::io("read", &self.piece)(error)),
                }
            };
            if count == 0 {
                return Ok(true);
            }
            let read = &raw[..count];
            match &mut self.stripper {
                None => {
                    out.extend_from_slice(read);
                    self.file_at += count as u64;
                }
                Some(stripper) => {
                    // No more journal bytes than wanted can come of it: annotations only make it less.
                    stripper.strip(read, out);
                    self.file_at += count as u64;
                    let skipped = self.to_skip.min(out.len() as u64);
                    out.drain(..skipped as usize);
                    self.to_skip -= skipped;
                }
            }
        }
        Ok(false)
    }
}

impl ReadError {
    fn io(step: &'static str, piece: &Piece) -> impl FnOnce(io::Error) -> Self {
        let path = piece.path.clone();
        move |cause| ReadError::Io { step, path, cause }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Gone {
                at,
                first: Some(first),
            } => write!(
                f,
                "what follows offset {at} is not on disk any more, which begins at {first}"
            ),
            ReadError::Gone { at, first: None } => {
                write!(f, "what follows offset {at} is not on disk any more")
            }
            ReadError::Ended { at } => {
                write!(
                    f,
                    "what follows offset {at} is not written to disk any more"
                )
            }
            ReadError::OtherHistory => write!(f, "another history has taken its place on disk"),
            ReadError::Io { step, path, cause } => {
                write!(f, "{step} {}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for ReadError {}

const ATTEMPTS_MAX: usize = 2;

/// So much is read at once where it is not known how much of it is of the journal.
const READ_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
