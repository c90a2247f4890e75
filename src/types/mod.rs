//! The closed list of value types. A room for each, its structure in the room's `mod.rs`.
//!
//! A [`Value`] is what an entry of the keyspace points to when it does not fit inline. Cloning one is cheap in the sense
//! of the copy-on-write structures: small encodings are copied, big ones share their nodes.

pub mod distinct;
pub mod sample;

pub mod hash;
pub mod list;
pub mod set;
pub mod sorted_set;
pub mod string;

use hash::Hash;
use list::List;
use set::Set;
use sorted_set::SortedSet;
use string::BigString;

use crate::cow::blob::Blob;
use crate::cow::table::CowTable;

/// Tables of up to so many elements are freed where they are let go of.
const FREED_AT_ONCE_MAX: usize = 256;

/// How many elements of a table are looked at to say how much memory all of them take.
const ELEMENTS_MEASURED: usize = 32;

/// One value of the keyspace that has an allocation of its own.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string too long to lie in its entry.
    String(BigString),
    List(List),
    Set(Set),
    Hash(Hash),
    SortedSet(SortedSet),
}

/// A type as TYPE, SCAN's TYPE option and OBJECT speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    String,
    List,
    Set,
    SortedSet,
    Hash,
}

impl Type {
    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::SortedSet => "zset",
            Type::Hash => "hash",
        }
    }
}

impl Value {
    pub fn type_of(&self) -> Type {
        match self {
            Value::String(_) => Type::String,
            Value::List(_) => Type::List,
            Value::Set(_) => Type::Set,
            Value::Hash(_) => Type::Hash,
            Value::SortedSet(_) => Type::SortedSet,
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::String(_) => "raw",
            Value::List(list) => list.encoding(),
            Value::Set(set) => set.encoding_name(),
            Value::Hash(hash) => hash.encoding_name(),
            Value::SortedSet(set) => set.encoding(),
        }
    }

    /// Bytes of heap behind the value, as MEMORY USAGE estimates them.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::String(string) => string.heap_bytes(),
            Value::List(list) => list.heap_bytes(),
            Value::Set(set) => set.heap_bytes(),
            Value::Hash(hash) => hash.heap_bytes(),
            Value::SortedSet(set) => set.heap_bytes(),
        }
    }

    /// True if freeing the value takes long enough to be done in the background.
    pub fn is_big_to_free(&self) -> bool {
        match self {
            Value::String(string) => string.len() > 64 * 1024,
            Value::List(list) => list.is_big_to_free(),
            Value::Set(set) => set.is_big_to_free(),
            Value::Hash(hash) => hash.is_big_to_free(),
            Value::SortedSet(set) => set.is_big_to_free(),
        }
    }
}

/// A type that commands ask the keyspace for: [`Kind::of`] is where WRONGTYPE is found out.
pub trait Kind: Sized {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
}

/// Bytes of a table with its elements, estimated from the first of them.
fn table_bytes<H: Copy + Send + Sync>(table: &CowTable<Blob<H>>) -> usize {
    let measured = table.len().min(ELEMENTS_MEASURED);
    let bytes: usize = table
        .iter()
        .take(measured)
        .map(|element| element.heap_bytes())
        .sum();
    table.heap_bytes() + bytes * table.len() / measured.max(1)
}

impl Kind for SortedSet {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::SortedSet(set) => Some(set),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::SortedSet(set) => Some(set),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::SortedSet(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_no_larger_than_a_string_in_chunks() {
        assert!(size_of::<Value>() <= 32);
        assert_eq!(size_of::<Set>(), 24);
        assert_eq!(size_of::<Hash>(), 24);
    }
}
