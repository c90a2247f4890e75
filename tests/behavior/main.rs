//! The server from outside, as its users meet it: one module for each thing that a user does.
//!
//! Everything goes over a socket, so the same tests run against the reference:
//! `SLUICE_SERVER=/usr/bin/redis-server cargo test --test behavior`.

#[path = "../support/mod.rs"]
mod support;

mod speak_resp;
mod use_strings;
