//! What a tree costs: how full its nodes are, what a clone shares, what small trees take.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cow::tree::leaf::LEAF_MAX;
use crate::cow::tree::node::Node;
use crate::cow::tree::{CowTree, Item};
use crate::random::Random;

use super::{Member, check, member};

/// The first item of each leaf, by address: which leaves two trees share.
fn leaves<T: Item>(tree: &CowTree<T>) -> HashSet<*const T> {
    fn visit<T: Item>(node: &Node<T>, found: &mut HashSet<*const T>) {
        match node {
            Node::Leaf(leaf) => {
                found.insert(leaf.items().as_ptr());
            }
            Node::Inner(inner) => inner.children.iter().for_each(|child| visit(child, found)),
        }
    }
    let mut found = HashSet::new();
    tree.root.iter().for_each(|root| visit(root, &mut found));
    found
}

fn nearly_full(tree: &CowTree<Member>) {
    let (leaves, inners) = check(tree);
    let full = tree.items() / LEAF_MAX as u64;
    assert!(
        leaves <= full + full / 20 + 2,
        "{leaves} leaves where {full} would do"
    );
    assert!(
        inners <= full / 25 + 4,
        "{inners} inner nodes over {leaves} leaves"
    );
}

fn put(tree: &mut CowTree<Member>, score: u64) {
    tree.insert_ordered(member(score), |key| key.cmp(&score));
}

#[test]
fn a_tree_filled_in_order_has_full_nodes() {
    let count = 30_000;
    let (mut back, mut front) = (CowTree::new(), CowTree::new());
    let (mut up, mut down) = (CowTree::new(), CowTree::new());
    for score in 0..count {
        back.push_back(member(score));
        front.push_front(member(count - score));
        put(&mut up, score);
        put(&mut down, count - score);
    }
    for tree in [&back, &front, &up, &down, &(0..count).map(member).collect()] {
        assert_eq!(tree.weight(), count);
        nearly_full(tree);
    }
}

#[test]
fn runs_in_the_middle_leave_no_lone_items() {
    let (low, high) = (1 << 20, 1 << 30);
    for (up, down) in [(true, false), (false, true), (true, true)] {
        let start = |at| member(if at < 1024 { at } else { high + at });
        let mut tree: CowTree<Member> = (0..2048).map(start).collect();
        for step in 0..5000 {
            if up {
                put(&mut tree, low + step);
            }
            if down {
                put(&mut tree, high - step);
            }
        }
        let (leaves, inners) = check(&tree);
        assert!(leaves * 30 <= tree.items(), "{leaves} leaves");
        assert!(
            inners * 14 <= leaves,
            "{inners} inner nodes over {leaves} leaves"
        );
        if up != down {
            nearly_full(&tree);
        }
    }
}

#[test]
fn random_inserts_and_removals_keep_leaves_a_third_full() {
    let mut random = Random::from_seed(5);
    let mut scores: Vec<u64> = (0..20_000).collect();
    let mut tree = CowTree::new();
    for at in 0..scores.len() {
        let other = at + random.below((scores.len() - at) as u64) as usize;
        scores.swap(at, other);
        put(&mut tree, scores[at]);
    }
    let (leaves, _) = check(&tree);
    assert!(leaves * 38 < tree.items(), "{leaves} leaves");
    while scores.len() > 1000 {
        let at = random.below(scores.len() as u64) as usize;
        let score = scores.swap_remove(at);
        assert!(tree.remove_ordered(|key| key.cmp(&score)).is_some());
    }
    let (leaves, inners) = check(&tree);
    assert!(leaves * 20 < tree.items(), "{leaves} leaves");
    assert!(inners * 7 < leaves, "{inners} inner nodes");
}

#[test]
fn leaves_take_little_more_than_their_items() {
    let mut random = Random::from_seed(6);
    let mut tree = CowTree::new();
    for _ in 0..20_000 {
        put(&mut tree, random.next_u64());
    }
    let per_item = tree.heap_bytes() as f64 / tree.items() as f64;
    assert!(
        per_item < 1.3 * size_of::<Member>() as f64,
        "{per_item} bytes per item"
    );
}

#[test]
fn a_small_tree_is_cheap_and_an_empty_one_takes_no_heap() {
    let mut tree = CowTree::new();
    assert_eq!(size_of_val(&tree), 32);
    assert_eq!(tree.heap_bytes(), 0);
    tree.push_back(member(1));
    assert!(tree.heap_bytes() <= 40 + size_of::<Member>());
    tree.pop_front();
    assert_eq!(tree.heap_bytes(), 0);
}

#[test]
fn a_write_after_a_clone_copies_one_path() {
    let mut tree: CowTree<Member> = (0..100_000).map(|at| member(at * 2)).collect();
    let before = leaves(&tree);
    let snapshot = tree.clone();
    put(&mut tree, 77_777);
    let after = leaves(&tree);
    assert_eq!(leaves(&snapshot), before);
    assert!(before.difference(&after).count() <= 1);
    assert!(after.difference(&before).count() <= 2);
    drop(snapshot);
    // What the tree made its own, it changes where it is.
    let own = leaves(&tree);
    put(&mut tree, 3);
    put(&mut tree, 77_779);
    assert!(own.symmetric_difference(&leaves(&tree)).count() <= 4);
}

#[test]
fn removing_a_range_moves_whole_subtrees() {
    let mut tree: CowTree<Member> = (0..100_000).map(member).collect();
    let before = leaves(&tree);
    let removed = tree.remove_range(10_001, 90_001);
    check(&tree);
    check(&removed);
    assert_eq!((removed.items(), tree.items()), (80_000, 20_000));
    assert!(leaves(&removed).difference(&before).count() <= 4);
    assert!(leaves(&tree).difference(&before).count() <= 4);
}

#[test]
fn a_walk_frees_what_it_has_passed() {
    let alive = Arc::new(());
    let items = |from: u64| {
        let alive = Arc::clone(&alive);
        (from..10_000).map(move |score| Member {
            score,
            alive: Arc::clone(&alive),
        })
    };
    // One more than the items, for the iterator's own.
    let tree: CowTree<Member> = items(0).collect();
    assert_eq!(Arc::strong_count(&alive), 10_001);
    let mut batches = tree.into_batches();
    for _ in 0..100 {
        assert!(batches.next().is_some());
    }
    assert_eq!(Arc::strong_count(&alive), 10_001 - 100 * LEAF_MAX);
    drop(batches);
    let mut walk = items(0).collect::<CowTree<Member>>().into_walk();
    assert_eq!(walk.by_ref().take(5000).count(), 5000);
    assert_eq!(Arc::strong_count(&alive), 5001);
    drop(walk);
    assert_eq!(Arc::strong_count(&alive), 1);
}
