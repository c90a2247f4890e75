//! Elements on their way into a list and out of it.

use bytes::Bytes;

use crate::compact::Element;

/// An element to be stored.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    pub bytes: &'a [u8],
    /// The same bytes, where they have a buffer of their own: a large element is kept in it.
    pub shared: Option<&'a Bytes>,
}

impl<'a> Incoming<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Incoming {
            bytes,
            shared: None,
        }
    }

    pub fn element(self) -> Element<'a> {
        Element::Str(self.bytes)
    }

    pub fn to_bytes(self) -> Bytes {
        match self.shared {
            Some(shared) => shared.clone(),
            None => Bytes::copy_from_slice(self.bytes),
        }
    }
}

impl<'a> From<&'a Bytes> for Incoming<'a> {
    fn from(bytes: &'a Bytes) -> Self {
        Incoming {
            bytes,
            shared: Some(bytes),
        }
    }
}

/// An element as it lies in its list.
#[derive(Clone, Copy, Debug)]
pub enum ListElement<'a> {
    /// In a listpack.
    Packed(Element<'a>),
    /// By itself, because it is large.
    Plain(&'a Bytes),
}

impl<'a> ListElement<'a> {
    pub fn element(self) -> Element<'a> {
        match self {
            ListElement::Packed(element) => element,
            ListElement::Plain(bytes) => Element::Str(bytes),
        }
    }

    /// Whether its bytes are those of `text`.
    pub fn is(self, text: &[u8]) -> bool {
        match self {
            ListElement::Packed(element) => element.is(text),
            ListElement::Plain(bytes) => bytes == text,
        }
    }

    pub fn to_bytes(self) -> Bytes {
        match self {
            ListElement::Packed(element) => Bytes::from(element.to_vec()),
            ListElement::Plain(bytes) => bytes.clone(),
        }
    }
}
