//! What the operator watches: SLOWLOG, MONITOR, TIME.

use crate::engine::Node;
use crate::engine::error;
use crate::engine::help::reply_help;
use crate::engine::spec::flag::{ADMIN, FAST, LOADING, NOSCRIPT, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::number;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

pub const COMMANDS: &[Spec] = &[
    Spec::container("slowlog", SLOWLOG).doc(
        "2.2.12",
        "server",
        "A container for slow log commands.",
        "Depends on subcommand.",
    ),
    Spec::node(
        "monitor",
        1,
        ADMIN | NOSCRIPT | LOADING | STALE,
        Keys::None,
        monitor,
    )
    .doc(
        "1.0.0",
        "server",
        "Listens for all requests received by the server in real-time.",
        "",
    ),
    Spec::node("time", 1, LOADING | STALE | FAST, Keys::None, time).doc(
        "2.6.0",
        "server",
        "Returns the server time.",
        "O(1)",
    ),
];

const SLOWLOG: &[Spec] = &[
    Spec::node(
        "slowlog|get",
        -2,
        ADMIN | LOADING | STALE,
        Keys::None,
        slowlog_get,
    )
    .doc(
        "2.2.12",
        "server",
        "Returns the slow log's entries.",
        "O(N) where N is the number of entries returned",
    ),
    Spec::node(
        "slowlog|len",
        2,
        ADMIN | LOADING | STALE,
        Keys::None,
        slowlog_len,
    )
    .doc(
        "2.2.12",
        "server",
        "Returns the number of entries in the slow log.",
        "O(1)",
    ),
    Spec::node(
        "slowlog|reset",
        2,
        ADMIN | LOADING | STALE,
        Keys::None,
        slowlog_reset,
    )
    .doc(
        "2.2.12",
        "server",
        "Clears all entries from the slow log.",
        "O(N) where N is the number of entries in the slowlog",
    ),
    Spec::node("slowlog|help", 2, LOADING | STALE, Keys::None, slowlog_help).doc(
        "6.2.0",
        "server",
        "Returns helpful text about the different subcommands.",
        "O(1)",
    ),
];

/// SLOWLOG GET [count]
fn slowlog_get(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let entries = node.engine.slowlog.iter();
    let count = match args.len() {
        2 => 10,
        3 => match number::parse_i64(args.get(2)) {
            Some(-1) => entries.len(),
            Some(count) if count >= 0 => count as usize,
            _ => return Err(error::BAD_SLOWLOG_COUNT),
        },
        _ => return Err(error::unknown_subcommand_or_arity("slowlog", args.get(1))),
    };
    reply.array(count.min(entries.len()));
    for slow in entries.take(count) {
        reply.array(6);
        reply.integer(slow.id as i64);
        reply.integer(slow.unix_seconds);
        reply.integer(slow.micros as i64);
        reply.array(slow.words.len());
        for word in &slow.words {
            reply.bulk(word);
        }
        reply.bulk(slow.peer.as_bytes());
        reply.bulk(&slow.client_name);
    }
    Ok(Outcome::Replied)
}

/// SLOWLOG LEN
fn slowlog_len(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply.integer(node.engine.slowlog.len() as i64);
    Ok(Outcome::Replied)
}

/// SLOWLOG RESET
fn slowlog_reset(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    node.engine.slowlog.clear();
    reply.ok();
    Ok(Outcome::Replied)
}

/// SLOWLOG HELP
fn slowlog_help(_: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    reply_help(
        reply,
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    Tells the newest <count> entries (10 without, -1: all of them): id, Unix time,",
            "    microseconds, words, address and name of the client.",
            "LEN",
            "    Tells how many entries there are.",
            "RESET",
            "    Forgets all entries.",
        ],
    )
}

/// MONITOR
///
/// Who listens already is not answered: the reply would stand among the lines.
fn monitor(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    if node.engine.in_exec {
        return Err(error::NO_MONITOR_IN_EXEC);
    }
    let session = &mut node.engine.clients.get_mut(node.client).session;
    if !session.is_monitor && !session.is_replica() {
        session.is_monitor = true;
        node.engine.monitors.push(node.client);
        reply.ok();
    }
    Ok(Outcome::Replied)
}

/// TIME
fn time(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    let micros = node.engine.clock.unix_micros();
    reply.array(2);
    reply.bulk_integer(micros.div_euclid(1_000_000));
    reply.bulk_integer(micros.rem_euclid(1_000_000));
    Ok(Outcome::Replied)
}
