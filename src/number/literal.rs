//! The grammar of a float in C: what `strtod` and `strtold` would read from the front of a text.
//!
//! ```text
//! spaces? [+-]? ( inf | infinity | digits [. digits] [e [+-] digits] | 0x hex [. hex] [p [+-] digits] )
//! ```
//!
//! Letters in any case; digits may stand on either side of the dot but not on neither. An exponent without digits is not
//! part of the number, nor is a `0x` without hexadecimal digits: `1e` is a 1 and a rest. `nan` is not here, because no
//! caller takes it.

/// A number as written, not yet rounded to any format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Literal<'a> {
    pub(super) negative: bool,
    pub(super) magnitude: Magnitude<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Magnitude<'a> {
    Infinite,
    /// `digits` without its dot, times a power of ten.
    Decimal {
        /// The text from the first digit to the end of the exponent.
        text: &'a [u8],
        whole: &'a [u8],
        fraction: &'a [u8],
        /// As written, saturated far outside of any format.
        exponent: i64,
    },
    /// `mantissa`, or a little more if `more` (then it has more than 120 bits), times a power of two.
    Binary {
        mantissa: u128,
        more: bool,
        exponent: i64,
    },
}

impl<'a> Literal<'a> {
    /// The longest number at the front of `text`, after any spaces, and where it ends. None if there is none.
    pub(super) fn prefix(text: &'a [u8]) -> Option<(Self, usize)> {
        let mut at = text.iter().take_while(|&&byte| is_space(byte)).count();
        let negative = match text.get(at) {
            Some(b'-') => true,
            Some(b'+') => false,
            _ => {
                let (magnitude, len) = magnitude(&text[at..])?;
                let literal = Literal {
                    negative: false,
                    magnitude,
                };
                return Some((literal, at + len));
            }
        };
        at += 1;
        let (magnitude, len) = magnitude(&text[at..])?;
        let literal = Literal {
            negative,
            magnitude,
        };
        Some((literal, at + len))
    }

    /// The number that is all of `text`, without spaces around it.
    pub(super) fn whole(text: &'a [u8]) -> Option<Self> {
        if is_space(*text.first()?) {
            return None;
        }
        let (literal, end) = Literal::prefix(text)?;
        (end == text.len()).then_some(literal)
    }
}

fn magnitude(text: &[u8]) -> Option<(Magnitude<'_>, usize)> {
    if starts_with_letters(text, b"inf") {
        let len = if starts_with_letters(text, b"infinity") {
            8
        } else {
            3
        };
        return Some((Magnitude::Infinite, len));
    }
    if starts_with_letters(text, b"0x")
        && let Some(found) = hexadecimal(text)
    {
        return Some(found);
    }
    decimal(text)
}

fn decimal(text: &[u8]) -> Option<(Magnitude<'_>, usize)> {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let (whole, fraction, mut end) = split_at_dot(text, 0, is_digit)?;
    let mut exponent = 0;
    if let Some((written, exponent_end)) = exponent_at(text, end, b'e') {
        exponent = written;
        end = exponent_end;
    }
    let text = &text[..end];
    let magnitude = Magnitude::Decimal {
        text,
        whole,
        fraction,
        exponent,
    };
    Some((magnitude, end))
}

fn hexadecimal(text: &[u8]) -> Option<(Magnitude<'_>, usize)> {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let (whole, fraction, mut end) = split_at_dot(text, 2, is_digit)?;
    let mut mantissa: u128 = 0;
    let mut more = false;
    let mut exponent = -4 * fraction.len() as i64;
    for &digit in whole.iter().chain(fraction) {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => (digit | 0x20) - b'a' + 10,
        };
        if mantissa >> 124 == 0 {
            mantissa = mantissa << 4 | u128::from(value);
        } else {
            more |= value != 0;
            exponent += 4;
        }
    }
    if let Some((written, exponent_end)) = exponent_at(text, end, b'p') {
        exponent += written;
        end = exponent_end;
    }
    let magnitude = Magnitude::Binary {
        mantissa,
        more,
        exponent,
    };
    Some((magnitude, end))
}

/// The digits before and after a dot from `start` on, and where they end; None if there are no digits at all.
fn split_at_dot(
    text: &[u8],
    start: usize,
    is_digit: impl Fn(&u8) -> bool,
) -> Option<(&[u8], &[u8], usize)> {
    let run = |from: usize| {
        let rest = &text[from.min(text.len())..];
        &rest[..rest.iter().take_while(|byte| is_digit(byte)).count()]
    };
    let whole = run(start);
    let mut end = start + whole.len();
    let mut fraction = &text[..0];
    if text.get(end) == Some(&b'.') {
        fraction = run(end + 1);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        end += 1 + fraction.len();
    }
    (end > start).then_some((whole, fraction, end))
}

/// The exponent that starts with `letter` at `at`, if it has digits, and where it ends.
fn exponent_at(text: &[u8], at: usize, letter: u8) -> Option<(i64, usize)> {
    if !text.get(at)?.eq_ignore_ascii_case(&letter) {
        return None;
    }
    let (negative, start) = match text.get(at + 1)? {
        b'-' => (true, at + 2),
        b'+' => (false, at + 2),
        _ => (false, at + 1),
    };
    let digits = text[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let mut exponent: i64 = 0;
    let mut end = start;
    for digit in digits {
        exponent = (exponent * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX);
        end += 1;
    }
    (end > start).then_some((if negative { -exponent } else { exponent }, end))
}

fn starts_with_letters(text: &[u8], letters: &[u8]) -> bool {
    text.get(..letters.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(letters))
}

/// C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Beyond what any text of a sane length can make up for with its digits.
const EXPONENT_MAX: i64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_ends_where_c_says() {
        for (text, end) in [
            ("1", 1),
            ("-1.5", 4),
            ("+.5", 3),
            ("5.", 2),
            ("1e5", 3),
            ("1e", 1),
            ("1e+", 1),
            ("1.e1x", 4),
            ("0x", 1),
            ("0x.", 1),
            ("0x.8p1", 6),
            ("0XAp", 3),
            ("infinite", 3),
            ("-iNfInItY!", 9),
            (" \t\n\x0b\x0c\r7 ", 7),
            ("1_000", 1),
            ("1\0", 1),
        ] {
            let found = Literal::prefix(text.as_bytes());
            assert_eq!(found.map(|(_, end)| end), Some(end), "{text:?}");
        }
        for text in [
            "", "-", "+", ".", "e5", "-.e1", "in", "nan", "x", " ", "--1", "+ 1",
        ] {
            assert_eq!(Literal::prefix(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn exponents_saturate() {
        let text = format!("1e-{}", "9".repeat(50));
        let (literal, end) = Literal::prefix(text.as_bytes()).unwrap();
        assert_eq!(end, text.len());
        assert!(matches!(
            literal.magnitude,
            Magnitude::Decimal { exponent, .. } if exponent == -EXPONENT_MAX
        ));
    }
}
