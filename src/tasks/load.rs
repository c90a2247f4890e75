//! Loads a dataset: at start from the RDB file, again for DEBUG RELOAD.

use crate::clients::ClientKey;
use crate::engine::Engine;
use crate::snapshot::loading::{self, Expired};

use super::engine_lock::EngineLock;

/// Settings for a payload from the master.
pub fn options(engine: &Engine, payload_bytes: Option<u64>) -> loading::Options {
    engine.load_options(Expired::Keep, payload_bytes)
}

pub fn announce(_lock: &EngineLock) {}

pub async fn at_start(_lock: &EngineLock) -> Result<(), String> {
    Ok(())
}

pub async fn reload(_lock: EngineLock, _client: ClientKey, _save: bool) {}
