//! Snapshots as the engine gives them out, and what a dataset on its way in has to be told.

use crate::config::values::MaxmemoryPolicy;
use crate::memory;
use crate::rdb::value_decoder::Limits;
use crate::snapshot::loading::{self, Expired};
use crate::snapshot::{Snapshot, UsageRule};

use super::Engine;

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

    fn usage_rule(&self) -> UsageRule {
        match self.config.maxmemory_policy {
            MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::AllkeysLru => UsageRule::Idle,
            MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu => UsageRule::Frequency {
                decay_minutes: self.config.lfu_decay_time as u32,
            },
            _ => UsageRule::Unwritten,
        }
    }
}
