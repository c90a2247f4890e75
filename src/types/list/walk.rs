//! Reading a list in order: its elements from any place in either direction, or its nodes.

use bytes::Bytes;

use crate::compact::{self, Listpack};
use crate::cow::tree::{CowTree, Range};

use super::chunk::Chunk;
use super::element::ListElement;

/// Elements, towards the end or, with `FORWARD` false, towards the start. Allocates nothing.
pub struct Elements<'a, const FORWARD: bool = true> {
    chunks: Range<'a, Chunk, FORWARD>,
    /// What is left of one chunk.
    current: Current<'a>,
}

/// Elements from the back to the front.
pub type ElementsBack<'a> = Elements<'a, false>;

enum Current<'a> {
    Packed(compact::Iter<'a>),
    Plain(Option<&'a Bytes>),
}

/// A node of a list, as RDB has them.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    Packed(&'a Listpack),
    /// One large element.
    Plain(&'a Bytes),
}

impl<'a, const FORWARD: bool> Elements<'a, FORWARD> {
    pub(super) fn empty() -> Self {
        Elements {
            chunks: Range::default(),
            current: Current::Plain(None),
        }
    }

    /// From the element at `index`, which exists.
    pub(super) fn of_pack(pack: &'a Listpack, index: usize) -> Self {
        Elements {
            chunks: Range::default(),
            current: Current::Packed(part::<FORWARD>(pack, index)),
        }
    }

    /// From what `chunks` begins with, at the element that it was asked for.
    pub(super) fn of_chunks(mut chunks: Range<'a, Chunk, FORWARD>) -> Self {
        let offset = chunks.offset() as usize;
        let current = match chunks.next() {
            Some(Chunk::Packed(pack)) => Current::Packed(part::<FORWARD>(pack, offset)),
            Some(Chunk::Plain(bytes)) => Current::Plain(Some(bytes)),
            None => Current::Plain(None),
        };
        Elements { chunks, current }
    }
}

/// The part of a listpack that begins with the element at `index`.
fn part<const FORWARD: bool>(pack: &Listpack, index: usize) -> compact::Iter<'_> {
    if FORWARD {
        return pack.iter_from(pack.position(index).unwrap_or(pack.end()));
    }
    let mut all = pack.iter();
    for _ in index + 1..pack.len() {
        all.next_back();
    }
    all
}

impl<'a, const FORWARD: bool> Iterator for Elements<'a, FORWARD> {
    type Item = ListElement<'a>;

    #[inline]
    fn next(&mut self) -> Option<ListElement<'a>> {
        loop {
            match &mut self.current {
                Current::Packed(elements) => {
                    let next = if FORWARD {
                        elements.next()
                    } else {
                        elements.next_back()
                    };
                    if let Some(element) = next {
                        return Some(ListElement::Packed(element));
                    }
                }
                Current::Plain(bytes) => {
                    if let Some(bytes) = bytes.take() {
                        return Some(ListElement::Plain(bytes));
                    }
                }
            }
            self.current = match self.chunks.next()? {
                Chunk::Packed(pack) => Current::Packed(pack.iter()),
                Chunk::Plain(bytes) => Current::Plain(Some(bytes)),
            };
        }
    }
}

/// Nodes in order.
pub struct Nodes<'a> {
    only: Option<&'a Listpack>,
    chunks: Range<'a, Chunk>,
}

impl<'a> Nodes<'a> {
    pub(super) fn of_pack(pack: &'a Listpack) -> Self {
        Nodes {
            only: (!pack.is_empty()).then_some(pack),
            chunks: Range::default(),
        }
    }

    pub(super) fn of_chunks(chunks: &'a CowTree<Chunk>) -> Self {
        Nodes {
            only: None,
            chunks: chunks.iter(),
        }
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        if let Some(pack) = self.only.take() {
            return Some(Node::Packed(pack));
        }
        Some(match self.chunks.next()? {
            Chunk::Packed(pack) => Node::Packed(pack),
            Chunk::Plain(bytes) => Node::Plain(bytes),
        })
    }
}
