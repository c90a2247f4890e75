//! When the log is synced, by whom, and what a sync that fails or takes long means.

use std::time::Duration;

use crate::aof::durability::Policy;
use crate::aof::log::LogError;
use crate::journal::position::Offset;

use super::{Driver, reason};

/// Under `everysec`.
pub(super) const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What may be kept for the case that a sync fails: so much is a reason to sync, and while that lasts nothing more is written.
pub(super) const KEPT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The longest wait for others to join a sync.
const GATHER_MAX: Duration = Duration::from_millis(1);

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
        if let Err(error) = outcome {
            self.write_again_if_lost();
            return Err(error);
        }
        self.orders.tell(|status| {
            status.syncs += 1;
            status.sync_error = None;
        });
        self.note_synced();
        Ok(())
    }

    pub(super) fn note_synced(&mut self) {
        let at = self.log.synced();
        self.forget_kept(at);
        self.synced_at = self.clock.monotonic();
        if let Some(cursor) = &self.cursor {
            cursor.confirm(at);
            self.durability.raise_synced(at);
        }
    }

    pub(super) fn sync_if_due(&mut self) {
        if self.log.synced() >= self.log.end()
            || self.clock.monotonic() < self.retry_at
            || self.syncer.busy_since().is_some()
        {
            return;
        }
        match self.policy() {
            Policy::Off | Policy::System => {}
            Policy::Always => self.sync_together(),
            Policy::EverySecond if self.orders.spares_disk() => {}
            Policy::EverySecond => {
                let now = self.clock.monotonic();
                let waited = now.saturating_sub(self.synced_at) >= SYNC_EVERY;
                if waited || self.kept_bytes() >= KEPT_BYTES_MAX {
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

    /// Under `always`: those who were answered by the last sync are about to write again, and a sync that waits a moment for them
    /// serves everybody, where one at once would serve half of them and make the others wait for the next.
    fn sync_together(&mut self) {
        let began = self.clock.monotonic();
        let waiting = self.durability.waiting();
        if began < self.gather_until && waiting < self.gathered {
            return;
        }
        if let Err(error) = self.sync() {
            self.failed(&error);
        }
        let ended = self.clock.monotonic();
        self.gathered = waiting;
        self.gather_until = ended + (ended.saturating_sub(began) / 2).min(GATHER_MAX);
    }

    /// After a sync that failed the system may have dropped what it had not written, and the next sync works without it. So
    /// the file is cut back to what is certain, and what followed is written again.
    pub(super) fn write_again_if_lost(&mut self) {
        // What an order has synced before it failed counts.
        self.forget_kept(self.log.synced());
        // Under `no` nothing is kept, and the system is believed.
        let is_kept = !self.kept.is_empty() && self.kept_from == self.log.synced();
        if !self.log.sync_has_failed() || !is_kept {
            return;
        }
        self.log.cut_back();
        self.orders.archive().set_written(self.log.end());
        self.kept.extend(self.parts.drain(..));
        self.parts.extend(self.kept.drain(..));
        self.parts_bytes = self.parts.iter().map(|part| part.len() as u64).sum();
    }

    /// The parts have been appended behind `from`. They stay at hand until they are on disk, where that is our business.
    pub(super) fn keep_until_synced(&mut self, from: Offset) {
        self.parts_bytes = 0;
        if self.policy() == Policy::System || self.orders.spares_disk() {
            self.parts.clear();
            self.kept.clear();
            return;
        }
        if self.kept.is_empty() {
            self.kept_from = from;
        }
        self.kept.extend(self.parts.drain(..));
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        match self.kept.is_empty() {
            true => 0,
            false => self.log.end().since(self.kept_from),
        }
    }

    /// What is before `to` is on disk.
    fn forget_kept(&mut self, to: Offset) {
        while let Some(part) = self.kept.front_mut()
            && self.kept_from < to
        {
            let done = (part.len() as u64).min(to.since(self.kept_from)) as usize;
            self.kept_from = self.kept_from.plus(done);
            if done < part.len() {
                *part = part.slice(done..);
            } else {
                self.kept.pop_front();
            }
        }
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
                self.log.note_sync_failed(&job);
                self.write_again_if_lost();
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
