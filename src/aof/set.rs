//! What is in the directory at the start: a plan of what to load, what to take over, what to clear away.
//!
//! ```text
//! survey (reads names, lengths and the manifest) -> Plan -> take_over (an old single file) -> load -> clear_away
//! ```
//!
//! Invariants: surveying changes nothing; a set that is not complete, and files whose manifest is gone, are refused and not
//! started over; nothing that holds commands is removed unless the manifest says that it is history.
//!
//! A manifest that names no file makes all unnamed files strays. So whoever begins a set puts such a manifest there first,
//! and a crash in between leaves nothing that has to be refused.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::journal::position::Offset;

use super::disk::Disk;
use super::manifest::{self, Facts, FileError, FileLine, Kind, Manifest};
use super::names::{self, Name, Names};

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be done before anything is loaded.
    pub take_over: Option<TakeOver>,
    /// Base and segments in the order of loading; none if there is no set yet.
    pub files: Vec<FileToLoad>,
    /// The set as it is to be from now on: history that nobody needs is not in it any more.
    pub manifest: Manifest,
    /// Whether `manifest` differs from the one on disk.
    pub is_changed: bool,
    /// For the log.
    pub warnings: Vec<String>,
    /// To be cleared away once all is loaded and the manifest stands.
    pub leftovers: Vec<Leftover>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileToLoad {
    pub name: String,
    /// Where it lies after the taking over.
    pub path: PathBuf,
    pub bytes: u64,
    /// [`Kind::Base`] or [`Kind::Segment`].
    pub kind: Kind,
    pub facts: Facts,
    /// No file behind it holds a byte: the only place where a torn end may be cut.
    pub is_last: bool,
}

/// An AOF of one file, of Redis before 7.0, becomes the base of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// From the start.
    Begin,
    /// The manifest is there already: a crash came before the file was moved.
    Finish,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    Remove(PathBuf),
    /// Holds commands but is in no manifest: kept under another name.
    SetAside {
        from: PathBuf,
        to: PathBuf,
    },
}

/// Why there is no plan.
#[derive(Debug)]
pub enum SetError {
    Disk {
        path: PathBuf,
        cause: io::Error,
    },
    Manifest {
        path: PathBuf,
        cause: FileError,
    },
    /// The manifest names a file that is not there.
    Missing {
        path: PathBuf,
    },
    /// These hold bytes, but there is no manifest.
    NoManifest {
        directory: PathBuf,
        files: Vec<String>,
    },
}

impl Plan {
    /// Bytes of all files to load.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Looks at the directories. `is_alive` tells whether a process of another number than ours runs, so that what it is writing
/// is not taken for a leftover.
///
/// # Errors
/// What the disk says, a manifest that is refused, a set that is not complete, files without a manifest.
pub fn survey(
    disk: &dyn Disk,
    names: &Names,
    is_alive: &dyn Fn(u32) -> bool,
) -> Result<Plan, SetError> {
    let list = |path: &Path| match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|cause| SetError::Disk {
            path: path.to_owned(),
            cause,
        }),
    };
    let inside = list(names.directory())?;
    let beside = list(names.working_directory())?;
    let read = manifest::read(disk, names).map_err(|cause| SetError::Manifest {
        path: names.path(&names.manifest()),
        cause,
    })?;
    let found = Found {
        names,
        inside: &inside,
        beside: &beside,
    };
    found.plan(read, is_alive)
}

/// Names and lengths.
struct Found<'a> {
    names: &'a Names,
    inside: &'a [(String, u64)],
    beside: &'a [(String, u64)],
}

impl Found<'_> {
    fn plan(
        &self,
        read: Option<manifest::Parsed>,
        is_alive: &dyn Fn(u32) -> bool,
    ) -> Result<Plan, SetError> {
        if read.is_none() {
            self.refuse_orphans()?;
        }
        let manifest::Parsed {
            mut manifest,
            mut warnings,
        } = read.unwrap_or_default();
        let take_over = self.take_over(&manifest);
        if take_over == Some(TakeOver::Begin) {
            manifest = single_file_manifest(self.names);
        }
        let before = manifest.clone();
        let mut plan = Plan {
            files: self.files(&manifest, take_over)?,
            take_over,
            ..Plan::default()
        };
        warnings.extend(distrust_what_does_not_join(&mut manifest, &mut plan.files));
        plan.leftovers = self.forget_history(&mut manifest);
        plan.is_changed = manifest != before;
        plan.manifest = manifest;
        plan.leftovers.extend(self.strays(&before, is_alive));
        for leftover in &plan.leftovers {
            if let Leftover::SetAside { from, to } = leftover {
                warnings.push(format!(
                    "{} holds commands but is not in the manifest: it is not loaded, and kept as {}",
                    from.display(),
                    to.display()
                ));
            }
        }
        plan.warnings = warnings;
        Ok(plan)
    }

    /// Redis would start empty, and would later append to an old segment.
    fn refuse_orphans(&self) -> Result<(), SetError> {
        let holds = |&&(ref name, bytes): &&(String, u64)| {
            let parsed = self.names.parse(name);
            bytes > 0 && matches!(parsed, Some(Name::Base { .. } | Name::Segment { .. }))
        };
        let mut files: Vec<_> = self.inside.iter().filter(holds).collect();
        if files.is_empty() {
            return Ok(());
        }
        files.sort();
        Err(SetError::NoManifest {
            directory: self.names.directory().to_owned(),
            files: files.into_iter().map(|(name, _)| name.clone()).collect(),
        })
    }

    fn take_over(&self, manifest: &Manifest) -> Option<TakeOver> {
        let single = self.names.prefix();
        length(self.beside, single)?;
        if manifest.names_nothing_to_load() {
            return Some(TakeOver::Begin);
        }
        let is_begun = manifest.segments.is_empty()
            && manifest
                .base
                .as_ref()
                .is_some_and(|base| base.name == single)
            && length(self.inside, single).is_none();
        is_begun.then_some(TakeOver::Finish)
    }

    fn files(
        &self,
        manifest: &Manifest,
        take_over: Option<TakeOver>,
    ) -> Result<Vec<FileToLoad>, SetError> {
        let mut files = Vec::new();
        for (kind, line) in manifest.lines() {
            if kind == Kind::History {
                continue;
            }
            let place = match take_over {
                Some(_) => self.beside,
                None => self.inside,
            };
            let path = self.names.path(&line.name);
            let Some(bytes) = length(place, &line.name) else {
                return Err(SetError::Missing { path });
            };
            files.push(FileToLoad {
                name: line.name.clone(),
                path,
                bytes,
                kind,
                facts: line.facts.clone(),
                is_last: false,
            });
        }
        let last = files.iter().rposition(|file| file.bytes > 0).unwrap_or(0);
        for file in files.iter_mut().skip(last) {
            file.is_last = true;
        }
        Ok(files)
    }

    /// Takes out of the manifest what is history and cannot feed a replica: written by others, or gone.
    fn forget_history(&self, manifest: &mut Manifest) -> Vec<Leftover> {
        let named: Vec<String> = manifest
            .lines()
            .filter(|(kind, _)| *kind != Kind::History)
            .map(|(_, line)| line.name.clone())
            .collect();
        let mut removed = Vec::new();
        manifest.history.retain(|line| {
            let is_there = length(self.inside, &line.name).is_some();
            let is_ours = line.facts.id.is_some() && line.facts.start.is_some();
            let is_named = named.contains(&line.name);
            if is_there && is_ours && !is_named {
                return true;
            }
            if is_there && !is_named && self.may_remove(&line.name) {
                removed.push(Leftover::Remove(self.names.path(&line.name)));
            }
            false
        });
        removed
    }

    /// A manifest may name any file as history; only those that can be of this set are removed.
    fn may_remove(&self, name: &str) -> bool {
        let parsed = self.names.parse(name);
        name == self.names.prefix()
            || matches!(parsed, Some(Name::Base { .. } | Name::Segment { .. }))
    }

    /// Files of ours that no line names.
    fn strays(&self, manifest: &Manifest, is_alive: &dyn Fn(u32) -> bool) -> Vec<Leftover> {
        let seq_max = manifest.segments.last().map_or(0, |line| line.seq);
        let mut leftovers = Vec::new();
        for (name, bytes) in self.inside {
            if manifest.lines().any(|(_, line)| line.name == *name) {
                continue;
            }
            let path = self.names.path(name);
            match self.names.parse(name) {
                Some(Name::TempBase { process }) if is_alive(process) => {}
                Some(Name::TempManifest | Name::TempSegment | Name::TempBase { .. }) => {
                    leftovers.push(Leftover::Remove(path));
                }
                Some(Name::Segment { seq }) if seq > seq_max && *bytes > STRAY_BYTES_MAX => {
                    let to = self.names.path(&self.unused(&format!("{name}.unlisted")));
                    leftovers.push(Leftover::SetAside { from: path, to });
                }
                Some(Name::Base { .. } | Name::Segment { .. }) => {
                    leftovers.push(Leftover::Remove(path));
                }
                Some(Name::Manifest) | None => {}
            }
        }
        for (name, _) in self.beside {
            if names::temp_base_process(name).is_some_and(|process| !is_alive(process)) {
                let path = self.names.working_directory().join(name);
                leftovers.push(Leftover::Remove(path));
            }
        }
        leftovers.sort_by(|one, other| one.path().cmp(other.path()));
        leftovers
    }

    fn unused(&self, name: &str) -> String {
        let numbered = (2..).map(|number| format!("{name}.{number}"));
        let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
        let free = candidates.find(|name| length(self.inside, name).is_none());
        free.unwrap_or_else(|| name.to_owned())
    }
}

/// A segment that was made but not yet put into the manifest holds no more than its first SELECT.
const STRAY_BYTES_MAX: u64 = 64;

fn length(files: &[(String, u64)], name: &str) -> Option<u64> {
    let found = files.iter().find(|(other, _)| other == name);
    found.map(|&(_, bytes)| bytes)
}

fn single_file_manifest(names: &Names) -> Manifest {
    Manifest {
        base: Some(FileLine::new(names.prefix().to_owned(), 1)),
        ..Manifest::default()
    }
}

/// Where the offsets of a set do not join up; one sentence each. `bytes` tells the length of a file by its name.
///
/// Files without facts may stand before those with facts, not behind them.
pub fn gaps(manifest: &Manifest, bytes: impl Fn(&str) -> Option<u64>) -> Vec<String> {
    let mut gaps = Vec::new();
    let mut before: Option<(&str, Option<Offset>)> = None;
    let loaded = manifest.base.iter().map(|line| (Kind::Base, line));
    let segments = manifest.segments.iter().map(|line| (Kind::Segment, line));
    for (kind, line) in loaded.chain(segments) {
        let facts = &line.facts;
        match (&before, facts.start) {
            (Some((name, _)), None) => {
                gaps.push(format!(
                    "{} says nothing of its offset, but {name} before it does",
                    line.name
                ));
            }
            (Some((name, Some(end))), Some(start)) if *end != start => {
                gaps.push(format!(
                    "{} begins at offset {start}, but {name} ends at {end}",
                    line.name
                ));
            }
            _ => {}
        }
        let end = match kind {
            Kind::Base => facts.start,
            _ => facts.end.or_else(|| facts.end_of(bytes(&line.name)?)),
        };
        before = facts.start.map(|_| (line.name.as_str(), end));
    }
    gaps
}

/// Offsets that do not join up are worse than none: then the set is one of unknown history.
fn distrust_what_does_not_join(manifest: &mut Manifest, files: &mut [FileToLoad]) -> Vec<String> {
    let gaps = gaps(manifest, |name| {
        let file = files.iter().find(|file| file.name == name);
        file.map(|file| file.bytes)
    });
    if !gaps.is_empty() {
        let lines = manifest.base.iter_mut().chain(&mut manifest.segments);
        let facts = lines.map(|line| &mut line.facts);
        for facts in facts.chain(files.iter_mut().map(|file| &mut file.facts)) {
            facts.forget_history();
        }
    }
    gaps.into_iter()
        .map(|gap| format!("{gap}: the history of this AOF is taken as unknown"))
        .collect()
}

/// Makes a set of an old single file, step by step as Redis does, so that either server can go on after a crash.
///
/// # Errors
/// What the disk says. A restart goes on where this stopped.
pub fn take_over(disk: &dyn Disk, names: &Names, how: TakeOver) -> Result<(), SetError> {
    let (working, directory) = (names.working_directory(), names.directory());
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| SetError::Disk { path, cause }
    };
    if how == TakeOver::Begin {
        disk.create_directory(directory)
            .map_err(failed(directory))?;
        disk.sync_directory(working).map_err(failed(working))?;
        let manifest = single_file_manifest(names);
        manifest::replace(disk, names, &manifest).map_err(|cause| SetError::Manifest {
            path: names.path(&names.manifest()),
            cause,
        })?;
    }
    let (from, to) = (names.single_file(), names.path(names.prefix()));
    disk.rename(&from, &to).map_err(failed(&from))?;
    // First where it is, then where it was: so that it is never in neither.
    disk.sync_directory(directory).map_err(failed(directory))?;
    disk.sync_directory(working).map_err(failed(working))
}

/// Clears away what is left over. Gives what could not be cleared away: no reason not to start.
pub fn clear_away(disk: &dyn Disk, leftovers: &[Leftover]) -> Vec<(PathBuf, io::Error)> {
    let mut failures = Vec::new();
    for leftover in leftovers {
        let done = match leftover {
            Leftover::Remove(path) => disk.remove(path),
            Leftover::SetAside { from, to } => disk.rename(from, to),
        };
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            failures.push((leftover.path().to_owned(), error));
        }
    }
    failures
}

impl Leftover {
    pub fn path(&self) -> &Path {
        match self {
            Leftover::Remove(path) | Leftover::SetAside { from: path, .. } => path,
        }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Disk { path, cause } => write!(f, "{}: {cause}", path.display()),
            SetError::Manifest { path, cause } => write!(f, "{}: {cause}", path.display()),
            SetError::Missing { path } => write!(
                f,
                "the AOF file {} is in the manifest, but is not there",
                path.display()
            ),
            SetError::NoManifest { directory, files } => write!(
                f,
                "{} holds {} but no manifest that names them: put the manifest back, or move the files away",
                directory.display(),
                files.join(", ")
            ),
        }
    }
}

impl std::error::Error for SetError {}

#[cfg(test)]
mod tests;
