//! One value as bytes: its type, and the layout of that type.
//!
//! A value of millions of elements passes through an [`Output`] that its owner may empty between any two of them, so writing
//! one takes the memory of an element and not of the value.

use crate::number::Digits;
use crate::types::Value;
use crate::types::hash::{self, Hash};
use crate::types::set::{self, Set};
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
        Value::Set(set) => match set.encoding() {
            set::Encoding::Intset(_) => ValueType::SetIntset,
            set::Encoding::Listpack(_) if version.number >= 11 => ValueType::SetListpack,
            _ => ValueType::Set,
        },
        Value::Hash(hash) => match hash.encoding() {
            hash::Encoding::Listpack(_) if version.number >= 10 => ValueType::HashListpack,
            _ => ValueType::Hash,
        },
    }
}

/// Writes a value in the layout of its type in this version.
pub fn write(value: &Value, version: Version, output: &mut impl Output) {
    match value {
        Value::String(string) => write_string(string, output),
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

/// Longer strings are stored as they are: a compressed one can only be written and read as a whole.
const COMPRESSED_BYTES_MAX: usize = 16 << 20;
