//! Where in whose history: a replication id, an offset in its stream, and the database selected there.
//!
//! An [`Offset`] counts bytes: `Offset(n)` is the place *after* the n-th byte of a stream. What PSYNC asks for and what
//! INFO calls "first byte" are numbers of bytes, one higher; [`Offset::next_byte`] and [`Offset::before_byte`] convert.

use std::fmt;

use crate::random::Random;

/// The name of a history: forty hexadecimal digits, kept in lower case, so that comparison ignores case as PSYNC does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplId([u8; 40]);

impl ReplId {
    /// Forty zeros: how "there is no such history" is written in INFO.
    pub const NONE: ReplId = ReplId([b'0'; 40]);

    pub fn random(random: &mut Random) -> Self {
        ReplId(random.hex40())
    }

    /// Reads exactly forty hexadecimal digits of either case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut digits: [u8; 40] = text.try_into().ok()?;
        digits.make_ascii_lowercase();
        digits
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(ReplId(digits))
    }

    pub fn as_bytes(&self) -> &[u8; 40] {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes of a stream that lie behind a place in it. Never negative; far from overflow by construction of [`Offset::parse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    pub const ZERO: Offset = Offset(0);

    /// The highest offset believed when a peer or a file names it: a century of stream at a gigabyte per second fits
    /// below, and arithmetic on it cannot overflow.
    pub const MAX: Offset = Offset(1 << 62);

    /// Reads a decimal number in `0..=Offset::MAX`, without sign or spaces.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        (number <= Offset::MAX.0).then_some(Offset(number))
    }

    /// The number of the byte that follows this place: what a replica standing here asks PSYNC for.
    pub fn next_byte(self) -> i64 {
        self.0 + 1
    }

    /// The place right before byte `number`; `None` for a number that no stream has.
    pub fn before_byte(number: i64) -> Option<Self> {
        (1..=Offset::MAX.0)
            .contains(&number)
            .then(|| Offset(number - 1))
    }

    pub fn plus(self, bytes: usize) -> Self {
        Offset(self.0 + bytes as i64)
    }

    /// Bytes from `earlier` to here; 0 where `earlier` is later.
    pub fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0).max(0) as u64
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a history, and the database that the stream has selected there (`None`: the next write selects one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub id: ReplId,
    pub offset: Offset,
    pub stream_db: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_compare_without_case_and_print_in_lower_case() {
        let upper = ReplId::parse(&[b'A'; 40]).unwrap();
        assert_eq!(upper, ReplId::parse(&[b'a'; 40]).unwrap());
        assert_eq!(upper.to_string(), "a".repeat(40));
        for bad in [&b"?"[..], &[b'g'; 40], &[b'a'; 39], &[b'a'; 41], b""] {
            assert_eq!(ReplId::parse(bad), None);
        }
    }

    #[test]
    fn offsets_refuse_what_could_overflow() {
        assert_eq!(Offset::parse(b"0"), Some(Offset(0)));
        assert_eq!(Offset::parse(b"4611686018427387904"), Some(Offset::MAX));
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b" 1",
            b"1a",
            b"4611686018427387905",
            b"9223372036854775807",
            b"99999999999999999999",
        ] {
            assert_eq!(Offset::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_byte_number_is_one_more_than_the_place_before_it() {
        assert_eq!(Offset(41).next_byte(), 42);
        assert_eq!(Offset::before_byte(42), Some(Offset(41)));
        assert_eq!(Offset::before_byte(1), Some(Offset(0)));
        assert_eq!(Offset::before_byte(0), None);
        assert_eq!(Offset::before_byte(-1), None);
    }
}
