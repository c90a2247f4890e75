//! Doubles: scores, bounds and increments as text, in and out.
//!
//! Redis 7.0 prints a double as C's `%.17g` everywhere: enough digits to read the same bits back, though seldom the fewest
//! (`0.1` is `0.10000000000000001`). RESP3 doubles, scores in listpacks and digests all have this form.

use std::io::Write;

use super::literal::{Literal, Magnitude};
use super::{parse_i64, shift_right_half_even};

/// A double as `%.17g` prints it, on the stack.
#[derive(Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; DoubleText::BYTES_MAX],
    len: u8,
}

impl DoubleText {
    /// `-2.2250738585072014e-308` and the like.
    const BYTES_MAX: usize = 24;

    pub fn of(value: f64) -> Self {
        let mut text = DoubleText {
            bytes: [0; DoubleText::BYTES_MAX],
            len: 0,
        };
        if value.is_nan() {
            text.push(if value.is_sign_negative() {
                b"-nan"
            } else {
                b"nan"
            });
        } else if value.is_infinite() {
            text.push(if value < 0.0 { b"-inf" } else { b"inf" });
        } else if value == 0.0 {
            text.push(if value.is_sign_negative() {
                b"-0"
            } else {
                b"0"
            });
        } else if value.abs() < SEVENTEEN_DIGITS && value.trunc() == value {
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            text.push_rounded(value);
        }
        text
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Seventeen significant digits, correctly rounded, laid out by the rule of `%g`: fixed notation for exponents from
    /// -4 to 16, zeros at the end of a fraction left out.
    fn push_rounded(&mut self, value: f64) {
        // d.dddddddddddddddde[-]x, one digit before the dot and sixteen behind it.
        let mut scientific = [0u8; 32];
        let mut rest = &mut scientific[..];
        write!(rest, "{:.16e}", value.abs()).expect("at most 23 bytes");
        let len = 32 - rest.len();
        let mut digits = [0u8; 17];
        digits[0] = scientific[0];
        digits[1..].copy_from_slice(&scientific[2..18]);
        let exponent: i32 = std::str::from_utf8(&scientific[19..len])
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("an exponent follows the e");
        let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0');
        let digits = &digits[..17 - zeros.count()];

        if value < 0.0 {
            self.push(b"-");
        }
        match exponent {
            -4..0 => {
                self.push(&b"0.000"[..(1 - exponent) as usize]);
                self.push(digits);
            }
            0..17 => {
                let whole = exponent as usize + 1;
                if let Some((before, behind)) = digits.split_at_checked(whole) {
                    self.push(before);
                    self.push_fraction(behind);
                } else {
                    self.push(digits);
                    self.push(&b"0000000000000000"[..whole - digits.len()]);
                }
            }
            _ => {
                self.push(&digits[..1]);
                self.push_fraction(&digits[1..]);
                self.push(if exponent < 0 { b"e-" } else { b"e+" });
                if exponent.abs() < 10 {
                    self.push(b"0");
                }
                self.push(itoa::Buffer::new().format(exponent.abs()).as_bytes());
            }
        }
    }

    fn push_fraction(&mut self, digits: &[u8]) {
        if !digits.is_empty() {
            self.push(b".");
            self.push(digits);
        }
    }

    fn push(&mut self, text: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + text.len()].copy_from_slice(text);
        self.len += text.len() as u8;
    }
}

/// The double that all of `text` spells, as scores and increments are read: the grammar of `literal`, no spaces, no NaN,
/// and neither so large nor so small that it would become infinite or zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    // Most scores are integers, and rounding one is what reading its text would do.
    if let Some(value) = parse_i64(text) {
        return Some(value as f64);
    }
    // Zeros in front keep a text from being canonical, not from being an integer.
    if (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        let value = text
            .iter()
            .fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        return Some(value as f64);
    }
    if let Some(value) = parse_short_decimal(text) {
        return Some(value);
    }
    match round(Literal::whole(text)?) {
        (value, InRange::Yes) => Some(value),
        (_, InRange::No) => None,
    }
}

/// `digits.digits` of few digits, perhaps behind a minus: both the number without its point and the power of ten that it is
/// to be divided by are exact doubles, so that the quotient is rounded once, as reading the text would.
fn parse_short_decimal(text: &[u8]) -> Option<f64> {
    const DIGITS_MAX: usize = 15;
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.len() > DIGITS_MAX + 1 {
        return None;
    }
    let point = digits.iter().position(|&byte| byte == b'.')?;
    let (whole, fraction) = (&digits[..point], &digits[point + 1..]);
    if whole.is_empty() || fraction.is_empty() {
        return None;
    }
    let mut mantissa = 0u64;
    let mut power = 1u64;
    for digit in whole {
        mantissa = mantissa * 10 + decimal_digit(*digit)?;
    }
    for digit in fraction {
        mantissa = mantissa * 10 + decimal_digit(*digit)?;
        power *= 10;
    }
    let value = mantissa as f64 / power as f64;
    Some(if negative { -value } else { value })
}

fn decimal_digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

/// The double that a bound of a score range spells (behind its `(`, if any). Looser than [`parse_f64`], as in Redis: spaces
/// may stand in front, nothing at all is 0, a number out of range is infinite or 0, and a zero byte ends the text.
pub fn parse_f64_bound(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let (literal, end) = Literal::prefix(text)?;
    (end == text.len()).then(|| round(literal).0)
}

/// The integer that `value` is, where it is one of magnitude 2^62 or less: such a score is held as an integer in a
/// listpack (-0 as 0), any other as its [`DoubleText`].
pub fn exact_i64(value: f64) -> Option<i64> {
    const MAX: f64 = (1u64 << 62) as f64;
    (value.abs() <= MAX && value.trunc() == value).then_some(value as i64)
}

/// What C tells through `errno`, as far as Redis looks.
enum InRange {
    Yes,
    /// Too large for a double, or too small to be other than zero.
    No,
}

fn round(literal: Literal<'_>) -> (f64, InRange) {
    let (value, in_range) = match literal.magnitude {
        Magnitude::Infinite => (f64::INFINITY, InRange::Yes),
        Magnitude::Decimal {
            text,
            whole,
            fraction,
            ..
        } => {
            let value: f64 = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
                .expect("Rust reads every decimal literal of C");
            let is_zero = value == 0.0 && whole.iter().chain(fraction).all(|&digit| digit == b'0');
            let lost = value.is_infinite() || (value == 0.0 && !is_zero);
            (value, if lost { InRange::No } else { InRange::Yes })
        }
        Magnitude::Binary { mantissa: 0, .. } => (0.0, InRange::Yes),
        Magnitude::Binary {
            mantissa,
            more,
            exponent,
        } => {
            let value = from_binary(mantissa, more, exponent);
            let lost = value.is_infinite() || value == 0.0;
            (value, if lost { InRange::No } else { InRange::Yes })
        }
    };
    (if literal.negative { -value } else { value }, in_range)
}

/// The double nearest to `mantissa * 2^exponent`, ties to even; `more` says that the exact value lies a little above.
pub(super) fn from_binary(mantissa: u128, more: bool, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let zeros = mantissa.leading_zeros();
    let mantissa = mantissa << zeros;
    // The value lies in 2^top .. 2^(top + 1).
    let top = exponent - i64::from(zeros) + 127;
    if top > 1023 {
        return f64::INFINITY;
    }
    // A double keeps 53 bits, or fewer below the smallest normal exponent.
    let lost = 75 + (-1022 - top).clamp(0, 64) as u32;
    let kept = shift_right_half_even(mantissa, lost, more) as u64;
    // Adding lets a mantissa that was rounded up to 2^53 carry into the exponent, up to infinity.
    let exponent_bits = (top + 1022).max(0) as u64;
    f64::from_bits((exponent_bits << 52) + kept)
}

/// Below it an integer has no more than seventeen digits, and `%.17g` prints it as it is.
const SEVENTEEN_DIGITS: f64 = 1e17;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn text(value: f64) -> String {
        String::from_utf8(DoubleText::of(value).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn doubles_print_as_c_prints_them() {
        // Each pair was read from ZADD and ZSCORE of redis 7.0.15.
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.5, "-17.5"),
            (0.1, "0.10000000000000001"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (123456.789, "123456.789"),
            (1e15, "1000000000000000"),
            (9007199254740993.0, "9007199254740992"),
            (99999999999999984.0, "99999999999999984"),
            (1e17, "1e+17"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (4611686018427387904.0, "4.6116860184273879e+18"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (5e-324, "4.9406564584124654e-324"),
            (1e-320, "9.9998886718268301e-321"),
            (-f64::MIN_POSITIVE, "-2.2250738585072014e-308"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn a_tie_in_the_seventeenth_digit_goes_to_even() {
        // Both have eighteen digits, the last a 5.
        assert_eq!(text(131_073.0 / 131_072.0), "1.0000076293945312");
        assert_eq!(text(131_075.0 / 131_072.0), "1.0000228881835938");
    }

    #[test]
    fn printing_and_parsing_give_the_same_bits() {
        let mut random = Random::from_seed(3);
        for _ in 0..20_000 {
            let value = f64::from_bits(random.next_u64());
            if value.is_nan() {
                continue;
            }
            let text = text(value);
            let parsed = parse_f64(text.as_bytes());
            assert_eq!(parsed.map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
    }

    #[test]
    fn scores_are_read_as_c_reads_them() {
        for (text, value) in [
            ("+1", 1.0),
            ("000000000017", 17.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("1E2", 100.0),
            ("Infinity", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("0x1p3", 8.0),
            ("-0X.8", -0.5),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.fffffffffffff7p0", 1.999_999_999_999_999_8),
            ("0x1p-1074", 5e-324),
            ("0x1.8p-1075", 5e-324),
            ("0e-999999999999999999999999", 0.0),
            ("4.9e-324", 5e-324),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "1e",
            "0x",
            "1_0",
            "x",
            "1e400",
            "-1e400",
            "1e-400",
            "0x1p1024",
            "0x1p-1076",
            "1\0",
            "1e99999999999999999999",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn short_decimals_are_read_as_the_nearest_double() {
        let mut random = Random::from_seed(11);
        for _ in 0..20_000 {
            let digits = 1 + random.below(14);
            let mantissa = random.below(10u64.pow(digits as u32));
            let places = 1 + random.below(digits) as usize;
            let unit = 10u64.pow(places as u32);
            let sign = if random.chance(1, 2) { "-" } else { "" };
            let text = format!("{sign}{}.{:0places$}", mantissa / unit, mantissa % unit);
            let exact: f64 = text.parse().expect("a decimal");
            let read = parse_f64(text.as_bytes()).map(f64::to_bits);
            assert_eq!(read, Some(exact.to_bits()), "{text}");
        }
    }

    #[test]
    fn hexadecimal_floats_round_as_decimal_ones() {
        let mut random = Random::from_seed(4);
        for _ in 0..5_000 {
            let (mantissa, shift) = (random.next_u64(), random.below(64));
            let mantissa = mantissa >> shift;
            let text = format!("0x{mantissa:x}");
            assert_eq!(parse_f64(text.as_bytes()), Some(mantissa as f64), "{text}");
            let value = f64::from_bits(random.next_u64() >> 2);
            let bits = value.to_bits();
            let (exponent, fraction) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
            let (fraction, exponent) = match exponent {
                0 => (fraction, -1074),
                _ => (fraction | 1 << 52, exponent - 1075),
            };
            assert_eq!(from_binary(u128::from(fraction), false, exponent), value);
        }
    }

    #[test]
    fn range_bounds_are_looser() {
        for (text, value) in [
            (&b""[..], 0.0),
            (b" 1", 1.0),
            (b"1\0x", 1.0),
            (b"1e400", f64::INFINITY),
            (b"-1e-400", 0.0),
            (b"0x10", 16.0),
        ] {
            assert_eq!(parse_f64_bound(text), Some(value), "{text:?}");
        }
        for text in ["nan", "1 ", "0x", " ", "("] {
            assert_eq!(parse_f64_bound(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn integral_scores_are_integers_up_to_two_to_the_62() {
        let limit = (1u64 << 62) as f64;
        assert_eq!(exact_i64(limit), Some(1 << 62));
        assert_eq!(exact_i64(-limit), Some(-1 << 62));
        assert_eq!(exact_i64(limit + 1024.0), None);
        assert_eq!(exact_i64(-0.0), Some(0));
        assert_eq!(exact_i64(0.5), None);
        assert_eq!(exact_i64(f64::NAN), None);
        assert_eq!(exact_i64(f64::INFINITY), None);
    }
}
