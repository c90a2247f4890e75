//! Waiting for a condition with a deadline, instead of sleeping for a duration and hoping.

use std::thread;
use std::time::{Duration, Instant};

/// Polls until `condition` holds; panics after 30 seconds, naming what was awaited.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(Duration::from_secs(30), what, condition);
}

#[track_caller]
pub fn until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    while !condition() {
        assert!(
            start.elapsed() < limit,
            "waited {limit:?} in vain until {what}"
        );
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(25));
    }
}

/// Holds for the whole span: panics as soon as `condition` fails. For things that must not happen.
#[track_caller]
pub fn holds_for(span: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < span {
        assert!(condition(), "did not hold for {span:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
