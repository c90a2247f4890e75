//! What has been saved, what is being saved, what is due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clients::ClientKey;
use crate::clock::UnixMillis;
use crate::config::values::SavePoint;
use crate::memory;
use crate::snapshot::loading::Counts;
use crate::snapshot::walk::Progress;

use super::snapshots::SaveJob;

/// Progress and results of snapshots to disk, as INFO persistence shows them.
pub struct Persistence {
    /// Changes since the last successful save.
    pub dirty: u64,
    pub last_save_unix: i64,
    /// Whether the last background save went well, or any save since.
    pub last_status_ok: bool,
    /// How long the last background save took.
    pub last_took: Option<Duration>,
    /// The most that the last one retained.
    pub last_retained_bytes: u64,
    /// Saves begun.
    pub saves: u64,
    pub running: Option<RunningSave>,
    /// Saves whose snapshot has been taken, for the task that carries them out; abandoned ones too, so that they are freed
    /// off the lock.
    pub due: Vec<SaveJob>,
    pub scheduled: bool,
    /// When the last background save began.
    pub last_attempt: Option<Duration>,
    /// Of the load that runs, or ran last, from a file or from a master.
    pub last_load_expired: u64,
    pub last_load_loaded: u64,
    pub loading: Option<Loading>,
    /// How long the last snapshot held the lock to begin: what fork costs others.
    pub last_start_nanos: u64,
    pub snapshots: u64,
    /// When the log was told last that writes of our master are applied which cannot be saved.
    pub warned_unsaved: Option<Duration>,
    /// Held while the file is written: of two saves, the one that began first ends first.
    pub turn: Arc<Mutex<()>>,
}

/// A snapshot on its way to the RDB file.
pub struct RunningSave {
    /// Tells saves apart, so that the end of an abandoned one is not taken for that of the next.
    pub number: u64,
    pub asker: Asker,
    pub started: Duration,
    pub keys_total: u64,
    pub progress: Progress,
    /// `dirty` when the snapshot was taken: what a success takes off.
    pub dirty_at_start: u64,
    /// The snapshot has been taken.
    pub taken: bool,
    /// [`memory::copied_bytes`] at that moment.
    pub copied_at_start: u64,
    pub cancelled: Cancelled,
}

/// Who waits for the end of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// BGSAVE, a save point.
    Nobody,
    /// SAVE.
    Save(ClientKey),
    /// FLUSHALL: it has done its work whatever becomes of the file.
    Flush(ClientKey),
    /// SHUTDOWN, DEBUG RELOAD: a task of ours.
    Task,
}

/// Set once nobody wants a save any more; seen by the thread that writes.
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
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

impl RunningSave {
    pub fn is_background(&self) -> bool {
        self.asker == Asker::Nobody
    }

    /// The most that the snapshot retains of what has changed since.
    pub fn retained_bytes(&self) -> u64 {
        if self.taken {
            memory::copied_bytes() - self.copied_at_start
        } else {
            0
        }
    }

    pub fn keys_done(&self) -> u64 {
        self.progress.keys()
    }
}

impl Persistence {
    pub fn new(now: UnixMillis) -> Self {
        Persistence {
            dirty: 0,
            last_save_unix: now.seconds(),
            last_status_ok: true,
            last_took: None,
            last_retained_bytes: 0,
            saves: 0,
            running: None,
            due: Vec::new(),
            scheduled: false,
            last_attempt: None,
            last_load_expired: 0,
            last_load_loaded: 0,
            loading: None,
            last_start_nanos: 0,
            snapshots: 0,
            warned_unsaved: None,
            turn: Arc::default(),
        }
    }

    /// Notes what the present load has brought so far.
    pub fn count_load(&mut self, counts: Counts) {
        self.last_load_loaded = counts.keys;
        self.last_load_expired = counts.expired;
    }

    /// The background save that is running, for INFO.
    pub fn background_save(&self) -> Option<&RunningSave> {
        self.running.as_ref().filter(|save| save.is_background())
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

    pub fn begin(&mut self, asker: Asker, monotonic: Duration) {
        self.saves += 1;
        if asker == Asker::Nobody {
            self.last_attempt = Some(monotonic);
        }
        self.running = Some(RunningSave {
            number: self.saves,
            asker,
            started: monotonic,
            keys_total: 0,
            progress: Progress::default(),
            dirty_at_start: 0,
            taken: false,
            copied_at_start: 0,
            cancelled: Cancelled::default(),
        });
    }

    /// Ends the save of that number and gives it back, unless it was abandoned before.
    pub fn finish(
        &mut self,
        number: u64,
        ok: bool,
        now: UnixMillis,
        monotonic: Duration,
    ) -> Option<RunningSave> {
        let save = self.running.take_if(|save| save.number == number)?;
        self.last_retained_bytes = save.retained_bytes();
        if save.is_background() {
            self.last_status_ok = ok;
            self.last_took = Some(monotonic.saturating_sub(save.started));
        }
        if ok {
            self.last_status_ok = true;
            self.dirty = self.dirty.saturating_sub(save.dirty_at_start);
            self.last_save_unix = now.seconds();
        }
        Some(save)
    }

    /// Gives up the running save: it neither succeeds nor fails.
    pub fn abandon(&mut self) -> Option<RunningSave> {
        let save = self.running.take()?;
        save.cancelled.set();
        Some(save)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_save_point_is_due_after_its_time_and_its_changes_and_not_right_after_a_failure() {
        let points = [SavePoint {
            seconds: 60,
            changes: 10,
        }];
        let mut persistence = Persistence::new(NOW);
        let later = UnixMillis(NOW.0 + 61_000);
        assert_eq!(persistence.due(&points, later, seconds(61)), None);
        persistence.dirty = 10;
        assert_eq!(persistence.due(&points, NOW, seconds(0)), None);
        assert_eq!(
            persistence.due(&points, later, seconds(61)),
            Some(points[0])
        );
        persistence.begin(Asker::Nobody, seconds(61));
        assert_eq!(persistence.due(&points, later, seconds(61)), None);
        let number = persistence.running.as_ref().map(|save| save.number);
        persistence.finish(number.unwrap_or(0), false, later, seconds(62));
        assert_eq!(persistence.due(&points, later, seconds(66)), None);
        assert!(persistence.due(&points, later, seconds(67)).is_some());
    }

    #[test]
    fn success_takes_off_what_was_dirty_when_the_snapshot_was_taken() {
        let mut persistence = Persistence::new(NOW);
        persistence.dirty = 7;
        persistence.begin(Asker::Nobody, seconds(1));
        if let Some(save) = &mut persistence.running {
            save.dirty_at_start = 5;
        }
        let ended = persistence.finish(1, true, UnixMillis(NOW.0 + 5000), seconds(4));
        assert!(ended.is_some());
        assert_eq!(
            (persistence.dirty, persistence.last_took),
            (2, Some(seconds(3)))
        );
        assert_eq!(persistence.last_save_unix, NOW.seconds() + 5);
    }

    #[test]
    fn a_failed_save_in_the_foreground_blames_nobody_and_a_good_one_clears_the_blame() {
        let mut persistence = Persistence::new(NOW);
        persistence.begin(Asker::Task, seconds(1));
        persistence.finish(1, false, NOW, seconds(1));
        assert!(persistence.last_status_ok);
        persistence.begin(Asker::Nobody, seconds(1));
        persistence.finish(2, false, NOW, seconds(1));
        assert!(!persistence.last_status_ok);
        persistence.begin(Asker::Task, seconds(1));
        persistence.finish(3, true, NOW, seconds(1));
        assert!(persistence.last_status_ok);
    }

    #[test]
    fn the_end_of_an_abandoned_save_is_not_that_of_the_next() {
        let mut persistence = Persistence::new(NOW);
        persistence.begin(Asker::Nobody, seconds(1));
        let abandoned = persistence.abandon().expect("one is running");
        assert!(abandoned.cancelled.is_set());
        persistence.begin(Asker::Nobody, seconds(2));
        assert!(persistence.finish(1, false, NOW, seconds(3)).is_none());
        assert!(persistence.last_status_ok && persistence.running.is_some());
    }
}
