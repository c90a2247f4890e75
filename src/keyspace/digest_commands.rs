//! DEBUG DIGEST and DEBUG DIGEST-VALUE.

use crate::clients::session::Blocked;
use crate::engine::Node;
use crate::engine::error::{self, CommandError};
use crate::engine::intent::Intent;
use crate::engine::spec::flag::{ADMIN, LOADING, NOSCRIPT, STALE};
use crate::engine::spec::{CommandResult, Keys, Outcome, Spec};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Key;
use super::digest::Digest;

const FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

pub const COMMANDS: &[Spec] = &[Spec::container("debug", &[DIGEST, DIGEST_VALUE]).doc(
    "1.0.0",
    "server",
    "A container for commands that help to find errors.",
    "Depends on subcommand.",
)];

/// The row of DEBUG DIGEST.
pub const DIGEST: Spec = Spec::node("debug|digest", 2, FLAGS, Keys::None, digest).doc(
    "1.0.0",
    "server",
    "Returns a digest that is equal where datasets are equal.",
    "O(N) where N is the number of elements in all databases; a large dataset is digested while others work.",
);

/// The row of DEBUG DIGEST-VALUE.
pub const DIGEST_VALUE: Spec =
    Spec::node("debug|digest-value", -2, FLAGS, Keys::None, digest_value).doc(
        "1.0.0",
        "server",
        "Returns the digests of the values of some keys.",
        "O(N) where N is the number of elements in the values.",
    );

/// Datasets of fewer keys are digested at once.
const KEYS_AT_ONCE: usize = 1_000;

/// DEBUG DIGEST
fn digest(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
    check_permission(node)?;
    let picture = node.engine.keyspace.picture();
    // What runs inside of EXEC has to be answered there.
    if picture.len() < KEYS_AT_ONCE || node.engine.in_exec {
        reply.simple(&Digest::of_dataset(&picture).to_string());
        return Ok(Outcome::Replied);
    }
    let client = node.client;
    node.engine.clients.get_mut(client).session.blocked = Some(Blocked::ForTask);
    node.engine.intents.push(Intent::Digest { client, picture });
    Ok(Outcome::Parked)
}

/// DEBUG DIGEST-VALUE [key ...]
fn digest_value(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
    check_permission(node)?;
    let session = &node.engine.clients.get(node.client).session;
    let database = node.engine.keyspace.db(session.db);
    reply.array(args.len() - 2);
    for key in args.skip(2).iter() {
        let digest = database
            .get(Key::new(key))
            .map_or_else(Digest::default, |entry| Digest::of_value(&entry));
        reply.simple(&digest.to_string());
    }
    Ok(Outcome::Replied)
}

fn check_permission(node: &Node) -> Result<(), CommandError> {
    let is_local = node.engine.clients.get(node.client).ends.is_local;
    if !node.engine.config.enable_debug_command.allows(is_local) {
        return Err(error::NO_DEBUG);
    }
    Ok(())
}
