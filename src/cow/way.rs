//! The way down to a leaf: [`find`] and [`Way`] through a tree that is only read, [`OwnWay`] through one that is about to
//! change, making every node on it the tree's own.
//!
//! A way is a handful of raw places, good until the tree is changed by other means: its makers promise that, and all that
//! is done along it relies on it.
#![allow(unsafe_code, reason = "links are followed and replaced where they lie")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::element::{Element, second_hash};
use super::leaf::{self, Leaf, LeafMut, Slot};
use super::node::{self, InnerMut, Link};

/// Where the element of a key lies.
///
/// # Safety
/// The tree below `root` is alive, is not changed as long as the slot is used, and holds elements of type `E`.
#[inline]
pub(super) unsafe fn find<E: Element>(root: Link, hash: u64, key: &[u8]) -> Option<Slot> {
    let (mut link, mut hash, mut depth) = (root, hash, 0);
    while link.is_inner() {
        if link.is_second_hash() {
            (hash, depth) = (second_hash(key), 0);
        }
        // SAFETY: the caller's promise.
        let inner = unsafe { link.inner() };
        link = inner.child(inner.index(hash, depth));
        depth += inner.bits();
    }
    // SAFETY: the caller's promise.
    unsafe { find_in::<E>(link.leaf()?, hash, key) }
}

/// # Safety
/// As [`find`].
#[inline]
unsafe fn find_in<E: Element>(leaf: Leaf, hash: u64, key: &[u8]) -> Option<Slot> {
    leaf.find(leaf::tag_of(hash), |raw| {
        // SAFETY: the leaf holds the element; the handle is not dropped.
        let element = ManuallyDrop::new(unsafe { E::from_raw(raw) });
        element.key() == key
    })
}

/// Where a hash leads: to a leaf, or to the inner node at which one would have to know the second hash.
pub(super) struct Way {
    pub(super) link: Link,
    /// Bits of the hash that the nodes above the link's parent use up.
    above: u32,
}

impl Way {
    /// The way from a root, or from a node where the second hash begins, whose bits `hash` is then.
    ///
    /// # Safety
    /// The tree below `root` is alive and not changed meanwhile.
    #[inline]
    pub(super) unsafe fn below(root: Link, hash: u64) -> Way {
        let (mut link, mut above, mut depth) = (root, 0, 0);
        let mut at_root = true;
        while link.is_inner() && (at_root || !link.is_second_hash()) {
            // SAFETY: the caller's promise.
            let inner = unsafe { link.inner() };
            link = inner.child(inner.index(hash, depth));
            above = depth;
            depth += inner.bits();
            at_root = false;
        }
        Way { link, above }
    }

    /// How many leading bits of their hashes the elements below the link have in common.
    #[inline]
    pub(super) fn depth(&self) -> u32 {
        self.above + self.link.depth()
    }
}

/// The way down to a leaf along nodes that are all the tree's alone.
#[derive(Clone, Copy)]
pub(super) struct OwnWay {
    pub(super) root: NonNull<Link>,
    /// Where the link to the leaf's parent lies, unless the leaf is the root.
    parent: Option<NonNull<Link>>,
    /// The leaf's place in its parent.
    index: usize,
    /// The hash whose bits lead to the leaf: the key's first or second.
    pub(super) hash: u64,
    /// Bits of that hash that the nodes above the parent use up.
    above: u32,
    /// Whether it is the second.
    pub(super) second: bool,
}

impl OwnWay {
    /// Copies every node on the way to the key that is not the tree's alone.
    ///
    /// # Safety
    /// `root` is the place of a root with a count of the caller's, of a tree of elements of type `E`, which nobody else
    /// uses as long as the way is used.
    #[inline]
    pub(super) unsafe fn make<E: Element>(root: NonNull<Link>, hash: u64, key: &[u8]) -> OwnWay {
        // SAFETY: the caller's promise.
        let way = unsafe { OwnWay::descend::<E>(root, hash, key, || true) };
        way.expect("a way that nobody stops")
    }

    /// The same to a key that is there, with its slot; or `None`, and nothing copied.
    ///
    /// # Safety
    /// As [`OwnWay::make`].
    #[inline]
    pub(super) unsafe fn to_element<E: Element>(
        root: NonNull<Link>,
        hash: u64,
        key: &[u8],
    ) -> Option<(OwnWay, Slot)> {
        // SAFETY: the caller's promise.
        unsafe {
            // To look first whether the key is there is worth its time only where something would be copied.
            let there = || find::<E>(root.read(), hash, key).is_some();
            let way = OwnWay::descend::<E>(root, hash, key, there)?;
            Some((way, way.find::<E>(key)?))
        }
    }

    /// Asks `may_copy` before the first copy, and stops if it may not.
    ///
    /// # Safety
    /// As [`OwnWay::make`].
    #[inline(always)]
    unsafe fn descend<E: Element>(
        root: NonNull<Link>,
        hash: u64,
        key: &[u8],
        may_copy: impl Fn() -> bool,
    ) -> Option<OwnWay> {
        let mut way = OwnWay {
            root,
            parent: None,
            index: 0,
            hash,
            above: 0,
            second: false,
        };
        let mut place = root;
        let mut depth = 0;
        // SAFETY: `place` is the root's, or lies in a node that the round before has made the tree's own.
        unsafe {
            let mut link = place.read();
            while link.is_inner() {
                if link.is_second_hash() {
                    (way.hash, way.second, depth) = (second_hash(key), true, 0);
                }
                if !node::is_unique(link) {
                    if !may_copy() {
                        return None;
                    }
                    link = node::own::<E>(link);
                    place.write(link);
                }
                let inner = link.inner();
                way.parent = Some(place);
                way.index = inner.index(way.hash, depth);
                way.above = depth;
                depth += inner.bits();
                place = inner.place(way.index);
                link = place.read();
            }
            if let Some(leaf) = link.leaf() {
                // The count is in the first line, what is looked for perhaps in another: both are fetched at once.
                leaf.prefetch_home(leaf::tag_of(way.hash));
                if !node::is_unique(link) {
                    if !may_copy() {
                        return None;
                    }
                    way.set(node::own::<E>(link));
                }
            }
        }
        Some(way)
    }

    /// The link to the leaf.
    #[inline]
    pub(super) fn link(&self) -> Link {
        match self.parent() {
            Some(parent) => parent.inner().child(self.index),
            // SAFETY: the root is the caller's for as long as the way is used.
            None => unsafe { self.root.read() },
        }
    }

    #[inline]
    pub(super) fn leaf(&self) -> Option<LeafMut> {
        // SAFETY: the leaf and all above it were made the tree's alone.
        unsafe { self.link().leaf().map(|leaf| LeafMut::new(leaf)) }
    }

    /// The slot of the way's key.
    ///
    /// # Safety
    /// `E` is what the tree holds.
    #[inline]
    pub(super) unsafe fn find<E: Element>(&self, key: &[u8]) -> Option<Slot> {
        // SAFETY: the leaf is alive and the tree's alone.
        unsafe { find_in::<E>(self.leaf()?.leaf(), self.hash, key) }
    }

    /// How many bits of the hash have led to the leaf.
    pub(super) fn depth(&self) -> u32 {
        self.above + self.link().depth()
    }

    /// Replaces the leaf's link in all the places that it fills.
    #[inline]
    pub(super) fn set(&self, link: Link) {
        match self.parent() {
            Some(parent) => parent.set(self.index, link),
            // SAFETY: the root is the caller's for as long as the way is used.
            None => unsafe { self.root.write(link) },
        }
    }

    #[inline]
    pub(super) fn parent(&self) -> Option<InnerMut> {
        let link = self.parent_link()?;
        // SAFETY: the parent was made the tree's alone.
        Some(unsafe { InnerMut::new(link.inner()) })
    }

    /// The most bits that the parent may tell apart.
    pub(super) fn parent_bits_max(&self) -> u32 {
        node::FANOUT_BITS_MAX.min(64 - self.above)
    }

    /// The leaf's place in its parent.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    #[inline]
    pub(super) fn parent_link(&self) -> Option<Link> {
        // SAFETY: the place is the root's, or lies in a node that was made the tree's alone.
        self.parent.map(|place| unsafe { place.read() })
    }

    /// Puts something else where the parent was, which fills one place, as inner nodes do. Depth and second hash are
    /// taken over by an inner node and the depth by a leaf.
    pub(super) fn set_parent(&mut self, link: Link) {
        let (Some(place), Some(old)) = (self.parent, self.parent_link()) else {
            return;
        };
        let mut link = link.with_depth(old.depth());
        if link.is_inner() {
            if old.is_second_hash() {
                link = link.with_second_hash();
            }
            // SAFETY: the caller has made the node.
            self.index = unsafe { link.inner() }.index(self.hash, self.above);
        }
        // SAFETY: the place is the root's, or lies in a node that was made the tree's alone.
        unsafe { place.write(link) };
    }
}
