//! Which keys expire when: an index by time, so that expiry needs no sampling.
//!
//! Time is cut into buckets; a bucket lists the hashes of keys that were due in it when they were noted. Nothing is ever
//! removed from the middle: a listed key may have got another expiry or be gone, which is found out when its bucket is due.
//! A key whose expiry moves later keeps its old place and is noted again when that place comes up, so refreshing a
//! session key a million times a second adds nothing. What deletions leave behind is swept by [`ExpiryIndex::sweep`].
//!
//! Knows nothing of keys but their hashes; not part of a snapshot.

use std::collections::BTreeMap;

use crate::clock::UnixMillis;

/// Width of a bucket as a power of two: 64 ms, which is how late an active expiry may be.
const BUCKET_BITS: u32 = 6;

#[derive(Default)]
pub struct ExpiryIndex {
    buckets: BTreeMap<i64, Vec<u64>>,
    notes: usize,
    /// Numbers of the buckets of all notes together.
    sum: i128,
    sweep_from: i64,
}

impl ExpiryIndex {
    /// Notes that the key with `hash` is to be looked at once `at` has passed.
    pub fn note(&mut self, at: UnixMillis, hash: u64) {
        self.buckets
            .entry(at.0 >> BUCKET_BITS)
            .or_default()
            .push(hash);
        self.sum += i128::from(at.0 >> BUCKET_BITS);
        self.notes += 1;
    }

    /// How many notes there are, outdated ones included.
    pub fn len(&self) -> usize {
        self.notes
    }

    pub fn is_empty(&self) -> bool {
        self.notes == 0
    }

    /// When the noted keys expire on average.
    pub fn mean(&self) -> Option<UnixMillis> {
        let mean = self.sum.checked_div(self.notes as i128)? << BUCKET_BITS;
        Some(UnixMillis(mean as i64))
    }

    /// Takes up to `most` hashes out of buckets that have passed entirely.
    pub fn take_due(&mut self, now: UnixMillis, most: usize, due: &mut Vec<u64>) {
        let mut left = most;
        while left > 0
            && let Some(mut bucket) = self.buckets.first_entry()
            && *bucket.key() < now.0 >> BUCKET_BITS
        {
            let number = *bucket.key();
            let hashes = bucket.get_mut();
            let take = hashes.len().min(left);
            due.extend(hashes.drain(hashes.len() - take..));
            self.notes -= take;
            self.sum -= take as i128 * i128::from(number);
            left -= take;
            if hashes.is_empty() {
                bucket.remove();
            }
        }
    }

    /// Drops outdated notes from a few buckets, going round: `is_current(hash, from, to)` says if a key of that hash
    /// expires in that span. Called while notes outnumber volatile keys.
    pub fn sweep(
        &mut self,
        buckets: usize,
        mut is_current: impl FnMut(u64, UnixMillis, UnixMillis) -> bool,
    ) {
        for _ in 0..buckets {
            let Some((&key, hashes)) = self.buckets.range_mut(self.sweep_from..).next() else {
                self.sweep_from = i64::MIN;
                return;
            };
            let before = hashes.len();
            hashes.sort_unstable();
            hashes.dedup();
            let from = UnixMillis(key << BUCKET_BITS);
            let to = UnixMillis(from.0.saturating_add(1 << BUCKET_BITS));
            hashes.retain(|&hash| is_current(hash, from, to));
            self.notes -= before - hashes.len();
            self.sum -= (before - hashes.len()) as i128 * i128::from(key);
            if hashes.is_empty() {
                self.buckets.remove(&key);
            }
            self.sweep_from = key.saturating_add(1);
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_up_once_their_bucket_has_passed_and_in_order() {
        let mut index = ExpiryIndex::default();
        for at in [500, 10, 100_000, 501, -7] {
            index.note(UnixMillis(at), at as u64);
        }
        let mut due = Vec::new();
        index.take_due(UnixMillis(600), 3, &mut due);
        assert_eq!(due, [-7i64 as u64, 10, 501]);
        index.take_due(UnixMillis(600), 3, &mut due);
        assert_eq!(due[3..], [500]);
        index.take_due(UnixMillis(100_000), 3, &mut due);
        assert_eq!((due.len(), index.len()), (4, 1));
        assert_eq!(index.mean(), Some(UnixMillis(100_000 / 64 * 64)));
    }

    #[test]
    fn sweeping_drops_doubles_and_what_is_outdated() {
        let mut index = ExpiryIndex::default();
        for round in 0..100 {
            index.note(UnixMillis(1_000 * round), 1);
            index.note(UnixMillis(70_000), 2);
        }
        index.sweep(1_000, |hash, from, to| {
            hash == 2 && (from.0..to.0).contains(&70_000)
        });
        index.sweep(1_000, |hash, _, _| hash == 2);
        assert_eq!(index.len(), 1);
        assert_eq!(index.mean(), Some(UnixMillis(70_000 / 64 * 64)));
        index.clear();
        assert_eq!(index.mean(), None);
        assert!(index.is_empty());
    }
}
