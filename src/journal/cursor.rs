//! A reader's place in the journal: the next bytes, how far behind, and whether it has passed an offset.
//!
//! Two numbers per reader. *Read* is where it stands: bytes before it are the reader's own business, bytes after it are kept
//! for it. *Confirmed* is what it says is done with: written and synced by the AOF, acknowledged by a replica, stored by a
//! backup. The first bounds memory; the second answers WAIT, WAITAOF and `appendfsync always`, through [`Progress`], which
//! others may hold and which outlives the cursor.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::SharedJournal;
use super::position::Offset;

/// A registered reader. Dropping it lets go of what was kept for it.
pub struct Cursor {
    journal: SharedJournal,
    slot: usize,
    progress: Arc<Progress>,
}

/// The history under a cursor was replaced: its position means nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl Cursor {
    pub(super) fn new(journal: SharedJournal, slot: usize, progress: Arc<Progress>) -> Self {
        Cursor {
            journal,
            slot,
            progress,
        }
    }

    /// Pushes up to `bytes_max` of the next bytes onto `out`, moves behind them, and returns how many; 0 at the end.
    pub fn next(&mut self, bytes_max: usize, out: &mut Vec<Bytes>) -> Result<usize, Lost> {
        let mut guard = self.journal.0.lock();
        let inner = &mut *guard;
        let reader = inner.readers.get(self.slot);
        let position = reader.position.ok_or(Lost)?;
        let count = inner.blocks.read(position, bytes_max, out);
        let position = position.plus(count);
        reader.position = Some(position);
        self.progress.read.store(position.0, Ordering::Release);
        Ok(count)
    }

    /// As [`Cursor::next`], but waits at the end: the task is woken by [`super::Journal::publish`] or when the cursor is lost.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        bytes_max: usize,
        out: &mut Vec<Bytes>,
    ) -> Poll<Result<usize, Lost>> {
        assert!(
            bytes_max > 0,
            "a reader that may take nothing would wait forever"
        );
        loop {
            match self.next(bytes_max, out) {
                Ok(0) if !self.wake_on_bytes(context.waker()) => continue,
                Ok(0) => return Poll::Pending,
                ready => return Poll::Ready(ready),
            }
        }
    }

    /// Leaves a waker for the next bytes, unless they, or the end of this history, have come already: then false.
    pub fn wake_on_bytes(&mut self, waker: &Waker) -> bool {
        let mut guard = self.journal.0.lock();
        let inner = &mut *guard;
        let end = inner.blocks.end();
        let reader = inner.readers.get(self.slot);
        if reader.position != Some(end) {
            return false;
        }
        match &mut reader.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        self.journal.0.waiting.store(true, Ordering::Relaxed);
        true
    }

    /// Where it stands: everything before was handed out.
    pub fn position(&self) -> Offset {
        self.progress.read()
    }

    /// Bytes between here and the end.
    pub fn lag_bytes(&self) -> u64 {
        self.journal.end().since(self.position())
    }

    /// Says that everything before `offset` is done with, and wakes who waits for that.
    pub fn confirm(&self, offset: Offset) {
        self.progress.confirm(offset);
    }

    /// How far this reader is, for others to look at.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor at {}", self.position())
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut inner = self.journal.0.lock();
        inner.readers.remove(self.slot);
        inner.trim(super::TRIM_BLOCKS_PER_STEP);
        self.journal.0.refresh_active(&inner);
    }
}

/// How far a reader has read and what it has confirmed. Both only grow.
#[derive(Debug)]
pub struct Progress {
    read: AtomicI64,
    confirmed: AtomicI64,
    waiting: Mutex<Vec<(Offset, Waker)>>,
}

impl Progress {
    /// Of a reader that stands at `offset`.
    pub fn at(offset: Offset) -> Arc<Self> {
        Arc::new(Progress {
            read: AtomicI64::new(offset.0),
            confirmed: AtomicI64::new(offset.0),
            waiting: Mutex::new(Vec::new()),
        })
    }

    pub fn read(&self) -> Offset {
        Offset(self.read.load(Ordering::Acquire))
    }

    /// A reader that has no cursor now stands at `offset`.
    pub fn note_read(&self, offset: Offset) {
        self.read.fetch_max(offset.0, Ordering::AcqRel);
    }

    pub fn confirmed(&self) -> Offset {
        Offset(self.confirmed.load(Ordering::Acquire))
    }

    /// Whether everything before `offset` is confirmed.
    pub fn passed(&self, offset: Offset) -> bool {
        self.confirmed() >= offset
    }

    /// Leaves a waker for the moment when `offset` is passed, unless it is already: then false. One call per wait: what is
    /// left here is taken out only by passing.
    pub fn wake_when_passed(&self, offset: Offset, waker: &Waker) -> bool {
        let mut waiting = self.lock_waiting();
        if self.passed(offset) {
            return false;
        }
        waiting.push((offset, waker.clone()));
        true
    }

    /// Raises what is confirmed; a lower offset than before changes nothing.
    pub fn confirm(&self, offset: Offset) {
        let mut due = Vec::new();
        {
            let mut waiting = self.lock_waiting();
            let confirmed = self
                .confirmed
                .fetch_max(offset.0, Ordering::AcqRel)
                .max(offset.0);
            waiting.retain(|(wanted, waker)| {
                let passed = wanted.0 <= confirmed;
                if passed {
                    due.push(waker.clone());
                }
                !passed
            });
        }
        due.into_iter().for_each(Waker::wake);
    }

    fn lock_waiting(&self) -> MutexGuard<'_, Vec<(Offset, Waker)>> {
        self.waiting
            .lock()
            .expect("only pushes and retains happen under this lock")
    }
}

/// The registered readers, kept under the journal's lock.
#[derive(Default)]
pub(super) struct Readers {
    slots: Vec<Option<Reader>>,
}

pub(super) struct Reader {
    /// `None` once its history was replaced.
    position: Option<Offset>,
    waker: Option<Waker>,
}

impl Readers {
    pub(super) fn add(&mut self, progress: &Progress) -> usize {
        let reader = Some(Reader {
            position: Some(progress.read()),
            waker: None,
        });
        match self.slots.iter().position(Option::is_none) {
            Some(free) => {
                self.slots[free] = reader;
                free
            }
            None => {
                self.slots.push(reader);
                self.slots.len() - 1
            }
        }
    }

    /// How many readers keep the journal recording. A lost one does not: it has nothing to read any more.
    pub(super) fn count(&self) -> usize {
        self.live().count()
    }

    /// Where the slowest stands.
    pub(super) fn first_position(&self) -> Option<Offset> {
        self.live().min()
    }

    /// The wakers of readers with something to read before `end`, and whether others are left waiting.
    pub(super) fn take_wakers(&mut self, end: Offset) -> (Vec<Waker>, bool) {
        let mut wakers = Vec::new();
        let mut left = false;
        for reader in self.slots.iter_mut().flatten() {
            if reader.position == Some(end) {
                left |= reader.waker.is_some();
            } else {
                wakers.extend(reader.waker.take());
            }
        }
        (wakers, left)
    }

    /// Takes every reader's place away and returns the wakers that were waiting.
    pub(super) fn lose_all(&mut self) -> Vec<Waker> {
        self.slots
            .iter_mut()
            .flatten()
            .filter_map(|reader| {
                reader.position = None;
                reader.waker.take()
            })
            .collect()
    }

    fn get(&mut self, slot: usize) -> &mut Reader {
        self.slots[slot]
            .as_mut()
            .expect("a cursor's slot is its own until it is dropped")
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
    }

    fn live(&self) -> impl Iterator<Item = Offset> + '_ {
        self.slots
            .iter()
            .flatten()
            .filter_map(|reader| reader.position)
    }
}
