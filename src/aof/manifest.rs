//! The manifest: which files make up the set, and what we know about each.
//!
//! Source: `F.manifest` of Redis 7 (lines `file NAME seq N type b|h|i`, further keys allowed). Ours, passed over by Redis's
//! loader: `replid` (history of the file's bytes), `startoffset` and `endoffset` (as Redis 8 calls them; a base has only the
//! first: where its dataset stands), `startdb` (the database selected there), `prelude` (bytes at the head of a segment that
//! are not of the journal), `annotated` (the segment holds `#` lines, which are not of the journal either), `crc64` (CRC-64/XZ
//! of a closed file's bytes, as `crc64fast` computes it, 16 hexadecimal digits).

use crate::journal::position::{Offset, ReplId};

/// The file set. Sequence numbers never go down, also when files go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<FileLine>,
    /// Not loaded any more; ours may still feed replicas. In the order of their offsets.
    pub history: Vec<FileLine>,
    /// In the order in which they are loaded. Only the last may be open.
    pub segments: Vec<FileLine>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLine {
    /// Without directory.
    pub name: String,
    /// From 1; bases and segments are counted apart.
    pub seq: u64,
    pub facts: Facts,
    /// Keys that we do not know, kept as they were.
    pub unknown: Vec<(String, String)>,
}

/// What Sluice knows of a file; nothing of those that others have written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub id: Option<ReplId>,
    pub start: Option<Offset>,
    /// Of a closed segment.
    pub end: Option<Offset>,
    /// The database that the stream has selected at `start`; none if the next write selects.
    pub start_db: Option<u32>,
    pub prelude_bytes: u64,
    pub annotated: bool,
    /// Of a closed file.
    pub crc64: Option<u64>,
}
