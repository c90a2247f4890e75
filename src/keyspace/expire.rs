//! Which keys expire when: an index by time, so that expiry needs no sampling.
//!
//! Time is cut into buckets; a bucket lists the hashes of keys that were due in it when they were noted. Nothing is ever
//! removed from the middle: a listed key may have got another expiry or be gone, which is found out when its bucket is
//! taken. A key whose expiry moves later keeps its old place and is noted again when that place comes up, so refreshing a
//! session key a million times a second adds nothing. What deletions leave behind is swept ([`ExpiryIndex::sweep`]).
//!
//! The further away, the wider the buckets, so that few keys spread over a year do not need a bucket each. A wide bucket
//! is taken well before its time and its keys are noted again in narrower ones:
//!
//! ```text
//! now            two minutes              one to two days
//!  | 64 ms each  | 66 s each              | 19 hours each ...
//!                ^ horizons[0]            ^ horizons[1]
//! ```
//!
//! Invariant, with its owner's help: each key with an expiry has a note in a bucket that begins at or before that expiry.
//! Knows nothing of keys but their hashes; not part of a snapshot.

use std::collections::{BTreeMap, HashSet};

use crate::clock::UnixMillis;

/// Widths of the buckets as powers of two, in milliseconds. The first is how late an active expiry may be.
const WIDTH_BITS: [u32; LEVELS] = [6, 16, 26];
const LEVELS: usize = 3;

/// Notes in one piece of a bucket: a bucket grows without being copied.
const PIECE_NOTES: usize = 512;

/// How many hashes a sweep remembers to find doubles. A few keys that are written over and over make most of these.
const SEEN_MAX: usize = 4_096;

/// Below this, outdated notes are not worth a sweep.
const NOTES_UNSWEPT: usize = 10_000;

pub struct ExpiryIndex {
    levels: [BTreeMap<i64, Bucket>; LEVELS],
    /// The first moments that are too far away for each level but the last.
    horizons: [i64; LEVELS - 1],
    notes: usize,
    sweep: Option<Sweep>,
    /// How many notes the last sweep has left.
    kept: usize,
}

/// Where a sweep is.
struct Sweep {
    level: usize,
    bucket: i64,
    position: usize,
    /// Hashes that this bucket is known to list.
    seen: HashSet<u64>,
}

#[derive(Default)]
struct Bucket {
    pieces: Vec<Vec<u64>>,
}

impl Default for ExpiryIndex {
    fn default() -> Self {
        ExpiryIndex {
            levels: Default::default(),
            // Until the time is known, everything is far away.
            horizons: [i64::MIN; LEVELS - 1],
            notes: 0,
            sweep: None,
            kept: 0,
        }
    }
}

impl ExpiryIndex {
    /// Notes that the key with `hash` is to be looked at once `at` has passed, or before.
    pub fn note(&mut self, at: UnixMillis, hash: u64) {
        let near = self.horizons.iter().position(|&horizon| at.0 < horizon);
        let level = near.unwrap_or(LEVELS - 1);
        self.levels[level]
            .entry(at.0 >> WIDTH_BITS[level])
            .or_default()
            .push(hash);
        self.notes += 1;
    }

    /// How many notes there are, outdated ones included.
    pub fn len(&self) -> usize {
        self.notes
    }

    pub fn is_empty(&self) -> bool {
        self.notes == 0
    }

    /// Takes up to `most` hashes of keys to look at: those whose time has passed and, with what is left of `most`, those
    /// from wide buckets that come near. Who is not due is to be noted again.
    pub fn take_due(&mut self, now: UnixMillis, most: usize, due: &mut Vec<u64>) {
        let mut ends = [now.0 >> WIDTH_BITS[0]; LEVELS];
        for level in 1..LEVELS {
            let bits = WIDTH_BITS[level];
            ends[level] = (now.0 >> bits) + 2;
            let horizon = ends[level].saturating_mul(1 << bits);
            self.horizons[level - 1] = self.horizons[level - 1].max(horizon);
        }
        let mut left = most;
        for (buckets, end) in self.levels.iter_mut().zip(ends) {
            while left > 0
                && let Some(mut bucket) = buckets.first_entry()
                && *bucket.key() < end
            {
                let taken = bucket.get_mut().pop(left, due);
                self.notes -= taken;
                left -= taken;
                if bucket.get().is_empty() {
                    bucket.remove();
                }
            }
        }
    }

    /// Looks at some notes, drops outdated ones and doubles, and moves those of keys that expire later than they say.
    /// `expiries(hash, out)` tells the expiries of all keys of that hash. True while there is more to do; nothing is done
    /// unless notes are many more than `volatile` keys.
    ///
    /// Narrow buckets are left alone: they go by themselves soon.
    pub fn sweep(
        &mut self,
        notes: usize,
        volatile: usize,
        mut expiries: impl FnMut(u64, &mut Vec<UnixMillis>),
    ) -> bool {
        if self.sweep.is_none() && self.notes <= 2 * volatile.max(self.kept) + NOTES_UNSWEPT {
            return false;
        }
        let mut sweep = self.sweep.take().unwrap_or_else(Sweep::begin);
        let mut found = Vec::new();
        for _ in 0..notes {
            let Some(hash) = self.next_of_sweep(&mut sweep) else {
                self.kept = self.notes;
                return false;
            };
            found.clear();
            expiries(hash, &mut found);
            let (bits, bucket) = (WIDTH_BITS[sweep.level], sweep.bucket);
            let is_here = |at: &UnixMillis| at.0 >> bits == bucket;
            let is_later = |at: &&UnixMillis| at.0 >> bits > bucket;
            if found.iter().any(is_here) && sweep.has_not_seen(hash) {
                sweep.position += 1;
                continue;
            }
            if let Some(bucket) = self.levels[sweep.level].get_mut(&sweep.bucket) {
                bucket.swap_remove(sweep.position);
                self.notes -= 1;
            }
            // Noted further on, where the sweep comes by later and finds doubles.
            for at in found.iter().filter(is_later) {
                self.note(*at, hash);
            }
        }
        self.sweep = Some(sweep);
        true
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The note at the sweep's place, moving to the next bucket where one is through.
    fn next_of_sweep(&mut self, sweep: &mut Sweep) -> Option<u64> {
        while sweep.level < LEVELS {
            let buckets = &mut self.levels[sweep.level];
            if let Some(bucket) = buckets.get(&sweep.bucket) {
                if let Some(hash) = bucket.get(sweep.position) {
                    return Some(hash);
                }
                if bucket.is_empty() {
                    buckets.remove(&sweep.bucket);
                }
            }
            let next = buckets.range(sweep.bucket.saturating_add(1)..).next();
            match next {
                Some((&bucket, _)) => sweep.go_to(sweep.level, bucket),
                None => sweep.go_to(sweep.level + 1, i64::MIN),
            }
        }
        None
    }
}

impl Sweep {
    fn begin() -> Self {
        Sweep {
            level: 1,
            bucket: i64::MIN,
            position: 0,
            seen: HashSet::new(),
        }
    }

    fn go_to(&mut self, level: usize, bucket: i64) {
        (self.level, self.bucket, self.position) = (level, bucket, 0);
        self.seen.clear();
    }

    fn has_not_seen(&mut self, hash: u64) -> bool {
        if self.seen.len() == SEEN_MAX {
            self.seen.clear();
        }
        self.seen.insert(hash)
    }
}

impl Bucket {
    fn push(&mut self, hash: u64) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE_NOTES => last.push(hash),
            _ => self.pieces.push(vec![hash]),
        }
    }

    /// Takes up to `most` notes from the end.
    fn pop(&mut self, most: usize, taken: &mut Vec<u64>) -> usize {
        let mut left = most;
        while left > 0
            && let Some(last) = self.pieces.last_mut()
        {
            let take = last.len().min(left);
            taken.extend(last.drain(last.len() - take..));
            left -= take;
            if last.is_empty() {
                self.pieces.pop();
            }
        }
        most - left
    }

    fn get(&self, position: usize) -> Option<u64> {
        let piece = self.pieces.get(position / PIECE_NOTES)?;
        piece.get(position % PIECE_NOTES).copied()
    }

    /// Removes the note at `position`, which must exist; the last one takes its place.
    fn swap_remove(&mut self, position: usize) {
        let mut last = Vec::with_capacity(1);
        self.pop(1, &mut last);
        let piece = self.pieces.get_mut(position / PIECE_NOTES);
        if let Some(place) = piece.and_then(|piece| piece.get_mut(position % PIECE_NOTES)) {
            *place = last[0];
        }
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::random::Random;

    /// What the index is for: keys by number, which is also their hash, and when they expire.
    #[derive(Default)]
    struct Model {
        index: ExpiryIndex,
        expiries: HashMap<u64, i64>,
        now: i64,
    }

    impl Model {
        /// As a database does it: only an earlier expiry needs a note of its own.
        fn set(&mut self, key: u64, at: i64) {
            let old = self.expiries.insert(key, at);
            if old.is_none_or(|old| at < old) {
                self.index.note(UnixMillis(at), key);
            }
        }

        /// Looks at all that comes up; returns how many have expired.
        fn expire(&mut self) -> usize {
            let (mut due, before) = (Vec::new(), self.expiries.len());
            loop {
                due.clear();
                self.index.take_due(UnixMillis(self.now), 100, &mut due);
                if due.is_empty() {
                    return before - self.expiries.len();
                }
                for key in &due {
                    match self.expiries.get(key) {
                        Some(&at) if at < self.now => {
                            self.expiries.remove(key);
                        }
                        Some(&at) => self.index.note(UnixMillis(at), *key),
                        None => {}
                    }
                }
            }
        }

        fn sweep(&mut self, notes: usize) -> bool {
            let expiries = &self.expiries;
            self.index.sweep(notes, expiries.len(), |hash, out| {
                out.extend(expiries.get(&hash).map(|&at| UnixMillis(at)));
            })
        }

        fn none_is_late(&self) -> bool {
            let limit = (self.now >> WIDTH_BITS[0]) << WIDTH_BITS[0];
            self.expiries.values().all(|&at| at >= limit)
        }
    }

    #[test]
    fn keys_come_up_in_time_whatever_is_written_deleted_and_swept() {
        for seed in 0..6 {
            let mut random = Random::from_seed(seed);
            let mut model = Model {
                now: 1_700_000_000_000,
                ..Model::default()
            };
            for _ in 0..400 {
                for _ in 0..random.below(60) {
                    let key = random.below(300);
                    let span = 1 << random.below(38);
                    match random.below(4) {
                        0 => {
                            model.expiries.remove(&key);
                        }
                        _ => model.set(key, model.now + random.below(span) as i64),
                    }
                }
                if random.chance(1, 3) {
                    // As if there were too many notes.
                    model.index.sweep.get_or_insert_with(Sweep::begin);
                    model.sweep(random.below(400) as usize);
                }
                let step = 1 << random.below(34);
                model.now += random.below(step) as i64;
                model.expire();
                assert!(model.none_is_late(), "seed {seed}");
            }
            model.now += 1 << 40;
            model.expire();
            assert!(model.expiries.is_empty() && model.index.is_empty());
        }
    }

    #[test]
    fn a_key_that_is_refreshed_adds_nothing() {
        let mut model = Model::default();
        for second in 0..100_000 {
            model.now = second * 1_000;
            model.set(7, model.now + 3_600_000);
            assert_eq!(model.expire(), 0);
        }
        assert_eq!(model.index.len(), 1);
    }

    #[test]
    fn what_deletions_leave_behind_is_swept_in_small_steps() {
        let mut model = Model::default();
        for key in 0..1_000 {
            model.set(key, 500_000_000 + key as i64);
        }
        for round in 0..50_000i64 {
            model.expiries.remove(&5);
            model.set(5, 600_000_000 + round * 1_000);
            model.expiries.remove(&6);
            model.set(6, 777_777_777);
            model.sweep(20);
        }
        assert!(model.index.len() < 30_000, "{}", model.index.len());
        while model.sweep(100) {}
        model.index.sweep = Some(Sweep::begin());
        while model.sweep(100) {}
        assert_eq!(model.index.len(), 1_000);
        model.now = i64::MAX / 2;
        assert_eq!(model.expire(), 1_000);
    }

    #[test]
    fn a_sweep_without_effect_is_not_repeated() {
        let mut model = Model::default();
        for key in 0..10 {
            for _ in 0..2_000 {
                model.expiries.remove(&key);
                model.set(key, 1 << 40);
            }
        }
        while model.sweep(100) {}
        let kept = model.index.len();
        assert!(!model.sweep(100));
        assert_eq!(model.index.len(), kept);
    }

    #[test]
    fn a_bucket_gives_back_what_it_was_given() {
        let mut bucket = Bucket::default();
        let mut model: Vec<u64> = (0..5_000).collect();
        model.iter().for_each(|&hash| bucket.push(hash));
        for position in [0, 511, 512, 4_000, 4_995] {
            bucket.swap_remove(position);
            model.swap_remove(position);
        }
        assert!((0..model.len()).all(|at| bucket.get(at) == Some(model[at])));
        let mut taken = Vec::new();
        assert_eq!(bucket.pop(10_000, &mut taken), model.len());
        taken.sort_unstable();
        model.sort_unstable();
        assert_eq!(taken, model);
        assert!(bucket.is_empty());
    }
}
