//! A sorted array of integers, all of the width that the widest of them has needed, in the bytes that Redis writes.
//!
//! ```text
//! width in bytes, u32 LE: 2, 4 or 8 | members, u32 LE | member, signed LE ...
//! ```
//!
//! Invariants: members ascend strictly; the length is that of the header and its members. The width never shrinks, so
//! members may be narrower than it.

use std::cmp::Ordering;

use super::{Malformed, size_class};

#[derive(Clone, PartialEq, Eq)]
pub struct Intset {
    bytes: Vec<u8>,
}

impl Intset {
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(size_class(HEADER_BYTES));
        bytes.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
        Intset { bytes }
    }

    /// Takes bytes from outside after checking all of them. A set without members is legal here.
    ///
    /// # Errors
    /// The first place where the bytes break an invariant.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Malformed> {
        let Some((header, members)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            let expected = format!("at least {HEADER_BYTES} bytes");
            return Err(malformed(bytes.len(), expected, "the end"));
        };
        let [w0, w1, w2, w3, c0, c1, c2, c3] = *header;
        let width = u32::from_le_bytes([w0, w1, w2, w3]);
        if !matches!(width, 2 | 4 | 8) {
            return Err(malformed(0, "a width of 2, 4 or 8", width));
        }
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        if u64::from(count) * u64::from(width) != members.len() as u64 {
            let expected = format!("as many members of {width} bytes as {} hold", members.len());
            return Err(malformed(4, expected, count));
        }
        let set = Intset { bytes };
        let mut previous = None;
        for (index, member) in set.iter().enumerate() {
            if let Some(previous) = previous
                && previous >= member
            {
                let byte = HEADER_BYTES + index * width as usize;
                return Err(malformed(byte, format!("more than {previous}"), member));
            }
            previous = Some(member);
        }
        Ok(set)
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

    pub fn len(&self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / self.width()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The member with `index` smaller ones.
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.member(index))
    }

    /// Ascending, from both ends.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + '_ {
        (0..self.len()).map(|index| self.member(index))
    }

    /// Says whether `value` was not a member yet.
    pub fn insert(&mut self, value: i64) -> bool {
        let Err(index) = self.search(value) else {
            return false;
        };
        if width_of(value) > self.width() {
            self.widen(width_of(value));
        }
        let (width, len) = (self.width(), self.bytes.len());
        self.reserve(width);
        let at = HEADER_BYTES + index * width;
        self.bytes.resize(len + width, 0);
        self.bytes.copy_within(at..len, at + width);
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.update_count();
        true
    }

    /// Says whether `value` was a member.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else {
            return false;
        };
        let width = self.width();
        let at = HEADER_BYTES + index * width;
        self.bytes.copy_within(at + width.., at);
        self.bytes.truncate(self.bytes.len() - width);
        self.update_count();
        true
    }

    fn width(&self) -> usize {
        usize::from(self.bytes[0])
    }

    fn member(&self, index: usize) -> i64 {
        let members = &self.bytes[HEADER_BYTES..];
        match self.width() {
            2 => i64::from(i16::from_le_bytes(members.as_chunks().0[index])),
            4 => i64::from(i32::from_le_bytes(members.as_chunks().0[index])),
            _ => i64::from_le_bytes(members.as_chunks().0[index]),
        }
    }

    /// The index of `value`, or the one it would have. Where it does not fit the width, that is one of the ends.
    fn search(&self, value: i64) -> Result<usize, usize> {
        let members = &self.bytes[HEADER_BYTES..];
        match self.width() {
            2 => search(members, value, |bytes| i16::from_le_bytes(bytes).into()),
            4 => search(members, value, |bytes| i32::from_le_bytes(bytes).into()),
            _ => search(members, value, i64::from_le_bytes),
        }
    }

    /// Rewrites all members with `width` bytes each, from the last to the first, so that none is overwritten unread.
    fn widen(&mut self, width: usize) {
        let (old, len) = (self.width(), self.len());
        // The caller is about to add one more.
        self.reserve((len + 1) * width - len * old);
        self.bytes.resize(HEADER_BYTES + len * width, 0);
        for index in (0..len).rev() {
            let member = self.member(index);
            let at = HEADER_BYTES + index * width;
            self.bytes[at..at + width].copy_from_slice(&member.to_le_bytes()[..width]);
        }
        self.bytes[0] = width as u8;
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            self.bytes
                .reserve_exact(size_class(needed) - self.bytes.len());
        }
    }

    fn update_count(&mut self) {
        let count = u32::try_from(self.len()).expect("members are 32 bits of count at most");
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

impl Default for Intset {
    fn default() -> Self {
        Intset::new()
    }
}

impl std::fmt::Debug for Intset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Extend<i64> for Intset {
    fn extend<T: IntoIterator<Item = i64>>(&mut self, members: T) {
        for member in members {
            self.insert(member);
        }
    }
}

impl FromIterator<i64> for Intset {
    fn from_iter<T: IntoIterator<Item = i64>>(members: T) -> Self {
        let mut set = Intset::new();
        set.extend(members);
        set
    }
}

fn search<const WIDTH: usize>(
    members: &[u8],
    value: i64,
    read: impl Fn([u8; WIDTH]) -> i64,
) -> Result<usize, usize> {
    let (members, _) = members.as_chunks::<WIDTH>();
    // Sets are often filled in ascending order.
    match members.last().map(|&last| read(last).cmp(&value)) {
        None => Err(0),
        Some(Ordering::Less) => Err(members.len()),
        Some(Ordering::Equal) => Ok(members.len() - 1),
        Some(Ordering::Greater) => members.binary_search_by(|&member| read(member).cmp(&value)),
    }
}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

fn malformed(byte: usize, expected: impl ToString, found: impl ToString) -> Malformed {
    Malformed {
        structure: "intset",
        byte,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

const HEADER_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_redis() {
        let set: Intset = [5, 1, 3, 3].into_iter().collect();
        let bytes = [2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 3, 0, 5, 0];
        assert_eq!(set.as_bytes(), bytes);
        assert_eq!(Intset::from_bytes(bytes.to_vec()), Ok(set));
    }

    #[test]
    fn the_width_grows_with_the_widest_and_stays() {
        let mut set: Intset = [-1, 7].into_iter().collect();
        assert!(set.insert(-32_769));
        assert_eq!(set.as_bytes()[0], 4);
        assert!(set.insert(1 << 31));
        assert_eq!(set.as_bytes()[0], 8);
        assert!(set.iter().eq([-32_769, -1, 7, 1 << 31]));
        assert!(set.remove(1 << 31) && set.remove(-32_769) && !set.remove(-32_769));
        assert_eq!(set.byte_len(), 8 + 2 * 8);
        assert!(set.iter().rev().eq([7, -1]));
    }

    #[test]
    fn edges_of_each_width_are_members() {
        let edges = [
            i64::MIN,
            i32::MIN.into(),
            i16::MIN.into(),
            i16::MAX.into(),
            i32::MAX.into(),
            i64::MAX,
        ];
        for order in [
            edges.iter().rev().copied().collect::<Vec<_>>(),
            edges.to_vec(),
        ] {
            let set: Intset = order.into_iter().collect();
            assert!(set.iter().eq(edges));
            assert!(
                edges
                    .iter()
                    .all(|&edge| set.contains(edge) && !set.contains(edge ^ 1))
            );
        }
        let narrow: Intset = [0].into_iter().collect();
        assert!(!narrow.contains(1 << 16) && !narrow.contains(1 << 32));
    }

    #[test]
    fn damage_is_reported_with_its_place() {
        let error = |bytes: &[u8]| Intset::from_bytes(bytes.to_vec()).unwrap_err().to_string();
        assert_eq!(
            error(&[2, 0]),
            "intset: byte 2: expected at least 8 bytes, found the end"
        );
        assert_eq!(
            error(&[3, 0, 0, 0, 0, 0, 0, 0]),
            "intset: byte 0: expected a width of 2, 4 or 8, found 3"
        );
        assert_eq!(
            error(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0]),
            "intset: byte 4: expected as many members of 2 bytes as 2 hold, found 2"
        );
        assert_eq!(
            error(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0]),
            "intset: byte 10: expected more than 1, found 1"
        );
        assert_eq!(
            error(&[8, 0, 0, 0, 0, 0, 0, 0x20]),
            "intset: byte 4: expected as many members of 8 bytes as 0 hold, found 536870912"
        );
    }
}
