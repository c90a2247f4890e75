//! What a replica that is far behind may cost: memory up to a bound, then its place on disk or its connection.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, CloseReason, Feed, OutputLimit, State};
use crate::journal::Window;
use crate::journal::position::Offset;
use crate::replication::place::Place;

impl Feed {
    /// Lets go of memory if more than `memory_bytes_max` is kept for it and `disk` has it too. True if it did.
    pub fn spill(
        &mut self,
        disk: Window,
        memory_bytes_max: u64,
        end: Offset,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(progress) = &self.progress else {
            return false;
        };
        let read = progress.read();
        let is_due = !self.on_disk && end.since(read) > memory_bytes_max && disk.covers(read);
        if !is_due {
            return false;
        }
        let place = Place::Disk(Arc::clone(progress));
        match &mut self.state {
            // Only where it will go on matters until its payload is sent.
            State::AwaitPayload { cursor, .. } | State::SendPayload { cursor, .. } => {
                *cursor = Some(place);
            }
            State::AwaitAck { cursor } => *cursor = place,
            State::Streaming => actions.push(Action::LeaveMemory),
            State::AwaitSnapshot { .. } | State::Closing => return false,
        }
        self.on_disk = true;
        self.soft_since = None;
        true
    }

    /// It is fed from disk.
    pub fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    /// Closes it if it is further behind `end` than allowed. A limit below the size of the backlog would drop a replica that
    /// has just been granted that much: it is raised.
    pub fn check_limit(
        &mut self,
        limit: OutputLimit,
        end: Offset,
        backlog_bytes: u64,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.on_disk {
            self.soft_since = None;
            return;
        }
        let raised = |bytes: u64| {
            if bytes == 0 {
                u64::MAX
            } else {
                bytes.max(backlog_bytes)
            }
        };
        let (hard, soft) = (raised(limit.hard_bytes), raised(limit.soft_bytes));
        let bytes = self.bytes_behind(end);
        if bytes <= soft {
            self.soft_since = None;
        }
        let limit_bytes = if bytes > hard {
            hard
        } else if bytes > soft {
            let since = *self.soft_since.get_or_insert(now);
            if now.saturating_sub(since) <= limit.soft_for {
                return;
            }
            soft
        } else {
            return;
        };
        self.close(CloseReason::Behind { bytes, limit_bytes }, actions);
    }
}
