//! 64-bit integers: the one canonical spelling, and the looser one of stream ids.
//!
//! Canonical means that printing the number gives the same bytes back. Encodings rely on it: a string may be held as an
//! integer only where nobody can tell the difference.

/// Room for the text of any 64-bit integer, so that printing one allocates nothing.
pub struct Digits(itoa::Buffer);

impl Digits {
    pub fn new() -> Self {
        Digits(itoa::Buffer::new())
    }

    /// The canonical text of `value`, until the next use of this room.
    pub fn of(&mut self, value: impl itoa::Integer) -> &[u8] {
        self.0.format(value).as_bytes()
    }
}

impl Default for Digits {
    fn default() -> Self {
        Digits::new()
    }
}

/// The integer whose canonical text this is: an optional `-`, then digits without a leading zero. No `+`, no spaces, no
/// `-0`, nothing out of range. This is what every integer argument of a command must be, and what decides whether a
/// string is stored as an integer.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= DIGITS_MAX => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        // Nineteen digits cannot overflow 64 bits without a sign.
        magnitude = magnitude * 10 + u64::from(value);
    }
    match negative {
        false => i64::try_from(magnitude).ok(),
        true if magnitude <= i64::MIN.unsigned_abs() => Some((magnitude as i64).wrapping_neg()),
        true => None,
    }
}

/// An unsigned integer in the form that the parts of a stream id allow: beside the canonical form also a `+`, leading
/// zeros, and the upper half of 64 bits. A `-` is refused before a canonical number and wraps around before any other
/// (`-01`), because C's `strtoull` gets to see the latter.
pub fn parse_u64_lenient(text: &[u8]) -> Option<u64> {
    match parse_i64(text) {
        Some(value) => u64::try_from(value).ok(),
        None if text.is_empty() => None,
        None => parse_cursor(text),
    }
}

/// An unsigned integer as SCAN reads its cursor, which is as C's `strtoul` does: signs and leading zeros are allowed, `-1`
/// is the largest of all, and nothing is 0. Spaces and what does not fit are refused.
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(value))?;
    }
    Some(if negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    })
}

/// As many as `i64::MIN` has.
const DIGITS_MAX: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn only_the_canonical_text_is_an_integer() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            "-0",
            "+1",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "1e3",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "18446744073709551615",
            "1\0",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn printing_and_parsing_are_inverse() {
        let mut random = Random::from_seed(1);
        let mut digits = Digits::new();
        for _ in 0..20_000 {
            let value = (random.next_u64() as i64) >> random.below(64);
            assert_eq!(parse_i64(digits.of(value)), Some(value));
        }
    }

    #[test]
    fn lenient_unsigned_takes_what_strtoull_takes() {
        for (text, value) in [
            ("0", 0),
            ("007", 7),
            ("+5", 5),
            ("18446744073709551615", u64::MAX),
            ("-01", u64::MAX),
        ] {
            assert_eq!(parse_u64_lenient(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            "-1",
            " 1",
            "1 ",
            "1x",
            "18446744073709551616",
            "++1",
        ] {
            assert_eq!(parse_u64_lenient(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn cursors_take_what_scan_takes() {
        for (text, value) in [
            ("", 0),
            ("-0", 0),
            ("-1", u64::MAX),
            ("+0", 0),
            ("007", 7),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["18446744073709551616", " 0", "0 ", "+", "-", "a"] {
            assert_eq!(parse_cursor(text.as_bytes()), None, "{text}");
        }
    }
}
