//! New bases of the AOF: when one is begun, what it is made of, and what its end means.
//!
//! A rewrite is begun here and carried out by a task ([`Engine::take_rewrite`] gives it what it needs). The snapshot and the
//! segment that continues it stand at the same offset, because both are asked for under one lock: nothing has to be collected
//! meanwhile, and nothing stops when the new base takes its place. On a replica the dataset of a full sync is a base already:
//! it is put into the place of the old set with the dataset itself, and no snapshot is taken.
//!
//! Unlike in Redis, rewrites and saves run side by side; only what a running rewrite or a transaction holds up is scheduled.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::aof::candidate::Candidate;
use crate::aof::names::BaseFormat;
use crate::aof::writer::{Answer, Done, Order, Writer};
use crate::journal::cursor::Cursor;
use crate::journal::position::{Position, ReplId};
use crate::memory;
use crate::snapshot::Snapshot;
use crate::snapshot::walk::{Options, Progress};

use super::Engine;
use super::data::Garbage;
use super::intent::Intent;
use super::persistence::Cancelled;
use super::rewrites::{Purpose, RunningRewrite};

/// A writer whose disk fails is given so long to close its set.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// A rewrite to be carried out.
pub struct RewriteJob {
    pub number: u64,
    pub snapshot: Snapshot,
    /// Where the base stands.
    pub at: Position,
    pub format: BaseFormat,
    pub options: Options,
    /// A base of commands begins with the time.
    pub annotates: bool,
    pub progress: Progress,
    /// Directory of the set.
    pub directory: PathBuf,
    pub incremental_sync: bool,
    /// To be looked at between chunks: somebody may not want the base any more.
    pub cancelled: Cancelled,
    pub continuation: Continuation,
    /// To be held while the file is written.
    pub turn: Arc<Mutex<()>>,
}

/// What follows the base.
pub enum Continuation {
    /// A new segment, once the writer says that there is one.
    Segment(Receiver<Result<Done, String>>),
    /// A set that has to be begun: the cursor stands where the base stands.
    NewSet(Cursor),
    /// Nothing: the AOF is off.
    Nothing,
}

impl Engine {
    /// BGREWRITEAOF: true if the rewrite begins now, false if it begins as soon as it may. None may be running.
    pub fn ask_for_rewrite(&mut self) -> bool {
        self.rewrites.forgive();
        if self.in_exec {
            self.rewrites.scheduled = true;
            return false;
        }
        self.begin_rewrite();
        true
    }

    /// Begins a rewrite for whatever a new base is needed now. None may be running.
    pub fn begin_rewrite(&mut self) {
        log::info!("Background append only file rewriting started");
        self.rewrites.begin(self.rewrite_purpose(), self.monotonic);
        self.intents.push(Intent::Rewrite);
    }

    fn rewrite_purpose(&self) -> Purpose {
        match (self.aof.is_on(), self.config.appendonly) {
            (true, _) => Purpose::Compact,
            (false, true) => Purpose::Begin,
            (false, false) => Purpose::Alone,
        }
    }

    /// Ten times a second: begins what is due.
    pub fn rewrite_if_due(&mut self) {
        if self.rewrites.alarm.take() {
            // The writer could not go over to the history that we tell now: what it has on disk is of another one.
            self.give_up_set();
        }
        self.abandon_failing_writer();
        let config = &self.config;
        let rewrites = &self.rewrites;
        if rewrites.running.is_some() || self.persistence.loading.is_some() || self.shutting_down {
            return;
        }
        let begins = config.appendonly && !self.aof.is_on();
        if (begins || rewrites.scheduled) && rewrites.may_try(self.monotonic) {
            return self.begin_rewrite();
        }
        let Some(writer) = self.aof.writer() else {
            return;
        };
        let status = writer.status();
        let growth = rewrites.growth_due(
            status.current_bytes,
            status.base_bytes,
            config.auto_aof_rewrite_percentage,
            config.auto_aof_rewrite_min_size,
            self.monotonic,
        );
        if let Some(growth) = growth {
            log::info!("Starting automatic rewriting of AOF on {growth}% growth");
            self.begin_rewrite();
        }
    }

    /// The AOF has been switched on, and its first base is being written.
    pub fn is_beginning_set(&self) -> bool {
        let running = self.rewrites.running.as_ref();
        running.is_some_and(|rewrite| rewrite.purpose == Purpose::Begin)
    }

    /// A writer that cannot close its set because its disk fails would keep what it has not written for ever.
    fn abandon_failing_writer(&mut self) {
        let now = self.monotonic;
        let failing = |(writer, since): &(Writer, Duration)| {
            writer.is_failing() && now.saturating_sub(*since) >= CLOSING_MAX
        };
        if let Some((writer, _)) = self.rewrites.closing.as_ref().filter(|it| failing(it))
            && !writer.has_ended()
            && writer.abandon()
        {
            log::warn!("AOF: the disk fails, what it does not have is given up");
        }
    }

    /// What the rewrite that was begun needs to be carried out; none if it was abandoned, or has to wait.
    pub fn take_rewrite(&mut self) -> Option<RewriteJob> {
        let purpose = self.rewrite_purpose();
        let rewrites = &mut self.rewrites;
        let running = rewrites.running.as_mut().filter(|it| !it.taken)?;
        // The AOF may have come to stand since the rewrite was asked for.
        running.purpose = purpose;
        if self.replication.following.has_loaded() {
            // Another dataset is about to take the place of this one: it comes first.
            rewrites.abandon();
            rewrites.scheduled = true;
            return None;
        }
        if purpose != Purpose::Alone && !self.is_replica() {
            // What was selected before is not part of the base: the next write selects again.
            self.unit.effects.set_stream_db(None);
        }
        let continuation = match (purpose, self.aof.writer()) {
            (Purpose::Alone, _) => Continuation::Nothing,
            (Purpose::Compact, Some(writer)) => {
                let (tell, told) = sync_channel(1);
                writer.order(Order::Rotate {
                    at: self.stream_position(),
                    answer: Box::new(move |outcome| {
                        // The rewrite may have been given up.
                        let _ = tell.try_send(outcome);
                    }),
                });
                Continuation::Segment(told)
            }
            _ => Continuation::NewSet(self.begin_recording()?),
        };
        let snapshot = self.take_snapshot();
        let mut at = self.stream_position();
        if snapshot.position.is_none() && matches!(continuation, Continuation::Nothing) {
            // Effects are not recorded, so this place in our history has no name that anybody could ask for.
            at.id = ReplId::random(&mut self.random);
        }
        let (config, directory) = (&self.config, self.aof_directory());
        let keys_total = self.keyspace.len() as u64;
        let rewrite = self.rewrites.running.as_mut()?;
        rewrite.taken = true;
        rewrite.copied_at_start = memory::copied_bytes();
        rewrite.keys_total = keys_total;
        Some(RewriteJob {
            number: rewrite.number,
            snapshot,
            at,
            format: match config.aof_use_rdb_preamble {
                true => BaseFormat::Rdb,
                false => BaseFormat::Commands,
            },
            options: Options {
                aof_base: true,
                ..Options::of(config)
            },
            annotates: config.aof_timestamp_enabled,
            progress: rewrite.progress.clone(),
            directory,
            incremental_sync: config.aof_rewrite_incremental_fsync,
            cancelled: rewrite.cancelled.clone(),
            continuation,
            turn: Arc::clone(&self.rewrites.turn),
        })
    }

    /// A reader at the end of the journal, which records from here on. What nobody recorded is a gap in our history: then
    /// another one begins.
    pub(super) fn begin_recording(&mut self) -> Option<Cursor> {
        if !self.journal.is_active() && !self.is_replica() {
            self.replication.identity.begin(&mut self.random);
        }
        self.journal.reader_at(self.journal.end())
    }

    /// The base of that rewrite is complete: the writer is told to take it in, unless the rewrite was abandoned meanwhile.
    /// Given back if nobody wants it, to be dropped elsewhere.
    pub fn adopt_base(
        &mut self,
        number: u64,
        base: Candidate,
        at: Position,
        answer: impl FnOnce(Result<Done, String>) + Send + 'static,
    ) -> Option<Candidate> {
        let wanted = self.is_rewriting(number);
        let Some(writer) = self.aof.writer().filter(|_| wanted) else {
            return Some(base);
        };
        writer.order(Order::Adopt {
            base: base.base(at),
            answer: keeping(base, answer),
        });
        None
    }

    /// A writer has begun a set for that rewrite. False if nobody wants it any more: then it has been told to end.
    pub fn keep_set_begun_for(&mut self, number: u64) -> bool {
        let wanted = self.is_rewriting(number);
        if !wanted {
            self.close_set();
        }
        wanted
    }

    /// Whether the rewrite of that number is still wanted.
    fn is_rewriting(&self, number: u64) -> bool {
        let running = self.rewrites.running.as_ref();
        running.is_some_and(|rewrite| rewrite.number == number)
    }

    /// A rewrite has ended, well or with a reason.
    pub fn end_rewrite(&mut self, number: u64, outcome: Result<(), String>) {
        let size_bytes = outcome.is_ok().then(|| self.aof_size_bytes());
        let ended = self.rewrites.finish(number, size_bytes, self.monotonic);
        let Some(rewrite) = ended else { return };
        match outcome {
            Ok(()) => log::info!("Background AOF rewrite finished successfully"),
            Err(reason) => {
                log::warn!("Background AOF rewrite failed: {reason}");
                if let Some(minutes) = self.rewrites.wait_minutes() {
                    log::warn!(
                        "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
                    );
                }
                self.undo_beginning(&rewrite);
            }
        }
    }

    /// The running rewrite, if there is one, cannot go on.
    pub fn fail_rewrite(&mut self, reason: String) {
        if let Some(rewrite) = &self.rewrites.running {
            rewrite.cancelled.set();
            self.end_rewrite(rewrite.number, Err(reason));
        }
    }

    /// Gives up the running rewrite, if there is one: its base is not wanted any more.
    pub fn abandon_rewrite(&mut self) {
        if let Some(rewrite) = self.rewrites.abandon() {
            log::info!("Background AOF rewrite abandoned");
            self.undo_beginning(&rewrite);
        }
    }

    /// A set that was only being begun goes with the rewrite that was to make it one.
    fn undo_beginning(&mut self, rewrite: &RunningRewrite) {
        if rewrite.purpose == Purpose::Begin {
            self.close_set();
        }
    }

    /// The AOF on disk belongs to another dataset than ours: it stays as it is until a snapshot of ours has taken its place.
    pub fn give_up_set(&mut self) {
        self.rewrites.abandon();
        self.close_set();
        self.rewrites.scheduled |= self.config.appendonly;
    }

    /// The writer writes and syncs what there is, and ends.
    pub(super) fn close_set(&mut self) {
        let at = self.journal.end();
        if let Some(writer) = self.end_aof() {
            self.rewrites.closing = Some((writer.clone(), self.monotonic));
            writer.order(Order::Close {
                at,
                answer: Box::new(|outcome| {
                    if let Err(reason) = outcome {
                        log::warn!("AOF: not closed well: {reason}");
                    }
                }),
            });
        }
    }

    /// CONFIG SET appendonly, when it has another value now.
    pub fn follow_appendonly(&mut self) {
        if self.config.appendonly {
            self.rewrites.forgive();
            self.abandon_rewrite();
            // Where history was kept, the set takes its place.
            self.close_set();
            self.rewrites.scheduled = true;
            if !self.in_exec {
                self.begin_rewrite();
            }
        } else {
            self.rewrites.scheduled = false;
            self.abandon_rewrite();
            self.close_set();
            self.answer_waits();
        }
    }

    /// Whether the payload of a full sync is to be kept as a base.
    pub fn keeps_payloads(&self) -> bool {
        self.config.appendonly
    }

    /// Another dataset, of another history, has just taken the place of ours; the journal stands where it stands. With the
    /// file that it came from the set goes over to it at once, without a snapshot.
    pub fn replace_set(&mut self, base: Option<Candidate>, at: Position) {
        if !self.aof.is_on() || base.is_none() {
            self.garbage.extend(base.map(Garbage::Base));
            return self.give_up_set();
        }
        self.rewrites.abandon();
        self.rewrites.size_after_last_bytes = None;
        let cursor = self.journal.reader_at(at.offset);
        let (Some(base), Some(cursor), Some(writer)) = (base, cursor, self.aof.writer()) else {
            return;
        };
        let alarm = self.rewrites.alarm.clone();
        let order = Order::Replace {
            base: base.base(at),
            cursor,
            answer: keeping(base, move |outcome| match outcome {
                Ok(_) => log::info!("AOF: the snapshot of the full sync is the base now"),
                Err(reason) => {
                    log::warn!(
                        "AOF: the snapshot of the full sync could not become the base: {reason}"
                    );
                    alarm.raise();
                }
            }),
        };
        writer.order(order);
    }

    /// Bytes of the set as it is loaded.
    fn aof_size_bytes(&self) -> u64 {
        self.aof
            .writer()
            .map_or(0, |writer| writer.status().current_bytes)
    }

    /// Directory of the set.
    pub fn aof_directory(&self) -> PathBuf {
        self.config.dir.join(&self.config.appenddirname)
    }
}

/// An answer that first settles what becomes of the file.
fn keeping(base: Candidate, answer: impl FnOnce(Result<Done, String>) + Send + 'static) -> Answer {
    Box::new(move |outcome| {
        match outcome {
            Ok(_) => base.adopted(),
            Err(_) => drop(base),
        }
        answer(outcome);
    })
}

#[cfg(test)]
mod tests;
