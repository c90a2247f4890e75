//! Virtual time and the tasks that live in it: one thread, one seed, no waiting.
//!
//! A task is an ordinary future. Whoever is ready runs, in random order; once nobody is, the clocks jump to the next timer. A
//! task that is not woken does not run, so a wakeup that the engine forgets shows as a node that is stuck. Tasks of a group
//! (a process of a node) end together.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sluice::clock::Clock;
use sluice::random::Random;

use crate::trace;

/// Time, chance and tasks of one run. Clones are the same run.
#[derive(Clone)]
pub struct Sim(Rc<Inner>);

/// Tasks that end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(pub u64);

struct Inner {
    now: Cell<Duration>,
    random: RefCell<Random>,
    clocks: RefCell<Vec<Clock>>,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    timers_set: Cell<u64>,
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<usize>>,
    ready: Arc<Mutex<Vec<Turn>>>,
    /// The task that is being polled.
    running: Cell<usize>,
    last_group: Cell<u64>,
    polls: Cell<u64>,
    /// One lock in so many is waited for while others go first; 0 is none.
    contention_in: Cell<u64>,
    /// Who is ready first runs first.
    in_order: Cell<bool>,
    failure: RefCell<Option<String>>,
}

struct Task {
    name: String,
    group: Group,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    bell: Arc<Bell>,
    /// It is not asleep but held up at a lock: what wakes it now must still be there when it goes to sleep.
    at_lock: bool,
    woken_at_lock: bool,
}

/// Why a task is to run.
#[derive(Clone, Copy)]
enum Turn {
    Woken(usize),
    /// The lock is free.
    Resumed(usize),
}

/// Puts its task among the ready ones.
struct Bell {
    task: usize,
    rung: AtomicBool,
    ready: Arc<Mutex<Vec<Turn>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap().push(Turn::Woken(self.task));
        }
    }
}

/// Ordered by time, then by who set it first.
struct Timer {
    at: Duration,
    number: u64,
    alarm: Alarm,
}

enum Alarm {
    Wake(Waker),
    /// The lock that this task waits for is free.
    Resume(usize),
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// More turns than this without a millisecond passing: somebody goes round in circles.
const POLLS_PER_MOMENT: u64 = 20_000;

impl Sim {
    pub fn new(seed: u64) -> Self {
        Sim(Rc::new(Inner {
            now: Cell::new(Duration::ZERO),
            random: RefCell::new(Random::from_seed(seed)),
            clocks: RefCell::default(),
            timers: RefCell::default(),
            timers_set: Cell::new(0),
            tasks: RefCell::default(),
            free: RefCell::default(),
            ready: Arc::default(),
            running: Cell::new(0),
            last_group: Cell::new(0),
            polls: Cell::new(0),
            contention_in: Cell::new(0),
            in_order: Cell::new(false),
            failure: RefCell::default(),
        }))
    }

    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// A clock that is turned with all others.
    pub fn add_clock(&self, clock: Clock) {
        self.0.clocks.borrow_mut().push(clock);
    }

    pub fn set_contention(&self, one_in: u64) {
        self.0.contention_in.set(one_in);
    }

    /// No chance in who runs first: for stories that are told the same way while the code changes.
    pub fn run_in_order(&self) {
        self.0.in_order.set(true);
    }

    // Chance.

    pub fn next_u64(&self) -> u64 {
        self.0.random.borrow_mut().next_u64()
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.0.random.borrow_mut().below(bound)
    }

    /// True once in `in_so_many` times; never for 0.
    pub fn once_in(&self, in_so_many: u64) -> bool {
        in_so_many > 0 && self.below(in_so_many) == 0
    }

    pub fn pick<'l, T>(&self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len() as u64) as usize]
    }

    pub fn millis_below(&self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound.max(1)))
    }

    // Failure: the first one ends the run.

    pub fn fail(&self, text: String) {
        trace::line(self.now(), "!", &text);
        self.0.failure.borrow_mut().get_or_insert(text);
    }

    pub fn check(&self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fail(text());
        }
    }

    pub fn failure(&self) -> Option<String> {
        self.0.failure.borrow().clone()
    }

    // Tasks.

    pub fn new_group(&self) -> Group {
        self.0.last_group.set(self.0.last_group.get() + 1);
        Group(self.0.last_group.get())
    }

    pub fn spawn(&self, group: Group, name: &str, future: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.tasks.borrow_mut();
        let index = self.0.free.borrow_mut().pop().unwrap_or_else(|| {
            tasks.push(None);
            tasks.len() - 1
        });
        let bell = Arc::new(Bell {
            task: index,
            rung: AtomicBool::new(false),
            ready: Arc::clone(&self.0.ready),
        });
        bell.wake_by_ref();
        tasks[index] = Some(Task {
            name: name.to_owned(),
            group,
            future: Some(Box::pin(future)),
            bell,
            at_lock: false,
            woken_at_lock: false,
        });
    }

    /// Ends all tasks of a group, wherever they stand. Not from inside one of them.
    pub fn kill(&self, group: Group) {
        let count = self.0.tasks.borrow().len();
        for index in 0..count {
            let killed = {
                let mut tasks = self.0.tasks.borrow_mut();
                match &tasks[index] {
                    Some(task) if task.group == group => tasks[index].take(),
                    _ => None,
                }
            };
            if killed.is_some() {
                self.0.free.borrow_mut().push(index);
            }
            // What it owned may close sockets, which wakes others.
            drop(killed);
        }
    }

    /// Goes on until `until`, or to the first failure.
    pub fn run_until(&self, until: Duration) {
        loop {
            self.run_ready();
            if self.0.failure.borrow().is_some() {
                return;
            }
            let next = self.0.timers.borrow().peek().map(|timer| timer.0.at);
            match next {
                Some(at) if at <= until => self.turn_to(at),
                _ => return self.turn_to(until),
            }
        }
    }

    pub fn run_for(&self, time: Duration) {
        self.run_until(self.now() + time);
    }

    fn turn_to(&self, at: Duration) {
        let by = at.saturating_sub(self.now());
        if !by.is_zero() {
            self.0.now.set(at);
            self.0.polls.set(0);
            for clock in self.0.clocks.borrow().iter() {
                clock.advance(by);
            }
        }
        loop {
            let due = {
                let mut timers = self.0.timers.borrow_mut();
                match timers.peek() {
                    Some(timer) if timer.0.at <= at => timers.pop(),
                    _ => None,
                }
            };
            match due {
                Some(Reverse(timer)) => match timer.alarm {
                    Alarm::Wake(waker) => waker.wake(),
                    Alarm::Resume(task) => {
                        self.0.ready.lock().unwrap().push(Turn::Resumed(task));
                    }
                },
                None => return,
            }
        }
    }

    fn run_ready(&self) {
        loop {
            let next = {
                let mut ready = self.0.ready.lock().unwrap();
                match ready.len() {
                    0 => return,
                    1 => ready.swap_remove(0),
                    _ if self.0.in_order.get() => ready.remove(0),
                    count => ready.swap_remove(self.below(count as u64) as usize),
                }
            };
            self.poll(next);
            if self.0.failure.borrow().is_some() {
                return;
            }
        }
    }

    fn poll(&self, turn: Turn) {
        let (Turn::Woken(index) | Turn::Resumed(index)) = turn;
        let (mut future, bell) = {
            let mut tasks = self.0.tasks.borrow_mut();
            let Some(task) = &mut tasks[index] else {
                return;
            };
            match turn {
                Turn::Resumed(_) => {
                    task.at_lock = false;
                    if std::mem::take(&mut task.woken_at_lock) {
                        self.0.ready.lock().unwrap().push(Turn::Woken(index));
                    }
                }
                Turn::Woken(_) if task.at_lock => {
                    task.woken_at_lock = true;
                    return;
                }
                Turn::Woken(_) => task.bell.rung.store(false, Ordering::Relaxed),
            }
            let Some(future) = task.future.take() else {
                return;
            };
            (future, Arc::clone(&task.bell))
        };
        let polls = self.0.polls.get() + 1;
        self.0.polls.set(polls);
        self.0.running.set(index);
        let waker = Waker::from(Arc::clone(&bell));
        let done = future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        let ended = {
            let mut tasks = self.0.tasks.borrow_mut();
            let task = tasks[index].as_mut();
            match task {
                // Another task may have taken the place of one that was killed.
                Some(task) if Arc::ptr_eq(&task.bell, &bell) => {
                    if polls > POLLS_PER_MOMENT {
                        let name = task.name.clone();
                        drop(tasks);
                        return self.fail(format!("{name} goes round in circles"));
                    }
                    if done {
                        self.0.free.borrow_mut().push(index);
                        tasks[index].take()
                    } else {
                        task.future = Some(future);
                        return;
                    }
                }
                _ => None,
            }
        };
        drop(ended);
    }

    /// Wakes `waker` at `at`.
    pub fn wake_at(&self, at: Duration, waker: &Waker) {
        if at <= self.now() {
            waker.wake_by_ref();
            return;
        }
        self.set_timer(at, Alarm::Wake(waker.clone()));
    }

    fn set_timer(&self, at: Duration, alarm: Alarm) {
        let number = self.0.timers_set.get() + 1;
        self.0.timers_set.set(number);
        let timer = Timer { at, number, alarm };
        self.0.timers.borrow_mut().push(Reverse(timer));
    }

    pub async fn sleep(&self, time: Duration) {
        self.sleep_until(self.now() + time).await;
    }

    pub async fn sleep_until(&self, at: Duration) {
        let mut is_set = false;
        std::future::poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_set, true) {
                self.wake_at(at, context.waker());
            }
            Poll::Pending
        })
        .await;
    }

    /// Lets all others that are ready run first.
    pub async fn yield_now(&self) {
        let mut polled = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Somebody else may be first at a lock, and keep it for a while.
    pub async fn contend(&self) {
        if !self.once_in(self.0.contention_in.get()) {
            return;
        }
        let mut polled = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            let index = self.0.running.get();
            if let Some(task) = &mut self.0.tasks.borrow_mut()[index] {
                task.at_lock = true;
            }
            if self.once_in(LONG_LOCK_IN) {
                let free_at = self.now() + self.millis_below(LONG_LOCK_MS_MAX);
                self.set_timer(free_at, Alarm::Resume(index));
            } else {
                self.0.ready.lock().unwrap().push(Turn::Resumed(index));
            }
            Poll::Pending
        })
        .await;
    }
}

/// One wait for a lock in so many takes so long.
const LONG_LOCK_IN: u64 = 8;
const LONG_LOCK_MS_MAX: u64 = 20;
