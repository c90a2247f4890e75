//! Both ends of replication as the engine sees them: identity, replicas, link.

use crate::clients::ClientKey;
use crate::journal::position::{Offset, Position};

use super::Engine;

impl Engine {
    /// Whether the link to the master stands and its stream flows.
    pub fn link_is_up(&self) -> bool {
        false
    }

    /// Whether `min-replicas-to-write` forbids writes now.
    pub fn lacks_good_replicas(&self) -> bool {
        false
    }

    pub fn forget_replica(&mut self, _client: ClientKey) {}

    /// Replicas that have acknowledged `offset`.
    pub fn replicas_past(&self, _offset: Offset) -> usize {
        0
    }

    /// Where a snapshot that is taken now stands; none while effects are not recorded.
    pub fn snapshot_position(&self) -> Option<Position> {
        None
    }

    pub fn replication_tick(&mut self) {}
}
