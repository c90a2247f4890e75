//! Numbers as Redis reads and prints them.
//!
//! Text is bytes here, and a number is what the whole of it spells: no function skips spaces or stops early unless its
//! doc says so. Files in reading order: `integer` (64 bits, canonical and looser forms), `float` (scores and other
//! doubles), `extended` (the 80-bit arithmetic behind INCRBYFLOAT), `memory_size` (`1gb` in, `1.50M` out).

mod integer;

pub use integer::{Digits, parse_i64, parse_u64_lenient};
