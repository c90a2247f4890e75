//! A walk over a snapshot as [`super::walk`], but as the commands that bring the dataset about: a base of the AOF for who
//! wants to read it (`aof-use-rdb-preamble no`).
//!
//! ```text
//! [#TS:seconds]  SELECT db  { SET | RPUSH | SADD | ZADD | HMSET  key ...  [PEXPIREAT key ms] }  SELECT db ...
//! ```
//!
//! A collection comes in commands of at most 64 items, as the servers write it. Expired keys are written
//! too: who loads them lets them expire. An empty dataset is no bytes, or the first line alone.

use bytes::Bytes;

use crate::cow::walk::Elements;
use crate::keyspace::entry::{Entry, View};
use crate::number::{Digits, DoubleText};
use crate::types::Value;

use super::Snapshot;
use super::walk::{CHUNK_BYTES, Progress, Written, fetch};

/// Elements, members or pairs.
const ITEMS_PER_COMMAND: usize = 64;

/// A snapshot on its way out.
pub struct CommandWalk {
    snapshot: Snapshot,
    /// The first line says when the snapshot was taken.
    annotates: bool,
    progress: Progress,
}

impl CommandWalk {
    pub fn new(snapshot: Snapshot, annotates: bool) -> Self {
        CommandWalk {
            snapshot,
            annotates,
            progress: Progress::default(),
        }
    }

    /// Counts its keys there.
    pub fn counting(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Writes all of the snapshot, chunk after chunk, and consumes it. Blocks as long as `take` does.
    ///
    /// # Errors
    /// Those of `take`: the walk ends there, and what is left of the snapshot is freed.
    pub fn run<E>(self, take: impl FnMut(Bytes) -> Result<(), E>) -> Result<Written, E> {
        let CommandWalk {
            snapshot,
            annotates,
            progress,
        } = self;
        let mut commands = Commands {
            pending: Vec::with_capacity(CHUNK_BYTES),
            bytes: 0,
            take,
            failure: None,
        };
        if annotates {
            let line = format!("#TS:{}\r\n", snapshot.taken_at.seconds());
            commands.pending.extend_from_slice(line.as_bytes());
        }
        let mut keys = 0;
        for (index, database) in snapshot.picture.databases.into_iter().enumerate() {
            if database.table.is_empty() {
                continue;
            }
            commands.begin(2, b"SELECT");
            commands.integer(index as i64);
            let mut walk = database.table.into_walk();
            let mut wanted = true;
            while wanted
                && walk.next_leaf(|entries: Elements<Entry>| {
                    fetch(entries.clone());
                    wanted = entries.clone().all(|entry| {
                        keys += 1;
                        commands.entry(&entry)
                    });
                })
            {
                progress.set_keys(keys);
            }
            if let Some(failure) = commands.failure {
                return Err(failure);
            }
        }
        commands.hand_over();
        match commands.failure {
            Some(failure) => Err(failure),
            None => Ok(Written {
                keys,
                bytes: commands.bytes,
            }),
        }
    }
}

/// Commands in the making, and where they go.
struct Commands<T, E> {
    pending: Vec<u8>,
    /// Handed over so far.
    bytes: u64,
    take: T,
    failure: Option<E>,
}

impl<E, T: FnMut(Bytes) -> Result<(), E>> Commands<T, E> {
    /// One key with its value; false if nobody takes the bytes any more.
    fn entry(&mut self, entry: &Entry) -> bool {
        let key = entry.key();
        match entry.view() {
            View::Int(value) => {
                self.set(key);
                self.integer(value);
            }
            View::Bytes(bytes) => {
                self.set(key);
                self.word(bytes);
            }
            View::Value(value) => self.value(key, value),
        }
        if let Some(at) = entry.expiry() {
            self.begin(3, b"PEXPIREAT");
            self.word(key);
            self.integer(at.0);
        }
        self.relieve()
    }

    fn value(&mut self, key: &[u8], value: &Value) {
        let mut digits = Digits::new();
        match value {
            Value::String(string) => {
                self.set(key);
                self.header(b'$', string.len());
                for chunk in string.chunks() {
                    self.pending.extend_from_slice(chunk);
                    self.relieve();
                }
                self.pending.extend_from_slice(b"\r\n");
            }
            Value::List(list) => {
                self.items(b"RPUSH", key, list.len(), 1, list.iter(), |commands, it| {
                    commands.word(it.element().text(&mut digits));
                });
            }
            Value::Set(set) => {
                self.items(b"SADD", key, set.len(), 1, set.iter(), |commands, it| {
                    commands.word(it.text(&mut digits));
                });
            }
            Value::Hash(hash) => {
                self.items(b"HMSET", key, hash.len(), 2, hash.iter(), |commands, it| {
                    commands.word(it.0.text(&mut digits));
                    commands.word(it.1.text(&mut digits));
                });
            }
            Value::SortedSet(set) => {
                self.items(b"ZADD", key, set.len(), 2, set.iter(), |commands, it| {
                    commands.word(DoubleText::of(it.score).as_bytes());
                    commands.word(it.member.text(&mut digits));
                });
            }
        }
    }

    /// `count` items of so many words each, in as many commands as they need. Ends early if nobody takes the bytes any more.
    fn items<I>(
        &mut self,
        name: &[u8],
        key: &[u8],
        count: usize,
        words_per_item: usize,
        items: impl Iterator<Item = I>,
        mut write: impl FnMut(&mut Self, I),
    ) {
        for (number, item) in items.enumerate() {
            if number % ITEMS_PER_COMMAND == 0 {
                let items = (count - number).min(ITEMS_PER_COMMAND);
                self.begin(2 + items * words_per_item, name);
                self.word(key);
            }
            write(self, item);
            if !self.relieve() {
                return;
            }
        }
    }

    fn set(&mut self, key: &[u8]) {
        self.begin(3, b"SET");
        self.word(key);
    }

    /// A command of so many words, the name with them.
    fn begin(&mut self, words: usize, name: &[u8]) {
        self.header(b'*', words);
        self.word(name);
    }

    fn word(&mut self, word: &[u8]) {
        self.header(b'$', word.len());
        self.pending.extend_from_slice(word);
        self.pending.extend_from_slice(b"\r\n");
    }

    fn integer(&mut self, value: i64) {
        self.word(Digits::new().of(value));
    }

    fn header(&mut self, kind: u8, number: usize) {
        self.pending.push(kind);
        self.pending
            .extend_from_slice(Digits::new().of(number as i64));
        self.pending.extend_from_slice(b"\r\n");
    }

    /// Called wherever a chunk may end: false if nobody takes it.
    fn relieve(&mut self) -> bool {
        if self.pending.len() >= CHUNK_BYTES {
            self.hand_over();
        }
        self.failure.is_none()
    }

    fn hand_over(&mut self) {
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK_BYTES));
        if self.failure.is_none() && !chunk.is_empty() {
            self.bytes += chunk.len() as u64;
            self.failure = (self.take)(Bytes::from(chunk)).err();
        }
    }
}
