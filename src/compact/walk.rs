//! Walks over a listpack: elements, elements with their positions, pairs. All from both ends, all without allocation.

use super::element::{Element, backlen_bytes};
use super::listpack::{Listpack, Position};

/// Elements with their positions.
#[derive(Clone)]
pub struct Entries<'a> {
    pack: &'a Listpack,
    front: Position,
    back: Position,
}

impl<'a> Entries<'a> {
    pub(super) fn new(pack: &'a Listpack, from: Position) -> Self {
        Entries {
            pack,
            front: from,
            back: pack.end(),
        }
    }

    /// Where the next element from the front stands, or the end of the walk.
    pub fn position(&self) -> Position {
        self.front
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Position, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        let position = self.front;
        let (element, size) = self.pack.entry(position);
        self.front = self
            .pack
            .place(position.offset() + size + backlen_bytes(size));
        Some((position, element))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        self.back = self.pack.before(self.back)?;
        Some((self.back, self.pack.at(self.back)))
    }
}

/// Elements.
#[derive(Clone)]
pub struct Iter<'a>(Entries<'a>);

impl<'a> Iter<'a> {
    pub(super) fn new(entries: Entries<'a>) -> Self {
        Iter(entries)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        self.0.next().map(|(_, element)| element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(_, element)| element)
    }
}

/// Elements two by two.
#[derive(Clone)]
pub struct Pairs<'a>(Iter<'a>);

impl<'a> Pairs<'a> {
    pub(super) fn new(iter: Iter<'a>) -> Self {
        Pairs(iter)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Element<'a>, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// From the back. Only right for an even number of elements.
impl DoubleEndedIterator for Pairs<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let second = self.0.next_back()?;
        Some((self.0.next_back()?, second))
    }
}
