//! Which clients watch which keys (WATCH), and which of them have been failed by a write.
//!
//! A key that had expired when it was watched counts as missing from the start: its removal is no change. One that expires
//! later has changed, whether or not anybody has met it by the time of EXEC.

use std::collections::HashMap;

use crate::clients::ClientKey;
use crate::clock::UnixMillis;
use crate::cow::table::CowTable;
use crate::keyspace::Key;
use crate::keyspace::entry::Entry;

/// Whether a key is there, as those who watch it see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Missing,
    Alive,
    /// Still stored, though its time has passed.
    Expired,
}

/// What a database's table says of a key.
pub fn presence(table: &CowTable<Entry>, key: &[u8], now: UnixMillis) -> Presence {
    let key = Key::new(key);
    match table.get(key.hash, key.bytes) {
        None => Presence::Missing,
        Some(entry) if entry.is_expired(now) => Presence::Expired,
        Some(_) => Presence::Alive,
    }
}

#[derive(Default)]
pub struct Watched {
    databases: HashMap<usize, HashMap<Vec<u8>, Vec<Watcher>>>,
    keys: usize,
    failed: Vec<ClientKey>,
}

struct Watcher {
    client: ClientKey,
    /// The key's time had passed when it was watched, and it is still stored.
    was_expired: bool,
}

impl Watched {
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.keys
    }

    pub fn watch(&mut self, client: ClientKey, db: usize, key: &[u8], presence: Presence) {
        let watchers = self
            .databases
            .entry(db)
            .or_default()
            .entry(key.to_vec())
            .or_default();
        self.keys += usize::from(watchers.is_empty());
        watchers.push(Watcher {
            client,
            was_expired: presence == Presence::Expired,
        });
    }

    pub fn unwatch(&mut self, client: ClientKey, db: usize, key: &[u8]) {
        let Some(keys) = self.databases.get_mut(&db) else {
            return;
        };
        let Some(watchers) = keys.get_mut(key) else {
            return;
        };
        watchers.retain(|watcher| watcher.client != client);
        if watchers.is_empty() {
            keys.remove(key);
            self.keys -= 1;
            if keys.is_empty() {
                self.databases.remove(&db);
            }
        }
    }

    /// Whether the key had already expired when `client` began to watch it.
    pub fn was_expired(&self, client: ClientKey, db: usize, key: &[u8]) -> bool {
        self.databases
            .get(&db)
            .and_then(|keys| keys.get(key))
            .is_some_and(|watchers| {
                watchers
                    .iter()
                    .any(|watcher| watcher.client == client && watcher.was_expired)
            })
    }

    /// Notes that `key` has changed; `is_stored` says if it is there now.
    pub fn touch(&mut self, db: usize, key: &[u8], is_stored: impl FnOnce() -> bool) {
        let watchers = self
            .databases
            .get_mut(&db)
            .and_then(|keys| keys.get_mut(key));
        let Some(watchers) = watchers else {
            return;
        };
        let is_stored = is_stored();
        for watcher in watchers {
            if watcher.was_expired && !is_stored {
                watcher.was_expired = false;
            } else {
                self.failed.push(watcher.client);
            }
        }
    }

    /// Notes that all of a database has been replaced: `change` says what a key was before and is now.
    pub fn touch_database(
        &mut self,
        db: usize,
        mut change: impl FnMut(&[u8]) -> (Presence, Presence),
    ) {
        for (key, watchers) in self.databases.get_mut(&db).into_iter().flatten() {
            note_change(watchers, change(key), &mut self.failed);
        }
    }

    /// Notes that all databases have been replaced.
    pub fn touch_all(&mut self, mut change: impl FnMut(usize, &[u8]) -> (Presence, Presence)) {
        for (db, keys) in &mut self.databases {
            for (key, watchers) in keys {
                note_change(watchers, change(*db, key), &mut self.failed);
            }
        }
    }

    /// Clients whose transactions have been failed since the last call.
    pub fn take_failed(&mut self) -> Vec<ClientKey> {
        std::mem::take(&mut self.failed)
    }

    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }
}

fn note_change(
    watchers: &mut [Watcher],
    (before, after): (Presence, Presence),
    failed: &mut Vec<ClientKey>,
) {
    if before == Presence::Missing && after == Presence::Missing {
        return;
    }
    for watcher in watchers {
        let was_missing = before == Presence::Missing || watcher.was_expired;
        if was_missing && after != Presence::Alive {
            watcher.was_expired = after == Presence::Expired;
        } else {
            failed.push(watcher.client);
        }
    }
}
