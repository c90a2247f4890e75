//! Begins an AOF where there is none to go on with: a base of the dataset as it stands, and the first segment behind it.
//!
//! Called by boot, before clients are served; ends with the writer running, or with the reason why not.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::aof::crc::Crc;
use crate::aof::disk::{Disk, RealDisk};
use crate::aof::log::{Base, Log, write_all};
use crate::aof::manifest;
use crate::aof::names::Names;
use crate::config::Config;
use crate::journal::position::Position;
use crate::snapshot::command_walk::CommandWalk;
use crate::snapshot::walk::{Options, Walk};

use super::engine_lock::EngineLock;
use super::rewrite_aof::BaseWalk;
use super::write_aof;

/// Begins a set with the present dataset as its base, and writes it from here on. A set that is there already stays until the
/// new one is whole, and goes then.
///
/// # Errors
/// The disk does not take one.
pub async fn begin(lock: &EngineLock) -> Result<(), String> {
    let lock = lock.clone();
    async_std::task::spawn_blocking(move || begin_blocking(&lock)).await
}

/// Where the settings put the AOF.
pub fn names(config: &Config) -> Names {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    Names::new(
        &config.dir,
        &text(&config.appenddirname),
        &text(&config.appendfilename),
    )
}

fn begin_blocking(lock: &EngineLock) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("Fatal error beginning the AOF: {error}");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let names = lock.with(|engine| names(&engine.config));
    let found = manifest::read(&*disk, &names).map_err(|error| failed(&error))?;
    let manifest = found.unwrap_or_default().manifest;
    if !manifest.names_nothing_to_load() {
        log::warn!(
            "The AOF in {} is replaced by one that begins with the present dataset",
            names.directory().display()
        );
    }
    let (at, cursor, walk, annotates) = lock.with(|engine| {
        let cursor = engine.journal.reader_at(engine.journal.end());
        let at = engine.stream_position();
        let mut options = Options::of(&engine.config);
        options.aof_base = true;
        let annotates = engine.config.aof_timestamp_enabled;
        let snapshot = engine.take_snapshot();
        let walk = match engine.config.aof_use_rdb_preamble {
            true => BaseWalk::Rdb(Walk::new(snapshot, options)),
            false => BaseWalk::Commands(CommandWalk::new(snapshot, annotates)),
        };
        (at, cursor, walk, annotates)
    });
    let Some(cursor) = cursor else {
        return Err(failed(&"the journal has no end"));
    };
    let mut log = Log::begin(Arc::clone(&disk), names.clone(), manifest, at, annotates)
        .map_err(|error| failed(&error))?;
    let base = write_base(&*disk, &names, walk, at).map_err(|error| failed(&error))?;
    log.adopt(&base).map_err(|error| failed(&error))?;
    log::info!("Creating AOF base file {} on server start", log.base_name());
    write_aof::start_writer(lock, log, cursor).map_err(|error| failed(&error))?;
    lock.with(|engine| engine.persistence.loading = None);
    Ok(())
}

fn write_base(disk: &dyn Disk, names: &Names, walk: BaseWalk, at: Position) -> io::Result<Base> {
    let temp = names.path(&names.temp_base(std::process::id(), 0));
    let mut file = disk.create(&temp)?;
    let (mut crc, format) = (Crc::new(), walk.format());
    walk.run(|chunk: Bytes| {
        crc.update(&chunk);
        write_all(&mut *file, &[&chunk])
    })?;
    file.sync()?;
    Ok(Base {
        temp,
        at,
        format,
        bytes: crc.bytes(),
        crc64: Some(crc.value()),
    })
}
