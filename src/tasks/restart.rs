//! What a starting node finds on disk, and how it takes it up.
//!
//! Started by boot, once, in two steps: [`announce`] looks at the files before anybody can connect, so that clients are told
//! -LOADING from the first connection on; [`at_start`] loads what was announced and nothing else, takes up the history that it
//! belongs to, and, with `appendonly yes`, starts the writer before the first write can come. Both end with an error where
//! the node must not start: then no file of the dataset has been changed.

use std::sync::Arc;
use std::time::Duration;

use async_std::task;

use crate::aof::disk::{Disk, RealDisk};
use crate::aof::log::Log;
use crate::aof::repair::Policy;
use crate::aof::writer::Order;
use crate::clients::ClientKey;
use crate::engine::Engine;
use crate::engine::pause::{PauseMode, Purpose};
use crate::engine::persistence::Loading;
use crate::engine::resuming::Past;
use crate::journal::position::Position;

use super::begin_aof;
use super::choose_dataset::{self, RdbSeen, Verdict};
use super::engine_lock::EngineLock;
use super::find_aof::{self, AofFound, Judgement};
use super::keep_history;
use super::load::{self, RdbFile};
use super::load_aof::{self, LoadedAof};
use super::read_past::read_past;
use super::write_aof;

/// What was found, and what is to be done with it.
pub struct Found {
    dataset: Dataset,
    /// Journal bytes are to go to disk: `appendonly yes`.
    writes_aof: bool,
}

/// The files that hold the dataset, as they were found.
enum Dataset {
    Nothing,
    Rdb(RdbFile),
    Aof(Box<AofFound>),
}

/// Looks for a dataset. Unless there is none, clients are told from now on that it is being loaded.
///
/// # Errors
/// There is something that cannot be read, or that must not be passed over.
pub fn announce(lock: &EngineLock) -> Result<Found, String> {
    let (path, names, writes_aof, is_replica, wish) = lock.with(|engine| {
        let config = &engine.config;
        (
            engine.rdb_path(),
            begin_aof::names(config),
            config.appendonly,
            engine.is_replica(),
            config.aof_newer_rdb,
        )
    });
    load::remove_leftovers(&path);
    let rdb = RdbFile::find(&path);
    let aof = match writes_aof {
        true => AofFound::look(&RealDisk, names)?,
        false => None,
    };
    let dataset = match (rdb, aof) {
        (Ok(Some(rdb)), Some(aof)) => {
            let seen = RdbSeen {
                position: rdb.position(),
                modified_ms: rdb.modified_ms,
            };
            match choose_dataset::choose(&aof.seen(), seen, is_replica, wish) {
                Verdict::Aof => Dataset::Aof(Box::new(aof)),
                Verdict::Rdb(reason) => {
                    log::warn!("{} is loaded in place of the AOF: {reason}", path.display());
                    Dataset::Rdb(rdb)
                }
                Verdict::Refuse(reason) => {
                    return Err(format!(
                        "{} is not loaded, because there is an AOF, but {reason}. To load it in place of the AOF, \
                         start with aof-newer-rdb load; to go on with the AOF, start with aof-newer-rdb ignore, or move the \
                         RDB file away. Exiting.",
                        path.display()
                    ));
                }
            }
        }
        // An RDB file that cannot be read does not matter beside an AOF.
        (_, Some(aof)) => Dataset::Aof(Box::new(aof)),
        (rdb, None) => match rdb? {
            Some(file) => {
                if writes_aof {
                    log::warn!(
                        "There is no AOF yet: {} is loaded, and becomes its base",
                        path.display()
                    );
                }
                Dataset::Rdb(file)
            }
            None => Dataset::Nothing,
        },
    };
    let total_bytes = match &dataset {
        Dataset::Nothing => 0,
        Dataset::Rdb(file) => file.bytes,
        Dataset::Aof(aof) => aof.bytes(),
    };
    if writes_aof || !matches!(dataset, Dataset::Nothing) {
        lock.with(|engine| engine.persistence.loading = Some(loading(engine, total_bytes)));
    }
    Ok(Found {
        dataset,
        writes_aof,
    })
}

fn loading(engine: &Engine, total_bytes: u64) -> Loading {
    Loading {
        started_unix: engine.now.seconds(),
        total_bytes,
        ..Loading::default()
    }
}

/// Loads what was found, and takes up its history.
///
/// # Errors
/// It is not what it should be: where, and in what way.
pub async fn at_start(lock: &EngineLock, found: Found) -> Result<(), String> {
    let Found {
        dataset,
        writes_aof,
    } = found;
    let mut history = None;
    match dataset {
        Dataset::Nothing => lock.with(|engine| {
            engine.resume_history(None, Past::default(), &[]);
        }),
        Dataset::Rdb(file) => {
            let loading = lock.clone();
            let mut loaded = task::spawn_blocking(move || load::at_start(&loading, file)).await?;
            let position = loaded.about.position;
            let (manifest, former) = position
                .map(|position| keep_history::find(lock, position))
                .unwrap_or_default();
            history = position.map(|position| (position, manifest));
            let past = Past {
                former,
                ..Past::default()
            };
            lock.with(|engine| {
                let expired_keys = std::mem::take(&mut loaded.expired_keys);
                engine.install(loaded, false);
                engine.resume_history(position, past, &expired_keys);
            });
        }
        Dataset::Aof(aof) => {
            let loading = lock.clone();
            task::spawn_blocking(move || take_up(&loading, *aof)).await?;
        }
    }
    if writes_aof && lock.with(|engine| !engine.aof.is_on()) {
        begin_aof::begin(lock).await?;
    }
    keep_history::at_start(lock, history).await;
    lock.with(|engine| engine.persistence.loading = None);
    Ok(())
}

/// Loads a set, takes up its history, and goes on with it.
fn take_up(lock: &EngineLock, mut aof: AofFound) -> Result<(), String> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let loaded = load_set(lock, &*disk, &aof)?;
    let judgement = aof.judge(&loaded, lock.with(|engine| policy(engine)));
    let judgement = judgement.map_err(|reason| format!("{reason}. Exiting."))?;
    aof.settle(&*disk, &judgement)?;
    let position = aof.position(&loaded, &judgement);
    let spans = match position {
        Some(_) => aof.past(&loaded),
        None => Vec::new(),
    };
    let backlog = lock.with(|engine| engine.config.repl_backlog_size);
    let past = Past {
        bytes: read_past(&*disk, &spans, backlog),
        former: find_aof::former(&spans),
        is_on_disk: true,
    };
    let (at, cursor, annotates) = lock.with(|engine| {
        engine.persistence.count_load(loaded.counts);
        engine.persistence.dirty += loaded.changes;
        engine.replace_keyspace(loaded.keyspace);
        engine.resume_history(position, past, &[]);
        let cursor = engine.journal.reader_at(engine.journal.end());
        let annotates = engine.config.aof_timestamp_enabled;
        (engine.stream_position(), cursor, annotates)
    });
    log_position(position, at);
    let failed =
        |error: &dyn std::fmt::Display| format!("Fatal error: can't go on with the AOF: {error}");
    let cursor = cursor.ok_or_else(|| failed(&"the journal has no end"))?;
    let manifest = aof.manifest().clone();
    let log = Log::open(disk, aof.names, manifest, at, annotates);
    let log = log.map_err(|error| failed(&error))?;
    write_aof::start_writer(lock, log, cursor).map_err(|error| failed(&error))?;
    Ok(())
}

fn policy(engine: &Engine) -> Policy {
    Policy {
        load_truncated: engine.config.aof_load_truncated,
        corrupt_tail_bytes_max: engine.config.aof_load_corrupt_tail_max_size,
    }
}

fn load_set(lock: &EngineLock, disk: &dyn Disk, aof: &AofFound) -> Result<LoadedAof, String> {
    let started = lock.with(|engine| engine.monotonic);
    let loaded = load_aof::load(lock, disk, &aof.sources())?;
    let took = lock.with(|engine| engine.monotonic.saturating_sub(started));
    log::info!(
        "DB loaded from append only file: {:.3} seconds",
        took.as_secs_f64()
    );
    Ok(loaded)
}

fn log_position(position: Option<Position>, at: Position) {
    match position {
        Some(position) => log::info!(
            "The AOF ends at offset {} of history {}",
            position.offset,
            position.id
        ),
        None => log::info!(
            "The AOF does not say which history it belongs to: history {} begins here",
            at.id
        ),
    }
}

/// DEBUG LOADAOF: what the AOF has on disk takes the place of the dataset. Meanwhile everybody waits.
pub async fn reload_aof(lock: EngineLock, client: ClientKey) {
    lock.with(|engine| {
        let (now, until) = (engine.monotonic, engine.monotonic + RELOAD_MAX);
        engine
            .pauses
            .pause(Purpose::Reload, PauseMode::All, until, now);
    });
    let outcome = reload_paused(&lock).await;
    lock.with(|engine| {
        engine.persistence.loading = None;
        engine.unpause(Purpose::Reload);
        engine.unblock(client, |reply| match &outcome {
            Ok(()) => reply.ok(),
            Err(_) => reply.error("ERR Error trying to load the AOF files, check server logs"),
        });
    });
    match outcome {
        Ok(()) => log::warn!("Append Only File loaded by DEBUG LOADAOF"),
        Err(reason) => log::warn!("DEBUG LOADAOF: {reason}; the dataset stays as it was"),
    }
}

async fn reload_paused(lock: &EngineLock) -> Result<(), String> {
    let writer = lock.with(|engine| {
        let writer = engine.aof.writer().cloned();
        writer.map(|writer| (writer, engine.journal.end()))
    });
    let (writer, at) = writer.ok_or("there is no AOF")?;
    write_aof::ask(&writer, |answer| Order::Sync { at, answer }).await?;
    let lock = lock.clone();
    task::spawn_blocking(move || {
        let names = lock.with(|engine| begin_aof::names(&engine.config));
        let aof = AofFound::look(&RealDisk, names)?.ok_or("there is no AOF")?;
        let total_bytes = aof.bytes();
        lock.with(|engine| engine.persistence.loading = Some(loading(engine, total_bytes)));
        let loaded = load_set(&lock, &RealDisk, &aof)?;
        let judgement = aof.judge(&loaded, lock.with(|engine| policy(engine)))?;
        if judgement != Judgement::default() {
            return Err("the AOF is not as it was written".into());
        }
        lock.with(|engine| {
            engine.persistence.count_load(loaded.counts);
            engine.replace_keyspace(loaded.keyspace);
            engine.persistence.dirty = 0;
        });
        Ok(())
    })
    .await
}

/// Clients are held back for a reload at most so long.
const RELOAD_MAX: Duration = Duration::from_secs(3600);
