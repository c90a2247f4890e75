//! What others hold of the thread that writes the AOF: orders for it, and what it tells about itself.
//!
//! The thread is the tasks' ([`Orders`] is its end); the engine and the tasks hold a [`Writer`], which needs no lock of the
//! engine. Orders are carried out in the order in which they were given, each when the log stands where it says.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use crate::journal::cursor::Cursor;
use crate::journal::position::{Offset, Position};

use super::archive::Archive;
use super::durability::Policy;
use super::log::Base;

/// The handle. Clones are the same writer.
#[derive(Clone)]
pub struct Writer(Arc<Shared>);

/// The thread's end.
pub struct Orders(Arc<Shared>);

/// Called with the outcome of an order, on the writer's thread: short, and without the engine's lock held by the caller.
pub type Answer = Box<dyn FnOnce(Result<Done, String>) + Send>;

/// What an order has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Where the log stands.
    pub at: Offset,
}

/// What the thread can be asked to do.
pub enum Order {
    /// Begin a new segment at `at`, which is the journal's end at the moment of the order, taken under the engine's lock:
    /// for a rewrite, and for a history whose name has changed there.
    Rotate { at: Position, answer: Answer },
    /// A base is complete in a temp file: take it into the set. Where the set is only being begun, this is what makes it one.
    Adopt { base: Base, answer: Answer },
    /// Another history has taken the place of ours, with its dataset as `base`: the set begins anew from there, read by
    /// `cursor`, which stands at the base's position.
    Replace {
        base: Base,
        cursor: Cursor,
        answer: Answer,
    },
    /// Keep at most so many bytes of history from now on.
    KeepHistory { bytes: u64 },
    /// Whether segments that are begun from now on are annotated with the time.
    Annotate { annotates: bool },
    /// Sync what has been read of the journal up to `at`, whatever the policy says.
    Sync { at: Offset, answer: Answer },
    /// Write and sync everything up to `at`, close the set with its facts, end the thread. A set that was only being begun
    /// is removed.
    Close { at: Offset, answer: Answer },
}

/// What INFO and the checks before a command are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The last write's error, until one works again: `No space left on device`.
    pub write_error: Option<String>,
    /// The last background sync's, likewise.
    pub sync_error: Option<String>,
    /// Bytes of base and segments, without history.
    pub current_bytes: u64,
    pub base_bytes: u64,
    pub history_bytes: u64,
    /// Syncs handed to the second thread and not yet done.
    pub pending_syncs: u64,
    /// Writes that have had to wait for a slow sync, as Redis counts them.
    pub delayed_syncs: u64,
    /// Calls so far.
    pub writes: u64,
    pub syncs: u64,
    /// A set is being begun: it becomes one with its first base.
    pub beginning: bool,
    /// Sequence number of the segment that is written to.
    pub segment: u64,
    /// What it has in it, in bytes of file.
    pub segment_bytes: u64,
}

impl Status {
    /// The last write or the last sync has failed.
    pub fn is_failing(&self) -> bool {
        self.write_error.is_some() || self.sync_error.is_some()
    }
}

/// Something that took longer than the latency monitor allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// By its name in Redis.
    pub event: &'static str,
    pub unix_seconds: i64,
    pub millis: u64,
}

/// Kept until somebody takes them.
const SLOW_MAX: usize = 1_000;

struct Shared {
    orders: Mutex<VecDeque<Order>>,
    status: Mutex<Status>,
    /// Mirror of the errors, so that each command's check is one load.
    failing: AtomicBool,
    /// The thread has ended, or never started.
    ended: AtomicBool,
    /// Syncs are not wanted now: a snapshot is being written and the setting says so.
    spare_disk: AtomicBool,
    /// Under `always` a failing disk ends the process.
    exits_on_error: AtomicBool,
    policy: AtomicU8,
    /// Told to end at once.
    abandoned: AtomicBool,
    /// Writes begun and ended: odd while one is under way.
    write_number: AtomicU64,
    /// Nobody looks whether a write takes long.
    unwatched: AtomicBool,
    delayed_floor: AtomicU64,
    /// `latency-monitor-threshold`; 0 watches nothing.
    latency_ms_min: AtomicU64,
    slow: Mutex<Vec<Slow>>,
    /// A snapshot is being written to disk as well.
    snapshot_written: AtomicBool,
    /// What of it readers find on disk.
    archive: Arc<Archive>,
    /// Wakes the thread.
    waker: Waker,
}

impl Writer {
    /// The two ends; `waker` wakes the thread.
    pub fn new(waker: Waker) -> (Writer, Orders) {
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            status: Mutex::default(),
            failing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            spare_disk: AtomicBool::new(false),
            exits_on_error: AtomicBool::new(true),
            policy: AtomicU8::new(Policy::EverySecond as u8),
            abandoned: AtomicBool::new(false),
            write_number: AtomicU64::new(0),
            unwatched: AtomicBool::new(true),
            delayed_floor: AtomicU64::new(0),
            latency_ms_min: AtomicU64::new(0),
            slow: Mutex::default(),
            snapshot_written: AtomicBool::new(false),
            archive: Arc::default(),
            waker,
        });
        (Writer(Arc::clone(&shared)), Orders(shared))
    }

    /// Gives an order; after the thread's end it is answered with an error at once.
    pub fn order(&self, order: Order) {
        {
            let mut orders = self.0.lock_orders();
            if !self.0.ended.load(Ordering::SeqCst) {
                orders.push_back(order);
                drop(orders);
                self.0.waker.wake_by_ref();
                return;
            }
        }
        order.refuse("the AOF writer has ended");
    }

    /// Looks at the orders, the settings and the journal again.
    pub fn wake(&self) {
        self.0.waker.wake_by_ref();
    }

    /// For [`Writer::wake`] at another time.
    pub fn waker(&self) -> &Waker {
        &self.0.waker
    }

    pub fn status(&self) -> Status {
        let mut status = self.0.lock_status().clone();
        let floor = self.0.delayed_floor.load(Ordering::Relaxed);
        status.delayed_syncs -= floor.min(status.delayed_syncs);
        status
    }

    /// Whether the last write or sync failed: one load.
    pub fn is_failing(&self) -> bool {
        self.0.failing.load(Ordering::Relaxed)
    }

    /// What [`Status`] says is wrong, if something is.
    pub fn failure(&self) -> Option<String> {
        let status = self.0.lock_status();
        status
            .write_error
            .clone()
            .or_else(|| status.sync_error.clone())
    }

    /// Ends the thread without writing what it has not written: for a disk that fails and a set that nobody wants to go on.
    /// True the first time.
    pub fn abandon(&self) -> bool {
        let first = !self.0.abandoned.swap(true, Ordering::Relaxed);
        self.0.waker.wake_by_ref();
        first
    }

    pub fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::SeqCst)
    }

    /// What of it readers find on disk.
    pub fn archive(&self) -> &Arc<Archive> {
        &self.0.archive
    }

    /// Leaves the disk to a snapshot: nothing is synced while this is set (`no-appendfsync-on-rewrite`).
    pub fn spare_disk(&self, spare: bool) {
        self.0.spare_disk.store(spare, Ordering::Relaxed);
    }

    /// Whether a snapshot is being written to disk.
    pub fn note_snapshot(&self, is_written: bool) {
        self.0.snapshot_written.store(is_written, Ordering::Relaxed);
    }

    /// What takes so long is noted; 0: nothing is.
    pub fn watch_latency(&self, ms_min: u64) {
        self.0.latency_ms_min.store(ms_min, Ordering::Relaxed);
    }

    /// What was slow since the last call.
    pub fn take_slow(&self) -> Vec<Slow> {
        std::mem::take(&mut *self.0.lock_slow())
    }

    /// What `appendfsync` asks for.
    pub fn set_policy(&self, policy: Policy) {
        self.0.policy.store(policy as u8, Ordering::SeqCst);
        self.wake();
    }

    /// Whether a failing disk ends the process under `always`; else writes are refused until it works again.
    pub fn exit_on_error(&self, exits: bool) {
        self.0.exits_on_error.store(exits, Ordering::Relaxed);
    }

    /// Writes begun and ended so far: odd while one is under way.
    pub fn write_number(&self) -> u64 {
        self.0.write_number.load(Ordering::SeqCst)
    }

    /// Whoever has looked at the writes looks no more, and the next write will say so; false if there is one since `number`.
    pub fn leave_unwatched(&self, number: u64) -> bool {
        // Either we see the write that begins, or it sees this: both sides write first and read second.
        self.0.unwatched.store(true, Ordering::SeqCst);
        self.write_number() == number || !self.0.unwatched.swap(false, Ordering::SeqCst)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        let delayed = self.0.lock_status().delayed_syncs;
        self.0.delayed_floor.store(delayed, Ordering::Relaxed);
    }
}

impl Orders {
    pub fn next(&self) -> Option<Order> {
        self.0.lock_orders().pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock_orders().is_empty()
    }

    /// Changes what is told.
    pub fn tell<R>(&self, change: impl FnOnce(&mut Status) -> R) -> R {
        let mut status = self.0.lock_status();
        let result = change(&mut status);
        let failing = status.write_error.is_some() || status.sync_error.is_some();
        self.0.failing.store(failing, Ordering::Relaxed);
        result
    }

    pub fn archive(&self) -> &Archive {
        &self.0.archive
    }

    pub fn policy(&self) -> Policy {
        Policy::of(self.0.policy.load(Ordering::SeqCst))
    }

    pub fn exits_on_error(&self) -> bool {
        self.0.exits_on_error.load(Ordering::Relaxed)
    }

    /// A write begins. True if somebody is to be told to watch.
    pub fn begin_write(&self) -> bool {
        self.0.write_number.fetch_add(1, Ordering::SeqCst);
        self.0.unwatched.load(Ordering::SeqCst) && self.0.unwatched.swap(false, Ordering::SeqCst)
    }

    pub fn end_write(&self) {
        self.0.write_number.fetch_add(1, Ordering::SeqCst);
    }

    pub fn is_snapshot_written(&self) -> bool {
        self.0.snapshot_written.load(Ordering::Relaxed)
    }

    /// Notes for the latency monitor how long something took, if that is long.
    pub fn note_latency(&self, event: &'static str, unix_seconds: i64, took: Duration) {
        let ms_min = self.0.latency_ms_min.load(Ordering::Relaxed);
        let millis = took.as_millis() as u64;
        if ms_min == 0 || millis < ms_min {
            return;
        }
        let mut slow = self.0.lock_slow();
        if slow.len() < SLOW_MAX {
            slow.push(Slow {
                event,
                unix_seconds,
                millis,
            });
        }
    }

    pub fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Relaxed)
    }

    pub fn spares_disk(&self) -> bool {
        self.0.spare_disk.load(Ordering::Relaxed)
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        let left = {
            let mut orders = self.0.lock_orders();
            self.0.ended.store(true, Ordering::SeqCst);
            std::mem::take(&mut *orders)
        };
        self.0.archive.end();
        left.into_iter()
            .for_each(|order| order.refuse("the AOF writer has ended"));
    }
}

impl Order {
    /// Answers with an error.
    pub fn refuse(self, reason: &str) {
        match self {
            Order::Rotate { answer, .. }
            | Order::Adopt { answer, .. }
            | Order::Replace { answer, .. }
            | Order::Sync { answer, .. }
            | Order::Close { answer, .. } => answer(Err(reason.to_owned())),
            Order::KeepHistory { .. } | Order::Annotate { .. } => {}
        }
    }

    /// Where the log has to stand for it, where that matters.
    pub fn place(&self) -> Option<Offset> {
        match self {
            Order::Rotate { at, .. } => Some(at.offset),
            Order::Sync { at, .. } | Order::Close { at, .. } => Some(*at),
            _ => None,
        }
    }
}

impl Shared {
    fn lock_orders(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.orders
            .lock()
            .expect("only queue operations happen under this lock")
    }

    fn lock_slow(&self) -> MutexGuard<'_, Vec<Slow>> {
        self.slow
            .lock()
            .expect("only pushes and a swap happen under this lock")
    }

    fn lock_status(&self) -> MutexGuard<'_, Status> {
        self.status
            .lock()
            .expect("only assignments happen under this lock")
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({:?})", self.0.lock_status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_is_noted_if_that_is_watched_and_taken_once() {
        let (writer, orders) = Writer::new(Waker::noop().clone());
        let note = |millis| orders.note_latency("aof-write", 7, Duration::from_millis(millis));
        note(1_000);
        assert!(writer.take_slow().is_empty(), "nothing is watched");
        writer.watch_latency(10);
        note(9);
        note(10);
        let expected = Slow {
            event: "aof-write",
            unix_seconds: 7,
            millis: 10,
        };
        assert_eq!(writer.take_slow(), [expected]);
        (0..2_000).for_each(|_| note(20));
        assert_eq!(writer.take_slow().len(), SLOW_MAX);
        assert!(writer.take_slow().is_empty());
    }
}
