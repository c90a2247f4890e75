//! Building a list from what a file or a command holds, node by node or element by element.

use bytes::Bytes;

use crate::compact::{Element, Listpack};

use super::List;
use super::chunk::Chunk;
use super::element::Incoming;
use super::limits::Limits;

/// Takes elements in order and lays them out within the limits. A node of a file stays whole where it is of a size that
/// some setting allows.
pub struct ListBuilder {
    limits: Limits,
    full: Vec<Chunk>,
    /// The last node, still growing.
    open: Listpack,
}

impl ListBuilder {
    /// The largest node that any setting allows.
    const NODE_BYTES_MAX: usize = 64 * 1024;

    pub fn new(limits: Limits) -> Self {
        ListBuilder {
            limits,
            full: Vec::new(),
            open: Listpack::new(),
        }
    }

    pub fn push(&mut self, element: Incoming) {
        if self.limits.exclude(element.element()) {
            self.close();
            self.full.push(Chunk::Plain(element.to_bytes()));
            return;
        }
        if !self
            .limits
            .admit(&self.open, element.element().entry_bytes())
        {
            self.close();
        }
        self.open.push_back(element.element());
    }

    /// A node with one element, as RDB has it. It is packed with its neighbours where it is small.
    pub fn push_plain(&mut self, element: Bytes) {
        self.push(Incoming::from(&element));
    }

    /// A node with many elements. An empty one adds nothing; an oversized one is laid out anew.
    pub fn push_listpack(&mut self, pack: Listpack) {
        if pack.is_empty() {
            return;
        }
        if !self.open.is_empty() && self.limits.admit_both(&self.open, &pack) {
            self.open.append(&pack);
        } else if pack.byte_len() <= Self::NODE_BYTES_MAX && pack.len() > 1 {
            self.close();
            self.open = pack;
        } else {
            for element in pack.iter() {
                match element {
                    Element::Str(text) => self.push(Incoming::new(text)),
                    Element::Int(value) => {
                        let mut digits = itoa::Buffer::new();
                        self.push(Incoming::new(digits.format(value).as_bytes()));
                    }
                }
            }
        }
    }

    /// The list; empty if nothing was pushed.
    pub fn finish(mut self) -> List {
        if self.full.is_empty() && self.limits.allow(self.open.byte_len(), self.open.len()) {
            self.open.shrink_to_fit();
            return List::of_pack(self.open);
        }
        self.close();
        List::of_chunks(self.full)
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let mut full = std::mem::take(&mut self.open);
            full.shrink_to_fit();
            self.full.push(Chunk::from(full));
        }
    }
}
