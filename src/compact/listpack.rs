//! A sequence of strings and integers in one allocation, in exactly the bytes that Redis writes into RDB files.
//!
//! ```text
//! total bytes, u32 LE | entries, u16 LE (65535: count them) | entry ... | FF
//! ```
//!
//! Invariants: the total is the length of the bytes, the last byte is `FF`, entries fill what is between without a gap,
//! every entry's backlen is right, and the count is right or 65535. [`Listpack::from_bytes`] checks all of them once; from
//! then on every walk trusts them, in either direction.
//!
//! An element is reached by a [`Position`], a byte offset in disguise. Costs: the ends and a step from a position are
//! constant, an index is a walk from the nearer end. Changes are in `change`.

use super::element::{
    BACKLEN_BYTES_MAX, Element, backlen_bytes, read_backlen, read_element, write_backlen,
};
use super::walk::{Entries, Iter, Pairs};
use super::{Malformed, size_class};
use crate::number::parse_i64;

#[derive(Clone, PartialEq, Eq)]
pub struct Listpack {
    pub(super) bytes: Vec<u8>,
}

/// Where an entry starts, or the end of the entries. A change moves what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u32);

impl Listpack {
    /// Above this Redis refuses to grow a listpack; a collection must have left it before.
    pub const BYTES_MAX: usize = 1 << 30;

    /// The size of an empty listpack.
    pub const EMPTY_BYTES: usize = HEADER_BYTES + 1;

    pub fn new() -> Self {
        Listpack::with_capacity(0)
    }

    /// Room for entries of `entry_bytes` in all (see [`Element::entry_bytes`]) before the first growth.
    pub fn with_capacity(entry_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(size_class(Listpack::EMPTY_BYTES + entry_bytes));
        bytes.extend_from_slice(&[Listpack::EMPTY_BYTES as u8, 0, 0, 0, 0, 0, END]);
        Listpack { bytes }
    }

    /// Takes bytes from outside after checking all of them. Entries wider than they need to be are legal and stay so.
    ///
    /// # Errors
    /// The first place where the bytes break an invariant.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Malformed> {
        if bytes.len() < Listpack::EMPTY_BYTES {
            let expected = format!("at least {} bytes", Listpack::EMPTY_BYTES);
            return Err(malformed(bytes.len(), expected, "the end"));
        }
        let mut pack = Listpack { bytes };
        let total = pack.header_total();
        if total != pack.bytes.len() {
            let expected = format!("a total of {}", pack.bytes.len());
            return Err(malformed(0, expected, total));
        }
        let end = total - 1;
        if pack.bytes[end] != END {
            return Err(malformed(end, "the end mark 255", pack.bytes[end]));
        }
        let mut count = 0;
        let mut offset = HEADER_BYTES;
        while offset < end {
            offset = check_entry(&pack.bytes[..end], offset)?;
            count += 1;
        }
        let stated = pack.header_count();
        if stated != COUNT_UNKNOWN && stated != count {
            return Err(malformed(4, format!("a count of {count}"), stated));
        }
        pack.set_count(count);
        Ok(pack)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes of the whole, as RDB stores it.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes held from the allocator.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives spare room back.
    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Whether entries of `entry_bytes` more stay within [`Listpack::BYTES_MAX`].
    pub fn has_room_for(&self, entry_bytes: usize) -> bool {
        self.bytes.len().saturating_add(entry_bytes) <= Listpack::BYTES_MAX
    }

    /// Elements. Constant below 65535 of them, a walk above.
    pub fn len(&self) -> usize {
        match self.header_count() {
            COUNT_UNKNOWN => self.entries().count(),
            count => count,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() == Listpack::EMPTY_BYTES
    }

    // Places.

    /// Of the first element, or the end.
    pub fn start(&self) -> Position {
        Position(HEADER_BYTES as u32)
    }

    /// Behind the last element.
    pub fn end(&self) -> Position {
        self.place(self.bytes.len() - 1)
    }

    pub fn first(&self) -> Option<Position> {
        (!self.is_empty()).then(|| self.start())
    }

    pub fn last(&self) -> Option<Position> {
        self.before(self.end())
    }

    /// Of the element behind the one at `position`; the end behind the last.
    ///
    /// # Panics
    /// As [`Listpack::at`].
    #[inline]
    pub fn after(&self, position: Position) -> Position {
        let size = self.entry(position).1;
        self.place(position.offset() + size + backlen_bytes(size))
    }

    /// Of the element before `position`, which may be the end.
    #[inline]
    pub fn before(&self, position: Position) -> Option<Position> {
        if position == self.start() {
            return None;
        }
        let (size, backlen) = read_backlen(&self.bytes[HEADER_BYTES..position.offset()])
            .expect("every entry ends in a backlen");
        Some(self.place(position.offset() - backlen - size))
    }

    /// Of the element at `index`, walking from the nearer end.
    pub fn position(&self, index: usize) -> Option<Position> {
        let count = self.header_count();
        if count == COUNT_UNKNOWN || index < count / 2 {
            return self.entries().nth(index).map(|(position, _)| position);
        }
        let from_back = count.checked_sub(index + 1)?;
        self.entries()
            .nth_back(from_back)
            .map(|(position, _)| position)
    }

    // Reading.

    /// The element at `position`.
    ///
    /// # Panics
    /// At the end. A position of another listpack, or from before a change, panics or gives another element.
    #[inline]
    pub fn at(&self, position: Position) -> Element<'_> {
        self.entry(position).0
    }

    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        self.position(index).map(|position| self.at(position))
    }

    pub fn front(&self) -> Option<Element<'_>> {
        self.first().map(|position| self.at(position))
    }

    pub fn back(&self) -> Option<Element<'_>> {
        self.last().map(|position| self.at(position))
    }

    /// The elements, from both ends.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self.entries())
    }

    /// The elements from `position` on, from both ends.
    pub fn iter_from(&self, position: Position) -> Iter<'_> {
        Iter::new(Entries::new(self, position))
    }

    /// The elements with their positions, from both ends.
    pub fn entries(&self) -> Entries<'_> {
        Entries::new(self, self.start())
    }

    /// Elements two by two, as a hash or a sorted set keeps them. A last one without a partner is left out.
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs::new(self.iter())
    }

    /// The first element whose text is `text`, leaving out `skip` elements after each one that is compared: 0 looks at
    /// all, 1 at the fields of a hash.
    pub fn find(&self, text: &[u8], skip: usize) -> Option<Position> {
        self.find_from(self.start(), text, skip)
    }

    /// As [`Listpack::find`], starting with the element at `from`.
    pub fn find_from(&self, from: Position, text: &[u8], skip: usize) -> Option<Position> {
        let value = parse_i64(text);
        let end = self.end();
        let mut position = from;
        while position != end {
            let (element, size) = self.entry(position);
            let found = match element {
                Element::Int(found) => value == Some(found),
                Element::Str(found) => found == text,
            };
            if found {
                return Some(position);
            }
            position = self.place(position.offset() + size + backlen_bytes(size));
            for _ in 0..skip {
                if position == end {
                    return None;
                }
                position = self.after(position);
            }
        }
        None
    }

    // Bytes.

    #[inline]
    pub(super) fn entry(&self, position: Position) -> (Element<'_>, usize) {
        read_element(&self.bytes[position.offset()..]).expect("an entry stands at this position")
    }

    #[inline]
    pub(super) fn place(&self, offset: usize) -> Position {
        debug_assert!((HEADER_BYTES..self.bytes.len()).contains(&offset));
        Position(offset as u32)
    }

    fn header_total(&self) -> usize {
        let [a, b, c, d, ..] = self.bytes[..] else {
            unreachable!("no listpack is shorter than its header")
        };
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    pub(super) fn header_count(&self) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[4], self.bytes[5]]))
    }

    pub(super) fn set_count(&mut self, count: usize) {
        let count = count.min(COUNT_UNKNOWN) as u16;
        self.bytes[4..6].copy_from_slice(&count.to_le_bytes());
    }
}

impl Position {
    #[inline]
    pub(super) fn offset(self) -> usize {
        self.0 as usize
    }
}

impl Default for Listpack {
    fn default() -> Self {
        Listpack::new()
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Checks the entry at `offset`; `bytes` ends where the end mark stands. Gives the offset behind the entry.
fn check_entry(bytes: &[u8], offset: usize) -> Result<usize, Malformed> {
    let Some((_, size)) = read_element(&bytes[offset..]) else {
        let found = match bytes[offset] {
            first @ 0xf5..=0xff => format!("{first}"),
            first => format!("{first} with {} bytes left", bytes.len() - offset),
        };
        return Err(malformed(offset, "a whole entry", found));
    };
    let mut backlen = [0; BACKLEN_BYTES_MAX];
    let backlen_len = write_backlen(&mut backlen, size);
    let (start, end) = (offset + size, offset + size + backlen_len);
    let found = &bytes[start..end.min(bytes.len())];
    if found != &backlen[..backlen_len] {
        let expected = format!("a backlen of {size}, {:02x?}", &backlen[..backlen_len]);
        return Err(malformed(start, expected, format!("{found:02x?}")));
    }
    Ok(end)
}

fn malformed(byte: usize, expected: impl ToString, found: impl ToString) -> Malformed {
    Malformed {
        structure: "listpack",
        byte,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

pub(super) const HEADER_BYTES: usize = 6;
pub(super) const END: u8 = 0xff;
/// The count that says: walk.
pub(super) const COUNT_UNKNOWN: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pack: &Listpack) -> Vec<String> {
        pack.iter()
            .map(|element| String::from_utf8(element.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn bytes_are_those_of_redis() {
        let mut pack = Listpack::new();
        assert_eq!(pack.as_bytes(), [7, 0, 0, 0, 0, 0, 0xff]);
        for value in [
            0,
            127,
            128,
            -1,
            4095,
            -4096,
            4096,
            32_768,
            8_388_608,
            1 << 31,
        ] {
            pack.push_back(value);
        }
        pack.push_back("");
        pack.push_back("ab");
        let bytes: &[u8] = &[
            0x36, 0, 0, 0, 0x0c, 0, // header
            0x00, 0x01, 0x7f, 0x01, 0xc0, 0x80, 0x02, 0xdf, 0xff, 0x02, 0xcf, 0xff, 0x02, 0xd0,
            0x00, 0x02, 0xf1, 0x00, 0x10, 0x03, 0xf2, 0x00, 0x80, 0x00, 0x04, 0xf3, 0x00, 0x00,
            0x80, 0x00, 0x05, 0xf4, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00,
            0x09, // integers
            0x80, 0x01, 0x82, 0x61, 0x62, 0x03, 0xff, // strings, end
        ];
        assert_eq!(pack.as_bytes(), bytes);
        assert_eq!(Listpack::from_bytes(bytes.to_vec()), Ok(pack));
    }

    #[test]
    fn hash_and_sorted_set_blobs_read_as_pairs() {
        let hash =
            Listpack::from_bytes(b"\x0d\0\0\0\x02\0\x81f\x02\x81v\x02\xff".to_vec()).unwrap();
        assert_eq!(
            hash.pairs().next(),
            Some((Element::Str(b"f"), Element::Str(b"v")))
        );
        let zset: &[u8] = b"\x1c\0\0\0\x04\0\x83one\x04\x01\x01\x87onehalf\x08\x831.5\x04\xff";
        let zset = Listpack::from_bytes(zset.to_vec()).unwrap();
        let backward: Vec<_> = zset
            .pairs()
            .rev()
            .map(|(member, _)| member.to_vec())
            .collect();
        assert_eq!(backward, [b"onehalf".to_vec(), b"one".to_vec()]);
        assert_eq!(zset.get(1), Some(Element::Int(1)));
    }

    #[test]
    fn find_steps_over_what_it_is_told_to_skip() {
        let pack: Listpack = ["a", "b", "b", "7", "7", "a"].into_iter().collect();
        assert_eq!(pack.find(b"b", 0), pack.position(1));
        assert_eq!(pack.find(b"b", 1), pack.position(2));
        assert_eq!(pack.find(b"7", 0), pack.position(3));
        assert_eq!(pack.find(b"7", 1), pack.position(4));
        assert_eq!(pack.find(b"07", 0), None);
        assert_eq!(pack.find(b"7", 4), None);
        let from = pack.position(1).unwrap();
        assert_eq!(pack.find_from(from, b"a", 0), pack.position(5));
        assert_eq!(pack.find_from(pack.end(), b"a", 0), None);
    }

    #[test]
    fn positions_step_both_ways() {
        let pack: Listpack = ["x", "12", "yy"].into_iter().collect();
        let second = pack.after(pack.first().unwrap());
        assert_eq!(pack.at(second), Element::Int(12));
        assert_eq!(pack.before(second), pack.first());
        assert_eq!(pack.before(pack.start()), None);
        assert_eq!(pack.after(pack.last().unwrap()), pack.end());
        assert_eq!(Listpack::new().first(), None);
        assert_eq!(Listpack::new().last(), None);
        assert_eq!(pack.position(3), None);
    }

    #[test]
    fn the_count_gives_up_at_65535_and_is_found_again_on_load() {
        let mut pack = Listpack::new();
        for index in 0..65_540 {
            pack.push_back(index & 63);
        }
        assert_eq!(pack.as_bytes()[4..6], [0xff, 0xff]);
        assert_eq!(pack.len(), 65_540);
        assert_eq!(pack.get(65_539), Some(Element::Int(65_539 & 63)));
        assert_eq!(pack.get(65_540), None);
        let rest = pack.split_off(65_000);
        assert_eq!((pack.len(), rest.len()), (65_000, 540));
        assert_eq!(pack.as_bytes()[4..6], 65_000u16.to_le_bytes());
        pack.append(&rest);
        pack.remove_range(0, 65_000);
        assert_eq!(pack.len(), 540);
        let loaded = Listpack::from_bytes(pack.into_bytes()).unwrap();
        assert_eq!(loaded, rest);
    }

    #[test]
    fn entries_wider_than_needed_are_read_as_they_are() {
        // The string "12", the integer 5 in 64 bits, and "a" with a 32-bit length.
        let bytes = b"\x1c\0\0\0\x03\0\x8212\x03\xf4\x05\0\0\0\0\0\0\0\x09\xf0\x01\0\0\0a\x06\xff";
        let pack = Listpack::from_bytes(bytes.to_vec()).unwrap();
        assert_eq!(texts(&pack), ["12", "5", "a"]);
        assert_eq!(pack.find(b"12", 0), pack.first());
        assert_eq!(pack.find(b"5", 0), pack.position(1));
    }

    #[test]
    fn damage_is_reported_with_its_place() {
        let good: Listpack = ["ab", "300", "c"].into_iter().collect();
        let damaged = |byte: usize, value: u8| {
            let mut bytes = good.as_bytes().to_vec();
            bytes[byte] = value;
            Listpack::from_bytes(bytes).unwrap_err().to_string()
        };
        let last = good.byte_len() - 1;
        assert_eq!(
            damaged(0, 9),
            "listpack: byte 0: expected a total of 17, found 9"
        );
        assert_eq!(
            damaged(4, 2),
            "listpack: byte 4: expected a count of 3, found 2"
        );
        assert_eq!(
            damaged(last, 0),
            "listpack: byte 16: expected the end mark 255, found 0"
        );
        assert_eq!(
            damaged(6, 0xf7),
            "listpack: byte 6: expected a whole entry, found 247"
        );
        assert_eq!(
            damaged(13, 0x85),
            "listpack: byte 13: expected a whole entry, found 133 with 3 bytes left"
        );
        assert_eq!(
            damaged(9, 4),
            "listpack: byte 9: expected a backlen of 3, [03], found [04]"
        );
        assert_eq!(
            Listpack::from_bytes(vec![6, 0, 0, 0, 0, 0])
                .unwrap_err()
                .to_string(),
            "listpack: byte 6: expected at least 7 bytes, found the end"
        );
    }
}
