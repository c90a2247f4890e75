//! A world: nodes, network, clients, and what befalls them, all from one seed.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use sluice::clients::Closing;
use sluice::config::Config;
use sluice::config::values::{DisklessLoad, MasterAddress};
use sluice::engine::pause::{PauseMode, Purpose};

use crate::clients::{self, Client, DATABASES, Habits};
use crate::network::{Network, Weather};
use crate::node::{NAMES, Node, Sabotage, port_of};
use crate::oracle::Oracle;
use crate::time::{Group, Sim};
use crate::trace;

/// What a run is like. Weights say how often a thing befalls the nodes, compared with the others; 0 is never.
#[derive(Clone, Debug)]
pub struct Options {
    pub nodes: usize,
    pub seconds: u64,
    pub weather: Weather,
    pub habits: Habits,
    /// One lock in so many is waited for; 0 is none.
    pub contention_in: u64,
    pub events_ms_max: u64,
    pub round_ms: u64,
    pub clock_skew_ms_max: u64,
    pub cut: u64,
    pub half_open: u64,
    pub stall: u64,
    pub partition: u64,
    pub follow: u64,
    pub promote: u64,
    pub restart: u64,
    pub crash: u64,
    pub power_failure: u64,
    pub save: u64,
    pub kill_link: u64,
    pub kill_feed: u64,
    pub pause: u64,
    pub configure: u64,
    pub rest: u64,
    pub backlog_bytes: u64,
    pub backlog_ttl_seconds: u64,
    pub output_limit_bytes: u64,
    pub timeout_seconds: u32,
    pub sync_delay_seconds: u32,
}

impl Options {
    /// Each seed has dangers of its own: a run in which everything may happen finds less.
    pub fn of_seed(sim: &Sim) -> Self {
        let sometimes = |weight: u64| {
            if sim.once_in(2) {
                1 + sim.below(weight)
            } else {
                0
            }
        };
        let fat = sim.once_in(3);
        Options {
            nodes: 2 + sim.below(4) as usize,
            seconds: 4 + sim.below(12),
            weather: Weather {
                latency_ms_max: *sim.pick(&[1, 5, 30, 200]),
                connect_failure_in: *sim.pick(&[0, 0, 3, 10]),
                is_mute: sim.once_in(2),
                slow_in: *sim.pick(&[0, 0, 4]),
                slow_bytes_per_second: *sim.pick(&[1_000, 20_000]),
                torn_in: *sim.pick(&[0, 2]),
                crumbled_in: *sim.pick(&[0, 0, 0, 6]),
                window_bytes_max: *sim.pick(&[1_500, 64 * 1024]),
            },
            habits: Habits {
                clients: 1 + sim.below(3) as usize,
                think_ms_max: *sim.pick(&[20, 100, 400]),
                value_bytes_max: if fat { 2_000 } else { 12 },
                huge_in: *sim.pick(&[0, 0, 0, 60]),
                wait_in: *sim.pick(&[0, 4, 20]),
                transaction_in: *sim.pick(&[0, 2, 5]),
                databases: *sim.pick(&[1, 2, 4]),
            },
            contention_in: *sim.pick(&[0, 2, 8]),
            events_ms_max: *sim.pick(&[100, 700, 2000]),
            round_ms: *sim.pick(&[100, 100, 300]),
            clock_skew_ms_max: *sim.pick(&[0, 2000]),
            cut: sometimes(10),
            half_open: sometimes(3),
            stall: sometimes(4),
            partition: sometimes(3),
            follow: sometimes(5),
            promote: sometimes(3),
            restart: sometimes(3),
            crash: sometimes(3),
            power_failure: sometimes(1),
            save: sometimes(4),
            kill_link: sometimes(4),
            kill_feed: sometimes(4),
            pause: sometimes(2),
            configure: sometimes(2),
            rest: sometimes(2),
            backlog_bytes: *sim.pick(&[16 * 1024, 16 * 1024, 1024 * 1024]),
            backlog_ttl_seconds: *sim.pick(&[0, 2, 3600]),
            output_limit_bytes: *sim.pick(&[0, 20 * 1024]),
            timeout_seconds: *sim.pick(&[4, 4, 6]),
            sync_delay_seconds: *sim.pick(&[0, 0, 1]),
        }
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Summary {
    pub full_syncs: u64,
    pub partial_syncs: u64,
    pub agreements: u64,
    pub virtual_time: Duration,
}

pub struct World {
    pub sim: Sim,
    pub nodes: Rc<Vec<Rc<Node>>>,
    pub network: Rc<RefCell<Network>>,
    pub oracle: Rc<RefCell<Oracle>>,
    outside: Group,
    options: Options,
    stop: Rc<Cell<bool>>,
}

impl Options {
    /// Nothing befalls anybody.
    pub fn calm(nodes: usize) -> Self {
        Options {
            nodes,
            seconds: 0,
            weather: Weather {
                latency_ms_max: 0,
                ..Weather::CALM
            },
            habits: Habits {
                clients: 0,
                think_ms_max: 1,
                value_bytes_max: 1,
                huge_in: 0,
                wait_in: 0,
                transaction_in: 0,
                databases: 1,
            },
            contention_in: 0,
            events_ms_max: 0,
            round_ms: 100,
            clock_skew_ms_max: 0,
            cut: 0,
            half_open: 0,
            stall: 0,
            partition: 0,
            follow: 0,
            promote: 0,
            restart: 0,
            crash: 0,
            power_failure: 0,
            save: 0,
            kill_link: 0,
            kill_feed: 0,
            pause: 0,
            configure: 0,
            rest: 0,
            backlog_bytes: 1024 * 1024,
            backlog_ttl_seconds: 3600,
            output_limit_bytes: 0,
            timeout_seconds: 60,
            sync_delay_seconds: 0,
        }
    }
}

/// Something that may happen to the world at any moment.
type Happening = fn(&World);

impl World {
    pub fn new(sim: &Sim, options: Options) -> Self {
        let network = Rc::new(RefCell::new(Network::new(options.weather)));
        let oracle = Rc::new(RefCell::new(Oracle::default()));
        let nodes: Vec<_> = (0..options.nodes)
            .map(|index| {
                let config = config(sim, index, &options);
                let skew = sim.below(2 * options.clock_skew_ms_max + 1) as i64
                    - options.clock_skew_ms_max as i64;
                let round = Duration::from_millis(options.round_ms);
                let node = Node::new(index, sim, &network, &oracle, config, skew, round);
                oracle.borrow_mut().add(&node);
                node
            })
            .collect();
        sim.set_contention(options.contention_in);
        World {
            sim: sim.clone(),
            nodes: Rc::new(nodes),
            network,
            oracle,
            outside: sim.new_group(),
            options,
            stop: Rc::default(),
        }
    }

    /// Lives through the trouble.
    fn trouble(&self) {
        let sim = &self.sim;
        for node in self.nodes.iter() {
            if node.index > 0 {
                let master = sim.below(node.index as u64) as usize;
                node.config.borrow_mut().replicaof = Some(address(master));
            }
            node.start();
        }
        for _ in 0..self.options.habits.clients {
            let visit = clients::visit(
                sim.clone(),
                self.nodes.clone(),
                self.options.habits,
                self.stop.clone(),
            );
            sim.spawn(self.outside, "visitor", visit);
        }
        let end = Duration::from_secs(self.options.seconds);
        while sim.now() < end && sim.failure().is_none() {
            sim.run_for(sim.millis_below(self.options.events_ms_max));
            self.something_happens();
            for node in self.nodes.iter() {
                self.oracle.borrow_mut().observe(node);
                self.oracle.borrow_mut().check_acks(node);
            }
        }
    }

    fn something_happens(&self) {
        let options = &self.options;
        let happenings: [(u64, Happening); 15] = [
            (options.cut, Self::cut),
            (options.half_open, Self::half_open),
            (options.stall, Self::stall),
            (options.partition, Self::partition),
            (options.follow, Self::follow),
            (options.promote, Self::promote),
            (options.restart, Self::restart),
            (options.crash, Self::crash),
            (options.power_failure, Self::power_failure),
            (options.save, Self::save),
            (options.kill_link, Self::kill_link),
            (options.kill_feed, Self::kill_feed),
            (options.pause, Self::pause),
            (options.configure, Self::configure),
            (options.rest, Self::rest),
        ];
        let total: u64 = happenings.iter().map(|(weight, _)| weight).sum();
        let mut chosen = self.sim.below(total);
        for (weight, happening) in happenings {
            if chosen < weight {
                return happening(self);
            }
            chosen -= weight;
        }
    }

    fn any_node(&self) -> &Rc<Node> {
        self.sim.pick(&self.nodes)
    }

    fn any_wire(&self) -> Option<Rc<RefCell<crate::network::Wire>>> {
        let wires = self.network.borrow().wires();
        (!wires.is_empty()).then(|| self.sim.pick(&wires).clone())
    }

    fn note(&self, ends: [usize; 2], what: &str) {
        let who = || format!("{} -- {}", NAMES[ends[0]], NAMES[ends[1]]);
        trace::with(self.sim.now(), who, || what.to_owned());
    }

    fn cut(&self) {
        if let Some(wire) = self.any_wire() {
            self.note(wire.borrow().ends, "the connection is cut");
            wire.borrow_mut().cut();
        }
    }

    fn half_open(&self) {
        if let Some(wire) = self.any_wire() {
            let side = self.sim.below(2) as usize;
            let ends = wire.borrow().ends;
            self.note(
                [ends[side], ends[1 - side]],
                "goes silent in this direction",
            );
            wire.borrow_mut().silence(side);
        }
    }

    fn stall(&self) {
        if let Some(wire) = self.any_wire() {
            let (side, time) = (self.sim.below(2) as usize, self.sim.millis_below(1500));
            let ends = wire.borrow().ends;
            self.note([ends[side], ends[1 - side]], "stalls");
            wire.borrow_mut().stall(side, time);
        }
    }

    fn partition(&self) {
        let (one, other) = (self.any_node().index, self.any_node().index);
        if one == other {
            return;
        }
        let mut network = self.network.borrow_mut();
        if network.is_apart(one, other) {
            self.note([one, other], "reach each other again");
            network.heal(one, other);
        } else {
            self.note([one, other], "do not reach each other any more");
            network.part(one, other);
            for wire in network.between(one, other) {
                wire.borrow_mut().silence(0);
                wire.borrow_mut().silence(1);
            }
        }
    }

    /// REPLICAOF on `node`, at once; false if it is refused.
    fn replicaof(&self, node: &Rc<Node>, master: Option<usize>) -> bool {
        let Some(client) = Client::connect(node) else {
            return false;
        };
        let request = match master {
            Some(master) => format!("REPLICAOF {} {}", NAMES[master], port_of(master)),
            None => "REPLICAOF NO ONE".into(),
        };
        let reply = client.say_now(&request).unwrap_or_default();
        node.note(|| format!("> {request}: {}", trace::shown(&reply)));
        reply.starts_with(b"+")
    }

    fn follow(&self) {
        let (node, master) = (self.any_node(), self.any_node().index);
        if master != node.index {
            self.replicaof(node, Some(master));
        }
    }

    fn promote(&self) {
        self.replicaof(self.any_node(), None);
    }

    fn start_later(&self, node: &Rc<Node>) {
        // Who starts it again may have forgotten what it was.
        if self.sim.once_in(4) {
            node.config.borrow_mut().replicaof = None;
        }
        let (node, sim) = (node.clone(), self.sim.clone());
        let pause = self.sim.millis_below(2500);
        self.sim.spawn(self.outside, "operator", async move {
            sim.sleep(pause).await;
            node.start();
        });
    }

    fn restart(&self) {
        let node = self.any_node();
        if node.is_running() {
            node.stop();
            self.start_later(node);
        }
    }

    fn crash(&self) {
        let node = self.any_node();
        if node.is_running() {
            node.crash(false);
            self.start_later(node);
        }
    }

    fn power_failure(&self) {
        let node = self.any_node();
        if node.is_running() {
            node.crash(true);
            self.start_later(node);
        }
    }

    fn save(&self) {
        self.any_node().save_in_background();
    }

    fn kill(&self, which: fn(&sluice::clients::session::Session) -> bool) {
        let node = self.any_node();
        node.try_with(|engine| {
            for key in engine.clients.keys() {
                let client = engine.clients.get_mut(key);
                if which(&client.session) {
                    client.close(Closing::Now);
                }
            }
        });
    }

    fn kill_link(&self) {
        self.kill(|session| session.is_master());
    }

    fn kill_feed(&self) {
        self.kill(|session| session.is_replica());
    }

    fn pause(&self) {
        let mode = *self.sim.pick(&[PauseMode::Write, PauseMode::All]);
        let time = self.sim.millis_below(2500);
        let node = self.any_node();
        node.note(|| format!("pauses {mode:?} for {time:?}"));
        node.try_with(|engine| {
            let (now, until) = (engine.monotonic, engine.monotonic + time);
            engine.pauses.pause(Purpose::Client, mode, until, now);
        });
    }

    fn configure(&self) {
        let node = self.any_node();
        let config = config(&self.sim, node.index, &self.options);
        node.try_with(|engine| {
            engine.config.repl_diskless_sync = config.repl_diskless_sync;
            engine.config.repl_diskless_load = config.repl_diskless_load;
        });
    }

    fn rest(&self) {
        self.sim.run_for(self.sim.millis_below(4000));
    }

    /// Ends all trouble, makes one node the root of all others, and waits for them to agree.
    fn settle(&self) {
        let sim = &self.sim;
        self.stop.set(true);
        self.network.borrow_mut().heal_all();
        sim.run_for(Duration::from_millis(2500));
        for node in self.nodes.iter() {
            node.start();
        }
        let root = self.choose_root();
        self.gather_below(&root);
        if sim.failure().is_some() {
            return;
        }
        // It stays so: nobody comes and goes, and what is written now arrives.
        let attempts = self.attempts();
        let client = Client::connect(&root);
        if let Some(client) = client {
            client.say_now("SET last word");
        }
        sim.run_for(Duration::from_secs(8));
        self.agree(&root);
        sim.check(self.attempts() == attempts, || {
            "a replica came back though nothing had happened".into()
        });
        for node in self.nodes.iter() {
            self.oracle.borrow().compare_journals(node, &root);
        }
    }

    /// All follow `root`, some over others, and agree.
    fn gather_below(&self, root: &Rc<Node>) {
        let sim = &self.sim;
        trace::line(sim.now(), "", &format!("all follow {}", root.name));
        let mut placed = vec![root.index];
        while placed.len() < self.nodes.len() && sim.failure().is_none() {
            let all = self.nodes.iter().map(|node| node.index);
            let left: Vec<_> = all.filter(|index| !placed.contains(index)).collect();
            let (next, master) = (*sim.pick(&left), *sim.pick(&placed));
            self.insist(&self.nodes[next], Some(master));
            placed.push(next);
        }
        self.insist(root, None);
        self.agree(root);
    }

    /// Nodes change places again and again, one after the other, while links are lost and replicas restarted: no dataset is
    /// sent twice to the same node.
    fn change_places(&self) {
        let sim = &self.sim;
        for node in self.nodes.iter() {
            node.start();
        }
        for _ in 0..4 {
            let root = self.any_node();
            self.gather_below(root);
            for _ in 0..sim.below(30) {
                clients::write_once(root, &self.options.habits);
                sim.run_for(sim.millis_below(100));
                match sim.below(12) {
                    0 => self.cut(),
                    1 => self.kill_link(),
                    2 => self.kill_feed(),
                    3 => self.restart_leaf(),
                    _ => {}
                }
            }
            self.agree(root);
        }
        let loaded: u64 = self.nodes.iter().map(|node| node.full_syncs.get()).sum();
        sim.check(loaded == self.nodes.len() as u64 - 1, || {
            let nodes = self.nodes.len();
            format!("{loaded} full syncs where {nodes} nodes had one root after another")
        });
    }

    /// A replica that nobody follows is stopped and started. (Whoever follows it would need what its backlog held.)
    fn restart_leaf(&self) {
        let node = self.any_node();
        let follows = |other: &Rc<Node>| {
            other.try_with(|engine| engine.config.replicaof == Some(address(node.index)))
        };
        let is_followed = self.nodes.iter().any(|other| follows(other) == Some(true));
        if !is_followed && node.position().is_some() {
            node.stop();
            node.start();
        }
    }

    fn choose_root(&self) -> Rc<Node> {
        let masters: Vec<_> = self.nodes.iter().filter(|node| node.is_master()).collect();
        match masters.is_empty() || self.sim.once_in(4) {
            true => self.any_node().clone(),
            false => (*self.sim.pick(&masters)).clone(),
        }
    }

    /// REPLICAOF until it is taken: it is refused while a dataset is being loaded.
    fn insist(&self, node: &Rc<Node>, master: Option<usize>) {
        for _ in 0..600 {
            if self.replicaof(node, master) || self.sim.failure().is_some() {
                return;
            }
            self.sim.run_for(Duration::from_millis(100));
        }
        self.sim
            .fail(format!("{}: takes no REPLICAOF for a minute", node.name));
    }

    fn agree(&self, root: &Rc<Node>) {
        let sim = &self.sim;
        let patience = sim.now() + PATIENCE;
        loop {
            let mut unrest = None;
            for node in self.nodes.iter() {
                self.oracle.borrow_mut().observe(node);
                self.oracle.borrow_mut().check_acks(node);
                if unrest.is_none() {
                    let why = self.oracle.borrow().unrest(node, root);
                    unrest = why.map(|why| (node.name, why));
                }
            }
            if let (None, Some([one, other])) = (&unrest, self.network.borrow().deaf()) {
                let why = format!("has not noticed that {} is silent", NAMES[other]);
                unrest = Some((NAMES[one], why));
            }
            let Some((name, why)) = unrest else { return };
            if sim.failure().is_some() {
                return;
            }
            if sim.now() > patience {
                return sim.fail(format!("no agreement: {name}: {why}"));
            }
            sim.run_for(Duration::from_millis(97));
        }
    }

    /// How often links were made, or tried to be.
    fn attempts(&self) -> u64 {
        let attempts = |node: &Rc<Node>| {
            node.try_with(|engine| engine.replication.following.link().attempts().1)
        };
        self.nodes.iter().filter_map(attempts).sum()
    }

    fn syncs(&self) -> (u64, u64) {
        let stats = self
            .nodes
            .iter()
            .filter_map(|node| node.try_with(|engine| engine.replication.feeds.stats()));
        stats.fold((0, 0), |sum, stats| {
            (sum.0 + stats.full, sum.1 + stats.partial_ok)
        })
    }

    fn summary(&self) -> Summary {
        let (full_syncs, partial_syncs) = self.syncs();
        Summary {
            full_syncs,
            partial_syncs,
            agreements: self.oracle.borrow().agreements,
            virtual_time: self.sim.now(),
        }
    }

    /// Lives; what fails on the way, panics included, is the error.
    fn live(&self, life: impl FnOnce(&Self)) -> Result<Summary, String> {
        let options = || format!("{:?}", self.options);
        trace::with(Duration::ZERO, String::new, options);
        let lived = catch_unwind(AssertUnwindSafe(|| {
            life(self);
            self.summary()
        }));
        let summary = match lived {
            Ok(summary) => summary,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied());
                let text = format!("panic: {}", text.unwrap_or("without words"));
                trace::line(self.sim.now(), "!", &text);
                return Err(text);
            }
        };
        self.end();
        match self.sim.failure() {
            Some(failure) => Err(failure),
            None => Ok(summary),
        }
    }

    /// Ends everything: what refers to each other in circles is let go.
    pub fn end(&self) {
        for node in self.nodes.iter() {
            if node.is_running() {
                node.crash(false);
            }
        }
        self.sim.kill(self.outside);
        self.oracle.borrow_mut().forget();
    }
}

/// Lives one seed of trouble. The error says what did not hold.
pub fn run(
    seed: u64,
    sabotage: Sabotage,
    change: impl Fn(&mut Options),
) -> Result<Summary, String> {
    let sim = Sim::new(seed);
    let mut options = Options::of_seed(&sim);
    change(&mut options);
    let world = World::new(&sim, options);
    for node in world.nodes.iter() {
        node.sabotage.set(sabotage);
    }
    world.live(|world| {
        world.trouble();
        if sim.failure().is_none() {
            world.settle();
        }
    })
}

/// Lives one seed in which nodes change places, and whatever is lost is there again soon.
pub fn run_orderly(seed: u64) -> Result<Summary, String> {
    let sim = Sim::new(seed);
    let options = Options {
        contention_in: *sim.pick(&[0, 2, 8]),
        timeout_seconds: 6,
        ..Options::calm(2 + sim.below(4) as usize)
    };
    World::new(&sim, options).live(World::change_places)
}

pub fn address(node: usize) -> MasterAddress {
    MasterAddress {
        host: NAMES[node].into(),
        port: port_of(node),
    }
}

fn config(sim: &Sim, index: usize, options: &Options) -> Config {
    let mut config = Config::default();
    config.port = port_of(index);
    config.databases = DATABASES;
    config.save.clear();
    config.protected_mode = false;
    config.repl_timeout = options.timeout_seconds;
    config.repl_ping_replica_period = 1;
    config.repl_backlog_size = options.backlog_bytes;
    config.repl_backlog_ttl = options.backlog_ttl_seconds;
    config.repl_diskless_sync = !sim.once_in(3);
    config.repl_diskless_sync_delay = options.sync_delay_seconds;
    config.repl_diskless_load = *sim.pick(&[
        DisklessLoad::Disabled,
        DisklessLoad::OnEmptyDb,
        DisklessLoad::Swapdb,
        DisklessLoad::Flushdb,
    ]);
    config.client_output_buffer_limit[1].hard_bytes = options.output_limit_bytes;
    config
}

/// Time until all agree, once all trouble is over: timeouts, and loads that were put off for having failed before.
const PATIENCE: Duration = Duration::from_secs(120);
