//! The vocabulary of the format: versions, opcodes and type bytes, and what each byte means to whom.
//!
//! One byte opens every record. Its meaning depends on the magic: Redis and Valkey have given 22 to 25 and 242 to 243 to
//! different things since they parted, so a [`Version`] carries its [`Dialect`].

use super::error::Problem;

/// Whose numbering the file follows, told by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Redis,
    Valkey,
}

/// What the first nine bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub dialect: Dialect,
    pub number: u16,
}

impl Version {
    /// What every server since Redis 7.2 and Valkey 7.2 reads, if no hash field has a time to live.
    pub const DEFAULT: Version = Version::redis(11);

    pub const HEADER_BYTES: usize = 9;

    pub const fn redis(number: u16) -> Self {
        Version {
            dialect: Dialect::Redis,
            number,
        }
    }

    /// Reads the header. Accepts REDIS 0001 to 0012 and VALKEY 080; a number is refused even if nothing newer follows, as
    /// the servers do.
    pub fn parse(header: &[u8; Self::HEADER_BYTES]) -> Result<Self, Problem> {
        let (dialect, digits) = if let Some(digits) = header.strip_prefix(b"REDIS") {
            (Dialect::Redis, digits)
        } else if let Some(digits) = header.strip_prefix(b"VALKEY") {
            (Dialect::Valkey, digits)
        } else {
            return Err(Problem::Magic(*header));
        };
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(Problem::Version(*header));
            }
            number = number * 10 + u16::from(digit - b'0');
        }
        match (dialect, number) {
            (Dialect::Redis, 1..=12) | (Dialect::Valkey, 80) => Ok(Version { dialect, number }),
            _ => Err(Problem::Version(*header)),
        }
    }

    pub fn header(self) -> [u8; Self::HEADER_BYTES] {
        let text = match self.dialect {
            Dialect::Redis => format!("REDIS{:04}", self.number),
            Dialect::Valkey => format!("VALKEY{:03}", self.number),
        };
        let mut header = [b'9'; Self::HEADER_BYTES];
        header.copy_from_slice(&text.as_bytes()[..Self::HEADER_BYTES]);
        header
    }

    /// Versions 1 to 4 end with the EOF opcode.
    pub fn has_checksum(self) -> bool {
        self.number >= 5
    }
}

/// Records that are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Slot, keys in it, keys in it that expire: a hint of Redis 7.4 and later in cluster mode.
    SlotInfo = 0xf4,
    /// Seconds since the next key was last used.
    Idle = 0xf8,
    /// The logarithmic access counter of the next key.
    Freq = 0xf9,
    Aux = 0xfa,
    ResizeDb = 0xfb,
    /// Expiry of the next key in Unix milliseconds.
    ExpireMillis = 0xfc,
    /// The same in seconds; no writer since Redis 2.6 uses it.
    ExpireSeconds = 0xfd,
    SelectDb = 0xfe,
    Eof = 0xff,
}

impl Opcode {
    pub fn name(self) -> &'static str {
        match self {
            Opcode::SlotInfo => "SLOT_INFO",
            Opcode::Idle => "IDLE",
            Opcode::Freq => "FREQ",
            Opcode::Aux => "AUX",
            Opcode::ResizeDb => "RESIZEDB",
            Opcode::ExpireMillis => "EXPIRETIME_MS",
            Opcode::ExpireSeconds => "EXPIRETIME",
            Opcode::SelectDb => "SELECTDB",
            Opcode::Eof => "EOF",
        }
    }
}

/// How a value is laid out: the type byte of a key's record, of those that this version reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    String = 0,
    /// Elements one by one.
    List = 1,
    Set = 2,
    /// Members with scores as decimal text.
    ZsetText = 3,
    Hash = 4,
    /// Members with scores as eight bytes.
    Zset = 5,
    HashZipmap = 9,
    ListZiplist = 10,
    SetIntset = 11,
    ZsetZiplist = 12,
    HashZiplist = 13,
    /// Nodes, each a ziplist.
    ListQuicklist = 14,
    HashListpack = 16,
    ZsetListpack = 17,
    /// Nodes, each a listpack or one big element.
    ListQuicklist2 = 18,
    SetListpack = 20,
}

/// What the first byte of a record announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Opcode(Opcode),
    Value(ValueType),
    /// Known by name, and not read by this version.
    Unsupported(&'static str),
    Unknown,
}

#[inline]
pub fn meaning(byte: u8, dialect: Dialect) -> Meaning {
    use Meaning::{Unsupported, Value};
    match byte {
        0 => Value(ValueType::String),
        1 => Value(ValueType::List),
        2 => Value(ValueType::Set),
        3 => Value(ValueType::ZsetText),
        4 => Value(ValueType::Hash),
        5 => Value(ValueType::Zset),
        6 => Unsupported("module value of a 4.0 release candidate"),
        7 => Unsupported("module value"),
        9 => Value(ValueType::HashZipmap),
        10 => Value(ValueType::ListZiplist),
        11 => Value(ValueType::SetIntset),
        12 => Value(ValueType::ZsetZiplist),
        13 => Value(ValueType::HashZiplist),
        14 => Value(ValueType::ListQuicklist),
        15 | 19 | 21 => Unsupported("stream"),
        16 => Value(ValueType::HashListpack),
        17 => Value(ValueType::ZsetListpack),
        18 => Value(ValueType::ListQuicklist2),
        20 => Value(ValueType::SetListpack),
        22 => Unsupported("hash with field expiry"),
        23..=25 if dialect == Dialect::Redis => Unsupported("hash with field expiry"),
        0xf3 if dialect == Dialect::Valkey => Unsupported("slot import"),
        0xf4 => Meaning::Opcode(Opcode::SlotInfo),
        0xf5 => Unsupported("function library"),
        0xf6 => Unsupported("function of a 7.0 release candidate"),
        0xf7 => Unsupported("module data"),
        0xf8 => Meaning::Opcode(Opcode::Idle),
        0xf9 => Meaning::Opcode(Opcode::Freq),
        0xfa => Meaning::Opcode(Opcode::Aux),
        0xfb => Meaning::Opcode(Opcode::ResizeDb),
        0xfc => Meaning::Opcode(Opcode::ExpireMillis),
        0xfd => Meaning::Opcode(Opcode::ExpireSeconds),
        0xfe => Meaning::Opcode(Opcode::SelectDb),
        0xff => Meaning::Opcode(Opcode::Eof),
        _ => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_others_are_refused() {
        for number in 1..=12 {
            let version = Version::redis(number);
            assert_eq!(Version::parse(&version.header()), Ok(version));
        }
        let valkey = Version {
            dialect: Dialect::Valkey,
            number: 80,
        };
        assert_eq!(&valkey.header(), b"VALKEY080");
        assert_eq!(Version::parse(b"VALKEY080"), Ok(valkey));
        for refused in [
            b"REDIS0000",
            b"REDIS0013",
            b"REDISabcd",
            b"VALKEY081",
            b"VALKEY011",
        ] {
            assert_eq!(Version::parse(refused), Err(Problem::Version(*refused)));
        }
        assert_eq!(
            Version::parse(b"RADIS0009"),
            Err(Problem::Magic(*b"RADIS0009"))
        );
    }

    #[test]
    fn a_byte_means_what_its_number_in_the_enum_says() {
        for byte in 0..=255 {
            match meaning(byte, Dialect::Redis) {
                Meaning::Value(value_type) => assert_eq!(value_type as u8, byte),
                Meaning::Opcode(opcode) => assert_eq!(opcode as u8, byte),
                Meaning::Unsupported(_) | Meaning::Unknown => {}
            }
        }
        assert_eq!(meaning(8, Dialect::Redis), Meaning::Unknown);
        assert_eq!(meaning(0xf3, Dialect::Redis), Meaning::Unknown);
        assert_eq!(meaning(25, Dialect::Valkey), Meaning::Unknown);
    }
}
