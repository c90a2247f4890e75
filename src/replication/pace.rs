//! When the stream passed which offset, roughly: tells how old the place is at which a replica stands.

use std::collections::VecDeque;
use std::time::Duration;

use crate::journal::position::Offset;

/// The end of the stream at moments of the past, in order. Recent ones are close together, older ones further apart.
#[derive(Debug, Default)]
pub struct Pace {
    /// Where the end stood until then.
    samples: VecDeque<(Offset, Duration)>,
}

impl Pace {
    /// The stream ends at `end` now.
    pub fn note(&mut self, end: Offset, now: Duration) {
        match self.samples.back_mut() {
            Some(last) if last.0 == end => last.1 = now,
            // Another history.
            Some(last) if last.0 > end => self.samples.clear(),
            _ => {}
        }
        if self.samples.back().is_none_or(|last| last.0 < end) {
            self.samples.push_back((end, now));
        }
        if self.samples.len() > SAMPLES_MAX {
            self.thin_out(now);
        }
    }

    /// Leaves samples whose distance is a small share of their age.
    fn thin_out(&mut self, now: Duration) {
        let mut kept = VecDeque::with_capacity(SAMPLES_MAX + 1);
        let mut later: Option<Duration> = None;
        for &(end, at) in self.samples.iter().rev() {
            let distance = later.map_or(Duration::MAX, |later| later.saturating_sub(at));
            if distance >= now.saturating_sub(at) / AGE_SHARE {
                kept.push_front((end, at));
                later = Some(at);
            }
        }
        self.samples = kept;
    }

    /// For how long there has been something behind `offset`; zero at the end.
    pub fn age(&self, offset: Offset, now: Duration) -> Duration {
        let reached = self.samples.partition_point(|(end, _)| *end <= offset);
        if reached == self.samples.len() {
            return Duration::ZERO;
        }
        let since = reached.saturating_sub(1);
        now.saturating_sub(self.samples[since].1)
    }
}

/// Enough for years at the distances that [`AGE_SHARE`] leaves.
const SAMPLES_MAX: usize = 2048;
const AGE_SHARE: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_place_is_the_time_since_the_stream_went_on_from_it() {
        let mut pace = Pace::default();
        let at = Duration::from_millis;
        for (end, ms) in [
            (100, 1000),
            (100, 1100),
            (150, 1200),
            (200, 1300),
            (200, 1400),
        ] {
            pace.note(Offset(end), at(ms));
        }
        assert_eq!(pace.age(Offset(200), at(5000)), Duration::ZERO);
        assert_eq!(pace.age(Offset(150), at(1500)), at(300));
        assert_eq!(pace.age(Offset(149), at(1500)), at(400));
        assert_eq!(pace.age(Offset(0), at(1500)), at(400));
        for step in 0..100_000 {
            pace.note(Offset(300 + step), at(2000 + 100 * step as u64));
        }
        assert!(pace.samples.len() <= SAMPLES_MAX);
        let age = pace.age(Offset(300 + 90_000), at(2000 + 100 * 100_000));
        assert!(age > at(980_000) && age < at(1_020_000), "{age:?}");
    }
}
