//! How often each command ran, how long it took, how often it was refused.

use std::time::Duration;

use super::histogram::Histogram;

#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    pub calls: u64,
    pub nanos: u64,
    /// Not run: wrong arity, no permission, not in this state.
    pub rejected: u64,
    /// Run, and answered with an error.
    pub failed: u64,
    /// Kept where `latency-tracking` is on.
    pub latencies: Histogram,
}

impl CommandStats {
    pub fn ran(&mut self, took: Duration, track_latency: bool) {
        self.calls += 1;
        self.nanos += took.as_nanos() as u64;
        if track_latency {
            self.latencies.note(took);
        }
    }
}
