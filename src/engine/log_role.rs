//! The letter by which the log tells a master's lines from a replica's.
//!
//! Shared by the whole process, because so is the log: the engine sets it, the logger reads it without the lock.

use std::sync::atomic::{AtomicBool, Ordering};

static IS_REPLICA: AtomicBool = AtomicBool::new(false);

/// Called when the role may have changed.
pub fn set(is_replica: bool) {
    IS_REPLICA.store(is_replica, Ordering::Relaxed);
}

/// `M` for a master, `S` for a replica.
pub fn letter() -> char {
    if IS_REPLICA.load(Ordering::Relaxed) {
        'S'
    } else {
        'M'
    }
}
