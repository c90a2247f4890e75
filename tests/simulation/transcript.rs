//! Conversations between nodes, as text: what is done to them, and behind `----` what they then said and did.
//!
//! ```text
//! # What this is about.
//! start a; start b following a; settle
//! ----
//! b -> a    PSYNC ? -1
//! ...
//! ```
//!
//! `UPDATE=1` rewrites what stands behind the dashes; the difference is read before it is committed. Directives:
//! `set <node|all> <setting> <value>`, `start <node> [following <node>]`, `stop`, `crash`, `save <node>`; `cut` and `heal <node> <node>` (`mute`: who is
//! cut off does not refuse, but is silent),
//! `drop <node> <node>` (the connections only), `silence <node> <node>` (what the first says), `stall <node> <node> <seconds>`, `carry <node> <node> <bytes>` (then
//! it is silent); `<node>> <request>`, `fill <node> <keys> of <bytes>`; `wait <seconds>`, `settle`, `show`.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use sluice::config::Circumstances;
use sluice::config::values::DisklessLoad;
use sluice::journal::position::ReplId;

use crate::clients::Client;
use crate::node::{NAMES, Node, node_at};
use crate::oracle;
use crate::time::Sim;
use crate::trace;
use crate::world::{Options, World, address};

/// Plays the transcript in `path`; the error shows what is different.
pub fn play(path: &Path, update: bool) -> Result<(), String> {
    let describe = |error: std::io::Error| format!("{}: {error}", path.display());
    let expected = std::fs::read_to_string(path).map_err(describe)?;
    let actual = replay(&expected);
    if actual == expected {
        return Ok(());
    }
    if update {
        return std::fs::write(path, actual).map_err(describe);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Err(format!("{name}:\n{}", difference(&expected, &actual)))
}

fn difference(expected: &str, actual: &str) -> String {
    let (mut old, mut new) = (expected.lines(), actual.lines());
    let mut text = String::new();
    loop {
        match (old.next(), new.next()) {
            (None, None) => return text,
            (old, new) if old == new => text += &format!("  {}\n", old.unwrap_or_default()),
            (old, new) => {
                text += &old.map_or(String::new(), |line| format!("- {line}\n"));
                text += &new.map_or(String::new(), |line| format!("+ {line}\n"));
            }
        }
    }
}

/// The same text with what happens now behind the dashes.
fn replay(text: &str) -> String {
    let mut stage = Stage::new();
    let mut replayed = String::new();
    let mut in_answer = false;
    for line in text.lines() {
        if in_answer && !line.is_empty() {
            continue;
        }
        in_answer = false;
        replayed += line;
        replayed.push('\n');
        if line == "----" {
            in_answer = true;
            replayed += &stage.said();
        } else if !line.starts_with('#') {
            for directive in line.split(';').map(str::trim) {
                if !directive.is_empty() {
                    stage.act(directive);
                }
            }
        }
    }
    stage.world.end();
    trace::end();
    replayed
}

struct Stage {
    sim: Sim,
    world: World,
    /// One for each node and process, so that MULTI and SELECT last.
    clients: HashMap<(usize, u64), Client>,
    /// Which node was first seen to tell which history.
    histories: Vec<(ReplId, &'static str)>,
    /// Names of those that were spoken of.
    names: Vec<(ReplId, String)>,
}

impl Stage {
    fn new() -> Self {
        let sim = Sim::new(1);
        sim.run_in_order();
        let world = World::new(&sim, Options::calm(5));
        for node in world.nodes.iter() {
            let mut config = node.config.borrow_mut();
            config.repl_diskless_sync = true;
            config.repl_diskless_load = DisklessLoad::Disabled;
            config.repl_ping_replica_period = 10;
        }
        trace::begin();
        Stage {
            sim,
            world,
            clients: HashMap::new(),
            histories: Vec::new(),
            names: Vec::new(),
        }
    }

    fn node(&self, name: &str) -> &Rc<Node> {
        let index = NAMES.iter().position(|other| *other == name);
        &self.world.nodes[index.unwrap_or_else(|| panic!("no node is called {name}"))]
    }

    fn running(&self) -> impl Iterator<Item = &Rc<Node>> {
        self.world.nodes.iter().filter(|node| node.is_running())
    }

    fn act(&mut self, directive: &str) {
        if let Some((name, request)) = directive.split_once("> ") {
            self.request(name, request);
        } else {
            let words: Vec<&str> = directive.split(' ').collect();
            self.direct(&words);
        }
        self.note_histories();
        if let Some(failure) = self.sim.failure() {
            panic!("{directive}: {failure}");
        }
    }

    fn direct(&mut self, words: &[&str]) {
        match *words {
            ["set", "all", name, value] => {
                for node in self.world.nodes.iter() {
                    set(node, name, value);
                }
            }
            ["set", node, name, value] => set(self.node(node), name, value),
            ["start", node] => {
                let node = self.node(node);
                node.config.borrow_mut().replicaof = None;
                node.start();
            }
            ["start", node, "following", master] => {
                let master = address(self.node(master).index);
                let node = self.node(node);
                node.config.borrow_mut().replicaof = Some(master);
                node.start();
            }
            ["stop", node] => self.node(node).stop(),
            ["crash", node] => self.node(node).crash(false),
            ["save", node] => {
                self.node(node).save_in_background();
                self.sim.run_for(Duration::from_millis(400));
            }
            ["cut", one, other] => {
                let (one, other) = (self.node(one).index, self.node(other).index);
                self.world.network.borrow_mut().part(one, other);
                self.reset(one, other);
            }
            ["mute"] => self.world.network.borrow_mut().weather.is_mute = true,
            ["heal", one, other] => {
                let (one, other) = (self.node(one).index, self.node(other).index);
                self.world.network.borrow_mut().heal(one, other);
            }
            ["drop", one, other] => {
                self.reset(self.node(one).index, self.node(other).index);
            }
            ["silence", one, other] => {
                let (one, other) = (self.node(one).index, self.node(other).index);
                for wire in self.world.network.borrow().between(one, other) {
                    let side = usize::from(wire.borrow().ends[0] != one);
                    wire.borrow_mut().silence(side);
                }
            }
            ["stall", one, other, seconds] => {
                let (one, other) = (self.node(one).index, self.node(other).index);
                let time = Duration::from_secs_f64(seconds.parse().expect("seconds"));
                for wire in self.world.network.borrow().between(one, other) {
                    let side = usize::from(wire.borrow().ends[0] != one);
                    wire.borrow_mut().stall(side, time);
                }
            }
            ["carry", one, other, bytes] => {
                let (one, other) = (self.node(one).index, self.node(other).index);
                let bytes = bytes.parse().expect("a number of bytes");
                self.world.network.borrow_mut().allow(one, other, bytes);
            }
            ["fill", node, keys, "of", bytes] => {
                let (keys, bytes): (usize, usize) =
                    (keys.parse().expect("keys"), bytes.parse().expect("bytes"));
                let node = self.node(node).clone();
                let client = Client::connect(&node).expect("a running node takes clients");
                for key in 0..keys {
                    client.say_now(&format!("SET fill:{key} {}", "x".repeat(bytes)));
                }
            }
            ["wait", seconds] => {
                let seconds: f64 = seconds.parse().expect("seconds");
                self.sim.run_for(Duration::from_secs_f64(seconds));
            }
            ["settle"] => self.settle(),
            ["show"] => self.show(),
            _ => panic!("no directive: {}", words.join(" ")),
        }
    }

    fn reset(&self, one: usize, other: usize) {
        for wire in self.world.network.borrow().between(one, other) {
            wire.borrow_mut().cut();
        }
        self.sim.run_for(Duration::from_millis(1));
    }

    fn request(&mut self, name: &str, request: &str) {
        let node = self.node(name).clone();
        let place = (node.index, node.restarts.get());
        let client = self
            .clients
            .entry(place)
            .or_insert_with(|| Client::connect(&node).expect("a running node takes clients"));
        let reply = client.say_now(request).unwrap_or_default();
        let shown = trace::shown(&reply);
        trace::line(
            self.sim.now(),
            &format!("{name}>"),
            &format!("{request}: {shown}"),
        );
        self.sim.run_for(Duration::from_millis(5));
    }

    /// Until every running replica is where its master is.
    fn settle(&self) {
        let patience = self.sim.now() + Duration::from_secs(300);
        self.sim.run_for(Duration::from_millis(10));
        while !self.running().all(|node| self.rests(node)) {
            if self.sim.now() > patience {
                trace::line(self.sim.now(), "", "nobody comes to rest");
                return;
            }
            self.sim.run_for(Duration::from_millis(50));
        }
    }

    fn rests(&self, node: &Rc<Node>) -> bool {
        let following = node.try_with(|engine| {
            let link = engine.replication.following.link();
            let master = link.master().map(|(_, port)| node_at(port));
            (master, link.is_up())
        });
        match following {
            Some((Some(master), is_up)) => {
                let master = &self.world.nodes[master];
                is_up && master.place() == node.place()
            }
            _ => true,
        }
    }

    fn show(&self) {
        let now = self.sim.now();
        let mut looks = Vec::new();
        for node in self.running() {
            let Some((id, end)) = node.place() else {
                continue;
            };
            let text = node.try_with(|engine| {
                looks.push((node.name, oracle::look(engine)));
                let link = engine.replication.following.link();
                match &engine.config.replicaof {
                    None => format!("a master, at {end} of {id}"),
                    Some(master) => {
                        let state = link.role_state();
                        format!("follows {} ({state}), at {end} of {id}", master.host)
                    }
                }
            });
            trace::line(now, node.name, &text.unwrap_or_default());
        }
        let Some((first, first_look)) = looks.first() else {
            return;
        };
        let mut all_equal = true;
        for (name, look) in &looks[1..] {
            if look.digest != first_look.digest {
                all_equal = false;
                let what = oracle::difference(&look.words, &first_look.words);
                trace::line(
                    now,
                    name,
                    &format!("has another dataset than {first}:{what}"),
                );
            }
        }
        if all_equal && looks.len() > 1 {
            trace::line(now, "", "the datasets are equal");
        }
    }

    fn note_histories(&mut self) {
        for node in self.world.nodes.iter() {
            if let Some((id, _)) = node.place()
                && self.histories.iter().all(|(known, _)| *known != id)
            {
                self.histories.push((id, node.name));
            }
        }
    }

    /// What has been said since the last time, without what is always said.
    fn said(&mut self) -> String {
        let mut text = String::new();
        for line in trace::take() {
            if ROUTINE.iter().any(|routine| line.what.starts_with(routine)) {
                continue;
            }
            for (id, node) in &self.histories {
                let is_new = self.names.iter().all(|(known, _)| known != id);
                if is_new && line.what.contains(id.as_str()) {
                    let mine = format!("<id-{node}");
                    let count = self
                        .names
                        .iter()
                        .filter(|(_, name)| name.starts_with(&mine));
                    let number = match count.count() {
                        0 => String::new(),
                        count => (count + 1).to_string(),
                    };
                    self.names.push((*id, format!("{mine}{number}>")));
                }
            }
            let mut what = line.what.clone();
            for (id, name) in &self.names {
                what = what.replace(id.as_str(), name);
            }
            text += format!("{:<9} {what}", line.who).trim_end();
            text.push('\n');
        }
        text
    }
}

/// Lines that are in every conversation.
const ROUTINE: &[&str] = &[
    "log:",
    "PING",
    "+PONG",
    "+OK",
    "REPLCONF listening-port",
    "REPLCONF ACK",
    "takes a snapshot",
    "closes its link",
    "(",
    "has saved",
    "> ",
];

fn set(node: &Rc<Node>, name: &str, value: &str) {
    let changed = |config: &sluice::config::Config| {
        let circumstances = Circumstances {
            loading: false,
            local: true,
        };
        let change = config.changed_by(&[(name, value)], circumstances);
        change
            .unwrap_or_else(|error| panic!("set {name} {value}: {error}"))
            .config
    };
    let config = changed(&node.config.borrow());
    *node.config.borrow_mut() = config;
    node.try_with(|engine| engine.config = changed(&engine.config));
}
