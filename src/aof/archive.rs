//! What of the journal lies on disk, for those who read it there: the segments in order, and how far they are written.
//!
//! The writer's thread says after each change of the set which files there are; a reader asks where its next byte lies. A file
//! that was opened stays readable whatever becomes of its name; one that is gone before it was opened is gone for good.
//!
//! Invariants: the pieces are contiguous, each ends where the next begins, and only the last is open; nothing at or behind
//! `written` is for readers. Another history in the set's place is another epoch: readers of the one before are lost.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use crate::journal::position::{Offset, ReplId};

/// Shared by the writer, the engine and the readers.
#[derive(Debug, Default)]
pub struct Archive {
    inner: Mutex<Inner>,
}

/// A segment with what a reader needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub path: PathBuf,
    /// History of its bytes.
    pub id: ReplId,
    pub start: Offset,
    /// None while it is written to.
    pub end: Option<Offset>,
    pub prelude_bytes: u64,
    /// `#` lines stand between its units.
    pub annotated: bool,
}

/// The archive at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub epoch: u64,
    /// In the order of their offsets.
    pub pieces: Arc<[Piece]>,
    pub written: Offset,
    /// How often bytes were taken back, to be written again.
    pub cuts: u64,
    /// Nobody writes any more.
    pub ended: bool,
}

#[derive(Debug, Default)]
struct Inner {
    view: View,
    /// What the writer says of its set is about a history that is not ours.
    withdrawn: bool,
    waiting: Vec<(Offset, Waker)>,
}

impl Archive {
    /// The set has changed.
    pub fn put(&self, pieces: Vec<Piece>, written: Offset) {
        let mut inner = self.lock();
        if inner.withdrawn {
            return;
        }
        inner.view.pieces = pieces.into();
        inner.view.written = written;
        inner.wake_due();
    }

    /// What was here belongs to a history that is not ours any more; so it is until [`Archive::begin_anew`].
    pub fn withdraw(&self) {
        let mut inner = self.lock();
        inner.view.epoch += 1;
        inner.view.pieces = Arc::default();
        inner.withdrawn = true;
        inner.wake_all();
    }

    /// The set is of the history that we have now.
    pub fn begin_anew(&self) {
        let mut inner = self.lock();
        inner.view.epoch += 1;
        inner.withdrawn = false;
    }

    /// Nothing is written any more. What is there stays readable while the files are.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.view.ended = true;
        inner.wake_all();
    }

    /// Everything before `offset` can be read, and nothing behind it.
    pub fn set_written(&self, offset: Offset) {
        let mut inner = self.lock();
        if inner.withdrawn {
            return;
        }
        inner.view.cuts += u64::from(offset < inner.view.written);
        inner.view.written = offset;
        inner.wake_due();
    }

    pub fn view(&self) -> View {
        self.lock().view.clone()
    }

    /// Whether the byte behind `offset` is there.
    pub fn covers(&self, offset: Offset) -> bool {
        let inner = self.lock();
        let first = inner.view.pieces.first();
        first.is_some_and(|piece| piece.start <= offset) && offset <= inner.view.written
    }

    /// Leaves a waker for the moment when there is more than `offset`, or something else has changed, unless there is
    /// already: then false.
    pub fn wake_when_written(&self, offset: Offset, waker: &Waker) -> bool {
        let mut inner = self.lock();
        if inner.view.written > offset || inner.view.ended {
            return false;
        }
        let waiting = &mut inner.waiting;
        match waiting.iter_mut().find(|(_, it)| it.will_wake(waker)) {
            Some(known) => known.0 = offset,
            None => waiting.push((offset, waker.clone())),
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("only assignments and wake-ups happen under this lock")
    }
}

impl View {
    /// The piece that holds the byte behind `offset`.
    pub fn find(&self, offset: Offset) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.start <= offset);
        let piece = &self.pieces[after.checked_sub(1)?];
        piece.end.is_none_or(|end| offset < end).then_some(piece)
    }
}

impl Inner {
    fn wake_due(&mut self) {
        let written = self.view.written;
        let due = self.waiting.extract_if(.., |(offset, _)| *offset < written);
        due.for_each(|(_, waker)| waker.wake());
    }

    fn wake_all(&mut self) {
        let all = std::mem::take(&mut self.waiting);
        all.into_iter().for_each(|(_, waker)| waker.wake());
    }
}
