//! Changes to a listpack. Each is one move of the bytes behind it; pushing at the back moves only the end mark.
//!
//! No change here asks how large a listpack should grow: whoever owns one compares [`Element::entry_bytes`] with its own
//! limits first.

use super::element::{Element, Entry};
use super::listpack::{COUNT_UNKNOWN, END, HEADER_BYTES, Listpack, Position};
use super::size_class;

impl Listpack {
    pub fn push_back<'e>(&mut self, element: impl Into<Element<'e>>) {
        let entry = Entry::of(element.into());
        self.reserve(entry.len());
        self.bytes.pop();
        entry.push_to(&mut self.bytes);
        self.bytes.push(END);
        self.update_header(1, 0);
    }

    pub fn push_front<'e>(&mut self, element: impl Into<Element<'e>>) {
        self.insert(self.start(), element);
    }

    /// Puts an element before the one at `position`, or behind all at the end. It then stands at `position` itself.
    pub fn insert<'e>(&mut self, position: Position, element: impl Into<Element<'e>>) {
        let entry = Entry::of(element.into());
        entry.write_to(self.splice(position.offset(), 0, entry.len()));
        self.update_header(1, 0);
    }

    /// Puts another element in the place of the one at `position`.
    ///
    /// # Panics
    /// As [`Listpack::at`].
    pub fn replace<'e>(&mut self, position: Position, element: impl Into<Element<'e>>) {
        let entry = Entry::of(element.into());
        let old = self.after(position).offset() - position.offset();
        entry.write_to(self.splice(position.offset(), old, entry.len()));
        self.update_header(0, 0);
    }

    /// Takes out the element at `position`, where the one behind it then stands.
    ///
    /// # Panics
    /// As [`Listpack::at`].
    pub fn remove(&mut self, position: Position) {
        let end = self.after(position);
        self.remove_span(position, end, 1);
    }

    /// Takes out up to `count` elements from `position` on, and says how many. The first one behind them then stands at
    /// `position`.
    pub fn remove_many(&mut self, position: Position, count: usize) -> usize {
        let end = self.end();
        let (mut behind, mut removed) = (position, 0);
        while removed < count && behind != end {
            behind = self.after(behind);
            removed += 1;
        }
        self.remove_span(position, behind, removed);
        removed
    }

    /// Takes out up to `count` elements from `index` on, and says how many.
    pub fn remove_range(&mut self, index: usize, count: usize) -> usize {
        match self.position(index) {
            Some(position) => self.remove_many(position, count),
            None => 0,
        }
    }

    /// Keeps the elements before `index` and returns the others.
    pub fn split_off(&mut self, index: usize) -> Listpack {
        let position = self.position(index).unwrap_or(self.end());
        let len = self.len();
        let kept = index.min(len);
        let moved = &self.bytes[position.offset()..];
        let mut rest = Listpack::with_capacity(moved.len() - 1);
        rest.bytes.truncate(HEADER_BYTES);
        rest.bytes.extend_from_slice(moved);
        rest.update_header(0, 0);
        rest.set_count(len - kept);
        self.bytes.truncate(position.offset());
        self.bytes.push(END);
        self.update_header(0, 0);
        self.set_count(kept);
        rest
    }

    /// Adds all elements of `other` at the back.
    pub fn append(&mut self, other: &Listpack) {
        let moved = &other.bytes[HEADER_BYTES..];
        self.reserve(moved.len() - 1);
        self.bytes.pop();
        self.bytes.extend_from_slice(moved);
        self.update_header(other.len(), 0);
    }

    /// Takes out everything and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
        self.bytes.push(END);
        self.update_header(0, 0);
        self.set_count(0);
    }

    fn remove_span(&mut self, from: Position, to: Position, count: usize) {
        self.splice(from.offset(), to.offset() - from.offset(), 0);
        self.update_header(0, count);
    }

    /// Turns the `old` bytes at `offset` into `new` ones of any content, moving what is behind them.
    fn splice(&mut self, offset: usize, old: usize, new: usize) -> &mut [u8] {
        let len = self.bytes.len();
        if new > old {
            self.reserve(new - old);
            self.bytes.resize(len + new - old, END);
        }
        if new != old {
            self.bytes.copy_within(offset + old..len, offset + new);
        }
        self.bytes.truncate(len + new - old);
        &mut self.bytes[offset..offset + new]
    }

    /// Makes room for `more` bytes. Growth goes from one size class of the allocator to the next, an eighth at least:
    /// no byte lies idle that the allocator would not waste anyway, and pushing stays linear in all.
    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        assert!(
            u32::try_from(needed).is_ok(),
            "a listpack of {needed} bytes has no place for its total"
        );
        if needed > self.bytes.capacity() {
            let wanted = size_class(needed);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }

    /// Brings the header up to date with the bytes and with a count that changed.
    fn update_header(&mut self, added: usize, removed: usize) {
        let total = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        let count = self.header_count();
        if count != COUNT_UNKNOWN {
            self.set_count(count + added - removed);
        }
    }
}

impl<'e, E: Into<Element<'e>>> Extend<E> for Listpack {
    fn extend<T: IntoIterator<Item = E>>(&mut self, elements: T) {
        for element in elements {
            self.push_back(element);
        }
    }
}

impl<'e, E: Into<Element<'e>>> FromIterator<E> for Listpack {
    fn from_iter<T: IntoIterator<Item = E>>(elements: T) -> Self {
        let mut pack = Listpack::new();
        pack.extend(elements);
        pack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_element_leaves_its_position_to_the_next() {
        let mut pack: Listpack = ["a", "b", "c", "d"].into_iter().collect();
        let second = pack.position(1).unwrap();
        pack.remove(second);
        assert_eq!(pack.at(second), Element::Str(b"c"));
        assert_eq!(pack.remove_many(second, 9), 2);
        assert_eq!(second, pack.end());
        assert_eq!(pack.iter().collect::<Vec<_>>(), [Element::Str(b"a")]);
        assert_eq!(pack.remove_range(1, 1), 0);
    }

    #[test]
    fn growth_keeps_to_the_allocators_sizes() {
        for (bytes, class) in [
            (7, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (256, 256),
            (257, 320),
            (1025, 1280),
        ] {
            assert_eq!(size_class(bytes), class);
        }
        let mut pack = Listpack::new();
        assert_eq!(pack.heap_bytes(), 16);
        for _ in 0..1000 {
            pack.push_back("some text");
        }
        assert_eq!(pack.heap_bytes(), size_class(pack.byte_len()));
        pack.shrink_to_fit();
        assert_eq!(pack.heap_bytes(), pack.byte_len());
    }
}
