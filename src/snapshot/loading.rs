//! RDB bytes to a fresh keyspace: whole, or not at all.
//!
//! ```text
//! bytes --feed--> decoder -> values, entries, hashes --batches--> [ another thread: tables ] --finish--> Loaded
//! ```
//!
//! The feeding thread decodes and builds, a second one puts what was built into the tables, so that both cores work. The queue
//! between them is bounded: feeding blocks while the tables lag behind. Nothing of the old keyspace is touched here; whoever has a
//! [`Loaded`] swaps it in, and dropping a [`Loader`] drops what it has built.
//!
//! Refused, besides whatever is malformed: a database that is not configured, and a key that comes twice. Skipped: keys
//! whose time has passed, where this node decides that, and collections without elements.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::clock::UnixMillis;
use crate::cow::element;
use crate::journal::position::{Offset, Position, ReplId};
use crate::keyspace::Keyspace;
use crate::keyspace::access::{self, AccessRule};
use crate::keyspace::entry::{Content, Entry};
use crate::number;
use crate::rdb::decoder::{self, Decoder, Event, KeyHead};
use crate::rdb::error::{During, Problem, RdbError};
use crate::rdb::value_decoder::{Built, Limits, ValueBuilder};

/// What becomes of keys whose time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// On a replica, and below an AOF: whoever tells the rest of the story decides.
    Keep,
    /// On a master: they are dropped and counted. With `list`, their names are kept, for replicas that hold them.
    Drop { list: bool },
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many databases are configured.
    pub databases: usize,
    pub expired: Expired,
    pub now: UnixMillis,
    /// How the use of keys is noted in memory.
    pub access: AccessRule,
    pub limits: Limits,
    pub verify_checksum: bool,
    /// The length of the payload, where it is known.
    pub payload_bytes: Option<u64>,
}

/// A dataset that has been read whole.
pub struct Loaded {
    pub keyspace: Keyspace,
    pub about: About,
    pub counts: Counts,
    /// Database and name of each key that was dropped because its time had passed, if they were to be listed.
    pub expired_keys: Vec<(usize, Box<[u8]>)>,
    /// Bytes that were fed after the payload's end.
    pub rest: Vec<u8>,
}

/// What the payload says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub server_version: Option<String>,
    pub created_unix: Option<i64>,
    pub used_memory_bytes: Option<u64>,
    /// Whether an AOF continues it.
    pub aof_base: bool,
    /// Where in whose history it stands.
    pub position: Option<Position>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys loaded.
    pub keys: u64,
    /// Keys dropped because their time had passed.
    pub expired: u64,
    /// Keys dropped because their collection had no element.
    pub empty: u64,
    /// Bytes of the payload.
    pub bytes: u64,
}

/// Why a payload has not become a keyspace.
#[derive(Debug)]
pub enum LoadError {
    Rdb(RdbError),
    /// The second thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Rdb(error) => error.fmt(out),
            LoadError::Thread(error) => write!(out, "no thread to load with: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<RdbError> for LoadError {
    fn from(error: RdbError) -> Self {
        LoadError::Rdb(error)
    }
}

/// A payload on its way in.
pub struct Loader {
    decoder: Decoder,
    options: Options,
    builder: ValueBuilder,
    about: AboutReader,
    counts: Counts,
    expired_keys: Vec<(usize, Box<[u8]>)>,
    db: usize,
    current: Current,
    batch: Batch,
    inserter: Inserter,
    failed: Option<RdbError>,
}

impl Loader {
    /// # Errors
    /// No second thread could be started.
    pub fn new(options: Options) -> Result<Self, LoadError> {
        Ok(Loader {
            decoder: Decoder::new(decoder::Options {
                verify_checksum: options.verify_checksum,
                payload_bytes: options.payload_bytes,
                ..decoder::Options::default()
            }),
            builder: ValueBuilder::new(options.limits),
            about: AboutReader::default(),
            counts: Counts::default(),
            expired_keys: Vec::new(),
            db: 0,
            current: Current::default(),
            batch: Batch::default(),
            inserter: Inserter::start(options.databases).map_err(LoadError::Thread)?,
            failed: None,
            options,
        })
    }

    /// Takes in more bytes: decodes what they complete, and waits while the tables lag behind. Not for a thread that serves
    /// others.
    ///
    /// # Errors
    /// The payload is refused; nothing more can come of this loader.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        self.decoder.feed(bytes);
        self.decode()
    }

    /// Whether the end of the payload has been read: what is fed from here on is none of it.
    pub fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        Counts {
            bytes: self.decoder.offset(),
            ..self.counts
        }
    }

    pub fn about(&self) -> About {
        self.about.about()
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// The payload is not complete, or refused.
    pub fn finish(mut self) -> Result<Loaded, LoadError> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        if !self.decoder.is_done() {
            self.decoder.close();
            self.decode()?;
        }
        self.send_batch()?;
        let keyspace = self.inserter.finish()?;
        if self.counts.empty > 0 {
            log::warn!(
                "{} keys without elements were skipped while loading",
                self.counts.empty
            );
        }
        self.counts.bytes = self.decoder.offset();
        Ok(Loaded {
            keyspace,
            about: self.about.about(),
            counts: self.counts,
            expired_keys: self.expired_keys,
            rest: self.decoder.into_rest(),
        })
    }

    fn decode(&mut self) -> Result<(), LoadError> {
        match self.decode_all() {
            Ok(()) => Ok(()),
            Err(error) => {
                // A key that came twice stood before whatever the decoder has stumbled over.
                let first = self.send_batch().err().unwrap_or(error);
                let first = self.inserter.stop().err().unwrap_or(first);
                self.failed = Some(first.clone());
                Err(first.into())
            }
        }
    }

    fn decode_all(&mut self) -> Result<(), RdbError> {
        while let Some(event) = self.decoder.next_event()? {
            let refused = match event {
                Event::Part(part) => self.builder.add(part).err(),
                Event::Key(head) => {
                    self.builder.begin(head.value_type);
                    self.current.begin(&head);
                    None
                }
                Event::ValueEnd => {
                    let at = self.decoder.offset();
                    match self.builder.finish() {
                        Ok(built) => {
                            let entry = self.current.entry(built, &self.options);
                            self.keep(entry, at)?;
                            None
                        }
                        Err(problem) => Some(problem),
                    }
                }
                Event::SelectDb(selected) => {
                    let databases = self.options.databases as u64;
                    if selected < databases {
                        self.db = selected as usize;
                        None
                    } else {
                        Some(Problem::Database {
                            selected,
                            databases,
                        })
                    }
                }
                Event::Aux { name, value } => {
                    self.about.field(&name, &value);
                    None
                }
                Event::ResizeDb { .. } | Event::End => None,
            };
            if let Some(problem) = refused {
                return Err(self.decoder.refuse(problem));
            }
        }
        Ok(())
    }

    fn keep(&mut self, outcome: Outcome, at: u64) -> Result<(), RdbError> {
        match outcome {
            Outcome::Entry(entry) => {
                self.counts.keys += 1;
                let hash = element::hash(&self.current.key);
                if self.batch.db != self.db || self.batch.entries.len() == BATCH_KEYS {
                    self.send_batch()?;
                    self.batch.db = self.db;
                    self.batch.entries.reserve(BATCH_KEYS);
                }
                self.batch.entries.push(Arrived { hash, at, entry });
            }
            Outcome::Expired => {
                self.counts.expired += 1;
                if self.options.expired == (Expired::Drop { list: true }) {
                    let key = self.current.key.as_slice().into();
                    self.expired_keys.push((self.db, key));
                }
            }
            Outcome::Empty => {
                self.counts.empty += 1;
                if self.counts.empty <= EMPTY_KEYS_LOGGED {
                    let shown = &self.current.key[..self.current.key.len().min(64)];
                    log::warn!(
                        "Skipping the key \"{}\": its collection has no elements",
                        shown.escape_ascii()
                    );
                }
            }
        }
        Ok(())
    }

    fn send_batch(&mut self) -> Result<(), RdbError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.entries.is_empty() {
            return Ok(());
        }
        self.inserter.send(batch)
    }
}

/// The key that is being read.
#[derive(Default)]
struct Current {
    key: Vec<u8>,
    expiry: Option<UnixMillis>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

enum Outcome {
    Entry(Entry),
    Expired,
    Empty,
}

impl Current {
    fn begin(&mut self, head: &KeyHead) {
        self.key.clear();
        self.key.extend_from_slice(&head.key);
        self.expiry = head.expire;
        self.idle_seconds = head.idle_seconds;
        self.frequency = head.freq;
    }

    fn entry(&self, built: Built, options: &Options) -> Outcome {
        let is_expired = self.expiry.is_some_and(|at| at < options.now);
        let content = match built {
            Built::Nothing => return Outcome::Empty,
            _ if is_expired && options.expired != Expired::Keep => return Outcome::Expired,
            Built::Int(value) => Content::Int(value),
            Built::Bytes(bytes) => Content::Bytes(bytes),
            Built::Value(value) => Content::Value(value),
        };
        let entry = Entry::new(&self.key, self.expiry, content);
        entry.set_access(match (options.access, self.idle_seconds, self.frequency) {
            (AccessRule::Lru, Some(idle), _) => access::from_idle_seconds(idle, options.now),
            (AccessRule::Lfu { .. }, _, Some(counter)) => {
                access::from_frequency(counter, options.now)
            }
            (rule, ..) => access::fresh(rule, options.now),
        });
        Outcome::Entry(entry)
    }
}

/// Collects the AUX fields that mean something here.
#[derive(Default)]
struct AboutReader {
    about: About,
    id: Option<ReplId>,
    offset: Option<Offset>,
    stream_db: Option<u32>,
}

impl AboutReader {
    /// Names are compared without case; what is unknown, or not a number where one should be, is passed over.
    fn field(&mut self, name: &[u8], value: &[u8]) {
        let number = || number::parse_i64(value);
        match name.to_ascii_lowercase().as_slice() {
            b"redis-ver" | b"valkey-ver" => {
                let shown = &value[..value.len().min(64)];
                self.about.server_version = Some(shown.escape_ascii().to_string());
            }
            b"ctime" => self.about.created_unix = number(),
            b"used-mem" => {
                self.about.used_memory_bytes = number().and_then(|bytes| u64::try_from(bytes).ok());
            }
            b"aof-base" | b"aof-preamble" => self.about.aof_base = number().unwrap_or(0) != 0,
            b"repl-id" => self.id = ReplId::parse(value),
            b"repl-offset" => self.offset = Offset::parse(value),
            b"repl-stream-db" => self.stream_db = number().and_then(|db| u32::try_from(db).ok()),
            _ => {}
        }
    }

    fn about(&self) -> About {
        About {
            position: self.id.zip(self.offset).map(|(id, offset)| Position {
                id,
                offset,
                stream_db: self.stream_db,
            }),
            ..self.about.clone()
        }
    }
}

/// Entries of one database, in the order in which they came.
#[derive(Default)]
struct Batch {
    db: usize,
    entries: Vec<Arrived>,
}

struct Arrived {
    hash: u64,
    /// Where in the payload its value ends.
    at: u64,
    entry: Entry,
}

/// The second thread, seen from the first.
struct Inserter {
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<Result<Keyspace, RdbError>>>,
}

impl Inserter {
    fn start(databases: usize) -> io::Result<Self> {
        let (batches, arriving) = sync_channel(BATCHES_WAITING_MAX);
        let thread = thread::Builder::new()
            .name("load-insert".into())
            .spawn(move || insert_all(&arriving, databases))?;
        Ok(Inserter {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    fn send(&mut self, batch: Batch) -> Result<(), RdbError> {
        if let Some(batches) = &self.batches
            && batches.send(batch).is_err()
        {
            // It only stops listening when it has something to complain about.
            return self.stop();
        }
        Ok(())
    }

    /// Ends the thread, and drops what it has built.
    fn stop(&mut self) -> Result<(), RdbError> {
        self.batches = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Keyspace, RdbError> {
        self.batches = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => unreachable!("the thread is taken once, and an error ends the loader before"),
        }
    }
}

/// Puts what arrives into tables, until no more will come.
fn insert_all(arriving: &Receiver<Batch>, databases: usize) -> Result<Keyspace, RdbError> {
    let mut keyspace = Keyspace::new(databases);
    for batch in arriving {
        let database = keyspace.db_mut(batch.db);
        let mut ahead = VecDeque::with_capacity(PREFETCHED_KEYS + 1);
        let mut entries = batch.entries.into_iter();
        loop {
            let next = entries.next();
            let none_left = next.is_none();
            if let Some(arrived) = next {
                database.prefetch(arrived.hash);
                ahead.push_back(arrived);
            }
            if ahead.len() > PREFETCHED_KEYS || none_left {
                let Some(arrived) = ahead.pop_front() else {
                    break;
                };
                if let Some(old) = database.insert(arrived.hash, arrived.entry) {
                    return Err(RdbError {
                        at: arrived.at,
                        during: During::value_of(old.key()),
                        problem: Problem::Duplicate("key"),
                    });
                }
            }
        }
    }
    Ok(keyspace)
}

/// Keys in a batch: enough that handing one over costs nothing beside building it.
const BATCH_KEYS: usize = 256;

/// Batches that may wait for the second thread.
const BATCHES_WAITING_MAX: usize = 32;

/// How many leaves are fetched ahead of the key that is inserted.
const PREFETCHED_KEYS: usize = 8;

/// So many keys that were skipped are named in the log.
const EMPTY_KEYS_LOGGED: u64 = 10;
