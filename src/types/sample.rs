//! Random choices among the elements of a collection, every element as likely as any other.
//!
//! Choosing different elements either passes over all of them once ([`choose`]) or, where few are wanted of many, draws
//! until enough different ones have come up ([`choose_from_table`]). Both hand elements to `visit` and keep none.

use std::collections::HashSet;

use crate::cow::element::{Element, Ref};
use crate::cow::table::CowTable;
use crate::random::Random;

/// `count` different ones of the `length` elements that there are, in their order, or all if there are fewer. One pass,
/// no memory: each element is taken with the probability that is left for it.
pub fn choose<T>(
    elements: impl Iterator<Item = T>,
    length: usize,
    count: usize,
    random: &mut Random,
    mut visit: impl FnMut(T),
) {
    let (mut left, mut wanted) = (length as u64, count.min(length) as u64);
    for element in elements {
        if wanted == 0 {
            return;
        }
        if random.chance(wanted, left) {
            visit(element);
            wanted -= 1;
        }
        left -= 1;
    }
}

/// As [`choose`], for a table: as uniform as [`CowTable::random`]. Few of many are drawn, which takes time in proportion to
/// `count` and remembers the address of each; otherwise the table is passed over.
pub fn choose_from_table<'t, E: Element>(
    table: &'t CowTable<E>,
    count: usize,
    random: &mut Random,
    mut visit: impl FnMut(Ref<'t, E>),
) {
    if count >= table.len() / PASS_PART {
        return choose(table.iter(), table.len(), count, random, visit);
    }
    let mut seen = HashSet::with_capacity_and_hasher(count, foldhash::fast::FixedState::default());
    for _ in 0..count.saturating_mul(DRAWS_PER_ELEMENT) {
        if seen.len() == count {
            return;
        }
        if let Some(element) = table.random(random)
            && seen.insert(element.address())
        {
            visit(element);
        }
    }
    // Only hashes spread so badly that the same few elements come up again and again lead here.
    for element in table.iter() {
        if seen.len() == count {
            return;
        }
        if seen.insert(element.address()) {
            visit(element);
        }
    }
}

/// From this part of a table on, passing over all of it is cheaper than drawing.
const PASS_PART: usize = 8;

/// Of the elements wanted, at most an eighth of the table: about 1.1 draws for each are to be expected.
const DRAWS_PER_ELEMENT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cow::blob::Blob;
    use crate::cow::element;

    /// Whether `counts` look like equal chances: within six standard deviations of their mean.
    fn assert_even(counts: &[u32]) {
        let mean = counts.iter().sum::<u32>() as f64 / counts.len() as f64;
        for &count in counts {
            assert!(
                (f64::from(count) - mean).abs() < 6.0 * mean.sqrt(),
                "{count} of a mean of {mean}"
            );
        }
    }

    #[test]
    fn a_pass_takes_each_element_equally_often_and_always_as_many_as_wanted() {
        let mut random = Random::from_seed(1);
        let mut counts = [0; 10];
        for _ in 0..5000 {
            let mut taken = Vec::new();
            choose(0..10, 10, 3, &mut random, |at: usize| taken.push(at));
            assert_eq!(taken.len(), 3);
            assert!(taken.is_sorted_by(|a, b| a < b));
            taken.iter().for_each(|&at| counts[at] += 1);
        }
        assert_even(&counts);
        let mut all = 0;
        choose(0..10, 10, 99, &mut random, |_| all += 1);
        assert_eq!(all, 10);
    }

    #[test]
    fn tables_give_different_elements_of_equal_chances_at_any_count() {
        let mut table = CowTable::new();
        for number in 0..300u32 {
            let key = number.to_le_bytes();
            table.insert(element::hash(&key), Blob::new((), &key, b""));
        }
        let mut random = Random::from_seed(2);
        for count in [0, 1, 5, 36, 37, 38, 150, 299, 300, 400] {
            let mut counts = [0u32; 300];
            let rounds = 3000 / count.max(1) + 1;
            for _ in 0..rounds {
                let mut seen = HashSet::new();
                choose_from_table(&table, count, &mut random, |element| {
                    let number = u32::from_le_bytes(element.key().try_into().unwrap());
                    assert!(seen.insert(number), "{number} twice");
                    counts[number as usize] += 1;
                });
                assert_eq!(seen.len(), count.min(300));
            }
            if count == 5 || count == 150 {
                // The table's own draw is uniform for well spread hashes only, which 300 keys are roughly.
                assert!(counts.iter().filter(|&&count| count == 0).count() < 20);
            }
        }
    }
}
