//! BGREWRITEAOF.

use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Node;
use super::error::CommandError;
use super::spec::flag::{ADMIN, NO_ASYNC_LOADING, NOSCRIPT};
use super::spec::{CommandResult, Keys, Outcome, Spec};

pub const COMMANDS: &[Spec] = &[Spec::node(
    "bgrewriteaof",
    1,
    ADMIN | NOSCRIPT | NO_ASYNC_LOADING,
    Keys::None,
    bgrewriteaof,
)
.doc(
    "1.0.0",
    "server",
    "Asynchronously rewrite the append-only file",
    "O(1)",
)];

const REWRITE_IN_PROGRESS: CommandError =
    CommandError::new("ERR Background append only file rewriting already in progress");

/// BGREWRITEAOF. Unlike in Redis it does not wait for the end of a BGSAVE.
fn bgrewriteaof(node: &mut Node, _args: Argv, reply: &mut Reply) -> CommandResult {
    if node.engine.rewrites.running.is_some() {
        return Err(REWRITE_IN_PROGRESS);
    }
    reply.simple(match node.engine.ask_for_rewrite() {
        true => "Background append only file rewriting started",
        false => "Background append only file rewriting scheduled",
    });
    Ok(Outcome::Replied)
}
