//! Rewrites of the AOF: which one is running, how the last ones ended, when the next one is due.
//!
//! Nothing is started here: [`super::rewriting`] does that. After some failures in a row the rewrites that nobody asked for
//! wait longer and longer, because each one leaves one more segment behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::aof::writer::Writer;
use crate::memory;
use crate::snapshot::walk::Progress;

use super::persistence::Cancelled;

/// Progress and results of rewrites, as INFO persistence shows them.
pub struct Rewrites {
    pub running: Option<RunningRewrite>,
    /// One begins as soon as it may.
    pub scheduled: bool,
    pub last_status_ok: bool,
    pub last_took: Option<Duration>,
    /// The most that the last one retained.
    pub last_retained_bytes: u64,
    /// Rewrites begun; also the number of the last one.
    pub begun: u64,
    pub consecutive_failures: u32,
    last_failure: Duration,
    /// Size of the set when the last rewrite ended: what growth is measured against. Before there was one, that is the base.
    pub size_after_last_bytes: Option<u64>,
    /// Rung by the writer where it could not go over to another history.
    pub alarm: Alarm,
    /// The last writer that was told to close its set, and since when.
    pub closing: Option<(Writer, Duration)>,
    /// Held while a base is written: who wants nothing left of it waits for this.
    pub turn: Arc<Mutex<()>>,
}

/// Rung on one thread, heard on another.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<AtomicBool>);

impl Alarm {
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has been raised since the last look.
    pub fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// What a new base is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A shorter set: the segment that begins with the snapshot goes on.
    Compact,
    /// The AOF has been switched on, or what it held has become worthless: the snapshot begins the set.
    Begin,
    /// The AOF is off: a base that nothing follows.
    Alone,
}

/// A snapshot on its way to become a base.
pub struct RunningRewrite {
    /// Tells rewrites apart, so that the end of an abandoned one is not taken for that of the next.
    pub number: u64,
    pub purpose: Purpose,
    pub started: Duration,
    pub keys_total: u64,
    pub progress: Progress,
    /// The snapshot has been taken.
    pub taken: bool,
    /// [`memory::copied_bytes`] at that moment.
    pub copied_at_start: u64,
    pub cancelled: Cancelled,
}

/// Failures in a row after which rewrites wait.
const FAILURES_FREE: u32 = 3;

const WAIT_MINUTES_MAX: u64 = 60;

impl RunningRewrite {
    /// The most that the snapshot retains of what has changed since.
    pub fn retained_bytes(&self) -> u64 {
        match self.taken {
            true => memory::copied_bytes() - self.copied_at_start,
            false => 0,
        }
    }

    pub fn keys_done(&self) -> u64 {
        self.progress.keys()
    }
}

impl Default for Rewrites {
    fn default() -> Self {
        Rewrites {
            running: None,
            scheduled: false,
            last_status_ok: true,
            last_took: None,
            last_retained_bytes: 0,
            begun: 0,
            consecutive_failures: 0,
            last_failure: Duration::ZERO,
            size_after_last_bytes: None,
            alarm: Alarm::default(),
            closing: None,
            turn: Arc::default(),
        }
    }
}

impl Rewrites {
    /// None may be running.
    pub fn begin(&mut self, purpose: Purpose, monotonic: Duration) {
        debug_assert!(self.running.is_none());
        self.begun += 1;
        self.scheduled = false;
        self.running = Some(RunningRewrite {
            number: self.begun,
            purpose,
            started: monotonic,
            keys_total: 0,
            progress: Progress::default(),
            taken: false,
            copied_at_start: 0,
            cancelled: Cancelled::default(),
        });
    }

    /// Ends the rewrite of that number and gives it back, unless it was abandoned before. `size_bytes` is that of the set
    /// afterwards, where the rewrite has made it another one.
    pub fn finish(
        &mut self,
        number: u64,
        size_bytes: Option<u64>,
        monotonic: Duration,
    ) -> Option<RunningRewrite> {
        let rewrite = self.running.take_if(|rewrite| rewrite.number == number)?;
        self.last_retained_bytes = rewrite.retained_bytes();
        self.last_took = Some(monotonic.saturating_sub(rewrite.started));
        self.last_status_ok = size_bytes.is_some();
        match size_bytes {
            Some(size_bytes) => {
                self.size_after_last_bytes = Some(size_bytes);
                self.consecutive_failures = 0;
            }
            None => {
                self.consecutive_failures += 1;
                self.last_failure = monotonic;
            }
        }
        Some(rewrite)
    }

    /// Gives up the running rewrite: it neither succeeds nor fails.
    pub fn abandon(&mut self) -> Option<RunningRewrite> {
        let rewrite = self.running.take()?;
        rewrite.cancelled.set();
        Some(rewrite)
    }

    /// [`memory::copied_bytes`] when the running one's snapshot was taken.
    pub fn copied_at_start(&self) -> Option<u64> {
        let running = self.running.as_ref().filter(|rewrite| rewrite.taken);
        running.map(|rewrite| rewrite.copied_at_start)
    }

    /// Somebody wants a rewrite whatever became of the last ones.
    pub fn forgive(&mut self) {
        self.consecutive_failures = 0;
    }

    /// How long rewrites that nobody asked for wait after the last failure; none before there were too many of them.
    pub fn wait_minutes(&self) -> Option<u64> {
        let excess = self.consecutive_failures.checked_sub(FAILURES_FREE)?;
        let minutes = 1_u64.checked_shl(excess).unwrap_or(WAIT_MINUTES_MAX);
        Some(minutes.clamp(1, WAIT_MINUTES_MAX))
    }

    pub fn may_try(&self, monotonic: Duration) -> bool {
        self.wait_minutes().is_none_or(|minutes| {
            monotonic.saturating_sub(self.last_failure) >= Duration::from_secs(minutes * 60)
        })
    }

    /// What growth is measured against, for a set with a base of `base_bytes`.
    pub fn size_before_growth(&self, base_bytes: u64) -> u64 {
        self.size_after_last_bytes.unwrap_or(base_bytes)
    }

    /// By how many percent a set of `size_bytes`, `base_bytes` of them its base, has grown, if that is enough for a rewrite
    /// now. `percentage` 0 never is.
    pub fn growth_due(
        &self,
        size_bytes: u64,
        base_bytes: u64,
        percentage: u32,
        size_min_bytes: u64,
        monotonic: Duration,
    ) -> Option<u64> {
        if percentage == 0
            || size_bytes <= size_min_bytes
            || self.running.is_some()
            || !self.may_try(monotonic)
        {
            return None;
        }
        let before = self.size_before_growth(base_bytes).max(1);
        let grown = u128::from(size_bytes) * 100 / u128::from(before);
        let growth = grown.checked_sub(100)?.min(u64::MAX.into()) as u64;
        (growth >= percentage.into()).then_some(growth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    /// Fails a rewrite at `at`, and returns how long the next one waits.
    fn fail(rewrites: &mut Rewrites, at: Duration) -> Option<u64> {
        rewrites.begin(Purpose::Compact, at);
        let number = rewrites.begun;
        assert!(rewrites.finish(number, None, at).is_some());
        rewrites.wait_minutes()
    }

    #[test]
    fn from_the_third_failure_in_a_row_on_rewrites_wait_twice_as_long_each_time_up_to_an_hour() {
        let mut rewrites = Rewrites::default();
        let waits: Vec<_> = (0..12)
            .map(|_| fail(&mut rewrites, minutes(100)).unwrap_or(0))
            .collect();
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert!(!rewrites.last_status_ok);
        for _ in 0..100 {
            assert_eq!(fail(&mut rewrites, minutes(100)), Some(60));
        }
        assert!(!rewrites.may_try(minutes(160) - Duration::from_millis(1)));
        assert!(rewrites.may_try(minutes(160)));
        rewrites.forgive();
        assert!(rewrites.may_try(minutes(100)));
    }

    #[test]
    fn a_success_ends_the_series_of_failures() {
        let mut rewrites = Rewrites::default();
        for _ in 0..3 {
            fail(&mut rewrites, minutes(1));
        }
        assert!(!rewrites.may_try(minutes(1)));
        rewrites.begin(Purpose::Compact, minutes(1));
        let ended = rewrites.finish(rewrites.begun, Some(70), minutes(4));
        assert_eq!(ended.map(|rewrite| rewrite.number), Some(4));
        assert!(rewrites.last_status_ok && rewrites.may_try(minutes(4)));
        assert_eq!(rewrites.last_took, Some(minutes(3)));
        assert_eq!(rewrites.consecutive_failures, 0);
    }

    #[test]
    fn growth_is_measured_against_the_size_after_the_last_rewrite() {
        let mut rewrites = Rewrites::default();
        let due = |rewrites: &Rewrites, size| rewrites.growth_due(size, 0, 100, 64, minutes(5));
        assert_eq!(due(&rewrites, 64), None, "not above the least size");
        assert_eq!(due(&rewrites, 65), Some(6400), "nothing counts as one byte");
        let with_base = rewrites.growth_due(300, 100, 100, 64, minutes(5));
        assert_eq!(with_base, Some(200), "nothing was rewritten so far");
        rewrites.size_after_last_bytes = Some(100);
        assert_eq!(due(&rewrites, 199), None);
        assert_eq!(due(&rewrites, 200), Some(100));
        assert_eq!(due(&rewrites, 99), None, "it may have become smaller");
        assert_eq!(rewrites.growth_due(1000, 0, 0, 64, minutes(5)), None);
        for _ in 0..3 {
            fail(&mut rewrites, minutes(5));
        }
        assert_eq!(due(&rewrites, 200), None, "too many failures");
        rewrites.forgive();
        rewrites.begin(Purpose::Compact, minutes(5));
        assert_eq!(due(&rewrites, 200), None, "one is running");
    }

    #[test]
    fn the_end_of_an_abandoned_rewrite_is_not_that_of_the_next() {
        let mut rewrites = Rewrites::default();
        rewrites.begin(Purpose::Begin, minutes(1));
        let abandoned = rewrites.abandon().expect("one is running");
        assert!(abandoned.cancelled.is_set());
        rewrites.begin(Purpose::Begin, minutes(2));
        assert!(rewrites.finish(1, None, minutes(3)).is_none());
        assert!(rewrites.last_status_ok && rewrites.running.is_some());
    }
}
