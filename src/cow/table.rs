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
//! A leaf that is full splits in two at its next bit; if its parent tells no further bit apart, the parent doubles, up
//! to 256 places, and below that the leaf becomes an inner node of its own. Leaves that have shrunk merge with their other
//! half, and what is above them shrinks in turn. All of this is local: no step moves more than one leaf's elements and one
//! inner node, so no operation takes longer because the table is large.
//!
//! Keys whose 64-bit hashes are all equal are told apart by a second hash, below an inner node that says so.
//!
//! Invariants: `length` is the number of elements; each key is there once; an element lies where its own `hash()` leads,
//! provided that callers pass the hash of the key they pass. With a wrong hash elements are not found, but nothing worse.
#![allow(
    unsafe_code,
    reason = "the way down changes nodes through raw places once they are its own"
)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::element::{Element, Ref, RefMut, second_hash};
use super::leaf::{self, ELEMENTS_MAX, FILL, LINES_MAX, Leaf, LeafMut, Slot};
use super::node::{self, FANOUT_BITS_MAX, Inner, InnerMut, Link};
use super::walk::{Iter, Walk};
use crate::random::Random;

/// A leaf merges with its other half when both together fill no more than these.
const MERGED_MAX: usize = FILL[3];

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
        self.find(hash, key)?;
        let slot = self.own_way(hash, key).find::<E>(key)?;
        // SAFETY: the way to the slot is the table's alone, and the table borrowed for as long as the guard lives.
        Some(unsafe { RefMut::new(slot) })
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
        let way = self.own_way(hash, key);
        match way.find::<E>(key) {
            // SAFETY: the way to the slot is the table's alone, and the table borrowed for as long as the guard lives.
            Some(slot) => Entry::Occupied(unsafe { RefMut::new(slot) }),
            None => Entry::Vacant(Vacant {
                table: self,
                way,
                hash,
            }),
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
        self.find(hash, key)?;
        let way = self.own_way(hash, key);
        let slot = way.find::<E>(key)?;
        let leaf = way.leaf()?;
        self.length -= 1;
        // SAFETY: the slot's element was the leaf's, and is the handle's from here on.
        let element = unsafe { E::from_raw(leaf.remove(slot)) };
        if leaf.leaf().len() + 4 <= FILL[leaf.leaf().lines() - 1] || leaf.leaf().len() <= 3 {
            self.shrink(hash, key);
        }
        Some(element)
    }

    /// First stage of fetching a key that will be looked up soon: everything but the element. For batches of keys: this
    /// for all of them, then [`CowTable::prefetch_element`] for all of them, then the lookups.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(leaf) = self.leaf_of(hash) {
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
                way = Way::below(way.link, random.next_u64());
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

    /// The elements from the leaf on that `hash` belongs to.
    fn iter_from(&self, hash: u64) -> Iter<'_, E> {
        // SAFETY: the tree is alive and unchanged as long as the table is borrowed, and so is the iterator.
        unsafe { Iter::new(self.root, hash) }
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
        let (mut link, mut hash, mut depth) = (self.root, hash, 0);
        while link.is_inner() {
            if link.is_second_hash() {
                (hash, depth) = (second_hash(key), 0);
            }
            // SAFETY: the node is alive and unchanged as long as the table is borrowed.
            let inner = unsafe { link.inner() };
            link = inner.child(inner.index(hash, depth));
            depth += inner.bits();
        }
        // SAFETY: likewise.
        let leaf = unsafe { link.leaf() }?;
        find_in::<E>(leaf, leaf::tag_of(hash), key)
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

    /// Down to the leaf that holds whatever has this hash, or to the inner node where the second hash begins.
    #[inline]
    fn way(&self, hash: u64) -> Way {
        Way::below(self.root, hash)
    }

    /// Down to the leaf for this key, making every node on the way the table's own.
    #[inline]
    fn own_way(&mut self, hash: u64, key: &[u8]) -> OwnWay {
        let mut way = OwnWay {
            root: NonNull::from(&mut self.root),
            parent: None,
            index: 0,
            hash,
            above: 0,
            second: false,
        };
        let mut place = way.root;
        let mut depth = 0;
        // SAFETY: `place` is the table's root or a place in a node that the round before has made the table's own.
        unsafe {
            while place.read().is_inner() {
                let link = place.read();
                if link.is_second_hash() {
                    (way.hash, way.second, depth) = (second_hash(key), true, 0);
                }
                let link = node::own::<E>(link);
                place.write(link);
                let inner = link.inner();
                way.parent = Some(place);
                way.index = inner.index(way.hash, depth);
                way.above = depth;
                depth += inner.bits();
                place = inner.place(way.index);
            }
            let link = place.read();
            if let Some(leaf) = link.leaf() {
                leaf.prefetch_home(leaf::tag_of(way.hash));
                if !node::is_unique(link) {
                    way.set(node::own::<E>(link));
                }
            }
        }
        way
    }

    /// Adds an element whose key is not there. `way` leads to its leaf.
    #[inline]
    fn put(&mut self, mut way: OwnWay, hash: u64, element: E) -> Slot {
        self.length += 1;
        loop {
            let tag = leaf::tag_of(way.hash);
            let link = way.link();
            let leaf = match way.leaf() {
                Some(leaf) if leaf.leaf().len() < FILL[leaf.leaf().lines()] => leaf,
                Some(leaf) if leaf.leaf().lines() == LINES_MAX => {
                    self.split(way);
                    way = self.own_way(hash, element.key());
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
            return leaf.insert(tag, element.into_raw());
        }
    }

    /// Splits a full leaf at its next bit.
    #[cold]
    fn split(&mut self, way: OwnWay) {
        let link = way.link();
        let Some(leaf) = way.leaf() else { return };
        let depth = way.above + link.depth();
        // Where the first hash is used up, the second one goes on from its top.
        let (second, bit) = if depth == 64 {
            assert!(
                !way.second,
                "more keys than a leaf holds agree in 128 bits of two hashes"
            );
            (true, 0)
        } else {
            (way.second, depth)
        };
        let (left, right) = halves::<E>(leaf, second, bit);
        let Some(parent) = way.parent() else {
            way.set(Link::of_inner(InnerMut::over(left, right)));
            return;
        };
        let bits = parent.inner().bits();
        if link.depth() < bits {
            way.set_halves(link.depth(), left, right);
        } else if bits < FANOUT_BITS_MAX.min(64 - way.above) {
            let parent = parent.resized(bits + 1);
            let way = way.with_parent(parent);
            way.set_halves(link.depth(), left, right);
        } else {
            let inner = Link::of_inner(InnerMut::over(left, right)).with_depth(bits);
            way.set(if second && !way.second {
                inner.with_second_hash()
            } else {
                inner
            });
        }
    }

    /// Makes a leaf smaller that has lost elements: fewer lines, one leaf with its other half, less above it.
    fn shrink(&mut self, hash: u64, key: &[u8]) {
        loop {
            let way = self.own_way(hash, key);
            let link = way.link();
            if let Some(leaf) = way.leaf() {
                let length = leaf.leaf().len();
                if length == 0 {
                    leaf.free();
                    way.set(Link::EMPTY.with_depth(link.depth()));
                } else if length + 4 <= FILL[leaf.leaf().lines() - 1] {
                    let smaller = leaf.resized(leaf::lines_for(length));
                    way.set(Link::of_leaf(smaller).with_depth(link.depth()));
                }
            }
            if !self.merge(way) {
                return;
            }
        }
    }

    /// Merges a leaf with its other half. False if there is none, or both are too full, or it has been split further.
    fn merge(&mut self, way: OwnWay) -> bool {
        let Some(parent) = way.parent() else {
            return false;
        };
        let inner = parent.inner();
        let link = way.link();
        let other_index = way.index ^ inner.span(link);
        let other = inner.child(other_index);
        if other.is_inner() || other.depth() != link.depth() {
            return false;
        }
        // SAFETY: both leaves are the table's, one of them perhaps not its alone.
        let length = |link: Link| unsafe { link.leaf() }.map_or(0, Leaf::len);
        if length(link) + length(other) > MERGED_MAX {
            return false;
        }
        let merged = if link.is_empty() {
            other
        } else if other.is_empty() {
            link
        } else {
            // SAFETY: the parent holds a count on the other half, which goes over to a copy if it is shared; then both
            // halves are the table's alone, in a node that is the table's alone.
            let leaves = unsafe { [link.leaf(), node::own::<E>(other).leaf()] };
            let leaves = leaves.into_iter().flatten();
            let merged = LeafMut::allocate(leaf::lines_for(leaves.clone().map(Leaf::len).sum()));
            for half in leaves {
                for (tag, element) in half.iter() {
                    merged.insert(tag, element);
                }
                // SAFETY: as above; its elements are the merged leaf's.
                unsafe { LeafMut::new(half) }.free();
            }
            Link::of_leaf(merged)
        };
        let depth = link.depth() - 1;
        if depth > 0 {
            parent.set(way.index, merged.with_depth(depth));
            if depth + 1 == inner.bits()
                && inner.children().all(|(_, child)| child.depth() <= depth)
            {
                way.with_parent(parent.resized(depth));
            }
            return true;
        }
        // The parent has this one child left, which takes its place.
        let of_parent = way.parent_link();
        let merged = if of_parent.is_second_hash() {
            retagged::<E>(merged)
        } else {
            merged
        };
        parent.free();
        way.set_parent(merged.with_depth(of_parent.depth()));
        true
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
    table: &'a mut CowTable<E>,
    way: OwnWay,
    hash: u64,
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
        self.table.put(self.way, self.hash, element)
    }
}

/// Where a hash leads in a tree that is only read.
struct Way {
    link: Link,
    /// Bits of the hash that the inner nodes above the link's parent use up.
    above: u32,
}

impl Way {
    #[inline]
    fn below(link: Link, hash: u64) -> Way {
        let mut way = Way { link, above: 0 };
        let mut depth = 0;
        // The second hash's bits are drawn or computed by the caller, who starts anew below that node.
        let mut first = true;
        while way.link.is_inner() && (first || !way.link.is_second_hash()) {
            first = false;
            // SAFETY: the caller keeps the tree alive.
            let inner = unsafe { way.link.inner() };
            way.link = inner.child(inner.index(hash, depth));
            way.above = depth;
            depth += inner.bits();
        }
        way
    }

    /// How many leading bits of their hashes the elements below the link have in common.
    #[inline]
    fn depth(&self) -> u32 {
        self.above + self.link.depth()
    }
}

/// The way down to a leaf along nodes that are all the table's alone. Valid until the table is used again.
#[derive(Clone, Copy)]
struct OwnWay {
    root: NonNull<Link>,
    /// Where the link to the leaf's parent lies, unless the leaf is the root.
    parent: Option<NonNull<Link>>,
    /// The leaf's place in its parent.
    index: usize,
    /// The hash whose bits lead to the leaf: the key's first or second.
    hash: u64,
    /// Bits of that hash that the nodes above the parent use up.
    above: u32,
    second: bool,
}

impl OwnWay {
    /// The link to the leaf.
    #[inline]
    fn link(&self) -> Link {
        match self.parent() {
            Some(parent) => parent.inner().child(self.index),
            // SAFETY: the table is borrowed by whoever made the way.
            None => unsafe { self.root.read() },
        }
    }

    #[inline]
    fn leaf(&self) -> Option<LeafMut> {
        // SAFETY: the leaf and all above it were made the table's alone.
        unsafe { self.link().leaf().map(|leaf| LeafMut::new(leaf)) }
    }

    #[inline]
    fn find<E: Element>(&self, key: &[u8]) -> Option<Slot> {
        find_in::<E>(self.leaf()?.leaf(), leaf::tag_of(self.hash), key)
    }

    #[inline]
    fn parent(&self) -> Option<InnerMut> {
        // SAFETY: the parent was made the table's alone.
        self.parent
            .map(|place| unsafe { InnerMut::new(place.read().inner()) })
    }

    /// Replaces the leaf's link in all the places that it fills.
    #[inline]
    fn set(&self, link: Link) {
        match self.parent() {
            Some(parent) => parent.set(self.index, link),
            // SAFETY: the table is borrowed mutably by whoever made the way.
            None => unsafe { self.root.write(link) },
        }
    }

    /// Replaces a leaf of this depth by its two halves.
    fn set_halves(&self, depth: u32, left: Link, right: Link) {
        let Some(parent) = self.parent() else { return };
        let half = parent.inner().width() >> (depth + 1);
        let first = self.index & !(2 * half - 1);
        parent.set(first, left.with_depth(depth + 1));
        parent.set(first + half, right.with_depth(depth + 1));
    }

    fn parent_link(&self) -> Link {
        // SAFETY: the parent's place is the table's root or in a node of the table.
        self.parent
            .map_or(Link::EMPTY, |place| unsafe { place.read() })
    }

    /// Replaces the parent's link: an inner node fills one place.
    fn set_parent(&self, link: Link) {
        if let Some(place) = self.parent {
            // SAFETY: that place is the table's alone.
            unsafe { place.write(link) };
        }
    }

    /// The way to the same leaf after its parent was resized.
    fn with_parent(mut self, parent: InnerMut) -> OwnWay {
        let old = self.parent_link();
        let new = Link::of_inner(parent).with_depth(old.depth());
        self.set_parent(if old.is_second_hash() {
            new.with_second_hash()
        } else {
            new
        });
        self.index = parent.inner().index(self.hash, self.above);
        self
    }
}

#[inline]
fn find_in<E: Element>(leaf: Leaf, tag: u16, key: &[u8]) -> Option<Slot> {
    leaf.find(tag, |raw| {
        // SAFETY: the leaf holds the element; the handle is not dropped.
        let element = ManuallyDrop::new(unsafe { E::from_raw(raw) });
        element.key() == key
    })
}

/// The elements of a leaf, which is freed, by the given bit of their first or second hash.
fn halves<E: Element>(leaf: LeafMut, second: bool, bit: u32) -> (Link, Link) {
    let old = leaf.leaf();
    old.prefetch_elements();
    let mut hashes = [0; ELEMENTS_MAX];
    let mut ones = 0;
    for (hash, (_, raw)) in hashes.iter_mut().zip(old.iter()) {
        *hash = hash_of::<E>(raw, second);
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

/// A leaf that comes out from below the second hash: its tags are of the first again.
fn retagged<E: Element>(link: Link) -> Link {
    // SAFETY: the leaf is the caller's alone.
    let Some(leaf) = (unsafe { link.leaf().map(|leaf| LeafMut::new(leaf)) }) else {
        return link;
    };
    let new = LeafMut::allocate(leaf.leaf().lines());
    for (_, raw) in leaf.leaf().iter() {
        new.insert(leaf::tag_of(hash_of::<E>(raw, false)), raw);
    }
    leaf.free();
    Link::of_leaf(new)
}

fn hash_of<E: Element>(raw: NonNull<u8>, second: bool) -> u64 {
    // SAFETY: the leaf that is being rebuilt holds the element; the handle is not dropped.
    let element = ManuallyDrop::new(unsafe { E::from_raw(raw) });
    if second {
        second_hash(element.key())
    } else {
        element.hash()
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
    let inner: Inner = unsafe { link.inner() };
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
mod tests {
    use super::*;

    use crate::cow::blob::Blob;
    use crate::cow::element::hash;

    #[test]
    fn what_is_inserted_is_found_iterated_scanned_and_removed() {
        let mut table: CowTable<Blob<()>> = CowTable::new();
        for number in 0..20_000u32 {
            let key = number.to_string();
            assert!(
                table
                    .insert(hash(key.as_bytes()), Blob::new((), key.as_bytes(), b""))
                    .is_none()
            );
        }
        assert_eq!(table.len(), 20_000);
        assert_eq!(table.iter().count(), 20_000);
        let snapshot = table.clone();
        for number in 0..20_000u32 {
            let key = number.to_string();
            assert_eq!(
                table
                    .remove(hash(key.as_bytes()), key.as_bytes())
                    .unwrap()
                    .key(),
                key.as_bytes()
            );
        }
        assert!(table.is_empty() && table.root == Link::EMPTY);
        let (mut cursor, mut seen) = (0, 0);
        loop {
            cursor = snapshot.scan(cursor, |_| seen += 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, 20_000);
        let mut walk = snapshot.into_walk();
        let mut walked = 0;
        while walk.next_batch(|_| walked += 1) {}
        assert_eq!(walked, 20_000);
    }
}
