//! Counts of durations in buckets that are a sixteenth as wide as the durations in them: quantiles to within 6 %, for
//! 4.6 KiB and a few instructions a duration.
//!
//! Durations below 16 ns have a bucket each; from there on every power of two is cut into sixteen. What is longer than
//! 18 minutes counts as that.

use std::time::Duration;

/// Sixteen buckets for each power of two.
const CUT_BITS: u32 = 4;
const CUT: u64 = 1 << CUT_BITS;
const NANOS_MAX_POWER: u32 = 40;
const NANOS_MAX: u64 = (1 << NANOS_MAX_POWER) - 1;
const BUCKETS: usize = bucket_of(NANOS_MAX) + 1;

/// The buckets are allocated by the first duration.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Option<Box<[u64; BUCKETS]>>,
    count: u64,
    longest: Duration,
}

impl Histogram {
    pub fn note(&mut self, took: Duration) {
        let nanos = (took.as_nanos() as u64).min(NANOS_MAX);
        let buckets = self.buckets.get_or_insert_with(|| Box::new([0; BUCKETS]));
        buckets[bucket_of(nanos)] += 1;
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Durations of less than two to the power of so many nanoseconds, at least 16.
    pub fn count_below_power(&self, power: u32) -> u64 {
        let buckets = self.buckets.iter().flat_map(|buckets| buckets.iter());
        let below = bucket_of(1 << power.clamp(CUT_BITS, NANOS_MAX_POWER));
        buckets.take(below).sum()
    }

    /// The duration that `percent` of all durations do not exceed, rounded up to the end of its bucket.
    pub fn percentile(&self, percent: f64) -> Duration {
        let wanted =
            ((percent / 100.0 * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self
            .buckets
            .iter()
            .flat_map(|buckets| buckets.iter().enumerate())
        {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(last_of(bucket)).min(self.longest);
            }
        }
        Duration::ZERO
    }
}

const fn bucket_of(nanos: u64) -> usize {
    if nanos < CUT {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - CUT_BITS;
    ((shift as u64 + 1) * CUT + (nanos >> shift) % CUT) as usize
}

/// The longest duration of a bucket, in nanoseconds.
const fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < CUT {
        return bucket;
    }
    let shift = bucket / CUT - 1;
    ((CUT + bucket % CUT + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for bucket in 0..BUCKETS {
            let last = last_of(bucket);
            assert_eq!(bucket_of(last), bucket);
            assert_eq!(bucket_of(last + 1), bucket + 1);
        }
        assert_eq!(last_of(BUCKETS - 1), NANOS_MAX);
    }

    #[test]
    fn percentiles_are_near_those_of_the_sorted_durations() {
        let (mut random, mut histogram) = (Random::from_seed(5), Histogram::default());
        let mut all: Vec<u64> = (0..10_000)
            .map(|_| {
                let bits = random.below(36);
                random.below(1 << bits)
            })
            .collect();
        for nanos in &all {
            histogram.note(Duration::from_nanos(*nanos));
        }
        all.sort_unstable();
        for percent in [0.0, 1.0, 50.0, 99.0, 99.9, 100.0] {
            let exact = all[((percent / 100.0 * 10_000.0) as usize).clamp(1, 10_000) - 1];
            let told = histogram.percentile(percent).as_nanos() as u64;
            assert!(
                told >= exact && told <= exact + exact / 16,
                "{percent}: {told}, {exact}"
            );
        }
        for power in [4, 10, 20, 40, 50] {
            let below = all.partition_point(|&nanos| nanos < 1 << power);
            assert_eq!(histogram.count_below_power(power), below as u64);
        }
        assert_eq!(histogram.longest().as_nanos() as u64, all[9_999]);
        assert_eq!(Histogram::default().percentile(50.0), Duration::ZERO);
    }

    #[test]
    fn what_takes_too_long_counts_as_the_longest_that_there_is() {
        let mut histogram = Histogram::default();
        histogram.note(Duration::from_secs(1 << 40));
        assert_eq!(histogram.percentile(50.0), Duration::from_nanos(NANOS_MAX));
    }
}
