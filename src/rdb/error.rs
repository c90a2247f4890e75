//! What can be wrong with an RDB payload: where, while reading what, what was expected, what was found.
//!
//! A [`Fault`] is what the readers of bytes report: a place and a [`Problem`]. The decoder knows which key it was reading
//! and makes an [`RdbError`] of it, whose text is what the operator sees.

use std::fmt;

use crate::compact::Malformed;

/// Why a payload was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbError {
    /// Offset from the first byte of the payload.
    pub at: u64,
    pub during: During,
    pub problem: Problem,
}

/// What was being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum During {
    Header,
    /// Between two records.
    Record,
    /// The body of an opcode, by its name.
    Opcode(&'static str),
    KeyName,
    /// The value of this key; the name is cut after [`During::NAME_BYTES_MAX`].
    Value(Box<[u8]>),
    Checksum,
    /// A payload of DUMP, which has no key.
    Dump,
}

impl During {
    /// How much of a key's name is kept for a message.
    pub const NAME_BYTES_MAX: usize = 64;

    pub fn value_of(key: &[u8]) -> Self {
        During::Value(key[..key.len().min(Self::NAME_BYTES_MAX)].into())
    }
}

/// A problem at a byte, before anyone has said what was being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: u64,
    pub problem: Problem,
}

impl Fault {
    pub fn new(at: u64, problem: Problem) -> Self {
        Fault { at, problem }
    }

    pub fn during(self, during: During) -> RdbError {
        RdbError {
            at: self.at,
            during,
            problem: self.problem,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Not an error yet: so many bytes are wanted from the fault's offset on, and the end is not known to be nearer.
    Starved {
        expected: u64,
    },
    /// The payload ends too early.
    Truncated {
        expected: u64,
        left: u64,
    },
    /// A claim of elements that the bytes left cannot hold.
    TooManyItems {
        what: &'static str,
        claimed: u64,
        left: u64,
    },
    Magic([u8; 9]),
    Version([u8; 9]),
    /// The first byte of a record that no version known here has assigned.
    UnknownRecord(u8),
    Unsupported {
        byte: u8,
        name: &'static str,
    },
    LengthForm(u8),
    /// A string encoding where a length has to be.
    LengthExpected(u8),
    StringForm(u8),
    StringTooLong {
        claimed: u64,
        limit: u64,
    },
    /// More than so many compressed bytes can become.
    LzfClaim {
        compressed: u64,
        claimed: u64,
    },
    Lzf {
        compressed: u64,
        claimed: u64,
    },
    DoubleText(Box<[u8]>),
    NotANumber,
    ListContainer(u64),
    EmptyPlainNode,
    Checksum {
        stored: u64,
        computed: u64,
    },
    /// A database beyond those that are configured.
    Database {
        selected: u64,
        databases: u64,
    },
    /// Of what there can be only one: a key, a field, a member.
    Duplicate(&'static str),
    /// Bytes after a value that should have ended.
    Trailing {
        left: u64,
    },
    /// The inside of a container that is stored as one string. Its offsets count within that string, decompressed.
    Malformed(Box<Malformed>),
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        Problem::Malformed(Box::new(malformed))
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rdb: byte {}: ", self.at)?;
        match &self.during {
            During::Header => f.write_str("while reading the header: ")?,
            During::Record => {}
            During::Opcode(name) => write!(f, "while reading {name}: ")?,
            During::KeyName => f.write_str("while reading the name of a key: ")?,
            During::Value(key) => {
                let cut = if key.len() < During::NAME_BYTES_MAX {
                    ""
                } else {
                    "..."
                };
                let key = key.escape_ascii();
                write!(f, "while reading the value of key \"{key}{cut}\": ")?;
            }
            During::Checksum => f.write_str("while reading the checksum: ")?,
            During::Dump => f.write_str("while reading a DUMP payload: ")?,
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for RdbError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Starved { expected } => {
                write!(f, "{} more have to arrive", Bytes(*expected))
            }
            Problem::Truncated { expected, left } => {
                write!(f, "{} expected, {} left", Bytes(*expected), Bytes(*left))
            }
            Problem::TooManyItems {
                what,
                claimed,
                left,
            } => write!(
                f,
                "{what} of {claimed} items claimed, {} left",
                Bytes(*left)
            ),
            Problem::Magic(found) => {
                let found = found.escape_ascii();
                write!(f, "magic REDIS or VALKEY expected, \"{found}\" found")
            }
            Problem::Version(found) => write!(
                f,
                "version REDIS0001 to REDIS0012 or VALKEY080 expected, \"{}\" found",
                found.escape_ascii()
            ),
            Problem::UnknownRecord(byte) => write!(f, "{byte} is no known type or opcode"),
            Problem::Unsupported { byte, name } => {
                let kind = if *byte < 0x80 { "type" } else { "opcode" };
                write!(f, "{kind} {byte} ({name}) is not supported by this version")
            }
            Problem::LengthForm(byte) => write!(f, "length form {byte:#04x} is not assigned"),
            Problem::LengthExpected(byte) => {
                write!(f, "length expected, string encoding {byte:#04x} found")
            }
            Problem::StringForm(byte) => write!(f, "string encoding {byte:#04x} is not assigned"),
            Problem::StringTooLong { claimed, limit } => {
                write!(
                    f,
                    "string of {claimed} bytes claimed, at most {limit} are read"
                )
            }
            Problem::LzfClaim {
                compressed,
                claimed,
            } => write!(
                f,
                "string of {claimed} bytes claimed, {compressed} bytes of LZF cannot hold it"
            ),
            Problem::Lzf {
                compressed,
                claimed,
            } => write!(
                f,
                "{compressed} bytes of LZF do not decompress to the {claimed} bytes claimed"
            ),
            Problem::DoubleText(found) => write!(
                f,
                "decimal number expected, \"{}\" found",
                found.escape_ascii()
            ),
            Problem::NotANumber => f.write_str("score expected, not-a-number found"),
            Problem::ListContainer(found) => write!(
                f,
                "list node container 1 (plain) or 2 (packed) expected, {found} found"
            ),
            Problem::EmptyPlainNode => f.write_str("plain list node of zero bytes"),
            Problem::Checksum { stored, computed } => write!(
                f,
                "checksum {computed:016x} expected, {stored:016x} found: the payload is damaged"
            ),
            Problem::Database {
                selected,
                databases,
            } => write!(f, "database {selected} selected, there are {databases}"),
            Problem::Duplicate(what) => write!(f, "the same {what} twice"),
            Problem::Trailing { left } => {
                write!(f, "end expected, {} more found", Bytes(*left))
            }
            Problem::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0 == 1 { "byte" } else { "bytes" };
        write!(f, "{} {noun}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_was_expected_and_what_was_found() {
        let problem = Problem::TooManyItems {
            what: "list",
            claimed: 9_000_000_000,
            left: 1204,
        };
        let error = Fault::new(48213, problem).during(During::value_of(b"abc"));
        assert_eq!(
            error.to_string(),
            "rdb: byte 48213: while reading the value of key \"abc\": list of 9000000000 items claimed, 1204 bytes left"
        );
    }

    #[test]
    fn a_long_or_binary_key_is_shown_cut_and_escaped() {
        let error = Fault::new(1, Problem::NotANumber).during(During::value_of(&[0xff; 1000]));
        let text = error.to_string();
        assert!(text.contains("\\xff\\xff...\": score"), "{text}");
        assert!(text.len() < 400);
    }
}
