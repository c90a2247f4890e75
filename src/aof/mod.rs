//! The AOF: the journal on disk, in the file set of Redis 7.
//!
//! ```text
//! manifest   base (dataset at offset A)   segment A..B   segment B..C   segment C.. (being written)
//!            history: segments before A that replicas may still ask for
//! ```
//!
//! A segment holds the bytes of the journal between two offsets, byte for byte, behind a short prelude (the SELECT that
//! Redis's loader needs, because it begins each file in database 0). So a place in a file and a replication offset are the
//! same thing: a restart knows where it stands, and a replica can be fed from a file. What only we need (history, offsets,
//! checksum of a closed segment) stands in the manifest as keys that Redis's loader passes over.
//!
//! Invariants: a file is in the manifest before its first byte counts, and its bytes are on disk before the manifest names
//! its end; the manifest is replaced whole; at every moment the set that the manifest names can be loaded.
//! Everything here blocks, and goes through [`disk::Disk`], so that tests can make each step fail. Knows no key, no socket
//! and no engine.

pub mod alone;
pub mod archive;
pub mod candidate;
pub mod crc;
pub mod disk;
pub mod durability;
pub mod file_scan;
pub mod log;
pub mod manifest;
pub mod names;
pub mod reader;
pub mod repair;
pub mod scan;
pub mod set;
#[cfg(test)]
pub mod simulated;
pub mod stripper;
pub mod writer;
