//! What replicas that are far behind may keep, and where their stream can be had from.

use std::time::Duration;

use super::{Action, Feeds, ReplicaId, Stream, told};
use crate::journal::Window;
use crate::journal::cursor::Progress;
use crate::journal::position::Offset;
use crate::replication::place::{MEMORY_BYTES_MAX, Place};

impl Stream<'_> {
    /// What PSYNC can be served from: memory, and before it disk.
    pub(super) fn window(&self) -> Option<Window> {
        let end = self.journal.end();
        let disk = self.disk.map(|disk| disk.window.start);
        let start = match (self.journal.window(), disk) {
            (Some(memory), Some(disk)) => memory.start.min(disk),
            (Some(memory), None) => memory.start,
            (None, disk) => disk?,
        };
        Some(Window { start, end })
    }

    /// Where a replica goes on from `offset`; in memory if that is possible.
    pub(super) fn place_at(&self, offset: Offset) -> Option<Place> {
        let memory = self.journal.reader_at(offset).map(Place::Memory);
        let disk = self.disk.filter(|disk| disk.window.covers(offset));
        memory.or_else(|| disk.map(|_| Place::Disk(Progress::at(offset))))
    }
}

impl Feeds {
    /// Moves replicas to disk for which memory keeps too much.
    pub(super) fn spill(&mut self, stream: &Stream<'_>, actions: &mut Vec<Action>) {
        let Some(disk) = stream.disk else { return };
        let Some(allowed) = disk.memory_bytes_max else {
            return;
        };
        let backlog_bytes = stream.journal.backlog_size_bytes().unwrap_or(0);
        let end = stream.journal.end();
        let mut moved = Vec::new();
        for (replica, feed) in &mut self.feeds {
            let mut feed_actions = Vec::new();
            let bytes_max = allowed.max(backlog_bytes);
            if feed.spill(disk.window, bytes_max, end, &mut feed_actions) {
                self.stats.spills += 1;
                let text = format!(
                    "is {} bytes behind and goes on from disk",
                    feed.bytes_behind(end)
                );
                actions.push(told(log::Level::Info, feed.profile(), &text));
                moved.push((*replica, feed_actions));
            }
        }
        for (replica, feed_actions) in moved {
            self.pass_on(replica, feed_actions, actions);
        }
    }

    /// How much memory may be kept for a replica while there is a disk: no more than any output limit says.
    pub fn memory_bytes_max(&self) -> u64 {
        let limit = self.config.output_limit;
        [limit.hard_bytes, limit.soft_bytes]
            .into_iter()
            .filter(|&bytes| bytes > 0)
            .fold(MEMORY_BYTES_MAX, u64::min)
    }

    pub(super) fn check_limit(
        &mut self,
        replica: ReplicaId,
        end: Offset,
        backlog_bytes: u64,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if let Some(feed) = self.feeds.get_mut(&replica) {
            let mut feed_actions = Vec::new();
            let limit = self.config.output_limit;
            feed.check_limit(limit, end, backlog_bytes, now, &mut feed_actions);
            self.pass_on(replica, feed_actions, actions);
        }
    }
}
