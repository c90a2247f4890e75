//! Ways down a tree: which child to enter, where to stop in the leaf.

use super::Item;
use super::node::Inner;

/// A descent from the root to one place. It keeps what it has passed, so that it knows its rank or its offset at the end.
pub(super) trait Route<T: Item> {
    /// The child to go into.
    fn enter(&mut self, inner: &Inner<T>) -> usize;

    /// The place in the leaf: an item to look at, or the gap in front of it to insert at. `items.len()` is past the end.
    fn stop(&mut self, items: &[T]) -> usize;
}

/// To the item that holds the element at a position, counted from here; past the end leads behind the last item.
pub(super) struct At {
    /// Elements still to pass; at the end, the offset inside the item.
    pub(super) offset: u64,
}

impl<T: Item> Route<T> for At {
    fn enter(&mut self, inner: &Inner<T>) -> usize {
        let last = inner.weights.len() - 1;
        for (child, &weight) in inner.weights[..last].iter().enumerate() {
            if self.offset < weight {
                return child;
            }
            self.offset -= weight;
        }
        last
    }

    fn stop(&mut self, items: &[T]) -> usize {
        for (slot, item) in items.iter().enumerate() {
            let weight = item.weight();
            if self.offset < weight {
                return slot;
            }
            self.offset -= weight;
        }
        items.len()
    }
}

/// To the gap behind the item that holds the element at a position.
pub(super) struct After(pub(super) At);

impl<T: Item> Route<T> for After {
    fn enter(&mut self, inner: &Inner<T>) -> usize {
        self.0.enter(inner)
    }

    fn stop(&mut self, items: &[T]) -> usize {
        (self.0.stop(items) + 1).min(items.len())
    }
}

/// To the first item.
pub(super) struct ToFront;

impl<T: Item> Route<T> for ToFront {
    fn enter(&mut self, _: &Inner<T>) -> usize {
        0
    }

    fn stop(&mut self, _: &[T]) -> usize {
        0
    }
}

/// To the last item.
pub(super) struct ToBack;

impl<T: Item> Route<T> for ToBack {
    fn enter(&mut self, inner: &Inner<T>) -> usize {
        inner.children.len() - 1
    }

    fn stop(&mut self, items: &[T]) -> usize {
        items.len() - 1
    }
}

/// To the gap behind the last item.
pub(super) struct PastBack;

impl<T: Item> Route<T> for PastBack {
    fn enter(&mut self, inner: &Inner<T>) -> usize {
        inner.children.len() - 1
    }

    fn stop(&mut self, items: &[T]) -> usize {
        items.len()
    }
}

/// To the first item whose key is not left of the place looked for. Asks O(log n) keys, of separators and of items.
pub(super) struct Ordered<F> {
    is_left: F,
    /// Elements passed so far: at the end, the position of the place.
    pub(super) passed: u64,
}

impl<F> Ordered<F> {
    pub(super) fn new(is_left: F) -> Self {
        Ordered { is_left, passed: 0 }
    }
}

impl<T: Item, F: FnMut(&T::Key) -> bool> Route<T> for Ordered<F> {
    fn enter(&mut self, inner: &Inner<T>) -> usize {
        let child = inner.keys.partition_point(|key| (self.is_left)(key));
        self.passed += inner.weights[..child].iter().sum::<u64>();
        child
    }

    fn stop(&mut self, items: &[T]) -> usize {
        let slot = items.partition_point(|item| item.with_key(|key| (self.is_left)(key)));
        self.passed += items[..slot].iter().map(T::weight).sum::<u64>();
        slot
    }
}
