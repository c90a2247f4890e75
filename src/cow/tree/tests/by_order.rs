//! Sorted sets: items of weight 1, found by key, against a sorted vector.

use std::sync::Arc;

use crate::cow::tree::{CowTree, Item};
use crate::random::Random;

use super::{Member, check, member};

struct ByOrder {
    random: Random,
    tree: CowTree<Member>,
    /// The scores, sorted.
    model: Vec<u64>,
    alive: Arc<()>,
    snapshots: Vec<(CowTree<Member>, Vec<u64>)>,
}

impl ByOrder {
    fn insert(&mut self, score: u64) {
        if let Err(at) = self.model.binary_search(&score) {
            self.model.insert(at, score);
            let alive = Arc::clone(&self.alive);
            let rank = self
                .tree
                .insert_ordered(Member { score, alive }, |key| key.cmp(&score));
            assert_eq!(rank, at as u64);
        }
    }

    fn remove(&mut self, score: u64) {
        let removed = self.tree.remove_ordered(|key| key.cmp(&score));
        let removed = removed.map(|(rank, member)| (rank, member.score));
        let found = self.model.binary_search(&score).ok();
        if let Some(at) = found {
            self.model.remove(at);
        }
        assert_eq!(removed, found.map(|at| (at as u64, score)));
    }

    fn remove_scores(&mut self, from: u64, to: u64) {
        let begin = self.model.partition_point(|score| *score < from);
        let end = self.model.partition_point(|score| *score < to);
        let expected: Vec<u64> = self.model.drain(begin..end).collect();
        let begin = self.tree.partition_point(|key| *key < from);
        let end = self.tree.partition_point(|key| *key < to);
        let removed = self.tree.remove_range(begin, end);
        check(&removed);
        assert!(removed.iter().map(|member| member.score).eq(expected));
    }

    fn look(&mut self, probe: u64) {
        let rank = self.model.partition_point(|score| *score < probe);
        assert_eq!(self.tree.partition_point(|key| *key < probe), rank as u64);
        let before = rank.checked_sub(1).map(|at| (self.model[at], at as u64));
        let found = self.tree.last_left(|key| *key < probe);
        assert_eq!(found.map(|(member, at)| (member.score, at)), before);
    }

    fn verify_one_snapshot(&mut self) {
        let at = self.random.below(self.snapshots.len() as u64) as usize;
        let (tree, scores) = self.snapshots.swap_remove(at);
        check(&tree);
        assert!(tree.into_walk().map(|member| member.score).eq(scores));
    }
}

#[test]
fn a_sorted_set_agrees_with_a_vector() {
    for seed in 0..4 {
        let mut set = ByOrder {
            random: Random::from_seed(seed),
            tree: CowTree::new(),
            model: Vec::new(),
            alive: Arc::new(()),
            snapshots: Vec::new(),
        };
        let space = 1000 << seed;
        for step in 0..4000u64 {
            let score = set.random.below(space);
            let grows = if step % 2000 < 1200 { 8 } else { 3 };
            if set.random.chance(1, 100) {
                let length = set.random.below(space / 20);
                set.remove_scores(score, score + length);
            } else if set.random.below(10) < grows {
                set.insert(score);
            } else {
                set.remove(score);
            }
            let probe = set.random.below(space);
            set.look(probe);
            check(&set.tree);
            assert_eq!(set.tree.items(), set.model.len() as u64);
            if set.random.chance(1, 50) {
                set.snapshots.push((set.tree.clone(), set.model.clone()));
            }
            if set.snapshots.len() > 5 {
                set.verify_one_snapshot();
            }
        }
        assert!(set.tree.iter().map(|member| member.score).eq(set.model));
        drop((set.tree, set.snapshots));
        assert_eq!(
            Arc::strong_count(&set.alive),
            1,
            "items leaked or freed twice"
        );
    }
}

/// An entry whose key is long, so that it lends it instead of copying it.
#[derive(Clone)]
struct Named(String);

impl Item for Named {
    type Key = String;

    fn key(&self) -> String {
        self.0.clone()
    }

    fn weight(&self) -> u64 {
        1
    }

    fn with_key<R>(&self, look: impl FnOnce(&String) -> R) -> R {
        look(&self.0)
    }
}

#[test]
fn keys_may_be_lent_and_of_any_length() {
    let name = |at: u64| format!("{:09}", at * 7919 % 10_007);
    let mut tree = CowTree::new();
    for at in 0..3000 {
        let name = name(at);
        tree.insert_ordered(Named(name.clone()), |key| key.cmp(&name));
    }
    check(&tree);
    for at in 0..3000 {
        let name = name(at);
        let rank = tree.partition_point(|key| *key < name);
        assert_eq!(tree.at(rank).map(|(item, _)| &item.0), Some(&name));
    }
}

#[test]
fn a_separator_that_outlives_its_item_still_leads_there() {
    let mut tree: CowTree<Member> = (0..1000).map(|at| member(at * 10)).collect();
    let scores: Vec<u64> = tree.iter().map(|member| member.score).collect();
    for score in scores {
        let removed = tree
            .remove_ordered(|key| key.cmp(&score))
            .map(|(rank, _)| rank);
        assert_eq!(removed, Some(score / 10));
        for near in [score - score.min(1), score, score + 1] {
            let rank = tree.insert_ordered(member(near), |key| key.cmp(&near));
            check(&tree);
            assert_eq!(
                tree.remove_ordered(|key| key.cmp(&near))
                    .map(|(rank, _)| rank),
                Some(rank)
            );
        }
        tree.insert_ordered(member(score), |key| key.cmp(&score));
        assert!(tree.remove_ordered(|key| key.cmp(&(score + 5))).is_none());
    }
    assert_eq!(tree.weight(), 1000);
}
