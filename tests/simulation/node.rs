//! One node: a real engine, and its tasks as they are in `src/tasks`, over the network in memory.
//!
//! What outlives a process is its disk (the newest complete RDB file) and its settings. A process is a group of tasks: a crash
//! drops them wherever they stand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sluice::clock::{Clock, UnixMillis};
use sluice::config::Config;
use sluice::engine::Engine;
use sluice::engine::intent::Intent;
use sluice::engine::resuming::Past;
use sluice::journal::position::{Offset, Position, ReplId};
use sluice::random::Random;
use sluice::snapshot::Snapshot;
use sluice::snapshot::loading::{Expired, Loader};
use sluice::snapshot::walk::{Options, Walk};

use crate::follow;
use crate::full_sync::{self, Transfers};
use crate::network::{Network, Socket};
use crate::oracle::Oracle;
use crate::serve;
use crate::time::{Group, Sim};
use crate::trace;

/// A machine with its disk, whether its process runs or not.
pub struct Node {
    pub index: usize,
    pub name: &'static str,
    pub sim: Sim,
    pub network: Rc<RefCell<Network>>,
    pub oracle: Rc<RefCell<Oracle>>,
    pub clock: Clock,
    /// What the process is started with.
    pub config: RefCell<Config>,
    /// The RDB file.
    pub disk: RefCell<Option<Bytes>>,
    process: RefCell<Option<Process>>,
    pub sabotage: Cell<Sabotage>,
    /// Payloads loaded and processes started: only these may take an offset back.
    pub restarts: Cell<u64>,
    /// Payloads loaded.
    pub full_syncs: Cell<u64>,
    /// When a replica's connection ended here.
    pub last_departure: Cell<Option<Duration>>,
    /// How long a round of the clockwork is.
    pub round: Cell<Duration>,
}

struct Process {
    engine: Engine,
    group: Group,
    transfers: Transfers,
}

/// Rules broken on purpose, to see that the checks see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    #[default]
    None,
    /// A byte of the stream is lost between socket and link.
    DropByte,
    /// Some bytes of the stream are executed a second time.
    Repeat,
    /// A master takes its replica's word before it is given.
    AssumeAck,
    /// A replica acknowledges what it has not executed.
    LieInAck,
    /// Half a snapshot is put in place of the dataset.
    HalfSnapshot,
    /// Replicas delete by their own clock what has expired.
    ExpireOnReplica,
    /// The stream goes on behind the mark without waiting for the ACK.
    SkipAckGate,
    /// Keys expire on the master without a word.
    ForgetExpiry,
}

impl Node {
    pub fn new(
        index: usize,
        sim: &Sim,
        network: &Rc<RefCell<Network>>,
        oracle: &Rc<RefCell<Oracle>>,
        config: Config,
        skew_ms: i64,
        round: Duration,
    ) -> Rc<Self> {
        let clock = Clock::manual(UnixMillis(EPOCH_MS + skew_ms));
        sim.add_clock(clock.clone());
        Rc::new(Node {
            index,
            name: NAMES[index],
            sim: sim.clone(),
            network: network.clone(),
            oracle: oracle.clone(),
            clock,
            config: RefCell::new(config),
            disk: RefCell::default(),
            process: RefCell::default(),
            sabotage: Cell::default(),
            restarts: Cell::new(0),
            full_syncs: Cell::new(0),
            last_departure: Cell::new(None),
            round: Cell::new(round),
        })
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        trace::with(self.sim.now(), || self.name.to_owned(), what);
    }

    /// As [`Node::note`], for what goes to node `peer`.
    pub fn note_to(&self, peer: usize, what: impl FnOnce() -> String) {
        trace::with(
            self.sim.now(),
            || format!("{} -> {}", self.name, NAMES[peer]),
            what,
        );
    }

    pub fn is_running(&self) -> bool {
        self.process.borrow().is_some()
    }

    /// The door to the engine, which knows nothing of waiting: what `EngineLock::with` does. None while nothing runs.
    pub fn try_with<R>(self: &Rc<Self>, work: impl FnOnce(&mut Engine) -> R) -> Option<R> {
        let mut process = self.process.borrow_mut();
        let engine = &mut process.as_mut()?.engine;
        trace::speaker(self.name, self.sim.now());
        engine.refresh_time();
        let result = work(engine);
        let intents = std::mem::take(&mut engine.intents);
        engine.garbage.clear();
        engine.journal.publish();
        drop(process);
        for intent in intents {
            self.conduct(intent);
        }
        Some(result)
    }

    /// As [`Node::try_with`], for tasks of the process itself.
    pub fn with<R>(self: &Rc<Self>, work: impl FnOnce(&mut Engine) -> R) -> R {
        self.try_with(work)
            .expect("a task of a process lives as long as its engine")
    }

    /// As [`Node::with`], but others may come first.
    pub async fn lock<R>(self: &Rc<Self>, work: impl FnOnce(&mut Engine) -> R) -> R {
        self.sim.contend().await;
        self.with(work)
    }

    pub fn spawn(&self, name: &str, future: impl Future<Output = ()> + 'static) {
        let group = self.process.borrow().as_ref().map(|process| process.group);
        if let Some(group) = group {
            self.sim
                .spawn(group, &format!("{} {name}", self.name), future);
        }
    }

    pub fn transfers(&self) -> Transfers {
        let process = self.process.borrow();
        process
            .as_ref()
            .map(|process| process.transfers.clone())
            .unwrap_or_default()
    }

    /// What the conductor does.
    fn conduct(self: &Rc<Self>, intent: Intent) {
        match intent {
            Intent::DriveLink => self.with(|engine| engine.wake_link()),
            Intent::FeedReplicas => {
                let (due, abandoned) = self.with(|engine| engine.take_due_snapshots());
                for snapshot in abandoned {
                    self.transfers().cancel(snapshot);
                }
                for (plan, snapshot) in due {
                    full_sync::start(self, plan, snapshot);
                }
            }
            _ => {}
        }
    }

    /// Starts a process from the disk.
    pub fn start(self: &Rc<Self>) {
        if self.is_running() {
            return;
        }
        let random = Random::from_seed(self.sim.next_u64());
        let config = self.config.borrow().clone();
        self.note(|| match &config.replicaof {
            Some(master) => format!("starts, following {}", master.host),
            None => "starts".into(),
        });
        let engine = Engine::new(config, self.clock.clone(), random);
        *self.process.borrow_mut() = Some(Process {
            engine,
            group: self.sim.new_group(),
            transfers: Transfers::default(),
        });
        self.restarts.set(self.restarts.get() + 1);
        self.load_at_start();
        let node = self.clone();
        self.spawn("link", follow::run(node));
        let node = self.clone();
        self.spawn("clockwork", tick(node));
    }

    /// What `load::at_start` does.
    fn load_at_start(self: &Rc<Self>) {
        let file = self.disk.borrow().clone();
        let Some(file) = file else {
            return self.with(|engine| engine.resume_history(None, Past::default(), &[]));
        };
        let options = self.with(|engine| {
            let expired = match engine.is_replica() {
                true => Expired::Keep,
                false => Expired::Drop { list: true },
            };
            engine.load_options(expired, Some(file.len() as u64))
        });
        let mut loader = Loader::new(options).expect("threads can be started");
        let loaded = loader.feed(&file).and_then(|()| loader.finish());
        match loaded {
            Ok(loaded) => {
                self.note(|| {
                    let keys = loaded.counts.keys;
                    match loaded.about.position {
                        Some(Position { id, offset, .. }) => {
                            format!("has loaded {keys} keys, at {offset} of {id}")
                        }
                        None => format!("has loaded {keys} keys"),
                    }
                });
                self.with(|engine| {
                    engine.keyspace = loaded.keyspace;
                    engine.resume_history(
                        loaded.about.position,
                        Past::default(),
                        &loaded.expired_keys,
                    );
                });
            }
            Err(error) => self.sim.fail(format!(
                "{}: its own file does not load: {error}",
                self.name
            )),
        }
    }

    /// Ends the process at once; its connections end with it, or go silent if the power has failed.
    pub fn crash(self: &Rc<Self>, power_fails: bool) {
        self.note(|| match power_fails {
            true => "loses power".into(),
            false => "crashes".into(),
        });
        self.end(power_fails);
    }

    fn end(self: &Rc<Self>, power_fails: bool) {
        let Some(process) = self.process.borrow_mut().take() else {
            return;
        };
        // What CONFIG REWRITE keeps.
        *self.config.borrow_mut() = process.engine.config.clone();
        if power_fails {
            for wire in self.network.borrow().wires() {
                let mut wire = wire.borrow_mut();
                for side in [0, 1] {
                    if wire.ends[side] == self.index {
                        wire.silence(side);
                    }
                }
            }
        }
        self.sim.kill(process.group);
    }

    /// Saves, then ends.
    pub fn stop(self: &Rc<Self>) {
        let loading = self.try_with(|engine| engine.persistence.loading.is_some());
        if loading == Some(false)
            && let Some(snapshot) = self.take_snapshot()
        {
            *self.disk.borrow_mut() = Some(self.write(snapshot));
        }
        self.note(|| "stops".into());
        self.end(false);
    }

    /// A snapshot to disk, of which the file is there some time later.
    pub fn save_in_background(self: &Rc<Self>) {
        let Some(snapshot) = self.take_snapshot() else {
            return;
        };
        let node = self.clone();
        self.spawn("save", async move {
            node.sim.sleep(node.sim.millis_below(300)).await;
            let file = node.write(snapshot);
            node.note(|| format!("has saved {} bytes", file.len()));
            *node.disk.borrow_mut() = Some(file);
        });
    }

    fn take_snapshot(self: &Rc<Self>) -> Option<Snapshot> {
        let mut snapshot = self.try_with(|engine| engine.take_snapshot())?;
        // The memory of this process is that of all nodes together, and no run's is like another's.
        snapshot.used_memory_bytes = 0;
        if let Some(position) = snapshot.position {
            self.oracle
                .borrow_mut()
                .note_picture(self, position, &snapshot.picture);
        }
        Some(snapshot)
    }

    fn write(self: &Rc<Self>, snapshot: Snapshot) -> Bytes {
        Bytes::from(walk(snapshot, &self.config.borrow()).concat())
    }

    /// Takes a connection in, as `accept` does; none runs, none is taken.
    pub fn accept(self: &Rc<Self>, socket: Socket) {
        let node = self.clone();
        self.spawn("connection", serve::serve(node, socket));
    }

    pub fn is_master(self: &Rc<Self>) -> bool {
        self.try_with(|engine| !engine.is_replica()) == Some(true)
    }

    /// Whose history, and how far.
    pub fn place(self: &Rc<Self>) -> Option<(ReplId, Offset)> {
        self.try_with(|engine| (engine.replication.identity.id(), engine.journal.end()))
    }

    pub fn position(self: &Rc<Self>) -> Option<Position> {
        self.try_with(|engine| engine.replication.following.position())
            .flatten()
    }
}

/// All bytes of a snapshot.
pub fn walk(snapshot: Snapshot, config: &Config) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let walked = Walk::new(snapshot, Options::of(config)).run(|chunk| {
        chunks.push(chunk);
        Ok::<(), std::convert::Infallible>(())
    });
    match walked {
        Ok(_) => chunks,
        Err(never) => match never {},
    }
}

/// What `tick` does.
async fn tick(node: Rc<Node>) {
    loop {
        node.lock(|engine| engine.tick()).await;
        for _ in 0..300 {
            if node.sabotage.get() == Sabotage::ForgetExpiry {
                forget_expired(&node);
            }
            if !node.lock(|engine| engine.expire_some()).await {
                break;
            }
            node.sim.sleep(Duration::from_micros(300)).await;
        }
        if node.sabotage.get() == Sabotage::ExpireOnReplica {
            forget_expired(&node);
        }
        node.sim.sleep(node.round.get()).await;
    }
}

fn forget_expired(node: &Rc<Node>) {
    node.with(|engine| {
        for db in 0..engine.keyspace.count() {
            let mut expired = Vec::new();
            for entry in engine.keyspace.db(db).table().iter() {
                if entry.expiry().is_some_and(|at| at < engine.now) {
                    expired.push(entry.key().to_vec());
                }
            }
            for key in expired {
                let key = sluice::keyspace::Key::new(&key);
                engine.keyspace.db_mut(db).remove(key);
            }
        }
    });
}

pub const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Node `index` listens here.
pub fn port_of(index: usize) -> u16 {
    7001 + index as u16
}

pub fn node_at(port: u16) -> usize {
    usize::from(port - 7001)
}

/// An ordinary day.
pub const EPOCH_MS: i64 = 1_750_000_000_000;
