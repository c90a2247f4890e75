//! Both ends together: nodes in memory, a network that tears and cuts, one seed per run.
//!
//! A node's dataset is the text that its writes have added, so two datasets are equal exactly if they have the same past. The
//! drivers here are what the real tasks are, without anything to wait for.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::feed::{self, Event as FeedEvent, Profile, SnapshotId, Target};
use super::feeds::{self, Feeds, FeedsConfig, ReplicaId, Stream, Surroundings};
use super::handshake::{Greeting, Refusal, parse_psync, ping_line};
use super::identity::Identity;
use super::link::{Action, Event, Link, LinkConfig, LoadId};
use super::payload::{Framing, Mark};
use super::place::Place;
use super::replconf::{Capabilities, Replconf};
use crate::journal::Journal;
use crate::journal::cursor::Cursor;
use crate::journal::effect::{Effects, Framing as EffectFraming};
use crate::journal::position::{Offset, Position};
use crate::random::Random;

struct Node {
    journal: Journal,
    identity: Identity,
    effects: Effects,
    feeds: Feeds,
    link: Link,
    is_master: bool,
    dataset: String,
    /// Bytes of the stream that are not whole commands, or a whole transaction, yet.
    unapplied: Vec<u8>,
    load: Option<Load>,
    upstream: Option<usize>,
    files: Vec<(SnapshotId, Duration, String)>,
}

struct Load {
    id: LoadId,
    body: Vec<u8>,
    position: Position,
    ready_at: Option<Duration>,
    outcome: Option<String>,
}

/// A connection: the client end is a replica's link, the server end a master's feed.
struct Connection {
    client: usize,
    server: usize,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    client_open: bool,
    server_open: bool,
    /// Received by the server, not a whole request yet.
    request: Vec<u8>,
    profile: Profile,
    payload: Option<VecDeque<u8>>,
    cursor: Option<Cursor>,
}

struct World {
    nodes: Vec<Node>,
    connections: Vec<Connection>,
    random: Random,
    now: Duration,
    words: u64,
    /// One load in so many fails; 0 is never.
    load_failure_in: u64,
}

impl World {
    fn new(seed: u64, nodes: usize, config: &FeedsConfig) -> Self {
        let mut random = Random::from_seed(seed);
        let nodes = (0..nodes)
            .map(|number| Node {
                journal: Journal::new(Offset(0)),
                identity: Identity::new(&mut random),
                effects: Effects::new(),
                feeds: Feeds::new(config.clone()),
                link: Link::new(LinkConfig {
                    greeting: Greeting {
                        port: number as u16,
                        capabilities: if number % 3 == 2 {
                            Capabilities::PSYNC2
                        } else {
                            Capabilities::PSYNC2.with(Capabilities::EOF)
                        },
                        ..Greeting::default()
                    },
                    timeout: Duration::from_secs(60),
                }),
                is_master: true,
                dataset: String::new(),
                unapplied: Vec::new(),
                load: None,
                upstream: None,
                files: Vec::new(),
            })
            .collect();
        World {
            nodes,
            connections: Vec::new(),
            random,
            now: Duration::from_secs(1),
            words: 0,
            load_failure_in: 0,
        }
    }

    /// A command, or a transaction of several, on a master.
    fn write(&mut self, node: usize) {
        let count = if self.random.chance(1, 4) {
            1 + self.random.below(4)
        } else {
            1
        };
        let db = self.random.below(3) as u32;
        let target = &mut self.nodes[node];
        assert!(target.is_master);
        for _ in 0..count {
            self.words += 1;
            let word = format!("w{} ", self.words);
            target.dataset.push_str(&word);
            target.effects.add(Some(db), &[b"ADD", word.as_bytes()]);
        }
        target
            .effects
            .finish(EffectFraming::Together, &mut target.journal);
    }

    fn follow(&mut self, node: usize, master: usize) {
        let target = &mut self.nodes[node];
        let claim = target.is_master.then(|| {
            target
                .identity
                .position_to_claim(target.journal.end(), target.effects.stream_db())
        });
        target.is_master = false;
        let event = Event::ReplicaOf {
            host: "node".into(),
            port: master as u16,
            claim,
            failover: false,
        };
        self.link_event(node, event);
    }

    fn promote(&mut self, node: usize) {
        self.link_event(node, Event::NoOne);
        let (random, now) = (&mut self.random, self.now);
        let target = &mut self.nodes[node];
        if target.is_master {
            return;
        }
        target.is_master = true;
        target.identity.shift(target.journal.end(), None, random);
        target.effects.set_stream_db(None);
        target.feeds.start_backlog_ttl(now);
        self.discard_sub_replicas(node);
    }

    fn cut(&mut self, connection: usize) {
        let connection = &mut self.connections[connection];
        connection.to_client.clear();
        connection.to_server.clear();
        connection.server_open = false;
        connection.cursor = None;
    }

    /// One small step of everything.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.below(40));
        for node in 0..self.nodes.len() {
            if self.nodes[node]
                .link
                .deadline()
                .is_some_and(|deadline| deadline <= self.now)
            {
                self.link_event(node, Event::Deadline);
            }
            self.finish_load(node);
            self.tick(node);
            self.finish_files(node);
        }
        for connection in 0..self.connections.len() {
            self.serve(connection);
            self.deliver_to_server(connection);
            self.deliver_to_client(connection);
        }
    }

    /// Steps until everybody agrees with `master`.
    fn settle(&mut self, master: usize) {
        for _ in 0..20_000 {
            self.step();
            let end = self.nodes[master].journal.end();
            let agreed = self
                .nodes
                .iter()
                .all(|node| node.is_master || (node.link.is_up() && node.journal.end() == end));
            if agreed {
                for node in &self.nodes {
                    assert_eq!(node.dataset, self.nodes[master].dataset);
                    assert_eq!(node.identity.id(), self.nodes[master].identity.id());
                }
                return;
            }
        }
        for (number, node) in self.nodes.iter().enumerate() {
            eprintln!(
                "node {number}: {} {} at {}, last failure {:?}",
                node.link.role_state(),
                node.identity.id(),
                node.journal.end(),
                node.link.last_failure()
            );
        }
        panic!("no agreement");
    }

    fn full_syncs(&self) -> u64 {
        self.nodes.iter().map(|node| node.feeds.stats().full).sum()
    }

    fn partial_syncs(&self) -> u64 {
        let partial = |node: &Node| node.feeds.stats().partial_ok;
        self.nodes.iter().map(partial).sum()
    }

    // The replica's driver.

    fn link_event(&mut self, node: usize, event: Event) {
        let mut actions = Vec::new();
        self.nodes[node].link.handle(event, self.now, &mut actions);
        for action in actions {
            self.link_action(node, action);
        }
    }

    fn link_action(&mut self, node: usize, action: Action) {
        match action {
            Action::Connect { port, .. } => {
                self.connections.push(Connection {
                    client: node,
                    server: port as usize,
                    to_server: VecDeque::new(),
                    to_client: VecDeque::new(),
                    client_open: true,
                    server_open: true,
                    request: Vec::new(),
                    profile: Profile::new(format!("node{node}")),
                    payload: None,
                    cursor: None,
                });
                self.nodes[node].unapplied.clear();
                self.nodes[node].upstream = Some(self.connections.len() - 1);
                self.link_event(node, Event::Connected);
            }
            Action::Send(bytes) => {
                if let Some(upstream) = self.nodes[node].upstream {
                    self.connections[upstream].to_server.extend(bytes);
                }
            }
            Action::Close => {
                if let Some(upstream) = self.nodes[node].upstream.take() {
                    self.connections[upstream].client_open = false;
                }
                self.nodes[node].unapplied.clear();
            }
            Action::BeginLoad { load, position, .. } => {
                self.nodes[node].load = Some(Load {
                    id: load,
                    body: Vec::new(),
                    position,
                    ready_at: None,
                    outcome: None,
                });
            }
            Action::Load(bytes) => {
                if let Some(load) = &mut self.nodes[node].load {
                    load.body.extend_from_slice(&bytes);
                }
            }
            Action::EndLoad => {
                let later = Duration::from_millis(self.random.below(3000));
                if let Some(load) = &mut self.nodes[node].load {
                    load.ready_at = Some(self.now + later);
                }
            }
            Action::AbortLoad => self.nodes[node].load = None,
            Action::DiscardSubReplicas => self.discard_sub_replicas(node),
            Action::Swap(position) => {
                let target = &mut self.nodes[node];
                let load = target.load.take().unwrap();
                assert_eq!(load.position.offset, position.offset);
                target.dataset = load.outcome.unwrap();
                target.identity.adopt(position.id);
                target.journal.reset(position.offset);
                target.journal.create_backlog(1 << 20);
            }
            Action::Continue { id, at } => {
                let target = &mut self.nodes[node];
                assert_eq!(target.journal.end(), at);
                target.identity.continue_as(id, at);
                target.journal.create_backlog(1 << 20);
            }
            Action::Apply(bytes) => self.apply(node, &bytes),
            Action::FailoverAnswered { .. } | Action::Log(..) => {}
        }
    }

    /// Executes whole commands and whole transactions, and records them as they came.
    fn apply(&mut self, node: usize, bytes: &[u8]) {
        self.nodes[node].unapplied.extend_from_slice(bytes);
        loop {
            let target = &mut self.nodes[node];
            let mut length = 0;
            let mut open = false;
            let mut words = String::new();
            let mut asked = false;
            loop {
                let Some((argv, taken)) = parse_request(&target.unapplied[length..]) else {
                    return;
                };
                length += taken;
                match argv[0].as_str() {
                    "MULTI" => open = true,
                    "EXEC" => open = false,
                    "ADD" => words.push_str(&argv[1]),
                    "REPLCONF" => asked = true,
                    "SELECT" | "PING" => {}
                    other => panic!("{other} in the stream"),
                }
                if !open {
                    break;
                }
            }
            target.dataset.push_str(&words);
            let unit: Vec<u8> = target.unapplied.drain(..length).collect();
            if asked {
                self.link_event(node, Event::AckRequested);
            }
            let target = &mut self.nodes[node];
            let end = target.journal.append(&unit);
            target.link.applied(end, None);
            target.journal.publish();
        }
    }

    fn finish_load(&mut self, node: usize) {
        let (random, failure_in, now) = (&mut self.random, self.load_failure_in, self.now);
        let Some(load) = &mut self.nodes[node].load else {
            return;
        };
        if load.ready_at.is_none_or(|ready_at| ready_at > now) {
            return;
        }
        load.ready_at = None;
        let id = load.id;
        let fails = failure_in > 0 && random.chance(1, failure_in);
        let text = String::from_utf8(std::mem::take(&mut load.body)).unwrap();
        let event = match text.strip_suffix('.') {
            Some(dataset) if !fails => {
                load.outcome = Some(dataset.into());
                Event::Loaded {
                    load: id,
                    stream_db: None,
                }
            }
            _ => Event::LoadFailed {
                load: id,
                reason: format!("{} bytes are no dataset", text.len()),
            },
        };
        self.link_event(node, event);
    }

    // The master's driver.

    fn tick(&mut self, node: usize) {
        let mut actions = Vec::new();
        let target = &mut self.nodes[node];
        let around = Surroundings {
            is_master: target.is_master,
            paused: false,
        };
        let mut stream = Stream {
            journal: &mut target.journal,
            identity: &mut target.identity,
            random: &mut self.random,
            disk: None,
        };
        target
            .feeds
            .tick(around, &mut stream, self.now, &mut actions);
        self.feeds_actions(node, actions);
    }

    fn discard_sub_replicas(&mut self, node: usize) {
        let mut actions = Vec::new();
        self.nodes[node].feeds.discard_all(self.now, &mut actions);
        self.feeds_actions(node, actions);
    }

    fn feeds_actions(&mut self, node: usize, actions: Vec<feeds::Action>) {
        for action in actions {
            match action {
                feeds::Action::Feed(replica, action) => self.feed_action(node, replica, action),
                feeds::Action::BeginSnapshot(plan) => self.take_snapshot(node, &plan),
                feeds::Action::AbandonSnapshot { snapshot, .. } => {
                    self.nodes[node].files.retain(|(id, ..)| *id != snapshot);
                }
                feeds::Action::Ping => {
                    self.nodes[node].journal.append(&ping_line());
                }
                feeds::Action::Log(..) => {}
            }
        }
    }

    fn feed_action(&mut self, node: usize, replica: ReplicaId, action: feed::Action) {
        let connection = &mut self.connections[replica.0 as usize];
        match action {
            feed::Action::Send(bytes) => connection.to_client.extend(bytes),
            feed::Action::SendFile(snapshot) => {
                let files = &self.nodes[node].files;
                let file = files.iter().find(|(id, ..)| *id == snapshot).unwrap();
                connection.payload = Some(file.2.bytes().collect());
            }
            feed::Action::Stream(Place::Memory(cursor)) => connection.cursor = Some(cursor),
            feed::Action::Stream(Place::Disk(_)) | feed::Action::LeaveMemory => {
                unreachable!("there is no disk")
            }
            feed::Action::Close(_) => {
                connection.server_open = false;
                connection.cursor = None;
            }
        }
    }

    fn take_snapshot(&mut self, node: usize, plan: &feeds::SnapshotPlan) {
        let target = &mut self.nodes[node];
        if target.is_master {
            target.effects.set_stream_db(None);
        }
        let at = Position {
            id: target.identity.id(),
            offset: target.journal.end(),
            stream_db: None,
        };
        let body = format!("{}.", target.dataset);
        let mut actions = Vec::new();
        target
            .feeds
            .snapshot_begun(plan.snapshot, at, &target.journal, self.now, &mut actions);
        match plan.target {
            Target::Disk => {
                let ready_at = self.now + Duration::from_millis(self.random.below(3000));
                target.files.push((plan.snapshot, ready_at, body));
            }
            Target::Sockets => {
                let mark = Mark::random(&mut self.random);
                let framing = Framing::Marked(mark);
                let wire = [&framing.header(), body.as_bytes(), &mark.trailer()].concat();
                for rider in &plan.riders {
                    self.connections[rider.0 as usize].payload =
                        Some(wire.iter().copied().collect());
                }
                target
                    .feeds
                    .snapshot_ended(plan.snapshot, self.now, &mut actions);
            }
        }
        self.feeds_actions(node, actions);
    }

    fn finish_files(&mut self, node: usize) {
        let now = self.now;
        let ready: Vec<(SnapshotId, u64)> = self.nodes[node]
            .files
            .iter_mut()
            .filter(|file| file.1 <= now)
            .map(|file| {
                file.1 = Duration::MAX;
                (file.0, file.2.len() as u64)
            })
            .collect();
        for (snapshot, length) in ready {
            let mut actions = Vec::new();
            let feeds = &mut self.nodes[node].feeds;
            feeds.file_ready(snapshot, length, now, &mut actions);
            self.feeds_actions(node, actions);
        }
    }

    /// Moves some of the payload or of the stream into the connection, as far as it takes bytes.
    fn serve(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if !connection.server_open || !connection.client_open || connection.to_client.len() > 400 {
            return;
        }
        let some = 1 + self.random.below(200) as usize;
        if let Some(payload) = &mut connection.payload {
            let now = some.min(payload.len());
            connection.to_client.extend(payload.drain(..now));
            let done = payload.is_empty();
            if done {
                connection.payload = None;
            }
            let server = connection.server;
            let mut actions = Vec::new();
            let event = if done {
                FeedEvent::PayloadSent
            } else {
                FeedEvent::PayloadMoved
            };
            let feeds = &mut self.nodes[server].feeds;
            feeds.handle(ReplicaId(number as u64), event, self.now, &mut actions);
            self.feeds_actions(server, actions);
        } else if let Some(cursor) = &mut connection.cursor {
            let mut parts = Vec::new();
            match cursor.next(some, &mut parts) {
                Ok(_) => connection.to_client.extend(parts.concat()),
                Err(_) => connection.server_open = false,
            }
        }
    }

    fn deliver_to_server(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if connection.server_open && connection.client_open {
            let some = connection
                .to_server
                .len()
                .min(1 + self.random.below(60) as usize);
            connection
                .request
                .extend(connection.to_server.drain(..some));
            while let Some((argv, taken)) = parse_request(&self.connections[number].request) {
                self.connections[number].request.drain(..taken);
                self.request(number, &argv);
            }
        } else if !connection.client_open || connection.to_client.is_empty() {
            connection.server_open = false;
            connection.cursor = None;
            let server = connection.server;
            let mut actions = Vec::new();
            let feeds = &mut self.nodes[server].feeds;
            feeds.detach(ReplicaId(number as u64), self.now, &mut actions);
            self.feeds_actions(server, actions);
        }
    }

    fn request(&mut self, number: usize, argv: &[String]) {
        let replica = ReplicaId(number as u64);
        let now = self.now;
        let connection = &mut self.connections[number];
        let server = connection.server;
        let node = &mut self.nodes[server];
        let mut actions = Vec::new();
        match argv.first().map(String::as_str) {
            None => node
                .feeds
                .handle(replica, FeedEvent::Heard, now, &mut actions),
            Some("PING") => connection.to_client.extend(b"+PONG\r\n"),
            Some("REPLCONF") => {
                let words: Vec<&[u8]> = argv[1..].iter().map(|word| word.as_bytes()).collect();
                let options: Vec<Replconf> = Replconf::parse_all(&words)
                    .collect::<Result<_, _>>()
                    .unwrap();
                match options[0] {
                    Replconf::Ack { offset, synced } => {
                        let event = FeedEvent::Ack { offset, synced };
                        node.feeds.handle(replica, event, now, &mut actions);
                    }
                    _ => {
                        connection.to_client.extend(b"+OK\r\n");
                        options
                            .into_iter()
                            .for_each(|option| connection.profile.note(option));
                    }
                }
            }
            Some("PSYNC") => {
                if !node.is_master && !node.link.is_up() {
                    let line = format!("-{}\r\n", Refusal::MasterLinkDown.text());
                    connection.to_client.extend(line.bytes());
                    return;
                }
                let request = parse_psync(argv[1].as_bytes(), argv[2].as_bytes(), None).unwrap();
                let profile = connection.profile.clone();
                let mut stream = Stream {
                    journal: &mut node.journal,
                    identity: &mut node.identity,
                    random: &mut self.random,
                    disk: None,
                };
                node.feeds
                    .psync(replica, profile, &request, &mut stream, now, &mut actions)
                    .unwrap();
            }
            Some(other) => panic!("{other} from a replica"),
        }
        self.feeds_actions(server, actions);
    }

    fn deliver_to_client(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let client = connection.client;
        if !connection.client_open || !self.nodes[client].link.wants_bytes() {
            return;
        }
        if !connection.to_client.is_empty() {
            let some = connection
                .to_client
                .len()
                .min(1 + self.random.below(150) as usize);
            let bytes: Bytes = connection.to_client.drain(..some).collect();
            self.link_event(client, Event::Bytes(bytes));
        } else if !connection.server_open {
            connection.client_open = false;
            self.nodes[client].upstream = None;
            self.link_event(client, Event::Closed);
        }
    }
}

/// One request off the front, or an empty line as a request without words.
fn parse_request(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    fn line(bytes: &[u8], at: &mut usize) -> Option<String> {
        let length = bytes[*at..].iter().position(|byte| *byte == b'\n')?;
        let text = String::from_utf8(bytes[*at..*at + length].to_vec()).unwrap();
        *at += length + 1;
        Some(text.trim_end().into())
    }
    let mut at = 0;
    let header = line(bytes, &mut at)?;
    if header.is_empty() {
        return Some((Vec::new(), at));
    }
    let count: usize = header.strip_prefix('*').unwrap().parse().unwrap();
    let mut argv = Vec::new();
    for _ in 0..count {
        let length: usize = line(bytes, &mut at)?.strip_prefix('$')?.parse().unwrap();
        let word = bytes.get(at..at + length + 2)?;
        argv.push(String::from_utf8(word[..length].to_vec()).unwrap());
        at += length + 2;
    }
    Some((argv, at))
}

fn config() -> FeedsConfig {
    FeedsConfig {
        delay: Duration::from_millis(500),
        ping_period: Duration::from_secs(2),
        ..FeedsConfig::default()
    }
}

/// Three nodes, the second and the third under the first, with some data.
fn trio(seed: u64) -> World {
    let mut world = World::new(seed, 3, &config());
    for _ in 0..20 {
        world.write(0);
    }
    world.follow(1, 0);
    world.follow(2, 0);
    world.settle(0);
    for _ in 0..20 {
        world.write(0);
    }
    world.settle(0);
    world
}

#[test]
fn replicas_reach_their_master_by_mark_and_by_length() {
    for seed in 0..10 {
        let world = trio(seed);
        assert_eq!(world.full_syncs(), 2, "seed {seed}");
    }
}

#[test]
fn a_link_cut_for_less_than_the_backlog_continues_where_it_stopped() {
    let mut world = trio(1);
    for _ in 0..30 {
        for connection in 0..world.connections.len() {
            world.cut(connection);
        }
        for _ in 0..world.random.below(60) {
            world.write(0);
            world.step();
        }
    }
    world.settle(0);
    assert_eq!(world.full_syncs(), 2);
    assert!(world.partial_syncs() >= 2, "{}", world.partial_syncs());
}

#[test]
fn a_promotion_among_equals_costs_no_full_sync_not_even_for_the_old_master() {
    for seed in 0..5 {
        let mut world = trio(seed);
        world.promote(1);
        for _ in 0..10 {
            world.write(1);
        }
        world.follow(2, 1);
        world.follow(0, 2);
        world.settle(1);
        for _ in 0..10 {
            world.write(1);
        }
        world.settle(1);
        assert_eq!(world.full_syncs(), 2, "seed {seed}");
    }
}

#[test]
fn an_old_master_that_wrote_alone_gives_up_what_it_wrote() {
    let mut world = trio(1);
    world.promote(1);
    for _ in 0..5 {
        world.write(0);
    }
    world.follow(2, 1);
    for _ in 0..500 {
        world.step();
    }
    for _ in 0..3 {
        world.write(1);
    }
    world.follow(0, 1);
    world.settle(1);
    assert_eq!(world.full_syncs(), 3);
}

#[test]
fn nodes_agree_in_the_end_whatever_is_cut_promoted_and_refused_on_the_way() {
    let mut partial_syncs = 0;
    for seed in 0..20 {
        let mut config = config();
        config.diskless = seed % 2 == 0;
        config.backlog_bytes = 16 * 1024;
        let nodes = 3 + (seed % 3) as usize;
        let mut world = World::new(seed, nodes, &config);
        world.load_failure_in = 5;
        let mut master = 0;
        for node in 1..nodes {
            world.follow(node, node - 1);
        }
        for _ in 0..2500 {
            match world.random.below(60) {
                0 => {
                    let connections = world.connections.len() as u64;
                    if connections > 0 {
                        let connection = world.random.below(connections) as usize;
                        world.cut(connection);
                    }
                }
                1 if world.random.chance(1, 10) => {
                    // A new order: the first leads, each other follows somebody before it.
                    let mut order: Vec<usize> = (0..nodes).collect();
                    for i in (1..nodes).rev() {
                        order.swap(i, world.random.below(i as u64 + 1) as usize);
                    }
                    master = order[0];
                    world.promote(master);
                    for i in 1..nodes {
                        let above = order[world.random.below(i as u64) as usize];
                        world.follow(order[i], above);
                    }
                }
                2 => world.nodes[master].feeds.want_acks(),
                3..=8 => world.write(master),
                _ => world.step(),
            }
            if world.nodes[master].feeds.take_acks_wanted() {
                let node = &mut world.nodes[master];
                node.effects.add(None, &feeds::GETACK);
                node.effects.finish(EffectFraming::Apart, &mut node.journal);
            }
        }
        world.load_failure_in = 0;
        world.settle(master);
        partial_syncs += world.partial_syncs();
    }
    assert!(partial_syncs > 50, "only {partial_syncs}: little was tried");
}
