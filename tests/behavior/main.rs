//! The server from outside, as its users meet it: one module for each thing that a user does.
//!
//! Everything goes over a socket, so the same tests run against the reference:
//! `SLUICE_SERVER=/usr/bin/redis-server cargo test --test behavior`.

#[path = "../support/mod.rs"]
mod support;

mod chain_replicas;
mod configure;
mod expire_keys;
mod fail_to_save;
mod feed_from_disk;
mod hit_limits;
mod load_the_aof;
mod manage_clients;
mod observe;
mod publish;
mod replicate;
mod restart;
mod resume_replication;
mod rewrite_aof;
mod run_transactions;
mod scan_keys;
mod speak_resp;
mod survive_restarts;
mod use_hashes;
mod use_lists;
mod use_sets;
mod use_sorted_sets;
mod use_strings;
mod use_the_tool;
mod wait_for_disks;
mod write_an_aof;
