//! The writing side of the file set: append, sync, rotate, adopt a base, replace the history, prune, close.
//!
//! Invariants: a file is complete, synced and under its name in a synced directory before the manifest names it; the manifest
//! in memory is the one on disk, or nothing is appended before it is again; after a failed append the file ends where it
//! ended before. So the set that the manifest names can be loaded at every moment, and what is loaded is a prefix of what was
//! appended. Blocks; knows no journal: who calls says at which position the bytes stand.

mod history;
mod install;
mod pieces;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::journal::position::{Offset, Position, ReplId};

use super::disk::{Disk, DiskFile};
use super::manifest::{Facts, FileLine, Manifest};
use super::names::{BaseFormat, Name, Names};
use segment::{Mark, Segment, checksum, prelude};

pub use segment::write_all;

/// A base that is complete and synced in a temp file of the set's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub temp: PathBuf,
    /// Where its dataset stands.
    pub at: Position,
    pub format: BaseFormat,
    pub bytes: u64,
    /// CRC-64/XZ of the file, if it was computed while it was written.
    pub crc64: Option<u64>,
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
    /// All listed segments, the one being written to among them.
    pub segments: u64,
    pub history: u64,
    /// The one being written to.
    pub segment: u64,
}

/// A file set that is being written to.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    names: Names,
    annotates: bool,
    manifest: Manifest,
    /// The last replacement failed: the one on disk may be another.
    manifest_is_uncertain: bool,
    /// A base that the manifest was to name and does not, with the temp name that it gets back.
    stranded: Option<(PathBuf, PathBuf)>,
    /// Of a set that is being begun: its segments, which no manifest names yet.
    beginning: Option<Beginning>,
    /// The last line of the history is the present one: base and segments of the manifest are nothing that is written to.
    is_history: bool,
    segment: Segment,
    /// Lengths of files that are not written to any more.
    lengths: HashMap<String, u64>,
}

#[derive(Debug)]
struct Beginning {
    lines: Vec<FileLine>,
    /// The first lies under its temp name still.
    first_is_temp: bool,
}

/// A sync of the segment on another handle, for another thread.
#[derive(Debug)]
pub struct SyncJob {
    file: Box<dyn DiskFile>,
    mark: Mark,
    segment: u64,
}

impl Log {
    /// Goes on with the set that `manifest` names: with its last segment, if that is of `at`'s history and ends there; else
    /// in a new one. The directory exists, and the manifest is the one in it; `annotates` puts `#TS:` lines between units.
    pub fn open(
        disk: Arc<dyn Disk>,
        names: Names,
        manifest: Manifest,
        at: Position,
        annotates: bool,
    ) -> Result<Log, LogError> {
        let lengths = lengths(&*disk, &names)?;
        let last = manifest.segments.last();
        let path = last.map(|line| names.path(&line.name));
        // What the annotations take is not known: there the caller, who has read the file, is believed.
        let ends_here = last.is_some_and(|line| {
            let Some(start) = line.facts.start.filter(|&start| start <= at.offset) else {
                return false;
            };
            let expected = line.facts.prelude_bytes + at.offset.since(start);
            let fits = line.facts.annotated || lengths.get(&line.name) == Some(&expected);
            fits && line.facts.end.is_none_or(|end| end == at.offset)
        });
        let continues = ends_here
            && !annotates
            && last.is_some_and(|line| line.facts.id == Some(at.id) && !line.facts.annotated);
        let mut next = manifest.clone();
        let segment = match (&path, next.segments.last_mut()) {
            (Some(path), Some(line)) if continues => {
                line.facts.end = None;
                line.facts.crc64 = None;
                Segment::open(&*disk, path.clone(), at.offset)?
            }
            (path, last) => {
                if let (Some(path), Some(line)) = (path, last) {
                    // What a crash has left to the system is brought to disk before it is built upon.
                    let file = disk.open(path).map_err(LogError::new("open", path))?;
                    file.sync().map_err(LogError::new("sync", path))?;
                    if ends_here && line.facts.end.is_none() {
                        let crc = checksum(&*file).map_err(LogError::new("read", path))?;
                        line.facts.end = Some(at.offset);
                        line.facts.crc64 = Some(crc.value());
                    }
                }
                let line = line_at(&names, next_segment(&names, &next), at, annotates);
                let path = names.path(&line.name);
                let segment = Segment::create(&*disk, path, at, annotates)?;
                next.segments.push(line);
                segment
            }
        };
        let mut log = Log {
            disk,
            names,
            annotates,
            manifest,
            manifest_is_uncertain: false,
            stranded: None,
            beginning: None,
            is_history: false,
            segment,
            lengths,
        };
        if log.manifest != next {
            log.install(next)?;
        }
        Ok(log)
    }

    /// Begins a set: bytes go into `temp-F.incr`, and nothing counts before the first base is adopted. What `manifest` names
    /// stays as it is until then, and goes then.
    pub fn begin(
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
        let path = names.path(&names.temp_segment());
        let segment = Segment::create(&*disk, path, at, annotates)?;
        Ok(Log {
            disk,
            names,
            annotates,
            manifest,
            manifest_is_uncertain: false,
            stranded: None,
            beginning: Some(Beginning {
                lines: vec![line],
                first_is_temp: true,
            }),
            is_history: false,
            segment,
            lengths,
        })
    }

    /// Writes `parts`, which begin and end between units, behind what is there: all of them or, with an error, none.
    /// `unix_seconds` is the time to annotate with.
    pub fn append(&mut self, parts: &[Bytes], unix_seconds: i64) -> Result<(), LogError> {
        self.settle()?;
        self.segment.append(parts, unix_seconds)
    }

    /// Where the next byte goes.
    pub fn end(&self) -> Offset {
        self.segment.end().offset
    }

    /// What is before it is on disk.
    pub fn synced(&self) -> Offset {
        self.segment.synced().offset
    }

    /// Syncs all that was appended.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.segment.sync()
    }

    /// All that was appended, to be synced by another thread; [`Log::note_synced`] takes it back when that is done.
    pub fn sync_job(&self) -> Result<SyncJob, LogError> {
        Ok(SyncJob {
            file: self.segment.another()?,
            mark: self.segment.end().clone(),
            segment: self.segment_seq(),
        })
    }

    /// The job has been done. One that belongs to a segment that is closed since says nothing new.
    pub fn note_synced(&mut self, job: &SyncJob) {
        if self.is_of_present(job) {
            self.segment.note_synced(&job.mark);
        }
    }

    /// The job has failed: see [`Log::sync_has_failed`].
    pub fn note_sync_failed(&mut self, job: &SyncJob) {
        if self.is_of_present(job) {
            self.segment.note_sync_failed();
        }
    }

    /// What was appended since the last sync that worked may be gone, and a sync that works now says nothing about it: it is
    /// to be cut off ([`Log::cut_back`]) and appended again.
    pub fn sync_has_failed(&self) -> bool {
        self.segment.sync_has_failed()
    }

    fn is_of_present(&self, job: &SyncJob) -> bool {
        job.segment == self.segment_seq()
    }

    /// Forgets what is not on disk, after a sync that failed: what the system still had may be gone. Returns where the log
    /// stands then; what followed has to be appended again.
    pub fn cut_back(&mut self) -> Offset {
        // A cut that fails is made up for before the next append.
        let _ = self.segment.cut_back();
        self.end()
    }

    /// A new segment from `at` on, where the log stands; the present one is closed.
    pub fn rotate(&mut self, at: Position) -> Result<(), LogError> {
        self.check_position(at, "rotate")?;
        self.settle()?;
        self.segment.sync()?;
        let seq = self.next_segment();
        let line = line_at(&self.names, seq, at, self.annotates);
        let path = self.names.path(&line.name);
        let segment = Segment::create(&*self.disk, path, at, self.annotates)?;
        let closed = self.closed_line();
        if let Some(beginning) = &mut self.beginning {
            beginning.lines.pop();
            beginning.lines.extend([closed, line]);
        } else {
            let mut next = self.manifest.clone();
            let lines = self.written_lines(&mut next);
            lines.pop();
            lines.extend([closed, line]);
            self.install(next)?;
        }
        self.put_segment(segment);
        Ok(())
    }

    /// Takes a base into the set. A segment begins where it stands; those before, and the base before, become history.
    pub fn adopt(&mut self, base: &Base) -> Result<(), LogError> {
        self.settle()?;
        if self.is_history {
            return self.adopt_alone(base);
        }
        let lines = match &self.beginning {
            Some(beginning) => &beginning.lines,
            None => &self.manifest.segments,
        };
        let starts = |line: &FileLine| {
            line.facts.start == Some(base.at.offset) && line.facts.id == Some(base.at.id)
        };
        let Some(first) = lines.iter().position(starts) else {
            return Err(self.misplaced("adopt", base.at));
        };
        let (before, after) = (lines[..first].to_vec(), lines[first..].to_vec());
        let mut next = Manifest {
            base: None,
            history: self.manifest.history.clone(),
            segments: after,
        };
        if self.beginning.is_some() {
            self.name_first_segment()?;
            next.history = self.everything_old();
        } else {
            next.history.extend(self.manifest.base.clone());
        }
        next.history.extend(before);
        let line = self.place_base(base)?;
        let name = line.name.clone();
        next.base = Some(line);
        self.install_base(next)?;
        self.beginning = None;
        self.lengths.insert(name, base.bytes);
        Ok(())
    }

    /// Another dataset and its history take the place of the set, by one manifest. The next byte follows `base.at`.
    pub fn replace(&mut self, base: &Base) -> Result<(), LogError> {
        self.settle()?;
        let seq = self.next_segment();
        let line = line_at(&self.names, seq, base.at, self.annotates);
        let path = self.names.path(&line.name);
        let segment = Segment::create(&*self.disk, path, base.at, self.annotates)?;
        let base_line = self.place_base(base)?;
        let name = base_line.name.clone();
        self.install_base(Manifest {
            base: Some(base_line),
            history: self.everything_old(),
            segments: vec![line],
        })?;
        let begun = self.beginning.take();
        self.put_segment(segment);
        self.lengths.insert(name, base.bytes);
        if let Some(begun) = begun {
            self.remove_begun(&begun);
        }
        Ok(())
    }

    /// Syncs, and notes the end in the manifest: nothing may be appended any more. A set that was only being begun is removed.
    pub fn close(&mut self) -> Result<(), LogError> {
        if let Some(begun) = self.beginning.take() {
            self.remove_begun(&begun);
            return Ok(());
        }
        self.settle()?;
        self.segment.sync()?;
        let mut next = self.manifest.clone();
        let closed = self.closed_line();
        let lines = self.written_lines(&mut next);
        lines.pop();
        lines.push(closed);
        self.install(next)
    }

    /// Whether segments that are begun from now on are annotated.
    pub fn set_annotates(&mut self, annotates: bool) {
        self.annotates = annotates;
    }

    /// The present segment is not what the setting asks for: rotate.
    pub fn annotation_differs(&self) -> bool {
        self.segment.is_annotated() != self.annotates
    }

    /// The set has no base of its own yet.
    pub fn is_beginning(&self) -> bool {
        self.beginning.is_some()
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Empty while the set is being begun.
    pub fn base_name(&self) -> &str {
        self.manifest.base.as_ref().map_or("", |line| &line.name)
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Sequence number of the segment that is being written to.
    pub fn segment_seq(&self) -> u64 {
        self.present_line().map_or(0, |line| line.seq)
    }

    /// Bytes of the file that is being written to.
    pub fn segment_bytes(&self) -> u64 {
        self.segment.end().crc.bytes()
    }

    /// The history that the present segment belongs to.
    pub fn id(&self) -> Option<ReplId> {
        self.present_line()?.facts.id
    }

    pub fn sizes(&self) -> Sizes {
        let sum = |lines: &[FileLine]| -> u64 {
            let lengths = lines.iter().filter_map(|line| self.lengths.get(&line.name));
            lengths.sum()
        };
        let segment = self.segment_bytes();
        if self.is_history {
            let (_, closed) = self.manifest.history.split_last().unzip();
            return Sizes {
                history: closed.map_or(0, sum) + segment,
                segment,
                ..Sizes::default()
            };
        }
        let closed = match &self.beginning {
            Some(beginning) => sum(&beginning.lines[..beginning.lines.len() - 1]),
            None => sum(&self.manifest.segments[..self.manifest.segments.len().saturating_sub(1)]),
        };
        let has_base = self.beginning.is_none();
        Sizes {
            base: sum(self.manifest.base.as_slice()) * u64::from(has_base),
            segments: closed + segment,
            history: sum(&self.manifest.history),
            segment,
        }
    }

    fn present_line(&self) -> Option<&FileLine> {
        match &self.beginning {
            Some(beginning) => beginning.lines.last(),
            None if self.is_history => self.manifest.history.last(),
            None => self.manifest.segments.last(),
        }
    }

    /// The present segment's line, with what is known of a closed one.
    fn closed_line(&self) -> FileLine {
        let mut line = self
            .present_line()
            .cloned()
            .unwrap_or_else(|| FileLine::new(self.names.segment(1), 1));
        let end = self.segment.end();
        line.facts.end = Some(end.offset);
        line.facts.crc64 = Some(end.crc.value());
        line
    }

    fn put_segment(&mut self, segment: Segment) {
        let old = std::mem::replace(&mut self.segment, segment);
        if let Some(name) = old.path().file_name().and_then(|name| name.to_str()) {
            self.lengths.insert(name.to_owned(), old.end().crc.bytes());
        }
    }

    fn next_segment(&self) -> u64 {
        let listed = next_segment(&self.names, &self.manifest);
        self.present_line()
            .map_or(listed, |line| listed.max(line.seq + 1))
    }

    fn next_base(&self) -> u64 {
        let history = self.manifest.history.iter();
        let bases =
            history.filter(|line| matches!(self.names.parse(&line.name), Some(Name::Base { .. })));
        let bases = bases.chain(&self.manifest.base);
        bases.map(|line| line.seq).max().unwrap_or(0) + 1
    }

    /// What is left of a set that never became one. Nobody misses what cannot be removed: it is written over.
    fn remove_begun(&self, begun: &Beginning) {
        for (index, line) in begun.lines.iter().enumerate() {
            let name = match index == 0 && begun.first_is_temp {
                true => self.names.temp_segment(),
                false => line.name.clone(),
            };
            let _ = self.disk.remove(&self.names.path(&name));
        }
    }

    fn check_position(&self, at: Position, step: &'static str) -> Result<(), LogError> {
        if at.offset == self.end() {
            return Ok(());
        }
        Err(self.misplaced(step, at))
    }

    fn misplaced(&self, step: &'static str, at: Position) -> LogError {
        LogError::new(step, self.segment.path())(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "asked for at {} of {}, where no segment begins; the log ends at {}",
                at.offset,
                at.id,
                self.end()
            ),
        ))
    }
}

impl SyncJob {
    /// Blocks until the disk has it.
    pub fn run(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// What is before it is on disk then.
    pub fn at(&self) -> Offset {
        self.mark.offset
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

fn line_at(names: &Names, seq: u64, at: Position, annotated: bool) -> FileLine {
    FileLine {
        name: names.segment(seq),
        seq,
        facts: Facts {
            id: Some(at.id),
            start: Some(at.offset),
            start_db: at.stream_db,
            prelude_bytes: prelude(at).len() as u64,
            annotated,
            ..Facts::default()
        },
        unknown: Vec::new(),
    }
}

/// One more than any that the manifest has.
fn next_segment(names: &Names, manifest: &Manifest) -> u64 {
    let history = manifest.history.iter();
    let old = history.filter(|line| matches!(names.parse(&line.name), Some(Name::Segment { .. })));
    let all = old.chain(&manifest.segments);
    all.map(|line| line.seq).max().unwrap_or(0) + 1
}

fn lengths(disk: &dyn Disk, names: &Names) -> Result<HashMap<String, u64>, LogError> {
    let directory = names.directory();
    let files = disk
        .list(directory)
        .map_err(LogError::new("list", directory))?;
    Ok(files.into_iter().collect())
}
