//! With the real ones: redis-server as our master and as our replica, and the tools that people use with it.
//!
//! Needs redis-server and redis-tools 7.0; says so loudly where they are missing (`SLUICE_REQUIRE_REDIS=1`: fails).
//! `SLUICE_SERVER=/usr/bin/redis-server` runs all of it between real servers, which is how these tests are tested.

#[path = "../support/mod.rs"]
mod support;

mod exchange_files;
mod fail_over;
mod keep_an_aof;
mod mixed_replication;
mod use_tools;
