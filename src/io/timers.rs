//! Who wants to be woken when: the reactor's deadlines in order.
//!
//! A timer that is given up is taken out at once, so the table is never larger than the number of tasks that wait.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

/// Deadlines on the monotonic clock; equal ones fire in the order in which they came.
#[derive(Default)]
pub struct Timers {
    waiting: BTreeMap<TimerKey, Waker>,
    issued: u64,
}

/// A deadline, and a number that makes it unique.
pub type TimerKey = (Duration, u64);

impl Timers {
    pub fn insert(&mut self, deadline: Duration, waker: Waker) -> TimerKey {
        self.issued += 1;
        let key = (deadline, self.issued);
        self.waiting.insert(key, waker);
        key
    }

    /// The waker of a timer that has not fired, to be replaced when its task has moved.
    pub fn waker(&mut self, key: TimerKey) -> Option<&mut Waker> {
        self.waiting.get_mut(&key)
    }

    pub fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        self.waiting.remove(&key)
    }

    pub fn earliest(&self) -> Option<Duration> {
        self.waiting.keys().next().map(|(deadline, _)| *deadline)
    }

    /// Takes out one timer that is due.
    pub fn pop_due(&mut self, now: Duration) -> Option<Waker> {
        let entry = self.waiting.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_not_before_they_are_due() {
        let mut timers = Timers::default();
        let second = Duration::from_secs(1);
        timers.insert(second * 3, Waker::noop().clone());
        let given_up = timers.insert(second, Waker::noop().clone());
        timers.insert(second * 2, Waker::noop().clone());
        assert_eq!(timers.earliest(), Some(second));
        assert!(timers.remove(given_up).is_some());
        assert_eq!(timers.earliest(), Some(second * 2));
        assert!(timers.pop_due(second).is_none());
        assert!(timers.pop_due(second * 3).is_some());
        assert_eq!(timers.earliest(), Some(second * 3));
        assert!(timers.pop_due(second * 3).is_some());
        assert!(timers.pop_due(second * 3).is_none());
    }
}
