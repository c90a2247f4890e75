//! The engine: all state behind one lock. No await, no I/O, nothing that takes long.
//!
//! A connection's task calls [`Engine::execute`] for each request while it holds the lock; the reply lands in the client's
//! outbox, the effect in the journal. What the engine cannot do itself (start a snapshot, connect to a master, stop) it
//! asks of the tasks: an [`Intent`].
//!
//! Files in reading order: [`spec`] what a command is, [`table`] all of them, [`dispatch`] the road of each request,
//! [`data`] what data commands see, [`mod@unit`] what a command has changed, [`transaction`], [`watch`], [`periodic`].
//! What COMMAND tells about a command beyond its row: [`catalogue`], [`key_spec`], [`categories`].

pub mod aof;
pub mod aof_commands;
pub mod archive;
pub mod authentication;
pub mod catalogue;
pub mod categories;
pub mod collection;
pub mod command_docs;
pub mod connections;
pub mod data;
pub mod debug_commands;
pub mod disk_waits;
pub mod dispatch;
pub mod error;
pub mod following;
pub mod help;
pub mod historian;
pub mod intent;
pub mod introspection_commands;
pub mod key_spec;
pub mod log_role;
pub mod pause;
pub mod periodic;
pub mod persistence;
pub mod publish;
pub mod random_count;
pub mod replaying;
pub mod replication;
pub mod replication_info;
pub mod resuming;
pub mod rewrites;
pub mod rewriting;
pub mod scan;
pub mod shutdown_commands;
pub mod snapshots;
pub mod spec;
pub mod table;
pub mod transaction;
pub mod transaction_commands;
#[cfg(test)]
pub mod trial;
pub mod unit;
pub mod watch;

use std::path::PathBuf;
use std::time::Duration;

use crate::clients::{ClientKey, Clients};
use crate::clock::{Clock, UnixMillis};
use crate::config::Config;
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::keyspace::access::AccessRule;
use crate::keyspace::local_expiry::LocalExpiries;
use crate::memory;
use crate::protocol::reply::ReplyBuffer;
use crate::pubsub::PubSub;
use crate::random::Random;
use crate::replication::identity::Identity;
use crate::stats::Stats;
use crate::stats::histogram::Histogram;
use crate::stats::latency::{Latency, Sample};
use crate::stats::slowlog::Slowlog;

use aof::Aof;
use data::{Data, DataCounters, ExpiryRule, Garbage};
use intent::Intent;
use pause::Pauses;
use persistence::Persistence;
use replication::Replication;
use rewrites::Rewrites;
use unit::Unit;
use watch::Watched;

/// All state of a node.
pub struct Engine {
    pub clock: Clock,
    /// The wall clock when the running batch began: one moment for all that it executes.
    pub now: UnixMillis,
    /// The monotonic clock at the same moment.
    pub monotonic: Duration,
    /// When the command before ended, or the lock was taken: the next command starts then, and one look at the clock serves
    /// both.
    pub(super) last_moment: Duration,
    pub started_at: UnixMillis,
    pub started_monotonic: Duration,
    /// Bytes that were allocated before there was any data.
    pub started_memory_bytes: u64,
    pub run_id: [u8; 40],
    pub config: Config,
    /// What the files and the command line said, or the last CONFIG REWRITE wrote.
    pub config_loaded: Config,
    /// The file that CONFIG REWRITE writes.
    pub config_file: Option<PathBuf>,
    pub random: Random,
    pub keyspace: Keyspace,
    pub counters: DataCounters,
    pub unit: Unit,
    pub journal: Journal,
    pub persistence: Persistence,
    pub rewrites: Rewrites,
    pub aof: Aof,
    pub replication: Replication,
    pub clients: Clients,
    pub monitors: Vec<ClientKey>,
    pub pubsub: PubSub,
    pub watched: Watched,
    pub pauses: Pauses,
    pub stats: Stats,
    pub slowlog: Slowlog,
    pub latency: Latency,
    /// How long the lock was held, each time.
    pub held: Histogram,
    pub garbage: Vec<Garbage>,
    /// Of a writable replica.
    pub local_expiries: LocalExpiries,
    /// What tasks are asked to do; taken by whoever releases the lock.
    pub intents: Vec<Intent>,
    /// A transaction is being executed: nothing blocks.
    pub in_exec: bool,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// Places among the words of the running request that neither SLOWLOG nor MONITOR shows: passwords.
    pub redacted: Vec<usize>,
    /// A task ends the process, once replicas and the disk let it; SHUTDOWN ABORT takes this back.
    pub shutting_down: bool,
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
            last_moment: monotonic,
            started_at: now,
            started_monotonic: monotonic,
            started_memory_bytes: memory::used_bytes(),
            run_id,
            keyspace: Keyspace::new(config.databases as usize),
            counters: DataCounters::default(),
            unit: Unit::default(),
            journal: Journal::new(Default::default()),
            persistence: Persistence::new(now),
            rewrites: Rewrites::default(),
            aof: Aof::default(),
            replication: Replication::new(&config, Identity::new(&mut random)),
            clients: Clients::default(),
            monitors: Vec::new(),
            pubsub: PubSub::default(),
            watched: Watched::default(),
            pauses: Pauses::default(),
            stats: Stats::new(table::all().len()),
            slowlog: Slowlog::default(),
            latency: Latency::default(),
            held: Histogram::default(),
            garbage: Vec::new(),
            local_expiries: LocalExpiries::default(),
            intents: Vec::new(),
            active_expire: true,
            redacted: Vec::new(),
            in_exec: false,
            shutting_down: false,
            config_loaded: config.clone(),
            config_file: None,
            clock,
            config,
            random,
        }
    }

    /// Reads the clock: called once when a batch begins.
    pub fn refresh_time(&mut self) {
        self.now = self.clock.unix_millis();
        self.monotonic = self.clock.monotonic();
        self.last_moment = self.monotonic;
    }

    /// Notes for the latency monitor that something took long, if it did.
    #[inline]
    pub fn note_latency(&mut self, event: &'static str, took: Duration) {
        let threshold_ms = self.config.latency_monitor_threshold;
        if threshold_ms > 0 && took.as_millis() >= u128::from(threshold_ms) {
            let sample = Sample {
                unix_seconds: self.now.seconds(),
                millis: took.as_millis() as u64,
            };
            self.latency.note(event, sample);
        }
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
            local_expiries: &mut self.local_expiries,
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
        AccessRule::of(&self.config)
    }

    /// Appends bytes to a client's output and wakes its task.
    pub fn send(&mut self, client: ClientKey, write: impl FnOnce(&mut ReplyBuffer)) {
        if let Some(client) = self.clients.find_mut(client) {
            write(&mut client.outbox.buffer);
            client.wake();
        }
    }
}
