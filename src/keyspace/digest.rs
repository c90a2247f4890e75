//! DEBUG DIGEST: twenty bytes that are equal where datasets are equal, computed as Redis does, so that nodes of both kinds
//! can be compared.
//!
//! ```text
//! mix(d, x)  =  SHA1(d ^ SHA1(x))       order counts: keys with their values, fields with theirs, elements of lists
//! add(d, x)  =  d ^ SHA1(x)             order does not: keys among keys, members among members
//!
//! dataset:  for each database that is not empty: mix its number; then add the digest of each key
//! key:      mix its name, then its value
//! value:    mix its type's number; mix or add its elements; add "!!expire!!" if it expires, whenever that is
//! ```
//!
//! Works on a picture, so that a large dataset is digested while others work. Keys whose time has passed but which are
//! still stored count.

use std::fmt::{self, Display};

use sha1::{Digest as _, Sha1};

use crate::number::{Digits, DoubleText};
use crate::types::{Type, Value};

use super::KeyspacePicture;
use super::entry::{Entry, View};

/// A digest in the making, or done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// The digest of a whole dataset.
    pub fn of_dataset(picture: &KeyspacePicture) -> Self {
        let mut dataset = Digest::default();
        for (number, database) in picture.databases.iter().enumerate() {
            if database.table.is_empty() {
                continue;
            }
            dataset.mix(&(number as u32).to_be_bytes());
            for entry in database.table.iter() {
                let mut key = Digest::default();
                key.mix(entry.key());
                key.mix_value(&entry);
                dataset.add(&key.0);
            }
        }
        dataset
    }

    /// The digest of a value and whether it expires, whatever its key is called.
    pub fn of_value(entry: &Entry) -> Self {
        let mut digest = Digest::default();
        digest.mix_value(entry);
        digest
    }

    fn mix_value(&mut self, entry: &Entry) {
        self.mix(&type_number(entry.type_of()).to_be_bytes());
        match entry.view() {
            View::Int(value) => self.mix(Digits::new().of(value)),
            View::Bytes(bytes) => self.mix(bytes),
            View::Value(value) => self.mix_elements(value),
        }
        if entry.expiry().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn mix_elements(&mut self, value: &Value) {
        match value {
            Value::String(string) => {
                self.mix_pieces(string.chunks().iter().map(|chunk| &chunk[..]));
            }
            Value::List(list) => {
                for element in list.iter() {
                    self.mix(element.element().text(&mut Digits::new()));
                }
            }
            Value::Set(set) => {
                for member in set.iter() {
                    self.add(member.text(&mut Digits::new()));
                }
            }
            Value::Hash(hash) => {
                for (field, value) in hash.iter() {
                    self.add_mixed([
                        field.text(&mut Digits::new()),
                        value.text(&mut Digits::new()),
                    ]);
                }
            }
            Value::SortedSet(set) => {
                for scored in set.iter() {
                    let score = DoubleText::of(scored.score);
                    self.add_mixed([scored.member.text(&mut Digits::new()), score.as_bytes()]);
                }
            }
        }
    }

    /// Adds what belongs together: a field with its value, a member with its score.
    fn add_mixed(&mut self, parts: [&[u8]; 2]) {
        let mut element = Digest::default();
        parts.into_iter().for_each(|part| element.mix(part));
        self.add(&element.0);
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.mix_pieces([bytes].into_iter());
    }

    /// Mixes bytes that lie in several pieces.
    fn mix_pieces<'p>(&mut self, pieces: impl Iterator<Item = &'p [u8]>) {
        let mut hash = Sha1::new();
        pieces.for_each(|piece| hash.update(piece));
        self.xor(hash.finalize().into());
        self.0 = Sha1::digest(self.0).into();
    }

    fn add(&mut self, bytes: &[u8]) {
        self.xor(Sha1::digest(bytes).into());
    }

    fn xor(&mut self, other: [u8; 20]) {
        for (byte, other) in self.0.iter_mut().zip(other) {
            *byte ^= other;
        }
    }
}

impl Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The number that stands for a type in digests.
fn type_number(of: Type) -> u32 {
    match of {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::SortedSet => 3,
        Type::Hash => 4,
    }
}
