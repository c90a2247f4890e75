//! Lengths, strings and doubles, read: the bricks of every record.
//!
//! [`Reader`] walks over a slice and cannot run past it. It knows where in the payload its slice lies, and where the payload
//! ends if anyone does, so that a claim beyond that end is refused and one beyond the slice only waits for more bytes
//! ([`Problem::Starved`]).

use std::ops::Deref;

use crate::number::{Digits, parse_f64};

use super::error::{Fault, Problem};
use super::lzf;

/// The longest string that is read unless told otherwise, in bytes: twice what a server accepts from a client by default,
/// for containers that are stored as one string may pass that.
pub const STRING_BYTES_MAX: u64 = 1 << 30;

/// The longest text of an integer: that of -2147483648.
pub const INTEGER_TEXT_MAX: usize = 11;

/// A cursor over bytes of a payload. After a fault its place is undefined: read again from a new one.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// What has arrived.
    bytes: &'a [u8],
    /// How much of it has been read; never beyond its length.
    position: usize,
    /// Offset of its first byte in the payload.
    base: u64,
    /// Offset of the payload's end; `u64::MAX` if nobody knows.
    end: u64,
    string_bytes_max: u64,
}

impl<'a> Reader<'a> {
    /// Over a whole payload.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader::part(bytes, 0, bytes.len() as u64, STRING_BYTES_MAX)
    }

    /// Over a part of a payload that starts at offset `base` of it. `end` is the payload's end, where it is known.
    #[inline]
    pub fn part(bytes: &'a [u8], base: u64, end: u64, string_bytes_max: u64) -> Self {
        Reader {
            bytes,
            position: 0,
            base,
            end,
            string_bytes_max,
        }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Offset in the payload of the next byte.
    pub fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    /// How many bytes the payload still has, arrived or not; `u64::MAX` while its end is unknown.
    #[inline]
    pub fn left(&self) -> u64 {
        match self.end {
            u64::MAX => u64::MAX,
            end => end.saturating_sub(self.offset()),
        }
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let arrived = &self.bytes[self.position..];
        if count > arrived.len() as u64 {
            return Err(self.short_of(count));
        }
        self.position += count as usize;
        Ok(&arrived[..count as usize])
    }

    #[cold]
    fn short_of(&self, expected: u64) -> Fault {
        let left = self.left();
        let problem = if expected > left {
            Problem::Truncated { expected, left }
        } else {
            Problem::Starved { expected }
        };
        Fault::new(self.offset(), problem)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.bytes[self.position..].first_chunk() {
            Some(array) => {
                self.position += N;
                Ok(*array)
            }
            None => Err(self.short_of(N as u64)),
        }
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// A length, in any of its forms, shortest or not. The largest 64-bit value is a value like any other.
    #[inline]
    pub fn length(&mut self) -> Result<u64, Fault> {
        let at = self.offset();
        match self.length_or_encoding()? {
            Head::Length(length) => Ok(length),
            Head::Encoding(byte) => Err(Fault::new(at, Problem::LengthExpected(byte))),
        }
    }

    #[inline]
    fn length_or_encoding(&mut self) -> Result<Head, Fault> {
        let at = self.offset();
        let first = self.byte()?;
        Ok(match first {
            0x00..=0x3f => Head::Length(u64::from(first)),
            0x40..=0x7f => Head::Length(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            0x80 => Head::Length(u64::from(u32::from_be_bytes(self.array()?))),
            0x81 => Head::Length(u64::from_be_bytes(self.array()?)),
            0x82..=0xbf => return Err(Fault::new(at, Problem::LengthForm(first))),
            0xc0..=0xff => Head::Encoding(first),
        })
    }

    /// A string as it is stored. Nothing is decompressed before [`Stored::open`] is asked to.
    #[inline]
    pub fn string(&mut self) -> Result<Stored<'a>, Fault> {
        match self.string_start()? {
            StringStart::Raw(length) => Ok(Stored::Raw(self.take(length)?)),
            StringStart::Whole(stored) => Ok(stored),
        }
    }

    /// The start of a string: all of it, unless it is stored verbatim. Then its bytes are next, and may be taken in pieces.
    #[inline]
    pub fn string_start(&mut self) -> Result<StringStart<'a>, Fault> {
        let at = self.offset();
        let whole = match self.length_or_encoding()? {
            Head::Length(length) => {
                self.check_string_claim(at, length)?;
                return Ok(StringStart::Raw(length));
            }
            Head::Encoding(0xc0) => Stored::Integer(i8::from_le_bytes(self.array()?).into()),
            Head::Encoding(0xc1) => Stored::Integer(i16::from_le_bytes(self.array()?).into()),
            Head::Encoding(0xc2) => Stored::Integer(i32::from_le_bytes(self.array()?)),
            Head::Encoding(0xc3) => {
                let (compressed, claimed) = (self.length()?, self.length()?);
                self.check_string_claim(at, compressed)?;
                self.check_string_claim(at, claimed)?;
                // Both lengths are bounded by now, so neither cast cuts anything off.
                if !lzf::is_plausible(compressed as usize, claimed) {
                    let problem = Problem::LzfClaim {
                        compressed,
                        claimed,
                    };
                    return Err(Fault::new(at, problem));
                }
                Stored::Lzf {
                    at,
                    compressed: self.take(compressed)?,
                    claimed,
                }
            }
            Head::Encoding(byte) => return Err(Fault::new(at, Problem::StringForm(byte))),
        };
        Ok(StringStart::Whole(whole))
    }

    #[inline]
    fn check_string_claim(&self, at: u64, claimed: u64) -> Result<(), Fault> {
        let limit = self
            .string_bytes_max
            .min(lzf::DECOMPRESSED_BYTES_MAX as u64);
        if claimed <= limit {
            return Ok(());
        }
        Err(Fault::new(at, Problem::StringTooLong { claimed, limit }))
    }

    /// Eight bytes of IEEE 754; not-a-number is refused.
    #[inline]
    pub fn double(&mut self) -> Result<f64, Fault> {
        let at = self.offset();
        let double = f64::from_le_bytes(self.array()?);
        if double.is_nan() {
            return Err(Fault::new(at, Problem::NotANumber));
        }
        Ok(double)
    }

    /// A double as decimal text behind its length byte; 253 to 255 instead of a length are not-a-number, which is refused,
    /// and the infinities.
    pub fn double_text(&mut self) -> Result<f64, Fault> {
        let at = self.offset();
        let length = match self.byte()? {
            253 => return Err(Fault::new(at, Problem::NotANumber)),
            254 => return Ok(f64::INFINITY),
            255 => return Ok(f64::NEG_INFINITY),
            length => length,
        };
        let text = self.take(u64::from(length))?;
        parse_f64(text).ok_or_else(|| Fault::new(at, Problem::DoubleText(text.into())))
    }
}

enum Head {
    Length(u64),
    Encoding(u8),
}

pub enum StringStart<'a> {
    /// So many bytes follow.
    Raw(u64),
    Whole(Stored<'a>),
}

/// A string in the form in which it lies in the payload.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    Raw(&'a [u8]),
    Integer(i32),
    /// `claimed` has been found plausible for these bytes, nothing more.
    Lzf {
        at: u64,
        compressed: &'a [u8],
        claimed: u64,
    },
}

impl<'a> Stored<'a> {
    #[inline]
    pub fn open(self) -> Result<RdbString<'a>, Fault> {
        match self {
            Stored::Raw(bytes) => Ok(RdbString::Raw(bytes)),
            Stored::Integer(value) => Ok(RdbString::Integer(IntegerText::new(value))),
            Stored::Lzf {
                at,
                compressed,
                claimed,
            } => match lzf::decompress(compressed, claimed) {
                Some(bytes) => Ok(RdbString::Decompressed(bytes)),
                None => {
                    let compressed = compressed.len() as u64;
                    let problem = Problem::Lzf {
                        compressed,
                        claimed,
                    };
                    Err(Fault::new(at, problem))
                }
            },
        }
    }
}

/// A string's bytes, borrowed where they lay there as they are.
#[derive(Clone, Debug)]
pub enum RdbString<'a> {
    Raw(&'a [u8]),
    /// Stored as a number; reads as its decimal text.
    Integer(IntegerText),
    Decompressed(Vec<u8>),
}

impl RdbString<'_> {
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            RdbString::Decompressed(bytes) => bytes,
            borrowed => borrowed.to_vec(),
        }
    }
}

impl Deref for RdbString<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            RdbString::Raw(bytes) => bytes,
            RdbString::Integer(text) => text,
            RdbString::Decompressed(bytes) => bytes,
        }
    }
}

/// Equal bytes are equal strings, however they were stored.
impl PartialEq for RdbString<'_> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for RdbString<'_> {}

/// A number and its decimal text, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct IntegerText {
    pub value: i32,
    length: u8,
    text: [u8; INTEGER_TEXT_MAX],
}

impl IntegerText {
    #[inline]
    pub fn new(value: i32) -> Self {
        let mut digits = Digits::new();
        let digits = digits.of(value);
        let mut text = [0; INTEGER_TEXT_MAX];
        text[..digits.len()].copy_from_slice(digits);
        IntegerText {
            value,
            length: digits.len() as u8,
            text,
        }
    }
}

impl Deref for IntegerText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
        let fault = result.expect_err("a fault");
        format!("{}: {}", fault.at, fault.problem)
    }

    #[test]
    fn long_forms_of_short_lengths_are_read() {
        for form in [
            &[0x05][..],
            &[0x40, 5],
            &[0x80, 0, 0, 0, 5],
            &[0x81, 0, 0, 0, 0, 0, 0, 0, 5],
        ] {
            assert_eq!(Reader::new(form).length(), Ok(5));
        }
    }

    #[test]
    fn bad_lengths_and_strings_are_refused_by_name() {
        assert_eq!(
            fault(Reader::new(&[0x82]).length()),
            "0: length form 0x82 is not assigned"
        );
        assert_eq!(
            fault(Reader::new(&[0xc0, 1]).length()),
            "0: length expected, string encoding 0xc0 found"
        );
        assert_eq!(
            fault(Reader::new(&[0xc4, 1]).string()),
            "0: string encoding 0xc4 is not assigned"
        );
        assert_eq!(
            fault(Reader::new(&[0x05, b'a']).string()),
            "1: 5 bytes expected, 1 byte left"
        );
        assert_eq!(
            fault(Reader::new(&[0x81, 0x40, 0, 0, 0, 0, 0, 0, 0]).string()),
            "0: string of 4611686018427387904 bytes claimed, at most 1073741824 are read"
        );
        assert_eq!(
            fault(Reader::new(&[0xc3, 3, 0x41, 0x09, 0, 0, 0]).string()),
            "0: string of 265 bytes claimed, 3 bytes of LZF cannot hold it"
        );
        let torn = Reader::new(&[0xc3, 3, 5, 0x02, b'a', b'b']).string();
        assert_eq!(
            fault(torn.and_then(Stored::open)),
            "0: 3 bytes of LZF do not decompress to the 5 bytes claimed"
        );
    }

    #[test]
    fn a_part_waits_for_more_unless_the_payload_ends_first() {
        let mut reader = Reader::part(&[5, b'a'], 100, u64::MAX, STRING_BYTES_MAX);
        assert_eq!(fault(reader.string()), "101: 5 bytes more have to arrive");
        let mut reader = Reader::part(&[5, b'a'], 100, 106, STRING_BYTES_MAX);
        assert_eq!(fault(reader.string()), "101: 5 bytes more have to arrive");
        let mut reader = Reader::part(&[5, b'a'], 100, 105, STRING_BYTES_MAX);
        assert_eq!(
            fault(reader.string()),
            "101: 5 bytes expected, 4 bytes left"
        );
    }

    #[test]
    fn doubles_read_in_both_forms() {
        for double in [0.0, -0.0, 1.5, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            let read = Reader::new(&double.to_le_bytes())
                .double()
                .expect("a number");
            assert_eq!(read.to_bits(), double.to_bits());
        }
        assert!(Reader::new(&f64::NAN.to_le_bytes()).double().is_err());
        for (text, double) in [
            (&b"\x033.5"[..], 3.5),
            (b"\x131.7976931348623e+30", 1.7976931348623e30),
            (b"\xfe", f64::INFINITY),
            (b"\xff", f64::NEG_INFINITY),
            (b"\x02-1", -1.0),
        ] {
            assert_eq!(Reader::new(text).double_text(), Ok(double));
        }
        assert_eq!(
            fault(Reader::new(b"\x03xyz").double_text()),
            "0: decimal number expected, \"xyz\" found"
        );
        assert!(fault(Reader::new(b"\xfd").double_text()).contains("not-a-number"));
        assert!(fault(Reader::new(b"\x03nan").double_text()).contains("\"nan\" found"));
    }
}
