//! Items in order from a position on, in either direction, without copying anything.

use std::ops;
use std::slice;

use smallvec::SmallVec;

use super::Item;
use super::node::{Inner, Node};
use super::route::{At, Route};

/// Items from the one that holds a given element to the end of the tree, or, with `FORWARD` false, to its start.
pub struct Range<'a, T: Item, const FORWARD: bool = true> {
    /// Per level, the children still to visit.
    path: SmallVec<[(&'a Inner<T>, ops::Range<usize>); 6]>,
    items: slice::Iter<'a, T>,
    offset: u64,
}

/// Items from the one that holds a given element back to the start of the tree.
pub type RangeBack<'a, T> = Range<'a, T, false>;

impl<'a, T: Item, const FORWARD: bool> Range<'a, T, FORWARD> {
    /// `position` is an element of the tree.
    pub(super) fn new(mut node: &'a Node<T>, position: u64) -> Self {
        let mut range = Range::default();
        let mut route = At { offset: position };
        let items = loop {
            match node {
                Node::Inner(inner) => {
                    let at = route.enter(inner);
                    node = &inner.children[at];
                    range
                        .path
                        .push((inner, rest(inner.children.len(), at, FORWARD, false)));
                }
                Node::Leaf(leaf) => break leaf.items(),
            }
        };
        let at = route.stop(items);
        range.items = items[rest(items.len(), at, FORWARD, true)].iter();
        range.offset = route.offset;
        range
    }

    /// Where in the first item the given element is, in elements.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn next_leaf(&mut self) -> Option<()> {
        let mut node = loop {
            let (inner, children) = self.path.last_mut()?;
            let next = if FORWARD {
                children.next()
            } else {
                children.next_back()
            };
            match next {
                Some(at) => break &inner.children[at],
                None => self.path.pop(),
            };
        };
        loop {
            match node {
                Node::Inner(inner) => {
                    let mut children = 0..inner.children.len();
                    let at = if FORWARD {
                        children.next()
                    } else {
                        children.next_back()
                    };
                    node = &inner.children[at?];
                    self.path.push((inner, children));
                }
                Node::Leaf(leaf) => {
                    self.items = leaf.items().iter();
                    return Some(());
                }
            }
        }
    }
}

/// The indices from `at` on in one direction, with or without `at`.
fn rest(len: usize, at: usize, forward: bool, with_it: bool) -> ops::Range<usize> {
    match (forward, with_it) {
        (true, true) => at..len,
        (true, false) => at + 1..len,
        (false, true) => 0..len.min(at + 1),
        (false, false) => 0..at,
    }
}

impl<'a, T: Item, const FORWARD: bool> Iterator for Range<'a, T, FORWARD> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            let item = if FORWARD {
                self.items.next()
            } else {
                self.items.next_back()
            };
            if item.is_some() {
                return item;
            }
            self.next_leaf()?;
        }
    }
}

impl<T: Item, const FORWARD: bool> Default for Range<'_, T, FORWARD> {
    /// Of nothing.
    fn default() -> Self {
        Range {
            path: SmallVec::new(),
            items: [].iter(),
            offset: 0,
        }
    }
}
