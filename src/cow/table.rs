//! The hash table that carries the keyspace, hashes, sets and the member side of sorted sets.
//!
//! The hash is read from the top: each inner node consumes up to eight bits, a leaf holds the elements whose hashes begin
//! with the bits that lead to it. So leaves lie in the order of hashes, each over a range of them, and a SCAN cursor is
//! nothing but the beginning of the range that comes next: wherever leaves split and merge meanwhile, what lies behind the
//! cursor has been returned and what lies before it will be.
//!
//! ```text
//! root                      2 bits: 00 | 01 | 10 | 11
//!   leaf 0.. (depth 1)      fills the places 00 and 01 of its parent: it has not been split at the second bit
//!   leaf 10  (depth 2)
//!   leaf 11  (depth 2)
//! ```
//!
//! A leaf that is full splits in two, and two that have shrunk merge (`reshape.rs`). All of this is local: no step moves
//! more than one leaf's elements and one inner node's links, so no operation takes longer because the table is large.
//!
//! Keys whose 64-bit hashes are all equal are told apart by a second hash, below an inner node that says so.
//!
//! Invariants: `length` is the number of elements; each key is there once; an element lies where its own `hash()` leads,
//! provided that callers pass the hash of the key they pass. With a wrong hash elements are not found, but nothing worse.
#![allow(
    unsafe_code,
    reason = "a table vouches for its tree: alive while it is, and unchanged while it is borrowed"
)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::element::{Element, Ref, RefMut};
use super::leaf::{self, Leaf, Slot};
use super::node::{self, Link};
use super::reshape;
use super::walk::{Iter, Walk};
use super::way::{self, OwnWay, Way};
use crate::random::Random;

/// How often [`CowTable::random`] draws again before it takes what it finds.
const DRAWS_MAX: u32 = 32;

/// How many leaves [`CowTable::heap_bytes`] looks at.
const LEAVES_MEASURED: usize = 256;

/// A set of elements by key, cloned in O(1). An empty table has no heap memory.
pub struct CowTable<E: Element> {
    root: Link,
    length: usize,
    elements: PhantomData<E>,
}

impl<E: Element> CowTable<E> {
    pub const fn new() -> Self {
        CowTable {
            root: Link::EMPTY,
            length: 0,
            elements: PhantomData,
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.length
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The element of this key; `hash` is the key's.
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<Ref<'_, E>> {
        let slot = self.find(hash, key)?;
        // SAFETY: the table holds the element, and is not changed as long as it is borrowed.
        Some(unsafe { Ref::new(slot.element()) })
    }

    #[inline]
    pub fn contains(&self, hash: u64, key: &[u8]) -> bool {
        self.find(hash, key).is_some()
    }

    /// The element of this key, to be changed or replaced by one of the same key. Copies what a clone shares on the way
    /// there, but nothing if the key is missing.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<RefMut<'_, E>> {
        // SAFETY: the tree is the table's, which is borrowed for as long as the guard lives.
        unsafe {
            let (_, slot) = OwnWay::to_element::<E>(NonNull::from(&mut self.root), hash, key)?;
            Some(RefMut::new(slot))
        }
    }

    /// Adds an element, or replaces the one of its key, which is given back. `hash` is the key's.
    #[inline]
    pub fn insert(&mut self, hash: u64, element: E) -> Option<E> {
        debug_assert!(hash == element.hash(), "an element under another's hash");
        match self.entry(hash, element.key()) {
            Entry::Occupied(mut there) => Some(there.replace(element)),
            Entry::Vacant(place) => {
                place.put(element);
                None
            }
        }
    }

    /// The place of a key, there or not, found once. Copies what a clone shares on the way there.
    #[inline]
    pub fn entry(&mut self, hash: u64, key: &[u8]) -> Entry<'_, E> {
        // SAFETY: the tree is the table's, which is borrowed for as long as the guard or the place lives.
        unsafe {
            let way = OwnWay::make::<E>(NonNull::from(&mut self.root), hash, key);
            match way.find::<E>(key) {
                Some(slot) => Entry::Occupied(RefMut::new(slot)),
                None => Entry::Vacant(Vacant {
                    length: &mut self.length,
                    way,
                    hash,
                    elements: PhantomData,
                }),
            }
        }
    }

    /// Hands the element of this key to `change`, or `None`. An element that `change` returns is added, or replaces the
    /// one that was there, which is then given back.
    #[inline]
    pub fn upsert(
        &mut self,
        hash: u64,
        key: &[u8],
        change: impl FnOnce(Option<&mut E>) -> Option<E>,
    ) -> Option<E> {
        match self.entry(hash, key) {
            Entry::Occupied(mut there) => {
                let new = change(Some(&mut there))?;
                Some(there.replace(new))
            }
            Entry::Vacant(place) => {
                if let Some(new) = change(None) {
                    debug_assert!(new.key() == key, "an element under another's key");
                    place.put(new);
                }
                None
            }
        }
    }

    /// Takes the element of this key out. Copies what a clone shares on the way there, but nothing if the key is missing.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<E> {
        let root = NonNull::from(&mut self.root);
        // SAFETY: the tree is the table's; the slot's element was the leaf's, and is the handle's from there on.
        unsafe {
            let (way, slot) = OwnWay::to_element::<E>(root, hash, key)?;
            let leaf = way.leaf()?;
            let element = E::from_raw(leaf.remove(slot));
            self.length -= 1;
            if reshape::may_shrink(leaf.leaf()) {
                reshape::shrink::<E>(root, hash, key);
            }
            Some(element)
        }
    }

    /// First stage of fetching a key that will be looked up soon: everything but the element. For batches of keys: this
    /// for all of them, then [`CowTable::prefetch_element`] for all of them, then the lookups.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(leaf) = self.leaf_of(hash) {
            leaf.prefetch_home(leaf::tag_of(hash));
        }
    }

    /// The same for a key that will be changed: the leaf's header as well.
    #[inline]
    pub fn prefetch_mut(&self, hash: u64) {
        if let Some(leaf) = self.leaf_of(hash) {
            leaf.prefetch_header();
            leaf.prefetch_home(leaf::tag_of(hash));
        }
    }

    /// Second stage: the element, found by its tag in what the first stage has fetched.
    #[inline]
    pub fn prefetch_element(&self, hash: u64) {
        if let Some(leaf) = self.leaf_of(hash) {
            leaf.prefetch_tagged(leaf::tag_of(hash));
        }
    }

    /// The first element of this hash for which `wanted` is true: for those who know a hash but not its key.
    pub fn find_hash(&self, hash: u64, mut wanted: impl FnMut(&E) -> bool) -> Option<Ref<'_, E>> {
        let mut found = None;
        let mut look = |raw| {
            // SAFETY: the table holds the element, and is not changed as long as it is borrowed.
            let element: Ref<'_, E> = unsafe { Ref::new(raw) };
            if found.is_none() && element.hash() == hash && wanted(&element) {
                found = Some(element);
            }
            found.is_some()
        };
        let way = self.way(hash);
        if way.link.is_inner() {
            for_each_below(way.link, &mut |raw| {
                look(raw);
            });
        // SAFETY: the leaf is alive and unchanged as long as the table is borrowed.
        } else if let Some(leaf) = unsafe { way.link.leaf() } {
            leaf.find(leaf::tag_of(hash), look);
        }
        found
    }

    /// Takes the first element of this hash out for which `wanted` is true.
    pub fn remove_where(&mut self, hash: u64, wanted: impl FnMut(&E) -> bool) -> Option<E> {
        let element = self.find_hash(hash, wanted)?.clone();
        self.remove(hash, element.key())
    }

    /// Calls `visit` for the elements behind `cursor`, about thirty of them, and returns the cursor that leads on: 0 at the
    /// end, as it was 0 at the start.
    ///
    /// Every element that is there from the first call of a round to the last is visited at least once, whatever is added
    /// and removed between the calls; some may be visited twice. Any number is a valid cursor. The bits of a hash run from
    /// the low end of a cursor, so that cursors of small tables are small numbers.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&E)) -> u64 {
        let mut from = cursor.reverse_bits();
        loop {
            let way = self.way(from);
            for_each_below(way.link, &mut |raw| {
                // SAFETY: the table holds the element, and is not changed as long as it is borrowed.
                let element: Ref<'_, E> = unsafe { Ref::new(raw) };
                visit(&element);
            });
            let depth = way.depth();
            if depth == 0 {
                return 0;
            }
            from = ((from >> (64 - depth)).wrapping_add(1)) << (64 - depth);
            if from == 0 || !way.link.is_empty() {
                return from.reverse_bits();
            }
        }
    }

    /// An element at random.
    ///
    /// Uniform, as long as the elements' hashes are evenly spread: a leaf is drawn by a random hash and taken with a
    /// probability in proportion to how densely its range is filled, so that neither its depth nor its length favours an
    /// element. Only ranges of more than twice the average density would come short, and these do not occur among more
    /// than a few dozen well hashed keys. Two leaves are looked at on average. If the hashes are so skewed that
    /// 32 draws find nothing, the element that follows a random hash is taken.
    pub fn random(&self, random: &mut Random) -> Option<Ref<'_, E>> {
        if self.is_empty() {
            return None;
        }
        for _ in 0..DRAWS_MAX {
            let mut way = self.way(random.next_u64());
            let depth = way.depth();
            while way.link.is_inner() {
                // SAFETY: likewise; only where the second hash begins is an inner node left.
                way = unsafe { Way::below(way.link, random.next_u64()) };
            }
            // SAFETY: the leaf is alive and unchanged as long as the table is borrowed.
            let Some(leaf) = (unsafe { way.link.leaf() }) else {
                continue;
            };
            let average = self.length as u128 * 2;
            let density = (leaf.len() as u128) << depth;
            if depth > 0
                && density < average
                && u128::from(random.below(1 << 32)) * average >= density << 32
            {
                continue;
            }
            let nth = random.below(leaf.len() as u64) as usize;
            // SAFETY: the table holds the element, and is not changed as long as it is borrowed.
            return leaf.nth(nth).map(|raw| unsafe { Ref::new(raw) });
        }
        self.sample(random, 1).next()
    }

    /// Up to `count` different elements: the one that follows a random hash, and those after it. Cheap, because neighbours
    /// share leaves. The elements of one sample depend on each other only as keys with similar hashes do; an element after
    /// a wide gap is more likely to be the first of a sample.
    pub fn sample(&self, random: &mut Random, count: usize) -> impl Iterator<Item = Ref<'_, E>> {
        let from = self.iter_from(random.next_u64());
        from.chain(self.iter()).take(count.min(self.length))
    }

    /// All elements in the order of their hashes, fetched ahead.
    pub fn iter(&self) -> Iter<'_, E> {
        self.iter_from(0)
    }

    /// A walk over all elements that frees nodes and elements as it passes them, as far as nobody else needs them: for a
    /// clone that serves as a snapshot, and for dropping a large table in small steps.
    pub fn into_walk(self) -> Walk<E> {
        let table = ManuallyDrop::new(self);
        // SAFETY: the table's count on the root goes over to the walk.
        unsafe { Walk::new(table.root) }
    }

    /// Bytes that the nodes take, without the elements: exact for tables of a few thousand elements, and what the first
    /// leaves predict for larger ones. Nodes that clones share are counted in full.
    pub fn heap_bytes(&self) -> usize {
        if !self.root.is_inner() {
            return node::bytes(self.root);
        }
        let mut leaves = 0;
        // SAFETY: the tree is alive and unchanged as long as the table is borrowed.
        let (bytes, part) = unsafe { bytes_below(self.root, &mut leaves) };
        (bytes as f64 / part) as usize
    }

    /// Removes all elements. Dropping them takes its time: a large table is better taken and dropped elsewhere.
    pub fn clear(&mut self) {
        *self = CowTable::new();
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        // SAFETY: the tree is the table's, which is borrowed.
        unsafe { way::find::<E>(self.root, hash, key) }
    }

    #[inline]
    fn way(&self, hash: u64) -> Way {
        // SAFETY: the tree is the table's, which is borrowed.
        unsafe { Way::below(self.root, hash) }
    }

    /// The leaf that holds whatever has this hash, unless that takes a key to say.
    #[inline]
    fn leaf_of(&self, hash: u64) -> Option<Leaf> {
        let way = self.way(hash);
        if way.link.is_inner() {
            return None;
        }
        // SAFETY: the leaf is alive and unchanged as long as the table is borrowed.
        unsafe { way.link.leaf() }
    }

    /// The elements from the leaf on that `hash` belongs to.
    fn iter_from(&self, hash: u64) -> Iter<'_, E> {
        // SAFETY: the tree is the table's, which is borrowed for as long as the iterator lives.
        unsafe { Iter::new(self.root, hash) }
    }
}

impl<E: Element> Clone for CowTable<E> {
    /// O(1): the clone shares all nodes, and either side copies what it changes.
    fn clone(&self) -> Self {
        // SAFETY: the table holds a count on its root.
        unsafe { node::retain(self.root) };
        CowTable {
            root: self.root,
            length: self.length,
            elements: PhantomData,
        }
    }
}

impl<E: Element> Drop for CowTable<E> {
    fn drop(&mut self) {
        // SAFETY: the table's count on its root, given up once.
        unsafe { node::release::<E>(self.root) };
    }
}

impl<E: Element> Default for CowTable<E> {
    fn default() -> Self {
        CowTable::new()
    }
}

impl<'a, E: Element> IntoIterator for &'a CowTable<E> {
    type Item = Ref<'a, E>;
    type IntoIter = Iter<'a, E>;

    fn into_iter(self) -> Iter<'a, E> {
        self.iter()
    }
}

/// The place of one key in a table.
pub enum Entry<'a, E: Element> {
    Occupied(RefMut<'a, E>),
    Vacant(Vacant<'a, E>),
}

/// A place where no element is.
pub struct Vacant<'a, E: Element> {
    length: &'a mut usize,
    way: OwnWay,
    hash: u64,
    elements: PhantomData<&'a mut E>,
}

impl<'a, E: Element> Vacant<'a, E> {
    /// Adds the element; its key is the one that was looked for.
    pub fn insert(self, element: E) -> RefMut<'a, E> {
        let slot = self.put(element);
        // SAFETY: the way to the slot is the table's alone, and the table borrowed for as long as the guard lives.
        unsafe { RefMut::new(slot) }
    }

    #[inline]
    fn put(self, element: E) -> Slot {
        debug_assert!(
            self.hash == element.hash(),
            "an element under another's hash"
        );
        *self.length += 1;
        // SAFETY: the way was made for this key in a tree that has been borrowed since.
        unsafe { reshape::put(self.way, self.hash, element) }
    }
}

/// Every element below a link of a tree that the caller keeps alive and unchanged.
fn for_each_below(link: Link, visit: &mut impl FnMut(NonNull<u8>)) {
    if link.is_inner() {
        // SAFETY: the caller keeps the tree alive.
        for (_, child) in unsafe { link.inner() }.children() {
            for_each_below(child, visit);
        }
    // SAFETY: likewise.
    } else if let Some(leaf) = unsafe { link.leaf() } {
        leaf.prefetch_elements();
        for (_, raw) in leaf.iter() {
            visit(raw);
        }
    }
}

/// Bytes of the nodes below a link as far as they were looked at, and which part of the hashes below it that is.
///
/// # Safety
/// The tree below the link is alive and unchanged meanwhile.
unsafe fn bytes_below(link: Link, leaves: &mut usize) -> (usize, f64) {
    if !link.is_inner() {
        *leaves += 1;
        return (node::bytes(link), 1.0);
    }
    // SAFETY: the caller's promise.
    let inner = unsafe { link.inner() };
    let (mut bytes, mut part) = (node::bytes(link), 0.0);
    for (_, child) in inner.children() {
        if *leaves >= LEAVES_MEASURED {
            break;
        }
        // SAFETY: the caller's promise holds for what is below as well.
        let (below, seen) = unsafe { bytes_below(child, leaves) };
        bytes += below;
        part += seen * inner.span(child) as f64 / inner.width() as f64;
    }
    (bytes, part)
}

#[cfg(test)]
mod tests;
