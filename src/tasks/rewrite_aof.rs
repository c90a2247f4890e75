//! Makes a new base for the AOF out of a snapshot: one walk, one file, one order to the writer.
//!
//! Started by the conductor for BGREWRITEAOF, for growth and for CONFIG SET appendonly yes. The walk has a thread of its own and
//! the writing another; the engine is locked to begin and to end. Ends with the base in the set, or as if nothing had been:
//! the temp file is gone and the set is the one that was there, with one segment more.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::aof::alone;
use crate::aof::candidate::Candidate;
use crate::aof::disk::RealDisk;
use crate::aof::log::Log;
use crate::aof::manifest;
use crate::aof::names::BaseFormat;
use crate::aof::writer::{Done, Order, Writer};
use crate::engine::rewriting::{Continuation, RewriteJob};
use crate::journal::cursor::Cursor;
use crate::journal::position::Position;
use crate::snapshot::command_walk::CommandWalk;
use crate::snapshot::walk::{Walk, Written};

use super::base_file::BaseFile;
use super::begin_aof;
use super::engine_lock::EngineLock;
use super::write_aof;

/// Chunks that may wait to be written while the walk goes on.
const CHUNKS_WAITING_MAX: usize = 8;

/// A writer that was told to close its set is waited for so long: it has to sync what it has.
const CLOSING_MAX: Duration = Duration::from_secs(30);
const CLOSING_POLL: Duration = Duration::from_millis(2);

/// Carries out the rewrite that the engine has begun.
pub async fn run(lock: EngineLock) {
    if let Some(job) = lock.with(|engine| engine.take_rewrite()) {
        async_std::task::spawn_blocking(move || carry_out(&lock, job)).await;
    }
}

/// Gives up the rewrite that is running and waits until nothing is left of it: for who is about to leave.
pub async fn stop(lock: &EngineLock) {
    let turn = lock.with(|engine| {
        engine.abandon_rewrite();
        Arc::clone(&engine.rewrites.turn)
    });
    async_std::task::spawn_blocking(move || drop(turn.lock())).await;
}

fn carry_out(lock: &EngineLock, job: RewriteJob) {
    let turn = Arc::clone(&job.turn);
    // Nothing is behind this lock but the order of rewrites.
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    let number = job.number;
    match rewrite(lock, job) {
        Ok(()) => lock.with(|engine| engine.end_rewrite(number, Ok(()))),
        Err(Ended::Unwanted) => {}
        Err(Ended::Failed(reason)) => {
            lock.with(|engine| engine.end_rewrite(number, Err(reason)));
        }
    }
}

/// Why there is no new base.
enum Ended {
    /// The rewrite was abandoned.
    Unwanted,
    Failed(String),
}

impl<E: std::error::Error> From<E> for Ended {
    fn from(error: E) -> Self {
        Ended::Failed(error.to_string())
    }
}

fn rewrite(lock: &EngineLock, job: RewriteJob) -> Result<(), Ended> {
    let RewriteJob {
        number,
        snapshot,
        at,
        format,
        options,
        annotates,
        progress,
        directory,
        incremental_sync,
        cancelled,
        continuation,
        ..
    } = job;
    let unwanted = || match cancelled.is_set() {
        true => Err(Ended::Unwanted),
        false => Ok(()),
    };
    unwanted()?;
    await_end_of_last_writer(lock).map_err(Ended::Failed)?;
    let file = BaseFile::create(&directory, incremental_sync)?;
    let (segment, is_alone) = match continuation {
        Continuation::Segment(told) => (Some(told), false),
        Continuation::NewSet(cursor) => {
            begin_set(lock, number, at, cursor)?;
            (None, false)
        }
        Continuation::Nothing => (None, true),
    };
    let walk = match format {
        BaseFormat::Rdb => BaseWalk::Rdb(Walk::new(snapshot, options).counting(progress)),
        BaseFormat::Commands => {
            BaseWalk::Commands(CommandWalk::new(snapshot, annotates).counting(progress))
        }
    };
    let base = write(file, walk, &unwanted)?;
    if let Some(told) = segment {
        outcome_of(&told)?;
    }
    unwanted()?;
    if is_alone {
        return adopt_alone(lock, base, at, &unwanted);
    }
    let (tell, told) = sync_channel(1);
    let answer = move |outcome| {
        // Only a panic could have taken the other end away.
        let _ = tell.try_send(outcome);
    };
    match lock.with(|engine| engine.adopt_base(number, base, at, answer)) {
        None => outcome_of(&told),
        Some(_) => Err(Ended::Unwanted),
    }
}

fn outcome_of(told: &Receiver<Result<Done, String>>) -> Result<(), Ended> {
    match told.recv() {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(reason)) => Err(Ended::Failed(reason)),
        Err(_) => Err(Ended::Failed("the AOF writer has ended".into())),
    }
}

/// The directory is free once the writer that had it has closed its set, or was given up.
pub fn await_end_of_last_writer(lock: &EngineLock) -> Result<(), String> {
    let mut waited = Duration::ZERO;
    loop {
        let is_busy = lock.with(|engine| {
            let closing = &mut engine.rewrites.closing;
            closing.take_if(|(writer, _)| writer.has_ended());
            closing.is_some()
        });
        if !is_busy {
            return Ok(());
        }
        if waited >= CLOSING_MAX {
            return Err("the last set is still being closed".into());
        }
        thread::sleep(CLOSING_POLL);
        waited += CLOSING_POLL;
    }
}

/// Starts a writer for a set that becomes one with its first base.
fn begin_set(lock: &EngineLock, number: u64, at: Position, cursor: Cursor) -> Result<(), Ended> {
    let (names, annotates) = lock.with(|engine| {
        let config = &engine.config;
        (begin_aof::names(config), config.aof_timestamp_enabled)
    });
    let parsed = manifest::read(&RealDisk, &names)?.unwrap_or_default();
    let log = Log::begin(Arc::new(RealDisk), names, parsed.manifest, at, annotates)?;
    let writer: Writer = write_aof::start_writer(lock, log, cursor)?;
    drop(writer);
    match lock.with(|engine| engine.keep_set_begun_for(number)) {
        true => Ok(()),
        false => {
            await_end_of_last_writer(lock).map_err(Ended::Failed)?;
            Err(Ended::Unwanted)
        }
    }
}

/// A snapshot on its way into a base.
pub enum BaseWalk {
    Rdb(Walk),
    Commands(CommandWalk),
}

impl BaseWalk {
    /// As [`Walk::run`].
    pub fn run<E>(self, take: impl FnMut(Bytes) -> Result<(), E>) -> Result<Written, E> {
        match self {
            BaseWalk::Rdb(walk) => walk.run(take),
            BaseWalk::Commands(walk) => walk.run(take),
        }
    }

    pub fn format(&self) -> BaseFormat {
        match self {
            BaseWalk::Rdb(_) => BaseFormat::Rdb,
            BaseWalk::Commands(_) => BaseFormat::Commands,
        }
    }
}

/// Walks the snapshot into the file, and lets go of it on the way.
fn write(
    mut file: BaseFile,
    walk: BaseWalk,
    unwanted: &(impl Fn() -> Result<(), Ended> + Sync),
) -> Result<Candidate, Ended> {
    let format = walk.format();
    let (chunks, written) = sync_channel::<Bytes>(CHUNKS_WAITING_MAX);
    let (file, walked) = thread::scope(|scope| {
        let writer = scope.spawn(move || -> Result<BaseFile, Ended> {
            for chunk in written {
                unwanted()?;
                file.write(&chunk)?;
            }
            Ok(file)
        });
        // The writer hangs up only where it has failed, and says why when it is asked.
        let walked = walk.run(move |chunk| chunks.send(chunk));
        match writer.join() {
            Ok(outcome) => (outcome, walked),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    let file = file?;
    walked.map_err(|_| Ended::Unwanted)?;
    Ok(file.seal(format)?)
}

/// Without a writer the base is the whole set.
fn adopt_alone(
    lock: &EngineLock,
    base: Candidate,
    at: Position,
    unwanted: &impl Fn() -> Result<(), Ended>,
) -> Result<(), Ended> {
    let names = lock.with(|engine| begin_aof::names(&engine.config));
    unwanted()?;
    let historian = lock.with(|engine| engine.aof.any_writer().cloned());
    if let Some(historian) = historian {
        // The manifest is in its hands.
        let (tell, told) = sync_channel(1);
        historian.order(Order::Adopt {
            base: base.base(at),
            answer: Box::new(move |outcome| {
                // Only a panic could have taken the other end away.
                let _ = tell.try_send(outcome);
            }),
        });
        outcome_of(&told)?;
        base.adopted();
        return Ok(());
    }
    alone::put(&RealDisk, &names, &base.base(at)).map_err(Ended::Failed)?;
    base.adopted();
    Ok(())
}
