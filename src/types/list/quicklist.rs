//! A large list: chunks in a copy-on-write tree that counts elements.
//!
//! Chunks that a change in the middle has left small are joined with a neighbour where both together fill at most half of
//! the limits, so that neither splitting nor joining repeats itself at a boundary.

use crate::cow::tree::CowTree;

use super::chunk::{Chunk, Replaced};
use super::element::{Incoming, ListElement};
use super::limits::{End, Limits};

#[derive(Clone, Default)]
pub struct Quicklist {
    tree: CowTree<Chunk>,
}

impl Quicklist {
    pub fn len(&self) -> usize {
        self.tree.weight() as usize
    }

    pub fn chunks(&self) -> &CowTree<Chunk> {
        &self.tree
    }

    /// The only chunk, if there is just one.
    pub fn only_chunk(&self) -> Option<&Chunk> {
        match self.tree.items() {
            1 => self.tree.first(),
            _ => None,
        }
    }

    pub fn get(&self, index: usize) -> Option<ListElement<'_>> {
        let (chunk, offset) = self.tree.at(index as u64)?;
        chunk.get(offset as usize)
    }

    pub fn push(&mut self, end: End, element: Incoming, limits: Limits) {
        let push = |chunk: &mut Chunk| chunk.push(end, element, limits);
        match end {
            End::Front => {
                if self.tree.update_first(push) != Some(true) {
                    self.tree.push_front(Chunk::of(element, limits));
                }
            }
            End::Back => {
                if self.tree.update_last(push) != Some(true) {
                    self.tree.push_back(Chunk::of(element, limits));
                }
            }
        }
    }

    pub fn pop<R>(&mut self, end: End, look: impl FnOnce(ListElement) -> R) -> Option<R> {
        let pop = |chunk: &mut Chunk| chunk.pop(end, look);
        match end {
            End::Front => self.tree.update_first(pop),
            End::Back => self.tree.update_last(pop),
        }
        .flatten()
    }

    /// Puts an element in front of the one at `index`, or behind all.
    pub fn insert(&mut self, index: usize, element: Incoming, limits: Limits) {
        let position = index as u64;
        let Some((chunk, offset)) = self.tree.at(position) else {
            return self.push(End::Back, element, limits);
        };
        let middle = position - offset + chunk.len() as u64 / 2;
        if self.insert_within(position, element, limits) {
            return;
        }
        if offset > 0 && !limits.exclude(element.element()) {
            // Halves stay better filled than what cutting at the element's own place would leave.
            self.split(middle);
            if self.insert_within(position, element, limits) {
                return;
            }
        }
        self.split(position);
        if !self.insert_at_boundary(position, element, limits) {
            self.tree
                .insert_before(position, Chunk::of(element, limits));
        }
    }

    /// Puts another element in the place of the one at `index`, which exists.
    pub fn set(&mut self, index: usize, element: Incoming, limits: Limits) {
        let position = index as u64;
        let replaced = self.tree.update_at(position, |chunk, offset| {
            chunk.replace(offset as usize, element, limits)
        });
        match replaced {
            Some(Replaced::Refused) => {
                self.tree
                    .update_at(position, |chunk, offset| chunk.remove(offset as usize, 1));
                self.insert(index, element, limits);
            }
            Some(Replaced::Shrunk) => self.mend(position, limits),
            Some(Replaced::Done) | None => {}
        }
    }

    /// Takes out the elements `from..to`, which exist; returns the chunks that went whole.
    pub fn remove_range(&mut self, from: usize, to: usize, limits: Limits) -> Quicklist {
        let removed = self.tree.remove_range(from as u64, to as u64);
        let mut left = to - from - removed.weight() as usize;
        // What remains are the end of one chunk and the start of the next, or the middle of one.
        while left > 0 {
            let gone = self.tree.update_at(from as u64, |chunk, offset| {
                chunk.remove(offset as usize, left)
            });
            match gone {
                None | Some(0) => break,
                Some(gone) => left -= gone,
            }
        }
        if from > 0 {
            self.mend(from as u64, limits);
        }
        Quicklist { tree: removed }
    }

    /// Takes out elements that are `text`: at most `most`, the nearest ones to `from`. Returns how many.
    pub fn remove_matching(
        &mut self,
        text: &[u8],
        from: End,
        most: usize,
        limits: Limits,
    ) -> usize {
        let mut removed = 0;
        let mut position = match from {
            End::Front => 0,
            End::Back => self.tree.weight(),
        };
        while removed < most {
            let Some((start, chunk_len)) = self.next_matching(text, from, position) else {
                break;
            };
            let most = most - removed;
            let gone = self
                .tree
                .update_at(start, |chunk, _| chunk.remove_matching(text, from, most))
                .unwrap_or(0);
            removed += gone;
            position = match from {
                End::Front => start + chunk_len - gone as u64,
                End::Back => start,
            };
            self.mend(start + chunk_len - gone as u64, limits);
            self.mend(start, limits);
        }
        removed
    }

    /// The first chunk from `position` on that holds `text`, or the last one before it: where it starts and how long it is.
    fn next_matching(&self, text: &[u8], from: End, position: u64) -> Option<(u64, u64)> {
        let holds = |chunk: &Chunk| match chunk {
            Chunk::Packed(pack) => pack.find(text, 0).is_some(),
            Chunk::Plain(bytes) => bytes == text,
        };
        match from {
            End::Front => {
                let mut chunks = self.tree.range(position);
                let mut start = position - chunks.offset();
                chunks.find_map(|chunk| {
                    let len = chunk.len() as u64;
                    start += len;
                    holds(chunk).then_some((start - len, len))
                })
            }
            End::Back => {
                let last = position.checked_sub(1)?;
                let mut chunks = self.tree.range_back(last);
                let (first, offset) = self.tree.at(last)?;
                let mut end = last - offset + first.len() as u64;
                chunks.find_map(|chunk| {
                    let len = chunk.len() as u64;
                    end -= len;
                    holds(chunk).then_some((end, len))
                })
            }
        }
    }

    /// Makes a boundary in front of `position`, if there is none.
    fn split(&mut self, position: u64) {
        if !matches!(self.tree.at(position), Some((_, 1..))) {
            return;
        }
        let right = self
            .tree
            .update_at(position, |chunk, offset| chunk.split_off(offset as usize));
        if let Some(right) = right {
            self.tree.insert_after(position - 1, right);
        }
    }

    /// Adds an element to the chunk of `position`, in front of the one there, if it has room.
    fn insert_within(&mut self, position: u64, element: Incoming, limits: Limits) -> bool {
        self.tree
            .update_at(position, |chunk, offset| {
                chunk.insert(offset as usize, element, limits)
            })
            .unwrap_or(false)
    }

    /// Adds an element to one of the two chunks that meet in front of `position`, the smaller one first.
    fn insert_at_boundary(&mut self, position: u64, element: Incoming, limits: Limits) -> bool {
        let size = |position| self.tree.at(position).map(|(chunk, _)| chunk.byte_len());
        let right = (position, End::Front);
        let left = position.checked_sub(1).map(|last| (last, End::Back));
        let sides = match left {
            Some((last, _)) if size(last) <= size(position) => [left, Some(right)],
            _ => [Some(right), left],
        };
        sides.into_iter().flatten().any(|(position, end)| {
            self.tree
                .update_at(position, |chunk, _| chunk.push(end, element, limits))
                .unwrap_or(false)
        })
    }

    /// Joins the chunk of `position` with the one before it or else the one behind it, where that is worth it.
    fn mend(&mut self, position: u64, limits: Limits) {
        let limits = limits.halved();
        let Some((_, offset)) = self.tree.at(position) else {
            return;
        };
        let start = position - offset;
        for first in [start.checked_sub(1), Some(start)].into_iter().flatten() {
            let joined = self.tree.merge_with_next(
                first,
                |chunk, next| chunk.can_join(next, limits),
                Chunk::join,
            );
            if joined {
                return;
            }
        }
    }
}

impl FromIterator<Chunk> for Quicklist {
    fn from_iter<I: IntoIterator<Item = Chunk>>(chunks: I) -> Self {
        Quicklist {
            tree: chunks.into_iter().collect(),
        }
    }
}
