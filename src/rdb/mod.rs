//! The RDB format: one value, one key, one dataset as bytes.
//!
//! ```text
//! magic+version   9 bytes: "REDIS" and four digits, or "VALKEY" and three
//! records         FA aux  FE select db  FB resize db | FD/FC expiry  F8 idle  F9 freq | type, key, value
//! EOF             FF
//! checksum        8 bytes, little-endian CRC-64 Jones of everything before; since version 5; zero means none
//! ```
//!
//! There is no record length: who does not know a type cannot skip it, so an unknown one ends the reading.
//!
//! Two directions that share nothing but the vocabulary:
//! - [`decoder::Decoder`]: bytes in, [`decoder::Event`]s out. A value arrives as [`parts::Part`]s that name no type of ours; the
//!   value decoder builds from them. Nothing read is trusted: see the decoder's page for what bounds its memory.
//! - [`encoder::Encoder`]: events in, bytes out, taken by the caller in chunks while it grows.
//!
//! Knows bytes only: no keyspace, no file, no socket.

// The vocabulary, and what can be wrong.
pub mod error;
pub mod opcode;

// The bricks.
pub mod checksum;
pub mod lzf;
pub mod primitive;
pub mod writer;

// Containers that only old files hold.
pub mod legacy;

// Reading.
pub mod decoder;
mod grammar;
pub mod parts;
pub mod value_decoder;

// Writing.
pub mod encoder;
pub mod value_encoder;

// One value that travels alone.
pub mod dump;

#[cfg(test)]
pub mod fixtures;
#[cfg(test)]
mod frame_tests;
