//! How often each command ran, how long it took, how often it was refused.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub struct CommandStats {
    pub calls: u64,
    pub nanos: u64,
    pub rejected: u64,
    pub failed: u64,
}

impl CommandStats {
    pub fn ran(&mut self, took: Duration) {
        self.calls += 1;
        self.nanos += took.as_nanos() as u64;
    }
}

/// Counts of durations by powers of two of microseconds: how long the engine was held, kept by itself.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: [u64; 32],
    pub longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: [0; 32],
            longest: Duration::ZERO,
        }
    }
}

impl Histogram {
    pub fn note(&mut self, took: Duration) {
        let micros = took.as_micros() as u64;
        let bucket = (64 - micros.leading_zeros()).min(31) as usize;
        self.buckets[bucket] += 1;
        self.longest = self.longest.max(took);
    }

    /// Upper bounds in microseconds and counts of the buckets in use.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| (1 << bucket, *count))
    }

    /// The bound below which `permille` of the durations lie, in microseconds.
    pub fn quantile_micros(&self, permille: u64) -> u64 {
        let total: u64 = self.buckets.iter().sum();
        let mut left = total * permille / 1000;
        for (bound, count) in self.iter() {
            if count >= left {
                return bound;
            }
            left -= count;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_is_above_them() {
        let mut histogram = Histogram::default();
        for micros in [0, 1, 2, 3, 1000] {
            histogram.note(Duration::from_micros(micros));
        }
        assert_eq!(
            histogram.iter().collect::<Vec<_>>(),
            [(1, 1), (2, 1), (4, 2), (1024, 1)]
        );
        assert_eq!(histogram.quantile_micros(1000), 1024);
        assert_eq!(histogram.longest, Duration::from_millis(1));
    }
}
