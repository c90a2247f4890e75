//! The journal: the effect of every write, once, at one offset.
//!
//! Appended under the engine lock, read by cursors without it. A replica, the AOF and the backlog are one thing here: a
//! place to which bytes are kept. WAIT, WAITAOF and `appendfsync always` are one question: has that cursor passed offset N?
//!
//! ```text
//! engine --append--> [ start ......... blocks ......... end ] --read--> Cursor (replica), Cursor (AOF), ...
//!                      ^ kept: backlog size back from the end,
//!                        and further back while a cursor still stands there
//! ```
//!
//! The engine owns the [`Journal`] and is the only writer. Tasks hold a [`SharedJournal`] and [`Cursor`]s, behind one small
//! mutex of its own that is held for a copy of some kilobytes at most, never while anything waits.
//!
//! Invariants: offsets only grow within a history; start <= cursor <= end for each live cursor; a byte that a cursor has yet
//! to read is never freed. While nobody listens (no backlog, no cursor) nothing is recorded and the offset stands still: the
//! history then has a gap, and whoever listens next must be given a new replication id.
//! Knows nothing of keys, sockets or files.

pub mod block;
pub mod cursor;
pub mod effect;
pub mod position;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;

use bytes::Bytes;

use block::Blocks;
use cursor::{Cursor, Progress, Readers};
use position::Offset;

/// The engine's end: the only place that appends, resizes or starts over.
pub struct Journal {
    shared: Arc<Shared>,
    /// Mirror of the end, so that the engine reads its own offset without a lock.
    end: Offset,
}

/// The side of the journal that needs no engine lock. Clones are the same journal.
#[derive(Clone)]
pub struct SharedJournal(Arc<Shared>);

/// What a PSYNC can be served from: the bytes after `start`, up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: Offset,
    pub end: Offset,
}

impl Window {
    /// Whether a reader that stands at `offset` can be served.
    pub fn covers(self, offset: Offset) -> bool {
        self.start <= offset && offset <= self.end
    }

    pub fn length(self) -> u64 {
        self.end.since(self.start)
    }
}

/// What the journal takes, for INFO memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// All of it.
    pub memory_bytes: u64,
    /// The part that only slow cursors keep, beyond the size of the backlog.
    pub beyond_backlog_bytes: u64,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Somebody listens: a backlog or a cursor exists. Written under `inner`.
    active: AtomicBool,
    /// A cursor has left a waker. Written under `inner`; read without it, because a reader registers only after it has
    /// seen, under `inner`, that nothing newer is there.
    waiting: AtomicBool,
}

struct Inner {
    blocks: Blocks,
    backlog: Option<Backlog>,
    readers: Readers,
}

struct Backlog {
    size_bytes: u64,
    /// Where it was created: older bytes may be held for a cursor, but belong to what was before.
    floor: Offset,
}

impl Journal {
    /// An empty journal that stands at `offset` and records nothing until somebody listens.
    pub fn new(offset: Offset) -> Self {
        Journal {
            shared: Arc::new(Shared {
                inner: Mutex::new(Inner {
                    blocks: Blocks::new(offset, BLOCK_BYTES_MIN),
                    backlog: None,
                    readers: Readers::default(),
                }),
                active: AtomicBool::new(false),
                waiting: AtomicBool::new(false),
            }),
            end: offset,
        }
    }

    pub fn shared(&self) -> SharedJournal {
        SharedJournal(Arc::clone(&self.shared))
    }

    /// Whether bytes are recorded. While this is false effects need not even be encoded.
    pub fn is_active(&self) -> bool {
        self.shared.active.load(Ordering::Relaxed)
    }

    /// `master_repl_offset`.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Adds `bytes` and returns the offset behind them; does nothing while nobody listens. Readers learn of it with the next
    /// [`Journal::publish`].
    pub fn append(&mut self, bytes: &[u8]) -> Offset {
        if self.is_active() {
            let mut inner = self.shared.lock();
            if inner.blocks.append(bytes) {
                inner.trim(TRIM_BLOCKS_PER_STEP);
            }
            self.end = self.end.plus(bytes.len());
        }
        self.end
    }

    /// [`Journal::append`] without the copy, for big values whose buffer can be handed over.
    pub fn append_shared(&mut self, bytes: Bytes) -> Offset {
        if self.is_active() {
            let mut inner = self.shared.lock();
            self.end = self.end.plus(bytes.len());
            inner.blocks.append_shared(bytes);
            inner.trim(TRIM_BLOCKS_PER_STEP);
        }
        self.end
    }

    /// Wakes the readers that wait for bytes. Once per batch of commands; costs one relaxed load when nobody waits. The same
    /// on [`SharedJournal`] may be called after the engine lock was given back.
    pub fn publish(&self) {
        self.shared.publish();
    }

    pub fn has_backlog(&self) -> bool {
        self.shared.lock().backlog.is_some()
    }

    /// Keeps `size_bytes` back from the end from now on. Returns whether the journal was recording already: if not, the
    /// history has a gap and needs a new id (spec: "backlog created from nothing"). An existing backlog is resized.
    pub fn create_backlog(&mut self, size_bytes: u64) -> bool {
        let mut inner = self.shared.lock();
        let floor = inner
            .backlog
            .as_ref()
            .map_or(inner.blocks.end(), |backlog| backlog.floor);
        inner.backlog = Some(Backlog {
            size_bytes: size_bytes.max(BACKLOG_BYTES_MIN),
            floor,
        });
        inner.blocks.set_block_bytes(block_bytes(size_bytes));
        inner.trim(TRIM_BLOCKS_PER_STEP);
        self.shared.refresh_active(&inner)
    }

    /// Keeps only what cursors still have to read.
    pub fn free_backlog(&mut self) {
        let mut inner = self.shared.lock();
        inner.backlog = None;
        inner.trim(TRIM_BLOCKS_PER_STEP);
        self.shared.refresh_active(&inner);
    }

    /// Changes how far back bytes are kept, where there is a backlog; what it holds stays. Shrinking frees gradually.
    pub fn resize_backlog(&mut self, size_bytes: u64) {
        let mut inner = self.shared.lock();
        if let Some(backlog) = &mut inner.backlog {
            backlog.size_bytes = size_bytes.max(BACKLOG_BYTES_MIN);
            inner.blocks.set_block_bytes(block_bytes(size_bytes));
            inner.trim(TRIM_BLOCKS_PER_STEP);
        }
    }

    /// The size asked for, while a backlog exists.
    pub fn backlog_size_bytes(&self) -> Option<u64> {
        self.shared
            .lock()
            .backlog
            .as_ref()
            .map(|backlog| backlog.size_bytes)
    }

    /// Starts over at `offset` of another history: nothing held, every cursor lost. A backlog stays, empty.
    pub fn reset(&mut self, offset: Offset) {
        let mut inner = self.shared.lock();
        let size_bytes = inner.backlog.as_ref().map(|backlog| backlog.size_bytes);
        inner.blocks = Blocks::new(offset, block_bytes(size_bytes.unwrap_or(0)));
        if let Some(backlog) = &mut inner.backlog {
            backlog.floor = offset;
        }
        self.end = offset;
        let wakers = inner.readers.lose_all();
        self.shared.refresh_active(&inner);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Starts over with a backlog that holds the bytes which follow `start`: what a restart has found on disk.
    pub fn restore(
        &mut self,
        start: Offset,
        bytes: impl IntoIterator<Item = Bytes>,
        backlog_bytes: u64,
    ) {
        self.reset(start);
        self.create_backlog(backlog_bytes);
        for part in bytes {
            self.append_shared(part);
        }
    }

    /// What PSYNC can be served from; `None` without a backlog.
    pub fn window(&self) -> Option<Window> {
        self.shared.lock().window()
    }

    /// [`SharedJournal::reader_at`].
    pub fn reader_at(&self, offset: Offset) -> Option<Cursor> {
        self.shared().reader_at(offset)
    }
}

impl SharedJournal {
    pub fn publish(&self) {
        self.0.publish();
    }

    pub fn end(&self) -> Offset {
        self.0.lock().blocks.end()
    }

    pub fn window(&self) -> Option<Window> {
        self.0.lock().window()
    }

    /// A reader whose first byte is the one after `offset`; `None` where that byte is no longer, or not yet, in memory.
    /// Everything from there on is kept until the cursor has read it or is dropped.
    pub fn reader_at(&self, offset: Offset) -> Option<Cursor> {
        self.reader_going_on(Progress::at(offset))
    }

    /// [`SharedJournal::reader_at`] for a reader that has read elsewhere up to where `progress` stands, and goes on with it.
    pub fn reader_going_on(&self, progress: Arc<Progress>) -> Option<Cursor> {
        let offset = progress.read();
        let mut inner = self.0.lock();
        if offset < inner.blocks.start() || inner.blocks.end() < offset {
            return None;
        }
        let slot = inner.readers.add(&progress);
        self.0.refresh_active(&inner);
        drop(inner);
        Some(Cursor::new(self.clone(), slot, progress))
    }

    /// The place before the first byte that is in memory, for whomever it is kept.
    pub fn held_from(&self) -> Offset {
        self.0.lock().blocks.start()
    }

    pub fn held(&self) -> Held {
        let inner = self.0.lock();
        let kept = inner
            .backlog
            .as_ref()
            .map_or(0, |backlog| backlog.size_bytes);
        Held {
            memory_bytes: inner.blocks.memory_bytes(),
            beyond_backlog_bytes: inner.blocks.memory_bytes().saturating_sub(kept),
        }
    }

    /// Frees a bounded share of what nobody needs, and returns whether there is more: appending frees on its own, this is
    /// for quiet times (a slow replica left, the backlog was made smaller).
    pub fn trim(&self) -> bool {
        self.0.lock().trim(TRIM_BLOCKS_PER_TICK)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(
            "a panic while the journal is locked ends the process: its bytes may be half written",
        )
    }

    fn publish(&self) {
        if !self.waiting.load(Ordering::Relaxed) {
            return;
        }
        let wakers = {
            let mut inner = self.lock();
            let end = inner.blocks.end();
            let (wakers, left) = inner.readers.take_wakers(end);
            self.waiting.store(left, Ordering::Relaxed);
            wakers
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Recomputes whether somebody listens, and returns whether somebody did before.
    fn refresh_active(&self, inner: &Inner) -> bool {
        let active = inner.backlog.is_some() || inner.readers.count() > 0;
        self.active.swap(active, Ordering::Relaxed)
    }
}

impl Inner {
    fn window(&self) -> Option<Window> {
        self.backlog.as_ref().map(|backlog| Window {
            start: backlog.floor.max(self.blocks.start()),
            end: self.blocks.end(),
        })
    }

    fn trim(&mut self, blocks_max: usize) -> bool {
        let end = self.blocks.end();
        let backlog_start = match &self.backlog {
            Some(backlog) => Offset(end.0.saturating_sub_unsigned(backlog.size_bytes)),
            None => end,
        };
        let keep_from = self
            .readers
            .first_position()
            .map_or(backlog_start, |first| first.min(backlog_start));
        self.blocks.trim(keep_from, blocks_max)
    }
}

/// A sixteenth of the backlog, so that freeing a block does not empty it, within bounds that keep allocation cheap.
fn block_bytes(backlog_bytes: u64) -> usize {
    (backlog_bytes / 16).clamp(BLOCK_BYTES_MIN as u64, BLOCK_BYTES_MAX as u64) as usize
}

/// The least that `repl-backlog-size` means.
pub const BACKLOG_BYTES_MIN: u64 = 16 * 1024;

const BLOCK_BYTES_MIN: usize = 16 * 1024;
const BLOCK_BYTES_MAX: usize = 256 * 1024;
const TRIM_BLOCKS_PER_STEP: usize = 64;
const TRIM_BLOCKS_PER_TICK: usize = 640;

#[cfg(test)]
mod tests;
