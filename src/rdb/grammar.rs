//! The grammar: which unit may come next, what it says, and what carries over to the next key.
//!
//! A state machine over a [`Reader`], one unit per step. A step that fails has changed nothing that a second try would not
//! overwrite, so a unit that has not arrived as a whole is simply read again. Knows no buffer and no checksum.

use crate::clock::UnixMillis;

use super::decoder::{Event, KeyHead};
use super::error::{During, Fault, Problem, RdbError};
use super::opcode::{Meaning, Opcode, ValueType, Version, meaning};
use super::parts::PartReader;
use super::primitive::Reader;

pub struct Machine {
    pub state: State,
    /// The default until the header has been read.
    pub version: Version,
    during: DuringState,
    /// The start of the last key's name, for messages.
    key_shown: Vec<u8>,
    /// Each applies to the next key, whatever else comes in between.
    expire: Option<UnixMillis>,
    idle_seconds: Option<u64>,
    freq: Option<u8>,
}

/// What is waited for.
pub enum State {
    Header,
    Record,
    Value(PartReader),
    /// The EOF opcode has been read. The owner of the bytes moves on from here, for it has the checksum.
    Eof,
    /// What it has to be; none if nobody wants to know.
    Checksum {
        computed: Option<u64>,
    },
    Done,
}

/// [`During`], without the copy of the key. Stays at what the last event came from until the next unit is looked at, so that
/// who does not accept that event is told the same place.
#[derive(Clone, Copy)]
enum DuringState {
    Header,
    Record,
    Opcode(&'static str),
    KeyName,
    Value,
    Checksum,
}

impl Machine {
    pub fn new() -> Self {
        Machine {
            state: State::Header,
            version: Version::DEFAULT,
            during: DuringState::Header,
            key_shown: Vec::new(),
            expire: None,
            idle_seconds: None,
            freq: None,
        }
    }

    /// Reads one unit. Changes nothing that matters unless the unit is complete. None: it was complete, and says nothing.
    pub fn step<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Option<Event<'a>>, Fault> {
        match &mut self.state {
            State::Header => {
                let at = reader.offset();
                let header = reader.array()?;
                self.version =
                    Version::parse(&header).map_err(|problem| Fault::new(at, problem))?;
                self.state = State::Record;
                Ok(None)
            }
            State::Record => self.record(reader),
            State::Value(parts) => match parts.next_part(reader)? {
                Some(part) => Ok(Some(Event::Part(part))),
                None => {
                    self.state = State::Record;
                    Ok(Some(Event::ValueEnd))
                }
            },
            State::Checksum { computed } if self.version.has_checksum() => {
                let at = reader.offset();
                let stored = u64::from_le_bytes(reader.array()?);
                match *computed {
                    Some(computed) if stored != 0 && stored != computed => {
                        Err(Fault::new(at, Problem::Checksum { stored, computed }))
                    }
                    _ => Ok(self.end()),
                }
            }
            State::Checksum { .. } => Ok(self.end()),
            State::Eof | State::Done => Ok(None),
        }
    }

    fn end<'a>(&mut self) -> Option<Event<'a>> {
        self.state = State::Done;
        Some(Event::End)
    }

    fn record<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Option<Event<'a>>, Fault> {
        self.during = DuringState::Record;
        let at = reader.offset();
        let byte = reader.byte()?;
        match meaning(byte, self.version.dialect) {
            Meaning::Value(value_type) => self.key(value_type, reader).map(Some),
            Meaning::Opcode(opcode) => self.opcode(opcode, reader),
            Meaning::Unsupported(name) => Err(Fault::new(at, Problem::Unsupported { byte, name })),
            Meaning::Unknown => Err(Fault::new(at, Problem::UnknownRecord(byte))),
        }
    }

    fn key<'a>(
        &mut self,
        value_type: ValueType,
        reader: &mut Reader<'a>,
    ) -> Result<Event<'a>, Fault> {
        self.during = DuringState::KeyName;
        let key = reader.string()?.open()?;
        self.key_shown.clear();
        self.key_shown
            .extend_from_slice(&key[..key.len().min(During::NAME_BYTES_MAX)]);
        self.state = State::Value(PartReader::new(value_type));
        self.during = DuringState::Value;
        Ok(Event::Key(KeyHead {
            key,
            value_type,
            expire: self.expire.take(),
            idle_seconds: self.idle_seconds.take(),
            freq: self.freq.take(),
        }))
    }

    fn opcode<'a>(
        &mut self,
        opcode: Opcode,
        reader: &mut Reader<'a>,
    ) -> Result<Option<Event<'a>>, Fault> {
        self.during = DuringState::Opcode(opcode.name());
        match opcode {
            Opcode::Aux => {
                let (name, value) = (reader.string()?, reader.string()?);
                let (name, value) = (name.open()?, value.open()?);
                return Ok(Some(Event::Aux { name, value }));
            }
            Opcode::SelectDb => return Ok(Some(Event::SelectDb(reader.length()?))),
            Opcode::ResizeDb => {
                let (keys, expires) = (reader.length()?, reader.length()?);
                return Ok(Some(Event::ResizeDb { keys, expires }));
            }
            Opcode::SlotInfo => {
                for _slot_keys_expires in 0..3 {
                    reader.length()?;
                }
            }
            Opcode::ExpireMillis => self.expire = expiry(i64::from_le_bytes(reader.array()?)),
            Opcode::ExpireSeconds => {
                let seconds = i64::from(i32::from_le_bytes(reader.array()?));
                self.expire = expiry(if seconds == -1 { -1 } else { seconds * 1000 });
            }
            Opcode::Idle => self.idle_seconds = Some(reader.length()?),
            Opcode::Freq => self.freq = Some(reader.byte()?),
            Opcode::Eof => {
                self.state = State::Eof;
                self.during = DuringState::Checksum;
            }
        }
        Ok(None)
    }

    pub fn describe(&self, fault: Fault) -> RdbError {
        let during = match self.during {
            DuringState::Header => During::Header,
            DuringState::Record => During::Record,
            DuringState::Opcode(name) => During::Opcode(name),
            DuringState::KeyName => During::KeyName,
            DuringState::Value => During::value_of(&self.key_shown),
            DuringState::Checksum => During::Checksum,
        };
        fault.during(during)
    }
}

/// Minus one is what servers keep in memory for "never", so it means that in a file too. Any other negative time is one
/// long ago.
fn expiry(millis: i64) -> Option<UnixMillis> {
    (millis != -1).then_some(UnixMillis(millis))
}
