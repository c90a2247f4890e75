//! DEBUG DIGEST and DEBUG DIGEST-VALUE; the row of DEBUG, and the check whether it is allowed, are the engine's.

use crate::clients::session::Blocked;
use crate::engine::Node;
use crate::engine::intent::Intent;
use crate::engine::spec::{CommandResult, Outcome};
use crate::protocol::reply::Reply;
use crate::protocol::request::Argv;

use super::Key;
use super::digest::Digest;

/// Datasets of fewer keys are digested at once.
const KEYS_AT_ONCE: usize = 1_000;

/// DEBUG DIGEST
pub fn digest(node: &mut Node, _: Argv, reply: &mut Reply) -> CommandResult {
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
pub fn digest_value(node: &mut Node, args: Argv, reply: &mut Reply) -> CommandResult {
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
