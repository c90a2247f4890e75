//! Where a replica's stream comes from: the journal in memory, or its segments on disk.
//!
//! A cursor in memory keeps every byte behind it, so a replica that is far behind costs what it is behind. One on disk costs
//! nothing but its place. The same [`Progress`] tells of both, so that a move is a move of bytes and of nothing else.

use std::sync::Arc;

use crate::journal::Window;
use crate::journal::cursor::{Cursor, Progress};
use crate::journal::position::Offset;

/// A place in the stream. Everything before it was sent, or is in the snapshot.
#[derive(Debug)]
pub enum Place {
    Memory(Cursor),
    /// At the offset that was read; nothing is kept for it.
    Disk(Arc<Progress>),
}

impl Place {
    pub fn progress(&self) -> Arc<Progress> {
        match self {
            Place::Memory(cursor) => cursor.progress(),
            Place::Disk(progress) => Arc::clone(progress),
        }
    }

    pub fn position(&self) -> Offset {
        match self {
            Place::Memory(cursor) => cursor.position(),
            Place::Disk(progress) => progress.read(),
        }
    }

    pub fn is_on_disk(&self) -> bool {
        matches!(self, Place::Disk(_))
    }
}

/// What segments on disk hold of our history, and when they are to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskWindow {
    /// Up to where it is written. It reaches at least to what memory holds.
    pub window: Window,
    /// A replica that is further behind lets go of memory; none leaves slow replicas to the output limits.
    pub memory_bytes_max: Option<u64>,
}

/// What a replica may be behind in memory where no output limit says less.
pub const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
