//! Begins the journal's history on disk for a node without an AOF, and takes away what is not wanted any more.
//!
//! Started by boot, behind the dataset that was loaded, and by the conductor when settings or datasets change. What an earlier run
//! has left is used as far as it leads to where this one begins, and dropped otherwise.

use std::io;
use std::sync::Arc;

use async_std::task;

use crate::aof::disk::{Disk, RealDisk};
use crate::aof::file_scan::FileScan;
use crate::aof::log::Log;
use crate::aof::manifest::{self, FileLine, Manifest};
use crate::aof::names::{Name, Names};
use crate::aof::scan::Batch;
use crate::journal::cursor::Cursor;
use crate::journal::position::{Offset, Position};
use crate::replication::identity::Former;

use super::begin_aof;
use super::engine_lock::EngineLock;
use super::rewrite_aof;
use super::write_aof;

/// Does what the settings ask for now.
pub async fn run(lock: EngineLock) {
    task::spawn_blocking(move || {
        let outcome = settle(&lock);
        lock.with(|engine| engine.history_settled(&outcome));
    })
    .await;
}

fn settle(lock: &EngineLock) -> Result<(), String> {
    rewrite_aof::await_end_of_last_writer(lock)?;
    let begun = lock.with(|engine| {
        let names = begin_aof::names(&engine.config);
        let place = engine.wants_history().then(|| engine.begin_history_here());
        (names, place)
    });
    match begun {
        (names, Some(Some((at, cursor)))) => begin(lock, names, Manifest::default(), at, cursor),
        (_, Some(None)) => Err("the journal has no end".into()),
        (names, None) => drop_history(&RealDisk, &names),
    }
}

/// At start: what is on disk of the history that a loaded file stands in, at `position`. Changes nothing.
pub fn find(lock: &EngineLock, position: Position) -> (Manifest, Vec<Former>) {
    let (names, wants) = lock.with(|engine| {
        let names = begin_aof::names(&engine.config);
        (names, engine.wants_history())
    });
    let manifest = match wants {
        true => read(&RealDisk, &names).unwrap_or_default(),
        false => Manifest::default(),
    };
    let joined = joined(&RealDisk, &names, &manifest, position);
    let pairs = joined.history.windows(2).rev();
    let former = pairs.filter_map(|pair| {
        let (earlier, later) = (&pair[0].facts, &pair[1].facts);
        (earlier.id != later.id).then_some(Former {
            id: earlier.id?,
            until: later.start?,
            stream_db: later.start_db,
        })
    });
    let former = former.collect();
    (joined, former)
}

/// At start, before anybody can write: goes on behind what [`find`] has found.
pub async fn at_start(lock: &EngineLock, found: Option<(Position, Manifest)>) {
    let begun = lock.with(|engine| {
        if !engine.wants_history() {
            return None;
        }
        let names = begin_aof::names(&engine.config);
        let Some((position, manifest)) = found else {
            let (at, cursor) = engine.begin_history_here()?;
            return Some((names, Manifest::default(), at, cursor));
        };
        // Deletions of what has expired meanwhile may lie behind it already.
        let at = Position {
            offset: position.offset,
            stream_db: None,
            ..engine.stream_position()
        };
        let cursor = engine.journal.reader_at(at.offset)?;
        Some((names, manifest, at, cursor))
    });
    let Some((names, manifest, at, cursor)) = begun else {
        return;
    };
    let lock = lock.clone();
    task::spawn_blocking(move || {
        let outcome = begin(&lock, names, manifest, at, cursor);
        lock.with(|engine| engine.history_settled(&outcome));
    })
    .await;
}

/// Begins to write behind `joined`, which is what is left of the history in the directory.
fn begin(
    lock: &EngineLock,
    names: Names,
    joined: Manifest,
    at: Position,
    cursor: Cursor,
) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut manifest = read(&RealDisk, &names)?;
    cut_to(&names, &joined, at.offset).map_err(|error| failed(&error))?;
    let kept = |line: &FileLine| joined.history.iter().any(|it| it.name == line.name);
    let mut history: Vec<FileLine> = Vec::new();
    for mut line in manifest.history.into_iter().filter(|line| !kept(line)) {
        // Listed until it is deleted.
        line.facts = manifest::Facts::default();
        history.push(line);
    }
    history.extend(joined.history);
    manifest.history = history;
    let log = Log::begin_history(Arc::new(RealDisk), names, manifest, at, false)
        .map_err(|error| failed(&error))?;
    let from = log.pieces().first().map_or(at.offset, |piece| piece.start);
    write_aof::start_historian(lock, log, cursor).map_err(|error| failed(&error))?;
    log::info!("The journal is kept on disk for replicas, from offset {from} on");
    Ok(())
}

/// What of the history leads to `at` without a gap: closed there, in the order of its offsets.
fn joined(disk: &dyn Disk, names: &Names, manifest: &Manifest, at: Position) -> Manifest {
    let is_segment =
        |line: &&FileLine| matches!(names.parse(&line.name), Some(Name::Segment { .. }));
    let mut kept: Vec<FileLine> = Vec::new();
    for line in manifest.history.iter().rev().filter(is_segment) {
        let mut line = line.clone();
        let (Some(id), Some(start)) = (line.facts.id, line.facts.start) else {
            break;
        };
        match kept.last() {
            Some(later) if line.facts.end == later.facts.start => {}
            Some(_) => break,
            None if start >= at.offset => continue,
            None => {
                let is_closed_behind = line.facts.end.is_some_and(|end| end >= at.offset);
                let leads =
                    id == at.id && (is_closed_behind || is_whole_to(disk, names, &line, at.offset));
                if !leads {
                    break;
                }
                if line.facts.end != Some(at.offset) {
                    (line.facts.end, line.facts.crc64) = (Some(at.offset), None);
                }
            }
        }
        kept.push(line);
    }
    kept.reverse();
    Manifest {
        history: kept,
        ..Manifest::default()
    }
}

/// Whether a segment that nobody has closed holds units, and nothing else, up to `end`: after a loss of power it may not.
fn is_whole_to(disk: &dyn Disk, names: &Names, line: &FileLine, end: Offset) -> bool {
    let Some(start) = line.facts.start.filter(|_| !line.facts.annotated) else {
        return false;
    };
    let wanted = line.facts.prelude_bytes + end.since(start);
    let check = || -> io::Result<bool> {
        let file = disk.open(&names.path(&line.name))?;
        let mut scan = FileScan::new(&*file)?;
        let mut batch = Batch::default();
        while scan.scanner().place().byte < wanted && scan.next(&mut batch)?.is_some() {}
        Ok(scan.outcome().good.byte >= wanted)
    };
    check().unwrap_or(false)
}

/// Cuts the last file off where the history goes on elsewhere.
fn cut_to(names: &Names, joined: &Manifest, at: Offset) -> io::Result<()> {
    let Some(line) = joined.history.last() else {
        return Ok(());
    };
    let (Some(start), false) = (line.facts.start, line.facts.annotated) else {
        return Ok(());
    };
    let length = line.facts.prelude_bytes + at.since(start);
    let mut file = RealDisk.open(&names.path(&line.name))?;
    if file.length()? > length {
        file.truncate(length)?;
    }
    file.sync()
}

/// Deletes the history. What an AOF may have left stays.
fn drop_history(disk: &dyn Disk, names: &Names) -> Result<(), String> {
    let mut manifest = read(disk, names)?;
    let gone = std::mem::take(&mut manifest.history);
    if gone.is_empty() {
        return Ok(());
    }
    manifest::replace(disk, names, &manifest).map_err(|error| error.to_string())?;
    for line in gone {
        match disk.remove(&names.path(&line.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("remove {}: {error}", line.name));
            }
            _ => {}
        }
    }
    log::info!("The journal is not kept on disk any more");
    Ok(())
}

/// The manifest in the directory, empty where there is none.
fn read(disk: &dyn Disk, names: &Names) -> Result<Manifest, String> {
    let parsed = manifest::read(disk, names).map_err(|error| error.to_string())?;
    Ok(parsed.unwrap_or_default().manifest)
}
