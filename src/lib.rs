//! Sluice: a Redis-compatible server node built around replication.
//!
//! The rooms below stand in the order of who may know whom: a file may name only rooms at or above its own line
//! (`tests/tidy.rs` reads the order from here). Files named `*commands.rs` sit beside the data they act on but belong to
//! the engine's floor.

#![doc = ""]
#![doc = include_str!("ARCHITECTURE.md")]

// Ground: names nothing of ours but ground. Blank lines keep rustfmt from sorting what is an order.
pub mod clock;
pub mod glob;
pub mod memory;
pub mod random;

pub mod number;

pub mod compact;
pub mod cow;

// Wire and operating system: bytes and settings.
pub mod config;
pub mod io;
pub mod protocol;

// Log side: bytes and offsets, never a key.
pub mod journal;
pub mod replication;

// The journal on disk.
pub mod aof;

// Data side: keys, never a socket or a reader.
pub mod types;

pub mod rdb;

pub mod keyspace;

pub mod snapshot;

// People.
pub mod clients;
pub mod pubsub;
pub mod stats;

// The engine: one lock, synchronous.
pub mod engine;

// Everything that awaits.
pub mod tasks;
