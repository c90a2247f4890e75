//! The AOF that a starting node finds: what is to be loaded, what it says about itself, and what becomes of a set that does
//! not end as it should.
//!
//! Looking changes nothing. What has to be changed before the set is written on (a torn tail is cut off, an old single file moves
//! into the directory) is decided by [`AofFound::judge`] and carried out by [`AofFound::settle`], after all of it was loaded:
//! a node that does not start has not touched a byte.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::aof::disk::Disk;
use crate::aof::manifest::{self, FileLine, Manifest};
use crate::aof::names::{Name, Names, temp_base_process};
use crate::aof::scan::Ending;
use crate::config::Config;
use crate::engine::replaying::Meaningless;
use crate::journal::position::{Offset, Position};
use crate::replication::identity::Former;

use super::choose_dataset::AofSeen;
use super::load_aof::LoadedAof;
use super::read_aof::{Fault, FileEnd, Source};

/// A set, as it was found.
pub struct AofFound {
    pub names: Names,
    pub manifest: Manifest,
    /// Base and segments, in the order in which they are loaded, with their lengths.
    files: Vec<(Source, String, u64)>,
    /// The file of a Redis before 7.0, to be taken over.
    single: Option<PathBuf>,
    modified_ms: i64,
}

/// What has to be done to the last file before it is written on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub path: PathBuf,
    pub to: u64,
}

/// A piece of the journal in a file: from offset to offset.
#[derive(Clone, Debug)]
pub struct Span {
    pub path: PathBuf,
    pub line: FileLine,
    pub start: Offset,
    pub end: Offset,
}

impl AofFound {
    /// Looks; none where there is no AOF yet.
    ///
    /// # Errors
    /// The manifest is refused, a file that it names is missing, or there are files and no manifest.
    pub fn look(disk: &dyn Disk, names: Names) -> Result<Option<Self>, String> {
        let listed = match disk.list(names.directory()) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: {error}", names.directory().display())),
        };
        let parsed = manifest::read(disk, &names).map_err(|error| error.to_string())?;
        let has_manifest = parsed.is_some();
        let parsed = parsed.unwrap_or_default();
        for warning in &parsed.warnings {
            log::warn!("{}: {warning}", names.manifest());
        }
        let manifest = parsed.manifest;
        let mut found = AofFound {
            names,
            manifest,
            files: Vec::new(),
            single: None,
            modified_ms: 0,
        };
        if found.has_single(disk) && found.may_take_over(&listed) {
            return found.with_single(disk).map(Some);
        }
        if !has_manifest {
            return found.refuse_orphans(&listed).map(|()| None);
        }
        if found.manifest.names_nothing_to_load() {
            return Ok(None);
        }
        let lines = found.manifest.base.iter().chain(&found.manifest.segments);
        for line in lines {
            let length = listed.iter().find(|(name, _)| *name == line.name);
            let Some((_, length)) = length else {
                return Err(format!(
                    "Unable to obtain the AOF file {} length. stat: No such file or directory",
                    line.name
                ));
            };
            let source = Source {
                path: found.names.path(&line.name),
                crc64: line.facts.crc64,
            };
            found.files.push((source, line.name.clone(), *length));
        }
        found.modified_ms = found.files.iter().map(modified_ms).max().unwrap_or(0);
        Ok(Some(found))
    }

    fn has_single(&self, disk: &dyn Disk) -> bool {
        disk.open(&self.names.single_file()).is_ok()
    }

    /// As Redis does it: where there is no set yet, or the manifest of an interrupted take-over.
    fn may_take_over(&self, listed: &[(String, u64)]) -> bool {
        let name = self.names.prefix();
        let is_interrupted = self.manifest.segments.is_empty()
            && self.manifest.base.as_ref().is_some_and(|base| base.name == name)
            && !listed.iter().any(|(file, _)| file == name);
        self.manifest.names_nothing_to_load() || is_interrupted
    }

    fn with_single(mut self, disk: &dyn Disk) -> Result<Self, String> {
        let path = self.names.single_file();
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let length = disk.open(&path).map_err(failed)?.length().map_err(failed)?;
        let name = self.names.prefix().to_owned();
        let source = Source {
            path: path.clone(),
            crc64: None,
        };
        self.manifest.base = Some(FileLine::new(name.clone(), 1));
        self.files = vec![(source, name, length)];
        self.modified_ms = self.files.iter().map(modified_ms).max().unwrap_or(0);
        self.single = Some(path);
        Ok(self)
    }

    /// Files of a set without the manifest that says what they are: loading nothing would be to lose them, and to begin a set
    /// among them would bring them back one day.
    fn refuse_orphans(&self, listed: &[(String, u64)]) -> Result<(), String> {
        let is_of_set = |name: &str| {
            matches!(
                self.names.parse(name),
                Some(Name::Base { .. } | Name::Segment { .. })
            )
        };
        match listed.iter().find(|(name, length)| *length > 0 && is_of_set(name)) {
            None => Ok(()),
            Some((name, _)) => Err(format!(
                "{} holds {name}, but no manifest {} that says what it is. Bring the manifest back, or move the files away",
                self.names.directory().display(),
                self.names.manifest()
            )),
        }
    }

    /// All that has to be read.
    pub fn sources(&self) -> Vec<Source> {
        self.files.iter().map(|(source, ..)| source.clone()).collect()
    }

    /// Bytes of these files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(.., length)| length).sum()
    }

    /// What can be told before it is read.
    pub fn seen(&self) -> AofSeen {
        let lines = || self.manifest.base.iter().chain(&self.manifest.segments);
        let end = self.manifest.segments.last().or(self.manifest.base.as_ref());
        let end = end.and_then(|line| {
            let (id, start) = line.facts.id.zip(line.facts.start)?;
            let length = self.files.last().map_or(0, |(.., length)| *length);
            let journal = match self.manifest.segments.is_empty() {
                true => 0,
                false => length.saturating_sub(line.facts.prelude_bytes),
            };
            Some(Position {
                id,
                offset: line.facts.end.unwrap_or(start.plus(journal as usize)),
                stream_db: None,
            })
        });
        AofSeen {
            ids: lines().filter_map(|line| line.facts.id).collect(),
            end,
            modified_ms: self.modified_ms,
        }
    }

    /// Whether what was loaded may be gone on with, and what has to be cut off first.
    ///
    /// # Errors
    /// It may not, in Redis's words where it has some, with file, byte and reason.
    pub fn judge(&self, loaded: &LoadedAof, config: &Config) -> Result<Option<Cut>, String> {
        for (end, (source, name, _)) in loaded.ends.iter().zip(&self.files) {
            if end.is_whole() {
                continue;
            }
            let is_last = loaded.ends.len() == self.files.len();
            return match judge_file(end, name, is_last, config)? {
                Some(to) => Ok(Some(Cut {
                    path: source.path.clone(),
                    to,
                })),
                None => Ok(None),
            };
        }
        Ok(None)
    }

    /// Carries out what has been decided: from here on the set is one that can be written on.
    ///
    /// # Errors
    /// The disk does not let us.
    pub fn settle(&mut self, disk: &dyn Disk, cut: Option<Cut>) -> Result<(), String> {
        if let Some(cut) = &cut {
            cut_off(disk, cut).map_err(|error| {
                format!("Error truncating the AOF file {}: {error}", cut.path.display())
            })?;
            let last = self.manifest.segments.last_mut();
            if let Some(line) = last.or(self.manifest.base.as_mut()) {
                // What was known of the file as it was closed is not true any more.
                let was_closed = line.facts.end.is_some() || line.facts.crc64.is_some();
                (line.facts.end, line.facts.crc64) = (None, None);
                if was_closed {
                    manifest::replace(disk, &self.names, &self.manifest)
                        .map_err(|error| error.to_string())?;
                }
            }
        }
        if let Some(single) = self.single.take() {
            self.take_over(disk, &single)
                .map_err(|error| format!("Error upgrading {}: {error}", single.display()))?;
        }
        Ok(())
    }

    /// The steps of Redis, so that an interruption between them is one that it knows.
    fn take_over(&self, disk: &dyn Disk, single: &std::path::Path) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        let working = self.names.working_directory();
        disk.create_directory(self.names.directory()).map_err(text)?;
        disk.sync_directory(working).map_err(text)?;
        manifest::replace(disk, &self.names, &self.manifest).map_err(|error| error.to_string())?;
        disk.rename(single, &self.names.path(self.names.prefix()))
            .map_err(text)?;
        disk.sync_directory(self.names.directory()).map_err(text)?;
        disk.sync_directory(working).map_err(text)?;
        log::info!("Successfully migrated an old-style AOF into the AOF directory");
        Ok(())
    }

    /// Where the dataset stands that was loaded, if the files say so and follow each other without a gap.
    pub fn position(&self, loaded: &LoadedAof) -> Option<Position> {
        let mut at = None;
        if let Some(base) = &self.manifest.base {
            at = Some(Position {
                id: base.facts.id?,
                offset: base.facts.start?,
                stream_db: base.facts.start_db,
            });
        }
        for span in self.spans(loaded)? {
            if at.is_some_and(|at| at.offset != span.start) {
                log::warn!(
                    "{} does not begin where the file before it ends: the AOF's place in its history is not known",
                    span.line.name
                );
                return None;
            }
            at = Some(Position {
                id: span.line.facts.id?,
                offset: span.end,
                stream_db: span.line.facts.start_db,
            });
        }
        at.map(|at| Position {
            stream_db: loaded.selected.or(at.stream_db),
            ..at
        })
    }

    /// The journal in the segments that were loaded; none if one of them does not say where it belongs.
    fn spans(&self, loaded: &LoadedAof) -> Option<Vec<Span>> {
        let bases = self.manifest.base.iter().count();
        let ends = loaded.ends.iter().skip(bases);
        let spans = self.manifest.segments.iter().zip(ends).map(|(line, end)| {
            let start = line.facts.start?;
            line.facts.id?;
            let journal = end.journal_bytes(line.facts.prelude_bytes);
            Some(Span {
                path: self.names.path(&line.name),
                line: line.clone(),
                start,
                end: start.plus(journal as usize),
            })
        });
        spans.collect()
    }

    /// All that is on disk of the journal up to where the dataset stands, without a gap, the latest first.
    pub fn past(&self, loaded: &LoadedAof) -> Vec<Span> {
        let mut spans = self.spans(loaded).unwrap_or_default();
        let history = self.manifest.history.iter().filter_map(|line| {
            line.facts.id?;
            Some(Span {
                path: self.names.path(&line.name),
                line: line.clone(),
                start: line.facts.start?,
                end: line.facts.end?,
            })
        });
        let mut all: Vec<Span> = history.collect();
        all.append(&mut spans);
        let mut past: Vec<Span> = Vec::new();
        for span in all.into_iter().rev() {
            if past.last().is_some_and(|later| later.start != span.end) {
                break;
            }
            past.push(span);
        }
        past
    }

    /// Removes what processes that died have left: files that no manifest names and nobody writes any more.
    pub fn remove_leftovers(&self, disk: &dyn Disk) {
        let (inside, outside) = (self.names.directory(), self.names.working_directory());
        let is_dead = |process: u32| {
            process == std::process::id()
                || !std::path::Path::new(&format!("/proc/{process}")).exists()
        };
        let inside_names = disk.list(inside).unwrap_or_default();
        let of_set = inside_names.into_iter().filter(|(name, _)| match self.names.parse(name) {
            Some(Name::TempManifest | Name::TempSegment) => true,
            Some(Name::TempBase { process }) => is_dead(process),
            _ => false,
        });
        let outside_names = disk.list(outside).unwrap_or_default();
        let of_redis = outside_names
            .into_iter()
            .filter(|(name, _)| temp_base_process(name).is_some_and(is_dead));
        let paths = of_set.map(|(name, _)| inside.join(name));
        for path in paths.chain(of_redis.map(|(name, _)| outside.join(name))) {
            match disk.remove(&path) {
                Ok(()) => log::info!("{}: left by a rewrite that did not end, removed", path.display()),
                Err(error) => log::warn!("{}: cannot be removed: {error}", path.display()),
            }
        }
    }
}

/// Histories that the last one continues, the latest first.
pub fn former(past: &[Span]) -> Vec<Former> {
    let pairs = past.iter().zip(past.iter().skip(1));
    let changes = pairs.filter(|(later, earlier)| later.line.facts.id != earlier.line.facts.id);
    changes
        .filter_map(|(later, earlier)| {
            Some(Former {
                id: earlier.line.facts.id?,
                until: later.start,
                stream_db: later.line.facts.start_db,
            })
        })
        .collect()
}

/// Where a file that is not whole may be cut; none if it need not be.
fn judge_file(
    end: &FileEnd,
    name: &str,
    is_last: bool,
    config: &Config,
) -> Result<Option<u64>, String> {
    const REPAIR: &str = "make a backup of your AOF files, then use sluice check-aof --fix <filename.manifest>";
    match &end.fault {
        None => {}
        Some(Fault::Meaningless { at, reason: reason @ Meaningless::Unknown(_) }) => {
            return Err(format!("{reason} reading the append only file {name}: byte {at}"));
        }
        Some(Fault::Rdb(error)) => {
            return Err(format!(
                "Error reading the RDB preamble of the AOF file {name}, AOF loading aborted: {error}"
            ));
        }
        Some(Fault::Io(error)) => {
            return Err(format!(
                "Unrecoverable error reading the append only file {name}: {error}"
            ));
        }
        Some(fault) => {
            return Err(format!(
                "Bad file format reading the append only file {name}: {fault}: {REPAIR}"
            ));
        }
    }
    let Some(outcome) = &end.outcome else {
        return Ok(None);
    };
    let good = outcome.good.byte;
    let behind = outcome.bytes - good;
    match &outcome.ending {
        Ending::Whole => Ok(None),
        Ending::Malformed(error) => {
            let allowed = config.aof_load_corrupt_tail_max_size;
            if is_last && behind <= allowed {
                log::warn!(
                    "AOF file {name}: {error}. The last {behind} bytes are cut off: aof-load-corrupt-tail-max-size allows {allowed}"
                );
                return Ok(Some(good));
            }
            Err(format!(
                "Bad file format reading the append only file {name}: {error}; {behind} bytes lie behind the last whole command: {REPAIR}"
            ))
        }
        ending @ (Ending::Torn { begins } | Ending::OpenTransaction { begins }) => {
            if is_last && config.aof_load_truncated {
                match ending {
                    Ending::Torn { .. } => {
                        log::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
                    }
                    _ => log::warn!(
                        "Revert incomplete MULTI/EXEC transaction in AOF file {name}"
                    ),
                }
                log::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
                log::warn!("Truncating the AOF {name} at offset {good}: {behind} bytes are cut off");
                return Ok(Some(good));
            }
            let why = match is_last {
                true => "set aof-load-truncated to yes and restart the server, or ",
                false => "it is not the last file of the AOF, so what follows it is not complete either: ",
            };
            Err(format!(
                "Unexpected end of file reading the append only file {name}: what begins at byte {begins} is not complete; {why}{REPAIR}"
            ))
        }
    }
}

fn cut_off(disk: &dyn Disk, cut: &Cut) -> io::Result<()> {
    let mut file = disk.open(&cut.path)?;
    file.truncate(cut.to)?;
    file.sync()
}

/// When a file was written to; 0 where that is not known.
fn modified_ms((source, ..): &(Source, String, u64)) -> i64 {
    std::fs::metadata(&source.path).map_or(0, |metadata| {
        metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000
    })
}
