//! How large a node of a list may grow, and the two ends at which lists are worked on.

use crate::compact::{Element, Listpack};

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

/// What one listpack of a list holds at most. Made from `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    bytes_max: usize,
    elements_max: usize,
}

impl Limits {
    /// Bytes that a listpack limited by its number of elements holds nevertheless at most.
    const SAFETY_BYTES: usize = 8 * 1024;

    /// Nodes of up to `bytes_max` bytes, as in 4 to 64 KiB.
    pub const fn bytes(bytes_max: usize) -> Self {
        Limits {
            bytes_max,
            elements_max: usize::MAX,
        }
    }

    /// Nodes of up to `elements_max` elements, and 8 KiB.
    pub const fn elements(elements_max: usize) -> Self {
        Limits {
            bytes_max: Self::SAFETY_BYTES,
            elements_max,
        }
    }

    /// Whether a listpack of that size is within the limits.
    pub fn allow(self, bytes: usize, elements: usize) -> bool {
        bytes <= self.bytes_max && elements <= self.elements_max
    }

    /// Whether `pack` may take one more entry of that size.
    pub fn admit(self, pack: &Listpack, entry_bytes: usize) -> bool {
        pack.byte_len() + entry_bytes <= self.bytes_max
            && (self.elements_max == usize::MAX || pack.len() < self.elements_max)
    }

    /// Whether `first` and `second` may become one listpack.
    pub fn admit_both(self, first: &Listpack, second: &Listpack) -> bool {
        let bytes = first.byte_len() + second.byte_len() - Listpack::EMPTY_BYTES;
        self.allow(bytes, first.len() + second.len())
    }

    /// Whether an element is too large for any listpack within the limits.
    pub fn exclude(self, element: Element) -> bool {
        let text_bytes = match element {
            Element::Int(_) => 0,
            Element::Str(text) => text.len(),
        };
        // The text alone decides about huge elements, whose entry has no size in the format.
        text_bytes > self.bytes_max
            || Listpack::EMPTY_BYTES + element.entry_bytes() > self.bytes_max
    }

    /// Half of everything: what has grown to a limit is joined again only when it has become much smaller.
    pub fn halved(self) -> Self {
        Limits {
            bytes_max: self.bytes_max / 2,
            elements_max: match self.elements_max {
                usize::MAX => usize::MAX,
                elements => elements / 2,
            },
        }
    }
}
