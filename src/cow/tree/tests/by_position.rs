//! Lists: items of any weight, found by position, against a vector.

use std::mem;
use std::sync::Arc;

use crate::cow::tree::{CowTree, Item};
use crate::random::Random;

use super::check;

/// A chunk of a list: an id to know it by, and a token whose count says how many chunks are alive.
#[derive(Clone)]
struct Chunk {
    id: u64,
    weight: u64,
    _alive: Arc<()>,
}

impl Item for Chunk {
    type Key = ();

    fn key(&self) {}

    fn weight(&self) -> u64 {
        self.weight
    }
}

/// What a tree should hold: id and weight of each chunk.
type Model = Vec<(u64, u64)>;

struct ByPosition {
    random: Random,
    tree: CowTree<Chunk>,
    model: Model,
    alive: Arc<()>,
    next_id: u64,
    weight_max: u64,
    snapshots: Vec<(CowTree<Chunk>, Model)>,
}

impl ByPosition {
    fn new(seed: u64, weight_max: u64, items: u64) -> Self {
        let mut world = ByPosition {
            random: Random::from_seed(seed),
            tree: CowTree::new(),
            model: Model::new(),
            alive: Arc::new(()),
            next_id: 0,
            weight_max,
            snapshots: Vec::new(),
        };
        let chunks: Vec<Chunk> = (0..items).map(|_| world.chunk()).collect();
        world.model = chunks
            .iter()
            .map(|chunk| (chunk.id, chunk.weight))
            .collect();
        world.model.retain(|&(_, weight)| weight > 0);
        world.tree = chunks.into_iter().collect();
        world
    }

    fn chunk(&mut self) -> Chunk {
        self.next_id += 1;
        Chunk {
            id: self.next_id,
            weight: self.random.below(self.weight_max + 1),
            _alive: Arc::clone(&self.alive),
        }
    }

    fn place(&mut self, at: usize, chunk: &Chunk) {
        if chunk.weight > 0 {
            self.model.insert(at, (chunk.id, chunk.weight));
        }
    }

    fn position(&mut self) -> u64 {
        let weight = self.tree.weight();
        match self.random.below(8) {
            0 => 0,
            1 => weight.saturating_sub(1),
            2 => weight + self.random.below(3),
            _ => self.random.below(weight),
        }
    }

    /// One operation; `shrink` in ten of them remove rather than add.
    fn step(&mut self, shrink: u64) {
        let position = self.position();
        let (at, offset) = locate(&self.model, position);
        let found = self.model.get(at).copied();
        if self.random.below(10) < shrink {
            self.step_down(position, at, found);
        } else {
            self.step_up(position, at, offset, found);
        }
    }

    fn step_up(&mut self, position: u64, at: usize, offset: u64, found: Option<(u64, u64)>) {
        let chunk = self.chunk();
        match self.random.below(8) {
            0 => {
                self.place(self.model.len(), &chunk);
                self.tree.push_back(chunk);
            }
            1 => {
                self.place(0, &chunk);
                self.tree.push_front(chunk);
            }
            2 | 3 => {
                self.place(at, &chunk);
                self.tree.insert_before(position, chunk);
            }
            4 | 5 => {
                self.place((at + 1).min(self.model.len()), &chunk);
                self.tree.insert_after(position, chunk);
            }
            6 => {
                let more: Vec<Chunk> = (0..self.random.below(4)).map(|_| self.chunk()).collect();
                if found.is_some() {
                    self.model.remove(at);
                    for chunk in more.iter().rev() {
                        self.place(at, chunk);
                    }
                }
                let old = self.tree.replace_at(position, more);
                assert_eq!(old.map(|old| (old.id, old.weight)), found);
            }
            _ => {
                let seen = self.tree.update_at(position, |item, at| {
                    item.weight = chunk.weight;
                    (item.id, at)
                });
                assert_eq!(seen, found.map(|(id, _)| (id, offset)));
                if found.is_some() {
                    self.model[at].1 = chunk.weight;
                    self.model.retain(|&(_, weight)| weight > 0);
                }
            }
        }
    }

    fn step_down(&mut self, position: u64, at: usize, found: Option<(u64, u64)>) {
        let removed = match self.random.below(8) {
            0 => {
                let first = (!self.model.is_empty()).then(|| self.model.remove(0));
                let popped = self.tree.pop_front();
                assert_eq!(popped.map(|item| (item.id, item.weight)), first);
                return;
            }
            1 => {
                let popped = self.tree.pop_back();
                assert_eq!(popped.map(|item| (item.id, item.weight)), self.model.pop());
                return;
            }
            2 => {
                let merged = self.tree.merge_with_next(
                    position,
                    |left, right| (left.id + right.id) % 3 > 0,
                    |left, right| left.weight += right.weight,
                );
                let next = self.model.get(at + 1).copied();
                let expected = found
                    .zip(next)
                    .is_some_and(|(left, right)| (left.0 + right.0) % 3 > 0);
                assert_eq!(merged, expected);
                if merged {
                    self.model[at].1 += self.model.remove(at + 1).1;
                }
                return;
            }
            3 if self.random.chance(1, 4) => {
                self.cut(position);
                return;
            }
            4 => self.tree.update_at(position, |item, _| {
                item.weight = 0;
                (item.id, 0)
            }),
            _ => self
                .tree
                .remove_at(position)
                .map(|item| (item.id, item.weight)),
        };
        assert_eq!(removed.map(|(id, _)| id), found.map(|(id, _)| id));
        if found.is_some() {
            self.model.remove(at);
        }
    }

    /// Bulk removal, and cutting and joining.
    fn cut(&mut self, from: u64) {
        let (mut begin, offset) = locate(&self.model, from);
        match self.random.below(4) {
            0 => {
                begin = (begin + usize::from(offset > 0)).min(self.model.len());
                let right = self.tree.split_off(from);
                check(&self.tree);
                check(&right);
                agrees(&right, &self.model[begin..].to_vec());
                agrees(&self.tree, &self.model[..begin].to_vec());
                self.tree.append(right);
            }
            1 => {
                let more: Vec<Chunk> = (0..self.random.below(300)).map(|_| self.chunk()).collect();
                for chunk in &more {
                    self.place(self.model.len(), chunk);
                }
                self.tree.extend(more);
            }
            2 => {
                // A small tree in front of a big one.
                let more: Vec<Chunk> = (0..self.random.below(90)).map(|_| self.chunk()).collect();
                for (at, chunk) in more.iter().filter(|chunk| chunk.weight > 0).enumerate() {
                    self.place(at, chunk);
                }
                let tail = mem::take(&mut self.tree);
                self.tree = more.into_iter().collect();
                self.tree.append(tail);
            }
            _ => {
                let weight = self.tree.weight();
                let length = self.random.below(weight / 3 + 2);
                let to = from
                    + if self.random.chance(1, 2) {
                        length
                    } else {
                        length % 200
                    };
                begin += usize::from(offset > 0);
                let (end, _) = locate(&self.model, to);
                let end = end.max(begin).min(self.model.len());
                let begin = begin.min(end);
                let expected: Model = self.model.drain(begin..end).collect();
                let removed = self.tree.remove_range(from, to);
                check(&removed);
                assert_eq!(removed.weight(), weight_of(&expected));
                let removed: Model = removed
                    .into_walk()
                    .map(|item| (item.id, item.weight))
                    .collect();
                assert_eq!(removed, expected);
            }
        }
    }

    fn read(&mut self) {
        let position = self.position();
        let (at, offset) = locate(&self.model, position);
        let found = self
            .tree
            .at(position)
            .map(|(item, offset)| (item.id, offset));
        assert_eq!(found, self.model.get(at).map(|&(id, _)| (id, offset)));
        let onward = self.tree.range(position);
        if found.is_some() {
            assert_eq!(onward.offset(), offset);
        }
        let ids = onward.take(100).map(|item| item.id);
        assert!(ids.eq(self.model[at..].iter().take(100).map(|&(id, _)| id)));
        let last = (at + 1).min(self.model.len());
        let ids = self.tree.range_back(position).take(100).map(|item| item.id);
        assert!(ids.eq(self.model[..last].iter().rev().take(100).map(|&(id, _)| id)));
        assert_eq!(
            self.tree.first().map(|item| item.id),
            self.model.first().map(|item| item.0)
        );
        assert_eq!(
            self.tree.last().map(|item| item.id),
            self.model.last().map(|item| item.0)
        );
    }

    fn snapshots(&mut self) {
        if self.random.chance(1, 20) && self.snapshots.len() < 4 {
            self.snapshots.push((self.tree.clone(), self.model.clone()));
        }
        if self.random.chance(1, 30) && !self.snapshots.is_empty() {
            let at = self.random.below(self.snapshots.len() as u64) as usize;
            let (mut tree, model) = self.snapshots.swap_remove(at);
            check(&tree);
            agrees(&tree, &model);
            match self.random.below(4) {
                0 => drop(tree),
                1 => {
                    let items: Model = tree
                        .into_walk()
                        .map(|item| (item.id, item.weight))
                        .collect();
                    assert_eq!(items, model);
                }
                2 => {
                    // The snapshot becomes the live tree, the live tree a snapshot.
                    let live = (
                        mem::replace(&mut self.tree, tree),
                        mem::replace(&mut self.model, model),
                    );
                    self.snapshots.push(live);
                }
                _ => {
                    // Changes of a clone are its own.
                    let removed = tree.remove_range(0, tree.weight() / 2);
                    check(&tree);
                    assert_eq!(removed.items() + tree.items(), model.len() as u64);
                }
            }
        }
    }

    fn run(mut self, steps: u64, items_max: usize) {
        let mut shrink = 3;
        for step in 0..steps {
            if self.model.len() > items_max {
                shrink = 8;
            } else if self.model.is_empty() || self.random.chance(1, 1500) {
                shrink = 3;
            }
            self.step(shrink);
            let (leaves, _) = check(&self.tree);
            let items = self.model.len() as u64;
            assert!(
                leaves <= 6 + items / 12,
                "{leaves} leaves for {items} items"
            );
            assert_eq!(self.tree.weight(), weight_of(&self.model));
            self.read();
            self.snapshots();
            if step % 64 == 0 {
                agrees(&self.tree, &self.model);
            }
        }
        agrees(&self.tree, &self.model);
        drop(self.tree);
        drop(self.snapshots);
        assert_eq!(
            Arc::strong_count(&self.alive),
            1,
            "items leaked or freed twice"
        );
    }
}

#[test]
fn a_list_of_chunks_agrees_with_a_vector() {
    for seed in 0..6 {
        ByPosition::new(seed, 5, 0).run(2500, 400);
    }
}

#[test]
fn a_list_of_three_levels_agrees_with_a_vector() {
    for seed in 0..2 {
        ByPosition::new(100 + seed, 3, 3500).run(700, 4000);
    }
}

#[test]
fn a_queue_agrees_with_a_vector_where_nodes_begin_and_end() {
    for items in [64, 65, 2048, 2049, 2112] {
        for seed in 0..4 {
            let mut queue = ByPosition::new(300 + seed, 1, 0);
            let chunks = (0..items)
                .map(|_| Chunk {
                    weight: 1,
                    ..queue.chunk()
                })
                .collect::<Vec<_>>();
            queue.model = chunks.iter().map(|chunk| (chunk.id, 1)).collect();
            queue.tree = chunks.into_iter().collect();
            for step in 0..120 {
                let chunk = Chunk {
                    weight: 1,
                    ..queue.chunk()
                };
                let removed = match (queue.random.below(5), seed % 2) {
                    (0, 0) | (1..=2, _) if step < 80 => {
                        queue.model.push((chunk.id, 1));
                        queue.tree.push_back(chunk);
                        continue;
                    }
                    (0, 1) if step < 80 => {
                        queue.model.insert(0, (chunk.id, 1));
                        queue.tree.push_front(chunk);
                        continue;
                    }
                    (_, 0) => queue.tree.pop_back().zip(queue.model.pop()),
                    (..) => queue.tree.pop_front().zip(Some(queue.model.remove(0))),
                };
                assert!(removed.is_some_and(|(item, (id, _))| item.id == id));
                check(&queue.tree);
            }
            agrees(&queue.tree, &queue.model);
        }
    }
}

#[test]
fn a_small_list_agrees_with_a_vector() {
    for seed in 0..20 {
        ByPosition::new(200 + seed, 300, 0).run(500, 12);
    }
}

fn agrees(tree: &CowTree<Chunk>, model: &Model) {
    let items: Model = tree.iter().map(|chunk| (chunk.id, chunk.weight)).collect();
    assert_eq!(items, *model);
}

/// Index of the item that holds an element, and where in it; the number of items past the end.
fn locate(model: &Model, mut position: u64) -> (usize, u64) {
    for (at, &(_, weight)) in model.iter().enumerate() {
        if position < weight {
            return (at, position);
        }
        position -= weight;
    }
    (model.len(), position)
}

fn weight_of(items: &[(u64, u64)]) -> u64 {
    items.iter().map(|&(_, weight)| weight).sum()
}
