//! Reads a payload as deeply as loading does, and keeps nothing of it but totals: what `sluice check-rdb` does.
//!
//! Not noticed here: a key that comes twice (all keys would have to be remembered) and a database that some node does not
//! have. Both are found when the file is loaded.

use crate::clock::UnixMillis;
use crate::rdb::decoder::{Decoder, Event, Options};
use crate::rdb::error::{During, RdbError};
use crate::rdb::opcode::{ValueType, Version};
use crate::rdb::value_decoder::{Built, Limits, ValueBuilder};
use crate::types::{Type, Value};

/// What is worth a line in the report, at its place in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Aux { name: Vec<u8>, value: Vec<u8> },
    Database(u64),
}

/// What has been found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub keys: u64,
    /// Keys with an expiry.
    pub expires: u64,
    /// Those of them whose time has passed.
    pub expired: u64,
    /// Keys whose collection has no elements: they are skipped when the file is loaded.
    pub empty: u64,
    pub types: [TypeTotals; 5],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeTotals {
    pub keys: u64,
    /// Elements, members or fields; bytes of strings.
    pub elements: u64,
    /// What keys and values take in the payload, with what stands around them.
    pub bytes: u64,
    /// Keys with an expiry.
    pub expires: u64,
}

impl Totals {
    /// Types in the order of [`Totals::types`].
    pub const TYPES: [Type; 5] = [
        Type::String,
        Type::List,
        Type::Set,
        Type::SortedSet,
        Type::Hash,
    ];
}

pub struct Checker {
    decoder: Decoder,
    builder: ValueBuilder,
    now: UnixMillis,
    totals: Totals,
    /// The type of the key that is being read.
    value_type: Option<ValueType>,
    /// Where that key begins, and whether it has an expiry.
    key_at: u64,
    has_expiry: bool,
}

impl Checker {
    /// `payload_bytes` is the length of the payload, where it is known.
    pub fn new(limits: Limits, payload_bytes: Option<u64>, now: UnixMillis) -> Self {
        Checker {
            decoder: Decoder::new(Options {
                payload_bytes,
                ..Options::default()
            }),
            builder: ValueBuilder::new(limits),
            now,
            totals: Totals::default(),
            value_type: None,
            key_at: 0,
            has_expiry: false,
        }
    }

    /// Takes in more bytes and calls `note` for what they say, with its offset.
    ///
    /// # Errors
    /// What is wrong with the payload, and where.
    pub fn feed(&mut self, bytes: &[u8], note: impl FnMut(u64, Note)) -> Result<(), RdbError> {
        self.decoder.feed(bytes);
        self.decode(note)
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// The payload is not complete.
    pub fn close(&mut self, note: impl FnMut(u64, Note)) -> Result<(), RdbError> {
        self.decoder.close();
        self.decode(note)
    }

    pub fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    pub fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    pub fn version(&self) -> Option<Version> {
        self.decoder.version()
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The type of the value that was being read when an error came.
    pub fn value_type(&self) -> Option<ValueType> {
        self.value_type
    }

    fn decode(&mut self, mut note: impl FnMut(u64, Note)) -> Result<(), RdbError> {
        loop {
            // The header is read together with what follows it.
            let at = self.decoder.offset().max(Version::HEADER_BYTES as u64);
            let Some(event) = self.decoder.next_event()? else {
                return Ok(());
            };
            let refused = match event {
                Event::Aux { name, value } => {
                    let (name, value) = (name.to_vec(), value.to_vec());
                    note(at, Note::Aux { name, value });
                    None
                }
                Event::SelectDb(db) => {
                    note(at, Note::Database(db));
                    None
                }
                Event::Key(head) => {
                    self.value_type = Some(head.value_type);
                    self.builder.begin(head.value_type);
                    self.totals.keys += 1;
                    (self.key_at, self.has_expiry) = (at, head.expire.is_some());
                    if let Some(expire) = head.expire {
                        self.totals.expires += 1;
                        self.totals.expired += u64::from(expire < self.now);
                    }
                    None
                }
                Event::Part(part) => self.builder.add(part).err(),
                Event::ValueEnd => match self.builder.finish() {
                    Ok(built) => {
                        let bytes = self.decoder.offset() - self.key_at;
                        self.totals.count(&built, bytes, self.has_expiry);
                        self.value_type = None;
                        None
                    }
                    Err(problem) => Some(problem),
                },
                Event::ResizeDb { .. } | Event::End => None,
            };
            if let Some(problem) = refused {
                return Err(self.decoder.refuse(problem));
            }
        }
    }
}

impl Totals {
    fn count(&mut self, built: &Built, bytes: u64, has_expiry: bool) {
        let (of, elements) = match built {
            Built::Nothing => {
                self.empty += 1;
                return;
            }
            Built::Int(value) => (Type::String, value.to_string().len()),
            Built::Bytes(bytes) => (Type::String, bytes.len()),
            Built::Value(value) => (value.type_of(), size(value)),
        };
        let place = Totals::TYPES.iter().position(|other| *other == of);
        if let Some(totals) = place.and_then(|place| self.types.get_mut(place)) {
            totals.keys += 1;
            totals.elements += elements as u64;
            totals.bytes += bytes;
            totals.expires += u64::from(has_expiry);
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(string) => string.len(),
        Value::List(list) => list.len(),
        Value::Set(set) => set.len(),
        Value::Hash(hash) => hash.len(),
        Value::SortedSet(set) => set.len(),
    }
}

/// What was being done when an error came, in the words of `redis-check-rdb`.
pub fn doing(during: &During) -> &'static str {
    match during {
        During::Header => "start",
        During::Record => "read-type",
        During::Opcode("AUX") => "read-aux",
        During::Opcode("EXPIRETIME" | "EXPIRETIME_MS") => "read-expire",
        During::Opcode(_) => "read-len",
        During::KeyName => "read-key",
        During::Value(_) | During::Dump => "read-object-value",
        During::Checksum => "check-sum",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::rdb::fixtures;

    fn check(payload: &[u8]) -> (Checker, Vec<String>, Result<(), RdbError>) {
        let limits = Limits::of(&Config::default());
        let length = payload.len() as u64;
        let mut checker = Checker::new(limits, Some(length), UnixMillis(1_800_000_000_000));
        let mut notes = Vec::new();
        let mut note = |at, note| {
            notes.push(match note {
                Note::Aux { name, value } => {
                    format!("{at} {}={}", name.escape_ascii(), value.escape_ascii())
                }
                Note::Database(db) => format!("{at} db {db}"),
            });
        };
        let fed = checker.feed(payload, &mut note);
        let outcome = fed.and_then(|()| checker.close(&mut note));
        (checker, notes, outcome)
    }

    #[test]
    fn a_sound_file_is_counted() {
        let (checker, notes, outcome) = check(&fixtures::file("old/v8-zset2"));
        assert_eq!(outcome, Ok(()));
        assert!(checker.is_done() && notes[0].starts_with("9 redis-ver="));
        assert!(notes.iter().any(|note| note.ends_with(" db 0")));
        let totals = checker.totals();
        let by_type: u64 = totals.types.iter().map(|of_type| of_type.keys).sum();
        assert_eq!(totals.keys, by_type);
        assert!(totals.types[3].elements >= 3);
        let bytes: u64 = totals.types.iter().map(|of_type| of_type.bytes).sum();
        let around = notes
            .last()
            .and_then(|note| note.split(' ').next()?.parse::<u64>().ok());
        assert!(bytes > 0 && around.is_some_and(|at| at + bytes < checker.offset()));
        let (checker, _, outcome) = check(&fixtures::file("edge/expired"));
        assert_eq!(outcome, Ok(()));
        assert_eq!((checker.totals().expires, checker.totals().expired), (2, 2));
        let by_type = checker.totals().types.iter().map(|of_type| of_type.expires);
        assert_eq!(by_type.sum::<u64>(), 2);
        let (checker, _, outcome) = check(&fixtures::file("edge/empty-collections"));
        assert_eq!(outcome, Ok(()));
        assert_eq!((checker.totals().keys, checker.totals().empty), (11, 10));
    }

    #[test]
    fn a_damaged_value_is_told_with_its_type() {
        let (checker, _, outcome) = check(&fixtures::file("bad/lp-backlen"));
        let error = outcome.expect_err("damaged");
        assert_eq!(error.at, 14);
        assert_eq!(doing(&error.during), "read-object-value");
        assert_eq!(checker.value_type(), Some(ValueType::HashListpack));
    }
}
