//! Small collections as bytes, the same in memory and in RDB.
//!
//! A [`Listpack`] is a sequence of strings and integers in one allocation; an [`Intset`] is a sorted array of integers.
//! Both are exactly what Redis writes into RDB files, so saving one is a copy, loading one is a check, and cloning one for
//! a snapshot is a memcpy. Each grows to what a few cache lines hold; larger collections belong in `cow`.
//!
//! Files in reading order: `element` (what a listpack holds, and its bytes), `listpack`, `change`
//! and `walk` (its changes and its iterators), `intset`.
//! Knows nothing of types, keys or files.

mod change;
mod element;
mod intset;
mod listpack;
#[cfg(test)]
mod properties;
mod walk;

use std::fmt;

pub use element::Element;
pub use intset::Intset;
pub use listpack::{Listpack, Position};
pub use walk::{Entries, Iter, Pairs};

/// Why bytes from outside are not the structure they claim to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// `listpack` or `intset`.
    pub structure: &'static str,
    /// Where, counted from the start of the structure.
    pub byte: usize,
    pub expected: String,
    pub found: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Malformed {
            structure,
            byte,
            expected,
            found,
        } = self;
        write!(
            f,
            "{structure}: byte {byte}: expected {expected}, found {found}"
        )
    }
}

impl std::error::Error for Malformed {}

/// The size that jemalloc gives to a request of `bytes`: multiples of 16 up to 128, then four steps per doubling.
fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    let step = bytes.next_power_of_two() / 8;
    bytes.next_multiple_of(step)
}
