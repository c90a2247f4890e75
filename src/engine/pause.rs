//! CLIENT PAUSE and its like: which requests wait, until when.

use std::time::Duration;

/// What a pause stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Commands that write or may replicate.
    Write,
    /// All commands of ordinary clients.
    All,
}

/// Who pauses: each purpose has a pause of its own, and the strictest of all holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// CLIENT PAUSE.
    Client = 0,
    /// SHUTDOWN waits for replicas.
    Shutdown = 1,
    /// DEBUG RELOAD puts one dataset in place of another.
    Reload = 2,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    mode: PauseMode,
    until: Duration,
}

#[derive(Default)]
pub struct Pauses {
    by_purpose: [Option<Pause>; 3],
}

impl Pauses {
    /// A pause in force is only ever made longer and stricter.
    pub fn pause(&mut self, purpose: Purpose, mode: PauseMode, until: Duration, now: Duration) {
        let place = &mut self.by_purpose[purpose as usize];
        let old = place.filter(|pause| pause.until > now);
        *place = Some(Pause {
            mode: old.map_or(mode, |pause| pause.mode.max(mode)),
            until: old.map_or(until, |pause| pause.until.max(until)),
        });
    }

    pub fn unpause(&mut self, purpose: Purpose) {
        self.by_purpose[purpose as usize] = None;
    }

    /// The strictest mode in force.
    pub fn mode(&self, now: Duration) -> Option<PauseMode> {
        self.by_purpose
            .iter()
            .flatten()
            .filter(|pause| pause.until > now)
            .map(|pause| pause.mode)
            .max()
    }

    /// When the last pause ends.
    pub fn until(&self, now: Duration) -> Option<Duration> {
        self.by_purpose
            .iter()
            .flatten()
            .map(|pause| pause.until)
            .filter(|until| *until > now)
            .max()
    }

    /// Forgets pauses that are over; true if that ended the last one.
    pub fn end_if_over(&mut self, now: Duration) -> bool {
        let was_paused = self.by_purpose.iter().any(Option::is_some);
        for pause in &mut self.by_purpose {
            *pause = pause.filter(|pause| pause.until > now);
        }
        was_paused && self.by_purpose.iter().all(Option::is_none)
    }

    /// While anything is paused the offset stands still: no expiry, no eviction, no PING.
    pub fn stop_expiry(&self, now: Duration) -> bool {
        self.by_purpose.iter().any(Option::is_some) && self.mode(now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_and_longest_holds() {
        let s = Duration::from_secs;
        let mut pauses = Pauses::default();
        pauses.pause(Purpose::Client, PauseMode::All, s(5), s(0));
        pauses.pause(Purpose::Client, PauseMode::Write, s(9), s(1));
        assert_eq!(
            (pauses.mode(s(8)), pauses.until(s(1))),
            (Some(PauseMode::All), Some(s(9)))
        );
        assert_eq!(pauses.mode(s(9)), None);
        pauses.pause(Purpose::Client, PauseMode::Write, s(20), s(10));
        pauses.pause(Purpose::Shutdown, PauseMode::All, s(30), s(10));
        pauses.unpause(Purpose::Shutdown);
        assert_eq!(pauses.mode(s(11)), Some(PauseMode::Write));
    }
}
