//! RDB bytes to a fresh keyspace: whole, or not at all.
//!
//! ```text
//! bytes --feed--> decoder -> keys, values --batches--> [ another thread: entries, tables ] --finish--> Loaded
//! ```
//!
//! The feeding thread decodes and builds values, a second one makes entries of them and puts these into the tables, so that
//! both cores work. The queue between them is bounded: feeding blocks while the tables lag behind. Nothing of the old keyspace is touched here; whoever has a
//! [`Loaded`] swaps it in, and dropping a [`Loader`] drops what it has built.
//!
//! Refused, besides whatever is malformed: a database that is not configured, and a key that comes twice. Skipped: keys
//! whose time has passed, where this node decides that, and collections without elements.

mod about;
mod inserter;

use std::fmt;
use std::io;

use crate::clock::UnixMillis;
use crate::journal::position::Position;
use crate::keyspace::Keyspace;
use crate::keyspace::access::{self, AccessRule};
use crate::rdb::decoder::{self, Decoder, Event, KeyHead};
use crate::rdb::error::{Problem, RdbError};
use crate::rdb::opcode::ValueType;
use crate::rdb::parts::{NodeForm, Part};
use crate::rdb::primitive::RdbString;
use crate::rdb::value_decoder::{Built, Limits, ValueBuilder};

pub use about::about_of;

use about::AboutReader;
use inserter::{Batch, Container, Inserted, Inserter};

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
    value: ValueInProgress,
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
            value: ValueInProgress::Expected,
            about: AboutReader::default(),
            counts: Counts::default(),
            expired_keys: Vec::new(),
            db: 0,
            current: Current::none(),
            batch: Batch::new(0),
            inserter: Inserter::start(options.databases, options.limits)
                .map_err(LoadError::Thread)?,
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
        let Inserted { keyspace, empty } = self.inserter.finish()?;
        self.counts.keys -= empty;
        self.counts.empty += empty;
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
        loop {
            let at = self.decoder.offset();
            let Some(event) = self.decoder.next_event()? else {
                return Ok(());
            };
            let refused = match event {
                Event::Part(part) => {
                    let value_type = self.current.value_type;
                    self.value
                        .add(part, at, value_type, &mut self.builder)
                        .err()
                }
                Event::Key(head) => {
                    self.builder.begin(head.value_type);
                    self.value = ValueInProgress::Expected;
                    self.current.begin(&head);
                    None
                }
                Event::ValueEnd => match self.keep() {
                    Ok(()) => None,
                    Err(Refusal::Here(problem)) => Some(problem),
                    Err(Refusal::Before(error)) => return Err(error),
                },
                Event::SelectDb(selected) => {
                    let databases = self.options.databases as u64;
                    if selected < databases {
                        self.db = selected as usize;
                        self.send_batch()?;
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
    }

    /// What becomes of the key that has been read.
    fn keep(&mut self) -> Result<(), Refusal> {
        let value = std::mem::replace(&mut self.value, ValueInProgress::Expected);
        if let ValueInProgress::Held(container) = value {
            return self.keep_container(container);
        }
        let Loader {
            current,
            options,
            counts,
            batch,
            ..
        } = self;
        match self.builder.finish().map_err(Refusal::Here)? {
            Built::Nothing => {
                counts.empty += 1;
                if counts.empty <= EMPTY_KEYS_LOGGED {
                    let shown = &current.key[..current.key.len().min(64)];
                    log::warn!(
                        "Skipping the key \"{}\": its collection has no elements",
                        shown.escape_ascii()
                    );
                }
            }
            _ if current.is_expired(options) => self.drop_expired(),
            built => {
                counts.keys += 1;
                let access = current.access(options);
                let at = self.decoder.offset();
                batch.push(&current.key, current.expiry, access, built, at);
                if batch.is_full() {
                    self.send_batch().map_err(Refusal::Before)?;
                }
            }
        }
        Ok(())
    }

    fn keep_container(&mut self, container: Container) -> Result<(), Refusal> {
        if self.current.is_expired(&self.options) {
            self.drop_expired();
            return Ok(());
        }
        self.counts.keys += 1;
        let Current { key, expiry, .. } = &self.current;
        let access = self.current.access(&self.options);
        let at = self.decoder.offset();
        self.batch
            .push_container(key, *expiry, access, container, at);
        if self.batch.is_full() {
            self.send_batch().map_err(Refusal::Before)?;
        }
        Ok(())
    }

    fn drop_expired(&mut self) {
        self.counts.expired += 1;
        if self.options.expired == (Expired::Drop { list: true }) {
            let key = self.current.key.as_slice().into();
            self.expired_keys.push((self.db, key));
        }
    }

    fn send_batch(&mut self) -> Result<(), RdbError> {
        let batch = std::mem::replace(&mut self.batch, Batch::new(self.db));
        if batch.is_empty() {
            return Ok(());
        }
        self.inserter.send(batch)
    }
}

/// How far the value of the current key has come.
enum ValueInProgress {
    /// No part yet.
    Expected,
    /// One part, which may be all of it: then it is left to the second thread to build.
    Held(Container),
    /// The builder has it.
    Building,
}

impl ValueInProgress {
    /// Takes the next part, which begins at byte `at`.
    fn add(
        &mut self,
        part: Part,
        at: u64,
        value_type: ValueType,
        builder: &mut ValueBuilder,
    ) -> Result<(), Problem> {
        let held = |form: Option<NodeForm>, bytes: RdbString| {
            ValueInProgress::Held(Container {
                at,
                value_type,
                form,
                bytes: bytes.into_vec(),
            })
        };
        match (std::mem::replace(self, ValueInProgress::Building), part) {
            (ValueInProgress::Expected, Part::Blob(bytes)) => *self = held(None, bytes),
            (ValueInProgress::Expected, Part::Node { form, bytes }) => {
                *self = held(Some(form), bytes);
            }
            (ValueInProgress::Held(first), part) => {
                builder.add(first.into_part())?;
                builder.add(part)?;
            }
            (_, part) => builder.add(part)?,
        }
        Ok(())
    }
}

/// Why a key is not taken.
enum Refusal {
    /// Its value is not what it should be.
    Here(Problem),
    /// One of the keys before it was not what it should be.
    Before(RdbError),
}

/// The key that is being read.
struct Current {
    key: Vec<u8>,
    value_type: ValueType,
    expiry: Option<UnixMillis>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl Current {
    fn none() -> Self {
        Current {
            key: Vec::new(),
            value_type: ValueType::String,
            expiry: None,
            idle_seconds: None,
            frequency: None,
        }
    }

    fn begin(&mut self, head: &KeyHead) {
        self.key.clear();
        self.key.extend_from_slice(&head.key);
        self.value_type = head.value_type;
        self.expiry = head.expire;
        self.idle_seconds = head.idle_seconds;
        self.frequency = head.freq;
    }

    fn is_expired(&self, options: &Options) -> bool {
        options.expired != Expired::Keep && self.expiry.is_some_and(|at| at < options.now)
    }

    /// The access field, from what is said about the use of the key if that is in terms of the rule in force.
    fn access(&self, options: &Options) -> u32 {
        match (options.access, self.idle_seconds, self.frequency) {
            (AccessRule::Lru, Some(idle), _) => access::from_idle_seconds(idle, options.now),
            (AccessRule::Lfu { .. }, _, Some(counter)) => {
                access::from_frequency(counter, options.now)
            }
            (rule, ..) => access::fresh(rule, options.now),
        }
    }
}

/// So many keys that were skipped are named in the log.
const EMPTY_KEYS_LOGGED: u64 = 10;
