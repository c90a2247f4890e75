//! The journal on disk where there is no AOF: when it is kept, when it is begun, when it is given up.
//!
//! The same writer as the AOF's, with a set of which nothing is loaded. Nobody waits for it, and nothing is refused when its
//! disk fails: it is given up then, and begun anew later.

use std::sync::Arc;
use std::time::Duration;

use crate::aof::durability::{Durability, Policy};
use crate::aof::writer::Writer;
use crate::journal::position::{Offset, Position};

use super::Engine;
use super::intent::Intent;

/// After a failure the next attempt waits so long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What may wait in memory for a slow disk.
const WAITING_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What the engine holds of it.
#[derive(Default)]
pub struct Historian {
    pub(super) writer: Option<Writer>,
    /// A task is at it.
    busy: bool,
    /// Files may be there that nobody needs.
    is_there: bool,
    retry_at: Duration,
}

impl Engine {
    /// Whether the journal is to be kept on disk for replicas alone.
    pub fn wants_history(&self) -> bool {
        let config = &self.config;
        config.repl_backlog_disk_size > 0 && !config.appendonly && !self.aof.is_on()
    }

    /// Ten times a second, and after a change of the settings: begins or ends what is due.
    pub fn keep_history_if_due(&mut self) {
        self.give_failing_history_up();
        let historian = &self.aof.historian;
        if historian.busy || self.persistence.loading.is_some() || self.shutting_down {
            return;
        }
        let (wants, has) = (self.wants_history(), historian.writer.is_some());
        let begins = wants && !has && self.monotonic >= historian.retry_at;
        let ends = !wants && (has || historian.is_there);
        if !begins && !ends {
            return;
        }
        if ends && has {
            self.close_set();
        }
        if self.config.appendonly {
            // A set that is begun in the same place takes all of it away.
            self.aof.historian.is_there = false;
            return;
        }
        self.aof.historian.busy = true;
        self.intents.push(Intent::KeepHistory);
    }

    fn give_failing_history_up(&mut self) {
        let Some(writer) = &self.aof.historian.writer else {
            return;
        };
        let waiting = self.journal.end().since(writer.archive().view().written);
        let reason = match writer.failure() {
            Some(reason) => reason,
            None if waiting > WAITING_BYTES_MAX => format!("{waiting} bytes wait for the disk"),
            None if writer.has_ended() => "its writer has ended".to_owned(),
            None => return,
        };
        log::warn!("The journal is not kept on disk any more: {reason}");
        writer.abandon();
        self.aof.historian.writer = None;
        self.aof.historian.retry_at = self.monotonic + RETRY_AFTER;
    }

    /// The journal goes to disk from here on, for replicas alone.
    pub fn begin_history(&mut self, writer: Writer, at: Offset) -> Arc<Durability> {
        let durability = Arc::new(Durability::default());
        durability.begin(at, Policy::EverySecond);
        writer.set_policy(Policy::EverySecond);
        writer.exit_on_error(false);
        self.aof.historian.writer = Some(writer);
        self.aof.historian.is_there = true;
        self.aof.history_bytes_told = 0;
        self.tell_disk_size();
        durability
    }

    /// The task has come to an end.
    pub fn history_settled(&mut self, outcome: &Result<(), String>) {
        let historian = &mut self.aof.historian;
        historian.busy = false;
        historian.is_there = historian.writer.is_some();
        if let Err(reason) = outcome {
            log::warn!("The journal is not kept on disk: {reason}");
            historian.retry_at = self.monotonic + RETRY_AFTER;
        }
    }

    /// Where a history begins that is kept from now on, with a reader there.
    pub fn begin_history_here(&mut self) -> Option<(Position, crate::journal::cursor::Cursor)> {
        let cursor = self.begin_recording()?;
        Some((self.stream_position(), cursor))
    }
}
