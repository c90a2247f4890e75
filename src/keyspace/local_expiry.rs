//! Keys of a writable replica that its own clients gave an expiry.
//!
//! A replica leaves expiry to its master, which cannot know of these: they are the only ones that it deletes by itself. What
//! a note says may be outdated; whoever takes it compares it with the key. Never told to anybody, in no file.
//!
//! Invariant: both maps hold the same notes, one a key.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock::UnixMillis;

#[derive(Default)]
pub struct LocalExpiries {
    by_key: HashMap<Place, UnixMillis>,
    by_time: BTreeSet<(UnixMillis, Place)>,
}

/// Database and key.
type Place = (usize, Arc<[u8]>);

impl LocalExpiries {
    /// Notes that `key` expires at `at`, in place of what was noted for it.
    pub fn note(&mut self, db: usize, key: &[u8], at: UnixMillis) {
        let place = (db, Arc::from(key));
        if let Some(old) = self.by_key.insert(Place::clone(&place), at) {
            self.by_time.remove(&(old, Place::clone(&place)));
        }
        self.by_time.insert((at, place));
    }

    /// The next note whose time has passed: database, key, and the expiry that it had.
    pub fn take_due(&mut self, now: UnixMillis) -> Option<(usize, Arc<[u8]>, UnixMillis)> {
        let (at, _) = *self.by_time.first().filter(|(at, _)| *at < now)?;
        let (_, place) = self.by_time.pop_first()?;
        self.by_key.remove(&place);
        Some((place.0, place.1, at))
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_note_and_comes_when_its_time_has_passed() {
        let mut expiries = LocalExpiries::default();
        for at in 1..=100 {
            expiries.note(0, b"often", UnixMillis(at));
        }
        expiries.note(1, b"often", UnixMillis(7));
        expiries.note(0, b"never", UnixMillis(500));
        assert_eq!((expiries.len(), expiries.by_time.len()), (3, 3));
        assert_eq!(expiries.take_due(UnixMillis(7)), None);
        let mut taken = Vec::new();
        while let Some((db, key, at)) = expiries.take_due(UnixMillis(200)) {
            taken.push((db, key.to_vec(), at.0));
        }
        assert_eq!(
            taken,
            [(1, b"often".to_vec(), 7), (0, b"often".to_vec(), 100)]
        );
        assert_eq!((expiries.len(), expiries.by_time.len()), (1, 1));
    }
}
