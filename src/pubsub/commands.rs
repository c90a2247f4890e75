//! SUBSCRIBE, PUBLISH and their kin: channels, patterns and shard channels.
//!
//! Each name in a request is confirmed by a reply of its own, so one command has many. Confirmations are messages: CLIENT
//! REPLY OFF does not silence them.

use std::collections::BTreeSet;

use crate::clients::session::{ReplyMode, Session};
use crate::engine::Node;
use crate::engine::error;
use crate::engine::help::reply_help;
use crate::engine::spec::flag::{FAST, LOADING, MAY_REPLICATE, NOSCRIPT, PUBSUB, STALE};
use crate::engine::spec::{ALL_KEYS, CommandResult, Keys, ONE_KEY, Outcome, Spec};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

const LISTEN: u32 = PUBSUB | NOSCRIPT | LOADING | STALE;
const SEND: u32 = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE;
const LOOK: u32 = PUBSUB | LOADING | STALE;

pub const COMMANDS: &[Spec] = &[
    Spec::node("subscribe", -2, LISTEN, Keys::None, subscribe).doc(
        "2.0.0",
        "pubsub",
        "Listens for messages published to channels.",
        "O(N) where N is the number of channels to subscribe to.",
    ),
    Spec::node("unsubscribe", -1, LISTEN, Keys::None, unsubscribe).doc(
        "2.0.0",
        "pubsub",
        "Stops listening to messages posted to channels.",
        "O(N) where N is the number of clients already subscribed to a channel.",
    ),
    Spec::node("psubscribe", -2, LISTEN, Keys::None, psubscribe).doc(
        "2.0.0",
        "pubsub",
        "Listens for messages published to channels that match one or more patterns.",
        "O(N) where N is the number of patterns to subscribe to.",
    ),
    Spec::node("punsubscribe", -1, LISTEN, Keys::None, punsubscribe).doc(
        "2.0.0",
        "pubsub",
        "Stops listening to messages published to channels that match one or more patterns.",
        "O(N) where N is the number of clients already subscribed to a pattern.",
    ),
    Spec::node("ssubscribe", -2, LISTEN, ALL_KEYS, ssubscribe).doc(
        "7.0.0",
        "pubsub",
        "Listens for messages published to shard channels.",
        "O(N) where N is the number of shard channels to subscribe to.",
    ),
    Spec::node("sunsubscribe", -1, LISTEN, ALL_KEYS, sunsubscribe).doc(
        "7.0.0",
        "pubsub",
        "Stops listening to messages posted to shard channels.",
        "O(N) where N is the number of clients already subscribed to a shard channel.",
    ),
    Spec::node("publish", 3, SEND, Keys::None, publish).doc(
        "2.0.0",
        "pubsub",
        "Posts a message to a channel.",
        "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of \
         subscribed patterns (by any client).",
    ),
    Spec::node("spublish", 3, SEND, ONE_KEY, spublish).doc(
        "7.0.0",
        "pubsub",
        "Posts a message to a shard channel.",
        "O(N) where N is the number of clients subscribed to the receiving shard channel.",
    ),
    Spec::container("pubsub", SUBCOMMANDS).doc(
        "2.8.0",
        "pubsub",
        "A container for Pub/Sub commands.",
        "Depends on subcommand.",
    ),
];

const SUBCOMMANDS: &[Spec] = &[
    Spec::node("pubsub|channels", -2, LOOK, Keys::None, channels).doc(
        "2.8.0",
        "pubsub",
        "Returns the active channels.",
        "O(N) where N is the number of active channels, and assuming constant time pattern matching.",
    ),
    Spec::node("pubsub|numsub", -2, LOOK, Keys::None, numsub).doc(
        "2.8.0",
        "pubsub",
        "Returns a count of subscribers to channels.",
        "O(N) for the NUMSUB subcommand, where N is the number of requested channels.",
    ),
    Spec::node("pubsub|numpat", 2, LOOK, Keys::None, numpat).doc(
        "2.8.0",
        "pubsub",
        "Returns a count of unique pattern subscriptions.",
        "O(1)",
    ),
    Spec::node("pubsub|shardchannels", -2, LOOK, Keys::None, shard_channels).doc(
        "7.0.0",
        "pubsub",
        "Returns the active shard channels.",
        "O(N) where N is the number of active shard channels, and assuming constant time pattern matching.",
    ),
    Spec::node("pubsub|shardnumsub", -2, LOOK, Keys::None, shard_numsub).doc(
        "7.0.0",
        "pubsub",
        "Returns the count of subscribers of shard channels.",
        "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels.",
    ),
    Spec::node("pubsub|help", 2, LOADING | STALE, Keys::None, help).doc(
        "6.2.0",
        "pubsub",
        "Returns helpful text about the different subcommands.",
        "O(1)",
    ),
];

/// SUBSCRIBE channel [channel ...]
fn subscribe(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    listen(node, args, reply, Scope::Channel)
}

/// UNSUBSCRIBE [channel [channel ...]]
fn unsubscribe(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    leave(node, args, reply, Scope::Channel)
}

/// PSUBSCRIBE pattern [pattern ...]
fn psubscribe(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    listen(node, args, reply, Scope::Pattern)
}

/// PUNSUBSCRIBE [pattern [pattern ...]]
fn punsubscribe(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    leave(node, args, reply, Scope::Pattern)
}

/// SSUBSCRIBE shardchannel [shardchannel ...]
fn ssubscribe(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    if node.engine.in_exec {
        return Err(error::NO_SHARD_SUBSCRIPTION);
    }
    listen(node, args, reply, Scope::Shard)
}

/// SUNSUBSCRIBE [shardchannel [shardchannel ...]]
fn sunsubscribe(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    leave(node, args, reply, Scope::Shard)
}

/// PUBLISH channel message
fn publish(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let listeners = node.engine.publish(args.get(1), args.get(2));
    pass_on(node, args);
    reply.integer(listeners as i64);
    Ok(Outcome::Replied)
}

/// SPUBLISH shardchannel message
fn spublish(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let listeners = node.engine.publish_shard(args.get(1), args.get(2));
    pass_on(node, args);
    reply.integer(listeners as i64);
    Ok(Outcome::Replied)
}

/// A message changes no data, but listeners at the replicas are to hear it: it is an effect all the same.
fn pass_on(node: &mut Node, args: Argv) {
    let db = node.engine.clients.get(node.client).session.db;
    let request = [args.get(0), args.get(1), args.get(2)];
    node.engine.unit.add_effect(db, &request);
}

/// PUBSUB CHANNELS [pattern]
fn channels(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let pattern = optional_pattern(args)?;
    let active = node.engine.pubsub.active_channels(pattern);
    reply.array(active.len());
    for channel in active {
        reply.bulk(channel);
    }
    Ok(Outcome::Replied)
}

/// PUBSUB NUMSUB [channel [channel ...]]
fn numsub(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    reply.array(2 * (args.len() - 2));
    for channel in args.skip(2).iter() {
        reply.bulk(channel);
        reply.integer(node.engine.pubsub.subscribers(channel) as i64);
    }
    Ok(Outcome::Replied)
}

/// PUBSUB NUMPAT
fn numpat(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply.integer(node.engine.pubsub.pattern_count() as i64);
    Ok(Outcome::Replied)
}

/// PUBSUB SHARDCHANNELS [pattern]
fn shard_channels(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let pattern = optional_pattern(args)?;
    let active = node.engine.pubsub.active_shard_channels(pattern);
    reply.array(active.len());
    for channel in active {
        reply.bulk(channel);
    }
    Ok(Outcome::Replied)
}

/// PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]
fn shard_numsub(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    reply.array(2 * (args.len() - 2));
    for channel in args.skip(2).iter() {
        reply.bulk(channel);
        reply.integer(node.engine.pubsub.shard_listeners(channel).len() as i64);
    }
    Ok(Outcome::Replied)
}

/// PUBSUB HELP
fn help(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply_help(reply, "PUBSUB", HELP)
}

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Lists the channels that somebody listens to, those that match <pattern> if it is given.",
    "NUMPAT",
    "    Counts the different patterns that somebody listens to.",
    "NUMSUB [<channel> ...]",
    "    Counts the listeners of each channel, leaving out those by pattern.",
    "SHARDCHANNELS [<pattern>]",
    "    Lists the shard channels that somebody listens to.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Counts the listeners of each shard channel.",
];

fn optional_pattern(args: Argv<'_>) -> Result<Option<&[u8]>, error::CommandError> {
    match args.len() {
        2 => Ok(None),
        3 => Ok(Some(args.get(2))),
        _ => Err(error::unknown_subcommand_or_arity("PUBSUB", args.get(1))),
    }
}

/// What a subscription is to.
#[derive(Clone, Copy)]
enum Scope {
    Channel,
    Pattern,
    Shard,
}

impl Scope {
    fn joined(self) -> &'static [u8] {
        match self {
            Scope::Channel => b"subscribe",
            Scope::Pattern => b"psubscribe",
            Scope::Shard => b"ssubscribe",
        }
    }

    fn left(self) -> &'static [u8] {
        match self {
            Scope::Channel => b"unsubscribe",
            Scope::Pattern => b"punsubscribe",
            Scope::Shard => b"sunsubscribe",
        }
    }

    fn names(self, session: &mut Session) -> &mut BTreeSet<Vec<u8>> {
        match self {
            Scope::Channel => &mut session.channels,
            Scope::Pattern => &mut session.patterns,
            Scope::Shard => &mut session.shard_channels,
        }
    }

    /// The number in confirmations: channels and patterns are counted together, shard channels by themselves.
    fn count(self, session: &Session) -> usize {
        match self {
            Scope::Channel | Scope::Pattern => session.subscriptions(),
            Scope::Shard => session.shard_channels.len(),
        }
    }
}

fn listen(node: &mut Node, args: Argv, reply: &mut Reply, scope: Scope) -> CommandResult {
    for name in args.skip(1).iter() {
        let session = &mut node.engine.clients.get_mut(node.client).session;
        if scope.names(session).insert(name.to_vec()) {
            let pubsub = &mut node.engine.pubsub;
            match scope {
                Scope::Channel => pubsub.subscribe(node.client, name),
                Scope::Pattern => pubsub.subscribe_pattern(node.client, name),
                Scope::Shard => pubsub.subscribe_shard(node.client, name),
            }
        }
        confirm(node, reply, scope, scope.joined(), Some(name));
    }
    Ok(Outcome::Replied)
}

/// Leaves what the request names, or everything; having nothing to leave is confirmed too.
fn leave(node: &mut Node, args: Argv, reply: &mut Reply, scope: Scope) -> CommandResult {
    if args.len() > 1 {
        for name in args.skip(1).iter() {
            leave_one(node, scope, name);
            confirm(node, reply, scope, scope.left(), Some(name));
        }
        return Ok(Outcome::Replied);
    }
    let session = &mut node.engine.clients.get_mut(node.client).session;
    let names: Vec<Vec<u8>> = scope.names(session).iter().cloned().collect();
    for name in &names {
        leave_one(node, scope, name);
        confirm(node, reply, scope, scope.left(), Some(name));
    }
    if names.is_empty() {
        confirm(node, reply, scope, scope.left(), None);
    }
    Ok(Outcome::Replied)
}

fn leave_one(node: &mut Node, scope: Scope, name: &[u8]) {
    let session = &mut node.engine.clients.get_mut(node.client).session;
    if !scope.names(session).remove(name) {
        return;
    }
    let pubsub = &mut node.engine.pubsub;
    match scope {
        Scope::Channel => pubsub.unsubscribe(node.client, name),
        Scope::Pattern => pubsub.unsubscribe_pattern(node.client, name),
        Scope::Shard => pubsub.unsubscribe_shard(node.client, name),
    }
}

fn confirm(node: &mut Node, reply: &mut Reply, scope: Scope, what: &[u8], name: Option<&[u8]>) {
    let session = &node.engine.clients.get(node.client).session;
    let count = scope.count(session) as i64;
    let is_muted = matches!(session.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    let write = |reply: &mut Reply| {
        reply.push(3);
        reply.bulk(what);
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.integer(count);
    };
    if is_muted {
        node.engine.push(node.client, write);
    } else {
        write(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{ClientKey, Ends};
    use crate::clock::{Clock, UnixMillis};
    use crate::config::Config;
    use crate::engine::{Engine, table};
    use crate::protocol::reply::Resp;
    use crate::protocol::request::OwnedRequest;
    use crate::random::Random;

    struct World(Engine);

    impl World {
        fn new() -> Self {
            let clock = Clock::manual(UnixMillis(1_000));
            World(Engine::new(Config::default(), clock, Random::from_seed(1)))
        }

        fn client(&mut self, resp: Resp) -> ClientKey {
            let ends = Ends {
                is_local: true,
                ..Ends::default()
            };
            let client = self.0.connect(ends).expect("room for a client");
            self.0.clients.get_mut(client).session.resp = resp;
            client
        }

        /// What stands in the client's outbox after the request, line ends as spaces.
        fn ask(&mut self, client: ClientKey, request: &str) -> String {
            let request = OwnedRequest::new(request.split(' ').map(str::as_bytes));
            let argv = request.argv();
            self.0.execute(client, argv, table::lookup(argv));
            self.take(client)
        }

        fn take(&mut self, client: ClientKey) -> String {
            let buffer = std::mem::take(&mut self.0.clients.get_mut(client).outbox.buffer);
            String::from_utf8(buffer.to_vec())
                .expect("text")
                .replace("\r\n", " ")
        }
    }

    #[test]
    fn each_name_is_confirmed_with_the_number_of_subscriptions_then() {
        let mut world = World::new();
        let client = world.client(Resp::Two);
        assert_eq!(
            world.ask(client, "SUBSCRIBE a b a"),
            "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 *3 $9 subscribe $1 a :2 "
        );
        assert_eq!(
            world.ask(client, "PSUBSCRIBE x*"),
            "*3 $10 psubscribe $2 x* :3 "
        );
        assert_eq!(
            world.ask(client, "SSUBSCRIBE s"),
            "*3 $10 ssubscribe $1 s :1 "
        );
        assert_eq!(
            world.ask(client, "UNSUBSCRIBE nothing"),
            "*3 $11 unsubscribe $7 nothing :3 "
        );
        assert_eq!(
            world.ask(client, "UNSUBSCRIBE"),
            "*3 $11 unsubscribe $1 a :2 *3 $11 unsubscribe $1 b :1 "
        );
        assert_eq!(
            world.ask(client, "UNSUBSCRIBE"),
            "*3 $11 unsubscribe $-1 :1 "
        );
        assert_eq!(
            world.ask(client, "SUNSUBSCRIBE"),
            "*3 $12 sunsubscribe $1 s :0 "
        );
    }

    #[test]
    fn messages_reach_listeners_by_name_and_by_pattern_in_their_own_protocol() {
        let mut world = World::new();
        let (old, new) = (world.client(Resp::Two), world.client(Resp::Three));
        let sender = world.client(Resp::Two);
        world.ask(old, "SUBSCRIBE news");
        world.ask(new, "PSUBSCRIBE n?ws");
        world.ask(new, "SSUBSCRIBE news");
        assert_eq!(world.ask(sender, "PUBLISH news hi"), ":2 ");
        assert_eq!(world.take(old), "*3 $7 message $4 news $2 hi ");
        assert_eq!(world.take(new), ">4 $8 pmessage $4 n?ws $4 news $2 hi ");
        assert_eq!(world.ask(sender, "SPUBLISH news hi"), ":1 ");
        assert_eq!(world.take(new), ">3 $8 smessage $4 news $2 hi ");
        // One's own message comes before the reply.
        assert_eq!(
            world.ask(new, "SPUBLISH news me"),
            ">3 $8 smessage $4 news $2 me :1 "
        );
        world.0.disconnect(old);
        world.0.disconnect(new);
        assert_eq!(world.ask(sender, "PUBLISH news hi"), ":0 ");
        assert_eq!(world.ask(sender, "PUBSUB NUMPAT"), ":0 ");
        assert_eq!(world.ask(sender, "PUBSUB CHANNELS"), "*0 ");
    }

    #[test]
    fn a_muted_client_hears_of_its_subscriptions_nevertheless() {
        let mut world = World::new();
        let client = world.client(Resp::Three);
        world.0.clients.get_mut(client).session.reply_mode = ReplyMode::Off;
        assert_eq!(world.ask(client, "SUBSCRIBE a"), ">3 $9 subscribe $1 a :1 ");
        assert_eq!(world.ask(client, "PUBSUB NUMPAT"), "");
    }

    #[test]
    fn confirmations_stand_inside_the_reply_of_a_transaction() {
        let mut world = World::new();
        let client = world.client(Resp::Two);
        for request in ["MULTI", "SUBSCRIBE a b", "SSUBSCRIBE s", "UNSUBSCRIBE"] {
            world.ask(client, request);
        }
        assert_eq!(
            world.ask(client, "EXEC"),
            "*3 *3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 \
             -ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client \
             *3 $11 unsubscribe $1 a :1 *3 $11 unsubscribe $1 b :0 "
        );
    }

    #[test]
    fn a_published_message_is_an_effect_and_a_subscription_is_none() {
        let mut world = World::new();
        world.0.journal.create_backlog(1 << 20);
        let client = world.client(Resp::Three);
        let start = world.0.journal.end();
        world.ask(client, "SUBSCRIBE c");
        assert_eq!(world.0.journal.end(), start);
        world.ask(client, "PUBLISH c message");
        let effect = "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$7\r\nmessage\r\n";
        let select = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
        let length = (select.len() + effect.len()) as i64;
        assert_eq!(world.0.journal.end().0, start.0 + length);
    }
}
