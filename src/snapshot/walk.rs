//! A walk over a snapshot: every key as RDB bytes, the snapshot freed on the way.
//!
//! ```text
//! picture -> table walk (fetches ahead, frees behind) -> encoder -> chunks of CHUNK_BYTES -> whoever takes them
//! ```
//!
//! The taker is called from the walk's own thread and may block there; it is called in the middle of a value too, so a walk
//! holds one chunk and a few elements, however large the values are. No key costs an allocation.
//!
//! Invariant: the bytes are those of the picture, whatever the live keyspace does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::config::{Config, REDIS_VERSION};
use crate::cow::walk::Elements;
use crate::keyspace::access;
use crate::keyspace::entry::{Entry, View};
use crate::rdb::encoder::{Encoder, EntryHead, History, Preamble, Usage};
use crate::rdb::opcode::{ValueType, Version};
use crate::rdb::value_encoder::{self, Output};
use crate::rdb::writer::Writer;

use super::{Snapshot, UsageRule};

/// Chunks are about as large as this; only a string that is compressed as a whole makes one larger.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// How the bytes are to be written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub version: Version,
    pub compress: bool,
    pub checksum: bool,
    /// Whether an AOF continues this file.
    pub aof_base: bool,
}

impl Options {
    /// As the settings for RDB files say.
    pub fn of(config: &Config) -> Self {
        Options {
            version: Version::redis(config.rdb_version),
            compress: config.rdbcompression,
            checksum: config.rdbchecksum,
            aof_base: false,
        }
    }
}

/// How many keys a walk has written: shared with whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    pub fn keys(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set_keys(&self, keys: u64) {
        self.0.store(keys, Ordering::Relaxed);
    }
}

/// What a complete walk has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub keys: u64,
    pub bytes: u64,
}

/// A snapshot on its way out.
pub struct Walk {
    snapshot: Snapshot,
    options: Options,
    progress: Progress,
}

impl Walk {
    pub fn new(snapshot: Snapshot, options: Options) -> Self {
        Walk {
            snapshot,
            options,
            progress: Progress::default(),
        }
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
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
        let Walk {
            snapshot,
            options,
            progress,
        } = self;
        let mut encoder = Encoder::new(options.version, options.compress, options.checksum);
        encoder.preamble(&Preamble {
            server_version: REDIS_VERSION,
            created: snapshot.taken_at,
            used_memory_bytes: snapshot.used_memory_bytes,
            history: snapshot.position.as_ref().map(|position| History {
                stream_db: position.stream_db.unwrap_or(0),
                repl_id: position.id.as_str(),
                offset: position.offset.0.max(0) as u64,
            }),
            aof_base: options.aof_base,
        });
        let mut chunks = Chunks {
            encoder,
            take,
            failure: None,
        };
        let mut keys = 0;
        for (index, database) in snapshot.picture.databases.into_iter().enumerate() {
            let size = database.table.len();
            if size == 0 {
                continue;
            }
            let (size, volatile) = (size as u64, database.volatile as u64);
            chunks.encoder.select_db(index as u32, size, volatile);
            let mut walk = database.table.into_walk();
            let mut wanted = true;
            while wanted
                && walk.next_leaf(|entries| {
                    fetch(entries.clone());
                    wanted = entries.clone().all(|entry| {
                        keys += 1;
                        let usage = usage(&entry, snapshot.usage, snapshot.taken_at);
                        write_entry(&entry, usage, &mut chunks)
                    });
                })
            {
                progress.set_keys(keys);
            }
            if let Some(failure) = chunks.failure {
                return Err(failure);
            }
        }
        let Chunks { encoder, take, .. } = chunks;
        let mut take = take;
        let before = encoder.bytes_written() - encoder.pending() as u64;
        let last = encoder.finish();
        let bytes = before + last.len() as u64;
        take(Bytes::from(last))?;
        Ok(Written { keys, bytes })
    }
}

/// Reads the first of what writing will read behind the entries of a leaf. These reads wait for memory side by side; those of
/// the writing would do so one after the other.
pub(super) fn fetch(entries: Elements<Entry>) {
    let values = entries
        .clone()
        .filter(|entry| matches!(entry.view(), View::Value(_)));
    let mut seen = 0;
    for entry in values.clone() {
        seen ^= entry.type_of() as u8;
    }
    for entry in values {
        if let View::Value(value) = entry.view() {
            seen ^= value_encoder::peek(value);
        }
    }
    std::hint::black_box(seen);
}

/// One key with its value; false if nobody takes the bytes any more.
fn write_entry(entry: &Entry, usage: Usage, output: &mut Chunks<impl Taker>) -> bool {
    let view = entry.view();
    let encoder = &mut output.encoder;
    let version = encoder.version();
    let value_type = match view {
        View::Int(_) | View::Bytes(_) => ValueType::String,
        View::Value(value) => value_encoder::type_of(value, version),
    };
    encoder.key(&EntryHead {
        key: entry.key(),
        value_type,
        expire: entry.expiry(),
        usage,
    });
    match view {
        View::Int(value) => encoder.value().integer(value),
        View::Bytes(bytes) => encoder.value().string(bytes),
        View::Value(value) => value_encoder::write(value, version, output),
    }
    output.relieve()
}

fn usage(entry: &Entry, rule: UsageRule, now: crate::clock::UnixMillis) -> Usage {
    match rule {
        UsageRule::Unwritten => Usage::Unknown,
        UsageRule::Idle => Usage::IdleSeconds(access::idle_seconds(entry.access(), now)),
        UsageRule::Frequency { decay_minutes } => {
            Usage::Freq(access::frequency(entry.access(), decay_minutes, now))
        }
    }
}

/// The encoder and where its bytes go.
struct Chunks<T: Taker> {
    encoder: Encoder,
    take: T,
    failure: Option<T::Error>,
}

trait Taker {
    type Error;
    fn take(&mut self, chunk: Bytes) -> Result<(), Self::Error>;
}

impl<E, F: FnMut(Bytes) -> Result<(), E>> Taker for F {
    type Error = E;

    fn take(&mut self, chunk: Bytes) -> Result<(), E> {
        self(chunk)
    }
}

impl<T: Taker> Output for Chunks<T> {
    fn writer(&mut self) -> &mut Writer {
        self.encoder.value()
    }

    #[inline]
    fn relieve(&mut self) -> bool {
        if self.encoder.pending() < CHUNK_BYTES {
            return self.failure.is_none();
        }
        if self.failure.is_none() {
            let chunk = Bytes::from(self.encoder.take());
            self.failure = self.take.take(chunk).err();
        }
        self.failure.is_none()
    }
}
