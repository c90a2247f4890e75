//! When the log is synced, by whom, and what a sync that fails or takes long means.

use std::time::Duration;

use crate::aof::durability::Policy;
use crate::aof::log::LogError;
use crate::journal::position::Offset;

use super::{Driver, reason};

/// Under `everysec`.
pub(super) const SYNC_EVERY: Duration = Duration::from_secs(1);

/// A write that meets a sync of this age is counted as delayed by it, as Redis counts.
const SYNC_IS_SLOW: Duration = Duration::from_secs(2);

impl Driver {
    /// Syncs here and now.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        let began = self.clock.monotonic();
        let outcome = self.log.sync();
        if self.policy() == Policy::Always {
            self.note_latency("aof-fsync-always", began);
        }
        outcome?;
        self.orders.tell(|status| {
            status.syncs += 1;
            status.sync_error = None;
        });
        self.note_synced();
        Ok(())
    }

    pub(super) fn note_synced(&mut self) {
        let at = self.log.synced();
        self.kept.clear();
        self.synced_at = self.clock.monotonic();
        if let Some(cursor) = &self.cursor {
            cursor.confirm(at);
            self.durability.raise_synced(at);
        }
    }

    pub(super) fn sync_if_due(&mut self) {
        if self.log.synced() >= self.log.end() || self.clock.monotonic() < self.retry_at {
            return;
        }
        match self.policy() {
            Policy::Off | Policy::System => {}
            Policy::Always => {
                if let Err(error) = self.sync() {
                    self.sync_failed(&error);
                }
            }
            Policy::EverySecond if self.orders.spares_disk() => {}
            Policy::EverySecond => {
                let now = self.clock.monotonic();
                let waited = now.saturating_sub(self.synced_at) >= SYNC_EVERY;
                if waited && self.syncer.busy_since().is_none() {
                    match self.log.sync_job() {
                        Ok(job) => {
                            self.durability.set_busy(true);
                            self.orders.tell(|status| status.pending_syncs = 1);
                            self.syncer.begin(job, now);
                        }
                        Err(error) => self.failed(&error),
                    }
                }
            }
        }
    }

    /// A sync under `always` has failed: what the system still had may be gone, so it is written again.
    pub(super) fn sync_failed(&mut self, error: &LogError) {
        self.failed(error);
        if !self.kept.is_empty() && self.kept_from == self.log.synced() {
            self.log.cut_back();
            self.orders.archive().set_written(self.log.end());
            let later = std::mem::replace(&mut self.parts, std::mem::take(&mut self.kept));
            self.parts.extend(later);
            self.parts_bytes = self.parts.iter().map(|part| part.len() as u64).sum();
        }
    }

    /// The parts have been appended behind `from`. Under `always` they stay at hand until they are on disk.
    pub(super) fn keep_until_synced(&mut self, from: Offset) {
        self.parts_bytes = 0;
        if self.policy() != Policy::Always {
            self.parts.clear();
            self.kept.clear();
            return;
        }
        if self.kept.is_empty() {
            self.kept_from = from;
        }
        self.kept.append(&mut self.parts);
    }

    pub(super) fn fetch_sync(&mut self) {
        let Some((job, outcome)) = self.syncer.fetch() else {
            return;
        };
        self.durability.set_busy(false);
        self.delayed_since = None;
        match outcome {
            Ok(()) => {
                self.log.note_synced(&job);
                self.orders.tell(|status| {
                    status.pending_syncs = 0;
                    status.syncs += 1;
                    status.sync_error = None;
                });
                self.note_synced();
            }
            Err(error) => {
                let reason = reason(&error);
                self.synced_at = self.clock.monotonic();
                log::warn!("Error syncing the AOF file: {reason}");
                self.orders.tell(|status| {
                    status.pending_syncs = 0;
                    status.sync_error = Some(reason);
                });
            }
        }
    }

    /// For the latency monitor: what began then has ended.
    pub(super) fn note_latency(&self, event: &'static str, began: Duration) {
        let took = self.clock.monotonic().saturating_sub(began);
        let unix_seconds = self.clock.unix_millis().seconds();
        self.orders.note_latency(event, unix_seconds, took);
    }

    /// A write has ended: as such, and by what the disk had to do besides.
    pub(super) fn note_write_latency(&self, began: Duration) {
        let besides = if self.syncer.busy_since().is_some() {
            "aof-write-pending-fsync"
        } else if self.orders.is_snapshot_written() {
            "aof-write-active-child"
        } else {
            "aof-write-alone"
        };
        self.note_latency("aof-write", began);
        self.note_latency(besides, began);
    }

    /// Counts writes that meet a slow sync.
    pub(super) fn count_delay(&mut self) {
        if self.syncer.busy_since().is_none() {
            self.delayed_since = None;
            return;
        }
        let now = self.clock.monotonic();
        let since = *self.delayed_since.get_or_insert(now);
        if now.saturating_sub(since) >= SYNC_IS_SLOW {
            self.delayed_since = Some(now);
            self.orders.tell(|status| status.delayed_syncs += 1);
            log::info!(
                "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting \
                 for fsync to complete."
            );
        }
    }
}
