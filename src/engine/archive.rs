//! The journal's segments on disk as the far end of the backlog: what of our history they hold, and for whom.

use std::sync::Arc;

use crate::aof::archive::Archive;
use crate::aof::writer::Order;
use crate::config::values::SlowReplica;
use crate::journal::Window;
use crate::replication::place::DiskWindow;

use super::Engine;

impl Engine {
    /// What replicas can be fed from on disk; none while nothing is written there.
    pub fn archive(&self) -> Option<&Arc<Archive>> {
        self.aof.any_writer().map(|writer| writer.archive())
    }

    /// What of our history is on disk, without a gap up to what memory holds.
    pub fn disk_window(&self) -> Option<DiskWindow> {
        let writer = self.aof.any_writer()?;
        let view = writer.archive().view();
        if view.ended {
            return None;
        }
        let identity = &self.replication.identity;
        let ours = view.pieces.iter().rev().take_while(|piece| {
            let end = piece.end.unwrap_or(view.written);
            identity.has_lived(piece.id, end)
        });
        let window = Window {
            start: ours.last()?.start,
            // What is not written yet is kept in memory until it is.
            end: self.journal.end(),
        };
        let spills = self.config.repl_slow_replica == SlowReplica::Disk && !writer.is_failing();
        Some(DiskWindow {
            window,
            memory_bytes_max: spills.then(|| self.replication.feeds.memory_bytes_max()),
        })
    }

    /// Bytes that may be kept in memory for a replica while there is a disk.
    pub fn memory_for_replicas(&self) -> u64 {
        let backlog_bytes = self.journal.backlog_size_bytes().unwrap_or(0);
        self.replication.feeds.memory_bytes_max().max(backlog_bytes)
    }

    /// `repl-backlog-disk-size` has been changed.
    pub fn follow_disk_size(&mut self) {
        self.tell_disk_size();
        self.keep_history_if_due();
    }

    /// Has the writer keep as much history as the settings say.
    pub(super) fn tell_disk_size(&mut self) {
        let bytes = self.config.repl_backlog_disk_size;
        if let Some(writer) = self.aof.any_writer()
            && bytes != self.aof.history_bytes_told
        {
            writer.order(Order::KeepHistory { bytes });
            self.aof.history_bytes_told = bytes;
        }
    }

    /// The journal starts over somewhere else: what is on disk does not lead there.
    pub fn withdraw_archive(&self) {
        if let Some(archive) = self.archive() {
            archive.withdraw();
        }
    }
}
