//! Writes the dataset to the RDB file: one walk, one file.
//!
//! Started by the conductor for SAVE, BGSAVE, save points and FLUSHALL, and by those who save before they go on. The walk has a
//! thread of its own and the writing another; the engine is locked to begin and to end. Ends with the file in place, or as if nothing had been.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError};
use std::thread;

use crate::engine::persistence::Asker;
use crate::engine::snapshots::SaveJob;
use crate::io::file_sink::FileSink;
use crate::io::sink::{Sink, SinkError};

use super::engine_lock::EngineLock;

/// Carries out the save that the engine has begun.
pub async fn save_to_file(lock: EngineLock) {
    if let Some(job) = lock.with(|engine| engine.take_save()) {
        carry_out(&lock, job).await;
    }
}

/// Saves at once, whatever else is being saved, and says whether that went well: for those who cannot go on without.
pub async fn save_now(lock: &EngineLock) -> bool {
    let job = lock.with(|engine| {
        engine.abandon_save();
        engine.begin_save_for(Asker::Task);
        engine.take_save()
    });
    match job {
        Some(job) => carry_out(lock, job).await,
        None => false,
    }
}

/// Gives up what is being saved and waits until nothing is left of it: for who is about to leave.
pub async fn stop(lock: &EngineLock) {
    let turn = lock.with(|engine| {
        engine.abandon_save();
        Arc::clone(&engine.persistence.turn)
    });
    async_std::task::spawn_blocking(move || drop(turn.lock())).await;
}

pub(super) async fn carry_out(lock: &EngineLock, job: SaveJob) -> bool {
    let number = job.number;
    let ok = async_std::task::spawn_blocking(move || match write(job) {
        Ok(()) => {
            log::info!("DB saved on disk");
            true
        }
        Err(SinkError::Cancelled) => false,
        Err(error) => {
            log::warn!("Error saving DB on disk: {error}");
            false
        }
    })
    .await;
    lock.with(|engine| engine.end_save(number, ok));
    ok
}

fn write(job: SaveJob) -> Result<(), SinkError> {
    let SaveJob {
        walk,
        path,
        incremental_sync,
        cancelled,
        turn,
        ..
    } = job;
    let unwanted = || match cancelled.is_set() {
        true => Err(SinkError::Cancelled),
        false => Ok(()),
    };
    // Not even its turn is waited for, because it holds on to what has changed since.
    unwanted()?;
    // Nothing is behind this lock but the order of files.
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    unwanted()?;
    let mut sink = Box::new(FileSink::create(&path, incremental_sync)?);
    let (chunks, written) = sync_channel(CHUNKS_WAITING_MAX);
    let walked = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            written.into_iter().try_for_each(|chunk| {
                unwanted()?;
                sink.accept(chunk)
            })
        });
        // The writer hangs up only where it has failed, and says why when it is asked.
        let walked = walk.run(move |chunk| chunks.send(chunk).map_err(|_| SinkError::Cancelled));
        match writer.join() {
            Ok(outcome) => outcome.and(walked.map(|_| ())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    match walked.and_then(|()| unwanted()) {
        Ok(()) => sink.finish(),
        Err(error) => {
            sink.abandon(&error.to_string());
            Err(error)
        }
    }
}

/// Chunks that may wait to be written while the walk goes on.
const CHUNKS_WAITING_MAX: usize = 8;
