//! What a master's snapshot becomes: a payload on its way in, a dataset that waits, and the moment at which it takes the place
//! of the old one, with its history, and with the file that it came from as the base of our AOF.

use crate::aof::candidate::Candidate;
use crate::config::values::DisklessLoad;
use crate::journal::position::Position;
use crate::keyspace::Keyspace;
use crate::replication::link::{Event, LoadId};
use crate::replication::payload;

use super::super::Engine;
use super::super::data::Garbage;
use super::super::persistence::Loading;
use super::super::watch::{self, Presence};
use super::LinkStep;

/// A dataset from the master, and the file it came from, if the AOF wants it.
pub(super) struct Arrived {
    keyspace: Keyspace,
    base: Option<Candidate>,
}

/// How a snapshot from the master is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadWay {
    /// Kept in the RDB file as well.
    pub to_file: bool,
    /// Nor may an older RDB file stay.
    pub removes_file: bool,
    /// Kept to become the base of the AOF.
    pub to_base: bool,
}

impl Engine {
    /// The loaded dataset of `load`, complete and checked.
    pub fn link_loaded(
        &mut self,
        load: LoadId,
        keyspace: Keyspace,
        stream_db: Option<u32>,
        base: Option<Candidate>,
    ) {
        self.forget_arrived();
        self.replication.following.arrived = Some(Arrived { keyspace, base });
        self.link_event(Event::Loaded { load, stream_db });
    }

    /// What has been loaded will not take its place.
    pub(super) fn forget_arrived(&mut self) {
        if let Some(Arrived { mut keyspace, base }) = self.replication.following.arrived.take() {
            self.discard_keyspace(&mut keyspace);
            self.garbage.extend(base.map(Garbage::Base));
        }
    }

    pub(super) fn begin_link_load(
        &mut self,
        load: LoadId,
        framing: payload::Framing,
        same_history: bool,
    ) -> LinkStep {
        let mode = self.config.repl_diskless_load;
        let is_empty = self.keyspace.is_empty();
        let direct = match mode {
            DisklessLoad::Disabled => false,
            DisklessLoad::OnEmptyDb => is_empty,
            DisklessLoad::Swapdb | DisklessLoad::Flushdb => true,
        };
        if mode == DisklessLoad::Flushdb && !is_empty {
            log::info!("MASTER <-> REPLICA sync: Flushing old data");
            self.replace_keyspace(Keyspace::new(self.config.databases as usize));
            self.link_event(Event::DatasetDropped);
        }
        let removes_file = self.config.removes_sync_files();
        let way = LoadWay {
            to_file: !direct && !removes_file,
            removes_file: !direct && removes_file,
            to_base: self.keeps_payloads(),
        };
        log::info!(
            "MASTER <-> REPLICA sync: receiving {} from master {}",
            match framing {
                payload::Framing::Sized(bytes) => format!("{bytes} bytes"),
                payload::Framing::Marked(_) => "streamed RDB".to_owned(),
            },
            if way.to_file { "to disk" } else { "to parser" }
        );
        if direct {
            // What is served meanwhile is the old data of the same history, or nothing.
            self.persistence.loading = Some(Loading {
                started_unix: self.now.seconds(),
                total_bytes: match framing {
                    payload::Framing::Sized(bytes) => bytes,
                    payload::Framing::Marked(_) => 0,
                },
                serving: mode == DisklessLoad::Swapdb && same_history,
                ..Loading::default()
            });
        }
        LinkStep::BeginLoad { load, framing, way }
    }

    /// The dataset that has been loaded takes the place of the old one, and its history that of ours.
    pub(super) fn swap_in(&mut self, position: Position) {
        let Some(Arrived { keyspace, base }) = self.replication.following.arrived.take() else {
            return;
        };
        let backlog = self.config.repl_backlog_size;
        self.replace_keyspace(keyspace);
        self.persistence.loading = None;
        // Nothing of the new dataset is in a file of ours yet, unless it came through one.
        self.persistence.dirty += 1;
        self.replication.identity.adopt(position.id);
        self.withdraw_archive();
        self.journal.reset(position.offset);
        self.aof.durability.detach();
        self.journal.create_backlog(backlog);
        self.replace_set(base, position);
        log::info!("MASTER <-> REPLICA sync: Finished with success");
        self.begin_stream(position.stream_db);
    }

    /// Puts another keyspace in place of the present one, which is freed in the background.
    pub fn replace_keyspace(&mut self, keyspace: Keyspace) {
        let mut old = std::mem::replace(&mut self.keyspace, keyspace);
        self.local_expiries.clear();
        let new = &self.keyspace;
        let now = self.now;
        self.watched.touch_all(|db, key| {
            let in_keyspace = |keyspace: &Keyspace| {
                if db < keyspace.count() {
                    watch::presence(keyspace.db(db).table(), key, now)
                } else {
                    Presence::Missing
                }
            };
            (in_keyspace(&old), in_keyspace(new))
        });
        self.discard_keyspace(&mut old);
        self.settle_unit();
    }

    /// Has a keyspace freed in the background.
    fn discard_keyspace(&mut self, keyspace: &mut Keyspace) {
        for db in 0..keyspace.count() {
            let table = keyspace.db_mut(db).take();
            if !table.is_empty() {
                self.garbage.push(Garbage::Table(table));
            }
        }
    }
}
