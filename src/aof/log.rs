//! The writing side of the file set: append, sync, rotate, adopt a base, replace the history, prune, close.
//!
//! Invariants: a file is in the manifest before its first byte counts; a base is complete on disk before the manifest names
//! it; the manifest in memory is the one on disk, or the one whose replacement failed last; after a failed append the file
//! ends where it ended before. So the set that the manifest names can be loaded at every moment, and what is loaded is a
//! prefix of what was appended. Blocks; knows no journal: who calls says at which position the bytes stand.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::journal::position::{Offset, Position};

use super::disk::{Disk, DiskFile};
use super::manifest::Manifest;

/// Where the set is, and how it is written.
#[derive(Clone, Debug)]
pub struct Place {
    /// `dir/appenddirname`.
    pub directory: PathBuf,
    /// `appendfilename`.
    pub name: String,
    /// `#TS:` lines are put between units (`aof-timestamp-enabled`).
    pub annotates: bool,
}

/// A base that is complete and synced in a temp file of the set's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub temp: PathBuf,
    /// Where its dataset stands.
    pub at: Position,
    pub kind: BaseKind,
    /// CRC-64/XZ of the file, if it was computed while it was written.
    pub crc64: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseKind {
    Rdb,
    Commands,
}

/// What could not be done to which file.
#[derive(Debug)]
pub struct LogError {
    pub step: &'static str,
    pub path: PathBuf,
    pub cause: io::Error,
}

/// Bytes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub base: u64,
    /// The listed segments, the one being written to among them.
    pub segments: u64,
    pub history: u64,
    /// The one being written to.
    pub segment: u64,
}

/// A file set that is being written to.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    place: Place,
    manifest: Manifest,
}

/// A sync of the segment on another handle, for another thread.
#[derive(Debug)]
pub struct SyncJob {
    file: Box<dyn DiskFile>,
    at: Offset,
}

impl Log {
    /// Goes on with the set that `manifest` names: with its last segment, if that is of `at`'s history and ends there; else
    /// in a new one. The directory exists, and the manifest is the one in it.
    pub fn open(
        disk: Arc<dyn Disk>,
        place: Place,
        manifest: Manifest,
        at: Position,
    ) -> Result<Log, LogError> {
        let _ = at;
        Ok(Log {
            disk,
            place,
            manifest,
        })
    }

    /// Begins a set: bytes go into `temp-F.incr`, and nothing counts before the first base is adopted. What `manifest` names
    /// stays as it is until then, and goes then.
    pub fn begin(
        disk: Arc<dyn Disk>,
        place: Place,
        manifest: Manifest,
        at: Position,
    ) -> Result<Log, LogError> {
        let _ = at;
        Ok(Log {
            disk,
            place,
            manifest,
        })
    }

    /// Writes `parts`, which begin and end between units, behind what is there: all of them or, with an error, none.
    /// `unix_seconds` is the time to annotate with.
    pub fn append(&mut self, parts: &[Bytes], unix_seconds: i64) -> Result<(), LogError> {
        let _ = (parts, unix_seconds);
        Err(self.refused("append"))
    }

    /// Where the next byte goes.
    pub fn end(&self) -> Offset {
        Offset::ZERO
    }

    /// What is before it is on disk.
    pub fn synced(&self) -> Offset {
        Offset::ZERO
    }

    /// Syncs all that was appended.
    pub fn sync(&mut self) -> Result<(), LogError> {
        Err(self.refused("sync"))
    }

    /// All that was appended, to be synced by another thread; [`Log::note_synced`] tells that it is.
    pub fn sync_job(&self) -> Result<SyncJob, LogError> {
        Err(self.refused("sync"))
    }

    pub fn note_synced(&mut self, job: &SyncJob) {
        let _ = (&job.file, job.at);
    }

    /// Cuts the file back to what is synced, after a sync that failed: what the system still had may be gone. Returns where the
    /// log stands then.
    pub fn cut_back(&mut self) -> Result<Offset, LogError> {
        Err(self.refused("cut back"))
    }

    /// A new segment from `at` on, where the log stands; the present one is closed.
    pub fn rotate(&mut self, at: Position) -> Result<(), LogError> {
        let _ = at;
        Err(self.refused("rotate"))
    }

    /// Takes a base into the set. A segment begins where it stands; those before, and the base before, become history.
    pub fn adopt(&mut self, base: &Base) -> Result<(), LogError> {
        let _ = base;
        Err(self.refused("adopt"))
    }

    /// Another dataset and its history take the place of the set, by one manifest. The next byte follows `base.at`.
    pub fn replace(&mut self, base: &Base) -> Result<(), LogError> {
        let _ = base;
        Err(self.refused("replace"))
    }

    /// Deletes what of the history feeds nobody (bases, segments without facts), and the oldest of the rest until at most
    /// `budget_bytes` are left. Returns the names of what has gone.
    pub fn prune(&mut self, budget_bytes: u64) -> Result<Vec<String>, LogError> {
        let _ = budget_bytes;
        Ok(Vec::new())
    }

    /// Syncs, and notes the end in the manifest. A set that was only being begun is removed.
    pub fn close(self) -> Result<(), LogError> {
        Ok(())
    }

    /// The set has no base of its own yet.
    pub fn is_beginning(&self) -> bool {
        false
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn sizes(&self) -> Sizes {
        Sizes::default()
    }

    fn refused(&self, step: &'static str) -> LogError {
        let _ = &self.disk;
        LogError {
            step,
            path: self.place.directory.clone(),
            cause: io::ErrorKind::Unsupported.into(),
        }
    }
}

impl SyncJob {
    /// Blocks until the disk has it.
    pub fn run(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// What is before it is on disk then.
    pub fn at(&self) -> Offset {
        self.at
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.step, self.path.display(), self.cause)
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl LogError {
    /// Puts step and path to an error, for `map_err`.
    pub fn new(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| LogError {
            step,
            path: path.to_owned(),
            cause,
        }
    }
}
