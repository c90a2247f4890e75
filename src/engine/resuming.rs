//! What a node takes up when it restarts: its place in a history, the histories before it, and the journal's last bytes.
//!
//! Knows no file: what was found on disk is handed in as [`Past`] and a [`Position`].

use bytes::Bytes;

use crate::config::values::MasterAddress;
use crate::journal::effect::Framing;
use crate::journal::position::{Offset, Position};
use crate::replication::identity::{Former, Identity};
use crate::replication::link::Event;

use super::Engine;

/// What a restart knows of the time before it, besides where it stands.
#[derive(Debug, Default)]
pub struct Past {
    /// The journal's last bytes, up to where the dataset stands.
    pub bytes: Vec<Bytes>,
    /// Histories that this one continues, the latest first.
    pub former: Vec<Former>,
    /// It was read from a journal on disk that goes on being written.
    pub is_on_disk: bool,
}

impl Engine {
    /// Takes up the history that the loaded files belong to, if they say which. A replica goes on in it; a master begins a
    /// new one that continues it, with the deletions of keys that expired meanwhile (`expired`: database and key) as its
    /// first effects, so that replicas which stand where the files stand, or where `past` still reaches, need no full sync.
    pub fn resume_history(
        &mut self,
        saved: Option<Position>,
        past: Past,
        expired: &[(usize, Box<[u8]>)],
    ) {
        let backlog = self.config.repl_backlog_size;
        if let Some(position) = saved {
            let has_past = past.is_on_disk;
            let held: usize = past.bytes.iter().map(Bytes::len).sum();
            let start = Offset(position.offset.0 - held as i64);
            self.journal.reset(position.offset);
            if self.is_replica() {
                self.replication.identity = Identity::resumed_with(position.id, past.former);
                if has_past {
                    self.journal.restore(start, past.bytes, backlog);
                }
            } else {
                self.replication.identity =
                    Identity::continued(position, past.former, &mut self.random);
                self.journal.restore(start, past.bytes, backlog);
                self.unit.recording = true;
                for (db, key) in expired {
                    self.unit.add_effect(*db, &[b"DEL", key]);
                }
                self.unit.effects.finish(Framing::Apart, &mut self.journal);
                self.replication.feeds.start_backlog_ttl(self.monotonic);
            }
        }
        if let Some(MasterAddress { host, port }) = self.config.replicaof.clone() {
            self.link_event(Event::ReplicaOf {
                host,
                port,
                claim: saved,
                failover: false,
            });
        }
    }
}
