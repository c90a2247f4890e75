//! One value from its parts: every encoding that files hold, checked to the last byte, in the encoding that our limits
//! choose.
//!
//! Whatever a part claims is verified before it becomes a value: containers are checked deeply, members and fields that
//! come twice are refused. A collection without elements is no value ([`Built::Nothing`]), as servers skip such keys.
//!
//! Which encoding a collection gets does not depend on the one it was stored in, but for one thing: of a container that is
//! taken over as it is, only the number of elements is held against the limits, and not how long they are.

use bytes::Bytes;

use crate::compact::{Element, Intset, Listpack, Malformed};
use crate::config::Config;
use crate::config::values::ListpackLimit;
use crate::number::parse_i64;
use crate::types::hash::{self, Hash};
use crate::types::list::{self, Incoming, ListBuilder};
use crate::types::set::{self, Set};
use crate::types::sorted_set::{self, Flaw, SortedSet};
use crate::types::string::BigString;
use crate::types::{Kind, Value};

use super::error::Problem;
use super::legacy::{Ziplist, ZiplistEntry, Zipmap};
use super::opcode::ValueType;
use super::parts::{NodeForm, Part};
use super::primitive::RdbString;

/// Up to which sizes collections are built in their compact encodings.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub list: list::Limits,
    pub set: set::Limits,
    pub hash: hash::Limits,
    pub sorted_set: sorted_set::Limits,
}

impl Limits {
    /// As the settings for encodings say.
    pub fn of(config: &Config) -> Self {
        Limits {
            list: match config.list_max_listpack_size.limit() {
                ListpackLimit::Bytes(bytes) => list::Limits::bytes(bytes),
                ListpackLimit::Entries(elements) => list::Limits::elements(elements),
            },
            set: set::Limits {
                intset_entries: config.set_max_intset_entries,
                listpack_entries: config.set_max_listpack_entries,
                listpack_value_bytes: config.set_max_listpack_value,
            },
            hash: hash::Limits {
                listpack_entries: config.hash_max_listpack_entries,
                listpack_value_bytes: config.hash_max_listpack_value,
            },
            sorted_set: sorted_set::Limits {
                entries_max: config.zset_max_listpack_entries,
                member_bytes_max: config.zset_max_listpack_value,
            },
        }
    }
}

/// What the parts have become.
#[derive(Debug)]
pub enum Built<'a> {
    Int(i64),
    /// A string short enough to lie in its entry.
    Bytes(&'a [u8]),
    Value(Value),
    /// A collection without elements.
    Nothing,
}

/// Builds one value after the other.
pub struct ValueBuilder {
    limits: Limits,
    value_type: ValueType,
    /// The bytes of a short string; its room is used again.
    text: Vec<u8>,
    state: State,
}

/// What has come of the parts so far.
enum State {
    Nothing,
    Int(i64),
    Text,
    Pieces(BigString),
    List(ListBuilder),
    Set(Set),
    Hash(HashBuilder),
    SortedSet(sorted_set::Builder),
    Value(Value),
}

impl ValueBuilder {
    pub fn new(limits: Limits) -> Self {
        ValueBuilder {
            limits,
            value_type: ValueType::String,
            text: Vec::new(),
            state: State::Nothing,
        }
    }

    /// Starts a value; what was begun before is forgotten.
    pub fn begin(&mut self, value_type: ValueType) {
        self.value_type = value_type;
        self.state = State::Nothing;
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// What is wrong with it, or with it after the others.
    #[inline]
    pub fn add(&mut self, part: Part) -> Result<(), Problem> {
        match part {
            Part::String(string) => self.add_string(&string),
            Part::StringPiece { bytes, .. } => self.add_piece(bytes),
            Part::Blob(blob) => self.add_blob(blob)?,
            Part::Node { form, bytes } => self.add_node(form, bytes)?,
            Part::Element(element) if self.value_type == ValueType::Set => {
                self.add_member(&element)?;
            }
            Part::Element(element) => self.list().push(Incoming::new(&element)),
            Part::Pair(field, value) => self.add_field(&field, &value)?,
            Part::Scored(member, score) => self.add_scored(&member, score)?,
        }
        Ok(())
    }

    /// Ends the value.
    ///
    /// # Errors
    /// What is wrong with the whole.
    #[inline]
    pub fn finish(&mut self) -> Result<Built<'_>, Problem> {
        let value = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Nothing => return Ok(Built::Nothing),
            State::Int(value) => return Ok(Built::Int(value)),
            State::Text => return Ok(Built::Bytes(&self.text)),
            State::Pieces(string) => Value::String(string),
            State::List(builder) => {
                let list = builder.finish();
                if list.is_empty() {
                    return Ok(Built::Nothing);
                }
                list.into_value()
            }
            State::Set(set) => set.into_value(),
            State::Hash(builder) => builder.finish(&self.limits.hash)?.into_value(),
            State::SortedSet(builder) => builder.finish(self.limits.sorted_set).into_value(),
            State::Value(value) => value,
        };
        Ok(Built::Value(value))
    }

    /// Files hold numbers beyond 32 bits as text; in memory they are integers like the others.
    fn add_string(&mut self, string: &RdbString) {
        self.state = match string {
            RdbString::Integer(text) => State::Int(text.value.into()),
            text => match parse_i64(text) {
                Some(value) => State::Int(value),
                None => {
                    self.text.clear();
                    self.text.extend_from_slice(text);
                    State::Text
                }
            },
        };
    }

    fn add_piece(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Pieces(string) => string.append(bytes),
            _ => self.state = State::Pieces(BigString::new(bytes)),
        }
    }

    /// The list that is being built.
    fn list(&mut self) -> &mut ListBuilder {
        if !matches!(self.state, State::List(_)) {
            self.state = State::List(ListBuilder::new(self.limits.list));
        }
        match &mut self.state {
            State::List(builder) => builder,
            _ => unreachable!("it has just become a list"),
        }
    }

    fn add_node(&mut self, form: NodeForm, bytes: RdbString) -> Result<(), Problem> {
        match form {
            NodeForm::Plain => self.list().push_plain(Bytes::from(bytes.into_vec())),
            NodeForm::Packed => {
                let pack = Listpack::from_bytes(bytes.into_vec())?;
                self.list().push_listpack(pack);
            }
            NodeForm::Ziplist => self.add_ziplist_elements(&bytes)?,
        }
        Ok(())
    }

    fn add_ziplist_elements(&mut self, ziplist: &[u8]) -> Result<(), Problem> {
        let ziplist = Ziplist::open(ziplist)?;
        let list = self.list();
        for entry in ziplist.iter() {
            let mut digits = itoa::Buffer::new();
            list.push(Incoming::new(match entry {
                ZiplistEntry::Integer(value) => digits.format(value).as_bytes(),
                ZiplistEntry::Bytes(bytes) => bytes,
            }));
        }
        Ok(())
    }

    fn add_member(&mut self, member: &[u8]) -> Result<(), Problem> {
        let limits = &self.limits.set;
        if !matches!(self.state, State::Set(_)) {
            self.state = State::Set(Set::for_members(member, 1, limits));
        }
        let is_new = match &mut self.state {
            State::Set(set) => set.add(member, limits),
            _ => unreachable!("it has just become a set"),
        };
        distinct(is_new, "member")
    }

    fn add_field(&mut self, field: &[u8], value: &[u8]) -> Result<(), Problem> {
        if !matches!(self.state, State::Hash(_)) {
            self.state = State::Hash(HashBuilder::Packing(Listpack::new()));
        }
        match &mut self.state {
            State::Hash(builder) => builder.push(field, value, &self.limits.hash),
            _ => unreachable!("it has just become a hash"),
        }
    }

    fn add_scored(&mut self, member: &[u8], score: f64) -> Result<(), Problem> {
        if !matches!(self.state, State::SortedSet(_)) {
            self.state = State::SortedSet(sorted_set::Builder::default());
        }
        match &mut self.state {
            State::SortedSet(builder) => builder.push(member, score).map_err(flaw),
            _ => unreachable!("it has just become a sorted set"),
        }
    }

    fn add_blob(&mut self, blob: RdbString) -> Result<(), Problem> {
        let limits = &self.limits;
        let value = match self.value_type {
            ValueType::ListZiplist => return self.add_ziplist_elements(&blob),
            ValueType::HashZipmap => {
                for (field, value) in Zipmap::open(&blob)?.iter() {
                    self.add_field(field, value)?;
                }
                return Ok(());
            }
            ValueType::SetIntset => {
                let intset = Intset::from_bytes(blob.into_vec())?;
                if intset.is_empty() {
                    // Servers skip other empty collections, but no server has ever written this.
                    return Err(Problem::from(Malformed {
                        structure: "intset",
                        byte: 4,
                        expected: "at least one member".to_owned(),
                        found: "none".to_owned(),
                    }));
                }
                Set::from_intset(intset, &limits.set).into_value()
            }
            other => {
                let pack = match other {
                    ValueType::HashZiplist | ValueType::ZsetZiplist => repacked(&blob)?,
                    _ => Listpack::from_bytes(blob.into_vec())?,
                };
                if pack.is_empty() {
                    return Ok(());
                }
                match other {
                    ValueType::SetListpack => Set::from_listpack(pack, &limits.set)?.into_value(),
                    ValueType::ZsetListpack | ValueType::ZsetZiplist => {
                        let set = SortedSet::from_listpack(pack, limits.sorted_set);
                        set.map_err(flaw)?.into_value()
                    }
                    _ => Hash::from_listpack(pack, &limits.hash)?.into_value(),
                }
            }
        };
        self.state = State::Value(value);
        Ok(())
    }
}

/// The entries of a ziplist as a listpack.
fn repacked(ziplist: &[u8]) -> Result<Listpack, Problem> {
    let entries = Ziplist::open(ziplist)?;
    let mut pack = Listpack::with_capacity(ziplist.len());
    for entry in entries.iter() {
        let element = match entry {
            ZiplistEntry::Integer(value) => Element::Int(value),
            ZiplistEntry::Bytes(bytes) => Element::Str(bytes),
        };
        if !pack.has_room_for(element.entry_bytes()) {
            return Err(Problem::from(Malformed {
                structure: "ziplist",
                byte: 0,
                expected: "what fits into a listpack".to_owned(),
                found: format!("{} bytes", ziplist.len()),
            }));
        }
        pack.push_back(element);
    }
    Ok(pack)
}

fn distinct(is_new: bool, what: &'static str) -> Result<(), Problem> {
    if is_new {
        Ok(())
    } else {
        Err(Problem::Duplicate(what))
    }
}

fn flaw(flaw: Flaw) -> Problem {
    match flaw {
        Flaw::Duplicate => Problem::Duplicate("member"),
        Flaw::NotANumber(_) => Problem::NotANumber,
        Flaw::OddLength => Problem::from(Malformed {
            structure: "sorted set",
            byte: 0,
            expected: "a score behind each member".to_owned(),
            found: "an odd number of entries".to_owned(),
        }),
    }
}

/// Makes a hash of fields that come one by one. While they may become a listpack, they are appended without a look at the
/// others: whether all differ is found out once, at the end.
enum HashBuilder {
    Packing(Listpack),
    Table(Hash),
}

impl HashBuilder {
    fn push(&mut self, field: &[u8], value: &[u8], limits: &hash::Limits) -> Result<(), Problem> {
        if let HashBuilder::Packing(pack) = self {
            let (field, value) = (Element::Str(field), Element::Str(value));
            if allows(limits, pack, field, value) {
                pack.push_back(field);
                pack.push_back(value);
                return Ok(());
            }
            *self = HashBuilder::Table(hash_of(std::mem::take(pack), limits)?);
        }
        let is_new = match self {
            HashBuilder::Table(hash) => hash.set(field, value, limits),
            HashBuilder::Packing(_) => unreachable!("it has just become a table"),
        };
        distinct(is_new, "field")
    }

    fn finish(self, limits: &hash::Limits) -> Result<Hash, Problem> {
        match self {
            HashBuilder::Packing(pack) => hash_of(pack, limits),
            HashBuilder::Table(hash) => Ok(hash),
        }
    }
}

/// Whether one more field leaves the hash small enough for a listpack.
fn allows(limits: &hash::Limits, pack: &Listpack, field: Element, value: Element) -> bool {
    let most = limits.listpack_value_bytes;
    let is_short = |element: Element| matches!(element, Element::Str(text) if text.len() <= most);
    is_short(field)
        && is_short(value)
        && pack.len() / 2 < limits.listpack_entries
        && pack.has_room_for(field.entry_bytes() + value.entry_bytes())
}

/// Its fields all have values, so the only thing that can be wrong is that one comes twice.
fn hash_of(pack: Listpack, limits: &hash::Limits) -> Result<Hash, Problem> {
    Hash::from_listpack(pack, limits).map_err(|_| Problem::Duplicate("field"))
}
