//! Everything that awaits, one file per kind of task. [`boot::run`] starts all of it and stops it in reverse.

pub mod accept;
pub mod begin_aof;
pub mod boot;
pub mod conductor;
pub mod digest;
pub mod engine_lock;
pub mod feed_replica;
pub mod follow_master;
pub mod full_sync;
pub mod listen;
pub mod load;
pub mod logging;
pub mod reclaim;
pub mod rewrite_config;
pub mod sample_memory;
pub mod serve_client;
pub mod shutdown;
pub mod sync_aof;
pub mod take_snapshot;
pub mod tick;
pub mod write_aof;
