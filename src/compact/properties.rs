//! Random operations against plain models, and random damage: the same seed repeats the same run.

use std::collections::{BTreeSet, VecDeque};

use super::{Element, Intset, Listpack};
use crate::random::Random;

/// Texts of all kinds and widths, biased to repeat so that searches find something.
fn random_text(random: &mut Random) -> Vec<u8> {
    match random.below(6) {
        0 => random.below(10).to_string().into_bytes(),
        1 => ((random.next_u64() as i64) >> random.below(64))
            .to_string()
            .into_bytes(),
        2 => b"012 -0 +1 1.5 x  y"
            .split(|&byte| byte == b' ')
            .collect::<Vec<_>>()[random.below(7) as usize]
            .to_vec(),
        3 => vec![b'a' + random.below(3) as u8; random.below(5) as usize],
        4 => vec![random.next_u64() as u8; random.below(200) as usize],
        _ if random.chance(1, 20) => vec![b'z'; 4000 + random.below(200) as usize],
        _ => vec![b'-'; random.below(70) as usize],
    }
}

fn check_same(pack: &Listpack, model: &VecDeque<Vec<u8>>, seed: u64) {
    let forward: VecDeque<Vec<u8>> = pack.iter().map(Element::to_vec).collect();
    assert_eq!(&forward, model, "seed {seed}");
    let mut backward: VecDeque<Vec<u8>> = pack.iter().rev().map(Element::to_vec).collect();
    backward.make_contiguous().reverse();
    assert_eq!(&backward, model, "seed {seed}");
    assert_eq!(pack.len(), model.len(), "seed {seed}");
    let loaded = Listpack::from_bytes(pack.as_bytes().to_vec());
    assert_eq!(loaded.as_ref(), Ok(pack), "seed {seed}");
}

#[test]
fn a_listpack_behaves_as_a_deque_of_texts() {
    for seed in 0..40 {
        let mut random = Random::from_seed(seed);
        let mut pack = Listpack::new();
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        for _ in 0..120 {
            let text = random_text(&mut random);
            let index = random.below(model.len() as u64 + 1) as usize;
            let position = pack.position(index);
            assert_eq!(position.is_some(), index < model.len());
            match (random.below(12), position) {
                (0..=2, _) => {
                    let before = pack.byte_len();
                    pack.push_back(&text);
                    assert_eq!(
                        pack.byte_len() - before,
                        Element::Str(&text).entry_bytes(),
                        "seed {seed}"
                    );
                    model.push_back(text);
                }
                (3..=4, _) => {
                    pack.push_front(&text);
                    model.push_front(text);
                }
                (5, _) => {
                    pack.insert(position.unwrap_or(pack.end()), &text);
                    model.insert(index, text);
                }
                (6..=7, Some(position)) => {
                    pack.replace(position, &text);
                    model[index] = text;
                }
                (8, Some(position)) => {
                    pack.remove(position);
                    model.remove(index);
                }
                (9, _) => {
                    let count = random.below(4) as usize;
                    let end = model.len().min(index + count);
                    assert_eq!(pack.remove_range(index, count), end - index);
                    model.drain(index..end);
                }
                (10, _) => {
                    let rest = pack.split_off(index);
                    let model_rest = model.split_off(index);
                    check_same(&rest, &model_rest, seed);
                    if random.chance(1, 2) {
                        pack.append(&rest);
                        model.extend(model_rest);
                    }
                }
                _ => {
                    let skip = random.below(3) as usize;
                    let expected = (0..model.len())
                        .step_by(skip + 1)
                        .find(|&index| model[index] == text)
                        .and_then(|index| pack.position(index));
                    assert_eq!(pack.find(&text, skip), expected, "seed {seed}");
                    assert_eq!(
                        pack.get(index).map(Element::to_vec).as_ref(),
                        model.get(index)
                    );
                }
            }
            check_same(&pack, &model, seed);
        }
    }
}

#[test]
fn damaged_listpacks_are_refused_or_walk_both_ways() {
    for seed in 0..3000 {
        let mut random = Random::from_seed(seed);
        let mut pack = Listpack::new();
        for _ in 0..random.below(8) {
            pack.push_back(&random_text(&mut random));
        }
        let mut bytes = pack.into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = [0, 0x7f, 0x80, 0xf0, 0xf4, 0xff][random.below(6) as usize],
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.next_u64() as u8),
            }
        }
        // Half of the time the total is right again, so that the entries are what is looked at.
        if random.chance(1, 2) && bytes.len() > 4 {
            let total = bytes.len() as u32;
            bytes[..4].copy_from_slice(&total.to_le_bytes());
        }
        if let Ok(pack) = Listpack::from_bytes(bytes) {
            let forward: Vec<_> = pack.iter().collect();
            let mut backward: Vec<_> = pack.iter().rev().collect();
            backward.reverse();
            assert_eq!(forward, backward, "seed {seed}");
            assert_eq!(forward.len(), pack.len(), "seed {seed}");
        }
    }
}

#[test]
fn an_intset_behaves_as_an_ordered_set() {
    for seed in 0..40 {
        let mut random = Random::from_seed(seed);
        let mut set = Intset::new();
        let mut model = BTreeSet::new();
        // Narrow at first, so that widening finds members to move.
        for step in 0..300 {
            let bits = if step < 100 { 6 } else { 6 + random.below(58) };
            let value = (random.next_u64() as i64) >> (64 - bits);
            match random.below(3) {
                0 => assert_eq!(set.remove(value), model.remove(&value), "seed {seed}"),
                _ => assert_eq!(set.insert(value), model.insert(value), "seed {seed}"),
            }
            assert_eq!(set.contains(value), model.contains(&value));
            assert!(set.iter().eq(model.iter().copied()), "seed {seed}");
            assert_eq!(set.len(), model.len());
            let index = random.below(model.len() as u64 + 2) as usize;
            assert_eq!(set.get(index), model.iter().nth(index).copied());
            let loaded = Intset::from_bytes(set.as_bytes().to_vec());
            assert_eq!(loaded.as_ref(), Ok(&set), "seed {seed}");
        }
    }
}

#[test]
fn damaged_intsets_are_refused_or_ascend() {
    for seed in 0..3000 {
        let mut random = Random::from_seed(seed);
        let mut set = Intset::new();
        for _ in 0..random.below(6) {
            set.insert((random.next_u64() as i64) >> random.below(64));
        }
        let mut bytes = set.into_bytes();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = [0, 1, 2, 4, 8, 0xff][random.below(6) as usize];
        }
        bytes.truncate(bytes.len() - random.below(2) as usize);
        if let Ok(set) = Intset::from_bytes(bytes) {
            assert!(set.iter().is_sorted_by(|a, b| a < b), "seed {seed}");
            assert!(set.iter().all(|member| set.contains(member)), "seed {seed}");
        }
    }
}
