//! Which clients watch which keys (WATCH), and which of them have been failed by a write.

use std::collections::HashMap;

use crate::clients::ClientKey;

#[derive(Default)]
pub struct Watched {
    keys: HashMap<(usize, Vec<u8>), Vec<ClientKey>>,
    failed: Vec<ClientKey>,
}

impl Watched {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn watch(&mut self, client: ClientKey, db: usize, key: &[u8]) {
        self.keys
            .entry((db, key.to_vec()))
            .or_default()
            .push(client);
    }

    pub fn unwatch(&mut self, client: ClientKey, db: usize, key: &[u8]) {
        let place = (db, key.to_vec());
        if let Some(clients) = self.keys.get_mut(&place) {
            clients.retain(|other| *other != client);
            if clients.is_empty() {
                self.keys.remove(&place);
            }
        }
    }

    /// Notes that `key` has changed.
    pub fn touch(&mut self, db: usize, key: &[u8]) {
        if let Some(clients) = self.keys.get(&(db, key.to_vec())) {
            self.failed.extend_from_slice(clients);
        }
    }

    /// Notes that every watched key of these databases for which `exists_or_existed` says so has changed.
    pub fn touch_where(&mut self, mut changed: impl FnMut(usize, &[u8]) -> bool) {
        for ((db, key), clients) in &self.keys {
            if changed(*db, key) {
                self.failed.extend_from_slice(clients);
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
