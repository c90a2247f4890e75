//! Who waits for disks: WAITAOF here, and our master's WAITAOF for ours.
//!
//! A task hears of each sync while somebody waits ([`Intent::AwaitSync`]), and [`Engine::answer_synced`] says whether it is
//! to go on. What counts is what a restart would have ([`Durability::kept`]): not a set that is only being begun.
//!
//! [`Durability::kept`]: crate::aof::durability::Durability::kept

use crate::aof::durability::Kept;
use crate::clients::ClientKey;
use crate::clients::session::Blocked;
use crate::journal::position::Offset;
use crate::protocol::reply::Reply;
use crate::replication::link::Event;

use super::Engine;
use super::aof::AckOwed;
use super::error::CommandError;
use super::intent::Intent;

/// Disks that have an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disks {
    pub local: bool,
    pub replicas: usize,
}

impl Disks {
    pub fn reply(self, reply: &mut Reply) {
        reply.array(2);
        reply.integer(i64::from(self.local));
        reply.integer(self.replicas as i64);
    }
}

pub const NO_LOCAL_AOF: CommandError = CommandError::new(
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
);

impl Engine {
    /// Everything before it is on our disk and would be loaded; none without an AOF.
    pub fn kept(&self) -> Option<Offset> {
        let kept = self.aof.durability.kept();
        kept.filter(|_| self.config.appendonly && self.aof.is_on())
    }

    /// The disks that have everything up to `offset`.
    pub fn disks_past(&self, offset: Offset) -> Disks {
        Disks {
            local: self.kept().is_some_and(|kept| kept >= offset),
            replicas: self.replication.feeds.count_synced(offset),
        }
    }

    /// Lets `client` wait for disks.
    pub fn park_for_disks(&mut self, client: ClientKey, blocked: Blocked) {
        self.clients.get_mut(client).session.blocked = Some(blocked);
        self.await_sync();
    }

    /// Ends the wait of `client` if its disks have `offset`, or if ours will never have it.
    pub(super) fn answer_disk_wait(
        &mut self,
        client: ClientKey,
        local: bool,
        replicas: usize,
        offset: Offset,
    ) {
        let disks = self.disks_past(offset);
        if local && !self.config.appendonly {
            self.stats.count_error(NO_LOCAL_AOF.code());
            self.unblock(client, |reply| reply.error(NO_LOCAL_AOF.text()));
        } else if disks.local >= local && disks.replicas >= replicas {
            self.unblock(client, |reply| disks.reply(reply));
        }
    }

    /// Our master is to hear when `offset` is on our disk, if it is not yet.
    pub(super) fn owe_synced_ack(&mut self, offset: Offset) {
        let told = self.kept();
        if self.config.appendonly && told.is_none_or(|kept| kept < offset) {
            let up_to = offset;
            self.aof.ack_owed = Some(AckOwed { up_to, told });
            self.await_sync();
        }
    }

    fn await_sync(&mut self) {
        if !std::mem::replace(&mut self.aof.sync_awaited, true) {
            self.intents.push(Intent::AwaitSync);
        }
    }

    /// Something may have been synced. What is to come is looked at from there, if anybody waits for it.
    pub fn answer_synced(&mut self) -> Option<Kept> {
        let (kept, seen) = self.aof.durability.look();
        if let Some(owed) = &mut self.aof.ack_owed
            && kept > owed.told
        {
            // Who asked before the last one may have been waiting for less than it.
            owed.told = kept;
            if kept >= Some(owed.up_to) {
                self.aof.ack_owed = None;
            }
            self.link_event(Event::AckRequested);
        }
        if !self.is_replica() || !self.config.appendonly {
            self.aof.ack_owed = None;
        }
        self.answer_waits();
        let waits = |blocked: &Option<Blocked>| match blocked {
            Some(Blocked::ForDisks { local, offset, .. }) => {
                *local && kept.is_none_or(|kept| kept < *offset)
            }
            _ => false,
        };
        let mut clients = self.clients.iter();
        let goes_on =
            self.aof.ack_owed.is_some() || clients.any(|client| waits(&client.session.blocked));
        self.aof.sync_awaited = goes_on;
        goes_on.then_some(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::aof::durability::Policy;
    use crate::aof::writer::{Orders, Writer};
    use crate::clients::Ends;
    use crate::clock::{Clock, UnixMillis};
    use crate::config::Config;
    use crate::engine::table;
    use crate::protocol::request::OwnedRequest;
    use crate::random::Random;

    struct World {
        engine: Engine,
        client: ClientKey,
        _orders: Orders,
    }

    impl World {
        fn new() -> Self {
            let clock = Clock::manual(UnixMillis(1_000));
            let mut engine = Engine::new(Config::default(), clock, Random::from_seed(1));
            engine.config.appendonly = true;
            engine.journal.create_backlog(1 << 20);
            let ends = Ends {
                is_local: true,
                ..Ends::default()
            };
            let client = engine.connect(ends).expect("room for a client");
            let (writer, orders) = Writer::new(Waker::noop().clone());
            engine.begin_aof(writer, Offset(0));
            World {
                engine,
                client,
                _orders: orders,
            }
        }

        fn ask(&mut self, request: &str) -> String {
            let request = OwnedRequest::new(request.split(' ').map(str::as_bytes));
            let argv = request.argv();
            self.engine.execute(self.client, argv, table::lookup(argv));
            self.answer()
        }

        /// What stands in the client's outbox, line ends as spaces.
        fn answer(&mut self) -> String {
            let client = self.engine.clients.get_mut(self.client);
            let buffer = std::mem::take(&mut client.outbox.buffer);
            let text = String::from_utf8(buffer.to_vec()).expect("text");
            text.trim_end().replace("\r\n", " ")
        }

        fn sync(&self) {
            let end = self.engine.journal.end();
            self.engine.aof.durability.raise_synced(end);
        }
    }

    #[test]
    fn arguments_are_checked_in_order_before_the_state_is() {
        let mut world = World::new();
        let not_local = "-ERR value is out of range, value must between 0 and 1";
        for (request, error) in [
            (
                "WAITAOF x 0 0",
                "-ERR value is not an integer or out of range",
            ),
            ("WAITAOF 2 -1 x", not_local),
            ("WAITAOF -1 0 0", not_local),
            (
                "WAITAOF 1 -1 x",
                "-ERR value is out of range, must be positive",
            ),
            (
                "WAITAOF 1 x -1",
                "-ERR value is out of range, must be positive",
            ),
            (
                "WAITAOF 1 0 x",
                "-ERR timeout is not an integer or out of range",
            ),
            ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
        ] {
            assert_eq!(world.ask(request), error, "{request}");
        }
        world.engine.config.appendonly = false;
        assert_eq!(
            world.ask("WAITAOF 1 0 0"),
            "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
        );
        world.ask("SET a 1");
        assert_eq!(world.ask("WAITAOF 0 0 0"), "*2 :0 :0");
    }

    #[test]
    fn a_wait_ends_with_the_sync_and_one_task_tells_of_it() {
        let mut world = World::new();
        assert_eq!(world.ask("SET a 1"), "+OK");
        assert_eq!(world.ask("WAITAOF 1 0 0"), "");
        assert!(world.engine.answer_synced().is_some(), "nothing is synced");
        assert_eq!(world.answer(), "");
        let intents = std::mem::take(&mut world.engine.intents);
        assert!(matches!(intents[..], [Intent::AwaitSync]), "{intents:?}");
        world.sync();
        assert!(world.engine.answer_synced().is_none(), "nobody waits");
        assert_eq!(world.answer(), "*2 :1 :0");
        assert_eq!(world.ask("WAITAOF 1 0 0"), "*2 :1 :0", "it is there");
        assert!(world.engine.intents.is_empty());
        // For replicas no sync of ours is worth hearing of.
        assert_eq!(world.ask("WAITAOF 1 1 50"), "");
        assert!(world.engine.answer_synced().is_none());
        world.engine.monotonic += Duration::from_millis(50);
        world.engine.tick();
        assert_eq!(world.answer(), "*2 :1 :0");
    }

    #[test]
    fn a_transaction_does_not_wait() {
        let mut world = World::new();
        world.ask("SET a 1");
        world.ask("MULTI");
        world.ask("WAITAOF 1 5 0");
        assert_eq!(world.ask("EXEC"), "*1 *2 :0 :0");
    }

    #[test]
    fn a_set_that_is_only_begun_keeps_nothing() {
        let mut world = World::new();
        world.engine.aof.durability.set_beginning(true);
        world.ask("SET a 1");
        world.sync();
        assert_eq!(world.ask("WAITAOF 1 0 0"), "");
        assert!(world.engine.answer_synced().is_some());
        world.engine.aof.durability.set_beginning(false);
        assert!(world.engine.answer_synced().is_none());
        assert_eq!(world.answer(), "*2 :1 :0");
    }

    #[test]
    fn the_end_of_the_aof_ends_the_wait_for_it() {
        let mut world = World::new();
        world.ask("SET a 1");
        assert_eq!(world.ask("WAITAOF 1 0 0"), "");
        world.engine.config.appendonly = false;
        world.engine.follow_appendonly();
        assert!(world.answer().starts_with("-ERR WAITAOF cannot be used"));
        assert_eq!(world.engine.aof.durability.policy(), Policy::Off);
        assert!(world.engine.answer_synced().is_none());
    }
}
