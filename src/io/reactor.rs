//! An executor for connection tasks: one thread, one edge-triggered epoll, many `async fn`s.
//!
//! async-io arms interest anew at each wait; with thousands of small requests that is most of the cost. Here a socket is
//! registered once, its readiness is a flag in memory, and a task that waits for it costs no system call. The loop
//! itself is [`Reactor::run`], one future that async-std hosts by waiting for the epoll's own readiness, or
//! [`Reactor::run_on_this_thread`], the same loop on a thread of its own, sleeping in epoll directly.
//!
//! Invariants: tasks, sources and timers live and die on the reactor's thread and need not be `Send`; only [`Remote`] and
//! wakers cross threads, through one queue and an eventfd that is written only while the reactor sleeps. A task is in the
//! ready list at most once. A turn polls each ready task once and no more than `TASKS_PER_TURN`, and a task gets at
//! most `READY_PER_POLL` answers "ready" from its sockets before it has to let others run. What is left with
//! [`wake_after_turn`] is woken once per turn, at its end.
//!
//! Knows nothing of protocols or clients.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use async_io::Async;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::remote::{FromAfar, Remote, Shared};
use super::slots::Slots;
use super::stream::Source;
use super::timers::Timers;
use crate::clock::Clock;

/// The loop of one thread. It does nothing until it is run.
pub struct Reactor {
    local: Rc<Local>,
}

impl Reactor {
    /// # Errors
    /// Where the system gives no more descriptors.
    pub fn new(clock: Clock) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &bell,
            epoll::EventData::new_u64(BELL_KEY),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Reactor {
            local: Rc::new(Local {
                epoll,
                shared: Arc::new(Shared::new(bell)),
                tasks: RefCell::new(Slots::new()),
                ready: RefCell::new(VecDeque::new()),
                sources: RefCell::new(Slots::new()),
                timers: RefCell::new(Timers::default()),
                events: RefCell::new(Vec::with_capacity(EVENTS_PER_TURN)),
                read_buffer: RefCell::new(vec![0; READ_BUFFER_BYTES]),
                ready_left: Cell::new(0),
                after_turn: RefCell::new(Vec::new()),
                clock,
            }),
        })
    }

    /// A reactor on a thread of its own, running until [`Remote::stop`].
    pub fn start_thread(
        name: &str,
        clock: Clock,
    ) -> io::Result<(Remote, thread::JoinHandle<io::Result<()>>)> {
        let (report, started) = std::sync::mpsc::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let reactor = match Reactor::new(clock) {
                    Ok(reactor) => reactor,
                    Err(error) => {
                        let _ = report.send(Err(error));
                        return Ok(());
                    }
                };
                let _ = report.send(Ok(reactor.remote()));
                reactor.run_on_this_thread()
            })?;
        let remote = started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("reactor: its thread ended at once")))?;
        Ok((remote, thread))
    }

    /// A handle that other threads may use.
    pub fn remote(&self) -> Remote {
        Remote(Arc::clone(&self.local.shared))
    }

    /// Adds a task before the reactor runs; a running task uses [`spawn`].
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.local.spawn(task);
    }

    /// Runs until [`Remote::stop`], sleeping in epoll. All tasks left are then dropped.
    ///
    /// # Errors
    /// Only where epoll itself fails, which no load can bring about.
    pub fn run_on_this_thread(self) -> io::Result<()> {
        while !self.local.shared.is_stopped() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Runs until [`Remote::stop`] as one future of async-std's, which waits for the readiness of our epoll.
    ///
    /// # Errors
    /// Only where epoll itself fails, which no load can bring about.
    pub async fn run(self) -> io::Result<()> {
        let local = &self.local;
        let epoll = Async::new_nonblocking(rustix::io::fcntl_dupfd_cloexec(&local.epoll, 0)?)?;
        while !local.shared.is_stopped() {
            self.turn(Some(Duration::ZERO))?;
            if local.has_ready() || !local.shared.fall_asleep() {
                async_std::task::yield_now().await;
                continue;
            }
            match local.timeout() {
                None => epoll.readable().await?,
                Some(wait) => {
                    // A timeout is no error: the next turn finds the timer due.
                    if let Ok(readable) = async_std::future::timeout(wait, epoll.readable()).await {
                        readable?;
                    }
                }
            }
            local.shared.wake_up();
        }
        Ok(())
    }

    /// One turn: collects wakes, waits for events for at most `timeout` (not at all where a task is ready, without end
    /// for `None`), fires due timers, polls the tasks that are ready.
    pub fn turn(&self, timeout: Option<Duration>) -> io::Result<()> {
        let local = &self.local;
        let _entered = Entered::new(local);
        local.take_queue();
        let mut timeout = if local.has_ready() {
            Some(Duration::ZERO)
        } else {
            [timeout, local.timeout()].into_iter().flatten().min()
        };
        let sleeps = timeout != Some(Duration::ZERO);
        if sleeps && !local.shared.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        let waited = local.wait(timeout);
        if sleeps {
            local.shared.wake_up();
        }
        waited?;
        local.take_queue();
        local.fire_timers();
        local.poll_ready();
        local.end_turn();
        Ok(())
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let _entered = Entered::new(&self.local);
        // What a dying task spawns or wakes is dropped as well; the table is free while destructors run.
        loop {
            let tasks = self.local.tasks.borrow_mut().take_all();
            if tasks.is_empty() {
                break;
            }
            for task in tasks {
                drop(task.future.take());
            }
        }
        self.local.shared.close();
    }
}

/// Adds a task to the reactor that polls the caller.
///
/// # Panics
/// Outside a reactor's task, as all functions of this file that name no reactor.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    current().spawn(task);
}

/// The handle of the reactor that polls the caller.
pub fn remote() -> Remote {
    Remote(Arc::clone(&current().shared))
}

/// The monotonic time of the reactor that polls the caller.
pub fn now() -> Duration {
    current().clock.monotonic()
}

/// Lends the thread's read buffer of [`READ_BUFFER_BYTES`]. What is still needed afterwards must be copied out, so an idle
/// connection owns no input buffer.
///
/// # Panics
/// When `work` asks for the buffer again.
pub fn with_read_buffer<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let local = current();
    let mut buffer = local.read_buffer.borrow_mut();
    work(&mut buffer)
}

/// Wakes `waker` when the present turn is over, once however often it is left; at once outside of a reactor. For another
/// thread that is to find all that a turn has brought and not to run after each task.
pub fn wake_after_turn(waker: &Waker) {
    let is_left = CURRENT.try_with(|current| match &*current.borrow() {
        Some(local) => {
            let mut after_turn = local.after_turn.borrow_mut();
            if !after_turn.iter().any(|left| left.will_wake(waker)) {
                after_turn.push(waker.clone());
            }
            true
        }
        None => false,
    });
    if !is_left.unwrap_or(false) {
        waker.wake_by_ref();
    }
}

/// Lets every other ready task, and new events, come before the caller goes on.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A reactor's state, held by itself, by its sources and timers, and by the thread while it turns.
pub(super) struct Local {
    epoll: OwnedFd,
    shared: Arc<Shared>,
    tasks: RefCell<Slots<Rc<Task>>>,
    ready: RefCell<VecDeque<u64>>,
    sources: RefCell<Slots<Rc<Source>>>,
    timers: RefCell<Timers>,
    events: RefCell<Vec<epoll::Event>>,
    read_buffer: RefCell<Vec<u8>>,
    /// How many more times the task being polled may hear that a socket is ready.
    ready_left: Cell<u32>,
    /// To be woken at the end of the turn.
    after_turn: RefCell<Vec<Waker>>,
    clock: Clock,
}

struct Task {
    future: Cell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    handle: Arc<TaskHandle>,
    waker: Waker,
}

impl Local {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let key = self.tasks.borrow_mut().insert_with(|key| {
            let handle = Arc::new(TaskHandle {
                key,
                queued: AtomicBool::new(true),
                shared: Arc::clone(&self.shared),
            });
            Rc::new(Task {
                future: Cell::new(Some(Box::pin(task))),
                waker: Waker::from(Arc::clone(&handle)),
                handle,
            })
        });
        self.ready.borrow_mut().push_back(key);
    }

    /// Registers a descriptor once and for all; events for `key` arrive at the source from now on.
    pub(super) fn register(
        &self,
        fd: &impl AsFd,
        interest: epoll::EventFlags,
        source: &Rc<Source>,
    ) -> io::Result<u64> {
        let key = self.sources.borrow_mut().insert_with(|_| Rc::clone(source));
        let interest = interest | epoll::EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, fd, epoll::EventData::new_u64(key), interest) {
            self.forget(key);
            return Err(error.into());
        }
        Ok(key)
    }

    /// Takes a descriptor out of the epoll that lives on after its source.
    pub(super) fn unregister(&self, fd: &impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Events for `key` that are still under way find nothing.
    pub(super) fn forget(&self, key: u64) {
        let source = self.sources.borrow_mut().remove(key);
        drop(source);
    }

    /// Takes one of the "ready" answers that the task being polled may still have. `false`: it has had its share; it is
    /// marked ready again and must return.
    pub(super) fn spend(&self, context: &Context<'_>) -> bool {
        let left = self.ready_left.get();
        if left == 0 {
            context.waker().wake_by_ref();
            return false;
        }
        self.ready_left.set(left - 1);
        true
    }

    /// A timer's moment has come.
    pub(super) fn is_past(&self, deadline: Duration) -> bool {
        self.clock.monotonic() >= deadline
    }

    pub(super) fn timers(&self) -> RefMut<'_, Timers> {
        self.timers.borrow_mut()
    }

    fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    fn timeout(&self) -> Option<Duration> {
        let deadline = self.timers.borrow().earliest()?;
        Some(deadline.saturating_sub(self.clock.monotonic()))
    }

    fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|wait| Timespec {
            tv_sec: wait.as_secs().min(SLEEP_SECONDS_MAX) as i64,
            tv_nsec: wait.subsec_nanos().into(),
        });
        let mut events = self.events.borrow_mut();
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let sources = self.sources.borrow();
        for event in events.iter() {
            let (flags, data) = (event.flags, event.data);
            if let Some(source) = sources.get(data.u64()) {
                source.happened(flags);
            }
        }
        Ok(())
    }

    fn take_queue(&self) {
        for item in self.shared.take() {
            match item {
                FromAfar::Wake(key) => self.ready.borrow_mut().push_back(key),
                FromAfar::Spawn(make) => make(self),
            }
        }
    }

    fn fire_timers(&self) {
        if self.timers.borrow().earliest().is_none() {
            return;
        }
        let now = self.clock.monotonic();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            let Some(waker) = due else { break };
            waker.wake();
        }
    }

    /// Polls what is ready now; what becomes ready meanwhile waits for the next turn.
    fn poll_ready(&self) {
        let count = self.ready.borrow().len().min(TASKS_PER_TURN);
        for _ in 0..count {
            let Some(key) = self.ready.borrow_mut().pop_front() else {
                break;
            };
            let task = self.tasks.borrow().get(key).map(Rc::clone);
            if let Some(task) = task {
                self.poll_task(key, &task);
            }
        }
    }

    fn end_turn(&self) {
        // One at a time: a waker may leave another.
        while let Some(waker) = { self.after_turn.borrow_mut().pop() } {
            waker.wake();
        }
    }

    fn poll_task(&self, key: u64, task: &Task) {
        // Before the poll, so that a wake during it queues the task again. The swap also makes visible what the waker's
        // thread wrote before it woke us.
        task.handle.queued.swap(false, Ordering::AcqRel);
        let Some(mut future) = task.future.take() else {
            return;
        };
        self.ready_left.set(READY_PER_POLL);
        let mut context = Context::from_waker(&task.waker);
        if future.as_mut().poll(&mut context).is_pending() {
            task.future.set(Some(future));
            return;
        }
        let task = self.tasks.borrow_mut().remove(key);
        drop(future);
        drop(task);
    }
}

/// What a waker points to.
struct TaskHandle {
    key: u64,
    /// In the ready list, or in the queue on its way there.
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for TaskHandle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        // A thread that is being torn down has no reactor any more: the queue is the way that always works.
        let here = CURRENT.try_with(|current| match &*current.borrow() {
            Some(local) if Arc::ptr_eq(&local.shared, &self.shared) => {
                local.ready.borrow_mut().push_back(self.key);
                true
            }
            _ => false,
        });
        if !here.unwrap_or(false) {
            self.shared.push(FromAfar::Wake(self.key));
        }
    }
}

/// Makes the reactor the thread's current one for as long as it turns.
struct Entered {
    outer: Option<Rc<Local>>,
}

impl Entered {
    fn new(local: &Rc<Local>) -> Self {
        Entered {
            outer: CURRENT.replace(Some(Rc::clone(local))),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let inner = CURRENT.replace(self.outer.take());
        drop(inner);
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

pub(super) fn current() -> Rc<Local> {
    CURRENT.with(|current| {
        current
            .borrow()
            .clone()
            .expect("only tasks of a reactor use its sockets, timers and buffer")
    })
}

/// The size of the buffer that all connections of a thread read into.
pub const READ_BUFFER_BYTES: usize = 256 * 1024;

const EVENTS_PER_TURN: usize = 512;
const TASKS_PER_TURN: usize = 512;
const READY_PER_POLL: u32 = 8;
const SLEEP_SECONDS_MAX: u64 = 24 * 60 * 60;
/// No slot has this key (its generation is never used).
const BELL_KEY: u64 = u64::MAX;

/// Runs `test` to its end on a reactor of its own, first on the thread itself and then hosted by async-std.
///
/// # Panics
/// When it takes more than ten seconds.
#[cfg(test)]
pub(super) fn run_both_ways<F: Future<Output = ()> + 'static>(test: impl Fn() -> F) {
    for hosted in [false, true] {
        let reactor = Reactor::new(Clock::system()).unwrap();
        let (test, done) = (test(), Rc::new(Cell::new(false)));
        let finished = Rc::clone(&done);
        reactor.spawn(async move {
            let deadline = now() + Duration::from_secs(10);
            finished.set(super::timers::timeout_at(deadline, test).await.is_some());
            remote().stop();
        });
        if hosted {
            async_std::task::block_on(reactor.run()).unwrap();
        } else {
            reactor.run_on_this_thread().unwrap();
        }
        assert!(done.get(), "not done within ten seconds, hosted: {hosted}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::clock::UnixMillis;
    use crate::io::timers::sleep_until;

    #[test]
    fn a_manual_clock_moves_the_timers() {
        let clock = Clock::manual(UnixMillis(0));
        let reactor = Reactor::new(clock.clone()).unwrap();
        let fired = Rc::new(Cell::new(false));
        let witness = Rc::clone(&fired);
        reactor.spawn(async move {
            sleep_until(Duration::from_secs(3600)).await;
            witness.set(true);
        });
        let began = Instant::now();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(!fired.get());
        clock.advance(Duration::from_secs(3600));
        reactor.turn(None).unwrap();
        assert!(fired.get());
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_task_that_never_rests_does_not_stop_the_others() {
        run_both_ways(|| async {
            spawn(async {
                loop {
                    yield_now().await;
                }
            });
            sleep_until(now() + Duration::from_millis(2)).await;
            for _ in 0..10 {
                yield_now().await;
            }
        });
    }

    #[test]
    fn what_is_to_be_woken_after_the_turn_is_woken_once_when_every_task_has_run() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count(0.into()));
        let waker = Waker::from(Arc::clone(&count));
        let reactor = Reactor::new(Clock::system()).unwrap();
        let early = Rc::new(Cell::new(usize::MAX));
        for _ in 0..3 {
            let (waker, count) = (waker.clone(), Arc::clone(&count));
            let early = Rc::clone(&early);
            reactor.spawn(async move {
                wake_after_turn(&waker);
                early.set(count.0.load(Ordering::SeqCst));
            });
        }
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!((early.get(), count.0.load(Ordering::SeqCst)), (0, 1));
        wake_after_turn(&waker);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn tasks_left_at_the_end_are_dropped_with_what_they_spawn() {
        struct SpawnsWhenDropped(Rc<Cell<u32>>);
        impl Drop for SpawnsWhenDropped {
            fn drop(&mut self) {
                let count = Rc::clone(&self.0);
                count.set(count.get() + 1);
                if count.get() < 3 {
                    let next = SpawnsWhenDropped(count);
                    spawn(async move {
                        let _kept = next;
                        std::future::pending::<()>().await;
                    });
                }
            }
        }
        let count = Rc::new(Cell::new(0));
        let reactor = Reactor::new(Clock::system()).unwrap();
        let first = SpawnsWhenDropped(Rc::clone(&count));
        reactor.spawn(async move {
            let _kept = first;
            remote().stop();
            std::future::pending::<()>().await;
        });
        reactor.run_on_this_thread().unwrap();
        assert_eq!(count.get(), 3);
    }
}
