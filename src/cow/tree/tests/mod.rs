//! The tree against plain models: random operations by position and by order, with snapshots taken, verified, walked and
//! dropped in between, every invariant checked after each operation, and every item accounted for at the end.

mod by_order;
mod by_position;
mod cost;
mod threads;

use std::sync::Arc;

use super::leaf::LEAF_MAX;
use super::node::{INNER_MAX, Node};
use super::{CowTree, Item};

/// A member of a sorted set.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    score: u64,
    alive: Arc<()>,
}

impl Item for Member {
    type Key = u64;

    fn key(&self) -> u64 {
        self.score
    }

    fn weight(&self) -> u64 {
        1
    }
}

fn member(score: u64) -> Member {
    Member {
        score,
        alive: Arc::new(()),
    }
}

/// Checks every invariant of the tree's shape and returns its leaves and inner nodes.
fn check<T: Item<Key: Ord>>(tree: &CowTree<T>) -> (u64, u64) {
    let Some(root) = &tree.root else {
        assert_eq!((tree.weight, tree.items), (0, 0));
        return (0, 0);
    };
    if let Node::Inner(inner) = root {
        assert!(inner.children.len() > 1, "a root with one child is no root");
    }
    let mut shape = Shape::default();
    let weight = shape.visit(root, root.height(), None, None);
    assert_eq!(weight, tree.weight);
    assert_eq!(shape.items, tree.items);
    (shape.leaves, shape.inners)
}

#[derive(Default)]
struct Shape {
    leaves: u64,
    inners: u64,
    items: u64,
}

impl Shape {
    /// The weight of a subtree whose keys are in `low..high`.
    fn visit<T: Item<Key: Ord>>(
        &mut self,
        node: &Node<T>,
        height: u8,
        low: Option<&T::Key>,
        high: Option<&T::Key>,
    ) -> u64 {
        assert_eq!(node.height(), height, "all leaves are equally deep");
        assert!(node.len() > 0, "no node is empty");
        match node {
            Node::Leaf(leaf) => {
                self.leaves += 1;
                self.items += leaf.items().len() as u64;
                assert!(leaf.items().len() <= LEAF_MAX);
                assert!(leaf.items().iter().all(|item| item.weight() > 0));
                let keys: Vec<T::Key> = leaf.items().iter().map(T::key).collect();
                assert!(keys.is_sorted());
                assert!(low.is_none_or(|low| *low <= keys[0]));
                assert!(high.is_none_or(|high| keys[keys.len() - 1] <= *high));
                leaf.items().iter().map(T::weight).sum()
            }
            Node::Inner(inner) => {
                self.inners += 1;
                assert!(inner.children.len() <= INNER_MAX);
                assert_eq!(inner.weights.len(), inner.children.len());
                assert_eq!(inner.keys.len() + 1, inner.children.len());
                assert!(!inner.keys.spilled() && !inner.children.spilled());
                for (at, child) in inner.children.iter().enumerate() {
                    let low = if at > 0 {
                        Some(&inner.keys[at - 1])
                    } else {
                        low
                    };
                    let high = inner.keys.get(at).or(high);
                    let weight = self.visit(child, height - 1, low, high);
                    assert_eq!(weight, inner.weights[at], "weight of child {at}");
                }
                inner.weights.iter().sum()
            }
        }
    }
}
