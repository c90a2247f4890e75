//! What must hold, at any moment and at the end.
//!
//! - A history and an offset name one dataset, whichever node stands there and however it got there: so no node ever shows half
//!   a snapshot, a command executed twice, or a write that its history does not have.
//! - What a transaction writes is seen together.
//! - Offsets go back only where a process starts or a snapshot is put in place.
//! - Nobody is believed to have what it never had: not by ACK, not by WAIT.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use sluice::clients::session::Blocked;
use sluice::cow::table::CowTable;
use sluice::engine::Engine;
use sluice::journal::position::{Offset, Position, ReplId};
use sluice::keyspace::KeyspacePicture;
use sluice::keyspace::digest::Digest;
use sluice::keyspace::entry::{Entry, View};
use sluice::types::Value;

use crate::node::{Node, node_at};
use crate::trace;

#[derive(Default)]
pub struct Oracle {
    nodes: Vec<Rc<Node>>,
    states: HashMap<(ReplId, Offset), Seen>,
    /// How far each node has ever been in each history.
    reached: HashMap<(usize, ReplId), Offset>,
    last: Vec<Last>,
    pub observations: u64,
    pub agreements: u64,
}

/// A node when it was looked at last.
#[derive(Clone, Copy, Default)]
struct Last {
    restarts: u64,
    end: Offset,
    /// A snapshot was about to be put in place.
    has_loaded: bool,
}

/// The first look at a dataset of this name.
struct Seen {
    digest: u64,
    by: usize,
    words: Words,
}

/// What lies where, in words: only while somebody listens.
pub type Words = BTreeMap<String, String>;

/// A dataset in one number, and what is wrong with it by itself.
pub struct Look {
    pub digest: u64,
    torn_pair: bool,
    pub words: Words,
}

impl Oracle {
    pub fn add(&mut self, node: &Rc<Node>) {
        self.nodes.push(node.clone());
        self.last.push(Last::default());
    }

    pub fn node(&self, index: usize) -> Rc<Node> {
        self.nodes[index].clone()
    }

    /// Nodes know the oracle and it knows them: ends that.
    pub fn forget(&mut self) {
        self.nodes.clear();
    }

    /// Looks at a node as it stands.
    pub fn observe(&mut self, node: &Rc<Node>) {
        self.note_reached(node);
        let looked = node.try_with(|engine| {
            let (id, end) = (engine.replication.identity.id(), engine.journal.end());
            let look = look(engine);
            let is_named = match engine.is_replica() {
                // Between what the link has decided and what the engine has done, the two may differ.
                true => engine
                    .replication
                    .following
                    .position()
                    .is_some_and(|position| (position.id, position.offset) == (id, end)),
                false => engine.journal.is_active(),
            };
            let now = Last {
                restarts: node.restarts.get(),
                end,
                has_loaded: engine.replication.following.has_loaded(),
            };
            (id, now, look, is_named)
        });
        let Some((id, now, look, is_named)) = looked else {
            return;
        };
        let last = std::mem::replace(&mut self.last[node.index], now);
        let end = now.end;
        if last.restarts == now.restarts && !last.has_loaded && end < last.end {
            let text = format!("{}: its offset goes back, {} to {end}", node.name, last.end);
            node.sim.fail(text);
        }
        if look.torn_pair {
            node.sim
                .fail(format!("{}: shows half a transaction", node.name));
        }
        if is_named {
            self.compare(node, id, end, look);
        }
    }

    /// A picture that will be written down as the dataset at `position`.
    pub fn note_picture(&mut self, node: &Node, position: Position, picture: &KeyspacePicture) {
        let databases = picture.databases.iter().map(|database| &database.table);
        let look = look_at(databases);
        self.compare(node, position.id, position.offset, look);
    }

    fn compare(&mut self, node: &Node, id: ReplId, end: Offset, look: Look) {
        self.observations += 1;
        let by = node.index;
        let first = self.states.entry((id, end)).or_insert_with(|| Seen {
            digest: look.digest,
            by,
            words: look.words.clone(),
        });
        if first.digest != look.digest {
            let other = self.nodes[first.by].name;
            node.sim.fail(format!(
                "{}: its dataset is another than that of {other} was at {end} of {id}{}",
                node.name,
                difference(&look.words, &first.words)
            ));
        } else if first.by != by {
            self.agreements += 1;
        }
    }

    pub fn note_reached(&mut self, node: &Rc<Node>) {
        if let Some((id, end)) = node.place() {
            let reached = self.reached.entry((node.index, id)).or_default();
            *reached = end.max(*reached);
        }
    }

    fn has_reached(&self, node: usize, id: ReplId, offset: Offset) -> bool {
        self.reached
            .get(&(node, id))
            .is_some_and(|reached| *reached >= offset)
    }

    /// WAIT on `node` has counted `count` replicas with everything up to `offset`.
    pub fn check_wait(&mut self, node: &Rc<Node>, offset: Offset, count: i64) {
        for other in &self.nodes.clone() {
            self.note_reached(other);
        }
        let Some((id, ports)) = node.try_with(|engine| {
            let feeds = engine.replication.feeds.iter();
            let ports: Vec<i64> = feeds.map(|(_, feed)| feed.profile().port()).collect();
            (engine.replication.identity.id(), ports)
        }) else {
            return;
        };
        let others = (0..self.nodes.len()).filter(|other| *other != node.index);
        let mut have = others
            .filter(|other| self.has_reached(*other, id, offset))
            .count();
        // A replica whose old connection is not missed yet, or has just been, may be there twice: it does not say who it is.
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        have += ports.len() - distinct.len();
        have += usize::from(node.last_departure.get() == Some(node.sim.now()));
        node.sim.check(count <= have as i64, || {
            format!(
                "{}: WAIT counts {count} replicas at {offset}, {have} were ever there",
                node.name
            )
        });
    }

    /// What a master believes of its replicas is true.
    pub fn check_acks(&mut self, node: &Rc<Node>) {
        let Some((id, acks)) = node.try_with(|engine| {
            let online = engine.replication.feeds.iter();
            let acks: Vec<(i64, Offset)> = online
                .filter(|(_, feed)| feed.is_online())
                .map(|(_, feed)| (feed.profile().port(), feed.acked()))
                .collect();
            (engine.replication.identity.id(), acks)
        }) else {
            return;
        };
        for (port, acked) in acks {
            let replica = node_at(port as u16);
            // A position may have a former name of this history; then it was checked under that one.
            let known = self.reached.contains_key(&(replica, id));
            if known && acked > Offset::ZERO && !self.has_reached(replica, id, acked) {
                node.sim.fail(format!(
                    "{}: believes that {} has {acked} of {id}",
                    node.name, self.nodes[replica].name
                ));
            }
        }
    }

    /// What still keeps `node` from resting behind `root`, which nothing is written to; none if it rests.
    pub fn unrest(&self, node: &Rc<Node>, root: &Rc<Node>) -> Option<String> {
        let (root_id, root_end) = root.place()?;
        let (root_look, backlog) =
            root.try_with(|engine| (look(engine), engine.config.repl_backlog_size))?;
        let why = node.try_with(|engine| {
            let (id, end) = (engine.replication.identity.id(), engine.journal.end());
            let link = engine.replication.following.link();
            if node.index != root.index {
                if !link.is_up() {
                    let why = link.last_failure().unwrap_or_default();
                    return Some(format!("its link is {}, {why}", link.role_state()));
                }
                if (id, end) != (root_id, root_end) {
                    return Some(format!(
                        "stands at {end} of {id}, not {root_end} of {root_id}"
                    ));
                }
                if link.applied_offset() != end.0 || link.unapplied_bytes() != 0 {
                    return Some("has not executed what it received".into());
                }
            }
            if engine.persistence.loading.is_some() {
                return Some("still loads".into());
            }
            for (_, feed) in engine.replication.feeds.iter() {
                let port = feed.profile().port();
                let (state, behind) = (feed.state_name(), feed.bytes_behind(end));
                let unsaid = end.since(feed.acked());
                if !feed.is_online() || feed.is_closing() || behind > 0 || unsaid > UNSAID_BYTES_MAX
                {
                    let acked = feed.acked();
                    return Some(format!(
                        "its replica {port} is {state}, {behind} bytes behind, has said {acked}"
                    ));
                }
            }
            for client in engine.clients.iter() {
                if let Some(Blocked::ForReplicas { offset, .. }) = &client.session.blocked {
                    return Some(format!("a client waits for replicas at {offset}"));
                }
                if client.session.blocked.is_some() {
                    return Some("a client is blocked".into());
                }
                if !client.session.feed_queue.is_empty() {
                    return Some("work waits for a replica's task".into());
                }
            }
            let held = engine.journal.shared().held();
            if held.memory_bytes > 3 * backlog.max(64 * 1024) {
                return Some(format!("its journal holds {} bytes", held.memory_bytes));
            }
            if look(engine).digest != root_look.digest {
                return Some("its dataset is another".into());
            }
            None
        });
        match why {
            None => Some("does not run".into()),
            Some(why) => why,
        }
    }

    /// Histories of one name are equal byte for byte, as far back as two nodes keep them.
    pub fn compare_journals(&self, one: &Rc<Node>, other: &Rc<Node>) {
        let tail = |node: &Rc<Node>| {
            node.try_with(|engine| {
                let window = engine.journal.window()?;
                let mut cursor = engine.journal.reader_at(window.start)?;
                let mut pieces = Vec::new();
                cursor.next(usize::MAX, &mut pieces).ok()?;
                Some((window, pieces.concat()))
            })
            .flatten()
        };
        let (Some((window, bytes)), Some((other_window, other_bytes))) = (tail(one), tail(other))
        else {
            return;
        };
        if window.end != other_window.end {
            return;
        }
        let common = window.length().min(other_window.length()) as usize;
        let (end, other_end) = (bytes.len(), other_bytes.len());
        if bytes[end - common..] != other_bytes[other_end - common..] {
            one.sim.fail(format!(
                "{} and {}: other bytes of the same history",
                one.name, other.name
            ));
        }
    }
}

/// What a replica at rest may not have acknowledged yet: some PINGs.
const UNSAID_BYTES_MAX: u64 = 64;

pub fn look(engine: &Engine) -> Look {
    look_at((0..engine.keyspace.count()).map(|db| engine.keyspace.db(db).table()))
}

fn look_at<'t>(databases: impl Iterator<Item = &'t CowTable<Entry>>) -> Look {
    let (mut digest, mut pairs, mut words) = (0u64, 0u64, Words::new());
    for (db, table) in databases.enumerate() {
        if table.is_empty() {
            continue;
        }
        for entry in table.iter() {
            let value = value_hash(&entry);
            let mut hasher = DefaultHasher::new();
            hasher.write_usize(db);
            hasher.write(entry.key());
            hasher.write_i64(entry.expiry().map_or(-1, |at| at.0));
            hasher.write_u64(value);
            digest = digest.wrapping_add(hasher.finish());
            if trace::is_on() {
                let key = format!("{db}:{}", entry.key().escape_ascii());
                words.insert(key, describe(&entry));
            }
            if let [side @ (b'<' | b'>'), name @ ..] = entry.key() {
                let mut hasher = DefaultHasher::new();
                hasher.write(name);
                hasher.write_u64(value);
                pairs = match side {
                    b'<' => pairs.wrapping_add(hasher.finish()),
                    _ => pairs.wrapping_sub(hasher.finish()),
                };
            }
        }
    }
    Look {
        digest,
        torn_pair: pairs != 0,
        words,
    }
}

fn describe(entry: &Entry) -> String {
    let value = match entry.view() {
        View::Int(number) => number.to_string(),
        View::Bytes(bytes) => {
            let shown = &bytes[..bytes.len().min(24)];
            format!("{} ({} bytes)", shown.escape_ascii(), bytes.len())
        }
        View::Value(value) => format!("{} {:x}", value.encoding(), value_hash(entry)),
    };
    match entry.expiry() {
        Some(at) => format!("{value} until {}", at.0),
        None => value,
    }
}

pub fn difference(one: &Words, other: &Words) -> String {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut lines = Vec::new();
    for key in keys {
        let (one, other) = (one.get(key), other.get(key));
        if one != other {
            let shown = |value: Option<&String>| value.map_or("nothing".into(), String::clone);
            lines.push(format!("{key}: {}, not {}", shown(one), shown(other)));
        }
    }
    let more = lines.len().saturating_sub(DIFFERENCES_SHOWN);
    if more > 0 {
        lines.truncate(DIFFERENCES_SHOWN);
        lines.push(format!("and {more} more"));
    }
    let lines = lines.iter().map(|line| format!("\n          {line}"));
    lines.collect()
}

const DIFFERENCES_SHOWN: usize = 5;

/// The same for equal values, however they are encoded.
fn value_hash(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    match entry.view() {
        View::Int(number) => hasher.write(number.to_string().as_bytes()),
        View::Bytes(bytes) => hasher.write(bytes),
        View::Value(Value::String(string)) => {
            for piece in string.slices(0, string.len()) {
                hasher.write(&piece);
            }
        }
        View::Value(_) => hasher.write(Digest::of_value(entry).to_string().as_bytes()),
    }
    hasher.finish()
}
