//! SHUTDOWN: asks for the end of the process, or takes that back.

use crate::clients::session::Blocked;
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Node;
use super::error;
use super::intent::{Intent, SaveWish};
use super::spec::flag::{ADMIN, ALLOW_BUSY, LOADING, NO_MULTI, NOSCRIPT, STALE};
use super::spec::{CommandResult, Keys, Outcome, Spec};

const FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY;

pub const COMMANDS: &[Spec] = &[Spec::node("shutdown", -1, FLAGS, Keys::None, shutdown).doc(
    "1.0.0",
    "server",
    "Synchronously saves the database(s) to disk and shuts down the Redis server.",
    "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
)];

/// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] | ABORT
///
/// Who asks is answered only if the server goes on.
fn shutdown(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    let (mut save, mut now, mut force, mut abort) = (SaveWish::Default, false, false, false);
    for word in args.skip(1).iter() {
        match &word.to_ascii_lowercase()[..] {
            b"save" if save != SaveWish::NoSave => save = SaveWish::Save,
            b"nosave" if save != SaveWish::Save => save = SaveWish::NoSave,
            b"now" => now = true,
            b"force" => force = true,
            b"abort" => abort = true,
            _ => return Err(error::SYNTAX),
        }
    }
    if abort && args.len() > 2 {
        return Err(error::SYNTAX);
    }
    let engine = &mut *node.engine;
    if abort {
        if !std::mem::take(&mut engine.shutting_down) {
            return Err(error::NO_SHUTDOWN);
        }
        reply.ok();
        return Ok(Outcome::Replied);
    }
    let parked = engine.park(node.client, Blocked::ForTask)?;
    engine.shutting_down = true;
    engine.intents.push(Intent::Shutdown {
        save,
        client: Some(node.client),
        now,
        force,
    });
    Ok(parked)
}
