//! CowTree: a copy-on-write B+tree whose inner nodes count, so that one structure carries sorted sets by (score, member),
//! lists by position, streams by id and long strings by offset.
//!
//! A clone shares the root and costs the same for any size. Whoever changes a tree changes a node in place where no other tree
//! holds it, and copies it (up to 64 items, or 32 children) on the first touch where one does; the path from the root is made
//! its own on the way down. Clones may be read, walked and dropped on other threads.
//!
//! An *item* is what a leaf holds; it stands for `weight` *elements*: one for a member of a sorted set, many for the chunk of
//! a list. Positions count elements from 0. Each item weighs at least 1: an item of weight 0 stands for nothing and is not
//! kept.
//!
//! Files in reading order: `leaf` (items), `node` (branches; insert, edit, merge), `route` (ways down), `join` (cut, join,
//! build), `range` (reading), `walk` (consuming). Knows nothing of what items mean.

mod join;
mod leaf;
mod node;
mod range;
mod route;
#[cfg(test)]
mod tests;
mod walk;

use std::cmp::Ordering;
use std::fmt;
use std::mem;

use join::Builder;
use leaf::Leaf;
use node::{Edit, Node, Sibling};
use route::{After, At, Ordered, PastBack, Route, ToBack, ToFront};

pub use range::{Range, RangeBack};
pub use walk::{Batch, Batches, Walk};

/// What a tree holds.
///
/// `Clone` should be cheap, a count rather than a copy of bytes: the first change of a shared leaf clones all its items.
pub trait Item: Clone + Send + Sync {
    /// What inner nodes keep to find an item by order: (score, member) for a sorted set, an id for a stream, `()` where only
    /// positions matter.
    type Key: Clone + Send + Sync;

    /// The key of the first element that this item stands for.
    fn key(&self) -> Self::Key;

    /// Elements that this item stands for. Changes only in [`CowTree::update_at`] and its kin.
    fn weight(&self) -> u64;

    /// Shows the key to `look`. An item that holds its key, and whose key is not cheap to clone, overrides this: each
    /// comparison in a leaf goes through it.
    fn with_key<R>(&self, look: impl FnOnce(&Self::Key) -> R) -> R {
        look(&self.key())
    }
}

/// A sequence of items, in the order of their positions and, for items with keys, of their keys.
pub struct CowTree<T: Item> {
    root: Option<Node<T>>,
    weight: u64,
    items: u64,
}

impl<T: Item> CowTree<T> {
    /// An empty tree; no heap.
    pub const fn new() -> Self {
        CowTree {
            root: None,
            weight: 0,
            items: 0,
        }
    }

    /// Elements, which is the sum of the items' weights.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    pub fn items(&self) -> u64 {
        self.items
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    // By position.

    /// The item that holds the element at `position`, and where in it, counted in elements.
    pub fn at(&self, position: u64) -> Option<(&T, u64)> {
        if position >= self.weight {
            return None;
        }
        let mut route = At { offset: position };
        let item = self.follow(&mut route)?;
        Some((item, route.offset))
    }

    pub fn first(&self) -> Option<&T> {
        self.follow(&mut ToFront)
    }

    pub fn last(&self) -> Option<&T> {
        self.follow(&mut ToBack)
    }

    /// Changes the item that holds the element at `position`; `change` gets it and where in it that is. Its weight may change;
    /// an item left with weight 0 is removed. Its key may grow, up to that of an element it stood for already. `None` past
    /// the end.
    pub fn update_at<R>(
        &mut self,
        position: u64,
        change: impl FnOnce(&mut T, u64) -> R,
    ) -> Option<R> {
        if position >= self.weight {
            return None;
        }
        let route = At { offset: position };
        self.update(route, |item, route| change(item, route.offset))
    }

    /// As [`CowTree::update_at`], for the first item.
    pub fn update_first<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.update(ToFront, |item, _| change(item))
    }

    /// As [`CowTree::update_at`], for the last item.
    pub fn update_last<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.update(ToBack, |item, _| change(item))
    }

    pub fn push_back(&mut self, item: T) {
        self.insert(&mut PastBack, item);
    }

    pub fn push_front(&mut self, item: T) {
        self.insert(&mut ToFront, item);
    }

    /// Inserts in front of the item that holds the element at `position`; past the end, behind the last.
    pub fn insert_before(&mut self, position: u64, item: T) {
        self.insert(&mut At { offset: position }, item);
    }

    /// Inserts behind the item that holds the element at `position`; past the end, behind the last.
    pub fn insert_after(&mut self, position: u64, item: T) {
        self.insert(&mut After(At { offset: position }), item);
    }

    /// Removes the item that holds the element at `position`.
    pub fn remove_at(&mut self, position: u64) -> Option<T> {
        if position >= self.weight {
            return None;
        }
        self.take(&mut At { offset: position }, |_, at| Some(at))
    }

    pub fn pop_front(&mut self) -> Option<T> {
        self.take(&mut ToFront, |_, at| Some(at))
    }

    pub fn pop_back(&mut self) -> Option<T> {
        self.take(&mut ToBack, |_, at| Some(at))
    }

    /// Puts `items`, in order, where the item was that holds the element at `position`, and returns that item: how a chunk is
    /// split. Past the end, nothing happens.
    pub fn replace_at(&mut self, position: u64, items: impl IntoIterator<Item = T>) -> Option<T> {
        let (_, offset) = self.at(position)?;
        let old = self.remove_at(position)?;
        let mut gap = position - offset;
        for item in items {
            let weight = item.weight();
            self.insert_before(gap, item);
            gap += weight;
        }
        Some(old)
    }

    /// Joins the item that holds the element at `position` with the next one, if there is one and `fits` agrees: `join` adds
    /// the second to the first. Says whether it did.
    pub fn merge_with_next(
        &mut self,
        position: u64,
        fits: impl FnOnce(&T, &T) -> bool,
        join: impl FnOnce(&mut T, T),
    ) -> bool {
        let next = {
            let mut both = self.range(position);
            match (both.next(), both.next()) {
                (Some(left), Some(right)) if fits(left, right) => {
                    position - both.offset() + left.weight()
                }
                _ => return false,
            }
        };
        let Some(right) = self.remove_at(next) else {
            return false;
        };
        self.update_at(position, |left, _| join(left, right))
            .is_some()
    }

    // By order. The predicates hold for a prefix of the keys, as those of `slice::partition_point` do.

    /// Elements in front of the first item for whose key `is_left` is false: the rank of the place looked for.
    pub fn partition_point(&self, is_left: impl FnMut(&T::Key) -> bool) -> u64 {
        let mut route = Ordered::new(is_left);
        self.follow(&mut route);
        route.passed
    }

    /// The last item for whose key `is_left` holds, and the position of its first element: the chunk that covers a key.
    pub fn last_left(&self, is_left: impl FnMut(&T::Key) -> bool) -> Option<(&T, u64)> {
        let end = self.partition_point(is_left);
        let (item, offset) = self.at(end.checked_sub(1)?)?;
        Some((item, end - 1 - offset))
    }

    /// Inserts where `compare`, of a key with the new item's, changes from less to greater, and returns its rank: the
    /// elements in front of it. No key in the tree is equal.
    pub fn insert_ordered(&mut self, item: T, compare: impl Fn(&T::Key) -> Ordering) -> u64 {
        let mut route = Ordered::new(|key: &T::Key| compare(key) != Ordering::Greater);
        self.insert(&mut route, item);
        route.passed
    }

    /// Removes the item whose key compares as equal; returns its rank and itself. Where it is missing, a tree that shares nodes
    /// may have copied some for nothing.
    pub fn remove_ordered(&mut self, compare: impl Fn(&T::Key) -> Ordering) -> Option<(u64, T)> {
        let mut route = Ordered::new(|key: &T::Key| compare(key) != Ordering::Greater);
        let item = self.take(&mut route, |items, end| {
            let at = end.checked_sub(1)?;
            (items[at].with_key(&compare) == Ordering::Equal).then_some(at)
        })?;
        Some((route.passed - item.weight(), item))
    }

    // Ranges.

    pub fn iter(&self) -> Range<'_, T> {
        self.range(0)
    }

    /// Items from the one that holds the element at `from` to the last.
    pub fn range(&self, from: u64) -> Range<'_, T> {
        match &self.root {
            Some(root) if from < self.weight => Range::new(root, from),
            _ => Range::default(),
        }
    }

    /// Items from the one that holds the element at `from`, or the last where that is past the end, back to the first.
    pub fn range_back(&self, from: u64) -> RangeBack<'_, T> {
        match &self.root {
            Some(root) => Range::new(root, from.min(self.weight - 1)),
            None => Range::default(),
        }
    }

    /// Takes out the items that lie wholly in `from..to`, as a tree: to be looked at, walked, or dropped on another thread.
    /// O(log n), and a glance at each leaf of the lighter part to count its items. An item that reaches beyond an end of the range stays as it is.
    pub fn remove_range(&mut self, from: u64, to: u64) -> CowTree<T> {
        let to = match self.at(to) {
            Some((_, offset)) => to - offset,
            None => self.weight,
        };
        let from = self.boundary(from);
        if from >= to {
            return CowTree::new();
        }
        let right = self.cut(to);
        let mut removed = self.cut(from);
        // Cutting does not count items: the lighter part is counted, the other is the rest.
        let total = mem::take(&mut self.items);
        self.append(right);
        if removed.weight <= self.weight {
            removed.items = removed.count_items();
            self.items = total - removed.items;
        } else {
            self.items = self.count_items();
            removed.items = total - self.items;
        }
        removed
    }

    /// Keeps the items that begin before `position` and returns the rest, at the cost of [`CowTree::remove_range`].
    pub fn split_off(&mut self, position: u64) -> CowTree<T> {
        let end = self.weight;
        self.remove_range(position, end)
    }

    /// Puts all items of `other` behind those of this tree, in O(log n).
    pub fn append(&mut self, other: CowTree<T>) {
        let Some(key) = other.first().map(T::key) else {
            return;
        };
        let Some(node) = other.root else { return };
        let right = Sibling {
            key,
            weight: other.weight,
            node,
        };
        let weight = self.weight;
        self.weight += other.weight;
        self.items += other.items;
        self.root = Some(match self.root.take() {
            None => right.node,
            Some(mut root) => match root.join(weight, right) {
                Some(split) => Node::pair(root, self.weight - split.weight, split),
                None => root,
            },
        });
        self.lower_root();
    }

    /// Consumes this tree: items in order, nodes freed as the walk leaves them.
    pub fn into_walk(self) -> Walk<T> {
        Walk::new(self.root)
    }

    /// Consumes this tree: items in order as slices, nodes freed as the walk leaves them. Clones nothing.
    pub fn into_batches(self) -> Batches<T> {
        Batches::new(self.root)
    }

    /// Bytes of the nodes, shared or not, without what items own elsewhere. Looks at every leaf.
    pub fn heap_bytes(&self) -> usize {
        self.root.as_ref().map_or(0, Node::heap_bytes)
    }

    fn count_items(&self) -> u64 {
        self.root.as_ref().map_or(0, Node::count_items)
    }

    fn follow(&self, route: &mut impl Route<T>) -> Option<&T> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children[route.enter(inner)],
                Node::Leaf(leaf) => {
                    let items = leaf.items();
                    return items.get(route.stop(items));
                }
            }
        }
    }

    fn insert(&mut self, route: &mut impl Route<T>, item: T) {
        let weight = item.weight();
        if weight == 0 {
            return;
        }
        self.weight += weight;
        self.items += 1;
        let Some(root) = &mut self.root else {
            self.root = Some(Node::Leaf(Leaf::of(item)));
            return;
        };
        if let Some(split) = root.insert(route, item) {
            self.root = self.root.take().map(|root| {
                let weight = self.weight - split.weight;
                Node::pair(root, weight, split)
            });
        }
    }

    fn update<R: Route<T>, A>(
        &mut self,
        mut route: R,
        change: impl FnOnce(&mut T, &R) -> A,
    ) -> Option<A> {
        let edit = self.root.as_mut()?.edit(&mut route, |leaf, at, route| {
            let item = leaf.item_mut(at);
            let before = item.weight();
            let result = change(item, route);
            let after = item.weight();
            if after == 0 {
                leaf.remove(at);
            }
            Edit {
                before,
                after,
                result,
            }
        });
        self.account(&edit);
        Some(edit.result)
    }

    /// Removes the item that `choose` names, given the leaf and the place where `route` ends.
    fn take(
        &mut self,
        route: &mut impl Route<T>,
        choose: impl FnOnce(&[T], usize) -> Option<usize>,
    ) -> Option<T> {
        let edit = self.root.as_mut()?.edit(route, |leaf, at, _| {
            let removed = choose(leaf.items(), at).map(|at| leaf.remove(at));
            Edit {
                before: removed.as_ref().map_or(0, T::weight),
                after: 0,
                result: removed,
            }
        });
        self.account(&edit);
        edit.result
    }

    fn account<R>(&mut self, edit: &Edit<R>) {
        self.weight = self.weight - edit.before + edit.after;
        if edit.is_removal() {
            self.items -= 1;
            self.lower_root();
        }
    }

    /// A root with one child gives way to it, an empty one to nothing.
    fn lower_root(&mut self) {
        loop {
            match &mut self.root {
                Some(Node::Inner(inner)) if inner.children.len() == 1 => {
                    let child = inner.children[0].clone();
                    self.root = Some(child);
                }
                Some(root) if root.len() == 0 => self.root = None,
                _ => return,
            }
        }
    }

    /// The first position, from `position` on, at which an item begins or the tree ends.
    fn boundary(&self, position: u64) -> u64 {
        match self.at(position) {
            Some((_, 0)) => position,
            Some((item, offset)) => position - offset + item.weight(),
            None => self.weight,
        }
    }

    /// Cuts off what comes from `position` on, a boundary. The part cut off does not know its number of items.
    fn cut(&mut self, position: u64) -> CowTree<T> {
        let mut right = CowTree::new();
        right.weight = self.weight - position;
        self.weight = position;
        if right.weight == 0 {
            return right;
        }
        right.root = match &mut self.root {
            Some(root) if position > 0 => Some(root.split_at(position).node),
            root => root.take(),
        };
        self.lower_root();
        right.lower_root();
        right
    }
}

impl<T: Item> Clone for CowTree<T> {
    /// Shares all nodes: O(1).
    fn clone(&self) -> Self {
        CowTree {
            root: self.root.clone(),
            weight: self.weight,
            items: self.items,
        }
    }
}

impl<T: Item> Default for CowTree<T> {
    fn default() -> Self {
        CowTree::new()
    }
}

impl<T: Item> FromIterator<T> for CowTree<T> {
    /// From items in order, in O(n), with full nodes.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut builder = Builder::new();
        for item in items {
            builder.push(item);
        }
        let (root, weight, items) = builder.finish();
        CowTree {
            root,
            weight,
            items,
        }
    }
}

impl<T: Item> Extend<T> for CowTree<T> {
    /// Behind the last item, in O(log n + items added).
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        self.append(items.into_iter().collect());
    }
}

impl<'a, T: Item> IntoIterator for &'a CowTree<T> {
    type Item = &'a T;
    type IntoIter = Range<'a, T>;

    fn into_iter(self) -> Range<'a, T> {
        self.iter()
    }
}

impl<T: Item> fmt::Debug for CowTree<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CowTree")
            .field("weight", &self.weight)
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}
