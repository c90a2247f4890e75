//! Lengths, strings and doubles, written: the counterpart of [`super::primitive`].
//!
//! Everything takes its shortest form, as the servers write it: what another reader finds here it has seen before.

use crate::number::{Digits, parse_i64};

use super::lzf;
use super::primitive::INTEGER_TEXT_MAX;

/// Bytes of records in the making.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
    /// Whether strings of more than [`lzf::PLAIN_BYTES_MAX`] bytes are tried with LZF: `rdbcompression`.
    pub compress: bool,
}

impl Writer {
    pub fn new(compress: bool) -> Self {
        Writer {
            bytes: Vec::new(),
            compress,
        }
    }

    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[inline]
    pub fn length(&mut self, length: u64) {
        let (form, used) = length_form(length);
        self.bytes.extend_from_slice(&form[..used]);
    }

    /// A string in its smallest form: a number, compressed, or verbatim.
    #[inline]
    pub fn string(&mut self, string: &[u8]) {
        if let Some(integer) = small_integer(string) {
            return self.integer(i64::from(integer));
        }
        if !(self.compress && string.len() > lzf::PLAIN_BYTES_MAX && self.compressed(string)) {
            self.length(string.len() as u64);
            self.bytes.extend_from_slice(string);
        }
    }

    /// The string that is this number's decimal text.
    pub fn integer(&mut self, value: i64) {
        if let Ok(value) = i8::try_from(value) {
            self.bytes.extend_from_slice(&[0xc0, value as u8]);
        } else if let Ok(value) = i16::try_from(value) {
            self.bytes.push(0xc1);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.bytes.push(0xc2);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        } else {
            let mut digits = Digits::new();
            let text = digits.of(value);
            self.length(text.len() as u64);
            self.bytes.extend_from_slice(text);
        }
    }

    /// Compresses into place behind a gap for the longest head it may need, then closes what the head has left of the gap.
    fn compressed(&mut self, string: &[u8]) -> bool {
        let limit = string.len() - lzf::SAVED_BYTES_MIN;
        let (ulen, ulen_bytes) = length_form(string.len() as u64);
        let start = self.bytes.len();
        let body = start + 1 + length_form(limit as u64).1 + ulen_bytes;
        self.bytes.resize(body, 0xc3);
        if !lzf::compress(string, limit, &mut self.bytes) {
            self.bytes.truncate(start);
            return false;
        }
        let clen = self.bytes.len() - body;
        let (clen_form, clen_bytes) = length_form(clen as u64);
        let ulen_at = start + 1 + clen_bytes;
        self.bytes[start + 1..ulen_at].copy_from_slice(&clen_form[..clen_bytes]);
        let head_end = ulen_at + ulen_bytes;
        self.bytes[ulen_at..head_end].copy_from_slice(&ulen[..ulen_bytes]);
        if head_end < body {
            self.bytes.copy_within(body.., head_end);
            self.bytes.truncate(head_end + clen);
        }
        true
    }

    pub fn double(&mut self, double: f64) {
        self.bytes.extend_from_slice(&double.to_le_bytes());
    }
}

/// The shortest form of a length, and how many of the bytes it takes.
#[inline]
fn length_form(length: u64) -> ([u8; 9], usize) {
    let mut form = [0; 9];
    let used = match length {
        0..=0x3f => {
            form[0] = length as u8;
            1
        }
        0x40..=0x3fff => {
            form[..2].copy_from_slice(&(0x4000 | length as u16).to_be_bytes());
            2
        }
        0x4000..=0xffff_ffff => {
            form[0] = 0x80;
            form[1..5].copy_from_slice(&(length as u32).to_be_bytes());
            5
        }
        _ => {
            form[0] = 0x81;
            form[1..].copy_from_slice(&length.to_be_bytes());
            9
        }
    };
    (form, used)
}

/// The number whose text this is, if it is one that has a short form.
fn small_integer(text: &[u8]) -> Option<i32> {
    if text.len() > INTEGER_TEXT_MAX {
        return None;
    }
    i32::try_from(parse_i64(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::rdb::primitive::{Reader, Stored};

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new(true);
        write(&mut writer);
        writer.bytes
    }

    #[test]
    fn lengths_take_their_shortest_form_and_read_back() {
        for (length, form) in [
            (0, &[0x00][..]),
            (63, &[0x3f]),
            (64, &[0x40, 0x40]),
            (16383, &[0x7f, 0xff]),
            (16384, &[0x80, 0, 0, 0x40, 0]),
            (0xffff_ffff, &[0x80, 0xff, 0xff, 0xff, 0xff]),
            (1 << 32, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
            (u64::MAX, &[0x81, 255, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            assert_eq!(written(|w| w.length(length)), form);
            let mut reader = Reader::new(form);
            assert_eq!(reader.length(), Ok(length));
            assert_eq!(reader.left(), 0);
        }
    }

    #[test]
    fn strings_take_the_forms_that_servers_write() {
        for (string, form) in [
            (&b""[..], &[0x00][..]),
            (b"0", &[0xc0, 0]),
            (b"-128", &[0xc0, 0x80]),
            (b"128", &[0xc1, 0x80, 0]),
            (b"12345", &[0xc1, 0x39, 0x30]),
            (b"-32769", &[0xc2, 0xff, 0x7f, 0xff, 0xff]),
            (b"2147483647", &[0xc2, 0xff, 0xff, 0xff, 0x7f]),
            (b"-2147483648", &[0xc2, 0, 0, 0, 0x80]),
            (b"2147483648", b"\x0a2147483648"),
            (b"-0", b"\x02-0"),
            (b"-", b"\x01-"),
            (b"007", b"\x03007"),
            (b"+1", b"\x02+1"),
            (b"aaaaaaaaaaaaaaaaaaaa", b"\x14aaaaaaaaaaaaaaaaaaaa"),
        ] {
            assert_eq!(written(|w| w.string(string)), form);
            let read = Reader::new(form).string().and_then(Stored::open);
            assert_eq!(&read.expect("just written")[..], string);
        }
        assert_eq!(written(|w| w.integer(1 << 40)), b"\x0d1099511627776");
        assert_eq!(written(|w| w.integer(-129)), written(|w| w.string(b"-129")));
    }

    #[test]
    fn compressed_strings_read_back_and_save_at_least_four_bytes() {
        let mut random = Random::from_seed(21);
        for round in 0..600 {
            let length = random.below(1 + round * 50) as usize;
            let alphabet = 1 + random.below(90);
            let string: Vec<u8> = (0..length).map(|_| random.below(alphabet) as u8).collect();
            let mut bytes = written(|w| w.string(&string));
            if bytes[0] == 0xc3 {
                let compressed = Reader::new(&bytes[1..]).length().expect("just written");
                assert!(compressed as usize + lzf::SAVED_BYTES_MIN <= length);
                assert!(length > lzf::PLAIN_BYTES_MAX);
            }
            bytes.push(b'!');
            let mut reader = Reader::new(&bytes);
            let read = reader
                .string()
                .and_then(Stored::open)
                .expect("just written");
            assert_eq!(&read[..], string);
            assert_eq!(reader.left(), 1);
        }
        assert_eq!(written(|w| w.string(&[b'a'; 100])).len(), 4 + 5);
        assert_eq!(written(|w| w.string(&[b'a'; 21]))[0], 0xc3);
    }
}
