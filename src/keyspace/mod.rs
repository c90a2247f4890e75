//! Databases of entries, cloned in O(1).
//!
//! A database is one [`CowTable`] of [`Entry`]s and an index of when they expire. Here nothing expires by itself, counts as
//! a hit or is told to anyone: what a command may see is the engine's business (`engine/data.rs`).
//!
//! Invariant: each entry with an expiry has a note in the index at or before that expiry.

pub mod access;
pub mod commands;
pub mod database_commands;
pub mod digest;
pub mod edit;
pub mod entry;
pub mod expire;
pub mod expire_commands;
pub mod memory_commands;
pub mod object_commands;
pub mod scan_commands;
pub mod transfer_commands;

use std::fmt::{self, Debug};

use entry::{Content, Entry};
use expire::ExpiryIndex;

use crate::clock::UnixMillis;
use crate::cow::element::{self, Ref, RefMut};
use crate::cow::table::CowTable;
use crate::random::Random;

/// A key and its hash, which is computed once per request.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

impl<'a> Key<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Key {
            bytes,
            hash: element::hash(bytes),
        }
    }
}

/// One numbered database.
#[derive(Default)]
pub struct Database {
    table: CowTable<Entry>,
    index: ExpiryIndex,
    volatile: usize,
    /// The sum of all expiries.
    expiry_sum: i128,
}

/// A picture of one database.
#[derive(Clone, Default)]
pub struct DatabasePicture {
    pub table: CowTable<Entry>,
    /// Keys with an expiry.
    pub volatile: usize,
}

impl Database {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Keys with an expiry.
    pub fn volatile_len(&self) -> usize {
        self.volatile
    }

    pub fn get(&self, key: Key) -> Option<Ref<'_, Entry>> {
        self.table.get(key.hash, key.bytes)
    }

    /// The entry for writing its value. Its expiry is set by [`Database::set_expiry`] alone.
    pub fn get_mut(&mut self, key: Key) -> Option<RefMut<'_, Entry>> {
        self.table.get_mut(key.hash, key.bytes)
    }

    /// Stores a string or value under `key`; what it replaces is returned (whoever frees it decides where).
    /// The old expiry goes with the old value.
    pub fn put(&mut self, key: Key, expiry: Option<UnixMillis>, content: Content) -> Option<Entry> {
        self.insert(key.hash, Entry::new(key.bytes, expiry, content))
    }

    /// Stores an entry; `hash` is that of its key.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> Option<Entry> {
        let expiry = entry.expiry();
        let old = self.table.insert(hash, entry);
        let old_expiry = old.as_ref().and_then(Entry::expiry);
        self.note_change(hash, old_expiry, expiry);
        old
    }

    pub fn remove(&mut self, key: Key) -> Option<Entry> {
        let removed = self.table.remove(key.hash, key.bytes)?;
        self.count_expiry(removed.expiry(), None);
        Some(removed)
    }

    /// Sets or takes away the expiry of a key; false if there is no such key.
    pub fn set_expiry(&mut self, key: Key, expiry: Option<UnixMillis>) -> bool {
        let Some(mut entry) = self.table.get_mut(key.hash, key.bytes) else {
            return false;
        };
        let old = entry.expiry();
        entry.set_expiry(expiry);
        drop(entry);
        self.note_change(key.hash, old, expiry);
        true
    }

    /// Hints that the key will be asked for soon. Two steps: first the table's leaf, later the entry itself.
    pub fn prefetch(&self, hash: u64) {
        self.table.prefetch(hash);
    }

    /// The first step for a key that will be written to.
    pub fn prefetch_mut(&self, hash: u64) {
        self.table.prefetch_mut(hash);
    }

    pub fn prefetch_entry(&self, hash: u64) {
        self.table.prefetch_element(hash);
    }

    /// SCAN's walk: visits the entries of the leaf at `cursor` and returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(&Entry)) -> u64 {
        self.table.scan(cursor, visit)
    }

    pub fn random(&self, random: &mut Random) -> Option<Ref<'_, Entry>> {
        self.table.random(random)
    }

    pub fn table(&self) -> &CowTable<Entry> {
        &self.table
    }

    /// When the keys with an expiry expire on average.
    pub fn mean_expiry(&self) -> Option<UnixMillis> {
        let mean = self.expiry_sum.checked_div(self.volatile as i128)?;
        Some(UnixMillis(mean as i64))
    }

    /// Hashes of keys whose time may have come.
    pub fn take_due(&mut self, now: UnixMillis, most: usize, due: &mut Vec<u64>) {
        self.index.take_due(now, most, due);
    }

    /// Keys with this hash that have an expiry, with it.
    pub fn volatile_by_hash(&self, hash: u64, found: &mut Vec<(Vec<u8>, UnixMillis)>) {
        self.table.find_hash(hash, |entry| {
            if let Some(expiry) = entry.expiry() {
                found.push((entry.key().to_vec(), expiry));
            }
            false
        });
    }

    /// Notes again a key that came up before its time because its expiry had moved.
    pub fn note_again(&mut self, hash: u64, expiry: UnixMillis) {
        self.index.note(expiry, hash);
    }

    /// Keeps the expiry index in proportion to the keys that have an expiry, looking at some of its notes; true while there
    /// is more to do.
    pub fn sweep_index(&mut self, notes: usize) -> bool {
        let table = &self.table;
        self.index.sweep(notes, self.volatile, |hash, expiries| {
            table.find_hash(hash, |entry| {
                expiries.extend(entry.expiry());
                false
            });
        })
    }

    /// Takes everything out; the caller lets it be freed in the background.
    pub fn take(&mut self) -> CowTable<Entry> {
        self.index.clear();
        (self.volatile, self.expiry_sum) = (0, 0);
        std::mem::take(&mut self.table)
    }

    pub fn picture(&self) -> DatabasePicture {
        DatabasePicture {
            table: self.table.clone(),
            volatile: self.volatile,
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
    }

    fn note_change(&mut self, hash: u64, old: Option<UnixMillis>, new: Option<UnixMillis>) {
        self.count_expiry(old, new);
        if let Some(at) = new
            && old.is_none_or(|old| at < old)
        {
            self.index.note(at, hash);
        }
    }

    fn count_expiry(&mut self, old: Option<UnixMillis>, new: Option<UnixMillis>) {
        if let Some(at) = old {
            self.volatile -= 1;
            self.expiry_sum -= i128::from(at.0);
        }
        if let Some(at) = new {
            self.volatile += 1;
            self.expiry_sum += i128::from(at.0);
        }
    }
}

/// All databases.
pub struct Keyspace {
    databases: Vec<Database>,
}

/// A picture of all databases, one moment of theirs.
#[derive(Clone, Default)]
pub struct KeyspacePicture {
    pub databases: Vec<DatabasePicture>,
}

impl Debug for KeyspacePicture {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "KeyspacePicture of {} keys", self.len())
    }
}

impl KeyspacePicture {
    pub fn len(&self) -> usize {
        self.databases
            .iter()
            .map(|database| database.table.len())
            .sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Keyspace {
    pub fn new(databases: usize) -> Self {
        Keyspace {
            databases: (0..databases).map(|_| Database::default()).collect(),
        }
    }

    /// How many databases there are, empty ones included.
    pub fn count(&self) -> usize {
        self.databases.len()
    }

    /// # Panics
    /// If there is no such database; SELECT checks the number.
    pub fn db(&self, index: usize) -> &Database {
        &self.databases[index]
    }

    pub fn db_mut(&mut self, index: usize) -> &mut Database {
        &mut self.databases[index]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Database> {
        self.databases.iter()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.databases.iter().map(Database::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn swap(&mut self, one: usize, other: usize) {
        self.databases.swap(one, other);
    }

    /// All databases at this moment, in O(databases).
    pub fn picture(&self) -> KeyspacePicture {
        KeyspacePicture {
            databases: self.databases.iter().map(Database::picture).collect(),
        }
    }
}
