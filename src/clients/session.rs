//! What one connection has chosen and begun: database, protocol, name, transaction, subscriptions.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::aof::durability::Hold;
use crate::journal::position::Offset;
use crate::protocol::reply::Resp;
use crate::protocol::request::OwnedRequest;
use crate::replication::feed::{self, Profile, SnapshotId};

/// What a connection is, beyond an ordinary client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Normal,
    /// Fed with the journal.
    Replica,
    /// Our own link to a master: its requests are the stream.
    Master,
}

/// One thing for a replica's task to do.
#[derive(Debug)]
pub enum FeedWork {
    Do(feed::Action),
    /// Lend the socket to the walk of this snapshot, once what was sent before is written.
    LendSocket(SnapshotId),
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command is not answered.
    SkipNext,
    /// This command is not answered.
    Skip,
}

/// Commands between MULTI and EXEC.
#[derive(Default)]
pub struct Transaction {
    pub queue: Vec<OwnedRequest>,
    /// A command was refused while queueing: EXEC answers EXECABORT.
    pub has_errors: bool,
    /// Bytes held by the queue.
    pub bytes: usize,
}

/// Why a client's task executes nothing for now. Its answer is written by whoever ends the wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Blocked {
    /// WAIT: until `replicas` have acknowledged `offset`.
    ForReplicas {
        replicas: usize,
        offset: Offset,
        deadline: Option<Duration>,
    },
    /// WAITAOF: until `offset` is on disk here, if `local`, and on the disks of `replicas`.
    ForDisks {
        local: bool,
        replicas: usize,
        offset: Offset,
        deadline: Option<Duration>,
    },
    /// A task works for this client (SAVE, SHUTDOWN, DEBUG RELOAD) and answers when it is done.
    ForTask,
    /// DEBUG SLEEP and its like: answered with OK at the deadline.
    Until { deadline: Duration },
}

#[derive(Default)]
pub struct Session {
    pub db: usize,
    pub resp: Resp,
    pub role: Role,
    pub authenticated: bool,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub reply_mode: ReplyMode,
    pub is_monitor: bool,
    pub no_touch: bool,
    pub no_evict: bool,
    pub transaction: Option<Transaction>,
    /// Keys under WATCH, with their databases.
    pub watched: Vec<(usize, Vec<u8>)>,
    /// A watched key has changed: EXEC answers null.
    pub watch_failed: bool,
    pub channels: BTreeSet<Vec<u8>>,
    pub patterns: BTreeSet<Vec<u8>>,
    pub shard_channels: BTreeSet<Vec<u8>>,
    pub blocked: Option<Blocked>,
    /// The name of the last command, for CLIENT LIST.
    pub last_command: &'static str,
    /// The offset behind this client's last write: what WAIT waits for.
    pub write_offset: Offset,
    /// What the answers to the writes since the last batch wait for.
    pub hold: Option<Hold>,
    /// What REPLCONF has said about the replica at the other end.
    pub profile: Option<Box<Profile>>,
    /// What a replica's task is to do next, in order.
    pub feed_queue: VecDeque<FeedWork>,
}

impl Session {
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    pub fn is_subscriber(&self) -> bool {
        self.subscriptions() + self.shard_channels.len() > 0
    }

    pub fn is_replica(&self) -> bool {
        self.role == Role::Replica
    }

    pub fn is_master(&self) -> bool {
        self.role == Role::Master
    }
}
