//! A picture of the keyspace and its position: taken under the lock in O(1), walked and loaded elsewhere.
//!
//! [`walk`] turns a snapshot into the bytes of an RDB file, [`command_walk`] into commands, and both let go of it on the way; [`loading`] turns such bytes into a
//! keyspace. Both know neither files nor sockets: bytes go to whoever asked, and come from whoever has them.

pub mod check;
pub mod command_walk;
pub mod commands;
pub mod loading;
pub mod walk;

#[cfg(test)]
mod tests;

use crate::clock::UnixMillis;
use crate::journal::position::Position;
use crate::keyspace::KeyspacePicture;

/// One moment of the dataset. Any number of them may be alive at once, at different moments.
///
/// Freeing one takes time in proportion to what it alone still holds: never drop it under the engine's lock.
#[derive(Clone)]
pub struct Snapshot {
    pub picture: KeyspacePicture,
    /// Where in whose history it stands; none if effects are not recorded.
    pub position: Option<Position>,
    pub taken_at: UnixMillis,
    /// Bytes in use by the whole process when it was taken.
    pub used_memory_bytes: u64,
    /// What of the use of keys is written beside them.
    pub usage: UsageRule,
}

/// What the access fields of entries mean, and whether it is worth writing: only where eviction asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageRule {
    Unwritten,
    Idle,
    Frequency { decay_minutes: u32 },
}
