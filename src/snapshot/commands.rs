//! SAVE, BGSAVE, LASTSAVE.

use crate::engine::Node;
use crate::engine::error::{self, CommandError};
use crate::engine::persistence::Asker;
use crate::engine::spec::flag::{
    ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, STALE,
};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

pub const COMMANDS: &[Spec] = &[
    Spec::node(
        "save",
        1,
        ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI,
        Keys::None,
        save,
    )
    .doc(
        "1.0.0",
        "server",
        "Synchronously save the dataset to disk",
        "O(N) where N is the total number of keys in all databases",
    ),
    Spec::node(
        "bgsave",
        -1,
        ADMIN | NOSCRIPT | NO_ASYNC_LOADING,
        Keys::None,
        bgsave,
    )
    .doc(
        "1.0.0",
        "server",
        "Asynchronously save the dataset to disk",
        "O(1)",
    ),
    Spec::node("lastsave", 1, LOADING | STALE | FAST, Keys::None, lastsave).doc(
        "1.0.0",
        "server",
        "Get the UNIX time stamp of the last successful save to disk",
        "O(1)",
    ),
];

const SAVE_IN_PROGRESS: CommandError = CommandError::new("ERR Background save already in progress");

/// SAVE. Only the client that asks waits; others are served meanwhile.
fn save(node: &mut Node, _args: Argv, _reply: &mut Reply) -> CommandResult {
    if node.engine.persistence.running.is_some() {
        return Err(SAVE_IN_PROGRESS);
    }
    node.engine.begin_save_for(Asker::Save(node.client));
    Ok(Outcome::Parked)
}

/// BGSAVE [SCHEDULE]
fn bgsave(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let is_schedule = args.len() == 2 && args.get(1).eq_ignore_ascii_case(b"schedule");
    if args.len() > 1 && !is_schedule {
        return Err(error::SYNTAX);
    }
    let engine = &mut *node.engine;
    if engine.persistence.running.is_some() {
        return Err(SAVE_IN_PROGRESS);
    }
    if engine.in_exec {
        engine.persistence.scheduled = true;
        reply.simple("Background saving scheduled");
    } else {
        engine.begin_save_for(Asker::Nobody);
        reply.simple("Background saving started");
    }
    Ok(Outcome::Replied)
}

/// LASTSAVE
fn lastsave(node: &mut Node, _args: Argv, reply: &mut Reply) -> CommandResult {
    reply.integer(node.engine.persistence.last_save_unix);
    Ok(Outcome::Replied)
}
