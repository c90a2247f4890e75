//! What of the journal is written and what is synced, and who waits for an offset.
//!
//! The writer raises two offsets; a connection that holds replies back asks whether its own has been passed, and leaves a
//! waker if not. What *passed* means is the policy's: synced under `always`; under `everysec` and `no` written, or the disk
//! is busy and what waits for it is within bounds: then memory keeps the bytes and nobody waits.
//!
//! Invariants: a question costs two relaxed loads when nothing is held back; a waker left here is woken, once, by whatever
//! makes its offset pass; both offsets only grow within a generation, and a new generation (another history, or no AOF any
//! more) lets everybody of an older one go.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;

use crate::journal::position::Offset;

/// When a write may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// At once: there is no AOF.
    Off,
    /// Once the system has it; it is synced when the system likes (`appendfsync no`).
    System,
    /// Once the system has it; it is synced within about a second (`everysec`).
    EverySecond,
    /// Once the disk has it (`always`).
    Always,
}

impl Policy {
    /// From its number.
    pub fn of(number: u8) -> Self {
        match number {
            0 => Policy::Off,
            1 => Policy::System,
            2 => Policy::EverySecond,
            _ => Policy::Always,
        }
    }
}

/// An offset that replies wait for, in the generation in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub offset: Offset,
    generation: u32,
}

/// What was kept when somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The first byte that was not, in the generation of that moment.
    next: Hold,
}

/// Shared by the engine, the writer and every connection.
#[derive(Debug)]
pub struct Durability {
    written: AtomicI64,
    synced: AtomicI64,
    policy: AtomicU8,
    busy: AtomicBool,
    /// A write is under way and takes long.
    write_slow: AtomicBool,
    /// Replicas only get what is durable here.
    gates_replicas: AtomicBool,
    /// What is synced would not be loaded: the set is only being begun, or belongs to a dataset that has been replaced.
    not_loadable: AtomicU8,
    generation: AtomicU32,
    /// Bytes that may wait in memory for a busy disk before writers are held back again.
    waiting_bytes_max: AtomicU64,
    /// Somebody has left a waker. Written under `waiting`.
    anyone: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: Vec<(Hold, Until, Waker)>,
    /// Taken out and about to be woken; kept so that its memory is used again.
    due: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The policy lets the reply go.
    Passed,
    /// Replicas may have the byte.
    Sendable,
    /// A restart would have the byte.
    Kept,
}

/// Reasons why a restart would not load what is synced.
const BEGINNING: u8 = 1;
const REPLACED: u8 = 2;

/// What may wait in memory while the disk is busy, unless set otherwise.
pub const WAITING_BYTES_MAX: u64 = 256 * 1024 * 1024;

impl Default for Durability {
    /// Without an AOF: everything has passed.
    fn default() -> Self {
        Durability {
            written: AtomicI64::new(0),
            synced: AtomicI64::new(0),
            policy: AtomicU8::new(Policy::Off as u8),
            busy: AtomicBool::new(false),
            write_slow: AtomicBool::new(false),
            gates_replicas: AtomicBool::new(false),
            not_loadable: AtomicU8::new(0),
            generation: AtomicU32::new(0),
            waiting_bytes_max: AtomicU64::new(WAITING_BYTES_MAX),
            anyone: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }
}

impl Durability {
    /// A new generation begins: everything before `at` is on disk, and who waited for older offsets is let go.
    pub fn begin(&self, at: Offset, policy: Policy) {
        self.policy.store(policy as u8, Ordering::SeqCst);
        self.not_loadable.fetch_and(!REPLACED, Ordering::SeqCst);
        self.written.store(at.0, Ordering::SeqCst);
        self.synced.store(at.0, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.wake_due();
    }

    /// There is no AOF any more: nobody waits.
    pub fn end(&self) {
        self.policy.store(Policy::Off as u8, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.wake_due();
    }

    pub fn policy(&self) -> Policy {
        Policy::of(self.policy.load(Ordering::Relaxed))
    }

    pub fn set_policy(&self, policy: Policy) {
        if self.policy.swap(policy as u8, Ordering::SeqCst) != policy as u8 {
            self.wake_due();
        }
    }

    /// Everything before it has been given to the system.
    pub fn written(&self) -> Offset {
        Offset(self.written.load(Ordering::Acquire))
    }

    /// Everything before it is on disk.
    pub fn synced(&self) -> Offset {
        Offset(self.synced.load(Ordering::Acquire))
    }

    pub fn raise_written(&self, offset: Offset) {
        self.written.fetch_max(offset.0, Ordering::SeqCst);
        self.wake_due();
    }

    pub fn raise_synced(&self, offset: Offset) {
        self.synced.fetch_max(offset.0, Ordering::SeqCst);
        self.wake_due();
    }

    /// The disk is at work on something long: under every policy but [`Policy::Always`] nobody waits for it.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
        if busy {
            self.wake_due();
        }
    }

    /// A write takes long: as a busy disk, told by others and forgotten with the write.
    pub fn set_write_slow(&self, slow: bool) {
        if self.write_slow.swap(slow, Ordering::SeqCst) != slow && slow {
            self.wake_due();
        }
    }

    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) || self.write_slow.load(Ordering::SeqCst)
    }

    pub fn set_waiting_bytes_max(&self, bytes: u64) {
        self.waiting_bytes_max.store(bytes, Ordering::SeqCst);
    }

    /// The hold of a write that ends at `offset`; none where nothing is ever held.
    pub fn hold(&self, offset: Offset) -> Option<Hold> {
        (self.policy() != Policy::Off).then(|| Hold {
            offset,
            generation: self.generation.load(Ordering::Relaxed),
        })
    }

    /// Whether replies may go.
    pub fn is_passed(&self, hold: Hold) -> bool {
        self.has_come(hold, Until::Passed)
    }

    /// Leaves a waker for the moment when `hold` is passed, unless it is already: then false. One call per wait.
    pub fn wake_when_passed(&self, hold: Hold, waker: &Waker) -> bool {
        self.wake_when(hold, Until::Passed, waker)
    }

    /// Whether replicas are to get only what is durable here (`repl-send-durable-only`).
    pub fn gate_replicas(&self, gates: bool) {
        self.gates_replicas.store(gates, Ordering::SeqCst);
        self.wake_due();
    }

    /// What replicas may have: all, or what is as durable as the policy ever makes it.
    pub fn sendable(&self) -> Offset {
        match self.policy() {
            _ if !self.gates_replicas.load(Ordering::SeqCst) => Offset::MAX,
            Policy::Off => Offset::MAX,
            Policy::System => self.written(),
            Policy::EverySecond | Policy::Always => self.synced(),
        }
    }

    /// As [`Durability::wake_when_passed`], for the byte behind `offset` to become one that replicas may have.
    pub fn wake_when_sendable(&self, offset: Offset, waker: &Waker) -> bool {
        match self.hold(offset.plus(1)) {
            Some(hold) => self.wake_when(hold, Until::Sendable, waker),
            None => false,
        }
    }

    /// Whether the set is only being begun: nothing of it is loaded before it has its first base.
    pub fn set_beginning(&self, beginning: bool) {
        match beginning {
            true => self.not_loadable.fetch_or(BEGINNING, Ordering::SeqCst),
            false => self.not_loadable.fetch_and(!BEGINNING, Ordering::SeqCst),
        };
        self.wake_due();
    }

    /// Another dataset has taken the place of the one that is on disk: until the next generation nothing of it is.
    pub fn detach(&self) {
        self.not_loadable.fetch_or(REPLACED, Ordering::SeqCst);
    }

    /// Everything before it would be there after a crash; none while nothing of the present dataset would.
    pub fn kept(&self) -> Option<Offset> {
        let is_loadable = self.not_loadable.load(Ordering::SeqCst) == 0;
        (is_loadable && self.policy() != Policy::Off).then(|| self.synced())
    }

    /// Leaves a waker for the moment when more is kept than `seen`, or when that is to be asked anew; false if it has come.
    pub fn wake_when_kept_beyond(&self, seen: Kept, waker: &Waker) -> bool {
        self.wake_when(seen.next, Until::Kept, waker)
    }

    /// [`Durability::kept`], to wait for what comes after it.
    pub fn look(&self) -> (Option<Offset>, Kept) {
        let generation = self.generation.load(Ordering::SeqCst);
        let kept = self.kept();
        let offset = kept.map_or(Offset::ZERO, |kept| kept.plus(1));
        let next = Hold { offset, generation };
        (kept, Kept { next })
    }

    /// Takes back what was left with this waker: for a connection that ends while it waits.
    pub fn forget(&self, waker: &Waker) {
        let mut waiting = self.lock();
        waiting.wakers.retain(|(_, _, left)| !left.will_wake(waker));
    }

    /// Wakers left and not yet woken.
    pub fn waiting(&self) -> usize {
        self.lock().wakers.len()
    }

    fn wake_when(&self, hold: Hold, until: Until, waker: &Waker) -> bool {
        let mut waiting = self.lock();
        waiting.wakers.push((hold, until, waker.clone()));
        // Told before the question is asked: who raises an offset afterwards sees it and waits for the lock.
        self.anyone.store(true, Ordering::SeqCst);
        if self.has_come(hold, until) {
            waiting.wakers.pop();
            return false;
        }
        true
    }

    fn has_come(&self, hold: Hold, until: Until) -> bool {
        let offset = hold.offset.0;
        if until == Until::Kept {
            return self.generation.load(Ordering::SeqCst) != hold.generation
                || self.kept().is_some_and(|kept| kept.0 >= offset);
        }
        if self.synced.load(Ordering::SeqCst) >= offset {
            return true;
        }
        let policy = self.policy();
        if policy == Policy::Off || self.generation.load(Ordering::SeqCst) != hold.generation {
            return true;
        }
        if until == Until::Sendable {
            return self.sendable().0 >= offset;
        }
        if policy == Policy::Always {
            return false;
        }
        let written = self.written.load(Ordering::SeqCst);
        let bound = self.waiting_bytes_max.load(Ordering::Relaxed);
        written >= offset || (self.is_busy() && offset.abs_diff(written) <= bound)
    }

    fn wake_due(&self) {
        if !self.anyone.load(Ordering::SeqCst) {
            return;
        }
        let mut due = {
            let mut waiting = self.lock();
            let Waiting { wakers, due } = &mut *waiting;
            let mut at = 0;
            while at < wakers.len() {
                let (hold, until) = (wakers[at].0, wakers[at].1);
                if self.has_come(hold, until) {
                    due.push(wakers.swap_remove(at).2);
                } else {
                    at += 1;
                }
            }
            self.anyone.store(!wakers.is_empty(), Ordering::SeqCst);
            std::mem::take(due)
        };
        due.drain(..).for_each(Waker::wake);
        let mut waiting = self.lock();
        if waiting.due.capacity() < due.capacity() {
            waiting.due = due;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .expect("only pushes and removals happen under this lock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
    use std::thread;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn waker(self: &Arc<Self>) -> Waker {
            Waker::from(Arc::clone(self))
        }

        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn at(policy: Policy) -> Durability {
        let durability = Durability::default();
        durability.begin(Offset(100), policy);
        durability
    }

    #[test]
    fn without_an_aof_nothing_is_ever_held() {
        let durability = Durability::default();
        assert_eq!(durability.hold(Offset(5)), None);
        assert_eq!(durability.sendable(), Offset::MAX);
    }

    #[test]
    fn always_waits_for_the_disk_and_the_others_for_the_system() {
        for policy in [Policy::System, Policy::EverySecond, Policy::Always] {
            let durability = at(policy);
            let hold = durability.hold(Offset(110)).unwrap();
            assert!(durability.is_passed(durability.hold(Offset(100)).unwrap()));
            assert!(!durability.is_passed(hold));
            durability.raise_written(Offset(110));
            assert_eq!(durability.is_passed(hold), policy != Policy::Always);
            durability.raise_synced(Offset(109));
            assert_eq!(durability.is_passed(hold), policy != Policy::Always);
            durability.raise_synced(Offset(110));
            assert!(durability.is_passed(hold));
        }
    }

    #[test]
    fn a_busy_disk_holds_nobody_within_bounds_except_under_always() {
        let durability = at(Policy::EverySecond);
        durability.set_waiting_bytes_max(50);
        let (near, far) = (Offset(150), Offset(151));
        let holds = [near, far].map(|offset| durability.hold(offset).unwrap());
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        assert!(durability.wake_when_passed(holds[0], &first.waker()));
        assert!(durability.wake_when_passed(holds[1], &second.waker()));
        durability.set_busy(true);
        assert_eq!((first.get(), second.get()), (1, 0));
        assert!(durability.is_passed(holds[0]) && !durability.is_passed(holds[1]));
        durability.set_policy(Policy::Always);
        assert!(!durability.is_passed(holds[0]));
    }

    #[test]
    fn a_waker_is_woken_once_by_what_makes_its_offset_pass() {
        let durability = at(Policy::Always);
        let count = Arc::new(Count::default());
        for offset in [110, 120, 130] {
            let hold = durability.hold(Offset(offset)).unwrap();
            assert!(durability.wake_when_passed(hold, &count.waker()));
        }
        durability.raise_written(Offset(130));
        assert_eq!(count.get(), 0);
        durability.raise_synced(Offset(125));
        assert_eq!((count.get(), durability.waiting()), (2, 1));
        let passed = durability.hold(Offset(125)).unwrap();
        assert!(!durability.wake_when_passed(passed, &count.waker()));
        durability.forget(&count.waker());
        durability.raise_synced(Offset(130));
        assert_eq!((count.get(), durability.waiting()), (2, 0));
    }

    #[test]
    fn another_history_and_the_end_of_the_aof_let_everybody_go() {
        let durability = at(Policy::Always);
        let count = Arc::new(Count::default());
        let hold = durability.hold(Offset(1000)).unwrap();
        assert!(durability.wake_when_passed(hold, &count.waker()));
        durability.begin(Offset(5), Policy::Always);
        assert_eq!(count.get(), 1);
        assert!(durability.is_passed(hold));
        let hold = durability.hold(Offset(10)).unwrap();
        assert!(!durability.is_passed(hold));
        assert!(durability.wake_when_passed(hold, &count.waker()));
        durability.end();
        assert_eq!((count.get(), durability.waiting()), (2, 0));
    }

    #[test]
    fn replicas_wait_only_where_that_is_asked_for() {
        let durability = at(Policy::Always);
        let count = Arc::new(Count::default());
        assert!(!durability.wake_when_sendable(Offset(100), &count.waker()));
        durability.gate_replicas(true);
        assert_eq!(durability.sendable(), Offset(100));
        assert!(durability.wake_when_sendable(Offset(100), &count.waker()));
        durability.raise_written(Offset(101));
        assert_eq!(count.get(), 0);
        durability.raise_synced(Offset(101));
        assert_eq!(count.get(), 1);
        assert!(durability.wake_when_sendable(Offset(101), &count.waker()));
        durability.gate_replicas(false);
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn only_what_would_be_loaded_is_kept() {
        let durability = at(Policy::EverySecond);
        let count = Arc::new(Count::default());
        durability.set_beginning(true);
        durability.raise_synced(Offset(110));
        let (kept, seen) = durability.look();
        assert_eq!(kept, None);
        assert!(durability.wake_when_kept_beyond(seen, &count.waker()));
        durability.raise_synced(Offset(120));
        assert_eq!(count.get(), 0);
        durability.set_beginning(false);
        assert_eq!((count.get(), durability.kept()), (1, Some(Offset(120))));
        let (_, seen) = durability.look();
        assert!(durability.wake_when_kept_beyond(seen, &count.waker()));
        durability.raise_written(Offset(130));
        assert_eq!(count.get(), 1);
        durability.raise_synced(Offset(130));
        assert_eq!(count.get(), 2);
        durability.detach();
        assert_eq!(durability.kept(), None);
        let (_, seen) = durability.look();
        assert!(durability.wake_when_kept_beyond(seen, &count.waker()));
        durability.begin(Offset(7), Policy::EverySecond);
        assert_eq!((count.get(), durability.kept()), (3, Some(Offset(7))));
        let (_, seen) = durability.look();
        assert!(durability.wake_when_kept_beyond(seen, &count.waker()));
        durability.end();
        assert_eq!((count.get(), durability.kept()), (4, None));
    }

    #[test]
    fn no_waker_is_lost_between_threads() {
        let durability = Arc::new(at(Policy::Always));
        let rounds: i64 = 20_000;
        let writer = {
            let durability = Arc::clone(&durability);
            thread::spawn(move || {
                for offset in 101..=100 + rounds {
                    durability.raise_synced(Offset(offset));
                }
            })
        };
        let (count, mut left) = (Arc::new(Count::default()), 0);
        for offset in (101..=100 + rounds).rev().step_by(7) {
            let hold = durability.hold(Offset(offset)).unwrap();
            left += usize::from(durability.wake_when_passed(hold, &count.waker()));
        }
        writer.join().unwrap();
        assert_eq!((count.get(), durability.waiting()), (left, 0));
    }
}
