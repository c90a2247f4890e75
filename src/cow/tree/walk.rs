//! A walk that consumes a tree: items in order, and each node let go as the walk leaves it.
//!
//! A snapshot is walked this way on another thread, so that memory held only for it shrinks while the walk goes on. What
//! another tree still holds is copied item by item or lent by the leaf; the rest is moved out.

use std::slice;
use std::sync::Arc;
use std::vec;

use super::Item;
use super::leaf::Leaf;
use super::node::Node;

/// The items of a tree in order, leaf by leaf or one by one.
pub struct Walk<T: Item> {
    /// Subtrees still to come, the next one last: at most the children of one path.
    pending: Vec<Node<T>>,
    batch: Batch<T>,
}

/// The items of one leaf, still to be taken.
pub struct Batch<T: Item>(Source<T>);

enum Source<T: Item> {
    Own(vec::IntoIter<T>),
    Shared { leaf: Leaf<T>, taken: usize },
}

impl<T: Item> Walk<T> {
    pub(super) fn new(root: Option<Node<T>>) -> Self {
        Walk {
            pending: root.into_iter().collect(),
            batch: Batch(Source::Own(Vec::new().into_iter())),
        }
    }

    /// The next items of one leaf, up to 64; never an empty batch. Cheaper than one by one, and copies no item where the
    /// batch is only looked at.
    pub fn next_batch(&mut self) -> Option<Batch<T>> {
        if !self.batch.items().is_empty() {
            let empty = Batch(Source::Own(Vec::new().into_iter()));
            return Some(std::mem::replace(&mut self.batch, empty));
        }
        loop {
            match self.pending.pop()? {
                Node::Leaf(leaf) => return Some(Batch::new(leaf)),
                Node::Inner(inner) => match Arc::try_unwrap(inner) {
                    Ok(own) => self.pending.extend(own.children.into_iter().rev()),
                    Err(shared) => self.pending.extend(shared.children.iter().rev().cloned()),
                },
            }
        }
    }
}

impl<T: Item> Iterator for Walk<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.batch.next() {
                return Some(item);
            }
            self.batch = self.next_batch()?;
        }
    }
}

impl<T: Item> Batch<T> {
    fn new(leaf: Leaf<T>) -> Self {
        Batch(match leaf.into_items() {
            Ok(items) => Source::Own(items.into_iter()),
            Err(leaf) => Source::Shared { leaf, taken: 0 },
        })
    }

    pub fn items(&self) -> &[T] {
        match &self.0 {
            Source::Own(items) => items.as_slice(),
            Source::Shared { leaf, taken } => &leaf.items()[*taken..],
        }
    }
}

impl<T: Item> Iterator for Batch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Source::Own(items) => items.next(),
            Source::Shared { leaf, taken } => {
                let item = leaf.items().get(*taken).cloned()?;
                *taken += 1;
                Some(item)
            }
        }
    }
}

impl<'a, T: Item> IntoIterator for &'a Batch<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> slice::Iter<'a, T> {
        self.items().iter()
    }
}
