//! The 80-bit floating point of x87, in software: what `long double` is to Redis on the machines it mostly runs on.
//!
//! INCRBYFLOAT and HINCRBYFLOAT read decimal text into 64 bits of mantissa, add, and print 17 decimals. Doubles would give
//! other digits (`10.5 + 0.1` must print `10.6`), so the same is done here bit by bit, with round to nearest, ties to even,
//! at each of the three steps.
//!
//! ```text
//! value = mantissa * 2^exponent     mantissa of 64 bits, its top bit set unless the exponent is the smallest
//! ```

use std::ops::Add;

use super::literal::{Literal, Magnitude};
use super::natural::Natural;
use super::{Digits, double, shift_right_half_even};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extended {
    negative: bool,
    size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    /// Zero has a mantissa of 0 and any exponent.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
    NotANumber,
}

impl Extended {
    pub const ZERO: Extended = Extended {
        negative: false,
        size: Size::Finite {
            mantissa: 0,
            exponent: EXPONENT_MIN,
        },
    };

    /// The number that all of `text` spells, by the grammar of C: no spaces, no NaN, fewer than 5120 bytes, and neither so
    /// large nor so small that it would become infinite or zero. `inf` itself is a number here.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let literal = Literal::whole(text)?;
        let negative = literal.negative;
        match literal.magnitude {
            Magnitude::Infinite => Some(Extended {
                negative,
                size: Size::Infinite,
            }),
            Magnitude::Decimal {
                whole,
                fraction,
                exponent,
                ..
            } => Extended::from_decimal(negative, whole, fraction, exponent),
            Magnitude::Binary { mantissa: 0, .. } => Some(Extended {
                negative,
                ..Extended::ZERO
            }),
            Magnitude::Binary {
                mantissa,
                more,
                exponent,
            } => Extended::rounded(negative, mantissa, more, exponent).in_range(),
        }
    }

    pub fn is_finite(self) -> bool {
        matches!(self.size, Size::Finite { .. })
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        let magnitude = match self.size {
            Size::Finite { mantissa, exponent } => {
                double::from_binary(u128::from(mantissa), false, i64::from(exponent))
            }
            Size::Infinite => f64::INFINITY,
            Size::NotANumber => f64::NAN,
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// As C's `%.17Lf` with zeros at the end of the fraction left out, and a dot that would be last; never `-0`.
    pub fn to_text(self) -> Vec<u8> {
        let mut text = Vec::with_capacity(24);
        if self.negative {
            text.push(b'-');
        }
        match self.size {
            Size::NotANumber => text.extend_from_slice(b"nan"),
            Size::Infinite => text.extend_from_slice(b"inf"),
            Size::Finite { mantissa, exponent } if exponent < 0 => {
                // 64 bits of mantissa and 57 of the scale: nothing is lost before the rounding.
                let scaled = u128::from(mantissa) * u128::from(FRACTION_SCALE);
                let scaled = shift_right_half_even(scaled, exponent.unsigned_abs(), false);
                write_scaled(&mut text, scaled);
            }
            Size::Finite { mantissa, exponent } => {
                let mut natural = Natural::from_digits(Digits::new().of(mantissa));
                natural.shift_left(exponent.unsigned_abs());
                text.extend_from_slice(&natural.into_digits());
            }
        }
        if text == b"-0" {
            text.remove(0);
        }
        text
    }

    /// `whole.fraction * 10^exponent`, or None where that is out of range.
    fn from_decimal(negative: bool, whole: &[u8], fraction: &[u8], exponent: i64) -> Option<Self> {
        let digits = whole
            .iter()
            .chain(fraction)
            .skip_while(|&&digit| digit == b'0');
        let count = digits.clone().count() as i64;
        if count == 0 {
            return Some(Extended {
                negative,
                ..Extended::ZERO
            });
        }
        // The value is an integer of `count` digits times 10^scale: far out of range is known without arithmetic.
        let scale = exponent - fraction.len() as i64;
        if !(-DECIMAL_EXPONENT_MAX..DECIMAL_EXPONENT_MAX).contains(&(count + scale)) {
            return None;
        }
        if count <= 19 && (-27..=19).contains(&scale) {
            let number = digits.fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            return Some(Extended::from_small_decimal(negative, number, scale as i32));
        }
        let mut number = Natural::from_digits(digits);
        let power = scale.unsigned_abs() as u32;
        if scale >= 0 {
            number.multiply_by_power_of_five(power);
            let (top, below, more) = number.top();
            return Extended::rounded(negative, top, more, i64::from(below) + scale).in_range();
        }
        // Shifted so that the quotient has 66 or 67 bits: two more than are kept, the remainder tells the rest.
        let mut divisor = Natural::power_of_five(power);
        let shift = 66 + i64::from(divisor.bits()) - i64::from(number.bits());
        match u32::try_from(shift) {
            Ok(up) => number.shift_left(up),
            Err(_) => divisor.shift_left(shift.unsigned_abs() as u32),
        }
        let (quotient, more) = number.divide(divisor, 67);
        Extended::rounded(negative, quotient, more, scale - shift).in_range()
    }

    /// `number * 10^scale` for what people write: a number of one word that is not zero, a scale from -27 to 19.
    fn from_small_decimal(negative: bool, number: u64, scale: i32) -> Self {
        if scale >= 0 {
            let number = u128::from(number) * 10u128.pow(scale.unsigned_abs());
            return Extended::rounded(negative, number, false, 0);
        }
        // The divisor has at most 63 bits, so at least 65 are left of the quotient.
        let number = u128::from(number);
        let shift = number.leading_zeros();
        let divisor = 5u128.pow(scale.unsigned_abs());
        let dividend = number << shift;
        let exponent = i64::from(scale) - i64::from(shift);
        Extended::rounded(
            negative,
            dividend / divisor,
            dividend % divisor != 0,
            exponent,
        )
    }

    /// The number nearest to `value * 2^exponent`; `more` says that the exact value lies a little above, which is allowed
    /// only where `value` has more than 64 bits.
    fn rounded(negative: bool, value: u128, more: bool, exponent: i64) -> Self {
        if value == 0 {
            return Extended {
                negative,
                ..Extended::ZERO
            };
        }
        let zeros = value.leading_zeros();
        let value = value << zeros;
        let exponent = exponent - i64::from(zeros);
        // 64 bits are kept, or fewer below the smallest exponent.
        let short = (i64::from(EXPONENT_MIN) - (exponent + 64)).clamp(0, 65);
        let mut kept = shift_right_half_even(value, 64 + short as u32, more);
        let mut exponent = exponent + 64 + short;
        if kept >> 64 != 0 {
            kept >>= 1;
            exponent += 1;
        }
        let size = match i32::try_from(exponent) {
            _ if kept == 0 => Extended::ZERO.size,
            Ok(exponent) if exponent <= EXPONENT_MAX => Size::Finite {
                mantissa: kept as u64,
                exponent,
            },
            _ => Size::Infinite,
        };
        Extended { negative, size }
    }

    /// None where rounding a number that is neither made it zero or infinite.
    fn in_range(self) -> Option<Self> {
        match self.size {
            Size::Finite { mantissa: 0, .. } | Size::Infinite => None,
            _ => Some(self),
        }
    }
}

impl From<f64> for Extended {
    fn from(value: f64) -> Self {
        let bits = value.to_bits();
        let negative = value.is_sign_negative();
        let fraction = bits & ((1 << 52) - 1);
        match (bits >> 52 & 0x7ff) as i64 {
            0x7ff if fraction == 0 => Extended {
                negative,
                size: Size::Infinite,
            },
            0x7ff => Extended {
                negative,
                size: Size::NotANumber,
            },
            0 => Extended::rounded(negative, u128::from(fraction), false, -1074),
            biased => {
                let mantissa = u128::from(fraction | 1 << 52);
                Extended::rounded(negative, mantissa, false, biased - 1075)
            }
        }
    }
}

impl From<i64> for Extended {
    fn from(value: i64) -> Self {
        Extended::rounded(value < 0, u128::from(value.unsigned_abs()), false, 0)
    }
}

impl Add for Extended {
    type Output = Extended;

    fn add(self, other: Extended) -> Extended {
        let (size, other_size) = match (self.size, other.size) {
            (Size::Finite { .. }, Size::Finite { .. }) => (self.finite(), other.finite()),
            (Size::Infinite, Size::Infinite) if self.negative != other.negative => {
                return Extended {
                    size: Size::NotANumber,
                    ..self
                };
            }
            (Size::Finite { .. }, _) => return other,
            (Size::NotANumber, _) | (_, Size::Finite { .. } | Size::Infinite) => return self,
            (_, Size::NotANumber) => return other,
        };
        // A larger exponent is a larger number, because only the smallest exponent has a mantissa without its top bit.
        let swap = (size.1, size.0) < (other_size.1, other_size.0);
        let (negative, (large, exponent), (small, small_exponent)) = if swap {
            (other.negative, other_size, size)
        } else {
            (self.negative, size, other_size)
        };
        if large == 0 {
            return Extended {
                negative: self.negative && other.negative,
                ..Extended::ZERO
            };
        }
        // One bit of room for a carry, 63 below for what the small one loses by standing further right.
        let large = u128::from(large) << 63;
        let aligned = u128::from(small) << 63;
        let distance = exponent.abs_diff(small_exponent).min(127);
        let small = aligned >> distance;
        let more = small << distance != aligned;
        let exponent = i64::from(exponent) - 63;
        if self.negative == other.negative {
            return Extended::rounded(negative, large + small, more, exponent);
        }
        let difference = large - small - u128::from(more);
        let negative = negative && difference != 0;
        Extended::rounded(negative, difference, more, exponent)
    }
}

impl Extended {
    /// Mantissa and exponent, an exact zero with the smallest exponent; for finite numbers.
    fn finite(self) -> (u64, i32) {
        match self.size {
            Size::Finite { mantissa: 0, .. } => (0, EXPONENT_MIN),
            Size::Finite { mantissa, exponent } => (mantissa, exponent),
            Size::Infinite | Size::NotANumber => unreachable!("callers have told these apart"),
        }
    }
}

/// A number that counts units of 10^-17.
fn write_scaled(text: &mut Vec<u8>, scaled: u128) {
    let scale = u128::from(FRACTION_SCALE);
    let (whole, fraction) = (scaled / scale, (scaled % scale) as u64);
    text.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    if fraction == 0 {
        return;
    }
    // The scale itself is a leading 1 in front of the seventeen digits.
    let mut room = Digits::new();
    let digits = room.of(FRACTION_SCALE + fraction);
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0');
    let end = digits.len() - zeros.count();
    text.push(b'.');
    text.extend_from_slice(&digits[1..end]);
}

/// 10^17: the decimals that are printed.
const FRACTION_SCALE: u64 = 100_000_000_000_000_000;

/// Of the smallest number: 2^-16445.
const EXPONENT_MIN: i32 = -16_445;

/// Of the largest: (2^64 - 1) * 2^16320.
const EXPONENT_MAX: i32 = 16_320;

/// Beyond it a number of that many digits before (or zeros behind) the dot is surely out of range.
const DECIMAL_EXPONENT_MAX: i64 = 5_000;

/// What Redis copies such a text into.
const TEXT_BYTES_MAX: usize = 5 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn sum(a: &str, b: &str) -> String {
        let parse = |text: &str| Extended::parse(text.as_bytes()).expect("a number");
        String::from_utf8((parse(a) + parse(b)).to_text()).unwrap()
    }

    #[test]
    fn sums_are_those_of_redis() {
        // Each line was read from SET and INCRBYFLOAT of redis 7.0.15 on x86-64.
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("3.0e3", "1", "3001"),
            ("5.0e3", "200", "5200"),
            ("0.1", "0.2", "0.3"),
            ("-1.5", "1.5", "0"),
            ("-0.0", "0", "0"),
            ("-1e-20", "0", "0"),
            ("1", "0x1p-3", "1.125"),
            ("1e18", "0.1", "1000000000000000000.125"),
            ("1", "-0.99999999999999999", "0.00000000000000001"),
            ("0.000000000000000005", "0", "0"),
            ("0.000000000000000015", "0", "0.00000000000000002"),
            ("0.00000000000000000500001", "0", "0.00000000000000001"),
            ("36893488147419103233", "0", "36893488147419103232"),
            ("36893488147419103235", "0", "36893488147419103236"),
            ("18446744073709551615", "0.5", "18446744073709551616"),
            ("18446744073709551614", "0.5", "18446744073709551614"),
            ("9223372036854775807", "0.25", "9223372036854775807"),
            ("4e-4951", "4e-4951", "0"),
            (
                "+0.024471715849",
                "-14.830554390870139",
                "-14.806082675021139",
            ),
            (".4", "0206701.5555", "206701.95550000000000068"),
            (
                "2.6328153159368525e-50",
                "-0x2418338.9bb67da850d1bf40p-68",
                "-0.00000000000012823",
            ),
            (
                "544.143507316040500905",
                "7555074770546",
                "7555074771090.14350748062133789",
            ),
            (
                "0435950024851004296e-10",
                "0xc2c27.376563722b08ae3bp35",
                "27409973365723275.830078125",
            ),
            (
                "-18446744073709551615",
                "-0x114.c7054f21df715442p52",
                "-19693238780725950228",
            ),
            ("-50944.281097940", "0.", "-50944.28109793999999866"),
            (
                "-5007.1105590375",
                "600.198808050858559975",
                "-4406.91175098664143972",
            ),
            (
                "-0x355d2421ec0.294a671cda788587p42",
                "387.130333340332583085",
                "-16128228762400103008829440",
            ),
            (
                "9.4118245252548423e+37",
                ".04",
                "94118245252548422997336373436992192512",
            ),
            (
                "833.646690986199924245",
                "755.9496000",
                "1589.59629098619992427",
            ),
            (
                "52004200185.90430637255638205",
                "9223372036854775807.5",
                "9223372088858975993",
            ),
            (
                "-4456515289505",
                "36893488147419103231",
                "36893483690903813728",
            ),
            (
                "-52067455",
                "65321380000793658229.4434880319",
                "65321380000741590772",
            ),
            ("595e4927", "-595e4927", "0"),
            ("450e-4933", "-5.00638570", "-5.0063857"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
            assert_eq!(sum(b, a), expected, "{b} + {a}");
        }
    }

    #[test]
    fn the_largest_number_is_printed_in_full() {
        let largest = "0x1.fffffffffffffffep16383";
        let text = sum(largest, "0x1p16318");
        assert_eq!(text.len(), 4933);
        assert!(text.starts_with("118973149535723176502126385303097020516906332229462420044032"));
        // Half of its last place is a tie, and even is infinite.
        assert_eq!(sum(largest, "0x1p16319"), "inf");
        assert_eq!(sum("inf", "-1"), "inf");
        assert_eq!(sum("-inf", "-inf"), "-inf");
        assert_eq!(sum("inf", "-inf"), "nan");
    }

    #[test]
    fn what_strtold_would_not_take_whole_is_no_number() {
        for text in [
            "",
            " 1",
            "1 ",
            "x",
            "nan",
            "1e",
            "1e4933",
            "-1e4933",
            "1e-4960",
            "0x1p-16446",
            "1\0",
            "1e999999999999",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Extended::parse("1".repeat(5119).as_bytes()), None);
        assert!(Extended::parse(format!("0.{}", "1".repeat(5117)).as_bytes()).is_some());
        assert_eq!(
            Extended::parse(format!("0.{}", "1".repeat(5118)).as_bytes()),
            None
        );
        assert!(Extended::parse(b"0x1p-16445").is_some());
        assert!(Extended::parse(b"0e-99999").is_some());
    }

    #[test]
    fn both_roads_from_decimal_text_agree() {
        let mut random = Random::from_seed(8);
        for _ in 0..2_000 {
            let number = (random.next_u64() >> random.below(64)).max(1) % 10u64.pow(19);
            let scale = random.below(46) as i64 - 27;
            let short = Extended::parse(format!("{number}e{scale}").as_bytes());
            // Twenty zeros more are too many digits for the short road.
            let zeros = "0".repeat(20);
            let long = Extended::parse(format!("{number}{zeros}e{}", scale - 20).as_bytes());
            assert_eq!(short, long, "{number}e{scale}");
        }
    }

    #[test]
    fn doubles_and_integers_convert_exactly() {
        let mut random = Random::from_seed(9);
        for _ in 0..5_000 {
            let value = f64::from_bits(random.next_u64());
            if !value.is_nan() {
                assert_eq!(Extended::from(value).to_f64().to_bits(), value.to_bits());
            }
            let integer = (random.next_u64() as i64) >> random.below(64);
            let text = Extended::from(integer).to_text();
            assert_eq!(text, integer.to_string().as_bytes());
        }
        assert!(!Extended::from(f64::NAN).is_finite());
        assert!(Extended::parse(b"1e400").unwrap().to_f64().is_infinite());
        assert_eq!(Extended::from(0.1).to_text(), b"0.10000000000000001");
    }
}
