//! All that a data command may see: the keyspace, time, settings, and what the command has changed.
//!
//! Here, and only here, keys expire on access, count as hits, fail WATCHes and are turned into effects. A command reads
//! and writes typed values ([`Data::read`], [`Data::write`]), says what it did ([`Data::wrote`]) and, where the effect to
//! record is not the request itself, what is to be recorded instead ([`Data::propagate`]).

mod value;

use smallvec::SmallVec;

use crate::aof::candidate::Candidate;
use crate::clock::UnixMillis;
use crate::config::Config;
use crate::config::events::KeyspaceEvents;
use crate::cow::element::{Ref, RefMut};
use crate::cow::table::CowTable;
use crate::keyspace::access::{self, AccessRule};
use crate::keyspace::entry::{Content, Entry, View};
use crate::keyspace::local_expiry::LocalExpiries;
use crate::keyspace::{Database, Key, Keyspace};
use crate::memory;
use crate::random::Random;
use crate::types::{Kind, Value};

use super::error::CommandError;
use super::unit::Unit;
use super::watch::Watched;

pub use value::{StringValue, Text, TypedMut, TypedRef, is_type, string_of};

/// What happens to a key whose time has passed when a command meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryRule {
    /// On a master: it is deleted, and the deletion is an effect.
    Delete,
    /// On a replica, or while paused: it reads as missing and stays until the master says so.
    Hide,
    /// For the master's own commands: nothing ever expires.
    Ignore,
}

/// Things to be freed off the engine's thread.
pub enum Garbage {
    Entry(Entry),
    Value(Value),
    Table(CowTable<Entry>),
    /// A file, removed where it is dropped.
    Base(Candidate),
}

/// Counted for INFO stats.
#[derive(Clone, Copy, Debug, Default)]
pub struct DataCounters {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
}

/// What a write does to the expiry of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryChange {
    Keep,
    Set(Option<UnixMillis>),
}

/// Classes of keyspace events, as the letters of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Generic,
    String,
    List,
    Set,
    Hash,
    SortedSet,
    Expired,
    New,
    Miss,
}

impl Event {
    /// The letter of its class.
    pub fn letter(self) -> KeyspaceEvents {
        match self {
            Event::Generic => KeyspaceEvents::GENERIC,
            Event::String => KeyspaceEvents::STRING,
            Event::List => KeyspaceEvents::LIST,
            Event::Set => KeyspaceEvents::SET,
            Event::Hash => KeyspaceEvents::HASH,
            Event::SortedSet => KeyspaceEvents::SORTED_SET,
            Event::Expired => KeyspaceEvents::EXPIRED,
            Event::New => KeyspaceEvents::NEW_KEY,
            Event::Miss => KeyspaceEvents::KEY_MISS,
        }
    }
}

/// Keys of one request that are fetched together.
const PREFETCH_KEYS: usize = 16;

/// Below this, a database lies in the caches anyway.
const PREFETCH_DATABASE_KEYS_MIN: usize = 10_000;

pub struct Data<'a> {
    pub keyspace: &'a mut Keyspace,
    /// The selected database.
    pub db: usize,
    pub now: UnixMillis,
    pub config: &'a Config,
    pub random: &'a mut Random,
    pub expiry_rule: ExpiryRule,
    pub access_rule: AccessRule,
    pub unit: &'a mut Unit,
    pub counters: &'a mut DataCounters,
    pub watched: &'a mut Watched,
    pub garbage: &'a mut Vec<Garbage>,
    pub local_expiries: &'a mut LocalExpiries,
}

impl<'a> Data<'a> {
    pub fn database(&self) -> &Database {
        self.keyspace.db(self.db)
    }

    /// Looks a key up for reading: counts a hit or a miss and touches the access field.
    pub fn find(&mut self, key: Key) -> Option<Ref<'_, Entry>> {
        self.expire_on_access(key);
        let found = self.keyspace.db(self.db).get(key);
        let found = found.filter(|entry| !self.hides(entry));
        match &found {
            Some(entry) => {
                self.counters.hits += 1;
                access::touch(entry, self.access_rule, self.now, self.random);
            }
            None => {
                self.counters.misses += 1;
                self.unit
                    .note_event(Event::Miss, "keymiss", self.db, key.bytes);
            }
        }
        found
    }

    /// Looks a key up for reading what is not its value: counts as [`Data::find`] does, but is no access to the key.
    pub fn inspect(&mut self, key: Key) -> Option<Ref<'_, Entry>> {
        let access_rule = std::mem::replace(&mut self.access_rule, AccessRule::Leave);
        self.find(key);
        self.access_rule = access_rule;
        self.visible(key)
    }

    /// As [`Data::inspect`], but a miss is no event: for OBJECT.
    pub fn inspect_silently(&mut self, key: Key) -> Option<Ref<'_, Entry>> {
        self.expire_on_access(key);
        let notifying = std::mem::replace(&mut self.unit.notifying, false);
        self.inspect(key);
        self.unit.notifying = notifying;
        self.visible(key)
    }

    /// Looks a key up for a write that decides first: an access to the key, but neither a hit nor a miss.
    pub fn peek(&mut self, key: Key) -> Option<Ref<'_, Entry>> {
        self.expire_on_access(key);
        let found = self.keyspace.db(self.db).get(key);
        let found = found.filter(|entry| !self.hides(entry))?;
        access::touch(&found, self.access_rule, self.now, self.random);
        Some(found)
    }

    pub fn exists(&mut self, key: Key) -> bool {
        self.peek(key).is_some()
    }

    /// The entry for writing, if the key exists.
    pub fn peek_mut(&mut self, key: Key) -> Option<RefMut<'_, Entry>> {
        self.expire_for_write(key);
        let found = self.keyspace.db_mut(self.db).get_mut(key);
        if let Some(entry) = &found {
            access::touch(entry, self.access_rule, self.now, self.random);
        }
        found
    }

    /// The value of a type that is not a string, for reading.
    pub fn read<T: Kind>(&mut self, key: Key) -> Result<Option<TypedRef<'_, T>>, CommandError> {
        match self.find(key) {
            None => Ok(None),
            Some(entry) => TypedRef::new(entry).map(Some),
        }
    }

    /// The value of a type that is not a string, for writing: what a snapshot still sees of it is copied on the way.
    pub fn write<T: Kind>(&mut self, key: Key) -> Result<Option<TypedMut<'_, T>>, CommandError> {
        match self.peek_mut(key) {
            None => Ok(None),
            Some(entry) => TypedMut::new(entry).map(Some),
        }
    }

    /// As [`Data::write`], but makes an empty value where the key does not exist.
    pub fn write_or_new<T: Kind>(
        &mut self,
        key: Key,
        make: impl FnOnce(&Config) -> T,
    ) -> Result<TypedMut<'_, T>, CommandError> {
        self.expire_for_write(key);
        if self.database().get(key).is_none() {
            let value = make(self.config).into_value();
            let access = access::fresh(self.access_rule, self.now);
            let entry = Entry::new(key.bytes, None, Content::Value(value));
            entry.set_access(access);
            self.keyspace.db_mut(self.db).insert(key.hash, entry);
            self.unit.note_event(Event::New, "new", self.db, key.bytes);
        }
        let entry = self.keyspace.db_mut(self.db).get_mut(key);
        // It was there, or has just been inserted.
        TypedMut::new(entry.expect("the key exists"))
    }

    /// Stores a value of a type that is not a string in place of whatever was there; its expiry goes.
    pub fn store<T: Kind>(&mut self, key: Key, value: T) {
        self.expire_for_write(key);
        self.store_entry(
            key,
            Entry::new(key.bytes, None, Content::Value(value.into_value())),
        );
    }

    /// Stores an entry in place of whatever was there, expiry and all. The entry's key is `key`.
    pub fn store_entry(&mut self, key: Key, entry: Entry) {
        entry.set_access(access::fresh(self.access_rule, self.now));
        if let Some(at) = entry.expiry() {
            self.note_local_expiry(key, at);
        }
        if matches!(self.access_rule, AccessRule::Lfu { .. })
            && let Some(old) = self.keyspace.db(self.db).get(key)
        {
            // How often a key is used does not depend on its value.
            access::touch(&old, self.access_rule, self.now, self.random);
            entry.set_access(old.access());
        }
        let old = self.keyspace.db_mut(self.db).insert(key.hash, entry);
        match old {
            Some(old) => self.discard(old),
            None => self.unit.note_event(Event::New, "new", self.db, key.bytes),
        }
    }

    /// Stores an entry that comes from elsewhere under a key that is free, with the access bits it has.
    pub fn put_entry(&mut self, key: Key, entry: Entry) {
        if let Some(at) = entry.expiry() {
            self.note_local_expiry(key, at);
        }
        self.keyspace.db_mut(self.db).insert(key.hash, entry);
        self.unit.note_event(Event::New, "new", self.db, key.bytes);
    }

    /// Sets a string. A value equal in size to the one it replaces is overwritten in place.
    pub fn set_string(&mut self, key: Key, value: StringValue, expiry: ExpiryChange) {
        self.expire_for_write(key);
        let database = self.keyspace.db_mut(self.db);
        let mut kept_expiry = None;
        if let Some(mut entry) = database.get_mut(key) {
            let old_expiry = entry.expiry();
            let unchanged = match expiry {
                ExpiryChange::Keep => true,
                ExpiryChange::Set(new) => old_expiry == new,
            };
            if unchanged {
                let done = match value.integer() {
                    Some(integer) => entry.try_overwrite_int(integer),
                    None => entry.try_overwrite(value.bytes),
                };
                if done {
                    access::touch(&entry, self.access_rule, self.now, self.random);
                    return;
                }
            }
            kept_expiry = old_expiry;
        }
        let expiry = match expiry {
            ExpiryChange::Keep => kept_expiry,
            ExpiryChange::Set(expiry) => expiry,
        };
        self.store_entry(key, Entry::new(key.bytes, expiry, value.into_content()));
    }

    /// Sets when a key that exists expires.
    pub fn set_expiry(&mut self, key: Key, at: UnixMillis) {
        self.note_local_expiry(key, at);
        self.keyspace.db_mut(self.db).set_expiry(key, Some(at));
    }

    /// Takes the expiry of a key away; false if it has none.
    pub fn persist(&mut self, key: Key) -> bool {
        let volatile = self.peek(key).is_some_and(|entry| entry.expiry().is_some());
        volatile && self.keyspace.db_mut(self.db).set_expiry(key, None)
    }

    /// Removes a key, whatever its type. True if there was one.
    pub fn delete(&mut self, key: Key) -> bool {
        self.expire_for_write(key);
        self.remove(key)
    }

    /// As [`Data::delete`], but a key whose time has passed counts as one that is there: what makes way for an empty result.
    pub fn remove(&mut self, key: Key) -> bool {
        match self.keyspace.db_mut(self.db).remove(key) {
            Some(entry) => {
                self.discard(entry);
                true
            }
            None => false,
        }
    }

    /// Takes an entry out whole, to store it elsewhere.
    pub fn take(&mut self, key: Key) -> Option<Entry> {
        self.expire_for_write(key);
        self.keyspace.db_mut(self.db).remove(key)
    }

    /// Lets an entry be freed: in the background if that takes long.
    pub fn discard(&mut self, entry: Entry) {
        if !entry.is_unique() {
            memory::note_copied(entry.own_bytes());
        }
        if let View::Value(value) = entry.view()
            && value.is_big_to_free()
        {
            self.garbage.push(Garbage::Entry(entry));
        }
    }

    /// As [`Data::discard`], for what has been taken out of a value.
    pub fn discard_value(&mut self, value: Value) {
        if value.is_big_to_free() {
            self.garbage.push(Garbage::Value(value));
        }
    }

    /// Says that the value of `key` has changed by `changes` elements: counts for save points, fails WATCHes, makes the
    /// request an effect, and is an event of that name.
    pub fn wrote(&mut self, key: Key, changes: u64, class: Event, event: &'static str) {
        self.touched(key);
        self.unit.dirty += changes;
        self.unit.note_event(class, event, self.db, key.bytes);
    }

    /// An event beside the one of [`Data::wrote`].
    pub fn event(&mut self, key: Key, class: Event, event: &'static str) {
        self.unit.note_event(class, event, self.db, key.bytes);
    }

    /// Fails WATCHes of `key` in the selected database.
    pub fn touched(&mut self, key: Key) {
        if !self.watched.is_empty() {
            let database = self.keyspace.db(self.db);
            self.watched
                .touch(self.db, key.bytes, || database.get(key).is_some());
        }
    }

    /// Works with another database for a while.
    pub fn in_db<R>(&mut self, db: usize, work: impl FnOnce(&mut Self) -> R) -> R {
        let selected = std::mem::replace(&mut self.db, db);
        let result = work(self);
        self.db = selected;
        result
    }

    /// Calls `visit` for each key of a request in order; in a large database they are fetched a batch ahead.
    pub fn for_each_key<'k>(
        &mut self,
        mut keys: impl Iterator<Item = &'k [u8]>,
        mut visit: impl FnMut(&mut Self, Key<'k>),
    ) {
        loop {
            let batch: SmallVec<[Key; PREFETCH_KEYS]> =
                keys.by_ref().take(PREFETCH_KEYS).map(Key::new).collect();
            if batch.is_empty() {
                return;
            }
            let database = self.database();
            if batch.len() > 1 && database.len() >= PREFETCH_DATABASE_KEYS_MIN {
                batch.iter().for_each(|key| database.prefetch(key.hash));
                batch
                    .iter()
                    .for_each(|key| database.prefetch_entry(key.hash));
            }
            for key in batch {
                visit(self, key);
            }
        }
    }

    /// Deletes a collection that its last element has left, with the event that belongs to it.
    pub fn delete_emptied(&mut self, key: Key) {
        if let Some(entry) = self.keyspace.db_mut(self.db).remove(key) {
            self.discard(entry);
        }
        self.unit
            .note_event(Event::Generic, "del", self.db, key.bytes);
    }

    /// An effect in place of the request; called several times, several effects.
    pub fn propagate(&mut self, argv: &[&[u8]]) {
        self.unit.propagate(self.db, argv);
    }

    /// Records that `key` is gone because its time had passed before it came.
    pub fn propagate_expiry(&mut self, key: Key) {
        let word = self.deletion(self.config.lazyfree_lazy_expire);
        self.propagate(&[word, key.bytes]);
    }

    /// The command that tells replicas of a deletion, where it is another one than the request.
    pub fn deletion(&self, is_lazy: bool) -> &'static [u8] {
        if is_lazy { b"UNLINK" } else { b"DEL" }
    }

    /// The request itself is not to be recorded.
    pub fn propagate_nothing(&mut self) {
        self.unit.replaced = true;
    }

    /// Whether this node may delete what has expired, and say so.
    pub fn decides_expiry(&self) -> bool {
        self.expiry_rule == ExpiryRule::Delete
    }

    /// The master does not know what clients of a replica do, so it will never say that this key has expired.
    fn note_local_expiry(&mut self, key: Key, at: UnixMillis) {
        if self.expiry_rule == ExpiryRule::Hide && self.config.replicaof.is_some() {
            self.local_expiries.note(self.db, key.bytes, at);
        }
    }

    fn is_due(&self, key: Key) -> bool {
        let database = self.keyspace.db(self.db);
        database.volatile_len() > 0
            && self.expiry_rule != ExpiryRule::Ignore
            && database
                .get(key)
                .is_some_and(|entry| entry.is_expired(self.now))
    }

    fn hides(&self, entry: &Entry) -> bool {
        self.expiry_rule == ExpiryRule::Hide && entry.is_expired(self.now)
    }

    fn visible(&self, key: Key) -> Option<Ref<'_, Entry>> {
        let found = self.keyspace.db(self.db).get(key);
        found.filter(|entry| !self.hides(entry))
    }

    fn expire_on_access(&mut self, key: Key) {
        if self.expiry_rule == ExpiryRule::Delete && self.is_due(key) {
            self.expire(key);
        }
    }

    /// A writable replica deletes what it writes over; it tells nobody.
    fn expire_for_write(&mut self, key: Key) {
        if self.expiry_rule != ExpiryRule::Ignore && self.is_due(key) {
            self.expire(key);
        }
    }

    /// Deletes a key whose time has come, as an effect of its own.
    pub fn expire(&mut self, key: Key) {
        if let Some(entry) = self.keyspace.db_mut(self.db).remove(key) {
            self.discard(entry);
        }
        self.counters.expired += 1;
        let word = self.deletion(self.config.lazyfree_lazy_expire);
        self.unit.add_effect(self.db, &[word, key.bytes]);
        self.touched(key);
        self.unit
            .note_event(Event::Expired, "expired", self.db, key.bytes);
    }
}

#[cfg(test)]
mod tests;
