//! The engine: all state behind one lock. No await, no I/O, nothing that takes long.
//!
//! A connection's task calls [`Engine::execute`] for each request while it holds the lock; the reply lands in the client's
//! outbox, the effect in the journal. What the engine cannot do itself (start a snapshot, connect to a master, stop) it
//! asks of the tasks: an [`Intent`].
//!
//! Files in reading order: [`spec`] what a command is, [`table`] all of them, [`dispatch`] the road of each request,
//! [`data`] what data commands see, [`unit`] what a command has changed, [`transaction`], [`watch`], [`periodic`].

pub mod connections;
pub mod data;
pub mod dispatch;
pub mod error;
pub mod following;
pub mod help;
pub mod intent;
pub mod pause;
pub mod periodic;
pub mod persistence;
pub mod publish;
pub mod replication;
pub mod snapshots;
pub mod scan;
pub mod spec;
pub mod table;
pub mod transaction;
pub mod transaction_commands;
pub mod unit;
pub mod watch;

use std::time::Duration;

use crate::clients::{ClientKey, Clients};
use crate::clock::{Clock, UnixMillis};
use crate::config::Config;
use crate::config::values::MaxmemoryPolicy;
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::keyspace::access::AccessRule;
use crate::protocol::reply::ReplyBuffer;
use crate::pubsub::PubSub;
use crate::random::Random;
use crate::replication::identity::Identity;
use crate::stats::Stats;
use crate::stats::command_stats::Histogram;
use crate::stats::slowlog::Slowlog;

use data::{Data, DataCounters, ExpiryRule, Garbage};
use intent::Intent;
use pause::Pauses;
use persistence::Persistence;
use replication::Replication;
use unit::Unit;
use watch::Watched;

/// All state of a node.
pub struct Engine {
    pub clock: Clock,
    /// The wall clock when the running batch began: one moment for all that it executes.
    pub now: UnixMillis,
    /// The monotonic clock at the same moment.
    pub monotonic: Duration,
    pub started_at: UnixMillis,
    pub started_monotonic: Duration,
    pub run_id: [u8; 40],
    pub config: Config,
    /// The file that CONFIG REWRITE writes to.
    pub config_file: Option<std::path::PathBuf>,
    pub random: Random,
    pub keyspace: Keyspace,
    pub counters: DataCounters,
    pub unit: Unit,
    pub journal: Journal,
    pub persistence: Persistence,
    pub replication: Replication,
    pub clients: Clients,
    pub monitors: Vec<ClientKey>,
    pub pubsub: PubSub,
    pub watched: Watched,
    pub pauses: Pauses,
    pub stats: Stats,
    pub slowlog: Slowlog,
    /// How long the lock was held, each time.
    pub held: Histogram,
    pub garbage: Vec<Garbage>,
    /// What tasks are asked to do; taken by whoever releases the lock.
    pub intents: Vec<Intent>,
    /// A transaction is being executed: nothing blocks.
    pub in_exec: bool,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
}

/// What a node command is given: the whole engine, and who asked.
pub struct Node<'a> {
    pub engine: &'a mut Engine,
    pub client: ClientKey,
}

impl Engine {
    pub fn new(config: Config, clock: Clock, mut random: Random) -> Self {
        let run_id = random.hex40();
        let now = clock.unix_millis();
        let monotonic = clock.monotonic();
        Engine {
            now,
            monotonic,
            started_at: now,
            started_monotonic: monotonic,
            run_id,
            keyspace: Keyspace::new(config.databases as usize),
            counters: DataCounters::default(),
            unit: Unit::default(),
            journal: Journal::new(Default::default()),
            persistence: Persistence::new(now),
            replication: Replication::new(&config, Identity::new(&mut random)),
            in_exec: false,
            config_file: None,
            clients: Clients::default(),
            monitors: Vec::new(),
            pubsub: PubSub::default(),
            watched: Watched::default(),
            pauses: Pauses::default(),
            stats: Stats::new(table::all().len()),
            slowlog: Slowlog::default(),
            held: Histogram::default(),
            garbage: Vec::new(),
            intents: Vec::new(),
            active_expire: true,
            clock,
            config,
            random,
        }
    }

    /// Reads the clock: called once when a batch begins.
    pub fn refresh_time(&mut self) {
        self.now = self.clock.unix_millis();
        self.monotonic = self.clock.monotonic();
    }

    /// True while this node follows a master.
    pub fn is_replica(&self) -> bool {
        self.config.replicaof.is_some()
    }

    /// The view of a data command that runs for `client` in `db`.
    pub fn data(
        &mut self,
        db: usize,
        expiry_rule: ExpiryRule,
        access_rule: AccessRule,
    ) -> Data<'_> {
        Data {
            keyspace: &mut self.keyspace,
            db,
            now: self.now,
            config: &self.config,
            random: &mut self.random,
            expiry_rule,
            access_rule,
            unit: &mut self.unit,
            counters: &mut self.counters,
            watched: &mut self.watched,
            garbage: &mut self.garbage,
        }
    }

    /// What becomes of expired keys that ordinary clients meet now.
    pub fn expiry_rule(&self) -> ExpiryRule {
        if self.is_replica() || self.pauses.stop_expiry(self.monotonic) {
            ExpiryRule::Hide
        } else {
            ExpiryRule::Delete
        }
    }

    /// How accesses are noted under the eviction policy in force.
    pub fn access_rule(&self) -> AccessRule {
        if matches!(
            self.config.maxmemory_policy,
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu
        ) {
            AccessRule::Lfu {
                log_factor: self.config.lfu_log_factor as u32,
                decay_minutes: self.config.lfu_decay_time as u32,
            }
        } else {
            AccessRule::Lru
        }
    }

    /// Appends bytes to a client's output and wakes its task.
    pub fn send(&mut self, client: ClientKey, write: impl FnOnce(&mut ReplyBuffer)) {
        if let Some(client) = self.clients.find_mut(client) {
            write(&mut client.outbox.buffer);
            client.wake();
        }
    }
}
