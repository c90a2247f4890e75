//! The bytes that the journal holds: a chain of sealed, shared blocks and one open tail, addressed by offset.
//!
//! ```text
//! start                                                             end
//!   |  sealed: Bytes  |  sealed: Bytes  | ... |  tail: written ....   |   free capacity   |
//! ```
//!
//! Sealed blocks are handed out without copying. A reader near the end copies what it needs from the tail; one that wants
//! a good piece of it seals that piece first, so that every later reader shares it. Either way a reader's work is
//! bounded by [`TAIL_COPY_BYTES_MAX`] copied bytes plus one reference count per block.
//!
//! Invariants: blocks are contiguous and never empty; `start <= end`; bytes once appended never change.
//! Knows nothing of locks, readers or what the bytes mean.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::position::Offset;

pub struct Blocks {
    sealed: VecDeque<Block>,
    tail: BytesMut,
    /// Where the tail begins.
    tail_start: Offset,
    start: Offset,
    /// Capacity of the next tail.
    block_bytes: usize,
}

struct Block {
    start: Offset,
    bytes: Bytes,
}

impl Blocks {
    /// An empty chain that stands at `offset`.
    pub fn new(offset: Offset, block_bytes: usize) -> Self {
        Blocks {
            sealed: VecDeque::new(),
            tail: BytesMut::new(),
            tail_start: offset,
            start: offset,
            block_bytes,
        }
    }

    pub fn start(&self) -> Offset {
        self.start
    }

    pub fn end(&self) -> Offset {
        self.tail_start.plus(self.tail.len())
    }

    /// Bytes that can be read.
    pub fn length(&self) -> u64 {
        self.end().since(self.start)
    }

    /// Memory taken: what can be read, the tail's free room, and the chain itself.
    pub fn memory_bytes(&self) -> u64 {
        self.length()
            + (self.tail.capacity() - self.tail.len()) as u64
            + (self.sealed.capacity() * size_of::<Block>()) as u64
    }

    pub fn set_block_bytes(&mut self, block_bytes: usize) {
        self.block_bytes = block_bytes.max(1);
    }

    /// Copies `bytes` to the end, and returns whether a new block was begun. Allocates once per block, not per call.
    pub fn append(&mut self, mut bytes: &[u8]) -> bool {
        let mut block_begun = false;
        while !bytes.is_empty() {
            let mut room = self.tail.capacity() - self.tail.len();
            if room == 0 {
                self.seal_tail();
                self.tail = BytesMut::with_capacity(self.block_bytes);
                room = self.tail.capacity();
                block_begun = true;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.tail.extend_from_slice(now);
            bytes = later;
        }
        block_begun
    }

    /// Takes `bytes` over as a block of its own: for values so big that a copy would be felt.
    pub fn append_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        let start = self.tail_start;
        self.tail_start = start.plus(bytes.len());
        self.sealed.push_back(Block { start, bytes });
    }

    /// Pushes up to `bytes_max` bytes that follow `from` onto `out` and returns how many. `from` lies in `start..=end`.
    pub fn read(&mut self, from: Offset, bytes_max: usize, out: &mut Vec<Bytes>) -> usize {
        assert!(
            self.start <= from && from <= self.end(),
            "a reader stands at {from}, outside of {}..{}",
            self.start,
            self.end()
        );
        let wanted = bytes_max.min(self.end().since(from) as usize);
        let from_tail = wanted.min(from.plus(wanted).since(self.tail_start) as usize);
        if from_tail > TAIL_COPY_BYTES_MAX {
            self.seal_tail();
        }
        let mut left = wanted;
        let mut at = from;
        if at < self.tail_start {
            let first = self
                .sealed
                .partition_point(|block| block.start.plus(block.bytes.len()) <= at);
            for block in self.sealed.range(first..) {
                if left == 0 {
                    break;
                }
                let skip = at.since(block.start) as usize;
                let take = left.min(block.bytes.len() - skip);
                out.push(block.bytes.slice(skip..skip + take));
                at = at.plus(take);
                left -= take;
            }
        }
        if left > 0 {
            let skip = at.since(self.tail_start) as usize;
            out.push(Bytes::copy_from_slice(&self.tail[skip..skip + left]));
        }
        wanted
    }

    /// Frees whole blocks from the front that end at or before `keep_from`, at most `blocks_max` of them, so that no step is
    /// long. Returns whether more could be freed.
    pub fn trim(&mut self, keep_from: Offset, blocks_max: usize) -> bool {
        for _ in 0..blocks_max {
            if !self.front_ends_by(keep_from) {
                return false;
            }
            if let Some(block) = self.sealed.pop_front() {
                self.start = block.start.plus(block.bytes.len());
            }
        }
        self.front_ends_by(keep_from)
    }

    fn front_ends_by(&self, offset: Offset) -> bool {
        self.sealed
            .front()
            .is_some_and(|block| block.start.plus(block.bytes.len()) <= offset)
    }

    fn seal_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let bytes = self.tail.split().freeze();
        let start = self.tail_start;
        self.tail_start = start.plus(bytes.len());
        self.sealed.push_back(Block { start, bytes });
    }
}

/// A reader that wants at most this much of the tail gets a copy; for more, the tail is sealed up to there. It also bounds
/// how small sealed pieces can get, and with that the overhead of the chain.
pub const TAIL_COPY_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn flat(parts: &[Bytes]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn reads_give_back_what_was_appended_under_random_appends_reads_and_trims() {
        for seed in 0..20 {
            let mut random = Random::from_seed(seed);
            let base = Offset(random.below(1000) as i64);
            let block_bytes = 1 + random.below(20_000) as usize;
            let mut blocks = Blocks::new(base, block_bytes);
            let mut model: Vec<u8> = Vec::new();
            for _ in 0..400 {
                match random.below(10) {
                    0..=4 => {
                        let length = random.below(9_000) as usize;
                        let fresh: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
                        model.extend_from_slice(&fresh);
                        if random.chance(1, 4) {
                            blocks.append_shared(Bytes::from(fresh));
                        } else {
                            blocks.append(&fresh);
                        }
                    }
                    5..=7 => {
                        let from = blocks
                            .start()
                            .plus(random.below(blocks.length() + 1) as usize);
                        let bytes_max = random.below(30_000) as usize;
                        let mut out = Vec::new();
                        let count = blocks.read(from, bytes_max, &mut out);
                        let at = from.since(base) as usize;
                        let expected = &model[at..(at + bytes_max).min(model.len())];
                        assert_eq!(count, expected.len(), "seed {seed}");
                        assert_eq!(flat(&out), expected, "seed {seed}");
                    }
                    _ => {
                        let keep = blocks
                            .start()
                            .plus(random.below(blocks.length() + 1) as usize);
                        blocks.trim(keep, random.below(5) as usize);
                        assert!(blocks.start() <= keep, "seed {seed}: trimmed too far");
                    }
                }
                assert_eq!(blocks.end(), base.plus(model.len()));
                assert!(blocks.start() <= blocks.end());
            }
        }
    }

    #[test]
    fn sealed_blocks_are_shared_and_not_copied() {
        let mut blocks = Blocks::new(Offset(0), 64 * 1024);
        blocks.append(&[7; 50_000]);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        blocks.read(Offset(0), usize::MAX, &mut one);
        blocks.read(Offset(0), usize::MAX, &mut two);
        assert_eq!(one[0].as_ptr(), two[0].as_ptr());
    }

    #[test]
    fn a_small_read_of_the_tail_does_not_break_it_into_pieces() {
        let mut blocks = Blocks::new(Offset(0), 64 * 1024);
        for round in 0..1000 {
            blocks.append(b"twenty bytes of text");
            let mut out = Vec::new();
            assert_eq!(blocks.read(Offset(round * 20), usize::MAX, &mut out), 20);
        }
        assert_eq!(blocks.sealed.len(), 0);
    }

    #[test]
    fn trimming_stops_after_its_share_and_says_that_there_is_more() {
        let mut blocks = Blocks::new(Offset(0), 10);
        blocks.append(&[0; 1000]);
        assert!(blocks.trim(Offset(1000), 3));
        assert_eq!(blocks.start(), Offset(30));
        assert!(!blocks.trim(Offset(1000), usize::MAX));
        assert!(blocks.end().since(blocks.start()) <= 10);
    }
}
