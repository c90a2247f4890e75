//! The table against a plain map: random operations over hashes good and bad, with snapshots, walkers and full accounts.

mod probe;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::mpsc::sync_channel;

use super::*;
use crate::cow::blob::Blob;
use crate::cow::element::hash;
use crate::cow::leaf::{FILL, LINES_MAX};
use crate::cow::shared::tests::count_live_into;
use probe::Probe;

/// How a test's keys are hashed.
#[derive(Clone, Copy, Debug)]
enum Hashing {
    Spread,
    /// The top 28 bits are the same for all keys.
    Skewed,
    /// All keys have one tag.
    OneTag,
    /// A leaf's worth of keys and more share each hash.
    Few,
    /// One hash for all.
    One,
    /// Small numbers: the bits that tell keys apart come last.
    Numbers,
}

const HASHINGS: [Hashing; 6] = [
    Hashing::Spread,
    Hashing::Skewed,
    Hashing::OneTag,
    Hashing::Few,
    Hashing::One,
    Hashing::Numbers,
];

impl Hashing {
    fn of(self, key: u64) -> u64 {
        let mixed = Random::from_seed(key).next_u64();
        match self {
            Hashing::Spread => mixed,
            Hashing::Skewed => mixed >> 28 | 0x0abc_def1 << 36,
            Hashing::OneTag => mixed & !0xffff | 7,
            Hashing::Few => (key % 13).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            Hashing::One => 0xfeed_0000_0000_beef,
            Hashing::Numbers => key,
        }
    }
}

/// A table with its model, and accounts of what is alive.
struct Bench {
    hashing: Hashing,
    table: CowTable<Probe>,
    model: HashMap<u64, u64>,
    elements: Arc<AtomicIsize>,
    nodes: Arc<AtomicIsize>,
}

impl Bench {
    fn new(hashing: Hashing) -> Self {
        let nodes = Arc::new(AtomicIsize::new(0));
        count_live_into(&nodes);
        Bench {
            hashing,
            table: CowTable::new(),
            model: HashMap::new(),
            elements: Arc::new(AtomicIsize::new(0)),
            nodes,
        }
    }

    fn filled(hashing: Hashing, keys: u64) -> Self {
        let mut bench = Bench::new(hashing);
        for key in 0..keys {
            bench.set(key, key);
        }
        bench
    }

    fn probe(&self, key: u64, value: u64) -> Probe {
        Probe::new(self.hashing.of(key), key, value, &self.elements)
    }

    fn set(&mut self, key: u64, value: u64) {
        let replaced = self
            .table
            .insert(self.hashing.of(key), self.probe(key, value));
        assert_eq!(
            replaced.map(|old| old.value()),
            self.model.insert(key, value)
        );
    }

    fn remove(&mut self, key: u64) {
        let removed = self.table.remove(self.hashing.of(key), &key.to_be_bytes());
        assert_eq!(removed.map(|old| old.value()), self.model.remove(&key));
    }

    fn get(&self, key: u64) -> Option<u64> {
        let found = self.table.get(self.hashing.of(key), &key.to_be_bytes());
        found.map(|element| element.value())
    }

    /// Everything at once, after which nothing may be alive.
    fn finish(self) {
        drop(self.table);
        assert_eq!(
            self.elements.load(Ordering::Relaxed),
            0,
            "{:?}: elements alive",
            self.hashing
        );
        assert_eq!(
            self.nodes.load(Ordering::Relaxed),
            0,
            "{:?}: nodes alive",
            self.hashing
        );
    }
}

/// The same elements by every way through the table, and a tree of the right shape.
fn check(table: &CowTable<Probe>, model: &HashMap<u64, u64>) {
    assert_eq!(table.len(), model.len());
    let mut iterated = Vec::new();
    for element in table {
        assert_eq!(model.get(&element.number()), Some(&element.value()));
        assert!(table.contains(element.hash(), element.key()));
        iterated.push(element.number());
    }
    let mut in_order = Vec::new();
    check_shape(table.root, 0, 0, None, &mut in_order);
    assert_eq!(iterated, in_order);
    let different: HashSet<u64> = in_order.into_iter().collect();
    assert_eq!(different.len(), model.len());
}

/// Checks the nodes below a link to which the first `depth` bits of `prefix` lead, of the second hash if it has begun.
fn check_shape(link: Link, prefix: u64, depth: u32, second: Option<u64>, elements: &mut Vec<u64>) {
    if link.is_inner() {
        let (depth, second, prefix) = if link.is_second_hash() {
            assert_eq!(depth, 64, "a second hash before the first is used up");
            (0, Some(prefix), 0)
        } else {
            (depth, second, prefix)
        };
        // SAFETY: the test holds the table.
        let inner = unsafe { link.inner() };
        assert!(inner.bits() <= node::FANOUT_BITS_MAX && depth + inner.bits() <= 64);
        let deepest = inner.children().map(|(_, child)| child.depth()).max();
        assert_eq!(
            deepest,
            Some(inner.bits()),
            "a node wider than its children need"
        );
        for (index, child) in inner.children() {
            assert!(child.depth() >= 1);
            for place in index..index + inner.span(child) {
                assert!(
                    inner.child(place) == child,
                    "a child that does not fill its places"
                );
            }
            assert!(!child.is_inner() || child.depth() == inner.bits());
            let prefix = prefix | (index as u64) << (64 - depth - inner.bits());
            check_shape(child, prefix, depth + child.depth(), second, elements);
        }
        return;
    }
    // SAFETY: the test holds the table.
    let Some(leaf) = (unsafe { link.leaf() }) else {
        return;
    };
    assert!(leaf.len() > 0 && leaf.len() <= FILL[leaf.lines()] && leaf.lines() <= LINES_MAX);
    assert_eq!(leaf.iter().count(), leaf.len());
    for (tag, raw) in leaf.iter() {
        // SAFETY: the test holds the table.
        let element: Ref<'_, Probe> = unsafe { Ref::new(raw) };
        let hash = match second {
            None => element.hash(),
            Some(first) => {
                assert_eq!(first, element.hash());
                crate::cow::element::second_hash(element.key())
            }
        };
        elements.push(element.number());
        assert_eq!(tag, leaf::tag_of(hash));
        assert!(
            depth == 0 || (hash ^ prefix) >> (64 - depth) == 0,
            "an element in another's leaf"
        );
    }
}

fn scan_all(table: &CowTable<Probe>) -> Vec<u64> {
    let mut seen = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, |element| seen.push(element.number()));
        if cursor == 0 {
            return seen;
        }
    }
}

#[test]
fn random_operations_agree_with_a_map_and_snapshots_stay_as_they_were() {
    for (seed, hashing) in HASHINGS.into_iter().enumerate() {
        let mut bench = Bench::new(hashing);
        let mut random = Random::from_seed(seed as u64);
        let mut snapshots: Vec<(CowTable<Probe>, HashMap<u64, u64>)> = Vec::new();
        for step in 0..12_000u64 {
            // The table swells and shrinks in turns, through all sizes up to a few hundred keys.
            let growing = step / 2_000 % 2 == 0;
            let key = random.below(900);
            match random.below(20) {
                0..=5 if growing => bench.set(key, step),
                0..=5 => bench.remove(key),
                6..=7 => bench.set(key, step),
                8..=9 => bench.remove(key),
                10 => {
                    let found = bench.table.get_mut(hashing.of(key), &key.to_be_bytes());
                    assert_eq!(found.is_some(), bench.model.contains_key(&key));
                    if let Some(mut found) = found {
                        found.set_value(step);
                        bench.model.insert(key, step);
                    }
                }
                11 => {
                    let new = bench.probe(key, step);
                    let replaced = bench
                        .table
                        .upsert(hashing.of(key), &key.to_be_bytes(), |old| match old {
                            Some(old) if old.value() % 2 == 0 => {
                                old.set_value(step);
                                None
                            }
                            _ => Some(new),
                        });
                    let old = bench.model.insert(key, step);
                    assert_eq!(
                        replaced.map(|old| old.value()),
                        old.filter(|value| value % 2 != 0)
                    );
                }
                12 => {
                    let (table, model) = (&mut bench.table, &mut bench.model);
                    let removed =
                        table.remove_where(hashing.of(key), |element| element.number() == key);
                    assert_eq!(removed.map(|old| old.value()), model.remove(&key));
                }
                13 if snapshots.len() < 6 => {
                    snapshots.push((bench.table.clone(), bench.model.clone()))
                }
                14 if !snapshots.is_empty() && random.chance(1, 8) => {
                    let (table, model) = &snapshots[random.below(snapshots.len() as u64) as usize];
                    check(table, model);
                }
                15 if !snapshots.is_empty() => {
                    let index = random.below(snapshots.len() as u64) as usize;
                    let (table, model) = snapshots.swap_remove(index);
                    if random.chance(1, 2) {
                        let batches = random.below(40);
                        let mut walk = table.into_walk();
                        let mut seen = 0;
                        let mut ended = false;
                        for _ in 0..batches {
                            ended |= !walk.next_batch(|element| {
                                assert_eq!(model.get(&element.number()), Some(&element.value()));
                                seen += 1;
                            });
                        }
                        assert!(!ended || seen == model.len());
                    }
                }
                _ => assert_eq!(bench.get(key), bench.model.get(&key).copied()),
            }
            if step % 1_000 == 0 {
                check(&bench.table, &bench.model);
                let seen: HashSet<u64> = scan_all(&bench.table).into_iter().collect();
                assert_eq!(seen.len(), bench.model.len(), "{hashing:?}");
            }
        }
        for (table, model) in &snapshots {
            check(table, model);
        }
        drop(snapshots);
        let keys: Vec<u64> = bench.model.keys().copied().collect();
        for key in keys {
            bench.remove(key);
        }
        assert!(
            bench.table.root == Link::EMPTY,
            "{hashing:?}: an empty table has nodes"
        );
        bench.finish();
    }
}

#[test]
fn a_table_grows_and_shrinks_through_every_shape() {
    for hashing in HASHINGS {
        let mut bench = Bench::new(hashing);
        for key in 0..5_000 {
            bench.set(key, key);
            if key % 977 == 0 {
                check(&bench.table, &bench.model);
            }
        }
        check(&bench.table, &bench.model);
        for key in 0..5_000 {
            bench.remove(key * 7 % 5_000);
            if key % 977 == 0 {
                check(&bench.table, &bench.model);
            }
        }
        bench.finish();
    }
}

#[test]
fn tables_and_walks_may_go_to_other_threads() {
    fn sendable<T: Send>() {}
    fn shareable<T: Sync>() {}
    sendable::<CowTable<Blob<f64>>>();
    shareable::<CowTable<Blob<f64>>>();
    sendable::<Walk<Blob<f64>>>();
}

#[test]
fn walkers_see_one_moment_while_the_owner_goes_on() {
    let mut bench = Bench::filled(Hashing::Spread, 3_000);
    let mut checksum: u64 = bench
        .model
        .iter()
        .map(|(key, value)| key ^ value << 20)
        .fold(0, u64::wrapping_add);
    let (nodes, mut random) = (bench.nodes.clone(), Random::from_seed(11));
    std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..3)
            .map(|walker| {
                let (sender, receiver) = sync_channel::<(CowTable<Probe>, u64)>(2);
                let nodes = &nodes;
                scope.spawn(move || {
                    count_live_into(nodes);
                    for (table, expected) in receiver {
                        let (mut sum, mut count, length) = (0u64, 0, table.len());
                        let mut add = |element: &Probe| {
                            sum = sum.wrapping_add(element.number() ^ element.value() << 20);
                            count += 1;
                        };
                        match walker {
                            0 => table.iter().for_each(|element| add(&element)),
                            1 => {
                                let mut walk = table.into_walk();
                                while walk.next_batch(&mut add) {}
                            }
                            _ => {
                                let again = table.clone();
                                drop(table);
                                let mut walk = again.into_walk();
                                while walk.next_batch(&mut add) {}
                            }
                        }
                        assert_eq!((sum, count), (expected, length));
                    }
                });
                sender
            })
            .collect();
        for step in 0..60_000u64 {
            let key = random.below(4_000);
            let (hash, bytes) = (bench.hashing.of(key), key.to_be_bytes());
            let weigh = |value: u64| key ^ value << 20;
            match random.below(4) {
                0 => {
                    if let Some(old) = bench.table.remove(hash, &bytes) {
                        checksum = checksum.wrapping_sub(weigh(old.value()));
                    }
                }
                1 => {
                    if let Some(mut there) = bench.table.get_mut(hash, &bytes) {
                        checksum = checksum
                            .wrapping_sub(weigh(there.value()))
                            .wrapping_add(weigh(step));
                        there.set_value(step);
                    }
                }
                _ => {
                    let old = bench.table.insert(hash, bench.probe(key, step));
                    checksum = checksum.wrapping_add(weigh(step));
                    checksum = checksum.wrapping_sub(old.map_or(0, |old| weigh(old.value())));
                }
            }
            if step % 200 == 0 {
                // A walker that is busy gets its next snapshot later.
                let _ =
                    walkers[(step / 200 % 3) as usize].try_send((bench.table.clone(), checksum));
            }
        }
        drop(walkers);
    });
    bench.finish();
}

#[test]
fn a_scan_returns_all_that_was_there_throughout() {
    for hashing in HASHINGS {
        let mut random = Random::from_seed(3);
        for round in 0..6 {
            // Even keys stay, odd ones come and go by the hundred between the calls.
            let mut bench = Bench::new(hashing);
            for key in 0..400 {
                bench.set(key * 2, 0);
            }
            if round % 2 == 0 {
                (0..2_000).for_each(|key| bench.set(key * 2 + 1, 0));
            }
            let mut seen = HashSet::new();
            let (mut cursor, mut calls) = (0, 0);
            loop {
                cursor = bench.table.scan(cursor, |element| {
                    seen.insert(element.number());
                });
                if cursor == 0 {
                    break;
                }
                calls += 1;
                assert!(calls < 10_000, "{hashing:?}: a scan without end");
                let growing = random.chance(1, 2);
                for _ in 0..random.below(300) {
                    let key = random.below(2_000) * 2 + 1;
                    if growing {
                        bench.set(key, 0);
                    } else {
                        bench.remove(key);
                    }
                }
            }
            let missed = (0..400).filter(|key| !seen.contains(&(key * 2))).count();
            assert_eq!(missed, 0, "{hashing:?}");
            bench.finish();
        }
    }
}

#[test]
fn any_number_is_a_cursor_and_cursors_of_small_tables_are_small() {
    let bench = Bench::filled(Hashing::Spread, 1_000);
    let mut random = Random::from_seed(5);
    for _ in 0..1_000 {
        bench.table.scan(random.next_u64(), |_| ());
    }
    bench.table.scan(u64::MAX, |_| ());
    let first = bench.table.scan(0, |_| ());
    assert!(first > 0 && first < 1_000, "{first}");
    assert_eq!(CowTable::<Probe>::new().scan(77, |_| ()), 0);
    bench.finish();
}

#[test]
fn a_walk_frees_what_it_passes_if_nobody_else_needs_it() {
    let bench = Bench::filled(Hashing::Spread, 20_000);
    let Bench {
        table,
        elements,
        nodes,
        ..
    } = bench;
    let mut walk = table.into_walk();
    let (mut passed, mut least) = (0, isize::MAX);
    let all_nodes = nodes.load(Ordering::Relaxed);
    while walk.next_batch(|_| passed += 1) {
        let alive = elements.load(Ordering::Relaxed);
        // Read and dropped but for the last leaf.
        assert_eq!(alive, 20_000 - passed, "after {passed}");
        least = least.min(nodes.load(Ordering::Relaxed));
    }
    assert!(
        least < 10,
        "{least} of {all_nodes} nodes were left at the end"
    );
    drop(walk);
    assert_eq!(
        (
            elements.load(Ordering::Relaxed),
            nodes.load(Ordering::Relaxed)
        ),
        (0, 0)
    );
}

#[test]
fn a_walk_over_a_snapshot_gives_back_what_the_owner_has_overwritten_since() {
    let mut bench = Bench::filled(Hashing::Spread, 20_000);
    let mut walk = bench.table.clone().into_walk();
    for key in 0..20_000 {
        bench.set(key, key + 1);
    }
    assert_eq!(bench.elements.load(Ordering::Relaxed), 40_000);
    let mut passed = 0;
    while passed < 10_000 {
        assert!(walk.next_batch(|element| {
            assert_eq!(element.value(), element.number());
            passed += 1;
        }));
    }
    assert_eq!(bench.elements.load(Ordering::Relaxed), 40_000 - passed);
    drop(walk);
    assert_eq!(bench.elements.load(Ordering::Relaxed), 20_000);
    check(&bench.table, &bench.model);
    bench.finish();
}

#[test]
fn a_walk_reads_on_wherever_the_other_owner_lets_go() {
    for hashing in HASHINGS {
        for stop in 0..14 {
            let bench = Bench::filled(hashing, 300);
            let mut walk = bench.table.clone().into_walk();
            let mut seen = HashSet::new();
            let mut read = |element: &Probe| assert!(seen.insert(element.number()));
            for _ in 0..stop {
                walk.next_batch(&mut read);
            }
            // What the walk has queued by now hangs on nodes of which it becomes the last owner.
            drop(bench.table);
            while walk.next_batch(&mut read) {}
            assert_eq!(seen.len(), 300, "{hashing:?}");
            drop(walk);
            assert_eq!(bench.elements.load(Ordering::Relaxed), 0);
            assert_eq!(bench.nodes.load(Ordering::Relaxed), 0);
        }
    }
}

#[test]
fn a_write_copies_one_way_and_a_miss_copies_nothing() {
    let mut bench = Bench::filled(Hashing::Spread, 5_000);
    let snapshot = bench.table.clone();
    let before = bench.nodes.load(Ordering::Relaxed);
    for key in 5_000..6_000 {
        bench.remove(key);
        assert!(
            bench
                .table
                .get_mut(bench.hashing.of(key), &key.to_be_bytes())
                .is_none()
        );
    }
    assert_eq!(bench.nodes.load(Ordering::Relaxed), before);
    bench.set(77, 1);
    let copied = bench.nodes.load(Ordering::Relaxed) - before;
    assert!(
        (2..=4).contains(&copied),
        "{copied} nodes copied by one write"
    );
    let element = bench.table.get(bench.hashing.of(77), &77u64.to_be_bytes());
    assert!(element.is_some_and(|element| element.is_unique()));
    drop(snapshot);
    bench.finish();
}

#[test]
fn elements_of_one_hash_are_found_by_it() {
    for hashing in [Hashing::Few, Hashing::One, Hashing::Spread] {
        let mut bench = Bench::filled(hashing, 1_000);
        let hash = hashing.of(77);
        let found = bench
            .table
            .find_hash(hash, |element| element.number() == 77);
        assert_eq!(found.map(|element| element.value()), Some(77));
        assert!(
            bench
                .table
                .find_hash(hash, |element| element.number() == 5_000)
                .is_none()
        );
        let mut same = 0;
        assert!(
            bench
                .table
                .find_hash(hash, |_| {
                    same += 1;
                    false
                })
                .is_none()
        );
        assert_eq!(
            same,
            (0..1_000).filter(|&key| hashing.of(key) == hash).count()
        );
        let removed = bench
            .table
            .remove_where(hash, |element| element.number() == 77);
        assert_eq!(
            removed.map(|element| element.value()),
            bench.model.remove(&77)
        );
        check(&bench.table, &bench.model);
        bench.finish();
    }
}

#[test]
fn random_elements_are_drawn_evenly() {
    let mut bench = Bench::filled(Hashing::Spread, 3_000);
    // What is left after removals lies in leaves of very different sizes and depths.
    let hashing = bench.hashing;
    (0..3_000)
        .filter(|key| key % 3 != 0 || hashing.of(*key) >> 62 == 1)
        .for_each(|key| bench.remove(key));
    let keys = bench.model.len() as u64;
    let mut random = Random::from_seed(1);
    let mut drawn: HashMap<u64, u64> = HashMap::new();
    for _ in 0..keys * 100 {
        *drawn
            .entry(bench.table.random(&mut random).unwrap().number())
            .or_default() += 1;
    }
    // Each is drawn 100 times on average, with a deviation of 10; chi-square is then `keys`, give or take its root.
    let chi_square: f64 = bench
        .model
        .keys()
        .map(|key| (drawn.get(key).copied().unwrap_or(0) as f64 - 100.0).powi(2) / 100.0)
        .sum();
    let expected = keys as f64;
    assert!(
        (chi_square - expected).abs() < 6.0 * (2.0 * expected).sqrt(),
        "chi-square {chi_square} of {keys}"
    );
    bench.finish();
}

#[test]
fn something_is_drawn_and_sampled_however_the_hashes_lie() {
    for hashing in HASHINGS {
        for keys in [0, 1, 2, 9, 500] {
            let bench = Bench::filled(hashing, keys);
            let mut random = Random::from_seed(keys);
            for _ in 0..50 {
                assert_eq!(bench.table.random(&mut random).is_some(), keys > 0);
                for count in [0, 1, 5, 600] {
                    let sample: Vec<u64> = bench
                        .table
                        .sample(&mut random, count)
                        .map(|element| element.number())
                        .collect();
                    assert_eq!(sample.len() as u64, (count as u64).min(keys));
                    let different: HashSet<_> = sample.iter().collect();
                    assert_eq!(
                        different.len(),
                        sample.len(),
                        "{hashing:?}: {count} of {keys}"
                    );
                }
            }
            bench.finish();
        }
    }
}

#[test]
fn a_forgotten_guard_leaks_its_element_and_harms_nothing() {
    let mut bench = Bench::filled(Hashing::Spread, 200);
    let guard = bench
        .table
        .get_mut(bench.hashing.of(5), &5u64.to_be_bytes())
        .unwrap();
    std::mem::forget(guard);
    assert!(bench.get(5).is_none());
    let snapshot = bench.table.clone();
    bench.set(6, 7);
    (0..200)
        .filter(|key| *key != 5)
        .for_each(|key| bench.remove(key));
    drop((snapshot, bench.table));
    assert_eq!(bench.elements.load(Ordering::Relaxed), 1);
}

#[test]
fn a_panic_while_an_element_is_changed_loses_nothing() {
    let mut bench = Bench::filled(Hashing::Spread, 200);
    let (hash, key) = (bench.hashing.of(5), 5u64.to_be_bytes());
    let table = &mut bench.table;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        table.upsert(hash, &key, |old| {
            old.unwrap().set_value(9);
            std::panic::resume_unwind(Box::new(()))
        });
    }));
    assert!(outcome.is_err());
    bench.model.insert(5, 9);
    check(&bench.table, &bench.model);
    bench.finish();
}

#[test]
fn an_empty_place_takes_an_element_and_hands_it_out() {
    let mut bench = Bench::filled(Hashing::Spread, 100);
    let element = bench.probe(500, 1);
    let Entry::Vacant(place) = bench.table.entry(element.hash(), &500u64.to_be_bytes()) else {
        panic!("a key that was never set")
    };
    place.insert(element).set_value(2);
    bench.model.insert(500, 2);
    check(&bench.table, &bench.model);
    bench.finish();
}

#[test]
fn bytes_of_nodes_are_exact_for_small_tables_and_near_for_large_ones() {
    assert_eq!(CowTable::<Probe>::new().heap_bytes(), 0);
    let one = Bench::filled(Hashing::Spread, 1);
    assert_eq!(one.table.heap_bytes(), 64);
    one.finish();
    let bench = Bench::filled(Hashing::Spread, 40_000);
    let mut all = usize::MIN;
    let mut links = vec![bench.table.root];
    while let Some(link) = links.pop() {
        all += node::bytes(link);
        if link.is_inner() {
            // SAFETY: the test holds the table.
            links.extend(unsafe { link.inner() }.children().map(|(_, child)| child));
        }
    }
    let estimate = bench.table.heap_bytes();
    assert!(estimate.abs_diff(all) < all / 10, "{estimate} for {all}");
    assert!(all < 40_000 * 13, "{} bytes a key", all / 40_000);
    bench.finish();
}

#[test]
fn blobs_are_found_by_the_hash_of_the_process() {
    let mut table: CowTable<Blob<u32>> = CowTable::new();
    for number in 0..5_000u32 {
        let key = number.to_string();
        table.insert(
            hash(key.as_bytes()),
            Blob::new(number, key.as_bytes(), b"value"),
        );
    }
    let key = b"4321";
    table.prefetch(hash(key));
    table.prefetch_element(hash(key));
    let found = table.get(hash(key), key).unwrap();
    assert_eq!(
        (found.header(), found.key(), found.value()),
        (4321, &key[..], &b"value"[..])
    );
    assert!(!table.contains(hash(b"5000"), b"5000"));
}
