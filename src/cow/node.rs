//! The tree above the leaves: links, inner nodes, and the three things that are done to a node of either kind: it is
//! shared ([`retain`]), made one's own ([`own`]), let go of ([`release`]).
//!
//! A link is one word: the address of a node and all that a search must know of it, so that searching reads no headers.
//!
//! ```text
//! bit 63 inner?   62 second hash?   52..56 size   48..52 depth   0..48 address, 0 for a leaf without elements
//! ```
//!
//! An inner node is a count and an array of 2^size links, indexed by the next `size` bits of the hash. A link's depth says
//! how many of those bits its node stands for: it fills 2^(size - depth) neighbouring places of the array, and counts as
//! one owner all the same. An inner node below another always has its full depth, so it fills one place.
//!
//! A node belongs to whoever holds a count on it; an inner node holds one count on each of its children.
#![allow(unsafe_code, reason = "links are raw pointers with counts behind them")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use crate::memory;

use super::element::Element;
use super::leaf::{Leaf, LeafMut};
use super::shared;

/// An inner node has at most two to the power of this many children. More would make lookups in huge tables a level
/// shorter, and the first write after a snapshot slower: it copies one inner node a level.
pub(super) const FANOUT_BITS_MAX: u32 = 8;

const ADDRESS: u64 = (1 << 48) - 1;
const DEPTH_SHIFT: u32 = 48;
const SIZE_SHIFT: u32 = 52;
const FIELD: u64 = 0xf;
const SECOND: u64 = 1 << 62;
const INNER: u64 = 1 << 63;

/// A pointer to a node, and what a search must know before it goes there. A plain word: whether it holds a count is up to
/// where it lies.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Link(u64);

impl Link {
    pub(super) const EMPTY: Link = Link(0);

    fn new(base: NonNull<u8>, size: u32, flags: u64) -> Self {
        let address = base.as_ptr().expose_provenance() as u64;
        assert!(address & !ADDRESS == 0, "an address of more than 48 bits");
        Link(address | u64::from(size) << SIZE_SHIFT | flags)
    }

    #[inline]
    pub(super) fn of_leaf(leaf: LeafMut) -> Self {
        Link::new(leaf.base(), leaf.leaf().lines() as u32, 0)
    }

    pub(super) fn of_inner(inner: InnerMut) -> Self {
        Link::new(inner.0.base, inner.0.bits, INNER)
    }

    #[must_use]
    pub(super) fn with_depth(self, depth: u32) -> Self {
        debug_assert!(depth <= FANOUT_BITS_MAX);
        Link(self.0 & !(FIELD << DEPTH_SHIFT) | u64::from(depth) << DEPTH_SHIFT)
    }

    /// Marks an inner node whose children are told apart by the second hash.
    #[must_use]
    pub(super) fn with_second_hash(self) -> Self {
        Link(self.0 | SECOND)
    }

    #[inline]
    pub(super) fn is_inner(self) -> bool {
        self.0 & INNER != 0
    }

    #[inline]
    pub(super) fn is_second_hash(self) -> bool {
        self.0 & SECOND != 0
    }

    /// A leaf without elements has no node.
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 & ADDRESS == 0
    }

    /// How many bits of its parent's index the node stands for.
    #[inline]
    pub(super) fn depth(self) -> u32 {
        (self.0 >> DEPTH_SHIFT & FIELD) as u32
    }

    #[inline]
    fn size(self) -> u32 {
        (self.0 >> SIZE_SHIFT & FIELD) as u32
    }

    #[inline]
    fn base(self) -> NonNull<u8> {
        debug_assert!(!self.is_empty());
        let address = std::ptr::with_exposed_provenance_mut((self.0 & ADDRESS) as usize);
        // SAFETY: addresses come from `NonNull`s, and callers ask for empty links first.
        unsafe { NonNull::new_unchecked(address) }
    }

    /// The leaf, unless there is none.
    ///
    /// # Safety
    /// The link's node is a leaf that outlives the handle and is not changed while the handle is used.
    #[inline]
    pub(super) unsafe fn leaf(self) -> Option<Leaf> {
        debug_assert!(!self.is_inner());
        if self.is_empty() {
            return None;
        }
        // SAFETY: the caller's promise; the link was made of a leaf of that many lines.
        Some(unsafe { Leaf::new(self.base(), self.size() as usize) })
    }

    /// # Safety
    /// The link's node is an inner one that outlives the handle.
    #[inline]
    pub(super) unsafe fn inner(self) -> Inner {
        debug_assert!(self.is_inner());
        Inner {
            base: self.base(),
            bits: self.size(),
        }
    }

    /// # Safety
    /// The link's node is alive.
    #[inline]
    unsafe fn count<'a>(self) -> &'a AtomicU32 {
        if self.is_inner() {
            // SAFETY: the caller's promise.
            return unsafe { self.inner() }.count();
        }
        // SAFETY: the caller's promise.
        let leaf = unsafe { Leaf::new(self.base(), self.size() as usize) };
        leaf.count()
    }
}

/// An inner node that is alive for as long as this handle is used.
#[derive(Clone, Copy)]
pub(super) struct Inner {
    base: NonNull<u8>,
    bits: u32,
}

const LINKS_AT: usize = 8;
const INNER_ALIGN: usize = 8;

impl Inner {
    /// How many bits of the hash the node tells apart.
    #[inline]
    pub(super) fn bits(self) -> u32 {
        self.bits
    }

    #[inline]
    pub(super) fn width(self) -> usize {
        1 << self.bits
    }

    pub(super) fn bytes(bits: u32) -> usize {
        LINKS_AT + (size_of::<Link>() << bits)
    }

    /// The place for a hash of which `depth` bits are used up.
    #[inline]
    pub(super) fn index(self, hash: u64, depth: u32) -> usize {
        debug_assert!(depth + self.bits <= 64);
        ((hash << depth) >> (64 - self.bits)) as usize
    }

    #[inline]
    pub(super) fn child(self, index: usize) -> Link {
        // SAFETY: `place` checks the bound; links are initialised when a node is made.
        unsafe { self.place(index).read() }
    }

    /// Where the link at `index` lies.
    #[inline]
    pub(super) fn place(self, index: usize) -> NonNull<Link> {
        assert!(index < self.width());
        // SAFETY: within the array.
        unsafe { self.base.byte_add(LINKS_AT).cast::<Link>().add(index) }
    }

    /// How many places the child fills.
    #[inline]
    pub(super) fn span(self, child: Link) -> usize {
        1 << (self.bits - child.depth())
    }

    /// Each child once, in the order of hashes, with its first place.
    pub(super) fn children(self) -> impl Iterator<Item = (usize, Link)> {
        let mut index = 0;
        std::iter::from_fn(move || {
            if index == self.width() {
                return None;
            }
            let (at, child) = (index, self.child(index));
            index += self.span(child);
            Some((at, child))
        })
    }

    #[inline]
    fn count<'a>(self) -> &'a AtomicU32 {
        // SAFETY: a node begins with its count, which is only ever used as an atomic.
        unsafe { self.base.cast().as_ref() }
    }
}

/// An inner node that the holder of this handle alone owns and may change.
#[derive(Clone, Copy)]
pub(super) struct InnerMut(Inner);

impl InnerMut {
    /// # Safety
    /// The node is alive, and nobody else owns or reads it while the handle is used.
    #[inline]
    pub(super) unsafe fn new(inner: Inner) -> Self {
        debug_assert!(shared::owners(inner.count()) <= 1);
        InnerMut(inner)
    }

    /// A node with a count of one whose links are all empty.
    fn allocate(bits: u32) -> Self {
        debug_assert!((1..=FANOUT_BITS_MAX).contains(&bits));
        let base = shared::allocate(Inner::bytes(bits), INNER_ALIGN);
        // SAFETY: the memory is that large.
        unsafe {
            base.write_bytes(0, Inner::bytes(bits));
            base.cast().write(AtomicU32::new(1));
        }
        InnerMut(Inner { base, bits })
    }

    /// A node over two children, each for one value of one bit.
    pub(super) fn over(left: Link, right: Link) -> Self {
        let new = InnerMut::allocate(1);
        new.set(0, left.with_depth(1));
        new.set(1, right.with_depth(1));
        new
    }

    #[inline]
    pub(super) fn inner(self) -> Inner {
        self.0
    }

    /// Lets `child` fill the places around `index` that its depth gives it. Counts are the caller's business.
    pub(super) fn set(self, index: usize, child: Link) {
        let span = self.0.span(child);
        let first = index & !(span - 1);
        for index in first..first + span {
            // SAFETY: `place` checks the bound, and the node is the caller's alone.
            unsafe { self.0.place(index).write(child) };
        }
    }

    /// The same children in a node that tells one bit more, or one less, apart; this one is freed.
    pub(super) fn resized(self, bits: u32) -> Self {
        let new = InnerMut::allocate(bits);
        for (index, child) in self.0.children() {
            // A first place is a multiple of the child's span, so that no bit is lost.
            new.set(index << bits >> self.0.bits, child);
        }
        self.free();
        new
    }

    /// Frees the node itself; its children live on, with whoever has taken them.
    pub(super) fn free(self) {
        // SAFETY: the sole owner gives the node up, with the size that it was allocated with.
        unsafe { shared::free(self.0.base, Inner::bytes(self.0.bits), INNER_ALIGN) };
    }
}

/// One more owner for a node.
///
/// # Safety
/// The link's node is alive, or the link empty.
pub(super) unsafe fn retain(link: Link) {
    if !link.is_empty() {
        // SAFETY: the caller's promise.
        shared::retain(unsafe { link.count() });
    }
}

/// Whether the caller, who owns a count on the node, is its only owner.
///
/// # Safety
/// The link's node is alive, and the link not empty.
#[inline]
pub(super) unsafe fn is_unique(link: Link) -> bool {
    // SAFETY: the caller's promise.
    shared::is_unique(unsafe { link.count() })
}

/// Turns the caller's count on a node into a count on a node that the caller alone owns: the same, or a copy.
///
/// # Safety
/// The caller owns a count on the link's node, or the link is empty. `E` is what its leaves hold.
#[inline]
pub(super) unsafe fn own<E: Element>(link: Link) -> Link {
    // SAFETY: the caller's promise.
    if link.is_empty() || unsafe { is_unique(link) } {
        return link;
    }
    // SAFETY: the caller's promise.
    unsafe { copy::<E>(link) }
}

/// # Safety
/// As [`own`], and the link is not empty.
#[cold]
unsafe fn copy<E: Element>(link: Link) -> Link {
    // SAFETY: the node stays alive and unchanged until the caller's count is released at the end, and what it holds stays
    // alive with it while it is counted once more.
    unsafe {
        let copy = if link.is_inner() {
            let inner = link.inner();
            let new = InnerMut::allocate(inner.bits());
            memory::note_copied(size_of::<Link>() << inner.bits());
            for (index, child) in inner.children() {
                retain(child);
                new.set(index, child);
            }
            let copy = Link::of_inner(new);
            if link.is_second_hash() {
                copy.with_second_hash()
            } else {
                copy
            }
        } else {
            let leaf = Leaf::new(link.base(), link.size() as usize);
            leaf.prefetch_elements();
            let new = LeafMut::duplicate(leaf);
            memory::note_copied(leaf.lines() * 64);
            for (_, element) in leaf.iter() {
                let counted = ManuallyDrop::new(E::from_raw(element));
                std::mem::forget(E::clone(&counted));
            }
            Link::of_leaf(new)
        };
        release::<E>(link);
        copy.with_depth(link.depth())
    }
}

/// Gives up a count on a node. The last owner frees it and all that it alone holds; the recursion is as deep as the tree,
/// sixteen levels at most.
///
/// # Safety
/// The caller owns that count and does not use the link any more. `E` is what its leaves hold.
pub(super) unsafe fn release<E: Element>(link: Link) {
    // SAFETY: the caller's promise; after the last count nobody else knows the node.
    unsafe {
        if link.is_empty() || !shared::release(link.count()) {
            return;
        }
        if link.is_inner() {
            let inner = link.inner();
            for (index, child) in inner.children() {
                let next = index + inner.span(child);
                if next < inner.width() {
                    prefetch(inner.child(next));
                }
                release::<E>(child);
            }
            InnerMut::new(inner).free();
        } else {
            let leaf = Leaf::new(link.base(), link.size() as usize);
            leaf.prefetch_elements();
            for (_, element) in leaf.iter() {
                drop(E::from_raw(element));
            }
            LeafMut::new(leaf).free();
        }
    }
}

/// Bytes of the link's node alone.
pub(super) fn bytes(link: Link) -> usize {
    if link.is_inner() {
        Inner::bytes(link.size())
    } else {
        Leaf::bytes(link.size() as usize)
    }
}

/// Fetches a leaf, or the beginning of an inner node.
pub(super) fn prefetch(link: Link) {
    let lines = if link.is_inner() {
        1
    } else {
        link.size() as usize
    };
    for line in 0..lines {
        shared::prefetch(link.base().as_ptr().wrapping_add(64 * line));
    }
}
