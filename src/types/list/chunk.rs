//! A chunk: the unit of which large lists are made, and of which a change copies one where a snapshot still sees it.
//!
//! Invariant: a plain chunk holds one element that the limits in force when it came exclude from listpacks. A chunk of
//! weight 0 exists only while a tree is about to drop it.

use std::mem;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::compact::{Element, Listpack, Position};
use crate::cow::tree::Item;

use super::element::{Incoming, ListElement};
use super::limits::{End, Limits};

#[derive(Clone)]
pub enum Chunk {
    Packed(Arc<Listpack>),
    /// One large element.
    Plain(Bytes),
}

/// What replacing an element has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Done,
    /// Done, and the chunk may have become small enough to be joined with a neighbour.
    Shrunk,
    /// The new element does not fit; nothing has changed.
    Refused,
}

impl Item for Chunk {
    type Key = ();

    fn key(&self) {}

    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl Chunk {
    /// A chunk for one element.
    pub fn of(element: Incoming, limits: Limits) -> Self {
        if limits.exclude(element.element()) {
            return Chunk::Plain(element.to_bytes());
        }
        let mut pack = Listpack::with_capacity(element.element().entry_bytes());
        pack.push_back(element.element());
        Chunk::from(pack)
    }

    /// What an emptied chunk leaves behind; shared, so that making one allocates nothing.
    fn emptied() -> Self {
        static EMPTIED: LazyLock<Arc<Listpack>> = LazyLock::new(Arc::default);
        Chunk::Packed(EMPTIED.clone())
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Chunk::Packed(pack) => pack.len(),
            Chunk::Plain(_) => 1,
        }
    }

    /// Bytes of its contents.
    pub fn byte_len(&self) -> usize {
        match self {
            Chunk::Packed(pack) => pack.byte_len(),
            Chunk::Plain(bytes) => bytes.len(),
        }
    }

    /// Bytes of heap behind it, shared or not.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Chunk::Packed(pack) => ARC_BYTES + size_of::<Listpack>() + pack.heap_bytes(),
            Chunk::Plain(bytes) => bytes.len(),
        }
    }

    pub fn get(&self, offset: usize) -> Option<ListElement<'_>> {
        match self {
            Chunk::Packed(pack) => pack.get(offset).map(ListElement::Packed),
            Chunk::Plain(bytes) => (offset == 0).then_some(ListElement::Plain(bytes)),
        }
    }

    /// Adds an element at one end. False, and nothing has changed, where it does not fit.
    pub fn push(&mut self, end: End, element: Incoming, limits: Limits) -> bool {
        match self {
            Chunk::Packed(pack) if limits.admit(pack, element.element().entry_bytes()) => {
                push_to(Arc::make_mut(pack), end, element.element());
                true
            }
            _ => false,
        }
    }

    /// Puts an element in front of the one at `offset`. False, and nothing has changed, where it does not fit.
    pub fn insert(&mut self, offset: usize, element: Incoming, limits: Limits) -> bool {
        match self {
            Chunk::Packed(pack) if limits.admit(pack, element.element().entry_bytes()) => {
                insert_into(Arc::make_mut(pack), offset, element.element());
                true
            }
            _ => false,
        }
    }

    /// Puts another element in the place of the one at `offset`.
    pub fn replace(&mut self, offset: usize, element: Incoming, limits: Limits) -> Replaced {
        let excluded = limits.exclude(element.element());
        match self {
            Chunk::Packed(pack) if pack.len() > 1 => {
                match place_for(pack, offset, element.element(), limits) {
                    Some(place) => {
                        Arc::make_mut(pack).replace(place, element.element());
                        Replaced::Done
                    }
                    None => Replaced::Refused,
                }
            }
            // Alone in its chunk, so the chunk becomes whatever suits the new one.
            alone => {
                *alone = Chunk::of(element, limits);
                if excluded {
                    Replaced::Done
                } else {
                    Replaced::Shrunk
                }
            }
        }
    }

    /// Takes out up to `count` elements from `offset` on; returns how many.
    pub fn remove(&mut self, offset: usize, count: usize) -> usize {
        let len = self.len();
        if offset == 0 && count >= len {
            *self = Chunk::emptied();
            return len;
        }
        match self {
            Chunk::Packed(pack) => {
                let pack = Arc::make_mut(pack);
                let removed = pack.remove_range(offset, count);
                give_back_room(pack);
                removed
            }
            // A plain chunk's only element is at 0.
            Chunk::Plain(_) => 0,
        }
    }

    /// Shows the element at one end to `look` and takes it out.
    pub fn pop<R>(&mut self, end: End, look: impl FnOnce(ListElement) -> R) -> Option<R> {
        match self {
            Chunk::Packed(pack) if pack.len() > 1 => pop_from(Arc::make_mut(pack), end, look),
            _ => {
                let last = mem::replace(self, Chunk::emptied());
                last.get(0).map(look)
            }
        }
    }

    /// Takes out elements that are `text`: at most `most`, the nearest ones to `from`. Returns how many.
    pub fn remove_matching(&mut self, text: &[u8], from: End, most: usize) -> usize {
        match self {
            Chunk::Packed(pack) => {
                if pack.find(text, 0).is_none() {
                    return 0;
                }
                remove_matching_from(Arc::make_mut(pack), text, from, most)
            }
            Chunk::Plain(bytes) if most > 0 && bytes == text => {
                *self = Chunk::emptied();
                1
            }
            Chunk::Plain(_) => 0,
        }
    }

    /// Keeps the elements before `offset`, which lies inside, and returns the others.
    pub fn split_off(&mut self, offset: usize) -> Chunk {
        match self {
            Chunk::Packed(pack) => Chunk::from(Arc::make_mut(pack).split_off(offset)),
            // Inside means behind the first element, and a plain chunk has one.
            Chunk::Plain(_) => Chunk::emptied(),
        }
    }

    /// Whether this chunk and the next may become one.
    pub fn can_join(&self, next: &Chunk, limits: Limits) -> bool {
        match (self, next) {
            (Chunk::Packed(pack), Chunk::Packed(next)) => limits.admit_both(pack, next),
            _ => false,
        }
    }

    /// Adds the elements of the next chunk. Both are packed.
    pub fn join(&mut self, next: Chunk) {
        if let (Chunk::Packed(pack), Chunk::Packed(next)) = (self, next) {
            Arc::make_mut(pack).append(&next);
        }
    }
}

impl From<Listpack> for Chunk {
    fn from(pack: Listpack) -> Self {
        Chunk::Packed(Arc::new(pack))
    }
}

/// The two counts in front of what an `Arc` holds.
const ARC_BYTES: usize = 2 * size_of::<usize>();

// On one listpack, be it a chunk or a whole list.

pub fn push_to(pack: &mut Listpack, end: End, element: Element) {
    match end {
        End::Front => pack.push_front(element),
        End::Back => pack.push_back(element),
    }
}

pub fn insert_into(pack: &mut Listpack, index: usize, element: Element) {
    let place = pack.position(index).unwrap_or(pack.end());
    pack.insert(place, element);
}

/// Where the element at `index` lies, if another one fits in its place.
pub fn place_for(
    pack: &Listpack,
    index: usize,
    element: Element,
    limits: Limits,
) -> Option<Position> {
    let place = pack.position(index)?;
    if limits.exclude(element) {
        return None;
    }
    let kept = pack.byte_len() - pack.at(place).entry_bytes().min(pack.byte_len());
    let bytes = kept + element.entry_bytes();
    limits.allow(bytes, pack.len()).then_some(place)
}

pub fn pop_from<R>(
    pack: &mut Listpack,
    end: End,
    look: impl FnOnce(ListElement) -> R,
) -> Option<R> {
    let place = match end {
        End::Front => pack.first(),
        End::Back => pack.last(),
    }?;
    let result = look(ListElement::Packed(pack.at(place)));
    pack.remove(place);
    give_back_room(pack);
    Some(result)
}

/// As [`Chunk::remove_matching`]. Where there are several, the rest is written anew, so that a listpack full of them costs
/// one pass and not one move for each.
pub fn remove_matching_from(pack: &mut Listpack, text: &[u8], from: End, most: usize) -> usize {
    let wanted = Element::Str(text).to_int();
    let is_match = |element: Element| match element {
        Element::Int(value) => wanted == Some(value),
        Element::Str(found) => found == text,
    };
    let matching = pack.iter().filter(|element| is_match(*element)).count();
    let count = matching.min(most);
    if count == 0 {
        return 0;
    }
    if count == 1 {
        let place = match from {
            End::Front => pack.find(text, 0),
            End::Back => pack
                .entries()
                .rev()
                .find(|(_, element)| is_match(*element))
                .map(|(place, _)| place),
        };
        if let Some(place) = place {
            pack.remove(place);
        }
        return 1;
    }
    // Matches in front of the first one to go.
    let mut spared = match from {
        End::Front => 0,
        End::Back => matching - count,
    };
    let mut gone = 0;
    let mut kept = Listpack::with_capacity(0);
    for element in pack.iter() {
        if gone < count && is_match(element) {
            if spared == 0 {
                gone += 1;
                continue;
            }
            spared -= 1;
        }
        kept.push_back(element);
    }
    *pack = kept;
    count
}

/// Lets go of room where most of a listpack lies idle. What was removed by then pays for the move.
pub fn give_back_room(pack: &mut Listpack) {
    if pack.heap_bytes() > 4 * pack.byte_len() + 64 {
        pack.shrink_to_fit();
    }
}
