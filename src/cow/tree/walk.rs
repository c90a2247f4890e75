//! A walk that consumes a tree: items in order, and each node let go as the walk leaves it.
//!
//! A snapshot is walked this way on another thread, so that memory held only for it shrinks while the walk goes on.

use std::sync::Arc;
use std::vec;

use super::Item;
use super::leaf::Leaf;
use super::node::Node;

/// The items of a tree in order, a leaf at a time: the cheapest way to look at all of them.
pub struct Batches<T: Item> {
    /// Subtrees still to come, the next one last: at most the children of one path.
    pending: Vec<Node<T>>,
}

/// The items of one leaf, at least one and at most 64; freed with the batch where no other tree holds them.
pub struct Batch<T: Item>(Leaf<T>);

/// The items of a tree in order, one by one: moved out where no other tree holds them, else cloned.
pub struct Walk<T: Item> {
    batches: Batches<T>,
    /// What is left of one leaf.
    items: vec::IntoIter<T>,
}

impl<T: Item> Batches<T> {
    pub(super) fn new(root: Option<Node<T>>) -> Self {
        Batches {
            pending: root.into_iter().collect(),
        }
    }
}

impl<T: Item> Iterator for Batches<T> {
    type Item = Batch<T>;

    fn next(&mut self) -> Option<Batch<T>> {
        loop {
            match self.pending.pop()? {
                Node::Leaf(leaf) => return Some(Batch(leaf)),
                Node::Inner(inner) => match Arc::try_unwrap(inner) {
                    Ok(own) => self.pending.extend(own.children.into_iter().rev()),
                    Err(shared) => self.pending.extend(shared.children.iter().rev().cloned()),
                },
            }
        }
    }
}

impl<T: Item> Batch<T> {
    pub fn items(&self) -> &[T] {
        self.0.items()
    }
}

impl<T: Item> Walk<T> {
    pub(super) fn new(root: Option<Node<T>>) -> Self {
        Walk {
            batches: Batches::new(root),
            items: Vec::new().into_iter(),
        }
    }
}

impl<T: Item> Iterator for Walk<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(item);
            }
            self.items = self.batches.next()?.0.into_items();
        }
    }
}
