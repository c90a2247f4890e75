//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Node;
use super::error;
use super::spec::flag::{ALLOW_BUSY, FAST, LOADING, NOSCRIPT, SKIP_SLOWLOG, STALE};
use super::spec::{ALL_KEYS, CommandResult, Keys, Outcome, Spec};

const BASIC: u32 = NOSCRIPT | LOADING | STALE;

pub const COMMANDS: &[Spec] = &[
    Spec::node("multi", 1, BASIC | FAST | ALLOW_BUSY, Keys::None, multi).doc(
        "1.2.0",
        "transactions",
        "Starts a transaction.",
        "O(1)",
    ),
    Spec::node("exec", 1, BASIC | SKIP_SLOWLOG, Keys::None, exec).doc(
        "1.2.0",
        "transactions",
        "Executes all commands in a transaction.",
        "Depends on commands in the transaction",
    ),
    Spec::node("discard", 1, BASIC | FAST | ALLOW_BUSY, Keys::None, discard).doc(
        "2.0.0",
        "transactions",
        "Discards a transaction.",
        "O(N), when N is the number of queued commands",
    ),
    Spec::node("watch", -2, BASIC | FAST | ALLOW_BUSY, ALL_KEYS, watch).doc(
        "2.2.0",
        "transactions",
        "Monitors changes to keys to determine the execution of a transaction.",
        "O(1) for every key.",
    ),
    Spec::node("unwatch", 1, BASIC | FAST | ALLOW_BUSY, Keys::None, unwatch).doc(
        "2.2.0",
        "transactions",
        "Forgets about watched keys of a transaction.",
        "O(1)",
    ),
];

/// MULTI
fn multi(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.begin_transaction(node.client)?;
    reply.ok();
    Ok(Outcome::Replied)
}

/// EXEC
fn exec(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let executed = node.engine.exec(node.client, reply);
    // Its commands have recorded their effects; EXEC itself is never one.
    node.engine.unit.replaced = true;
    executed?;
    Ok(Outcome::Replied)
}

/// DISCARD
fn discard(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    if node
        .engine
        .clients
        .get(node.client)
        .session
        .transaction
        .is_none()
    {
        return Err(error::DISCARD_WITHOUT_MULTI);
    }
    node.engine.discard_transaction(node.client);
    reply.ok();
    Ok(Outcome::Replied)
}

/// WATCH key [key ...]
fn watch(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    if node
        .engine
        .clients
        .get(node.client)
        .session
        .transaction
        .is_some()
    {
        return Err(error::WATCH_INSIDE_MULTI);
    }
    for key in args.skip(1).iter() {
        node.engine.watch(node.client, key);
    }
    reply.ok();
    Ok(Outcome::Replied)
}

/// UNWATCH
fn unwatch(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.unwatch_all(node.client);
    reply.ok();
    Ok(Outcome::Replied)
}
