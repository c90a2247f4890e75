//! Ziplists and zipmaps: the small collections of files from before Redis 7.0 and 2.6. Read only.
//!
//! Both are checked from end to end when they are opened, so that walking over one cannot fail. Checked is what the bytes
//! themselves claim (bounds, totals, counts, the chain of previous lengths), not what a collection wants of them: even
//! counts and unlike members are the business of whoever builds one.
//!
//! ```text
//! ziplist  total: u32 | offset of the last entry: u32 | count: u16 | entries | FF      integers little-endian
//!          entry = size of the previous entry (1 byte, or FE and u32) | encoding | data
//! zipmap   count: u8 | (length, field, length, unused: u8, value, unused bytes)... | FF
//!          length = 1 byte, or FE and u32
//! ```

use super::error::Problem;

/// A ziplist, valid from end to end.
#[derive(Clone, Copy, Debug)]
pub struct Ziplist<'a> {
    /// The entries without header and end byte.
    entries: &'a [u8],
}

/// One entry. An integer's text is its decimal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZiplistEntry<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

impl<'a> Ziplist<'a> {
    const HEADER_BYTES: usize = 10;
    const CONTAINER: &'static str = "ziplist";
    /// In the header's place of the count: too many for it.
    const COUNT_UNKNOWN: u16 = u16::MAX;

    pub fn open(blob: &'a [u8]) -> Result<Self, Problem> {
        let malformed = |at, expected| Problem::Malformed {
            container: Self::CONTAINER,
            at,
            expected,
        };
        let mut header = Cursor::new(blob);
        let (Some(total), Some(tail), Some(count)) = (header.u32(), header.u32(), header.u16())
        else {
            return Err(malformed(0, "a header of 10 bytes"));
        };
        let entries = match blob[Self::HEADER_BYTES..].split_last() {
            Some((0xff, entries)) => entries,
            _ => return Err(malformed(blob.len().saturating_sub(1), "the end byte ff")),
        };
        if total as usize != blob.len() {
            return Err(malformed(0, "the length of the blob"));
        }
        let mut cursor = Cursor::new(entries);
        let (mut previous, mut last, mut found) = (0, Self::HEADER_BYTES, 0u64);
        while !cursor.is_empty() {
            let start = cursor.position;
            let at = Self::HEADER_BYTES + start;
            match previous_length(&mut cursor) {
                Some(length) if length == previous => {}
                _ => return Err(malformed(at, "the size of the previous entry")),
            }
            if ziplist_entry(&mut cursor).is_none() {
                return Err(malformed(at, "an entry within the blob"));
            }
            previous = cursor.position - start;
            last = at;
            found += 1;
        }
        if tail as usize != last {
            return Err(malformed(4, "the offset of the last entry"));
        }
        if count != Self::COUNT_UNKNOWN && u64::from(count) != found {
            return Err(malformed(8, "the number of entries"));
        }
        Ok(Ziplist { entries })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = ZiplistEntry<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.entries);
        std::iter::from_fn(move || {
            previous_length(&mut cursor)?;
            ziplist_entry(&mut cursor)
        })
    }
}

fn previous_length(cursor: &mut Cursor) -> Option<usize> {
    match cursor.byte()? {
        0xfe => cursor.u32().map(|length| length as usize),
        0xff => None,
        length => Some(usize::from(length)),
    }
}

fn ziplist_entry<'a>(cursor: &mut Cursor<'a>) -> Option<ZiplistEntry<'a>> {
    use ZiplistEntry::{Bytes, Integer};
    let encoding = cursor.byte()?;
    let low = usize::from(encoding & 0x3f);
    Some(match encoding {
        0x00..=0x3f => Bytes(cursor.take(low)?),
        0x40..=0x7f => {
            let length = low << 8 | usize::from(cursor.byte()?);
            Bytes(cursor.take(length)?)
        }
        0x80 => {
            let length = u32::from_be_bytes(cursor.array()?);
            Bytes(cursor.take(length as usize)?)
        }
        0xc0 => Integer(i16::from_le_bytes(cursor.array()?).into()),
        0xd0 => Integer(i32::from_le_bytes(cursor.array()?).into()),
        0xe0 => Integer(i64::from_le_bytes(cursor.array()?)),
        0xf0 => {
            let [low, middle, high] = cursor.array()?;
            Integer((i32::from_le_bytes([0, low, middle, high]) >> 8).into())
        }
        0xfe => Integer(i8::from_le_bytes(cursor.array()?).into()),
        0xf1..=0xfd => Integer(i64::from(encoding & 0x0f) - 1),
        _ => return None,
    })
}

/// A zipmap, valid from end to end and not empty.
#[derive(Clone, Copy, Debug)]
pub struct Zipmap<'a> {
    /// The pairs without count and end byte.
    pairs: &'a [u8],
}

impl<'a> Zipmap<'a> {
    const CONTAINER: &'static str = "zipmap";
    /// In the place of the count: this many or more.
    const COUNT_UNKNOWN: u64 = 254;

    pub fn open(blob: &'a [u8]) -> Result<Self, Problem> {
        let malformed = |at, expected| Problem::Malformed {
            container: Self::CONTAINER,
            at,
            expected,
        };
        let Some((count, rest)) = blob.split_first() else {
            return Err(malformed(0, "a count"));
        };
        let pairs = match rest.split_last() {
            Some((0xff, pairs)) => pairs,
            _ => return Err(malformed(blob.len() - 1, "the end byte ff")),
        };
        let mut cursor = Cursor::new(pairs);
        let mut found = 0u64;
        while !cursor.is_empty() {
            let at = 1 + cursor.position;
            if zipmap_pair(&mut cursor).is_none() {
                return Err(malformed(at, "a field and a value within the blob"));
            }
            found += 1;
        }
        if found == 0 {
            return Err(malformed(1, "at least one field"));
        }
        let count = u64::from(*count);
        if count != found && count < Self::COUNT_UNKNOWN {
            return Err(malformed(0, "the number of fields"));
        }
        Ok(Zipmap { pairs })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new(self.pairs);
        std::iter::from_fn(move || zipmap_pair(&mut cursor))
    }
}

fn zipmap_pair<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let field_bytes = zipmap_length(cursor)?;
    let field = cursor.take(field_bytes)?;
    let value_bytes = zipmap_length(cursor)?;
    let unused = cursor.byte()?;
    let value = cursor.take(value_bytes)?;
    cursor.take(usize::from(unused))?;
    Some((field, value))
}

fn zipmap_length(cursor: &mut Cursor) -> Option<usize> {
    match cursor.byte()? {
        0xfe => cursor.u32().map(|length| length as usize),
        0xff => None,
        length => Some(usize::from(length)),
    }
}

/// A walk over a blob that cannot leave it.
struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, position: 0 }
    }

    fn is_empty(&self) -> bool {
        self.position == self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes[self.position..].get(..count)?;
        self.position += count;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.bytes[self.position..].first_chunk()?;
        self.position += N;
        Some(array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use ZiplistEntry::{Bytes, Integer};

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).expect("ascii"));
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
            .collect()
    }

    const EVERY_ENCODING: &str = "34 00 00 00 2f 00 00 00 0a 00 | 00 f1 | 02 fd | 02 fe 0d | 03 fe ff | 03 c0 2c 01 |
        04 f0 70 11 01 | 05 d0 00 00 80 00 | 06 e0 00 00 00 00 00 01 00 00 | 0a 00 | 02 02 61 62 | ff";
    const ZIPMAP: &str =
        "02 03 66 6f 6f 03 00 62 61 72 05 68 65 6c 6c 6f 05 02 77 6f 72 6c 64 00 00 ff";

    #[test]
    fn a_ziplist_with_every_integer_encoding_is_read() {
        let blob = hex(EVERY_ENCODING);
        let entries: Vec<ZiplistEntry> = Ziplist::open(&blob).expect("valid").iter().collect();
        let mut expected: Vec<ZiplistEntry> = [0, 12, 13, -1, 300, 70_000, 8_388_608, 1 << 40]
            .map(Integer)
            .to_vec();
        expected.extend([Bytes(b""), Bytes(b"ab")]);
        assert_eq!(entries, expected);
    }

    #[test]
    fn long_entries_use_the_long_forms() {
        let (middle, long) = (vec![b'm'; 300], vec![b'l'; 20_000]);
        let mut blob = vec![0; 10];
        blob.extend_from_slice(&[0x00, 0x41, 0x2c]);
        blob.extend_from_slice(&middle);
        let tail = blob.len();
        blob.extend_from_slice(&[0xfe, 0x2f, 0x01, 0, 0, 0x80, 0, 0, 0x4e, 0x20]);
        blob.extend_from_slice(&long);
        blob.push(0xff);
        let total = blob.len() as u32;
        blob[..4].copy_from_slice(&total.to_le_bytes());
        blob[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
        blob[8] = 2;
        let ziplist = Ziplist::open(&blob).expect("valid");
        assert!(ziplist.iter().eq([Bytes(&middle), Bytes(&long)]));
        blob[8..10].copy_from_slice(&[0xff, 0xff]);
        assert!(Ziplist::open(&blob).is_ok(), "an unknown count");
    }

    #[test]
    fn a_zipmap_is_read_over_its_unused_bytes() {
        let blob = hex(ZIPMAP);
        let pairs: Vec<_> = Zipmap::open(&blob).expect("valid").iter().collect();
        assert_eq!(pairs, [(&b"foo"[..], &b"bar"[..]), (b"hello", b"world")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ziplist = |text| Ziplist::open(&hex(text)).err().map(|p| p.to_string());
        let zipmap = |text| Zipmap::open(&hex(text)).err().map(|p| p.to_string());
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(
            ziplist("34"),
            said("ziplist, byte 0 of it: a header of 10 bytes expected")
        );
        assert_eq!(
            ziplist("11000000 0d000000 0200 000166 090176 ff"),
            said("ziplist, byte 13 of it: the size of the previous entry expected")
        );
        assert_eq!(
            ziplist("11000000 0d000000 0200 00c566 030176 ff"),
            said("ziplist, byte 10 of it: an entry within the blob expected")
        );
        assert_eq!(
            ziplist("11000000 0d000000 0300 000166 030176 ff"),
            said("ziplist, byte 8 of it: the number of entries expected")
        );
        assert_eq!(
            zipmap("01 05 61 01 00 62 ff"),
            said("zipmap, byte 1 of it: a field and a value within the blob expected")
        );
        assert_eq!(
            zipmap("00 ff"),
            said("zipmap, byte 1 of it: at least one field expected")
        );
        assert_eq!(zipmap(""), said("zipmap, byte 0 of it: a count expected"));
    }

    #[test]
    fn damaged_blobs_are_refused_or_walk_to_their_end() {
        let mut random = Random::from_seed(31);
        let whole = [hex(EVERY_ENCODING), hex(ZIPMAP)];
        for _ in 0..40_000 {
            let mut blob = whole[random.below(2) as usize].clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(blob.len() as u64) as usize;
                blob[at] = random.next_u64() as u8;
            }
            if random.chance(1, 4) {
                blob.truncate(random.below(blob.len() as u64 + 1) as usize);
            }
            if let Ok(ziplist) = Ziplist::open(&blob) {
                let bytes: usize = ziplist
                    .iter()
                    .map(|entry| match entry {
                        Bytes(bytes) => bytes.len() + 2,
                        Integer(_) => 2,
                    })
                    .sum();
                assert!(bytes < blob.len());
            }
            if let Ok(zipmap) = Zipmap::open(&blob) {
                assert!(zipmap.iter().count() > 0);
            }
        }
    }
}
