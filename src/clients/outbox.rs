//! What waits to be written to one client, and how much of it there may be.

use std::sync::Arc;
use std::time::Duration;

use crate::config::values::OutputBufferLimit;
use crate::protocol::reply::ReplyBuffer;

use super::wire::Wire;

/// Bytes of replies that every client may leave waiting: the buffer that each has in Redis, which no limit counts. What
/// goes beyond it is the `omem` of CLIENT LIST.
pub const FIRST_BUFFER_BYTES: usize = 16 * 1024;

/// Replies and messages that the client's task has not yet taken, and what it tells about those it has taken.
#[derive(Default)]
pub struct Outbox {
    pub buffer: ReplyBuffer,
    /// What the task counts; it has a clone.
    pub wire: Arc<Wire>,
    /// Since when the soft limit has been exceeded.
    over_soft_since: Option<Duration>,
}

impl Outbox {
    /// Bytes answered and not yet written.
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len() + self.wire.unsent_bytes()
    }

    /// True if the client is to be dropped: over the hard limit, or over the soft one for too long.
    pub fn exceeds(&mut self, limit: OutputBufferLimit, now: Duration) -> bool {
        let waiting = self.waiting_bytes().saturating_sub(FIRST_BUFFER_BYTES) as u64;
        if limit.hard_bytes != 0 && waiting >= limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || waiting < limit.soft_bytes {
            self.over_soft_since = None;
            return false;
        }
        let since = *self.over_soft_since.get_or_insert(now);
        now.saturating_sub(since).as_secs() > limit.soft_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: OutputBufferLimit = OutputBufferLimit {
        hard_bytes: 0,
        soft_bytes: 0,
        soft_seconds: 0,
    };

    #[test]
    fn a_soft_limit_is_exceeded_only_after_its_seconds() {
        let first = FIRST_BUFFER_BYTES;
        let limit = OutputBufferLimit {
            hard_bytes: 100,
            soft_bytes: 10,
            soft_seconds: 2,
        };
        let mut outbox = Outbox::default();
        outbox.buffer.push_bytes(&vec![0; first + 5]);
        assert!(!outbox.exceeds(limit, Duration::from_secs(0)));
        outbox.buffer.push_bytes(&[0; 15]);
        assert!(!outbox.exceeds(limit, Duration::from_secs(5)));
        assert!(!outbox.exceeds(limit, Duration::from_secs(7)));
        assert!(outbox.exceeds(limit, Duration::from_secs(8)));
        outbox.wire.set_unsent_bytes(80);
        assert!(outbox.exceeds(limit, Duration::from_secs(5)));
        assert!(!outbox.exceeds(NONE, Duration::from_secs(99)));
    }
}
