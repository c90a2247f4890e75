//! Clones on other threads: they read, walk and drop what the owner goes on changing.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::cow::tree::CowTree;
use crate::random::Random;

use super::{Member, check};

/// A clone, and what it must hold: how many members, and the sum of their scores.
struct Picture {
    tree: CowTree<Member>,
    items: u64,
    sum: u64,
}

fn verify(picture: Picture, turn: u64) {
    let (items, sum) = match turn % 4 {
        0 => {
            check(&picture.tree);
            let scores: Vec<u64> = picture.tree.iter().map(|member| member.score).collect();
            assert!(scores.is_sorted());
            (scores.len() as u64, scores.iter().sum())
        }
        1 => picture
            .tree
            .into_walk()
            .fold((0, 0), |(items, sum), member| {
                (items + 1, sum + member.score)
            }),
        2 => picture
            .tree
            .into_batches()
            .fold((0, 0), |(items, sum), batch| {
                let scores: u64 = batch.items().iter().map(|member| member.score).sum();
                (items + batch.items().len() as u64, sum + scores)
            }),
        _ => {
            // The clone is changed here while its nodes are shared with the owner.
            let mut tree = picture.tree;
            let half = tree.remove_range(0, tree.weight() / 2);
            let sum = |tree: &CowTree<Member>| tree.iter().map(|member| member.score).sum::<u64>();
            (half.items() + tree.items(), sum(&half) + sum(&tree))
        }
    };
    assert_eq!((items, sum), (picture.items, picture.sum));
}

#[test]
fn walkers_see_their_moment_while_the_owner_writes() {
    let alive = Arc::new(());
    let mut random = Random::from_seed(11);
    let mut tree = CowTree::new();
    let mut sum = 0;
    thread::scope(|scope| {
        let mut walkers = Vec::new();
        for _ in 0..3 {
            let (sender, receiver) = mpsc::sync_channel::<Picture>(3);
            scope.spawn(move || {
                for (turn, picture) in (0..).zip(receiver) {
                    verify(picture, turn);
                }
            });
            walkers.push(sender);
        }
        for step in 0..12_000u64 {
            let score = random.below(1 << 40);
            if step < 4000 || random.chance(1, 2) {
                let alive = Arc::clone(&alive);
                tree.insert_ordered(Member { score, alive }, |key| key.cmp(&score));
                sum += score;
            } else if let Some(member) = tree.remove_at(random.below(tree.weight())) {
                sum -= member.score;
            }
            if step % 40 == 0 {
                let picture = Picture {
                    tree: tree.clone(),
                    items: tree.items(),
                    sum,
                };
                let walker = random.below(walkers.len() as u64) as usize;
                assert!(walkers[walker].send(picture).is_ok(), "a walker failed");
            }
        }
    });
    check(&tree);
    drop(tree);
    assert_eq!(Arc::strong_count(&alive), 1, "items leaked or freed twice");
}
