//! Loads the dataset from the RDB file: at start, and again for DEBUG RELOAD.
//!
//! Started by the restart (`restart.rs`), and by the conductor; ends with the dataset in place, or with the reason why it is not: then the file is
//! untouched, and so is the dataset that was there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clients::ClientKey;
use crate::clock::UnixMillis;
use crate::engine::Engine;
use crate::engine::pause::{PauseMode, Purpose};
use crate::journal::position::Position;
use crate::snapshot::loading::{self, About, Counts, Expired, Loaded, Loader};

use super::engine_lock::EngineLock;
use super::take_snapshot;

/// Read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// The engine is told how far the loading is each time so much has been read.
pub const REPORT_BYTES: u64 = 1 << 20;

/// Read to learn where a file stands: what it says about itself comes first.
const HEAD_BYTES: usize = 4096;

/// Clients are held back for a reload at most so long.
const RELOAD_MAX: Duration = Duration::from_secs(3600);

/// Settings for a payload from the master.
pub fn options(engine: &Engine, payload_bytes: Option<u64>) -> loading::Options {
    engine.load_options(Expired::Keep, payload_bytes)
}

/// An RDB file that was found, held open: it is read later as it was then, even if another takes its name meanwhile.
pub struct RdbFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    file: File,
}

impl RdbFile {
    /// None if there is no file.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub fn find(path: &Path) -> Result<Option<Self>, String> {
        let describe = |error: io::Error| format!("{}: {error}", path.display());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(describe(error)),
        };
        let metadata = file.metadata().map_err(describe)?;
        Ok(Some(RdbFile {
            path: path.to_owned(),
            bytes: metadata.len(),
            modified_ms: metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000,
            file,
        }))
    }

    /// Where it says that it stands in whose history.
    pub fn position(&self) -> Option<Position> {
        let mut head = vec![0; HEAD_BYTES];
        // What cannot be read is told when all of it is.
        let length = self.file.read_at(&mut head, 0).unwrap_or(0);
        loading::about_of(&head[..length]).position
    }
}

/// Loads the dataset of a starting node from its RDB file.
///
/// # Errors
/// The file is not what it should be: where, and in what way.
pub fn at_start(lock: &EngineLock, file: RdbFile) -> Result<Loaded, String> {
    let expired = lock.with(|engine| expired_rule(engine));
    load_file(lock, file, expired)
        .map_err(|reason| format!("Fatal error loading the DB: {reason}. Exiting."))
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
        async_std::task::spawn_blocking(move || {
            let file = RdbFile::find(&path)?;
            file.map(|file| load_file(&lock, file, expired)).transpose()
        })
        .await
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

/// What becomes of keys whose time had passed when they are loaded from the RDB file.
pub fn expired_rule(engine: &Engine) -> Expired {
    if engine.is_replica() {
        Expired::Keep
    } else {
        Expired::Drop { list: true }
    }
}

fn load_file(lock: &EngineLock, found: RdbFile, expired: Expired) -> Result<Loaded, String> {
    let RdbFile {
        path,
        mut file,
        bytes: total_bytes,
        ..
    } = found;
    let describe = |error: io::Error| format!("{}: {error}", path.display());
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
        let counts = loader.counts();
        if counts.bytes - reported >= REPORT_BYTES {
            reported = counts.bytes;
            report(lock, counts, &loader.about());
        }
    }
    let loaded = loader.finish().map_err(refused)?;
    let took = lock.with(|engine| engine.monotonic.saturating_sub(started));
    log_loaded(&loaded, now, took);
    Ok(loaded)
}

fn report(lock: &EngineLock, counts: Counts, about: &About) {
    lock.with(|engine| {
        engine.persistence.count_load(counts);
        if let Some(loading) = &mut engine.persistence.loading {
            loading.loaded_bytes = counts.bytes;
            loading.used_mem = about.used_memory_bytes.unwrap_or(0);
        }
    });
}

/// Tells what the file has said about itself.
pub fn log_about(loaded: &Loaded, now: UnixMillis) {
    let about = &loaded.about;
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
}

fn log_loaded(loaded: &Loaded, now: UnixMillis, took: Duration) {
    log_about(loaded, now);
    let counts = loaded.counts;
    log::info!(
        "Done loading RDB, keys loaded: {}, keys expired: {}.",
        counts.keys,
        counts.expired
    );
    log::info!("DB loaded from disk: {:.3} seconds", took.as_secs_f64());
}

/// Removes what processes that died while they wrote the file have left beside it: `temp-<pid>-<number>-<name>`.
pub fn remove_leftovers(path: &Path) {
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

#[cfg(test)]
mod tests {
    use async_std::channel;
    use async_std::task::block_on;

    use super::super::restart;
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::keyspace::Key;
    use crate::keyspace::entry::Content;
    use crate::random::Random;

    /// A directory of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("sluice-load-{}-{name}", std::process::id());
            let place = std::env::temp_dir().join(name);
            fs::create_dir_all(&place).expect("a temp directory");
            Place(place)
        }

        fn file(&self) -> PathBuf {
            self.0.join("dump.rdb")
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(&self.0)
                .expect("readable")
                .map(|entry| entry.expect("readable").file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        }

        fn node(&self) -> EngineLock {
            let mut config = Config::default();
            config.dir = self.0.clone();
            let engine = Engine::new(config, Clock::system(), Random::from_seed(1));
            let (intents, asked) = channel::unbounded();
            let (garbage, trash) = channel::unbounded();
            // Nobody takes what is asked for: the tests do that themselves.
            std::mem::forget((asked, trash));
            EngineLock::new(engine, intents, garbage)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            // What cannot be removed is the system's to clear away.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn start(lock: &EngineLock) -> Result<(), String> {
        let found = restart::announce(lock)?;
        block_on(restart::at_start(lock, found)).map(|_| ())
    }

    #[test]
    fn a_file_that_comes_up_while_the_node_starts_is_not_loaded() {
        let place = Place::new("late");
        let (first, second) = (place.node(), place.node());
        let found = restart::announce(&second).expect("an empty directory");
        put(&first, 5);
        assert!(block_on(take_snapshot::save_now(&first)));
        block_on(restart::at_start(&second, found)).expect("nothing to load");
        assert_eq!(keys(&second), 0);
        let third = place.node();
        let found = restart::announce(&third).expect("a sound file");
        put(&first, 9);
        assert!(block_on(take_snapshot::save_now(&first)));
        block_on(restart::at_start(&third, found)).expect("a sound file");
        assert_eq!(keys(&third), 5, "what was announced is what is loaded");
    }

    fn put(lock: &EngineLock, keys: u64) {
        lock.with(|engine| {
            for number in 0..keys {
                let key = format!("key:{number}");
                let content = Content::Bytes(b"some value");
                let database = engine.keyspace.db_mut(0);
                database.put(Key::new(key.as_bytes()), None, content);
            }
            engine.persistence.dirty += keys;
        });
    }

    fn keys(lock: &EngineLock) -> usize {
        lock.with(|engine| engine.keyspace.len())
    }

    #[test]
    fn what_is_saved_is_there_after_a_restart() {
        let place = Place::new("restart");
        let first = place.node();
        put(&first, 1000);
        first.with(|engine| engine.begin_save(None));
        put(&first, 1010);
        block_on(take_snapshot::save_to_file(first.clone()));
        first.with(|engine| {
            let persistence = &engine.persistence;
            assert!(persistence.last_status_ok && persistence.running.is_none());
            // What came after the request to save is not in the file.
            assert_eq!((persistence.dirty, persistence.saves), (1010, 1));
        });
        assert_eq!(place.names(), ["dump.rdb"]);
        let second = place.node();
        let found = restart::announce(&second).expect("a sound file");
        assert!(second.with(|engine| engine.persistence.loading.is_some()));
        block_on(restart::at_start(&second, found)).expect("a sound file");
        assert_eq!(keys(&second), 1000);
        second.with(|engine| {
            assert!(engine.persistence.loading.is_none());
            assert_eq!(engine.persistence.last_load_loaded, 1000);
            assert_eq!(engine.persistence.dirty, 0);
        });
    }

    #[test]
    fn no_file_is_an_empty_dataset_and_a_damaged_one_is_none() {
        let place = Place::new("damaged");
        let lock = place.node();
        assert_eq!(start(&lock), Ok(()));
        assert_eq!(keys(&lock), 0);
        for bytes in [&b""[..], b"REDIS0010\0\x01k", b"REDIS0010\xfe\x20\xff"] {
            fs::write(place.file(), bytes).expect("writable");
            let refusal = start(&place.node()).expect_err("damaged");
            assert!(refusal.contains("dump.rdb: rdb: byte "), "{refusal}");
            assert_eq!(fs::read(place.file()).expect("readable"), bytes);
        }
    }

    #[test]
    fn what_processes_that_died_have_left_is_removed_and_nothing_else() {
        let place = Place::new("leftovers");
        let ours = format!("temp-{}-3-dump.rdb", std::process::id());
        let others = ["temp-1-dump.rdb", "temp-x-1-dump.rdb", "temp-1-1-other.rdb"];
        // Process 1 lives; no process has the highest id there can be.
        let alive = "temp-1-1-dump.rdb";
        let dead = "temp-4194304-7-dump.rdb";
        for name in others.into_iter().chain([&ours[..], alive, dead]) {
            fs::write(place.0.join(name), b"x").expect("writable");
        }
        start(&place.node()).expect("nothing to load");
        let mut left = [&others[..], &[alive]].concat();
        left.sort();
        assert_eq!(place.names(), left);
    }

    #[test]
    fn an_abandoned_save_leaves_the_file_to_the_next() {
        let place = Place::new("abandoned");
        let lock = place.node();
        put(&lock, 500);
        let job = lock.with(|engine| {
            engine.begin_save(None);
            engine.take_save().expect("it was begun")
        });
        lock.with(|engine| {
            engine.abandon_save();
            engine.replace_keyspace(crate::keyspace::Keyspace::new(16));
        });
        assert!(block_on(take_snapshot::save_now(&lock)));
        assert!(!block_on(take_snapshot::carry_out(&lock, job)));
        assert_eq!(place.names(), ["dump.rdb"]);
        assert!(lock.with(|engine| engine.persistence.last_status_ok));
        put(&lock, 5);
        start(&lock).expect("a sound file");
        assert_eq!(keys(&lock), 0);
    }

    #[test]
    fn a_save_that_fails_is_told_and_one_that_works_makes_up_for_it() {
        let place = Place::new("fails");
        let lock = place.node();
        put(&lock, 5);
        fs::remove_dir_all(&place.0).expect("removable");
        lock.with(|engine| engine.begin_save(None));
        block_on(take_snapshot::save_to_file(lock.clone()));
        assert!(lock.with(|engine| engine.cannot_save()));
        assert!(!block_on(take_snapshot::save_now(&lock)));
        fs::create_dir_all(&place.0).expect("a temp directory");
        assert!(block_on(take_snapshot::save_now(&lock)));
        assert!(!lock.with(|engine| engine.cannot_save()));
    }
}
