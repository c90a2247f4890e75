//! What a listpack holds, and how one entry of it is laid out in bytes.
//!
//! ```text
//! entry = encoding and data | backlen
//!
//! 0vvvvvvv                      integer 0..=127
//! 10LLLLLL bytes                string of up to 63 bytes
//! 110vvvvv vvvvvvvv             integer of 13 bits, signed, high bits first
//! 1110LLLL LLLLLLLL bytes       string of up to 4095 bytes, high bits of the length first
//! F0 L4 bytes                   string, 32-bit length, little endian
//! F1 v2 | F2 v3 | F3 v4 | F4 v8 signed integer of 16, 24, 32 or 64 bits, little endian
//! FF                            not an entry: the end of the listpack
//! ```
//!
//! Backlen is the size of encoding and data, in groups of seven bits written so that it can be read from its right end:
//! the leftmost group is the highest, and all bytes but the leftmost have bit 7 set.
//!
//! A string that is the canonical text of an integer is always written as that integer, so equal texts are equal entries
//! in whatever we write. Bytes from outside may hold wider forms than needed; every reader here takes them as they are.

use crate::number::{Digits, parse_i64};

/// One element of a listpack. Integers and strings are two spellings of bytes: `Int(12)` is the text `12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    Int(i64),
    Str(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The element as bytes, written into `digits` where it is an integer.
    pub fn text<'t>(self, digits: &'t mut Digits) -> &'t [u8]
    where
        'a: 't,
    {
        match self {
            Element::Int(value) => digits.of(value),
            Element::Str(text) => text,
        }
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.text(&mut Digits::new()).to_vec()
    }

    /// Bytes of its text.
    pub fn text_len(self) -> usize {
        self.text(&mut Digits::new()).len()
    }

    /// The integer, where the text is the canonical form of one.
    pub fn to_int(self) -> Option<i64> {
        match self {
            Element::Int(value) => Some(value),
            Element::Str(text) => parse_i64(text),
        }
    }

    /// Whether its text is `bytes`.
    pub fn is(self, bytes: &[u8]) -> bool {
        match self {
            Element::Int(value) => parse_i64(bytes) == Some(value),
            Element::Str(text) => text == bytes,
        }
    }

    /// The bytes that an entry for this element takes in a listpack.
    pub fn entry_bytes(self) -> usize {
        Entry::of(self).len()
    }
}

impl From<i64> for Element<'_> {
    fn from(value: i64) -> Self {
        Element::Int(value)
    }
}

impl<'a> From<&'a [u8]> for Element<'a> {
    fn from(text: &'a [u8]) -> Self {
        Element::Str(text)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Element<'a> {
    fn from(text: &'a [u8; N]) -> Self {
        Element::Str(text)
    }
}

impl<'a> From<&'a Vec<u8>> for Element<'a> {
    fn from(text: &'a Vec<u8>) -> Self {
        Element::Str(text)
    }
}

impl<'a> From<&'a str> for Element<'a> {
    fn from(text: &'a str) -> Self {
        Element::Str(text.as_bytes())
    }
}

/// An entry about to be written, in three pieces: a head (the whole of an integer), a string's bytes, the backlen.
pub(super) struct Entry<'a> {
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    text: &'a [u8],
    backlen: [u8; BACKLEN_BYTES_MAX],
    backlen_len: u8,
}

impl<'a> Entry<'a> {
    pub(super) fn of(element: Element<'a>) -> Self {
        let value = match element {
            Element::Int(value) => Some(value),
            Element::Str(text) => parse_i64(text),
        };
        let mut head = [0; HEAD_BYTES_MAX];
        let (head_len, text) = match (value, element) {
            (Some(value), _) | (None, Element::Int(value)) => {
                (write_int_head(&mut head, value), &[][..])
            }
            (None, Element::Str(text)) => (write_str_head(&mut head, text.len()), text),
        };
        let mut backlen = [0; BACKLEN_BYTES_MAX];
        let backlen_len = write_backlen(&mut backlen, head_len + text.len());
        Entry {
            head,
            head_len: head_len as u8,
            text,
            backlen,
            backlen_len: backlen_len as u8,
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.head_len) + self.text.len() + usize::from(self.backlen_len)
    }

    /// Appends the entry.
    pub(super) fn push_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.head[..usize::from(self.head_len)]);
        bytes.extend_from_slice(self.text);
        bytes.extend_from_slice(&self.backlen[..usize::from(self.backlen_len)]);
    }

    /// Overwrites `room`, which is exactly as long as the entry.
    pub(super) fn write_to(&self, room: &mut [u8]) {
        let (head, rest) = room.split_at_mut(usize::from(self.head_len));
        let (text, backlen) = rest.split_at_mut(self.text.len());
        head.copy_from_slice(&self.head[..usize::from(self.head_len)]);
        text.copy_from_slice(self.text);
        backlen.copy_from_slice(&self.backlen[..usize::from(self.backlen_len)]);
    }
}

/// The element whose entry starts `bytes`, and the size of its encoding and data. None where the first byte starts no
/// entry or `bytes` ends too early.
#[inline]
pub(super) fn read_element(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let (&first, rest) = bytes.split_first()?;
    Some(match first {
        0x00..=0x7f => (Element::Int(i64::from(first)), 1),
        0x80..=0xbf => read_str(bytes, 1, usize::from(first & 0x3f))?,
        0xc0..=0xdf => {
            let raw = (i64::from(first & 0x1f) << 8) | i64::from(*rest.first()?);
            (Element::Int(sign_extend(raw, 13)), 2)
        }
        0xe0..=0xef => {
            let len = (usize::from(first & 0x0f) << 8) | usize::from(*rest.first()?);
            read_str(bytes, 2, len)?
        }
        0xf0 => read_str(bytes, 5, little_endian(rest, 4)? as usize)?,
        0xf1 => (Element::Int(sign_extend(little_endian(rest, 2)?, 16)), 3),
        0xf2 => (Element::Int(sign_extend(little_endian(rest, 3)?, 24)), 4),
        0xf3 => (Element::Int(sign_extend(little_endian(rest, 4)?, 32)), 5),
        0xf4 => (Element::Int(little_endian(rest, 8)?), 9),
        0xf5..=0xff => return None,
    })
}

/// How many bytes the backlen of an entry takes whose encoding and data take `size`. The limits are one short of what
/// seven bits a byte would hold; a reader recomputes the count from the size, so they are part of the format.
#[inline]
pub(super) fn backlen_bytes(size: usize) -> usize {
    match size {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Writes the backlen for `size` to the start of `room` and says how many bytes it took.
#[inline]
pub(super) fn write_backlen(room: &mut [u8; BACKLEN_BYTES_MAX], size: usize) -> usize {
    let count = backlen_bytes(size);
    for (place, byte) in room[..count].iter_mut().rev().enumerate() {
        *byte = (size >> (7 * place)) as u8 | 0x80;
    }
    room[0] &= 0x7f;
    count
}

/// Reads a backlen from the right end of `bytes`: the size it states, and the bytes it takes itself.
#[inline]
pub(super) fn read_backlen(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut size = 0;
    for (place, &byte) in bytes.iter().rev().take(BACKLEN_BYTES_MAX).enumerate() {
        size |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((size, place + 1));
        }
    }
    None
}

fn write_int_head(head: &mut [u8; HEAD_BYTES_MAX], value: i64) -> usize {
    let (first, data_len) = match value {
        0..=127 => {
            head[0] = value as u8;
            return 1;
        }
        -4096..=4095 => {
            head[0] = 0xc0 | ((value >> 8) as u8 & 0x1f);
            head[1] = value as u8;
            return 2;
        }
        -0x8000..=0x7fff => (0xf1, 2),
        -0x80_0000..=0x7f_ffff => (0xf2, 3),
        -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
        _ => (0xf4, 8),
    };
    head[0] = first;
    head[1..=data_len].copy_from_slice(&value.to_le_bytes()[..data_len]);
    1 + data_len
}

fn write_str_head(head: &mut [u8; HEAD_BYTES_MAX], len: usize) -> usize {
    match len {
        0..=63 => {
            head[0] = 0x80 | len as u8;
            1
        }
        64..=4095 => {
            head[0] = 0xe0 | (len >> 8) as u8;
            head[1] = len as u8;
            2
        }
        _ => {
            let len = u32::try_from(len).expect("callers bound a listpack below 4 GiB");
            head[0] = 0xf0;
            head[1..5].copy_from_slice(&len.to_le_bytes());
            5
        }
    }
}

#[inline]
fn read_str(bytes: &[u8], head_len: usize, len: usize) -> Option<(Element<'_>, usize)> {
    let end = head_len.checked_add(len)?;
    Some((Element::Str(bytes.get(head_len..end)?), end))
}

#[inline]
fn little_endian(bytes: &[u8], count: usize) -> Option<i64> {
    let mut word = [0; 8];
    word[..count].copy_from_slice(bytes.get(..count)?);
    Some(i64::from_le_bytes(word))
}

#[inline]
fn sign_extend(raw: i64, bits: u32) -> i64 {
    (raw << (64 - bits)) >> (64 - bits)
}

/// The longest head: `F4` and 64 bits.
const HEAD_BYTES_MAX: usize = 9;
pub(super) const BACKLEN_BYTES_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(element: Element<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        Entry::of(element).push_to(&mut bytes);
        assert_eq!(bytes.len(), element.entry_bytes());
        let mut again = vec![0xaa; bytes.len()];
        Entry::of(element).write_to(&mut again);
        assert_eq!(again, bytes);
        bytes
    }

    #[test]
    fn each_width_of_integer_has_its_bytes() {
        for (value, bytes) in [
            (0, &[0x00, 0x01][..]),
            (127, &[0x7f, 0x01]),
            (128, &[0xc0, 0x80, 0x02]),
            (-1, &[0xdf, 0xff, 0x02]),
            (4095, &[0xcf, 0xff, 0x02]),
            (-4096, &[0xd0, 0x00, 0x02]),
            (4096, &[0xf1, 0x00, 0x10, 0x03]),
            (32768, &[0xf2, 0x00, 0x80, 0x00, 0x04]),
            (8_388_608, &[0xf3, 0x00, 0x00, 0x80, 0x00, 0x05]),
            (
                2_147_483_648,
                &[0xf4, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x09],
            ),
        ] {
            assert_eq!(entry(Element::Int(value)), bytes, "{value}");
        }
    }

    #[test]
    fn integers_at_every_edge_survive() {
        for bits in 0..64 {
            for value in [-1, 0, 1].map(|step| (1i64 << bits).wrapping_add(step)) {
                for value in [value, value.wrapping_neg()] {
                    let bytes = entry(Element::Int(value));
                    let (element, size) = read_element(&bytes).unwrap();
                    assert_eq!(element, Element::Int(value));
                    assert_eq!(read_backlen(&bytes), Some((size, bytes.len() - size)));
                }
            }
        }
    }

    #[test]
    fn strings_around_each_length_limit_survive() {
        for len in [
            0, 1, 62, 63, 64, 126, 127, 4095, 4096, 16_378, 16_379, 20_000,
        ] {
            let text = vec![b'x'; len];
            let bytes = entry(Element::Str(&text));
            let (element, size) = read_element(&bytes).unwrap();
            assert_eq!(element, Element::Str(&text));
            assert_eq!(read_backlen(&bytes), Some((size, bytes.len() - size)));
            assert!(read_element(&bytes[..size - 1]).is_none());
        }
    }

    #[test]
    fn backlens_have_the_formats_own_limits() {
        for (size, bytes) in [
            (127, &[0x7f][..]),
            (128, &[0x01, 0x80]),
            (16_382, &[0x7f, 0xfe]),
            (16_383, &[0x00, 0xff, 0xff]),
            (16_384, &[0x01, 0x80, 0x80]),
            (2_097_150, &[0x7f, 0xff, 0xfe]),
            (2_097_151, &[0x00, 0xff, 0xff, 0xff]),
            (268_435_455, &[0x00, 0xff, 0xff, 0xff, 0xff]),
        ] {
            let mut room = [0; BACKLEN_BYTES_MAX];
            let count = write_backlen(&mut room, size);
            assert_eq!(&room[..count], bytes, "{size}");
            assert_eq!(read_backlen(bytes), Some((size, count)), "{size}");
        }
    }

    #[test]
    fn text_that_spells_an_integer_becomes_one() {
        assert_eq!(entry(Element::Str(b"12")), entry(Element::Int(12)));
        assert_eq!(entry(Element::Str(b"012"))[0], 0x83);
        assert_eq!(entry(Element::Str(b"-0"))[0], 0x82);
        assert!(Element::Int(12).is(b"12"));
        assert!(!Element::Int(12).is(b"+12"));
        assert!(Element::Str(b"12").is(b"12"));
        assert_eq!(Element::Str(b"12").to_int(), Some(12));
        assert_eq!(Element::Int(-5).text_len(), 2);
    }
}
