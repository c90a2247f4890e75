//! Everything that awaits, one file per kind of task. [`boot::run`] starts all of it and stops it in reverse.

pub mod accept;
pub mod boot;
pub mod engine_lock;
pub mod feed_replica;
pub mod reclaim;
pub mod serve_client;
pub mod tick;
