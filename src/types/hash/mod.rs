//! Hashes: a listpack of fields and values in turn while they are few and short, else a table whose clone costs nothing.
//!
//! In a table each field is one blob with its value behind it. A long value is copied when it is written and when it is
//! answered, and at no other time: growing, shrinking and cloning the table move pointers, and a snapshot shares the blob
//! until the field is written again. A hash never goes back to a listpack.
//!
//! Invariant: no field is there twice. Knows nothing of keys, settings or commands: limits come with each call that may
//! have to change the encoding.

pub mod commands;
#[cfg(test)]
mod tests;

use crate::compact::{Element, Listpack, Malformed, Pairs};
use crate::cow::blob::Blob;
use crate::cow::element::{self, Ref};
use crate::cow::table::{CowTable, Entry};
use crate::cow::walk;
use crate::number::Digits;
use crate::random::Random;

use super::distinct::all_distinct;
use super::sample;
use super::{Kind, Value};

/// A field with its value in a table.
pub type Field = Blob<()>;

/// Values by field.
#[derive(Clone)]
pub struct Hash(Fields);

#[derive(Clone)]
enum Fields {
    Listpack(Listpack),
    Table(CowTable<Field>),
}

/// How far the listpack goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fields, not elements.
    pub listpack_entries: usize,
    /// Of a field or a value.
    pub listpack_value_bytes: usize,
}

/// A hash as it lies in memory, to be written out as it is.
pub enum Encoding<'h> {
    Listpack(&'h Listpack),
    Table(&'h CowTable<Field>),
}

impl Hash {
    pub fn new() -> Self {
        Hash(Fields::Listpack(Listpack::new()))
    }

    /// An empty hash in the encoding that suits about `count` fields.
    pub fn for_fields(count: usize, limits: &Limits) -> Self {
        if count > limits.listpack_entries {
            return Hash(Fields::Table(CowTable::new()));
        }
        Hash::new()
    }

    /// A listpack from outside, which becomes a table if it has too many fields. How long they are does not matter.
    ///
    /// # Errors
    /// If a field has no value or is there twice.
    pub fn from_listpack(pack: Listpack, limits: &Limits) -> Result<Self, Malformed> {
        let malformed = |expected: &str, found: String| Malformed {
            structure: "listpack",
            byte: 0,
            expected: expected.into(),
            found,
        };
        let elements = pack.len();
        if !elements.is_multiple_of(2) {
            return Err(malformed(
                "a value behind each field",
                format!("{elements} elements"),
            ));
        }
        if !all_distinct(pack.pairs().map(|(field, _)| field)) {
            return Err(malformed(
                "fields that differ",
                "one that is there twice".into(),
            ));
        }
        let mut hash = Hash(Fields::Listpack(pack));
        if elements / 2 > limits.listpack_entries {
            hash.make_table();
        }
        Ok(hash)
    }

    /// Fields.
    pub fn len(&self) -> usize {
        match &self.0 {
            Fields::Listpack(pack) => pack.len() / 2,
            Fields::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Fields::Listpack(pack) => pack.is_empty(),
            Fields::Table(table) => table.is_empty(),
        }
    }

    pub fn get(&self, field: &[u8]) -> Option<Element<'_>> {
        match &self.0 {
            Fields::Listpack(pack) => {
                let position = pack.find(field, 1)?;
                Some(pack.at(pack.after(position)))
            }
            Fields::Table(table) => {
                let blob = table.get(element::hash(field), field)?;
                Some(Element::Str(blob.value()))
            }
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        match &self.0 {
            Fields::Listpack(pack) => pack.find(field, 1).is_some(),
            Fields::Table(table) => table.contains(element::hash(field), field),
        }
    }

    /// Says whether `field` was not there yet.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        if let Fields::Listpack(pack) = &mut self.0 {
            let most = limits.listpack_value_bytes;
            if field.len() <= most && value.len() <= most {
                let entry_bytes = |text| Element::Str(text).entry_bytes();
                if !pack.has_room_for(entry_bytes(field) + entry_bytes(value)) {
                    self.make_table();
                } else if let Some(position) = pack.find(field, 1) {
                    let position = pack.after(position);
                    pack.replace(position, value);
                    return false;
                } else if pack.len() / 2 < limits.listpack_entries {
                    pack.push_back(field);
                    pack.push_back(value);
                    return true;
                }
            }
            self.make_table();
        }
        match &mut self.0 {
            Fields::Table(table) => set_in_table(table, field, value),
            Fields::Listpack(_) => unreachable!("it has just become a table"),
        }
    }

    /// Says whether `field` was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Fields::Listpack(pack) => match pack.find(field, 1) {
                Some(position) => {
                    pack.remove_many(position, 2);
                    true
                }
                None => false,
            },
            Fields::Table(table) => table.remove(element::hash(field), field).is_some(),
        }
    }

    /// Goes over to a table at once if the `count` fields that are about to be set are too many for a listpack.
    pub fn expect(&mut self, count: usize, limits: &Limits) {
        if count > limits.listpack_entries && matches!(self.0, Fields::Listpack(_)) {
            self.make_table();
        }
    }

    /// Fields with their values.
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Fields::Listpack(pack) => Iter::Listpack(pack.pairs()),
            Fields::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// A step of a walk as [`CowTable::scan`] takes it. A listpack is visited as a whole.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Element, Element)) -> u64 {
        if let Fields::Table(table) = &self.0 {
            return table.scan(cursor, |blob| {
                visit(Element::Str(blob.key()), Element::Str(blob.value()));
            });
        }
        self.iter().for_each(|(field, value)| visit(field, value));
        0
    }

    /// A field at random, with its value, as uniformly as [`CowTable::random`].
    pub fn random(&self, random: &mut Random) -> Option<(Element<'_>, Element<'_>)> {
        match &self.0 {
            Fields::Listpack(pack) => {
                let field = pack.position(2 * random.below(pack.len() as u64 / 2) as usize)?;
                Some((pack.at(field), pack.at(pack.after(field))))
            }
            Fields::Table(table) => table.random(random).map(|blob| pair(&blob)),
        }
    }

    /// `count` fields at random, each of them every time one of all.
    pub fn draw(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Element, Element)) {
        let packed: Vec<(Element, Element)> = match &self.0 {
            Fields::Listpack(pack) => pack.pairs().collect(),
            Fields::Table(_) => Vec::new(),
        };
        for _ in 0..count {
            let drawn = match packed.len() {
                0 => self.random(random),
                length => Some(packed[random.below(length as u64) as usize]),
            };
            match drawn {
                Some((field, value)) => visit(field, value),
                None => return,
            }
        }
    }

    /// `count` different fields at random, or all if there are fewer.
    pub fn choose(
        &self,
        count: usize,
        random: &mut Random,
        mut visit: impl FnMut(Element, Element),
    ) {
        match &self.0 {
            Fields::Listpack(pack) => {
                sample::choose(pack.pairs(), self.len(), count, random, |(field, value)| {
                    visit(field, value);
                });
            }
            Fields::Table(table) => sample::choose_from_table(table, count, random, |blob| {
                visit(Element::Str(blob.key()), Element::Str(blob.value()));
            }),
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Fields::Listpack(_) => "listpack",
            Fields::Table(_) => "hashtable",
        }
    }

    pub fn encoding(&self) -> Encoding<'_> {
        match &self.0 {
            Fields::Listpack(pack) => Encoding::Listpack(pack),
            Fields::Table(table) => Encoding::Table(table),
        }
    }

    /// Bytes of heap, for a table estimated from some of its fields.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Fields::Listpack(pack) => pack.heap_bytes(),
            Fields::Table(table) => super::table_bytes(table),
        }
    }

    pub fn is_big_to_free(&self) -> bool {
        matches!(&self.0, Fields::Table(table) if table.len() > super::FREED_AT_ONCE_MAX)
    }

    fn make_table(&mut self) {
        let mut table = CowTable::new();
        let (mut field_digits, mut value_digits) = (Digits::new(), Digits::new());
        for (field, value) in self.iter() {
            set_in_table(
                &mut table,
                field.text(&mut field_digits),
                value.text(&mut value_digits),
            );
        }
        self.0 = Fields::Table(table);
    }
}

impl Default for Hash {
    fn default() -> Self {
        Hash::new()
    }
}

impl Kind for Hash {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Hash(self)
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            formatter,
            "Hash({}, {} fields)",
            self.encoding_name(),
            self.len()
        )
    }
}

/// The fields of a hash with their values.
pub enum Iter<'h> {
    Listpack(Pairs<'h>),
    Table(walk::Iter<'h, Field>),
}

impl<'h> Iterator for Iter<'h> {
    type Item = (Element<'h>, Element<'h>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Listpack(pairs) => pairs.next(),
            Iter::Table(table) => table.next().map(|blob| pair(&blob)),
        }
    }
}

fn pair<'h>(blob: &Ref<'h, Field>) -> (Element<'h>, Element<'h>) {
    (Element::Str(blob.key()), Element::Str(blob.value()))
}

fn set_in_table(table: &mut CowTable<Field>, field: &[u8], value: &[u8]) -> bool {
    match table.entry(element::hash(field), field) {
        Entry::Occupied(mut there) => {
            there.set_value(value);
            false
        }
        Entry::Vacant(place) => {
            place.insert(Field::new((), field, value));
            true
        }
    }
}
