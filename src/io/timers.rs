//! Waiting for a moment, in a task of the reactor.
//!
//! A timer that is given up is taken out at once, so the table is never larger than the number of tasks that wait.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::reactor::{Local, current};

/// Waits until the clock of the reactor that polls the caller has reached `deadline`, a monotonic time as [`now`] gives it.
/// Late by up to a millisecond, never early.
///
/// [`now`]: super::reactor::now
///
/// # Panics
/// Outside a reactor's task.
pub fn sleep_until(deadline: Duration) -> Sleep {
    Sleep {
        local: current(),
        deadline,
        key: None,
    }
}

/// Runs `work` until it is done or `deadline` has passed; `None` where the deadline came first and `work` was dropped.
pub async fn timeout_at<F: Future>(deadline: Duration, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut sleep = sleep_until(deadline);
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut sleep).poll(context).map(|()| None)
    })
    .await
}

/// A wait for a moment; see [`sleep_until`].
pub struct Sleep {
    local: Rc<Local>,
    deadline: Duration,
    key: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.local.is_past(self.deadline) {
            return Poll::Ready(());
        }
        let mut timers = self.local.timers();
        if let Some(waker) = self.key.and_then(|key| timers.waker(key)) {
            waker.clone_from(context.waker());
            return Poll::Pending;
        }
        let key = timers.insert(self.deadline, context.waker().clone());
        drop(timers);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.local.timers().remove(key);
            drop(waker);
        }
    }
}

/// Deadlines on the monotonic clock; equal ones fire in the order in which they came.
#[derive(Default)]
pub(super) struct Timers {
    waiting: BTreeMap<TimerKey, Waker>,
    issued: u64,
}

/// A deadline, and a number that makes it unique.
pub(super) type TimerKey = (Duration, u64);

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
    use std::cell::RefCell;

    use futures::channel::oneshot;

    use super::*;
    use crate::io::reactor::{now, run_both_ways, spawn, yield_now};

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

    #[test]
    fn sleeps_end_in_order_and_never_early() {
        run_both_ways(|| async {
            let order = Rc::new(RefCell::new(Vec::new()));
            let start = now();
            let (done, all) = oneshot::channel::<()>();
            let done = Rc::new(done);
            for millis in [12u64, 4, 8] {
                let (order, done) = (Rc::clone(&order), Rc::clone(&done));
                spawn(async move {
                    let deadline = start + Duration::from_millis(millis);
                    sleep_until(deadline).await;
                    assert!(now() >= deadline);
                    order.borrow_mut().push(millis);
                    drop(done);
                });
            }
            drop(done);
            let _ = all.await;
            assert_eq!(*order.borrow(), [4, 8, 12]);
        });
    }

    #[test]
    fn a_timeout_drops_the_work_and_a_sleep_given_up_leaves_no_timer() {
        run_both_ways(|| async {
            let never = std::future::pending::<()>();
            let soon = now() + Duration::from_millis(3);
            assert_eq!(timeout_at(soon, never).await, None);
            let before = current().timers().earliest();
            let late = now() + Duration::from_secs(5);
            assert_eq!(timeout_at(late, async { 5 }).await, Some(5));
            let waits = timeout_at(late, yield_now());
            assert_eq!(waits.await, Some(()));
            assert_eq!(current().timers().earliest(), before);
        });
    }
}
