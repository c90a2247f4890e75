//! One value as bytes: its type, and the layout of that type.
//!
//! A compact collection is written as it lies in memory, a large one element by element. The latter passes through an [`Output`]
//! that its owner may empty between any two elements, so writing it takes the memory of an element and not of the value.
//! Nothing is allocated but for strings in chunks that are compressed.
//!
//! No version that is written lacks a type for one of our values; what differs is sets, see [`type_of`].

use crate::compact::Element;
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

/// The type under which `value` is stored in a file of this version. Version 10 has no type for a set in a listpack: it is
/// stored element by element, and becomes a listpack again where it is read.
pub fn type_of(value: &Value, version: Version) -> ValueType {
    match value {
        Value::String(_) => ValueType::String,
        Value::List(_) => ValueType::ListQuicklist2,
        Value::Set(set) => match set.encoding() {
            set::Encoding::Intset(_) => ValueType::SetIntset,
            set::Encoding::Listpack(_) if version.number >= SET_LISTPACK_SINCE => {
                ValueType::SetListpack
            }
            set::Encoding::Listpack(_) | set::Encoding::Table(_) => ValueType::Set,
        },
        Value::Hash(hash) => match hash.encoding() {
            hash::Encoding::Listpack(_) => ValueType::HashListpack,
            hash::Encoding::Table(_) => ValueType::Hash,
        },
        Value::SortedSet(set) => match set.view() {
            sorted_set::View::Listpack(_) => ValueType::ZsetListpack,
            sorted_set::View::Tree => ValueType::Zset,
        },
    }
}

/// The first byte of what lies behind the value: to have it in the cache when the value is written.
pub fn peek(value: &Value) -> u8 {
    let bytes = match value {
        Value::String(string) => string.chunks().first().map(|chunk| &chunk[..]),
        Value::List(list) => match list.nodes().next() {
            Some(Node::Packed(pack)) => Some(pack.as_bytes()),
            _ => None,
        },
        Value::Set(set) => match set.encoding() {
            set::Encoding::Intset(intset) => Some(intset.as_bytes()),
            set::Encoding::Listpack(pack) => Some(pack.as_bytes()),
            set::Encoding::Table(_) => None,
        },
        Value::Hash(hash) => match hash.encoding() {
            hash::Encoding::Listpack(pack) => Some(pack.as_bytes()),
            hash::Encoding::Table(_) => None,
        },
        Value::SortedSet(set) => match set.view() {
            sorted_set::View::Listpack(pack) => Some(pack.as_bytes()),
            sorted_set::View::Tree => None,
        },
    };
    bytes
        .and_then(|bytes| bytes.first())
        .map_or(0, |byte| *byte)
}

/// Writes a value in the layout of its type in this version.
pub fn write(value: &Value, version: Version, output: &mut impl Output) {
    match value {
        Value::String(string) => write_string(string, output),
        Value::List(list) => write_list(list, output),
        Value::Set(set) => write_set(set, version, output),
        Value::Hash(hash) => write_hash(hash, output),
        Value::SortedSet(set) => write_sorted_set(set, output),
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

fn write_list(list: &List, output: &mut impl Output) {
    output.writer().length(list.node_count() as u64);
    for node in list.nodes() {
        let writer = output.writer();
        match node {
            Node::Packed(pack) => {
                writer.length(CONTAINER_PACKED);
                writer.string(pack.as_bytes());
            }
            Node::Plain(element) => {
                writer.length(CONTAINER_PLAIN);
                writer.string(element);
            }
        }
        if !output.relieve() {
            return;
        }
    }
}

fn write_set(set: &Set, version: Version, output: &mut impl Output) {
    match set.encoding() {
        set::Encoding::Intset(intset) => return output.writer().string(intset.as_bytes()),
        set::Encoding::Listpack(pack) if version.number >= SET_LISTPACK_SINCE => {
            return output.writer().string(pack.as_bytes());
        }
        set::Encoding::Listpack(_) | set::Encoding::Table(_) => {}
    }
    output.writer().length(set.len() as u64);
    for member in set.iter() {
        write_element(member, output.writer());
        if !output.relieve() {
            return;
        }
    }
}

fn write_hash(hash: &Hash, output: &mut impl Output) {
    if let hash::Encoding::Listpack(pack) = hash.encoding() {
        return output.writer().string(pack.as_bytes());
    }
    output.writer().length(hash.len() as u64);
    for (field, value) in hash.iter() {
        let writer = output.writer();
        write_element(field, writer);
        write_element(value, writer);
        if !output.relieve() {
            return;
        }
    }
}

/// Highest score first, so that readers that keep a sorted list put each member at its head.
fn write_sorted_set(set: &SortedSet, output: &mut impl Output) {
    if let sorted_set::View::Listpack(pack) = set.view() {
        return output.writer().string(pack.as_bytes());
    }
    output.writer().length(set.len() as u64);
    for scored in set.iter_back() {
        let writer = output.writer();
        write_element(scored.member, writer);
        writer.double(scored.score);
        if !output.relieve() {
            return;
        }
    }
}

fn write_element(element: Element, writer: &mut Writer) {
    match element {
        Element::Int(value) => writer.integer(value),
        Element::Str(text) => writer.string(text),
    }
}

/// Longer strings are stored as they are: a compressed one can only be written and read as a whole.
const COMPRESSED_BYTES_MAX: usize = 16 << 20;

/// The first version with a type for sets in listpacks.
const SET_LISTPACK_SINCE: u16 = 11;

const CONTAINER_PLAIN: u64 = 1;
const CONTAINER_PACKED: u64 = 2;
