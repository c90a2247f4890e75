//! `REPLCONF name value ...`: what a replica says about itself, as a master reads it.
//!
//! Each pair is one [`Replconf`]; the texts of the errors are those of redis 7.0.15, byte for byte.

use std::fmt;

use super::handshake::shown;
use crate::journal::position::Offset;

/// One `REPLCONF name value` pair as a master understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replconf {
    /// Any number, as the peers accept; only 1..=65535 is of use.
    ListeningPort(i64),
    IpAddress(String),
    Capability(Capabilities),
    /// Applied up to `offset`, and on the replica's disk up to `synced`. Never answered.
    Ack {
        offset: Offset,
        synced: Option<Offset>,
    },
    /// An ACK that is not a number: neither answered nor believed.
    MalformedAck,
    /// Acknowledge now. Never answered.
    GetAck,
    RdbOnly(bool),
    RdbFilter(Filter),
    /// As a number, two digits per part: 80001 is 8.0.1.
    Version(u32),
    RdbChannel(bool),
    MainChannelClient(u64),
    RdbClient(u64),
}

/// What of the dataset a replica wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    Everything,
    FunctionsOnly,
    /// A payload without any content, only its frame.
    Nothing,
}

impl Replconf {
    /// Reads the words after `REPLCONF`, pair by pair: what stands before the first bad pair has been accepted already, as
    /// with the peers. The caller answers `+OK` once, unless the first pair is [`Replconf::is_silent`].
    pub fn parse_all<'a>(
        words: &'a [&'a [u8]],
    ) -> impl Iterator<Item = Result<Replconf, ReplconfError>> + 'a {
        let even = words.len().is_multiple_of(2);
        let odd_error = (!even).then_some(Err(ReplconfError::Syntax));
        let pairs = if even { words } else { &[] };
        let mut at = 0;
        let mut ended = false;
        let options = std::iter::from_fn(move || {
            let (name, value) = (pairs.get(at)?, pairs.get(at + 1)?);
            if ended {
                return None;
            }
            let option = Replconf::parse(name, value, &pairs[at + 2..]);
            at += 2;
            ended = match &option {
                Ok(option) => option.is_silent(),
                Err(_) => true,
            };
            Some(option)
        });
        odd_error.into_iter().chain(options)
    }

    /// Whether nothing is answered, and nothing after it is read.
    pub fn is_silent(&self) -> bool {
        matches!(
            self,
            Replconf::Ack { .. } | Replconf::MalformedAck | Replconf::GetAck
        )
    }

    fn parse(name: &[u8], value: &[u8], rest: &[&[u8]]) -> Result<Self, ReplconfError> {
        let named = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        if named("ack") {
            let synced = match rest {
                [fack, offset, ..] if fack.eq_ignore_ascii_case(b"fack") => Offset::parse(offset),
                _ => None,
            };
            return Ok(match Offset::parse(value) {
                Some(offset) => Replconf::Ack { offset, synced },
                None => Replconf::MalformedAck,
            });
        }
        if named("getack") {
            return Ok(Replconf::GetAck);
        }
        if named("listening-port") {
            return integer(value).map(Replconf::ListeningPort);
        }
        if named("ip-address") {
            if value.len() > ANNOUNCED_IP_BYTES_MAX {
                return Err(ReplconfError::IpTooLong(value.len()));
            }
            return Ok(Replconf::IpAddress(
                String::from_utf8_lossy(value).into_owned(),
            ));
        }
        if named("capa") {
            return Ok(Replconf::Capability(Capabilities::named(value)));
        }
        if named("rdb-only") {
            return flag(value).map(Replconf::RdbOnly);
        }
        if named("rdb-filter-only") {
            return filter(value).map(Replconf::RdbFilter);
        }
        if named("version") {
            return version(value).map(Replconf::Version);
        }
        if named("rdb-channel") {
            return flag(value).map(Replconf::RdbChannel);
        }
        if named("main-ch-client-id") {
            return client_id(value).map(Replconf::MainChannelClient);
        }
        if named("set-rdb-client-id") {
            return client_id(value).map(Replconf::RdbClient);
        }
        Err(ReplconfError::Unrecognized(shown(name)))
    }
}

/// Why a REPLCONF is refused; displays as the error's text, without the leading `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplconfError {
    Syntax,
    NotAnInteger,
    OutOfRange,
    IpTooLong(usize),
    MissingFilterValues,
    UnsupportedFilter(String),
    BadVersion,
    Unrecognized(String),
}

impl fmt::Display for ReplconfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplconfError::Syntax => write!(f, "ERR syntax error"),
            ReplconfError::NotAnInteger => {
                write!(f, "ERR value is not an integer or out of range")
            }
            ReplconfError::OutOfRange => {
                write!(f, "ERR value is out of range, value must between 0 and 1")
            }
            ReplconfError::IpTooLong(bytes) => write!(
                f,
                "ERR REPLCONF ip-address provided by replica instance is too long: {bytes} bytes"
            ),
            ReplconfError::MissingFilterValues => {
                write!(f, "ERR Missing rdb-filter-only values")
            }
            ReplconfError::UnsupportedFilter(name) => {
                write!(f, "ERR Unsupported rdb-filter-only option: {name}")
            }
            ReplconfError::BadVersion => {
                write!(f, "ERR Unrecognized version format")
            }
            ReplconfError::Unrecognized(name) => {
                write!(f, "ERR Unrecognized REPLCONF option: {name}")
            }
        }
    }
}

/// What a replica says it understands. Unknown names are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    pub const NONE: Capabilities = Capabilities(0);
    /// A marked payload.
    pub const EOF: Capabilities = Capabilities(1);
    /// An id in `+CONTINUE`.
    pub const PSYNC2: Capabilities = Capabilities(2);
    /// Valkey's full sync over a second connection.
    pub const DUAL_CHANNEL: Capabilities = Capabilities(4);
    /// Redis 8's.
    pub const RDB_CHANNEL: Capabilities = Capabilities(8);

    const NAMES: [(&'static str, Capabilities); 4] = [
        ("eof", Capabilities::EOF),
        ("psync2", Capabilities::PSYNC2),
        ("dual-channel", Capabilities::DUAL_CHANNEL),
        ("rdb-channel-repl", Capabilities::RDB_CHANNEL),
    ];

    pub fn contains(self, all: Capabilities) -> bool {
        self.0 & all.0 == all.0
    }

    pub fn with(self, more: Capabilities) -> Self {
        Capabilities(self.0 | more.0)
    }

    /// What both can.
    pub fn and(self, other: Capabilities) -> Self {
        Capabilities(self.0 & other.0)
    }

    fn named(name: &[u8]) -> Self {
        Self::NAMES
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map_or(Capabilities::NONE, |(_, capability)| *capability)
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .filter(move |(_, capability)| self.contains(*capability))
            .map(|(name, _)| *name)
    }
}

/// A decimal number as commands read it.
pub fn integer(value: &[u8]) -> Result<i64, ReplconfError> {
    let canonical = !value.starts_with(b"+");
    std::str::from_utf8(value)
        .ok()
        .filter(|_| canonical)
        .and_then(|text| text.parse().ok())
        .ok_or(ReplconfError::NotAnInteger)
}

fn flag(value: &[u8]) -> Result<bool, ReplconfError> {
    match integer(value)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ReplconfError::OutOfRange),
    }
}

fn client_id(value: &[u8]) -> Result<u64, ReplconfError> {
    u64::try_from(integer(value)?).map_err(|_| ReplconfError::NotAnInteger)
}

/// A list of words, possibly quoted; only `functions` exists, and no word at all means nothing.
fn filter(value: &[u8]) -> Result<Filter, ReplconfError> {
    if value.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err(ReplconfError::MissingFilterValues);
    }
    let mut filter = Filter::Nothing;
    for word in value.split(|byte| byte.is_ascii_whitespace() || *byte == b'"') {
        if word.is_empty() {
            continue;
        }
        if !word.eq_ignore_ascii_case(b"functions") {
            return Err(ReplconfError::UnsupportedFilter(shown(word)));
        }
        filter = Filter::FunctionsOnly;
    }
    Ok(filter)
}

fn version(value: &[u8]) -> Result<u32, ReplconfError> {
    let parts: Option<Vec<u32>> = std::str::from_utf8(value)
        .ok()
        .map(|text| text.split('.'))
        .and_then(|parts| parts.map(|part| part.parse().ok()).collect());
    match parts.as_deref() {
        Some([major @ 0..=255, minor @ 0..=99, patch @ 0..=99]) => {
            Ok(major * 10_000 + minor * 100 + patch)
        }
        _ => Err(ReplconfError::BadVersion),
    }
}

const ANNOUNCED_IP_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Vec<Result<Replconf, ReplconfError>> {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        Replconf::parse_all(&words).collect()
    }

    #[test]
    fn replconf_is_read_pair_by_pair_up_to_the_first_bad_one() {
        use Replconf::*;
        assert_eq!(parse("listening-port 6380"), [Ok(ListeningPort(6380))]);
        assert_eq!(
            parse("capa eof CAPA PSYNC2 capa zork"),
            [
                Ok(Capability(Capabilities::EOF)),
                Ok(Capability(Capabilities::PSYNC2)),
                Ok(Capability(Capabilities::NONE))
            ]
        );
        assert_eq!(
            parse("rdb-only 1 zork 1 capa eof"),
            [
                Ok(RdbOnly(true)),
                Err(ReplconfError::Unrecognized("zork".into()))
            ]
        );
        assert_eq!(parse("capa"), [Err(ReplconfError::Syntax)]);
        assert_eq!(
            parse("ack 12 fack 7"),
            [Ok(Ack {
                offset: Offset(12),
                synced: Some(Offset(7))
            })]
        );
        assert_eq!(
            parse("ACK 12 other 7"),
            [Ok(Ack {
                offset: Offset(12),
                synced: None
            })]
        );
        assert_eq!(parse("ack -5"), [Ok(MalformedAck)]);
        assert_eq!(parse("getack *"), [Ok(GetAck)]);
        assert_eq!(parse("version 8.0.1"), [Ok(Version(80_001))]);
        assert_eq!(
            parse("rdb-filter-only functions"),
            [Ok(RdbFilter(Filter::FunctionsOnly))]
        );
        let nothing: [&[u8]; 2] = [b"rdb-filter-only", b""];
        assert_eq!(
            Replconf::parse_all(&nothing).collect::<Vec<_>>(),
            [Ok(RdbFilter(Filter::Nothing))]
        );
        assert!(
            Replconf::parse_all(&[]).next().is_none(),
            "a bare REPLCONF is +OK"
        );
    }

    #[test]
    fn replconf_errors_have_the_texts_of_redis_7_0_15() {
        for (words, text) in [
            ("capa", "ERR syntax error"),
            (
                "listening-port abc",
                "ERR value is not an integer or out of range",
            ),
            (
                "rdb-only 2",
                "ERR value is out of range, value must between 0 and 1",
            ),
            ("rdb-only x", "ERR value is not an integer or out of range"),
            (
                "rdb-filter-only foo",
                "ERR Unsupported rdb-filter-only option: foo",
            ),
            ("rdb-filter-only \"", "ERR Missing rdb-filter-only values"),
            ("zo\r\nrk 1", "ERR Unrecognized REPLCONF option: zo  rk"),
        ] {
            let errors: Vec<String> = parse(words)
                .into_iter()
                .filter_map(|option| option.err())
                .map(|error| error.to_string())
                .collect();
            assert_eq!(errors, [text]);
        }
        let long = format!("ip-address {}", "x".repeat(256));
        assert_eq!(
            parse(&long)[0].as_ref().unwrap_err().to_string(),
            "ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes"
        );
    }
}
