//! The AOF that a starting node finds: what is to be loaded, what it says about itself, and what becomes of a set that does
//! not end as it should.
//!
//! Looking changes nothing. What has to be changed before the set is written on (a torn tail is cut off, an old single file
//! moves into the directory) is decided by [`AofFound::judge`] and carried out by [`AofFound::settle`], after all of it was
//! loaded: a node that does not start has not touched a byte.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::aof::disk::Disk;
use crate::aof::manifest::{self, Facts, Kind, Manifest};
use crate::aof::names::Names;
use crate::aof::repair::{self, Closing, Policy, Verdict};
use crate::aof::set::{self, FileToLoad, Plan, SetError};
use crate::engine::replaying::Meaningless;
use crate::journal::position::{Offset, Position};
use crate::replication::identity::Former;

use super::choose_dataset::AofSeen;
use super::load_aof::LoadedAof;
use super::read_aof::{Fault, Source};

/// A set, as it was found.
pub struct AofFound {
    pub names: Names,
    plan: Plan,
    modified_ms: i64,
}

/// What has to be done before the set is written on, and what is not to be believed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Cut the file of this place to so many bytes; those behind it hold nothing.
    pub cut: Option<(usize, u64)>,
    /// Somebody else has written behind our end: what the files say of their history ends before what they hold.
    pub is_strange: bool,
}

/// A piece of the journal in a file: from offset to offset.
#[derive(Clone, Debug)]
pub struct Span {
    pub path: PathBuf,
    pub facts: Facts,
    pub start: Offset,
    pub end: Offset,
}

impl AofFound {
    /// Looks; none where there is no AOF yet.
    ///
    /// # Errors
    /// The manifest is refused, a file that it names is missing, or there are files and no manifest.
    pub fn look(disk: &dyn Disk, names: Names) -> Result<Option<Self>, String> {
        let mut plan = set::survey(disk, &names, &is_alive).map_err(|error| match error {
            // The words by which people know it.
            SetError::Missing { path } => format!(
                "Unable to obtain the AOF file {} length. stat: No such file or directory",
                path.file_name().unwrap_or_default().to_string_lossy()
            ),
            other => other.to_string(),
        })?;
        if plan.take_over.is_some() {
            // It is moved when it has proved sound.
            for file in &mut plan.files {
                file.path = names.single_file();
            }
        }
        for warning in &plan.warnings {
            log::warn!("AOF: {warning}");
        }
        if plan.files.is_empty() {
            clear_away(disk, &plan);
            return Ok(None);
        }
        let modified_ms = plan.files.iter().map(|file| modified_ms(&file.path)).max();
        Ok(Some(AofFound {
            names,
            plan,
            modified_ms: modified_ms.unwrap_or(0),
        }))
    }

    /// All that has to be read.
    pub fn sources(&self) -> Vec<Source> {
        let source = |file: &FileToLoad| Source {
            path: file.path.clone(),
            sum_bytes: file
                .facts
                .crc64
                .map(|_| repair::checksum_bytes(&file.facts).unwrap_or(u64::MAX)),
        };
        self.plan.files.iter().map(source).collect()
    }

    /// Bytes of these files.
    pub fn bytes(&self) -> u64 {
        self.plan.bytes()
    }

    /// The set as it is written on.
    pub fn manifest(&self) -> &Manifest {
        &self.plan.manifest
    }

    /// What can be told before it is read.
    pub fn seen(&self) -> AofSeen {
        let files = &self.plan.files;
        let end = files.last().and_then(|last| {
            let (id, start) = last.facts.id.zip(last.facts.start)?;
            let end = match last.kind {
                Kind::Segment => last.facts.end.or_else(|| last.facts.end_of(last.bytes)),
                _ => Some(start),
            };
            Some(Position {
                id,
                offset: end?,
                stream_db: None,
            })
        });
        AofSeen {
            ids: files.iter().filter_map(|file| file.facts.id).collect(),
            end,
            modified_ms: self.modified_ms,
        }
    }

    /// Whether what was loaded may be gone on with, and how.
    ///
    /// # Errors
    /// It may not: why, with file and byte.
    pub fn judge(&self, loaded: &LoadedAof, policy: Policy) -> Result<Judgement, String> {
        let mut judgement = Judgement::default();
        for (place, (end, file)) in loaded.ends.iter().zip(&self.plan.files).enumerate() {
            if let Some(fault) = &end.fault {
                return Err(describe(fault, &file.name));
            }
            let closing =
                repair::closing(&file.name, &file.facts, file.bytes, end.crc64, file.is_last);
            match closing {
                Closing::Unknown | Closing::Intact => {}
                Closing::Changed { reason } => {
                    log::warn!("AOF: {reason}: the history of this AOF is taken as unknown");
                    judgement.is_strange = true;
                }
                Closing::Damaged { reason } => return Err(reason),
            }
            let Some(outcome) = &end.outcome else {
                continue;
            };
            match repair::decide(&file.name, outcome, file.is_last, policy) {
                Verdict::Load => {}
                Verdict::Cut { to, reason } => {
                    log::warn!("{reason}");
                    log::warn!(
                        "AOF {} loaded anyway because the settings allow it",
                        file.name
                    );
                    judgement.cut = Some((place, to));
                    return Ok(judgement);
                }
                Verdict::Refuse { reason } => return Err(reason),
            }
        }
        Ok(judgement)
    }

    /// Carries out what has been decided: from here on the set is one that can be written on.
    ///
    /// # Errors
    /// The disk does not let us.
    pub fn settle(&mut self, disk: &dyn Disk, judgement: &Judgement) -> Result<(), String> {
        let text = |error: manifest::FileError| error.to_string();
        if let Some((place, to)) = judgement.cut {
            let path = &self.plan.files[place].path;
            cut_off(disk, path, to).map_err(|error| {
                format!("Error truncating the AOF file {}: {error}", path.display())
            })?;
            self.forget_behind(place);
        }
        if judgement.is_strange {
            let manifest = &mut self.plan.manifest;
            let lines = manifest.base.iter_mut().chain(&mut manifest.segments);
            lines.for_each(|line| line.facts.forget_history());
            self.plan.is_changed = true;
        }
        if let Some(how) = self.plan.take_over {
            set::take_over(disk, &self.names, how).map_err(|error| error.to_string())?;
            log::info!("Successfully migrated an old-style AOF into the AOF directory");
        } else if self.plan.is_changed {
            manifest::replace(disk, &self.names, &self.plan.manifest).map_err(text)?;
        }
        clear_away(disk, &self.plan);
        Ok(())
    }

    /// What was known of a file that was cut is not true any more, and the empty ones behind it leave the set.
    fn forget_behind(&mut self, place: usize) {
        let manifest = &mut self.plan.manifest;
        let bases = manifest.base.iter().count();
        manifest
            .segments
            .truncate((place + 1).saturating_sub(bases));
        let cut = match manifest.segments.last_mut() {
            Some(last) if place >= bases => Some(last),
            _ => manifest.base.as_mut(),
        };
        if let Some(line) = cut {
            (line.facts.end, line.facts.crc64) = (None, None);
        }
        self.plan.is_changed = true;
    }

    /// Where the dataset stands that was loaded, if the files say so and follow each other without a gap.
    pub fn position(&self, loaded: &LoadedAof, judgement: &Judgement) -> Option<Position> {
        if judgement.is_strange {
            return None;
        }
        let mut at: Option<Position> = None;
        for (file, end) in self.plan.files.iter().zip(&loaded.ends) {
            let facts = &file.facts;
            let here = facts.id.zip(facts.start);
            if let (Some(at), Some((_, start))) = (at, here)
                && at.offset != start
            {
                log::warn!(
                    "AOF: {} begins at offset {start}, but what stands before it ends at {}: the history of this AOF is taken as unknown",
                    file.name,
                    at.offset
                );
                return None;
            }
            at = here.map(|(id, start)| Position {
                id,
                offset: match file.kind {
                    Kind::Segment => start.plus(end.journal_bytes(facts.prelude_bytes) as usize),
                    _ => start,
                },
                stream_db: facts.start_db,
            });
        }
        at.map(|at| Position {
            stream_db: loaded.selected.or(at.stream_db),
            ..at
        })
    }

    /// All that is on disk of the journal up to where the dataset stands, without a gap, the latest first.
    pub fn past(&self, loaded: &LoadedAof) -> Vec<Span> {
        let span = |path: PathBuf, facts: &Facts, end: Option<Offset>| {
            facts.id?;
            Some(Span {
                path,
                facts: facts.clone(),
                start: facts.start?,
                end: end?,
            })
        };
        let history = self.plan.manifest.history.iter();
        let history =
            history.map(|line| span(self.names.path(&line.name), &line.facts, line.facts.end));
        let loaded = self.plan.files.iter().zip(&loaded.ends);
        let segments = loaded.filter(|(file, _)| file.kind == Kind::Segment);
        let segments = segments.map(|(file, end)| {
            let journal_bytes = end.journal_bytes(file.facts.prelude_bytes);
            let end = file
                .facts
                .start
                .map(|start| start.plus(journal_bytes as usize));
            span(file.path.clone(), &file.facts, end)
        });
        let all: Vec<Option<Span>> = history.chain(segments).collect();
        let mut past: Vec<Span> = Vec::new();
        for span in all.into_iter().rev() {
            let Some(span) = span else { break };
            if past.last().is_some_and(|later| later.start != span.end) {
                break;
            }
            past.push(span);
        }
        past
    }
}

/// Histories that the last one continues, the latest first.
pub fn former(past: &[Span]) -> Vec<Former> {
    let pairs = past.iter().zip(past.iter().skip(1));
    let changes = pairs.filter(|(later, earlier)| later.facts.id != earlier.facts.id);
    changes
        .filter_map(|(later, earlier)| {
            Some(Former {
                id: earlier.facts.id?,
                until: later.start,
                stream_db: later.facts.start_db,
            })
        })
        .collect()
}

/// A fault in the words by which people and tools know it.
fn describe(fault: &Fault, name: &str) -> String {
    match fault {
        Fault::Meaningless {
            at,
            reason: reason @ Meaningless::Unknown(_),
        } => format!("{reason} reading the append only file {name}: byte {at}"),
        Fault::Meaningless { .. } => {
            format!("Bad file format reading the append only file {name}: {fault}")
        }
        Fault::Rdb(error) => format!(
            "Error reading the RDB preamble of the AOF file {name}, AOF loading aborted: {error}"
        ),
        Fault::Io(error) => {
            format!("Unrecoverable error reading the append only file {name}: {error}")
        }
    }
}

fn cut_off(disk: &dyn Disk, path: &Path, to: u64) -> io::Result<()> {
    let mut file = disk.open(path)?;
    file.truncate(to)?;
    file.sync()
}

fn clear_away(disk: &dyn Disk, plan: &Plan) {
    for (path, error) in set::clear_away(disk, &plan.leftovers) {
        log::warn!("{}: cannot be cleared away: {error}", path.display());
    }
}

/// Whether a process of this id, other than this one, runs: its file may be one that it still writes.
fn is_alive(process: u32) -> bool {
    process != std::process::id() && Path::new(&format!("/proc/{process}")).exists()
}

/// When a file was written to; 0 where that is not known.
fn modified_ms(path: &Path) -> i64 {
    std::fs::metadata(path).map_or(0, |metadata| {
        metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000
    })
}
