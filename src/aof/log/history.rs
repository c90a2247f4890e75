//! The log's past: how much of it is kept, and a log that is nothing but past, for a node without an AOF that keeps its journal
//! on disk for replicas.
//!
//! Such a log is a set of which nothing is ever loaded: all its lines are of type `h`, the one being written to too. Base and
//! segments that an AOF has left in the directory stay what they were.

use std::io;
use std::sync::Arc;

use crate::aof::disk::Disk;
use crate::aof::manifest::{FileLine, Manifest};
use crate::aof::names::{Name, Names};
use crate::journal::position::Position;

use super::segment::Segment;
use super::{Base, Log, LogError, lengths, line_at, next_segment};

impl Log {
    /// Goes on behind the history that `manifest` names, whatever it is, in a new segment. Makes the directory if it is not
    /// there; the manifest is the one in it, or one whose files are in it.
    ///
    /// # Errors
    /// The disk does not take the segment or the manifest.
    pub fn begin_history(
        disk: Arc<dyn Disk>,
        names: Names,
        manifest: Manifest,
        at: Position,
        annotates: bool,
    ) -> Result<Log, LogError> {
        let directory = names.directory();
        disk.create_directory(directory)
            .map_err(LogError::new("create", directory))?;
        disk.sync_directory(names.working_directory())
            .map_err(LogError::new("sync directory", names.working_directory()))?;
        let lengths = lengths(&*disk, &names)?;
        let line = line_at(&names, next_segment(&names, &manifest), at, annotates);
        let path = names.path(&line.name);
        let segment = Segment::create(&*disk, path, at, annotates)?;
        let mut next = manifest.clone();
        next.history.push(line);
        let mut log = Log {
            disk,
            names,
            annotates,
            manifest,
            manifest_is_uncertain: false,
            stranded: None,
            beginning: None,
            is_history: true,
            segment,
            lengths,
        };
        log.install(next)?;
        Ok(log)
    }

    /// Nothing that this log writes is ever loaded.
    pub fn is_history(&self) -> bool {
        self.is_history
    }

    /// A base without segments, for who writes no AOF: what was to be loaded so far goes.
    pub(super) fn adopt_alone(&mut self, base: &Base) -> Result<(), LogError> {
        let line = self.place_base(base)?;
        let name = line.name.clone();
        let mut next = self.manifest.clone();
        let old = next.base.take().into_iter().chain(next.segments.drain(..));
        let forgotten = old.map(|line| FileLine::new(line.name, line.seq));
        next.history.splice(0..0, forgotten);
        next.base = Some(line);
        self.install_base(next)?;
        self.lengths.insert(name, base.bytes);
        Ok(())
    }

    /// The lines of `manifest` whose last is the present one.
    pub(super) fn written_lines<'a>(&self, manifest: &'a mut Manifest) -> &'a mut Vec<FileLine> {
        match self.is_history {
            true => &mut manifest.history,
            false => &mut manifest.segments,
        }
    }

    /// Deletes what of the history feeds nobody (bases, segments without facts), and the oldest of the rest until at most
    /// `budget_bytes` are left; of a log that is nothing but history a file less, so that there are never fewer. Returns the
    /// names of what has gone.
    pub fn prune(&mut self, budget_bytes: u64) -> Result<Vec<String>, LogError> {
        let mut left = budget_bytes;
        let mut kept = Vec::new();
        let mut gone = Vec::new();
        let mut full = false;
        let mut lines = self.manifest.history.iter().rev();
        if self.is_history {
            kept.extend(lines.next().cloned());
            left = left.saturating_sub(self.segment_bytes());
        }
        for line in lines {
            let length = self.lengths.get(&line.name).copied().unwrap_or(0);
            let feeds = line.facts.id.is_some()
                && line.facts.start.is_some()
                && line.facts.end.is_some()
                && matches!(self.names.parse(&line.name), Some(Name::Segment { .. }));
            full |= feeds
                && match self.is_history {
                    true => left == 0,
                    false => length > left,
                };
            if feeds && !full {
                left = left.saturating_sub(length);
                kept.push(line.clone());
            } else {
                gone.push(line.name.clone());
            }
        }
        if gone.is_empty() {
            return Ok(gone);
        }
        self.settle()?;
        for name in &gone {
            let path = self.names.path(name);
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::new("remove", &path)(error));
                }
                _ => {}
            }
        }
        kept.reverse();
        let mut next = self.manifest.clone();
        next.history = kept;
        self.install(next)?;
        for name in &gone {
            self.lengths.remove(name);
        }
        Ok(gone)
    }
}
