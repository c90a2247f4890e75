//! A leaf: a shared run of items whose room grows and shrinks in small steps.
//!
//! Leaves are most of a tree's memory, so their room follows their length closely (see [`room_for`]): a leaf of random
//! inserts wastes a few items, not half of itself, and a tree of one item is one small leaf. An own counted allocation, with
//! the items behind the count instead of behind one more pointer, was measured: it saves one byte per item of 16 bytes and no
//! time that could be told from noise, so this is safe code.

use std::sync::Arc;
use std::vec;

/// Items a leaf may hold; one more splits it.
pub(super) const LEAF_MAX: usize = 64;

/// A leaf that shrinks below this looks for a neighbour to merge with or to borrow from.
pub(super) const LEAF_MIN: usize = 16;

/// Items in order, shared by every tree that holds this leaf; the first change by one of several owners copies it.
pub(super) struct Leaf<T>(Arc<Vec<T>>);

impl<T: Clone> Leaf<T> {
    pub(super) fn of(item: T) -> Self {
        Leaf(Arc::new(vec![item]))
    }

    pub(super) fn items(&self) -> &[T] {
        &self.0
    }

    pub(super) fn item_mut(&mut self, at: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.0)[at]
    }

    pub(super) fn insert(&mut self, at: usize, item: T) {
        let items = Arc::make_mut(&mut self.0);
        if items.len() == items.capacity() {
            items.reserve_exact(room_for(items.len() + 1) - items.len());
        }
        items.insert(at, item);
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        let items = Arc::make_mut(&mut self.0);
        let item = items.remove(at);
        if room_for(items.len() + SLACK) < items.capacity() {
            items.shrink_to(room_for(items.len()));
        }
        item
    }

    /// Keeps the items before `at` and returns the rest.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let moved;
        if let Some(items) = Arc::get_mut(&mut self.0) {
            moved = with_room(items.drain(at..));
            items.shrink_to(room_for(at));
        } else {
            moved = with_room(self.0[at..].iter().cloned());
            self.0 = Arc::new(with_room(self.0[..at].iter().cloned()));
        }
        Leaf(Arc::new(moved))
    }

    /// Takes over all items of `right`, which come after its own.
    pub(super) fn append(&mut self, right: Self) {
        let items = Arc::make_mut(&mut self.0);
        let room = room_for(items.len() + right.0.len());
        items.reserve_exact(room - items.len());
        match Arc::try_unwrap(right.0) {
            Ok(mut own) => items.append(&mut own),
            Err(shared) => items.extend(shared.iter().cloned()),
        }
    }

    /// The items themselves: moved out where no other tree holds this leaf, else cloned.
    pub(super) fn into_items(self) -> vec::IntoIter<T> {
        Arc::unwrap_or_clone(self.0).into_iter()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let counts = 2 * size_of::<usize>();
        counts + size_of::<Vec<T>>() + self.0.capacity() * size_of::<T>()
    }
}

impl<T> Clone for Leaf<T> {
    fn clone(&self) -> Self {
        Leaf(Arc::clone(&self.0))
    }
}

/// A leaf gives room back once it has about this much to spare, so that alternating inserts and removals do not reallocate.
const SLACK: usize = 10;

/// Doubling up to 16, then steps of 8: for items of 16 bytes these are size classes of the allocator.
fn room_for(items: usize) -> usize {
    match items {
        0..=16 => items.next_power_of_two(),
        _ => items.next_multiple_of(8),
    }
}

fn with_room<T>(items: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut room = Vec::with_capacity(room_for(items.len()));
    room.extend(items);
    room
}
