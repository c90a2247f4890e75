//! How other threads reach a reactor: one queue, and a bell that is rung only while the reactor sleeps.
//!
//! Invariants: whatever is queued before the reactor falls asleep keeps it awake, and whatever comes later rings; a task
//! is in the queue at most once; nothing is kept for a reactor that has stopped.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::reactor::Local;

/// What other threads may hold of a reactor.
#[derive(Clone)]
pub struct Remote(pub(super) Arc<Shared>);

impl Remote {
    /// Runs `make` on the reactor's thread and adds the task it returns, which need not be `Send`. A reactor that has
    /// stopped drops `make` unused.
    pub fn spawn<F, T>(&self, make: F)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        self.0
            .push(FromAfar::Spawn(Box::new(|local| local.spawn(make()))));
    }

    /// Ends the loop after its present turn; its tasks are dropped where they stand.
    pub fn stop(&self) {
        self.0.stop();
    }

    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped()
    }
}

/// The part of a reactor that all threads see.
pub(super) struct Shared {
    /// An eventfd in our epoll. Nobody reads it: each write is an edge.
    pub bell: OwnedFd,
    /// At most one wake per task; spawns as many as callers add.
    queue: Mutex<Vec<FromAfar>>,
    queued: AtomicBool,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

pub(super) enum FromAfar {
    Wake(u64),
    Spawn(Box<dyn FnOnce(&Local) + Send>),
}

impl Shared {
    /// `bell` is an eventfd that the reactor's epoll watches.
    pub fn new(bell: OwnedFd) -> Self {
        Shared {
            bell,
            queue: Mutex::new(Vec::new()),
            queued: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Either the sleeper sees `queued`, or we see `asleep`: both sides write first and read second, in one total order.
    pub fn push(&self, item: FromAfar) {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_stopped() {
                return;
            }
            queue.push(item);
            self.queued.store(true, Ordering::SeqCst);
        }
        self.ring();
    }

    fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Fails only when the counter is full, and then an edge is under way already.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// Announces that the next event has to come through epoll. `false`: something came just before, do not sleep.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.queued.load(Ordering::SeqCst) || self.is_stopped() {
            self.wake_up();
            return false;
        }
        true
    }

    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    pub fn take(&self) -> Vec<FromAfar> {
        if !self.queued.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.queued.store(false, Ordering::SeqCst);
        std::mem::take(&mut *queue)
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Stops, and drops what nobody will run any more.
    pub fn close(&self) {
        self.stop();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let items = std::mem::take(&mut *queue);
        drop(queue);
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::thread;

    use futures::StreamExt;
    use futures::channel::{mpsc, oneshot};

    use crate::clock::Clock;
    use crate::io::reactor::{Reactor, run_both_ways, yield_now};

    #[test]
    fn a_task_is_woken_by_another_thread_while_the_reactor_sleeps() {
        run_both_ways(|| async {
            for _ in 0..100 {
                let (give, take) = oneshot::channel();
                let (asked, ask) = std::sync::mpsc::channel::<()>();
                let thread = thread::spawn(move || {
                    ask.recv().unwrap();
                    give.send(7).unwrap();
                });
                asked.send(()).unwrap();
                assert_eq!(take.await, Ok(7));
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn no_wake_from_many_threads_is_lost() {
        run_both_ways(|| async {
            let (counted, mut count) = mpsc::unbounded();
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let counted = counted.clone();
                    thread::spawn(move || {
                        for _ in 0..5_000 {
                            counted.unbounded_send(1).unwrap();
                        }
                    })
                })
                .collect();
            drop(counted);
            let mut sum = 0;
            while let Some(one) = count.next().await {
                sum += one;
            }
            assert_eq!(sum, 20_000);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn another_thread_adds_tasks_that_are_not_send() {
        let (remote, thread) = Reactor::start_thread("reactor-test", Clock::system()).unwrap();
        let (done, wait) = std::sync::mpsc::channel();
        for number in 0..10 {
            let done = done.clone();
            remote.spawn(move || {
                let local = Rc::new(number);
                async move {
                    yield_now().await;
                    done.send(*local).unwrap();
                }
            });
        }
        let mut numbers: Vec<i32> = wait.iter().take(10).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        remote.stop();
        thread.join().unwrap().unwrap();
        assert!(remote.is_stopped());
        // Nobody runs it any more, and nobody keeps it.
        let (kept, wait) = std::sync::mpsc::channel::<()>();
        remote.spawn(move || async move { drop(kept) });
        assert!(wait.recv().is_err());
    }
}
