//! temporary
use super::engine_lock::EngineLock;
pub async fn run(_lock: EngineLock) {}
