//! What has been saved, what is being saved, what is due.

use std::time::Duration;

use crate::clock::UnixMillis;
use crate::config::values::SavePoint;

/// Progress and results of snapshots to disk, as INFO persistence shows them.
pub struct Persistence {
    /// Changes since the last successful save.
    pub dirty: u64,
    pub last_save_unix: i64,
    pub last_status_ok: bool,
    pub last_took: Option<Duration>,
    pub saves: u64,
    pub running: Option<RunningSave>,
    pub scheduled: bool,
    pub last_attempt: Option<Duration>,
    pub last_load_expired: u64,
    pub last_load_loaded: u64,
    pub loading: Option<Loading>,
    /// How long the last snapshot held the lock to begin: what fork costs others.
    pub last_start_nanos: u64,
    pub snapshots: u64,
}

/// A snapshot on its way to disk or replicas.
pub struct RunningSave {
    pub started: Duration,
    pub keys_total: u64,
    pub keys_done: u64,
    /// `dirty` when it began: what a success takes off.
    pub dirty_at_start: u64,
}

/// A dataset on its way in.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    pub started_unix: i64,
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    pub used_mem: u64,
    /// The old dataset is being served meanwhile.
    pub serving: bool,
}

/// After a failed save the next automatic one waits so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Persistence {
    pub fn new(now: UnixMillis) -> Self {
        Persistence {
            dirty: 0,
            last_save_unix: now.seconds(),
            last_status_ok: true,
            last_took: None,
            saves: 0,
            running: None,
            scheduled: false,
            last_attempt: None,
            last_load_expired: 0,
            last_load_loaded: 0,
            loading: None,
            last_start_nanos: 0,
            snapshots: 0,
        }
    }

    /// The save point that is due now, if one is.
    pub fn due(
        &self,
        points: &[SavePoint],
        now: UnixMillis,
        monotonic: Duration,
    ) -> Option<SavePoint> {
        if self.running.is_some() || !self.may_try(monotonic) {
            return None;
        }
        let since = now.seconds().saturating_sub(self.last_save_unix);
        points
            .iter()
            .copied()
            .find(|point| self.dirty >= point.changes && since > point.seconds as i64)
    }

    /// Whether enough time has passed since a failed attempt.
    pub fn may_try(&self, monotonic: Duration) -> bool {
        self.last_status_ok
            || self
                .last_attempt
                .is_none_or(|at| monotonic.saturating_sub(at) > RETRY_AFTER)
    }

    pub fn begin(&mut self, keys_total: u64, monotonic: Duration) {
        self.last_attempt = Some(monotonic);
        self.running = Some(RunningSave {
            started: monotonic,
            keys_total,
            keys_done: 0,
            dirty_at_start: self.dirty,
        });
    }

    /// Ends what [`Persistence::begin`] began.
    pub fn finish(&mut self, ok: bool, now: UnixMillis, monotonic: Duration) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.last_status_ok = ok;
        self.last_took = Some(monotonic.saturating_sub(running.started));
        if ok {
            self.dirty = self.dirty.saturating_sub(running.dirty_at_start);
            self.last_save_unix = now.seconds();
            self.saves += 1;
        }
    }
}
