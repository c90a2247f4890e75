//! Ours against redis-server 7.0.15: the same commands, the same replies, the same data, the same stream.
//!
//! What may differ stands in `known_differences.txt`, each with its reason. `SLUICE_SEED=n` runs one seed again,
//! `SLUICE_SEQUENCES=n` runs more of them.

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod grammar;
mod known;
mod pair;
mod propagation;
mod random_commands;
mod server_calls;
mod shrink;
mod surface;
