//! Whole subtrees cut apart and put together, in O(log n), and trees built from the bottom.
//!
//! Cutting at a position leaves two trees whose nodes along the cut may be small; joining mends every level along the seam.

use std::cmp::Ordering;
use std::mem;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Item;
use super::leaf::{LEAF_MAX, Leaf};
use super::node::{INNER_MAX, Inner, Node, Sibling};
use super::route::{At, Route};

impl<T: Item> Node<T> {
    /// Keeps what comes before `position`, a boundary between two items and not an end, and returns the rest, a node of the
    /// same height.
    pub(super) fn split_at(&mut self, position: u64) -> Sibling<T> {
        let mut route = At { offset: position };
        let inner = match self {
            Node::Leaf(leaf) => {
                let at = route.stop(leaf.items());
                return self.split_entries(at);
            }
            Node::Inner(inner) => Arc::make_mut(inner),
        };
        let at = route.enter(inner);
        if route.offset == 0 {
            return inner.split_entries(at);
        }
        let cut = inner.children[at].split_at(route.offset);
        inner.weights[at] -= cut.weight;
        if at + 1 == inner.children.len() {
            let right = Inner::single(inner.height, cut.weight, cut.node);
            return Sibling {
                node: Node::Inner(Arc::new(right)),
                ..cut
            };
        }
        let mut right = inner.split_entries(at + 1);
        if let Node::Inner(inner) = &mut right.node {
            Arc::make_mut(inner).put_front(cut.weight, cut.node, Some(right.key));
        }
        right.key = cut.key;
        right.weight += cut.weight;
        right
    }

    /// Puts `right`, of any height, behind this node of weight `weight`. This node gets the height of the higher of the two;
    /// what it cannot hold is returned, as a neighbour of that height.
    pub(super) fn join(&mut self, weight: u64, right: Sibling<T>) -> Option<Sibling<T>> {
        match self.height().cmp(&right.node.height()) {
            Ordering::Equal => {
                let right = self.mend(right)?;
                self.settle_with(right)
            }
            Ordering::Greater => {
                let Node::Inner(inner) = self else {
                    unreachable!("nothing is lower than a leaf")
                };
                let inner = Arc::make_mut(inner);
                let last = inner.children.len() - 1;
                inner.join_child(last, right)
            }
            Ordering::Less => {
                let mut first = right.node;
                let mut first_weight = weight;
                if let Node::Inner(inner) = &mut first {
                    let inner = Arc::make_mut(inner);
                    mem::swap(&mut inner.weights[0], &mut first_weight);
                    mem::swap(&mut inner.children[0], self);
                }
                // Now `first` is the higher node, with this one as its first child, and `self` what was its first child.
                mem::swap(self, &mut first);
                let Node::Inner(inner) = self else {
                    unreachable!("nothing is lower than a leaf")
                };
                let first = Sibling {
                    key: right.key,
                    weight: first_weight,
                    node: first,
                };
                Arc::make_mut(inner).join_child(0, first)
            }
        }
    }

    /// Joins the last child of this node with the first of `right`, of the same height, and so on down to the leaves. `None`
    /// where nothing is left of `right`.
    fn mend(&mut self, mut right: Sibling<T>) -> Option<Sibling<T>> {
        let (Node::Inner(left), Node::Inner(inner)) = (self, &mut right.node) else {
            return Some(right);
        };
        let (left, inner) = (Arc::make_mut(left), Arc::make_mut(inner));
        let (weight, node, next_key) = inner.take_front();
        right.weight -= weight;
        let first = Sibling {
            key: right.key,
            weight,
            node,
        };
        let last = left.children.len() - 1;
        let split = left.children[last].join(left.weights[last], first);
        left.weights[last] += weight;
        match split {
            Some(rest) => {
                left.weights[last] -= rest.weight;
                right.weight += rest.weight;
                right.key = rest.key;
                inner.put_front(rest.weight, rest.node, next_key);
            }
            None => right.key = next_key?,
        }
        Some(right)
    }
}

impl<T: Item> Inner<T> {
    /// Joins `right`, of a smaller height than this node, behind child `at`.
    fn join_child(&mut self, at: usize, right: Sibling<T>) -> Option<Sibling<T>> {
        let weight = self.weights[at];
        self.weights[at] += right.weight;
        let split = self.children[at].join(weight, right)?;
        self.weights[at] -= split.weight;
        self.adopt(at, split)
    }
}

/// Builds a tree of full nodes from items in order: one open leaf, and per level the finished nodes that have no parent yet.
pub(super) struct Builder<T: Item> {
    leaf: Option<Leaf<T>>,
    weight: u64,
    items: u64,
    levels: Vec<Vec<Sibling<T>>>,
}

impl<T: Item> Builder<T> {
    pub(super) fn new() -> Self {
        Builder {
            leaf: None,
            weight: 0,
            items: 0,
            levels: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, item: T) {
        let weight = item.weight();
        if weight == 0 {
            return;
        }
        self.weight += weight;
        self.items += 1;
        match &mut self.leaf {
            Some(leaf) if leaf.items().len() < LEAF_MAX => leaf.insert(leaf.items().len(), item),
            leaf => {
                if let Some(full) = leaf.replace(Leaf::of(item)) {
                    self.place(0, Sibling::of_leaf(full));
                }
            }
        }
    }

    /// The root with the tree's weight and number of items.
    pub(super) fn finish(mut self) -> (Option<Node<T>>, u64, u64) {
        let (weight, items) = (self.weight, self.items);
        if let Some(leaf) = self.leaf.take() {
            self.place(0, Sibling::of_leaf(leaf));
        }
        let mut level = 0;
        while level < self.levels.len() {
            let is_top = level + 1 == self.levels.len();
            let mut open = mem::take(&mut self.levels[level]);
            if is_top && open.len() == 1 {
                return (open.pop().map(|top| top.node), weight, items);
            }
            self.close(level, open);
            level += 1;
        }
        (None, 0, 0)
    }

    fn place(&mut self, level: usize, node: Sibling<T>) {
        if level == self.levels.len() {
            self.levels.push(Vec::with_capacity(INNER_MAX));
        }
        if self.levels[level].len() == INNER_MAX {
            let full = mem::replace(&mut self.levels[level], Vec::with_capacity(INNER_MAX));
            self.close(level, full);
        }
        self.levels[level].push(node);
    }

    /// Makes a parent of finished nodes; there is at least one.
    fn close(&mut self, level: usize, nodes: Vec<Sibling<T>>) {
        let mut keys: SmallVec<[T::Key; INNER_MAX]> = SmallVec::new();
        let mut weights: SmallVec<[u64; INNER_MAX]> = SmallVec::new();
        let mut children: SmallVec<[Node<T>; INNER_MAX]> = SmallVec::new();
        let mut first_key = None;
        for node in nodes {
            if first_key.is_none() {
                first_key = Some(node.key);
            } else {
                keys.push(node.key);
            }
            weights.push(node.weight);
            children.push(node.node);
        }
        let Some(key) = first_key else { return };
        let weight = weights.iter().sum();
        let node = Node::Inner(Arc::new(Inner {
            height: level as u8 + 1,
            keys,
            weights,
            children,
        }));
        self.place(level + 1, Sibling { key, weight, node });
    }
}
