//! The second thread of a load: makes entries of keys and values, and puts them into the tables of a fresh keyspace.
//!
//! Containers come as they lay in the payload and are checked and built here: that is half of the work of a load, and the
//! first thread has the other half.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::clock::UnixMillis;
use crate::cow::element;
use crate::keyspace::entry::{Content, Entry};
use crate::keyspace::{Database, Keyspace};
use crate::rdb::error::{During, Problem, RdbError};
use crate::rdb::opcode::ValueType;
use crate::rdb::parts::{NodeForm, Part};
use crate::rdb::primitive::RdbString;
use crate::rdb::value_decoder::{Built, Limits, ValueBuilder};
use crate::types::Value;

/// Keys of one database in the order in which they came. Their names, and the strings among their values, lie in one buffer.
pub struct Batch {
    db: usize,
    bytes: Vec<u8>,
    /// Bytes of containers, which lie elsewhere.
    container_bytes: usize,
    arrived: Vec<Arrived>,
}

struct Arrived {
    /// Where in the payload its value ends.
    at: u64,
    /// Where in the buffer its name ends; it starts where the one before has ended.
    key_end: usize,
    expiry: Option<UnixMillis>,
    access: u32,
    content: Held,
}

enum Held {
    Int(i64),
    /// Behind the name, up to here.
    Bytes(usize),
    Value(Value),
    Container(Container),
}

/// A collection that is one string in the payload.
pub struct Container {
    /// Where in the payload it begins.
    pub at: u64,
    pub value_type: ValueType,
    /// Of a list's only node; none of what is no list.
    pub form: Option<NodeForm>,
    pub bytes: Vec<u8>,
}

impl Container {
    /// The part as which it came.
    pub fn into_part(self) -> Part<'static> {
        let bytes = RdbString::Decompressed(self.bytes);
        match self.form {
            None => Part::Blob(bytes),
            Some(form) => Part::Node { form, bytes },
        }
    }
}

/// What the second thread has built.
pub struct Inserted {
    pub keyspace: Keyspace,
    /// Containers without elements, which make no key.
    pub empty: u64,
}

impl Batch {
    pub fn new(db: usize) -> Self {
        Batch {
            db,
            bytes: Vec::new(),
            container_bytes: 0,
            arrived: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.arrived.len() >= BATCH_KEYS || self.bytes.len() + self.container_bytes >= BATCH_BYTES
    }

    pub fn push(
        &mut self,
        key: &[u8],
        expiry: Option<UnixMillis>,
        access: u32,
        built: Built,
        at: u64,
    ) {
        let key_end = self.push_key(key);
        let content = match built {
            Built::Int(value) => Held::Int(value),
            Built::Bytes(bytes) => {
                self.bytes.extend_from_slice(bytes);
                Held::Bytes(self.bytes.len())
            }
            Built::Value(value) => Held::Value(value),
            Built::Nothing => unreachable!("a key without a value is not kept"),
        };
        self.arrived.push(Arrived {
            at,
            key_end,
            expiry,
            access,
            content,
        });
    }

    /// The same for what is yet to be built.
    pub fn push_container(
        &mut self,
        key: &[u8],
        expiry: Option<UnixMillis>,
        access: u32,
        container: Container,
        at: u64,
    ) {
        let key_end = self.push_key(key);
        self.container_bytes += container.bytes.len();
        self.arrived.push(Arrived {
            at,
            key_end,
            expiry,
            access,
            content: Held::Container(container),
        });
    }

    fn push_key(&mut self, key: &[u8]) -> usize {
        if self.arrived.capacity() == 0 {
            self.arrived.reserve(BATCH_KEYS);
            self.bytes.reserve(BATCH_BYTES / 4);
        }
        self.bytes.extend_from_slice(key);
        self.bytes.len()
    }
}

/// The second thread, seen from the first.
pub struct Inserter {
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<Result<Inserted, RdbError>>>,
}

impl Inserter {
    pub fn start(databases: usize, limits: Limits) -> io::Result<Self> {
        let (batches, arriving) = sync_channel(BATCHES_WAITING_MAX);
        let thread = thread::Builder::new()
            .name("load-insert".into())
            .spawn(move || insert_all(&arriving, databases, limits))?;
        Ok(Inserter {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    /// Hands a batch over; waits while too many are waiting.
    ///
    /// # Errors
    /// A key of this batch, or of one before it, came twice, or a container was not what it should be.
    pub fn send(&mut self, batch: Batch) -> Result<(), RdbError> {
        if let Some(batches) = &self.batches
            && batches.send(batch).is_err()
        {
            // It only stops listening when it has something to complain about.
            return self.stop();
        }
        Ok(())
    }

    /// Ends the thread, and drops what it has built.
    ///
    /// # Errors
    /// As [`Inserter::send`].
    pub fn stop(&mut self) -> Result<(), RdbError> {
        self.batches = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => Ok(()),
        }
    }

    /// Waits for all that was sent.
    ///
    /// # Errors
    /// As [`Inserter::send`].
    pub fn finish(mut self) -> Result<Inserted, RdbError> {
        self.batches = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => unreachable!("the thread is taken once, and an error ends the load before"),
        }
    }
}

/// Puts what arrives into tables, until no more will come.
fn insert_all(
    arriving: &Receiver<Batch>,
    databases: usize,
    limits: Limits,
) -> Result<Inserted, RdbError> {
    let mut builder = ValueBuilder::new(limits);
    let mut inserted = Inserted {
        keyspace: Keyspace::new(databases),
        empty: 0,
    };
    for batch in arriving {
        insert_batch(batch, &mut builder, &mut inserted)?;
    }
    Ok(inserted)
}

/// The place of a key in the table is fetched a few keys before it is put there.
fn insert_batch(
    batch: Batch,
    builder: &mut ValueBuilder,
    inserted: &mut Inserted,
) -> Result<(), RdbError> {
    let database = inserted.keyspace.db_mut(batch.db);
    let mut ahead = VecDeque::with_capacity(PREFETCHED_KEYS + 1);
    let mut from = 0;
    for arrived in batch.arrived {
        let key = &batch.bytes[from..arrived.key_end];
        from = arrived.key_end;
        let content = match arrived.content {
            Held::Int(value) => Content::Int(value),
            Held::Bytes(end) => {
                from = end;
                Content::Bytes(&batch.bytes[arrived.key_end..end])
            }
            Held::Value(value) => Content::Value(value),
            Held::Container(container) => match build(builder, container) {
                Ok(Some(value)) => Content::Value(value),
                Ok(None) => {
                    inserted.empty += 1;
                    continue;
                }
                Err((at, problem)) => {
                    // What came before it may be wrong as well, and is told first.
                    while !ahead.is_empty() {
                        insert_next(&mut ahead, database)?;
                    }
                    return Err(RdbError {
                        at,
                        during: During::value_of(key),
                        problem,
                    });
                }
            },
        };
        let entry = Entry::new(key, arrived.expiry, content);
        entry.set_access(arrived.access);
        let hash = element::hash(key);
        database.prefetch_mut(hash);
        ahead.push_back((hash, entry, arrived.at));
        if ahead.len() > PREFETCHED_KEYS {
            insert_next(&mut ahead, database)?;
        }
    }
    while !ahead.is_empty() {
        insert_next(&mut ahead, database)?;
    }
    Ok(())
}

/// None if it has no elements; what is wrong with it, and where it begins.
fn build(
    builder: &mut ValueBuilder,
    container: Container,
) -> Result<Option<Value>, (u64, Problem)> {
    let at = container.at;
    builder.begin(container.value_type);
    let built = builder.add(container.into_part());
    match built.and_then(|()| builder.finish()) {
        Ok(Built::Value(value)) => Ok(Some(value)),
        Ok(Built::Nothing) => Ok(None),
        Ok(Built::Int(_) | Built::Bytes(_)) => unreachable!("a container is no string"),
        Err(problem) => Err((at, problem)),
    }
}

fn insert_next(
    ahead: &mut VecDeque<(u64, Entry, u64)>,
    database: &mut Database,
) -> Result<(), RdbError> {
    let Some((hash, entry, at)) = ahead.pop_front() else {
        return Ok(());
    };
    match database.insert(hash, entry) {
        None => Ok(()),
        Some(old) => Err(RdbError {
            at,
            during: During::value_of(old.key()),
            problem: Problem::Duplicate("key"),
        }),
    }
}

/// Keys in a batch: enough that handing one over costs nothing beside building it.
const BATCH_KEYS: usize = 256;

/// Bytes in a batch, after which it is handed over even if it has fewer keys.
const BATCH_BYTES: usize = 64 * 1024;

/// Batches that may wait for the second thread.
const BATCHES_WAITING_MAX: usize = 32;

/// How many leaves are fetched ahead of the key that is inserted.
const PREFETCHED_KEYS: usize = 8;
