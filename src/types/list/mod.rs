//! Lists. A small one is one listpack; a large one a quicklist: chunks, each a listpack or one large element, in a
//! copy-on-write tree that finds them by position.
//!
//! A list becomes a quicklist when an element comes that its listpack may not take, and a listpack again when it has shrunk
//! to one packed chunk of half that size. Cloning one copies a listpack or shares a tree.
//!
//! Files in reading order: `limits` (how large a node may grow), `element` (in and out), `chunk`, `quicklist`, `walk`
//! (reading), `builder`. Knows nothing of keys, settings or commands: limits come as arguments.

mod builder;
mod chunk;
pub mod commands;
mod element;
mod limits;
pub mod position_commands;
mod quicklist;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use crate::compact::Listpack;
use crate::types::{Kind, Value};

use chunk::Chunk;
use quicklist::Quicklist;

pub use builder::ListBuilder;
pub use element::{Incoming, ListElement};
pub use limits::{End, Limits};
pub use walk::{Elements, ElementsBack, Node, Nodes};

/// A sequence of strings.
#[derive(Clone)]
pub struct List {
    form: Form,
}

#[derive(Clone)]
enum Form {
    Packed(Listpack),
    Quick(Box<Quicklist>),
}

impl List {
    pub fn new() -> Self {
        List::of_pack(Listpack::new())
    }

    /// A listpack as it is, in nodes of legal size.
    pub fn from_listpack(pack: Listpack, limits: Limits) -> Self {
        let mut builder = ListBuilder::new(limits);
        builder.push_listpack(pack);
        builder.finish()
    }

    fn of_pack(pack: Listpack) -> Self {
        List {
            form: Form::Packed(pack),
        }
    }

    fn of_chunks(chunks: Vec<Chunk>) -> Self {
        List {
            form: Form::Quick(Box::new(Quicklist::from_iter(chunks))),
        }
    }

    pub fn len(&self) -> usize {
        match &self.form {
            Form::Packed(pack) => pack.len(),
            Form::Quick(quick) => quick.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.form {
            Form::Packed(pack) => pack.is_empty(),
            Form::Quick(quick) => quick.len() == 0,
        }
    }

    /// The name that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match &self.form {
            Form::Packed(_) => "listpack",
            Form::Quick(_) => "quicklist",
        }
    }

    /// Bytes of heap behind the list, shared or not. Looks at every node.
    pub fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Packed(pack) => pack.heap_bytes(),
            Form::Quick(quick) => {
                let chunks = quick.chunks();
                let contents: usize = chunks.iter().map(Chunk::heap_bytes).sum();
                size_of::<Quicklist>() + chunks.heap_bytes() + contents
            }
        }
    }

    /// True if freeing the list takes long enough to be done in the background.
    pub fn is_big_to_free(&self) -> bool {
        match &self.form {
            Form::Packed(_) => false,
            Form::Quick(quick) => quick.chunks().items() > 64,
        }
    }

    // Reading.

    pub fn get(&self, index: usize) -> Option<ListElement<'_>> {
        match &self.form {
            Form::Packed(pack) => pack.get(index).map(ListElement::Packed),
            Form::Quick(quick) => quick.get(index),
        }
    }

    pub fn iter(&self) -> Elements<'_> {
        self.iter_from(0)
    }

    /// Elements from the one at `index` to the last.
    pub fn iter_from(&self, index: usize) -> Elements<'_> {
        match &self.form {
            Form::Packed(pack) => Elements::of_pack(pack, index),
            Form::Quick(quick) => Elements::of_chunks(quick.chunks().range(index as u64)),
        }
    }

    /// Elements from the one at `index` back to the first; none if there is none at `index`.
    pub fn iter_back_from(&self, index: usize) -> ElementsBack<'_> {
        if index >= self.len() {
            return ElementsBack::empty();
        }
        match &self.form {
            Form::Packed(pack) => ElementsBack::of_pack(pack, index),
            Form::Quick(quick) => ElementsBack::of_chunks(quick.chunks().range_back(index as u64)),
        }
    }

    /// Nodes in order: what RDB stores.
    pub fn nodes(&self) -> Nodes<'_> {
        match &self.form {
            Form::Packed(pack) => Nodes::of_pack(pack),
            Form::Quick(quick) => Nodes::of_chunks(quick.chunks()),
        }
    }

    pub fn node_count(&self) -> usize {
        match &self.form {
            Form::Packed(pack) => usize::from(!pack.is_empty()),
            Form::Quick(quick) => quick.chunks().items() as usize,
        }
    }

    // Changes at the ends.

    pub fn push(&mut self, end: End, element: Incoming, limits: Limits) {
        if let Form::Packed(pack) = &mut self.form
            && limits.admit(pack, element.element().entry_bytes())
        {
            return chunk::push_to(pack, end, element.element());
        }
        self.quicklist().push(end, element, limits);
    }

    /// Takes the element at one end out, after `look` has seen it.
    pub fn pop<R>(
        &mut self,
        end: End,
        limits: Limits,
        look: impl FnOnce(ListElement) -> R,
    ) -> Option<R> {
        match &mut self.form {
            Form::Packed(pack) => chunk::pop_from(pack, end, look),
            Form::Quick(quick) => {
                let result = quick.pop(end, look);
                self.shrink(limits);
                result
            }
        }
    }

    // Changes by position.

    /// Puts an element in front of the one at `index`; behind all, past the end.
    pub fn insert(&mut self, index: usize, element: Incoming, limits: Limits) {
        if let Form::Packed(pack) = &mut self.form
            && limits.admit(pack, element.element().entry_bytes())
        {
            return chunk::insert_into(pack, index, element.element());
        }
        self.quicklist().insert(index, element, limits);
    }

    /// Puts another element in the place of the one at `index`. False if there is none.
    pub fn set(&mut self, index: usize, element: Incoming, limits: Limits) -> bool {
        if index >= self.len() {
            return false;
        }
        if let Form::Packed(pack) = &mut self.form
            && let Some(place) = chunk::place_for(pack, index, element.element(), limits)
        {
            pack.replace(place, element.element());
            return true;
        }
        self.quicklist().set(index, element, limits);
        self.shrink(limits);
        true
    }

    /// Takes out the elements `from..to`; what there is of them. Returns the nodes that went whole, if any, for whoever wants
    /// to free them elsewhere.
    pub fn remove_range(&mut self, from: usize, to: usize, limits: Limits) -> Option<List> {
        let to = to.min(self.len());
        if from >= to {
            return None;
        }
        match &mut self.form {
            Form::Packed(pack) => {
                pack.remove_range(from, to - from);
                chunk::give_back_room(pack);
                None
            }
            Form::Quick(quick) => {
                let removed = quick.remove_range(from, to, limits);
                self.shrink(limits);
                (removed.len() > 0).then(|| List {
                    form: Form::Quick(Box::new(removed)),
                })
            }
        }
    }

    /// Takes out elements that are `text`: at most `most`, the nearest ones to `from`. Returns how many.
    pub fn remove_matching(
        &mut self,
        text: &[u8],
        from: End,
        most: usize,
        limits: Limits,
    ) -> usize {
        match &mut self.form {
            Form::Packed(pack) => chunk::remove_matching_from(pack, text, from, most),
            Form::Quick(quick) => {
                let removed = quick.remove_matching(text, from, most, limits);
                if removed > 0 {
                    self.shrink(limits);
                }
                removed
            }
        }
    }

    /// The quicklist that this list is, or becomes.
    fn quicklist(&mut self) -> &mut Quicklist {
        if let Form::Packed(pack) = &mut self.form {
            let mut chunks = Vec::new();
            if !pack.is_empty() {
                chunks.push(Chunk::from(std::mem::take(pack)));
            }
            *self = List::of_chunks(chunks);
        }
        match &mut self.form {
            Form::Quick(quick) => quick,
            Form::Packed(_) => unreachable!("it has just become a quicklist"),
        }
    }

    /// Becomes a listpack again where one small chunk is left.
    fn shrink(&mut self, limits: Limits) {
        let Form::Quick(quick) = &self.form else {
            return;
        };
        if quick.len() == 0 {
            *self = List::new();
        } else if let Some(Chunk::Packed(pack)) = quick.only_chunk()
            && limits.halved().allow(pack.byte_len(), pack.len())
        {
            // A clone takes no more room than it needs.
            *self = List::of_pack(Listpack::clone(pack));
        }
    }
}

impl Default for List {
    fn default() -> Self {
        List::new()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter
            .debug_struct("List")
            .field("encoding", &self.encoding())
            .field("len", &self.len())
            .finish()
    }
}

impl Kind for List {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::List(self)
    }
}
