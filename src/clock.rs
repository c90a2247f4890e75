//! The only reader of the operating system's time. Tests set it by hand.
//!
//! Two notions that never mix: the wall clock ([`UnixMillis`], what expiry and logs speak of; it may jump) and the
//! monotonic clock (a [`Duration`] since an arbitrary start, what deadlines and latencies are measured with).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// A source of time: the system's, or one that a test turns by hand. Clones share the same source.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { start: Instant },
    Manual(Arc<Hands>),
}

struct Hands {
    unix_millis: AtomicI64,
    monotonic_nanos: AtomicU64,
}

impl Clock {
    pub fn system() -> Self {
        Clock(Source::System {
            start: Instant::now(),
        })
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(now: UnixMillis) -> Self {
        Clock(Source::Manual(Arc::new(Hands {
            unix_millis: AtomicI64::new(now.0),
            monotonic_nanos: AtomicU64::new(0),
        })))
    }

    pub fn unix_millis(&self) -> UnixMillis {
        UnixMillis(self.unix_micros() / 1000)
    }

    /// Microseconds since the Unix epoch, for TIME and MONITOR. A manual clock has millisecond steps.
    pub fn unix_micros(&self) -> i64 {
        match &self.0 {
            Source::System { .. } => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_micros() as i64),
            Source::Manual(hands) => hands.unix_millis.load(Ordering::Relaxed) * 1000,
        }
    }

    /// Time since an arbitrary start; never goes back.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { start } => start.elapsed(),
            Source::Manual(hands) => {
                Duration::from_nanos(hands.monotonic_nanos.load(Ordering::Relaxed))
            }
        }
    }

    /// Moves both hands of a manual clock. Does nothing to the system's clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands
                .unix_millis
                .fetch_add(by.as_millis() as i64, Ordering::Relaxed);
            hands
                .monotonic_nanos
                .fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}
