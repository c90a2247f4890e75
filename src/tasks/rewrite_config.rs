//! temporary
use super::engine_lock::EngineLock;
use crate::clients::ClientKey;
pub async fn run(_lock: EngineLock, _client: ClientKey) {}
