//! Sets. Few integers are an intset, few short members a listpack, anything else a table whose clone costs nothing.
//!
//! ```text
//! intset    integers only, at most `intset_entries`
//! listpack  at most `listpack_entries` members of at most `listpack_value_bytes`
//! table     a blob per member: key, no value
//! ```
//!
//! A set never goes back to a smaller encoding by losing members. Invariant: no member is there twice.
//! Knows nothing of keys, settings or commands: limits come with each call that may have to change the encoding.

pub mod combine_commands;
pub mod commands;
#[cfg(test)]
mod tests;

use crate::compact::{Element, Intset, Iter as PackIter, Listpack, Malformed};
use crate::cow::blob::Blob;
use crate::cow::element;
use crate::cow::table::{CowTable, Entry};
use crate::cow::walk;
use crate::number::{Digits, parse_i64};
use crate::random::Random;

use super::distinct::all_distinct;
use super::sample;
use super::{Kind, Value};

/// A member in a table.
pub type Member = Blob<()>;

/// A set of byte strings.
#[derive(Clone)]
pub struct Set(Members);

#[derive(Clone)]
enum Members {
    /// Boxed, so that a set is no larger than a listpack.
    Intset(Box<Intset>),
    Listpack(Listpack),
    Table(CowTable<Member>),
}

/// How far the compact encodings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub intset_entries: usize,
    pub listpack_entries: usize,
    pub listpack_value_bytes: usize,
}

/// A set as it lies in memory, to be written out as it is.
pub enum Encoding<'s> {
    Intset(&'s Intset),
    Listpack(&'s Listpack),
    Table(&'s CowTable<Member>),
}

impl Set {
    /// An empty set in the encoding that suits `first` and about `count` members.
    pub fn for_members(first: &[u8], count: usize, limits: &Limits) -> Self {
        Set(
            if count <= limits.intset_entries && parse_i64(first).is_some() {
                Members::Intset(Box::default())
            } else if count <= limits.listpack_entries {
                Members::Listpack(Listpack::new())
            } else {
                Members::Table(CowTable::new())
            },
        )
    }

    /// The members of `elements`, those that come twice once.
    pub fn from_elements<'e>(
        elements: impl IntoIterator<Item = Element<'e>>,
        limits: &Limits,
    ) -> Self {
        let mut set = Set(Members::Intset(Box::default()));
        let mut digits = Digits::new();
        for element in elements {
            set.add(element.text(&mut digits), limits);
        }
        set
    }

    /// An intset from outside, which becomes a table if it has too many members.
    pub fn from_intset(intset: Intset, limits: &Limits) -> Self {
        let is_large = intset.len() > limits.intset_entries;
        let mut set = Set(Members::Intset(Box::new(intset)));
        if is_large {
            set.make_table();
        }
        set
    }

    /// A listpack from outside, which becomes a table if it has too many members. How long they are does not matter.
    ///
    /// # Errors
    /// If a member is there twice.
    pub fn from_listpack(pack: Listpack, limits: &Limits) -> Result<Self, Malformed> {
        if !all_distinct(pack.iter()) {
            return Err(Malformed {
                structure: "listpack",
                byte: 0,
                expected: "members that differ".into(),
                found: "one that is there twice".into(),
            });
        }
        let is_large = pack.len() > limits.listpack_entries;
        let mut set = Set(Members::Listpack(pack));
        if is_large {
            set.make_table();
        }
        Ok(set)
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Members::Intset(intset) => intset.len(),
            Members::Listpack(pack) => pack.len(),
            Members::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Members::Intset(intset) => intset.is_empty(),
            Members::Listpack(pack) => pack.is_empty(),
            Members::Table(table) => table.is_empty(),
        }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Members::Intset(intset) => {
                parse_i64(member).is_some_and(|value| intset.contains(value))
            }
            Members::Listpack(pack) => pack.find(member, 0).is_some(),
            Members::Table(table) => table.contains(element::hash(member), member),
        }
    }

    /// Says whether `member` was not there yet.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match &mut self.0 {
            Members::Table(table) => return add_to_table(table, member),
            Members::Intset(intset) => {
                if let Some(value) = parse_i64(member) {
                    let is_new = intset.insert(value);
                    if intset.len() > limits.intset_entries {
                        self.make_table();
                    }
                    return is_new;
                }
                match pack_of(intset, member, limits) {
                    Some(pack) => self.0 = Members::Listpack(pack),
                    None => self.make_table(),
                }
            }
            Members::Listpack(pack) => {
                if pack.find(member, 0).is_some() {
                    return false;
                }
                if pack.len() < limits.listpack_entries && fits(pack, member, limits) {
                    pack.push_back(member);
                    return true;
                }
                self.make_table();
            }
        }
        self.add(member, limits)
    }

    /// Says whether `member` was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Members::Intset(intset) => parse_i64(member).is_some_and(|value| intset.remove(value)),
            Members::Listpack(pack) => match pack.find(member, 0) {
                Some(position) => {
                    pack.remove(position);
                    true
                }
                None => false,
            },
            Members::Table(table) => table.remove(element::hash(member), member).is_some(),
        }
    }

    /// Adds the members of another set. Two tables share the blobs.
    pub fn add_all(&mut self, other: &Set, limits: &Limits) {
        self.expect(other.len(), limits);
        if let (Members::Table(table), Members::Table(other)) = (&mut self.0, &other.0) {
            for member in other {
                let place = table.entry(element::hash(member.key()), member.key());
                if let Entry::Vacant(place) = place {
                    place.insert(Member::clone(&member));
                }
            }
            return;
        }
        let mut digits = Digits::new();
        for member in other.iter() {
            self.add(member.text(&mut digits), limits);
        }
    }

    /// Goes over to a table at once if the `count` members that are about to be added are too many for a compact encoding.
    pub fn expect(&mut self, count: usize, limits: &Limits) {
        let most = match &self.0 {
            Members::Intset(_) => limits.intset_entries,
            Members::Listpack(_) => limits.listpack_entries,
            Members::Table(_) => return,
        };
        if count > most {
            self.make_table();
        }
    }

    /// The smallest encoding for the members that are there: for a set that was made by taking many away.
    pub fn compacted(self, limits: &Limits) -> Self {
        match &self.0 {
            Members::Table(table)
                if table.len() <= limits.intset_entries.max(limits.listpack_entries) =>
            {
                Set::from_elements(self.iter(), limits)
            }
            _ => self,
        }
    }

    /// All members; an intset's ascend.
    pub fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Members::Intset(intset) => Iter::Intset(intset, 0),
            Members::Listpack(pack) => Iter::Listpack(pack.iter()),
            Members::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// A step of a walk as [`CowTable::scan`] takes it. A compact set is visited as a whole.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Element)) -> u64 {
        if let Members::Table(table) = &self.0 {
            return table.scan(cursor, |member| visit(Element::Str(member.key())));
        }
        self.iter().for_each(visit);
        0
    }

    /// A member at random, as uniformly as [`CowTable::random`].
    pub fn random(&self, random: &mut Random) -> Option<Element<'_>> {
        match &self.0 {
            Members::Table(table) => Some(Element::Str(table.random(random)?.key())),
            _ => self.nth(random.below(self.len() as u64) as usize),
        }
    }

    /// `count` members at random, each of them every time one of all.
    pub fn draw(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Element)) {
        let packed: Vec<Element> = match &self.0 {
            Members::Listpack(pack) => pack.iter().collect(),
            _ => Vec::new(),
        };
        for _ in 0..count {
            let drawn = match packed.len() {
                0 => self.random(random),
                length => Some(packed[random.below(length as u64) as usize]),
            };
            match drawn {
                Some(member) => visit(member),
                None => return,
            }
        }
    }

    /// `count` different members at random, or all if there are fewer.
    pub fn choose(&self, count: usize, random: &mut Random, mut visit: impl FnMut(Element)) {
        match &self.0 {
            Members::Table(table) => sample::choose_from_table(table, count, random, |member| {
                visit(Element::Str(member.key()));
            }),
            _ => sample::choose(self.iter(), self.len(), count, random, visit),
        }
    }

    /// Takes a member out at random, after `visit` has seen it.
    pub fn pop(&mut self, random: &mut Random, visit: impl FnOnce(Element)) {
        match &mut self.0 {
            Members::Intset(intset) => {
                let index = random.below(intset.len() as u64) as usize;
                if let Some(value) = intset.get(index) {
                    visit(Element::Int(value));
                    intset.remove(value);
                }
            }
            Members::Listpack(pack) => {
                let index = random.below(pack.len() as u64) as usize;
                if let Some(position) = pack.position(index) {
                    visit(pack.at(position));
                    pack.remove(position);
                }
            }
            Members::Table(table) => {
                let drawn = table.random(random).map(|member| Member::clone(&member));
                if let Some(member) = drawn {
                    visit(Element::Str(member.key()));
                    table.remove(element::hash(member.key()), member.key());
                }
            }
        }
    }

    /// Keeps `count` members at random and returns all that were there. For a count that is small against the whole.
    pub fn retain_random(&mut self, count: usize, random: &mut Random, limits: &Limits) -> Set {
        let kept = match &self.0 {
            Members::Table(table) => {
                let mut kept = CowTable::new();
                sample::choose_from_table(table, count, random, |member| {
                    kept.insert(element::hash(member.key()), Member::clone(&member));
                });
                Set(Members::Table(kept))
            }
            _ => {
                let mut kept = Set::for_members(b"0", 0, limits);
                let mut digits = Digits::new();
                self.choose(count, random, |member| {
                    kept.add(member.text(&mut digits), limits);
                });
                kept
            }
        };
        std::mem::replace(self, kept)
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Members::Intset(_) => "intset",
            Members::Listpack(_) => "listpack",
            Members::Table(_) => "hashtable",
        }
    }

    pub fn encoding(&self) -> Encoding<'_> {
        match &self.0 {
            Members::Intset(intset) => Encoding::Intset(intset),
            Members::Listpack(pack) => Encoding::Listpack(pack),
            Members::Table(table) => Encoding::Table(table),
        }
    }

    /// Bytes of heap, for a table estimated from some of its members.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Members::Intset(intset) => size_of::<Intset>() + intset.heap_bytes(),
            Members::Listpack(pack) => pack.heap_bytes(),
            Members::Table(table) => super::table_bytes(table),
        }
    }

    pub fn is_big_to_free(&self) -> bool {
        matches!(&self.0, Members::Table(table) if table.len() > super::FREED_AT_ONCE_MAX)
    }

    fn nth(&self, index: usize) -> Option<Element<'_>> {
        match &self.0 {
            Members::Intset(intset) => intset.get(index).map(Element::Int),
            Members::Listpack(pack) => pack.get(index),
            Members::Table(_) => None,
        }
    }

    fn make_table(&mut self) {
        let mut table = CowTable::new();
        let mut digits = Digits::new();
        for member in self.iter() {
            add_to_table(&mut table, member.text(&mut digits));
        }
        self.0 = Members::Table(table);
    }
}

impl Kind for Set {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Set(set) => Some(set),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Set(set) => Some(set),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Set(self)
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            formatter,
            "Set({}, {} members)",
            self.encoding_name(),
            self.len()
        )
    }
}

/// The members of a set.
pub enum Iter<'s> {
    /// The index of the next member.
    Intset(&'s Intset, usize),
    Listpack(PackIter<'s>),
    Table(walk::Iter<'s, Member>),
}

impl<'s> Iterator for Iter<'s> {
    type Item = Element<'s>;

    fn next(&mut self) -> Option<Element<'s>> {
        match self {
            Iter::Intset(intset, index) => {
                let value = intset.get(*index)?;
                *index += 1;
                Some(Element::Int(value))
            }
            Iter::Listpack(pack) => pack.next(),
            Iter::Table(table) => table.next().map(|member| Element::Str(member.key())),
        }
    }
}

fn add_to_table(table: &mut CowTable<Member>, member: &[u8]) -> bool {
    match table.entry(element::hash(member), member) {
        Entry::Occupied(_) => false,
        Entry::Vacant(place) => {
            place.insert(Member::new((), member, b""));
            true
        }
    }
}

/// The members of an intset as a listpack, if `member` may join them there.
fn pack_of(intset: &Intset, member: &[u8], limits: &Limits) -> Option<Listpack> {
    let ends = [intset.get(0), intset.get(intset.len().wrapping_sub(1))];
    let longest = ends
        .into_iter()
        .flatten()
        .map(|end| Element::Int(end).text_len());
    if intset.len() >= limits.listpack_entries
        || longest
            .max()
            .is_some_and(|bytes| bytes > limits.listpack_value_bytes)
    {
        return None;
    }
    let pack: Listpack = intset.iter().collect();
    fits(&pack, member, limits).then_some(pack)
}

fn fits(pack: &Listpack, member: &[u8], limits: &Limits) -> bool {
    member.len() <= limits.listpack_value_bytes
        && pack.has_room_for(Element::Str(member).entry_bytes())
}
