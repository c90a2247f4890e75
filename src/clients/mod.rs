//! Who is connected: one record a connection, kept by the engine.
//!
//! A connection's task owns its socket; what others may read or change about it stands here: its settings, its queue of
//! commands, what waits to be written. Whoever adds to a client's output wakes its task.
//!
//! Knows nothing of sockets: a task is known by its [`Waker`].

pub mod client_commands;
pub mod commands;
pub mod list_commands;
pub mod outbox;
pub mod session;
pub mod wire;

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use outbox::Outbox;
use session::Session;

/// The number that CLIENT ID answers; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Where a client's record is, checked against the id in debug builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    slot: u32,
    pub id: ClientId,
}

/// Names of a connection's ends, as CLIENT LIST prints them.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    pub peer: String,
    pub local: String,
    pub fd: i32,
    /// Connected over a unix socket.
    pub is_unix: bool,
    /// Connected over the loopback interface or a unix socket.
    pub is_local: bool,
}

/// One connection.
pub struct Client {
    pub key: ClientKey,
    pub ends: Ends,
    pub connected_at: Duration,
    pub active_at: Duration,
    pub session: Session,
    pub outbox: Outbox,
    /// Set by the task while it waits.
    pub waker: Option<Waker>,
    /// The task is to end the connection; set by others (CLIENT KILL, limits) or by the client's own QUIT.
    pub closing: Option<Closing>,
    pub commands: u64,
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    /// Once what has been answered is written.
    AfterReplies,
    /// At once.
    Now,
}

impl Client {
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Bytes of memory that the connection takes: its record, replies, requests, transaction.
    pub fn held_bytes(&self) -> usize {
        let transaction = self.session.transaction.as_ref();
        size_of::<Client>()
            + self.outbox.buffer.memory_bytes()
            + self.outbox.wire.unsent_bytes()
            + self.outbox.wire.held_bytes()
            + transaction.map_or(0, |transaction| transaction.bytes)
    }

    /// Asks the task to end the connection; a stronger wish replaces a weaker one.
    pub fn close(&mut self, how: Closing) {
        self.closing = self.closing.max(Some(how));
        self.wake();
    }
}

/// All connections.
#[derive(Default)]
pub struct Clients {
    slots: Vec<Option<Box<Client>>>,
    free: Vec<u32>,
    by_id: BTreeMap<ClientId, u32>,
    last_id: u64,
}

impl Clients {
    pub fn connect(&mut self, ends: Ends, session: Session, now: Duration) -> ClientKey {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let key = ClientKey { slot, id };
        self.slots[slot as usize] = Some(Box::new(Client {
            key,
            ends,
            connected_at: now,
            active_at: now,
            session,
            outbox: Outbox::default(),
            waker: None,
            closing: None,
            commands: 0,
        }));
        self.by_id.insert(id, slot);
        key
    }

    pub fn disconnect(&mut self, key: ClientKey) -> Option<Box<Client>> {
        self.by_id.remove(&key.id)?;
        self.free.push(key.slot);
        self.slots[key.slot as usize].take()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The client, unless it has gone.
    pub fn find(&self, key: ClientKey) -> Option<&Client> {
        let client = self.slots.get(key.slot as usize)?.as_deref()?;
        (client.key.id == key.id).then_some(client)
    }

    pub fn find_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        let client = self.slots.get_mut(key.slot as usize)?.as_deref_mut()?;
        (client.key.id == key.id).then_some(client)
    }

    /// # Panics
    /// If the client has gone: only for the client whose request is being executed.
    pub fn get(&self, key: ClientKey) -> &Client {
        self.find(key)
            .expect("a client that executes a request is connected")
    }

    /// # Panics
    /// As [`Clients::get`].
    pub fn get_mut(&mut self, key: ClientKey) -> &mut Client {
        self.find_mut(key)
            .expect("a client that executes a request is connected")
    }

    pub fn key_of(&self, id: ClientId) -> Option<ClientKey> {
        self.by_id.get(&id).map(|&slot| ClientKey { slot, id })
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.by_id
            .values()
            .filter_map(|&slot| self.slots[slot as usize].as_deref())
    }

    pub fn keys(&self) -> Vec<ClientKey> {
        self.by_id
            .iter()
            .map(|(&id, &slot)| ClientKey { slot, id })
            .collect()
    }
}
