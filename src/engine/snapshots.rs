//! Snapshots as the engine gives them out, and datasets as it takes them in.
//!
//! A save is begun here, carried out by a task ([`Engine::take_save`] gives it what it needs), and ended here. What SAVE and
//! BGSAVE save is the dataset at the moment of the command; what follows FLUSHALL is saved once that is done.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clients::ClientKey;
use crate::clients::session::Blocked;
use crate::config::values::MaxmemoryPolicy;
use crate::journal::effect::Framing;
use crate::memory;
use crate::protocol::request::Argv;
use crate::rdb::value_decoder::Limits;
use crate::snapshot::loading::{self, Expired, Loaded};
use crate::snapshot::walk::{Options, Walk};
use crate::snapshot::{Snapshot, UsageRule};

use super::Engine;
use super::intent::Intent;
use super::persistence::{Asker, Cancelled};
use super::spec::flag;
use super::table;

/// A save to be carried out.
pub struct SaveJob {
    pub number: u64,
    pub walk: Walk,
    pub path: PathBuf,
    pub incremental_sync: bool,
    /// To be looked at between chunks: somebody may not want the file any more.
    pub cancelled: Cancelled,
    /// To be held while the file is written.
    pub turn: Arc<Mutex<()>>,
}

/// Between two warnings that what is applied cannot be saved.
const UNSAVED_WARNING_PERIOD: Duration = Duration::from_secs(10);

impl Engine {
    /// The dataset and its position at this moment, in time that does not depend on its size.
    ///
    /// Drop it elsewhere: whoever holds the last reference to what has changed since frees it.
    pub fn take_snapshot(&mut self) -> Snapshot {
        let started = self.clock.monotonic();
        let snapshot = Snapshot {
            picture: self.keyspace.picture(),
            position: self.snapshot_position(),
            taken_at: self.now,
            used_memory_bytes: memory::used_bytes(),
            usage: self.usage_rule(),
        };
        let took = self.clock.monotonic().saturating_sub(started);
        self.persistence.last_start_nanos = took.as_nanos() as u64;
        self.persistence.snapshots += 1;
        snapshot
    }

    /// Asks for a save to the RDB file; `client` waits for its end, if one is given. No save may be running.
    pub fn begin_save(&mut self, client: Option<ClientKey>) {
        self.begin_save_for(client.map_or(Asker::Nobody, Asker::Save));
    }

    pub fn begin_save_for(&mut self, asker: Asker) {
        if asker == Asker::Nobody {
            log::info!("Background saving started");
        }
        self.persistence.begin(asker, self.monotonic);
        match asker {
            Asker::Save(client) | Asker::Flush(client) => self.wait_for_task(client),
            Asker::Nobody | Asker::Task => {}
        }
        if matches!(asker, Asker::Nobody | Asker::Save(_)) {
            let job = self.prepare_save();
            self.persistence.due.extend(job);
        }
        self.intents.push(Intent::Save);
    }

    /// What a save that was begun needs to be carried out.
    pub fn take_save(&mut self) -> Option<SaveJob> {
        self.prepare_save().or_else(|| self.persistence.due.pop())
    }

    /// Takes the snapshot of the running save, unless that is done.
    fn prepare_save(&mut self) -> Option<SaveJob> {
        self.persistence
            .running
            .as_ref()
            .filter(|save| !save.taken)?;
        let walk = Walk::new(self.take_snapshot(), Options::of(&self.config));
        let (keys_total, dirty) = (self.keyspace.len() as u64, self.persistence.dirty);
        let path = self.rdb_path();
        let save = self.persistence.running.as_mut()?;
        save.taken = true;
        save.copied_at_start = memory::copied_bytes();
        save.keys_total = keys_total;
        save.dirty_at_start = dirty;
        save.progress = walk.progress();
        Some(SaveJob {
            number: save.number,
            walk,
            path,
            incremental_sync: self.config.rdb_save_incremental_fsync,
            cancelled: save.cancelled.clone(),
            turn: Arc::clone(&self.persistence.turn),
        })
    }

    /// A save has ended, well or with an error that has been logged.
    pub fn end_save(&mut self, number: u64, ok: bool) {
        let (now, monotonic) = (self.now, self.monotonic);
        let Some(save) = self.persistence.finish(number, ok, now, monotonic) else {
            return;
        };
        match save.asker {
            Asker::Nobody if ok => log::info!("Background saving terminated with success"),
            Asker::Nobody => log::warn!("Background saving error"),
            Asker::Save(client) if !ok => self.unblock(client, |reply| reply.error("ERR")),
            Asker::Save(client) | Asker::Flush(client) => {
                self.unblock(client, |reply| reply.ok());
            }
            Asker::Task => {}
        }
    }

    /// Gives up the oldest snapshots until none retains more than `snapshot-retained-bytes-max`.
    pub fn limit_retained_bytes(&mut self) {
        let limit = self.config.snapshot_retained_bytes_max;
        if limit == 0 {
            return;
        }
        loop {
            let save = self.persistence.running.as_ref();
            let save = save.filter(|save| save.taken);
            let save = save.map(|save| save.copied_at_start);
            let rewrite = self.rewrites.copied_at_start();
            let walk = self.oldest_walk();
            // The oldest retains what any other does, and more.
            let Some(oldest) = save.into_iter().chain(rewrite).chain(walk).min() else {
                return;
            };
            let retained = memory::copied_bytes() - oldest;
            if retained <= limit {
                return;
            }
            let reason =
                format!("it retains {retained} bytes, snapshot-retained-bytes-max allows {limit}");
            if save == Some(oldest) {
                log::warn!("The snapshot being saved is given up: {reason}");
                self.abandon_save();
            } else if rewrite == Some(oldest) {
                self.fail_rewrite(format!("its snapshot is given up: {reason}"));
            } else {
                log::warn!("The snapshot for replicas is given up: {reason}");
                self.give_oldest_walk_up();
            }
        }
    }

    /// Gives up the running save, if there is one: what it would have written is not wanted any more.
    pub fn abandon_save(&mut self) {
        let Some(save) = self.persistence.abandon() else {
            return;
        };
        log::info!("Background saving abandoned");
        match save.asker {
            Asker::Save(client) => self.unblock(client, |reply| reply.error("ERR")),
            Asker::Flush(client) => self.unblock(client, |reply| reply.ok()),
            Asker::Nobody | Asker::Task => {}
        }
    }

    /// While nothing can be saved: whether this request of our master must not be applied. A replica that went on would be taken for one
    /// that has on disk what it has acknowledged.
    pub fn refuses_unsaved(&mut self, argv: Argv) -> bool {
        let found = table::lookup(argv).command(argv);
        if !found.is_ok_and(|command| command.spec.has(flag::WRITE)) {
            return false;
        }
        if !self.config.replica_ignore_disk_write_errors {
            self.intents.push(Intent::GiveUp {
                reason: "The master's writes cannot be saved here, and replica-ignore-disk-write-errors is no: giving up",
            });
            return true;
        }
        let (now, warned) = (self.monotonic, &mut self.persistence.warned_unsaved);
        if warned.is_none_or(|at| now.saturating_sub(at) >= UNSAVED_WARNING_PERIOD) {
            *warned = Some(now);
            log::warn!("Applying the master's writes although they cannot be saved here");
        }
        false
    }

    /// What FLUSHALL means for the RDB file: a running save is given up, and where there are save points the empty dataset is
    /// saved. True if `client` waits for that: its answer, OK, comes then.
    pub fn save_after_flush(&mut self, client: ClientKey) -> bool {
        self.abandon_save();
        if self.config.save.is_empty() {
            return false;
        }
        let may_wait = !self.in_exec && !self.clients.get(client).session.is_master();
        self.begin_save_for(if may_wait {
            Asker::Flush(client)
        } else {
            Asker::Task
        });
        may_wait
    }

    /// Where the dataset is saved.
    pub fn rdb_path(&self) -> PathBuf {
        self.config.dir.join(&self.config.dbfilename)
    }

    /// What loading a dataset with the present settings means. `payload_bytes` is its length, where that is known.
    pub fn load_options(&self, expired: Expired, payload_bytes: Option<u64>) -> loading::Options {
        loading::Options {
            databases: self.keyspace.count(),
            expired,
            now: self.now,
            access: self.access_rule(),
            limits: Limits::of(&self.config),
            verify_checksum: self.config.rdbchecksum,
            payload_bytes,
        }
    }

    /// Puts a dataset from the RDB file in place of the present one. Keys that were dropped because their time had passed are
    /// deleted on replicas too, if `tells` says that these have them.
    pub fn install(&mut self, loaded: Loaded, tells: bool) {
        self.replace_keyspace(loaded.keyspace);
        self.persistence.count_load(loaded.counts);
        if tells && !self.is_replica() && self.journal.is_active() {
            self.unit.recording = true;
            for (db, key) in &loaded.expired_keys {
                self.unit.add_effect(*db, &[b"DEL", key]);
            }
            self.unit.effects.finish(Framing::Apart, &mut self.journal);
        }
    }

    fn wait_for_task(&mut self, client: ClientKey) {
        if let Some(client) = self.clients.find_mut(client) {
            client.session.blocked = Some(Blocked::ForTask);
        }
    }

    fn usage_rule(&self) -> UsageRule {
        match self.config.maxmemory_policy {
            MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::AllkeysLru => UsageRule::Idle,
            MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu => UsageRule::Frequency {
                decay_minutes: self.config.lfu_decay_time,
            },
            _ => UsageRule::Unwritten,
        }
    }
}
