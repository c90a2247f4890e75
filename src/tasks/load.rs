//! Loads the dataset from the RDB file: at start, and again for DEBUG RELOAD.
//!
//! Started by boot, and by the conductor; ends with the dataset in place, or with the reason why it is not: then the file is
//! untouched, and so is the dataset that was there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clients::ClientKey;
use crate::clock::UnixMillis;
use crate::engine::Engine;
use crate::engine::pause::{PauseMode, Purpose};
use crate::engine::persistence::Loading;
use crate::snapshot::loading::{self, About, Expired, Loaded, Loader};

use super::engine_lock::EngineLock;
use super::take_snapshot;

/// Read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// The engine is told how far the loading is each time so much has been read.
const REPORT_BYTES: u64 = 8 << 20;

/// Clients are held back for a reload at most so long.
const RELOAD_MAX: Duration = Duration::from_secs(3600);

/// Settings for a payload from the master.
pub fn options(engine: &Engine, payload_bytes: Option<u64>) -> loading::Options {
    engine.load_options(Expired::Keep, payload_bytes)
}

/// Says that a dataset is about to be loaded, if there is one: from now on clients are told so.
pub fn announce(lock: &EngineLock) {
    lock.with(|engine| {
        let Ok(metadata) = fs::metadata(engine.rdb_path()) else {
            return;
        };
        engine.persistence.loading = Some(Loading {
            started_unix: engine.now.seconds(),
            total_bytes: metadata.len(),
            ..Loading::default()
        });
    });
}

/// Loads the dataset that config names; a missing file is an empty dataset.
///
/// # Errors
/// The file is there and is not what it should be: where, and in what way.
pub async fn at_start(lock: &EngineLock) -> Result<(), String> {
    let (path, expired) = lock.with(|engine| (engine.rdb_path(), expired_rule(engine)));
    remove_leftovers(&path);
    let loaded = {
        let (lock, path) = (lock.clone(), path.clone());
        async_std::task::spawn_blocking(move || load_file(&lock, &path, expired)).await
    };
    match loaded {
        Ok(Some(mut loaded)) => lock.with(|engine| {
            let position = loaded.about.position;
            let expired_keys = std::mem::take(&mut loaded.expired_keys);
            engine.install(loaded, false);
            engine.persistence.loading = None;
            engine.resume_history(position, &expired_keys);
        }),
        Ok(None) => lock.with(|engine| {
            engine.persistence.loading = None;
            engine.resume_history(None, &[]);
        }),
        Err(reason) => return Err(format!("Fatal error loading the DB: {reason}. Exiting.")),
    }
    Ok(())
}

/// DEBUG RELOAD: saves unless told not to, and loads what is in the file. Meanwhile everybody waits.
pub async fn reload(lock: EngineLock, client: ClientKey, save: bool) {
    lock.with(|engine| {
        let (now, until) = (engine.monotonic, engine.monotonic + RELOAD_MAX);
        engine
            .pauses
            .pause(Purpose::Reload, PauseMode::All, until, now);
    });
    let answer = reload_paused(&lock, save).await;
    lock.with(|engine| {
        engine.unpause(Purpose::Reload);
        engine.unblock(client, |reply| match answer {
            Ok(()) => reply.ok(),
            Err(text) => reply.error(text),
        });
    });
}

async fn reload_paused(lock: &EngineLock, save: bool) -> Result<(), &'static str> {
    if save && !take_snapshot::save_now(lock).await {
        return Err("ERR");
    }
    let (path, expired) = lock.with(|engine| (engine.rdb_path(), expired_rule(engine)));
    let loaded = {
        let (lock, path) = (lock.clone(), path.clone());
        async_std::task::spawn_blocking(move || load_file(&lock, &path, expired)).await
    };
    match loaded {
        Ok(Some(loaded)) => {
            lock.with(|engine| {
                engine.install(loaded, true);
                engine.persistence.dirty = 0;
            });
            log::warn!("DB reloaded by DEBUG RELOAD");
            Ok(())
        }
        Ok(None) => Err("ERR Error trying to load the RDB dump, check server logs"),
        Err(reason) => {
            log::warn!("DEBUG RELOAD: {reason}; the dataset stays as it was");
            Err("ERR Error trying to load the RDB dump, check server logs")
        }
    }
}

fn expired_rule(engine: &Engine) -> Expired {
    if engine.is_replica() {
        Expired::Keep
    } else {
        Expired::Drop { list: true }
    }
}

/// None if there is no file.
fn load_file(lock: &EngineLock, path: &Path, expired: Expired) -> Result<Option<Loaded>, String> {
    let describe = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(describe(error)),
    };
    let total_bytes = file.metadata().map_err(describe)?.len();
    let (options, started, now) = lock.with(|engine| {
        let options = engine.load_options(expired, Some(total_bytes));
        (options, engine.monotonic, engine.now)
    });
    let refused = |error: loading::LoadError| format!("{}: {error}", path.display());
    let mut loader = Loader::new(options).map_err(refused)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut reported = 0;
    while !loader.is_done() {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(describe(error)),
        };
        loader.feed(&buffer[..read]).map_err(refused)?;
        let loaded_bytes = loader.counts().bytes;
        if loaded_bytes - reported >= REPORT_BYTES {
            reported = loaded_bytes;
            report(lock, loaded_bytes, &loader.about());
        }
    }
    let loaded = loader.finish().map_err(refused)?;
    let took = lock.with(|engine| engine.monotonic.saturating_sub(started));
    log_loaded(&loaded, now, took);
    Ok(Some(loaded))
}

fn report(lock: &EngineLock, loaded_bytes: u64, about: &About) {
    lock.with(|engine| {
        if let Some(loading) = &mut engine.persistence.loading {
            loading.loaded_bytes = loaded_bytes;
            loading.used_mem = about.used_memory_bytes.unwrap_or(0);
        }
    });
}

fn log_loaded(loaded: &Loaded, now: UnixMillis, took: Duration) {
    let Loaded { about, counts, .. } = loaded;
    if let Some(version) = &about.server_version {
        log::info!("Loading RDB produced by version {version}");
    }
    if let Some(created) = about.created_unix {
        let age = now.seconds().saturating_sub(created).max(0);
        log::info!("RDB age {age} seconds");
    }
    if let Some(bytes) = about.used_memory_bytes {
        let mebibytes = bytes as f64 / (1 << 20) as f64;
        log::info!("RDB memory usage when created {mebibytes:.2} Mb");
    }
    if about.aof_base {
        log::info!("RDB is base AOF");
    }
    log::info!(
        "Done loading RDB, keys loaded: {}, keys expired: {}.",
        counts.keys,
        counts.expired
    );
    log::info!("DB loaded from disk: {:.3} seconds", took.as_secs_f64());
}

/// Removes what processes that died while they wrote the file have left beside it: `temp-<pid>-<number>-<name>`.
fn remove_leftovers(path: &Path) {
    for leftover in leftovers(path) {
        match fs::remove_file(&leftover) {
            Ok(()) => log::info!(
                "{}: left by a save that did not end, removed",
                leftover.display()
            ),
            Err(error) => log::warn!("{}: cannot be removed: {error}", leftover.display()),
        }
    }
}

fn leftovers(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    // A directory that cannot be read has nothing to be loaded either, which is told where that is tried.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_leftover = |file: &std::ffi::OsString| {
        let Some(file) = file.to_str() else {
            return false;
        };
        let Some(rest) = name.to_str().and_then(|name| file.strip_suffix(name)) else {
            return false;
        };
        let numbers = rest
            .strip_prefix("temp-")
            .and_then(|rest| rest.strip_suffix('-'));
        numbers
            .and_then(|numbers| numbers.split_once('-'))
            .is_some_and(|(pid, number)| {
                let pid: Option<u32> = pid.parse().ok();
                number.parse::<u64>().is_ok() && pid.is_some_and(|pid| !is_alive(pid))
            })
    };
    entries
        .map(|entry| (entry.path(), entry.file_name()))
        .filter(|(_, name)| is_leftover(name))
        .map(|(path, _)| path)
        .collect()
}

/// Whether another process of this id runs: its file may be one that it still writes.
fn is_alive(pid: u32) -> bool {
    pid != std::process::id() && Path::new(&format!("/proc/{pid}")).exists()
}
