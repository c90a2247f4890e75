//! Random clients: they write, read, wait for replicas, and go elsewhere when a node sends them away.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use async_std::channel::bounded;
use sluice::clients::{ClientKey, Ends};
use sluice::engine::dispatch::Flow;
use sluice::engine::table;
use sluice::journal::position::Offset;
use sluice::protocol::reply::ReplyBuffer;
use sluice::protocol::request::OwnedRequest;

use crate::node::Node;
use crate::time::Sim;
use crate::trace;

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub clients: usize,
    pub think_ms_max: u64,
    pub value_bytes_max: u64,
    /// One value in so many is as long as a command may be without being kept whole in one buffer.
    pub huge_in: u64,
    pub wait_in: u64,
    pub transaction_in: u64,
    pub databases: u64,
}

/// A connection to an engine, without a network between.
pub struct Client {
    node: Rc<Node>,
    key: ClientKey,
}

impl Client {
    /// None if the node is down or takes nobody.
    pub fn connect(node: &Rc<Node>) -> Option<Self> {
        let ends = Ends {
            peer: "10.0.0.99:50000".into(),
            ..Ends::default()
        };
        let key = node.try_with(|engine| engine.connect(ends))?.ok()?;
        Some(Client {
            node: node.clone(),
            key,
        })
    }

    /// Executes one request and waits for its answer; none if the connection has ended.
    pub async fn call(&self, words: &[&[u8]]) -> Option<Vec<u8>> {
        self.node.sim.contend().await;
        let request = OwnedRequest::new(words.iter().copied());
        let (node, key) = (&self.node, self.key);
        let (mut out, mut executed) = (ReplyBuffer::default(), false);
        poll_fn(|context| {
            let standing = node.try_with(|engine| {
                if engine.clients.find(key).is_some() && !executed {
                    let argv = request.argv();
                    engine.begin_batch(key);
                    executed = engine.execute(key, argv, table::lookup(argv)) != Flow::Postponed;
                }
                engine.end_batch(key, &mut out, context.waker())
            });
            match standing {
                None => Poll::Ready(None),
                Some(standing) if standing.closing.is_some() => Poll::Ready(None),
                Some(standing) if executed && !standing.blocked => Poll::Ready(Some(out.to_vec())),
                Some(_) => Poll::Pending,
            }
        })
        .await
    }

    /// [`Client::call`] for a request in words.
    pub async fn say(&self, text: &str) -> Option<Vec<u8>> {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        self.call(&words).await
    }

    /// [`Client::call`] for those who cannot wait: what is answered at once.
    pub fn say_now(&self, text: &str) -> Option<Vec<u8>> {
        self.execute_now(&OwnedRequest::new(text.split(' ').map(str::as_bytes)))
    }

    fn execute_now(&self, request: &OwnedRequest) -> Option<Vec<u8>> {
        let mut out = ReplyBuffer::default();
        self.node.try_with(|engine| {
            if engine.clients.find(self.key).is_some() {
                let argv = request.argv();
                engine.begin_batch(self.key);
                engine.execute(self.key, argv, table::lookup(argv));
            }
            engine.end_batch(self.key, &mut out, std::task::Waker::noop());
        })?;
        Some(out.to_vec())
    }

    fn write_offset(&self) -> Option<Offset> {
        let key = self.key;
        self.node
            .try_with(|engine| Some(engine.clients.find(key)?.session.write_offset))
            .flatten()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // With its process a client's record ends too; another process would not know the key.
        let key = self.key;
        self.node.try_with(|engine| engine.disconnect(key));
    }
}

/// Sends a client's sessions to one node after another, until `stop` is set.
pub async fn visit(sim: Sim, nodes: Rc<Vec<Rc<Node>>>, habits: Habits, stop: Rc<Cell<bool>>) {
    while !stop.get() {
        let masters: Vec<_> = nodes.iter().filter(|node| node.is_master()).collect();
        let node = match masters.is_empty() || sim.once_in(6) {
            true => sim.pick(&nodes).clone(),
            false => (*sim.pick(&masters)).clone(),
        };
        // The session is part of the node's process and ends with it; the sender then ends unused.
        let (done, finished) = bounded::<()>(1);
        let (visited, stop) = (node.clone(), stop.clone());
        node.spawn("client", async move {
            let _done = done;
            session(visited, habits, stop).await;
        });
        let _ = finished.recv().await;
        sim.sleep(sim.millis_below(habits.think_ms_max) + Duration::from_millis(1))
            .await;
    }
}

async fn session(node: Rc<Node>, habits: Habits, stop: Rc<Cell<bool>>) {
    let Some(client) = Client::connect(&node) else {
        return;
    };
    let mut session = Session {
        client,
        node,
        habits,
    };
    let turns = 1 + session.node.sim.below(20);
    for _ in 0..turns {
        let think = session.node.sim.millis_below(habits.think_ms_max);
        session.node.sim.sleep(think).await;
        if stop.get() || session.turn().await.is_none() {
            return;
        }
    }
}

/// One random write on `node`, at once.
pub fn write_once(node: &Rc<Node>, habits: &Habits) {
    let Some(client) = Client::connect(node) else {
        return;
    };
    let session = Session {
        client,
        node: node.clone(),
        habits: *habits,
    };
    let request = session.request();
    let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    session.client.execute_now(&OwnedRequest::new(words));
}

struct Session {
    client: Client,
    node: Rc<Node>,
    habits: Habits,
}

impl Session {
    fn sim(&self) -> &Sim {
        &self.node.sim
    }

    /// One thing that a client does; none if it should go elsewhere.
    async fn turn(&mut self) -> Option<()> {
        if self.sim().once_in(5) {
            let db = self.sim().below(self.habits.databases);
            self.client.say(&format!("SELECT {db}")).await?;
        }
        if self.sim().once_in(self.habits.transaction_in) {
            self.transaction().await?;
        } else {
            let request = self.request();
            self.write(&request).await?;
        }
        if self.sim().once_in(3) {
            let node = self.node.clone();
            node.oracle.borrow_mut().observe(&node);
        }
        if self.sim().once_in(self.habits.wait_in) {
            self.wait().await?;
        }
        Some(())
    }

    async fn write(&self, request: &[Vec<u8>]) -> Option<()> {
        let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let reply = self.client.call(&words).await?;
        self.node.note(|| {
            let mut sent = Vec::new();
            sluice::journal::effect::encode_argv(&words, &mut sent);
            let end = self.node.with(|engine| engine.journal.end());
            format!(
                "> {}: {}  (at {end})",
                trace::shown(&sent),
                trace::shown(&reply)
            )
        });
        let refused = [
            &b"-READONLY"[..],
            b"-LOADING",
            b"-MASTERDOWN",
            b"-NOREPLICAS",
        ];
        let is_refused = refused.iter().any(|code| reply.starts_with(code));
        (!is_refused).then_some(())
    }

    /// Both halves of a pair, and perhaps more between: seen together or not at all.
    async fn transaction(&self) -> Option<()> {
        self.client.say("MULTI").await?;
        let (name, value) = (self.sim().below(3), self.value());
        let expires = self.sim().once_in(4);
        let half = async |side: &str, db: u64| {
            self.client.say(&format!("SELECT {db}")).await?;
            let key = format!("{side}{name}").into_bytes();
            let mut words = vec![&b"SET"[..], &key, &value];
            if expires {
                words.extend([&b"PXAT"[..], b"99999999999999"]);
            }
            self.client.call(&words).await
        };
        let db = self.sim().below(self.habits.databases);
        half("<", PAIR_DATABASES[0]).await?;
        self.client.say(&format!("SELECT {db}")).await?;
        for _ in 0..self.sim().below(3) {
            let request = self.request();
            let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            self.client.call(&words).await?;
            self.sim()
                .sleep(self.sim().millis_below(self.habits.think_ms_max))
                .await;
        }
        half(">", PAIR_DATABASES[1]).await?;
        self.client.say(&format!("SELECT {db}")).await?;
        let reply = self.client.say("EXEC").await?;
        let end = self.node.place()?.1;
        self.node
            .note(|| format!("> EXEC: {} (at {end})", trace::shown(&reply)));
        (!reply.starts_with(b"-")).then_some(())
    }

    async fn wait(&self) -> Option<()> {
        let before = self.node.place()?.0;
        let replicas = 1 + self.sim().below(2);
        let offset = self.client.write_offset()?;
        let reply = self.client.say(&format!("WAIT {replicas} 700")).await?;
        let text = String::from_utf8_lossy(&reply);
        self.node
            .note(|| format!("> WAIT {replicas} for {offset}: {}", text.trim_end()));
        let count = text.strip_prefix(':')?.trim_end().parse().ok()?;
        if self.node.place()?.0 == before && offset > Offset::ZERO {
            let mut oracle = self.node.oracle.borrow_mut();
            oracle.check_wait(&self.node, offset, count);
        }
        Some(())
    }

    fn value(&self) -> Vec<u8> {
        let sim = self.sim();
        let length = if sim.once_in(self.habits.huge_in) {
            30_000 + sim.below(10_000)
        } else if sim.once_in(3) {
            return sim.below(1000).to_string().into_bytes();
        } else {
            1 + sim.below(self.habits.value_bytes_max)
        };
        let letter = b'a' + sim.below(26) as u8;
        vec![letter; length as usize]
    }

    /// A random write of those that this build knows.
    fn request(&self) -> Vec<Vec<u8>> {
        loop {
            let row = self.sim().pick(WRITES);
            let name = row.split(' ').next().unwrap_or_default();
            let expires = ["PX", "EX", "PXAT"].iter().any(|word| row.contains(word));
            let needed = if expires { "del" } else { name };
            if table::find(name.as_bytes()).is_none() || table::find(needed.as_bytes()).is_none() {
                continue;
            }
            return row.split(' ').map(|word| self.word(word)).collect();
        }
    }

    fn word(&self, word: &str) -> Vec<u8> {
        let sim = self.sim();
        let now = self.node.clock.unix_millis().0;
        match word {
            "{s}" => format!("s{}", sim.below(6)).into_bytes(),
            "{n}" => format!("n{}", sim.below(3)).into_bytes(),
            "{l}" => format!("l{}", sim.below(3)).into_bytes(),
            "{h}" => format!("h{}", sim.below(3)).into_bytes(),
            "{m}" => format!("m{}", sim.below(3)).into_bytes(),
            "{z}" => format!("z{}", sim.below(3)).into_bytes(),
            "{any}" => format!(
                "{}{}",
                sim.pick(&["s", "n", "l", "h", "m", "z"]),
                sim.below(3)
            )
            .into_bytes(),
            "{v}" => self.value(),
            "{f}" => format!("f{}", sim.below(12)).into_bytes(),
            "{d}" => (sim.below(20) as i64 - 10).to_string().into_bytes(),
            "{ms}" => (1 + sim.below(3000)).to_string().into_bytes(),
            "{at}" => (now + sim.below(4000) as i64 - 500)
                .to_string()
                .into_bytes(),
            "{db}" => sim.below(self.habits.databases).to_string().into_bytes(),
            other => other.as_bytes().to_vec(),
        }
    }
}

/// What clients write; rows that this build does not know are passed over.
const WRITES: &[&str] = &[
    "SET {s} {v}",
    "SET {s} {v}",
    "SET {s} {v} PX {ms}",
    "SET {s} {v} EX 1",
    "SET {s} {v} PXAT {at}",
    "SET {s} {v} KEEPTTL",
    "SET {s} {v} NX",
    "SET {s} {v} XX GET",
    "SET {n} {d} GET",
    "GETSET {s} {v}",
    "GETDEL {s}",
    "GETEX {s} PX {ms}",
    "DEL {any}",
    "UNLINK {any} {any}",
    "INCR {n}",
    "INCRBY {n} {d}",
    "INCRBYFLOAT {n} 0.5",
    "APPEND {s} x",
    "SETRANGE {s} 3 yy",
    "MSET {s} {v} {s} {v}",
    "PEXPIRE {any} {ms}",
    "PEXPIREAT {any} {at}",
    "PERSIST {any}",
    "RENAME {s} {s}",
    "COPY {any} {s} REPLACE",
    "MOVE {any} {db}",
    "SWAPDB 0 1",
    "RPUSH {l} {f} {f}",
    "RPUSH {l} {v}",
    "LPUSH {l} {f}",
    "LPOP {l}",
    "RPOP {l} 2",
    "LTRIM {l} 0 20",
    "LSET {l} 0 {f}",
    "LINSERT {l} BEFORE {f} {f}",
    "LREM {l} 1 {f}",
    "LMOVE {l} {l} LEFT RIGHT",
    "LMPOP 2 {l} {l} LEFT COUNT 2",
    "HSET {h} {f} {v}",
    "HSET {h} {f} {d} {f} {d}",
    "HDEL {h} {f}",
    "HINCRBY {h} {f} {d}",
    "HINCRBYFLOAT {h} {f} 1.25",
    "SADD {m} {f} {f}",
    "SADD {m} {d}",
    "SREM {m} {f}",
    "SPOP {m}",
    "SPOP {m} 2",
    "SMOVE {m} {m} {f}",
    "SUNIONSTORE {m} {m} {m}",
    "ZADD {z} {d} {f} {d} {f}",
    "ZINCRBY {z} {d} {f}",
    "ZADD {z} INCR {d} {f}",
    "ZREM {z} {f}",
    "ZPOPMIN {z}",
    "ZRANGESTORE {z} {z} 0 5",
    "ZREMRANGEBYRANK {z} 5 -1",
    "FLUSHDB",
];

/// Where the halves of pairs are: nothing else is written there.
const PAIR_DATABASES: [u64; 2] = [4, 5];

pub const DATABASES: u32 = 6;
