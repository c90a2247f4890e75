//! DEBUG DIGEST of a large dataset, while others work.
//!
//! Started by the conductor; nothing wakes it; ends with the answer to the client that asked. A client that has gone
//! meanwhile is not missed.

use async_std::task;

use crate::clients::ClientKey;
use crate::keyspace::KeyspacePicture;
use crate::keyspace::digest::Digest;

use super::engine_lock::EngineLock;

pub async fn run(lock: EngineLock, client: ClientKey, picture: KeyspacePicture) {
    // The picture is dropped there too: it may hold the last references to much.
    let digest = task::spawn_blocking(move || Digest::of_dataset(&picture)).await;
    let text = digest.to_string();
    lock.with(|engine| engine.unblock(client, |reply| reply.simple(&text)));
}
