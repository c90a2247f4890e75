//! A leaf: one to six cache lines of eight slots, a slot being a 16-bit tag and a 48-bit pointer to an element.
//!
//! ```text
//! line 0:  tags   HEADER t1 t2 t3 t4 t5 t6 t7   16 bytes, compared at once
//!          rest   count:u32 length:u16 p1 .. p7  48 bytes, six a pointer
//! line n:  tags   t0 .. t7
//!          rest   p0 .. p7
//! ```
//!
//! The tag alone says which line is a slot's home. A full line overflows into the next, the last into the first; so a
//! search ends at the first line that has room. Removing pulls overflowed slots back, so that no line lies between a
//! slot and its home that has room. Growing and shrinking move slots by their tags, without a look at an element.
//!
//! Leaves know nothing of elements but their addresses: counting and dropping them is `node.rs`'s business.
#![allow(unsafe_code, reason = "packed slots inside counted allocations")]

use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use super::shared;

pub(super) const LINES_MAX: usize = 6;
const LINE_BYTES: usize = 64;
const SLOTS_PER_LINE: usize = 8;
const POINTERS_AT: usize = 16;
const POINTER_BYTES: usize = 6;
const LENGTH_AT: usize = POINTERS_AT + 4;

/// Tags that no hash has: a slot with nothing in it, and the first slot of a leaf, which holds the header.
const TAG_EMPTY: u16 = 0;
const TAG_HEADER: u16 = 1;

/// How many elements a leaf of so many lines takes before it grows: nine tenths of its slots, except for the first line,
/// which small collections may fill.
pub(super) const FILL: [usize; LINES_MAX + 1] = [0, 7, 13, 20, 27, 35, 42];

/// More elements than any leaf holds.
pub(super) const ELEMENTS_MAX: usize = FILL[LINES_MAX] + 1;

/// The tag of a hash: its lowest 16 bits, moved out of the way of the two reserved values.
#[inline]
pub(super) fn tag_of(hash: u64) -> u16 {
    let tag = hash as u16;
    if tag <= TAG_HEADER { tag + 2 } else { tag }
}

/// The fewest lines that hold `length` elements.
pub(super) fn lines_for(length: usize) -> usize {
    FILL.iter()
        .position(|&fill| length <= fill)
        .expect("no more elements than a leaf can hold")
}

/// A leaf that is alive for as long as this handle is used. Reading methods only; [`LeafMut`] has the others.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    base: NonNull<u8>,
    lines: usize,
}

impl Leaf {
    /// # Safety
    /// `base` is a leaf of `lines` lines that outlives the handle, and that nobody changes while the handle is used.
    #[inline]
    pub(super) unsafe fn new(base: NonNull<u8>, lines: usize) -> Self {
        debug_assert!((1..=LINES_MAX).contains(&lines));
        Leaf { base, lines }
    }

    #[inline]
    pub(super) fn lines(self) -> usize {
        self.lines
    }

    pub(super) fn bytes(lines: usize) -> usize {
        lines * LINE_BYTES
    }

    #[inline]
    pub(super) fn count<'a>(self) -> &'a AtomicU32 {
        // SAFETY: the header's count is aligned, initialised and only ever used as an atomic.
        unsafe { self.base.byte_add(POINTERS_AT).cast().as_ref() }
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        // SAFETY: within the first line; changed only by a sole owner.
        usize::from(unsafe { self.base.byte_add(LENGTH_AT).cast::<u16>().read() })
    }

    /// The place of the element with this tag for which `matches` is true.
    #[inline]
    pub(super) fn find(
        self,
        tag: u16,
        mut matches: impl FnMut(NonNull<u8>) -> bool,
    ) -> Option<Slot> {
        let mut line = self.home(tag);
        for _ in 0..self.lines {
            for slot in self.slots(line, tag) {
                if matches(slot.element()) {
                    return Some(slot);
                }
            }
            if self.has_room(line) {
                return None;
            }
            line = self.after(line);
        }
        None
    }

    /// The `n`th element in the order of slots.
    pub(super) fn nth(self, n: usize) -> Option<NonNull<u8>> {
        self.iter().nth(n).map(|(_, element)| element)
    }

    /// All elements with their tags.
    #[inline]
    pub(super) fn iter(self) -> LeafIter {
        LeafIter {
            leaf: self,
            line: 0,
            slots: self.occupied(0),
        }
    }

    pub(super) fn prefetch(self) {
        for line in 0..self.lines {
            shared::prefetch(self.line(line).as_ptr());
        }
    }

    #[inline]
    pub(super) fn prefetch_header(self) {
        shared::prefetch(self.base.as_ptr());
    }

    /// Fetches the line where a search for this tag begins.
    #[inline]
    pub(super) fn prefetch_home(self, tag: u16) {
        shared::prefetch(self.line(self.home(tag)).as_ptr());
    }

    /// Fetches the elements of this tag in its home line, which should be in the cache by now.
    #[inline]
    pub(super) fn prefetch_tagged(self, tag: u16) {
        for slot in self.slots(self.home(tag), tag) {
            shared::prefetch(slot.element().as_ptr());
        }
    }

    pub(super) fn prefetch_elements(self) {
        for (_, element) in self.iter() {
            shared::prefetch(element.as_ptr());
        }
    }

    #[inline]
    fn home(self, tag: u16) -> usize {
        (usize::from(tag) * self.lines) >> 16
    }

    #[inline]
    fn after(self, line: usize) -> usize {
        if line + 1 == self.lines { 0 } else { line + 1 }
    }

    /// How many lines past its home a slot of `line` lies.
    fn way_from_home(self, tag: u16, line: usize) -> usize {
        (line + self.lines - self.home(tag)) % self.lines
    }

    #[inline]
    fn line(self, line: usize) -> NonNull<u8> {
        debug_assert!(line < self.lines);
        // SAFETY: the leaf has that many lines.
        unsafe { self.base.byte_add(line * LINE_BYTES) }
    }

    #[inline]
    fn mask(self, line: usize, tag: u16) -> Mask {
        // SAFETY: a line begins with eight initialised tags and is aligned to its size.
        Mask(unsafe { equal_tags(self.line(line), tag) })
    }

    #[inline]
    fn has_room(self, line: usize) -> bool {
        self.mask(line, TAG_EMPTY).0 != 0
    }

    #[inline]
    fn occupied(self, line: usize) -> Mask {
        let header = u32::from(line == 0);
        Mask(!(self.mask(line, TAG_EMPTY).0 | header) & 0xff)
    }

    #[inline]
    fn slots(self, line: usize, tag: u16) -> impl Iterator<Item = Slot> {
        self.mask(line, tag)
            .map(move |index| self.slot(line, index, tag))
    }

    #[inline]
    fn slot(self, line: usize, index: usize, tag: u16) -> Slot {
        Slot {
            line: self.line(line),
            index: index as u16,
            tag,
        }
    }
}

#[derive(Clone)]
pub(super) struct LeafIter {
    leaf: Leaf,
    line: usize,
    slots: Mask,
}

impl Iterator for LeafIter {
    type Item = (u16, NonNull<u8>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(index) = self.slots.next() {
                let slot = self.leaf.slot(self.line, index, TAG_EMPTY);
                return Some((slot.stored_tag(), slot.element()));
            }
            if self.line + 1 == self.leaf.lines {
                return None;
            }
            self.line += 1;
            self.slots = self.leaf.occupied(self.line);
        }
    }
}

/// A leaf that the holder of this handle alone owns and may change.
#[derive(Clone, Copy)]
pub(super) struct LeafMut(Leaf);

impl LeafMut {
    /// # Safety
    /// As [`Leaf::new`], and nobody else owns or reads the leaf while the handle is used.
    #[inline]
    pub(super) unsafe fn new(leaf: Leaf) -> Self {
        debug_assert!(shared::owners(leaf.count()) <= 1);
        LeafMut(leaf)
    }

    /// An empty leaf with a count of one.
    pub(super) fn allocate(lines: usize) -> Self {
        debug_assert!((1..=LINES_MAX).contains(&lines));
        let base = shared::allocate(Leaf::bytes(lines), LINE_BYTES);
        // SAFETY: the memory is that large; all of it is initialised, and the header is made before anybody reads it.
        unsafe {
            base.write_bytes(0, Leaf::bytes(lines));
            base.cast::<u16>().write(TAG_HEADER);
            base.byte_add(POINTERS_AT).cast().write(AtomicU32::new(1));
        }
        LeafMut(Leaf { base, lines })
    }

    #[inline]
    pub(super) fn leaf(self) -> Leaf {
        self.0
    }

    #[inline]
    pub(super) fn base(self) -> NonNull<u8> {
        self.0.base
    }

    /// A leaf with the slots of `leaf`, whose elements the caller counts.
    pub(super) fn duplicate(leaf: Leaf) -> Self {
        let new = LeafMut::allocate(leaf.lines);
        // Everything but the count, on which other owners may be at work.
        for (from, to) in [(0, POINTERS_AT), (LENGTH_AT, Leaf::bytes(leaf.lines))] {
            // SAFETY: both leaves are that large, and the new one is the caller's alone.
            unsafe {
                new.0
                    .base
                    .byte_add(from)
                    .copy_from_nonoverlapping(leaf.base.byte_add(from), to - from)
            };
        }
        new
    }

    /// Frees the leaf itself; its elements live on, with whoever has taken them.
    pub(super) fn free(self) {
        // SAFETY: the sole owner gives the leaf up, with the size that it was allocated with.
        unsafe { shared::free(self.0.base, Leaf::bytes(self.0.lines), LINE_BYTES) };
    }

    /// Puts an element into the first line from its home that has room. The leaf owns it from here on.
    ///
    /// # Panics
    /// If no line has room; the caller keeps to [`FILL`].
    #[inline]
    pub(super) fn insert(self, tag: u16, element: NonNull<u8>) -> Slot {
        let mut line = self.0.home(tag);
        for _ in 0..self.0.lines {
            if let Some(index) = self.0.mask(line, TAG_EMPTY).next() {
                let slot = self.0.slot(line, index, tag);
                // SAFETY: the leaf is the caller's alone.
                unsafe { slot.put_back(element) };
                self.set_len(self.0.len() + 1);
                return slot;
            }
            line = self.0.after(line);
        }
        panic!("a leaf of {} elements without room", self.0.len());
    }

    /// Takes an element out. The caller owns it from here on.
    pub(super) fn remove(self, slot: Slot) -> NonNull<u8> {
        let leaf = self.0;
        let mut hole = slot;
        let mut hole_line = slot
            .line
            .as_ptr()
            .addr()
            .wrapping_sub(leaf.base.as_ptr().addr())
            / LINE_BYTES;
        let mut was_full = !leaf.has_room(hole_line);
        // SAFETY: the leaf is the caller's alone.
        let element = unsafe { slot.lift() };
        self.set_len(leaf.len() - 1);
        // Only a full line has let slots pass; one of these may now come closer to its home, leaving a hole in turn.
        let mut line = leaf.after(hole_line);
        while was_full && line != hole_line {
            let steps = (line + leaf.lines - hole_line) % leaf.lines;
            let passed = leaf.occupied(line).find(|&index| {
                let tag = leaf.slot(line, index, TAG_EMPTY).stored_tag();
                leaf.way_from_home(tag, line) >= steps
            });
            let line_full = !leaf.has_room(line);
            if let Some(index) = passed {
                let mut from = leaf.slot(line, index, TAG_EMPTY);
                from.tag = from.stored_tag();
                hole.tag = from.tag;
                // SAFETY: the leaf is the caller's alone.
                unsafe { hole.put_back(from.lift()) };
                (hole, hole_line) = (from, line);
            }
            was_full = line_full;
            line = leaf.after(line);
        }
        element
    }

    /// The same elements in a leaf of `lines` lines; this one is freed.
    pub(super) fn resized(self, lines: usize) -> LeafMut {
        let new = LeafMut::allocate(lines);
        for (tag, element) in self.0.iter() {
            new.insert(tag, element);
        }
        self.free();
        new
    }

    #[inline]
    fn set_len(self, len: usize) {
        // SAFETY: within the first line of a leaf that is the caller's alone.
        unsafe { self.0.base.byte_add(LENGTH_AT).cast().write(len as u16) };
    }
}

/// One slot of a leaf, with the tag of what is or was in it.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    line: NonNull<u8>,
    index: u16,
    tag: u16,
}

impl Slot {
    /// The element in the slot.
    #[inline]
    pub(super) fn element(self) -> NonNull<u8> {
        // The two bytes before a pointer belong to the line as well, so that one read of eight bytes serves.
        let at = POINTERS_AT + POINTER_BYTES * usize::from(self.index) - 2;
        // SAFETY: within the line; slots are only made of live leaves, and never read the header's count, for which the
        // two bytes before the second slot's pointer are the length.
        let word = unsafe { self.line.byte_add(at).cast::<u64>().read_unaligned() };
        let address = u64::from_le(word) >> 16;
        NonNull::new(std::ptr::with_exposed_provenance_mut(address as usize))
            .expect("an occupied slot has an element")
    }

    #[inline]
    fn stored_tag(self) -> u16 {
        // SAFETY: the tags are the first 16 bytes of the line.
        unsafe { self.line.cast::<u16>().add(usize::from(self.index)).read() }
    }

    /// Takes the element out and leaves the slot empty, without pulling others back: they are put back soon.
    ///
    /// # Safety
    /// The slot is occupied, and its leaf is the caller's alone.
    #[inline]
    pub(super) unsafe fn lift(self) -> NonNull<u8> {
        let element = self.element();
        // SAFETY: the tags are the first 16 bytes of the line.
        unsafe {
            self.line
                .cast::<u16>()
                .add(usize::from(self.index))
                .write(TAG_EMPTY)
        };
        element
    }

    /// Fills the slot.
    ///
    /// # Safety
    /// The slot is empty, and its leaf is the caller's alone.
    #[inline]
    pub(super) unsafe fn put_back(self, element: NonNull<u8>) {
        let address = element.as_ptr().expose_provenance() as u64;
        assert!(address >> 48 == 0, "an address of more than 48 bits");
        let bytes = address.to_le_bytes();
        let at = POINTERS_AT + POINTER_BYTES * usize::from(self.index);
        // SAFETY: tag and pointer are within the line.
        unsafe {
            self.line
                .cast::<u16>()
                .add(usize::from(self.index))
                .write(self.tag);
            self.line
                .byte_add(at)
                .copy_from_nonoverlapping(NonNull::from(&bytes).cast(), POINTER_BYTES);
        }
    }
}

/// A set of slots of one line, lowest first.
#[derive(Clone, Copy)]
struct Mask(u32);

impl Iterator for Mask {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let index = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(index)
    }
}

/// The slots whose tag equals `tag`, as bits.
///
/// # Safety
/// `line` points to eight initialised tags, aligned to 16 bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn equal_tags(line: NonNull<u8>, tag: u16) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        _mm_setzero_si128,
    };
    // SAFETY: SSE2 is part of x86_64, and the caller promises 16 aligned bytes.
    unsafe {
        let equal = _mm_cmpeq_epi16(
            _mm_load_si128(line.as_ptr().cast()),
            _mm_set1_epi16(tag as i16),
        );
        _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())) as u32
    }
}

/// The same where there is no such instruction.
///
/// # Safety
/// `line` points to eight initialised tags, aligned to two bytes.
#[cfg(any(test, not(target_arch = "x86_64")))]
unsafe fn equal_tags_one_by_one(line: NonNull<u8>, tag: u16) -> u32 {
    // SAFETY: the caller promises eight aligned tags.
    let tags = unsafe { line.cast::<[u16; SLOTS_PER_LINE]>().read() };
    (0..SLOTS_PER_LINE).fold(0, |mask, index| {
        mask | u32::from(tags[index] == tag) << index
    })
}

#[cfg(not(target_arch = "x86_64"))]
use equal_tags_one_by_one as equal_tags;

const _: () = assert!(
    POINTERS_AT == 2 * SLOTS_PER_LINE && POINTERS_AT + POINTER_BYTES * SLOTS_PER_LINE == LINE_BYTES
);

#[cfg(test)]
mod tests {
    use super::*;

    use crate::random::Random;

    #[test]
    fn both_ways_of_comparing_tags_agree() {
        let mut random = Random::from_seed(9);
        for _ in 0..1_000 {
            let leaf = LeafMut::allocate(2);
            for _ in 0..random.below(12) {
                leaf.insert(2 + random.below(4) as u16, element(1));
            }
            for line in 0..2 {
                for tag in 0..6 {
                    let at = leaf.0.line(line);
                    // SAFETY: a line begins with its tags.
                    let masks = unsafe { (equal_tags(at, tag), equal_tags_one_by_one(at, tag)) };
                    assert_eq!(masks.0, masks.1);
                }
            }
            leaf.free();
        }
    }

    #[test]
    fn slots_are_found_after_any_inserts_and_removals_at_any_fill() {
        for (seed, tags) in [(1, 1), (2, 3), (3, 40), (4, 65_000)] {
            let mut random = Random::from_seed(seed);
            for lines in 1..=LINES_MAX {
                let leaf = LeafMut::allocate(lines);
                let mut model: Vec<(u16, NonNull<u8>)> = Vec::new();
                for step in 1..2_000 {
                    // To the last slot, though tables leave some free.
                    let full = model.len() == lines * SLOTS_PER_LINE - 1;
                    if !full && random.below(100) < if step % 500 < 250 { 70 } else { 30 } {
                        let tag = 2 + (random.below(tags) * (65_000 / tags)) as u16;
                        leaf.insert(tag, element(step));
                        model.push((tag, element(step)));
                    } else if !model.is_empty() {
                        let (tag, wanted) =
                            model.swap_remove(random.below(model.len() as u64) as usize);
                        let slot = leaf.leaf().find(tag, |there| there == wanted).unwrap();
                        assert_eq!(leaf.remove(slot), wanted);
                    }
                    assert_eq!(leaf.leaf().len(), model.len());
                    for &(tag, wanted) in &model {
                        assert!(leaf.leaf().find(tag, |there| there == wanted).is_some());
                    }
                }
                leaf.free();
            }
        }
    }

    #[test]
    fn a_slot_keeps_every_bit_of_an_address() {
        let leaf = LeafMut::allocate(1);
        for address in [8, 0x7fff_ffff_fff8, 0x8000_0000_0000, 0xffff_ffff_fff8] {
            let slot = leaf.insert(0xffff, element(address / 8));
            assert_eq!(leaf.leaf().nth(0), Some(element(address / 8)));
            assert_eq!(leaf.remove(slot), element(address / 8));
        }
        leaf.free();
    }

    /// An address that nobody follows.
    fn element(number: u64) -> NonNull<u8> {
        NonNull::new(std::ptr::without_provenance_mut(number as usize * 8)).unwrap()
    }
}
