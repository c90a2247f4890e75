//! Connection commands: PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET, CLIENT.

use crate::engine::Node;
use crate::engine::error;
use crate::engine::spec::flag::{ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::number;
use crate::protocol::reply::{Reply, Resp};
use crate::protocol::request::Argv;

use super::Closing;

pub const COMMANDS: &[Spec] = &[
    Spec::node("ping", -1, FAST, Keys::None, ping).doc(
        "1.0.0",
        "connection",
        "Returns the server's liveliness response.",
        "O(1)",
    ),
    Spec::node("echo", 2, FAST | LOADING | STALE, Keys::None, echo).doc(
        "1.0.0",
        "connection",
        "Returns the given string.",
        "O(1)",
    ),
    Spec::node("select", 2, FAST | LOADING | STALE, Keys::None, select).doc(
        "1.0.0",
        "connection",
        "Changes the selected database.",
        "O(1)",
    ),
    Spec::node(
        "quit",
        -1,
        FAST | LOADING | STALE | NOSCRIPT | NO_AUTH | ALLOW_BUSY,
        Keys::None,
        quit,
    )
    .doc("1.0.0", "connection", "Closes the connection.", "O(1)"),
    Spec::container("client", CLIENT).doc(
        "2.4.0",
        "connection",
        "A container for client connection commands.",
        "Depends on subcommand.",
    ),
];

const CLIENT: &[Spec] = &[Spec::node(
    "client|id",
    2,
    LOADING | STALE | NOSCRIPT,
    Keys::None,
    client_id,
)
.doc(
    "5.0.0",
    "connection",
    "Returns the unique client ID of the connection.",
    "O(1)",
)];

/// PING [message]
fn ping(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    if args.len() > 2 {
        return Err(error::wrong_arity("ping"));
    }
    let session = &node.engine.clients.get(node.client).session;
    if session.is_subscriber() && session.resp == Resp::Two {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(if args.len() == 2 { args.get(1) } else { b"" });
    } else if args.len() == 2 {
        reply.bulk(args.get(1));
    } else {
        reply.simple("PONG");
    }
    Ok(Outcome::Replied)
}

/// ECHO message
fn echo(_: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    reply.bulk(args.get(1));
    Ok(Outcome::Replied)
}

/// SELECT index
fn select(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let index = number::parse_i64(args.get(1)).ok_or(error::NOT_AN_INTEGER)?;
    let index = usize::try_from(index)
        .ok()
        .filter(|index| *index < node.engine.keyspace.count());
    node.engine.clients.get_mut(node.client).session.db =
        index.ok_or(error::DB_INDEX_OUT_OF_RANGE)?;
    reply.ok();
    Ok(Outcome::Replied)
}

/// QUIT
fn quit(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.clients.get_mut(node.client).closing = Some(Closing::AfterReplies);
    reply.ok();
    Ok(Outcome::Replied)
}

/// CLIENT ID
fn client_id(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply.integer(node.client.id.0 as i64);
    Ok(Outcome::Replied)
}
