//! Nodes: leaves, and inner nodes with one separator, weight and child per branch.
//!
//! Everything that changes a node first makes it this tree's own, on the way down; a node of this tree alone is changed where
//! it is.
//!
//! Invariants: all leaves are equally deep; no node is empty; `keys[i]` lies above every key of child `i` and not above any
//! key of child `i + 1`; `weights[i]` is the sum of the weights below child `i`.
//!
//! How full nodes are: a node that overflows at one of its ends lets go of a single entry, to a neighbour with room or else
//! into a new node, so that what is filled in order, from either side, has full nodes; any other overflow splits in half. A
//! removal that leaves a node less than a quarter full merges it with a neighbour or evens both out.

use std::mem;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::Item;
use super::leaf::{LEAF_MAX, LEAF_MIN, Leaf};
use super::route::Route;

/// Children an inner node may have; one more splits it.
pub(super) const INNER_MAX: usize = 32;

/// An inner node that shrinks below this looks for a neighbour to merge with or to borrow from.
pub(super) const INNER_MIN: usize = 8;

/// A subtree. Its clone shares it.
pub(super) enum Node<T: Item> {
    Leaf(Leaf<T>),
    Inner(Arc<Inner<T>>),
}

/// A node of branches. The three arrays lie in the node's own allocation.
pub(super) struct Inner<T: Item> {
    /// Levels below this node: 1 where the children are leaves.
    pub(super) height: u8,
    /// One less than children.
    pub(super) keys: SmallVec<[T::Key; INNER_MAX]>,
    pub(super) weights: SmallVec<[u64; INNER_MAX]>,
    pub(super) children: SmallVec<[Node<T>; INNER_MAX]>,
}

/// A subtree that belongs behind another of the same parent.
pub(super) struct Sibling<T: Item> {
    /// Separates it from the one before.
    pub(super) key: T::Key,
    pub(super) weight: u64,
    pub(super) node: Node<T>,
}

/// What changing one item came to: its weight before and after (0: it is gone), and what the change returns.
pub(super) struct Edit<R> {
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) result: R,
}

impl<R> Edit<R> {
    pub(super) fn is_removal(&self) -> bool {
        self.before > 0 && self.after == 0
    }
}

impl<T: Item> Node<T> {
    /// A root over two subtrees of equal height.
    pub(super) fn pair(left: Node<T>, left_weight: u64, right: Sibling<T>) -> Self {
        Node::Inner(Arc::new(Inner {
            height: left.height() + 1,
            keys: smallvec![right.key],
            weights: smallvec![left_weight, right.weight],
            children: smallvec![left, right.node],
        }))
    }

    /// Levels below this node: 0 for a leaf.
    pub(super) fn height(&self) -> u8 {
        match self {
            Node::Leaf(_) => 0,
            Node::Inner(inner) => inner.height,
        }
    }

    /// Items of a leaf, children of an inner node.
    pub(super) fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.items().len(),
            Node::Inner(inner) => inner.children.len(),
        }
    }

    pub(super) fn count_items(&self) -> u64 {
        match self {
            Node::Leaf(leaf) => leaf.items().len() as u64,
            Node::Inner(inner) => inner.children.iter().map(Node::count_items).sum(),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.heap_bytes(),
            Node::Inner(inner) => {
                let counts = 2 * size_of::<usize>();
                let below: usize = inner.children.iter().map(Node::heap_bytes).sum();
                counts + size_of::<Inner<T>>() + below
            }
        }
    }

    pub(super) fn has_room(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.items().len() < LEAF_MAX,
            Node::Inner(inner) => inner.children.len() < INNER_MAX,
        }
    }

    fn bounds(&self) -> (usize, usize) {
        match self {
            Node::Leaf(_) => (LEAF_MIN, LEAF_MAX),
            Node::Inner(_) => (INNER_MIN, INNER_MAX),
        }
    }

    /// Inserts at the end of `route`. Where this node has to split for it, returns its new right neighbour.
    pub(super) fn insert(&mut self, route: &mut impl Route<T>, item: T) -> Option<Sibling<T>> {
        match self {
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let weight = item.weight();
                let at = route.enter(inner);
                let split = inner.children[at].insert(route, item);
                inner.weights[at] += weight;
                split.and_then(|sibling| {
                    inner.weights[at] -= sibling.weight;
                    inner.adopt(at, sibling)
                })
            }
            Node::Leaf(leaf) => {
                let at = route.stop(leaf.items());
                if leaf.items().len() < LEAF_MAX {
                    leaf.insert(at, item);
                    return None;
                }
                let right = match at {
                    0 => mem::replace(leaf, Leaf::of(item)),
                    LEAF_MAX => Leaf::of(item),
                    _ => {
                        let mut right = leaf.split_off(LEAF_MAX / 2);
                        match at.checked_sub(LEAF_MAX / 2) {
                            Some(at) if at > 0 => right.insert(at, item),
                            _ => leaf.insert(at, item),
                        }
                        right
                    }
                };
                Some(Sibling::of_leaf(right))
            }
        }
    }

    /// Changes the item at the end of `route` by `change`, which gets the leaf, not yet made its own, the place in it, and the
    /// route. An item left with no weight must have been removed.
    pub(super) fn edit<R: Route<T>, A>(
        &mut self,
        route: &mut R,
        change: impl FnOnce(&mut Leaf<T>, usize, &R) -> Edit<A>,
    ) -> Edit<A> {
        match self {
            Node::Leaf(leaf) => {
                let at = route.stop(leaf.items());
                change(leaf, at, route)
            }
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let at = route.enter(inner);
                let edit = inner.children[at].edit(route, change);
                inner.weights[at] = inner.weights[at] - edit.before + edit.after;
                if edit.is_removal() {
                    inner.settle(at);
                }
                edit
            }
        }
    }

    /// Keeps the entries before `at` and returns the rest; neither part is empty.
    pub(super) fn split_entries(&mut self, at: usize) -> Sibling<T> {
        match self {
            Node::Leaf(leaf) => Sibling::of_leaf(leaf.split_off(at)),
            Node::Inner(inner) => Arc::make_mut(inner).split_entries(at),
        }
    }

    /// Takes over the entries of `right`, a node of the same height; there is room for them.
    pub(super) fn append_entries(&mut self, right: Sibling<T>) {
        match (self, right.node) {
            (Node::Leaf(left), Node::Leaf(leaf)) => left.append(leaf),
            (Node::Inner(left), Node::Inner(inner)) => {
                let left = Arc::make_mut(left);
                let inner = Arc::unwrap_or_clone(inner);
                left.keys.push(right.key);
                left.keys.extend(inner.keys);
                left.weights.extend(inner.weights);
                left.children.extend(inner.children);
            }
            _ => unreachable!("nodes of one parent have one height"),
        }
    }

    /// Merges this node with its right neighbour where one node can hold both, or evens them out where one of them is too
    /// small. Returns what is to the right of it now.
    pub(super) fn settle_with(&mut self, mut right: Sibling<T>) -> Option<Sibling<T>> {
        let (min, max) = self.bounds();
        let (left_len, right_len) = (self.len(), right.node.len());
        let total = left_len + right_len;
        if total <= max {
            self.append_entries(right);
            return None;
        }
        if left_len >= min && right_len >= min {
            return Some(right);
        }
        let half = total / 2;
        if left_len > half {
            let mut moved = self.split_entries(half);
            moved.weight += right.weight;
            moved.node.append_entries(right);
            return Some(moved);
        }
        let rest = right.node.split_entries(half - left_len);
        self.append_entries(right);
        Some(rest)
    }
}

impl<T: Item> Inner<T> {
    pub(super) fn single(height: u8, weight: u64, child: Node<T>) -> Self {
        Inner {
            height,
            keys: smallvec![],
            weights: smallvec![weight],
            children: smallvec![child],
        }
    }

    /// Puts `sibling` behind child `at`, from which it was split. Where this node has to split for it, returns its new right
    /// neighbour.
    pub(super) fn adopt(&mut self, at: usize, sibling: Sibling<T>) -> Option<Sibling<T>> {
        let sibling = self.rehome(at, sibling)?;
        let at = at + 1;
        if self.children.len() < INNER_MAX {
            self.put(at, sibling);
            return None;
        }
        // What grows at its back gives the last child away, what grows at its front keeps the first alone: full nodes stay.
        if at == INNER_MAX && sibling.node.len() == 1 {
            let right = Inner::single(self.height, sibling.weight, sibling.node);
            return Some(Sibling {
                node: Node::Inner(Arc::new(right)),
                ..sibling
            });
        }
        let at_front = at == 1 && self.children[0].len() == 1;
        let middle = if at_front { 1 } else { INNER_MAX / 2 };
        let mut right = self.split_entries(middle);
        if at <= middle && !at_front {
            self.put(at, sibling);
            return Some(right);
        }
        let Node::Inner(inner) = &mut right.node else {
            unreachable!("an inner node splits into inner nodes")
        };
        let inner = Arc::make_mut(inner);
        right.weight += sibling.weight;
        if at > middle {
            inner.put(at - middle, sibling);
        } else {
            let key = mem::replace(&mut right.key, sibling.key);
            inner.put_front(sibling.weight, sibling.node, Some(key));
        }
        Some(right)
    }

    /// A node that split at one of its ends has one entry alone: a neighbour on that side with room takes it.
    fn rehome(&mut self, at: usize, mut sibling: Sibling<T>) -> Option<Sibling<T>> {
        let next = at + 1;
        if sibling.node.len() == 1 && self.children.get(next).is_some_and(Node::has_room) {
            let key = mem::replace(&mut self.keys[at], sibling.key);
            let weight = self.weights[next];
            self.weights[next] += sibling.weight;
            let node = mem::replace(&mut self.children[next], sibling.node);
            self.children[next].append_entries(Sibling { key, weight, node });
            return None;
        }
        if at > 0 && self.children[at].len() == 1 && self.children[at - 1].has_room() {
            mem::swap(&mut self.children[at], &mut sibling.node);
            mem::swap(&mut self.weights[at], &mut sibling.weight);
            mem::swap(&mut self.keys[at - 1], &mut sibling.key);
            self.weights[at - 1] += sibling.weight;
            self.children[at - 1].append_entries(sibling);
            return None;
        }
        Some(sibling)
    }

    fn put(&mut self, at: usize, sibling: Sibling<T>) {
        self.keys.insert(at - 1, sibling.key);
        self.weights.insert(at, sibling.weight);
        self.children.insert(at, sibling.node);
    }

    /// Puts a child in front; `key` separates it from the one that was first, if there is one.
    pub(super) fn put_front(&mut self, weight: u64, child: Node<T>, key: Option<T::Key>) {
        if let Some(key) = key {
            self.keys.insert(0, key);
        }
        self.weights.insert(0, weight);
        self.children.insert(0, child);
    }

    /// Takes the first child out, with the key that separated it from the next, if there is one.
    pub(super) fn take_front(&mut self) -> (u64, Node<T>, Option<T::Key>) {
        let key = (!self.keys.is_empty()).then(|| self.keys.remove(0));
        (self.weights.remove(0), self.children.remove(0), key)
    }

    /// Keeps the children before `at` and returns the rest; neither part is empty.
    pub(super) fn split_entries(&mut self, at: usize) -> Sibling<T> {
        let keys = self.keys.drain(at..).collect();
        let weights: SmallVec<[u64; INNER_MAX]> = self.weights.drain(at..).collect();
        let children = self.children.drain(at..).collect();
        Sibling {
            key: self.keys.remove(at - 1),
            weight: weights.iter().sum(),
            node: Node::Inner(Arc::new(Inner {
                height: self.height,
                keys,
                weights,
                children,
            })),
        }
    }

    /// Removes child `at` if nothing is left in it, or joins it with a neighbour if it has become small.
    fn settle(&mut self, at: usize) {
        let child = &self.children[at];
        let (min, _) = child.bounds();
        if child.len() >= min {
            return;
        }
        if child.len() == 0 {
            self.children.remove(at);
            self.weights.remove(at);
            if !self.keys.is_empty() {
                self.keys.remove(at.saturating_sub(1));
            }
            return;
        }
        if self.children.len() == 1 {
            return;
        }
        let left = at.saturating_sub(1);
        let right = Sibling {
            key: self.keys.remove(left),
            weight: self.weights.remove(left + 1),
            node: self.children.remove(left + 1),
        };
        self.weights[left] += right.weight;
        if let Some(right) = self.children[left].settle_with(right) {
            self.weights[left] -= right.weight;
            self.put(left + 1, right);
        }
    }
}

impl<T: Item> Sibling<T> {
    pub(super) fn of_leaf(leaf: Leaf<T>) -> Self {
        Sibling {
            key: leaf.items()[0].key(),
            weight: leaf.items().iter().map(T::weight).sum(),
            node: Node::Leaf(leaf),
        }
    }
}

impl<T: Item> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Node::Leaf(leaf) => Node::Leaf(leaf.clone()),
            Node::Inner(inner) => Node::Inner(Arc::clone(inner)),
        }
    }
}

impl<T: Item> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Inner {
            height: self.height,
            keys: self.keys.clone(),
            weights: SmallVec::from_slice(&self.weights),
            children: self.children.clone(),
        }
    }
}
