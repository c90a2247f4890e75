//! How a table's tree grows and shrinks: always one leaf, its parent, and its other half, never more.
//!
//! A leaf grows a line at a time up to six and then splits in two at its next bit. If its parent does not tell that bit
//! apart, the parent doubles; if the parent is as wide as it may be, a parent of two comes in between. Shrinking is the
//! reverse, with some slack in between so that an element that comes and goes moves nothing.
#![allow(unsafe_code, reason = "leaves are rebuilt from raw elements")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::element::{Element, second_hash};
use super::leaf::{self, ELEMENTS_MAX, FILL, LINES_MAX, Leaf, LeafMut, Slot};
use super::node::{self, InnerMut, Link};
use super::way::OwnWay;

/// A leaf merges with its other half when both together fill no more than these.
const MERGED_MAX: usize = FILL[3];

/// A leaf gives lines back when it could lose them and take this many elements again.
const SLACK: usize = 4;

/// A leaf with no more than this may have been too full to merge when it last lost a line.
const FEW: usize = 3;

/// Adds an element whose key is not there.
///
/// # Safety
/// `way` leads to the leaf for the element's key, in a tree of elements of type `E`.
#[inline]
pub(super) unsafe fn put<E: Element>(mut way: OwnWay, hash: u64, element: E) -> Slot {
    loop {
        let link = way.link();
        let leaf = match way.leaf() {
            Some(leaf) if leaf.leaf().len() < FILL[leaf.leaf().lines()] => leaf,
            Some(leaf) if leaf.leaf().lines() == LINES_MAX => {
                // SAFETY: the way is not used after this, but made anew.
                way = unsafe {
                    split::<E>(way, leaf);
                    OwnWay::make::<E>(way.root, hash, element.key())
                };
                continue;
            }
            Some(leaf) => {
                let grown = leaf.resized(leaf.leaf().lines() + 1);
                way.set(Link::of_leaf(grown).with_depth(link.depth()));
                grown
            }
            None => {
                let first = LeafMut::allocate(1);
                way.set(Link::of_leaf(first).with_depth(link.depth()));
                first
            }
        };
        return leaf.insert(leaf::tag_of(way.hash), element.into_raw());
    }
}

/// Whether a leaf that has just lost an element is worth a call of [`shrink`].
#[inline]
pub(super) fn may_shrink(leaf: Leaf) -> bool {
    leaf.len() <= FEW || leaf.len() + SLACK <= FILL[leaf.lines() - 1]
}

/// Makes the leaf on the way to a key smaller: fewer lines, then one leaf with its other half, and less above it.
///
/// # Safety
/// As [`OwnWay::make`].
#[cold]
pub(super) unsafe fn shrink<E: Element>(root: NonNull<Link>, hash: u64, key: &[u8]) {
    loop {
        // SAFETY: the caller's promise; a way is not used after the tree above its leaf has changed.
        let way = unsafe { OwnWay::make::<E>(root, hash, key) };
        let depth = way.link().depth();
        if let Some(leaf) = way.leaf() {
            let length = leaf.leaf().len();
            if length == 0 {
                leaf.free();
                way.set(Link::EMPTY.with_depth(depth));
            } else if length + SLACK <= FILL[leaf.leaf().lines() - 1] {
                let smaller = leaf.resized(leaf::lines_for(length));
                way.set(Link::of_leaf(smaller).with_depth(depth));
            }
        }
        // SAFETY: `E` is what the tree holds.
        if !unsafe { merge::<E>(way) } {
            return;
        }
    }
}

/// Splits a full leaf at its next bit.
///
/// # Safety
/// `leaf` is the way's, of elements of type `E`; the way is not used afterwards.
#[cold]
unsafe fn split<E: Element>(mut way: OwnWay, leaf: LeafMut) {
    let depth = way.link().depth();
    let bit = way.depth();
    if bit == 64 {
        // The first hash is used up, and the second goes on from its top.
        assert!(
            !way.second,
            "more keys than a leaf holds agree in both hashes"
        );
        // SAFETY: the caller's promise.
        let (left, right) = unsafe { halves::<E>(leaf, true, 0) };
        let inner = Link::of_inner(InnerMut::over(left, right));
        way.set(inner.with_second_hash().with_depth(depth));
        return;
    }
    // SAFETY: the caller's promise.
    let (left, right) = unsafe { halves::<E>(leaf, way.second, bit) };
    let Some(mut parent) = way.parent() else {
        way.set(Link::of_inner(InnerMut::over(left, right)));
        return;
    };
    let bits = parent.inner().bits();
    if depth == bits {
        if bits == way.parent_bits_max() {
            way.set(Link::of_inner(InnerMut::over(left, right)).with_depth(depth));
            return;
        }
        parent = parent.resized(bits + 1);
        way.set_parent(Link::of_inner(parent));
    }
    let half = parent.inner().width() >> (depth + 1);
    let first = way.index() & !(2 * half - 1);
    parent.set(first, left.with_depth(depth + 1));
    parent.set(first + half, right.with_depth(depth + 1));
}

/// Merges a leaf with its other half. False if there is none, if it has been split further, or if both are too full.
///
/// # Safety
/// `E` is what the tree holds; the way is not used afterwards.
unsafe fn merge<E: Element>(mut way: OwnWay) -> bool {
    let Some(parent) = way.parent() else {
        return false;
    };
    let (inner, one) = (parent.inner(), way.link());
    let index = way.index() ^ inner.span(one);
    let two = inner.child(index);
    if two.is_inner() || two.depth() != one.depth() {
        return false;
    }
    // SAFETY: both leaves are the tree's, though the second perhaps not its alone.
    let lengths = unsafe { [one.leaf(), two.leaf()] }.map(|leaf| leaf.map_or(0, Leaf::len));
    if lengths[0] + lengths[1] > MERGED_MAX {
        return false;
    }
    // SAFETY: the parent's counts on both go over to what they become.
    let merged = unsafe {
        if one.is_empty() {
            two
        } else if two.is_empty() {
            one
        } else {
            rebuilt::<E>(&[one, two], |tag, _| tag)
        }
    };
    let depth = one.depth() - 1;
    if depth > 0 {
        parent.set(way.index(), merged.with_depth(depth));
        if inner
            .children()
            .all(|(_, child)| child.depth() < inner.bits())
        {
            way.set_parent(Link::of_inner(parent.resized(inner.bits() - 1)));
        }
        return true;
    }
    // The parent has this one child left, which takes its place. From below the second hash it comes back with the tags
    // of the first.
    let merged = if way.parent_link().is_some_and(Link::is_second_hash) && !merged.is_empty() {
        // SAFETY: as above.
        unsafe { rebuilt::<E>(&[merged], |_, raw| leaf::tag_of(hash_of::<E>(raw, false))) }
    } else {
        merged
    };
    parent.free();
    way.set_parent(merged);
    true
}

/// The elements of a leaf, which is freed, by the given bit of their first or second hash.
///
/// # Safety
/// The leaf holds elements of type `E`.
unsafe fn halves<E: Element>(leaf: LeafMut, second: bool, bit: u32) -> (Link, Link) {
    let old = leaf.leaf();
    old.prefetch_elements();
    let mut hashes = [0; ELEMENTS_MAX];
    let mut ones = 0;
    for (hash, (_, raw)) in hashes.iter_mut().zip(old.iter()) {
        // SAFETY: the leaf holds the element.
        *hash = unsafe { hash_of::<E>(raw, second) };
        ones += (*hash << bit >> 63) as usize;
    }
    let zeros = old.len() - ones;
    let new = [zeros, ones]
        .map(|length| (length > 0).then(|| LeafMut::allocate(leaf::lines_for(length))));
    for (hash, (_, raw)) in hashes.iter().zip(old.iter()) {
        if let Some(half) = new[(hash << bit >> 63) as usize] {
            half.insert(leaf::tag_of(*hash), raw);
        }
    }
    leaf.free();
    let [left, right] = new.map(|half| half.map_or(Link::EMPTY, Link::of_leaf));
    (left, right)
}

/// One leaf with the elements of all, under the tags that `tag` gives them.
///
/// # Safety
/// The caller has a count on each leaf, none of them empty, which it gives up. They hold elements of type `E`, no more
/// than fit in one leaf.
unsafe fn rebuilt<E: Element>(leaves: &[Link], tag: impl Fn(u16, NonNull<u8>) -> u16) -> Link {
    // SAFETY: the caller's promise; what is shared is copied, and then all are the caller's alone.
    let own = |link: &Link| unsafe { node::own::<E>(*link).leaf().map(|leaf| LeafMut::new(leaf)) };
    // SAFETY: the caller's promise.
    let length = |link: &Link| unsafe { link.leaf() }.map_or(0, Leaf::len);
    let new = LeafMut::allocate(leaf::lines_for(leaves.iter().map(length).sum()));
    for old in leaves.iter().filter_map(own) {
        for (old_tag, raw) in old.leaf().iter() {
            new.insert(tag(old_tag, raw), raw);
        }
        old.free();
    }
    Link::of_leaf(new)
}

/// # Safety
/// `raw` is an element of type `E` that a leaf holds.
unsafe fn hash_of<E: Element>(raw: NonNull<u8>, second: bool) -> u64 {
    // SAFETY: the caller's promise; the handle is not dropped.
    let element = ManuallyDrop::new(unsafe { E::from_raw(raw) });
    if second {
        second_hash(element.key())
    } else {
        element.hash()
    }
}
