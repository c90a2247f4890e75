//! What a starting node finds on disk, and how it takes it up.
//!
//! Started by boot, once, in two steps: [`announce`] looks at the files before anybody can connect, so that clients are told
//! -LOADING from the first connection on; [`at_start`] loads what was announced and nothing else. Both end with an error where
//! the node must not start: then no file has been changed.

use async_std::task;

use crate::engine::following::Past;
use crate::engine::persistence::Loading;

use super::engine_lock::EngineLock;
use super::load::{self, RdbFile};

/// The files that hold the dataset, as they were found.
pub enum Found {
    Nothing,
    Rdb(RdbFile),
}

/// Looks for a dataset. If there is one, clients are told from now on that it is being loaded.
///
/// # Errors
/// There is something that cannot be read, or that must not be passed over.
pub fn announce(lock: &EngineLock) -> Result<Found, String> {
    let path = lock.with(|engine| engine.rdb_path());
    load::remove_leftovers(&path);
    let found = match RdbFile::find(&path)? {
        Some(file) => Found::Rdb(file),
        None => Found::Nothing,
    };
    let total_bytes = match &found {
        Found::Nothing => return Ok(found),
        Found::Rdb(file) => file.bytes,
    };
    lock.with(|engine| {
        engine.persistence.loading = Some(Loading {
            started_unix: engine.now.seconds(),
            total_bytes,
            ..Loading::default()
        });
    });
    Ok(found)
}

/// Loads what was found, and takes up its history.
///
/// # Errors
/// It is not what it should be: where, and in what way.
pub async fn at_start(lock: &EngineLock, found: Found) -> Result<(), String> {
    match found {
        Found::Nothing => lock.with(|engine| {
            engine.resume_history(None, Past::default(), &[]);
        }),
        Found::Rdb(file) => {
            let loaded = {
                let lock = lock.clone();
                task::spawn_blocking(move || load::at_start(&lock, file)).await?
            };
            lock.with(|engine| {
                let mut loaded = loaded;
                let position = loaded.about.position;
                let expired_keys = std::mem::take(&mut loaded.expired_keys);
                engine.install(loaded, false);
                engine.persistence.loading = None;
                engine.resume_history(position, Past::default(), &expired_keys);
            });
        }
    }
    Ok(())
}
