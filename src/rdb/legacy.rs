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

use crate::compact::Malformed;

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
    /// In the header's place of the count: too many for it.
    const COUNT_UNKNOWN: u16 = u16::MAX;

    pub fn open(blob: &'a [u8]) -> Result<Self, Malformed> {
        let mut header = Cursor::new(blob);
        let (Some(total), Some(tail), Some(count)) = (header.u32(), header.u32(), header.u16())
        else {
            return Err(wrong("ziplist", 0, "a header of 10 bytes", blob.len()));
        };
        let entries = before_end("ziplist", blob, Self::HEADER_BYTES)?;
        if total as usize != blob.len() {
            let expected = format!("its length, {}", blob.len());
            return Err(wrong("ziplist", 0, expected, total));
        }
        let mut cursor = Cursor::new(entries);
        let (mut previous, mut last, mut found) = (0, Self::HEADER_BYTES, 0u64);
        while !cursor.is_empty() {
            let start = cursor.position;
            let at = Self::HEADER_BYTES + start;
            match previous_length(&mut cursor) {
                Some(length) if length == previous => {}
                other => {
                    let expected = format!("the size of the previous entry, {previous}");
                    let other = other.map_or("none".to_owned(), |length| length.to_string());
                    return Err(wrong("ziplist", at, expected, other));
                }
            }
            let encoding = entries.get(cursor.position).copied().unwrap_or(0xff);
            if ziplist_entry(&mut cursor).is_none() {
                let found = format!("encoding {encoding:#04x}");
                return Err(wrong("ziplist", at, "an entry within it", found));
            }
            previous = cursor.position - start;
            last = at;
            found += 1;
        }
        if tail as usize != last {
            let expected = format!("the offset of the last entry, {last}");
            return Err(wrong("ziplist", 4, expected, tail));
        }
        if count != Self::COUNT_UNKNOWN && u64::from(count) != found {
            let expected = format!("the number of entries, {found}");
            return Err(wrong("ziplist", 8, expected, count));
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
    /// In the place of the count: this many or more.
    const COUNT_UNKNOWN: u64 = 254;

    pub fn open(blob: &'a [u8]) -> Result<Self, Malformed> {
        let Some(&count) = blob.first() else {
            return Err(wrong("zipmap", 0, "a count", "nothing"));
        };
        let pairs = before_end("zipmap", blob, 1)?;
        let mut cursor = Cursor::new(pairs);
        let mut found = 0u64;
        while !cursor.is_empty() {
            let at = 1 + cursor.position;
            if zipmap_pair(&mut cursor).is_none() {
                let found = format!("{} bytes", pairs.len() + 1 - at);
                return Err(wrong("zipmap", at, "a field and a value within it", found));
            }
            found += 1;
        }
        if found == 0 {
            return Err(wrong("zipmap", 1, "at least one field", "none"));
        }
        let count = u64::from(count);
        if count != found && count < Self::COUNT_UNKNOWN {
            let expected = format!("the number of fields, {found}");
            return Err(wrong("zipmap", 0, expected, count));
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

/// What stands between a header of so many bytes and the end byte.
fn before_end<'a>(
    structure: &'static str,
    blob: &'a [u8],
    header_bytes: usize,
) -> Result<&'a [u8], Malformed> {
    match blob[header_bytes..].split_last() {
        Some((0xff, between)) => Ok(between),
        Some((other, _)) => Err(wrong(structure, blob.len() - 1, "the end byte ff", other)),
        None => Err(wrong(structure, blob.len(), "the end byte ff", "nothing")),
    }
}

fn wrong(
    structure: &'static str,
    byte: usize,
    expected: impl ToString,
    found: impl ToString,
) -> Malformed {
    Malformed {
        structure,
        byte,
        expected: expected.to_string(),
        found: found.to_string(),
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
            said("ziplist: byte 0: expected a header of 10 bytes, found 1")
        );
        assert_eq!(
            ziplist("11000000 0d000000 0200 000166 090176 ff"),
            said("ziplist: byte 13: expected the size of the previous entry, 3, found 9")
        );
        assert_eq!(
            ziplist("11000000 0d000000 0200 00c566 030176 ff"),
            said("ziplist: byte 10: expected an entry within it, found encoding 0xc5")
        );
        assert_eq!(
            ziplist("11000000 0d000000 0300 000166 030176 ff"),
            said("ziplist: byte 8: expected the number of entries, 2, found 3")
        );
        assert_eq!(
            zipmap("01 05 61 01 00 62 ff"),
            said("zipmap: byte 1: expected a field and a value within it, found 5 bytes")
        );
        assert_eq!(
            zipmap("00 ff"),
            said("zipmap: byte 1: expected at least one field, found none")
        );
        assert_eq!(
            zipmap(""),
            said("zipmap: byte 0: expected a count, found nothing")
        );
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
