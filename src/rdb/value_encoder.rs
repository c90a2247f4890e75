//! One value as bytes: its type, and the layout of that type.
//!
//! A value of millions of elements passes through an [`Output`] that its owner may empty between any two of them, so writing
//! one takes the memory of an element and not of the value.

use crate::number::Digits;
use crate::types::Value;
use crate::types::hash::{self, Hash};
use crate::types::list::{List, Node};
use crate::types::set::{self, Set};
use crate::types::sorted_set::{self, SortedSet};
use crate::types::string::BigString;

use super::opcode::{ValueType, Version};
use super::writer::Writer;

/// Where a value is written to.
pub trait Output {
    fn writer(&mut self) -> &mut Writer;

    /// Called between elements: may take away what waits in the writer. False stops the writing: nobody wants the rest.
    fn relieve(&mut self) -> bool;
}

/// A writer that keeps all that is written, for DUMP.
impl Output for Writer {
    fn writer(&mut self) -> &mut Writer {
        self
    }

    fn relieve(&mut self) -> bool {
        true
    }
}

/// The type under which `value` is stored in a file of this version.
pub fn type_of(value: &Value, version: Version) -> ValueType {
    match value {
        Value::String(_) => ValueType::String,
        Value::List(_) => ValueType::ListQuicklist2,
        Value::Set(set) => match set.encoding() {
            set::Encoding::Intset(_) => ValueType::SetIntset,
            set::Encoding::Listpack(_) if version.number >= 11 => ValueType::SetListpack,
            _ => ValueType::Set,
        },
        Value::Hash(hash) => match hash.encoding() {
            hash::Encoding::Listpack(_) if version.number >= 10 => ValueType::HashListpack,
            _ => ValueType::Hash,
        },
        Value::SortedSet(set) => match set.view() {
            sorted_set::View::Listpack(_) if version.number >= 10 => ValueType::ZsetListpack,
            _ => ValueType::Zset,
        },
    }
}

/// Writes a value in the layout of its type in this version.
pub fn write(value: &Value, version: Version, output: &mut impl Output) {
    match value {
        Value::String(string) => write_string(string, output),
        Value::List(list) => write_list(list, output),
        Value::Set(set) => match (type_of(value, version), set.encoding()) {
            (ValueType::SetIntset, set::Encoding::Intset(intset)) => {
                output.writer().string(intset.as_bytes());
            }
            (ValueType::SetListpack, set::Encoding::Listpack(pack)) => {
                output.writer().string(pack.as_bytes());
            }
            _ => write_members(set, output),
        },
        Value::Hash(hash) => match (type_of(value, version), hash.encoding()) {
            (ValueType::HashListpack, hash::Encoding::Listpack(pack)) => {
                output.writer().string(pack.as_bytes());
            }
            _ => write_fields(hash, output),
        },
        Value::SortedSet(set) => match (type_of(value, version), set.view()) {
            (ValueType::ZsetListpack, sorted_set::View::Listpack(pack)) => {
                output.writer().string(pack.as_bytes());
            }
            _ => write_scored(set, output),
        },
    }
}

/// The highest score first: so a reader with a linked structure always inserts at its head.
fn write_scored(set: &SortedSet, output: &mut impl Output) {
    output.writer().length(set.len() as u64);
    for scored in set.iter_back() {
        output
            .writer()
            .string(scored.member.text(&mut Digits::new()));
        output.writer().double(scored.score);
        if !output.relieve() {
            return;
        }
    }
}

fn write_members(set: &Set, output: &mut impl Output) {
    output.writer().length(set.len() as u64);
    for member in set.iter() {
        output.writer().string(member.text(&mut Digits::new()));
        if !output.relieve() {
            return;
        }
    }
}

fn write_fields(hash: &Hash, output: &mut impl Output) {
    output.writer().length(hash.len() as u64);
    for (field, value) in hash.iter() {
        output.writer().string(field.text(&mut Digits::new()));
        output.writer().string(value.text(&mut Digits::new()));
        if !output.relieve() {
            return;
        }
    }
}

/// A string in chunks is made whole only as far as compression needs that; a longer one passes chunk by chunk.
fn write_string(string: &BigString, output: &mut impl Output) {
    let writer = output.writer();
    match string.chunks() {
        [only] => writer.string(only),
        _ if writer.compress && string.len() <= COMPRESSED_BYTES_MAX => {
            writer.string(&string.to_vec());
        }
        chunks => {
            writer.length(string.len() as u64);
            for chunk in chunks {
                output.writer().bytes.extend_from_slice(chunk);
                if !output.relieve() {
                    return;
                }
            }
        }
    }
}

/// Nodes as they lie in memory: a listpack's bytes, or one large element.
fn write_list(list: &List, output: &mut impl Output) {
    output.writer().length(list.node_count() as u64);
    for node in list.nodes() {
        let writer = output.writer();
        match node {
            Node::Plain(bytes) => {
                writer.length(PLAIN_NODE);
                writer.string(bytes);
            }
            Node::Packed(pack) => {
                writer.length(PACKED_NODE);
                writer.string(pack.as_bytes());
            }
        }
        if !output.relieve() {
            return;
        }
    }
}

/// A node of a list that is one element, and one that is a listpack.
const PLAIN_NODE: u64 = 1;
const PACKED_NODE: u64 = 2;

/// Longer strings are stored as they are: a compressed one can only be written and read as a whole.
const COMPRESSED_BYTES_MAX: usize = 16 << 20;
