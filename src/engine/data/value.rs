//! Values as commands hold them: a string on its way in or as it lies in its entry, and guards for the other types, where
//! WRONGTYPE is found out.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;

use crate::cow::element::{Ref, RefMut};
use crate::engine::error::{CommandError, WRONG_TYPE};
use crate::keyspace::entry::{Content, Entry, View};
use crate::number;
use crate::protocol::reply::Reply;
use crate::types::string::{BIG_STRING_BYTES, BigString};
use crate::types::{Kind, Type, Value};

/// A string on its way into the keyspace.
#[derive(Clone, Copy)]
pub struct StringValue<'v> {
    pub bytes: &'v [u8],
    /// The same bytes, where they have a buffer that can be kept.
    pub shared: Option<&'v Bytes>,
}

impl<'v> StringValue<'v> {
    pub fn new(bytes: &'v [u8]) -> Self {
        StringValue {
            bytes,
            shared: None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        if self.bytes.len() > 20 {
            None
        } else {
            number::parse_i64(self.bytes)
        }
    }

    /// In the form in which it is stored: integer, inline, or in chunks.
    pub fn into_content(self) -> Content<'v> {
        if let Some(integer) = self.integer() {
            return Content::Int(integer);
        }
        match self.shared {
            Some(shared) if shared.len() >= BIG_STRING_BYTES => {
                Content::Value(Value::String(BigString::from_shared(shared.clone())))
            }
            _ => Content::Bytes(self.bytes),
        }
    }
}

/// A typed value inside an entry, for reading.
pub struct TypedRef<'e, T> {
    entry: Ref<'e, Entry>,
    kind: PhantomData<T>,
}

impl<'e, T: Kind> TypedRef<'e, T> {
    pub fn new(entry: Ref<'e, Entry>) -> Result<Self, CommandError> {
        match entry.view() {
            View::Value(value) if T::of(value).is_some() => Ok(TypedRef {
                entry,
                kind: PhantomData,
            }),
            _ => Err(WRONG_TYPE),
        }
    }
}

impl<T: Kind> Deref for TypedRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.entry.view() {
            View::Value(value) => T::of(value).expect("the type was checked when this was made"),
            _ => unreachable!("the type was checked when this was made"),
        }
    }
}

/// A typed value inside an entry, for writing.
pub struct TypedMut<'e, T> {
    entry: RefMut<'e, Entry>,
    kind: PhantomData<T>,
}

impl<'e, T: Kind> TypedMut<'e, T> {
    pub fn new(entry: RefMut<'e, Entry>) -> Result<Self, CommandError> {
        match entry.view() {
            View::Value(value) if T::of(value).is_some() => Ok(TypedMut {
                entry,
                kind: PhantomData,
            }),
            _ => Err(WRONG_TYPE),
        }
    }
}

impl<T: Kind> Deref for TypedMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.entry.view() {
            View::Value(value) => T::of(value).expect("the type was checked when this was made"),
            _ => unreachable!("the type was checked when this was made"),
        }
    }
}

impl<T: Kind> DerefMut for TypedMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.entry
            .value_mut()
            .and_then(T::of_mut)
            .expect("the type was checked when this was made")
    }
}

/// The string in an entry, or WRONGTYPE.
pub fn string_of(entry: &Entry) -> Result<Text<'_>, CommandError> {
    match entry.view() {
        View::Int(value) => Ok(Text::Int(value)),
        View::Bytes(bytes) => Ok(Text::Bytes(bytes)),
        View::Value(Value::String(string)) => Ok(Text::Big(string)),
        View::Value(_) => Err(WRONG_TYPE),
    }
}

/// True if the entry's value is of that type.
pub fn is_type(entry: &Entry, wanted: Type) -> bool {
    entry.type_of() == wanted
}

/// A string as it lies in its entry.
#[derive(Clone, Copy)]
pub enum Text<'e> {
    Int(i64),
    Bytes(&'e [u8]),
    Big(&'e BigString),
}

impl<'e> Text<'e> {
    pub fn len(&self) -> usize {
        match self {
            Text::Int(value) => itoa::Buffer::new().format(*value).len(),
            Text::Bytes(bytes) => bytes.len(),
            Text::Big(string) => string.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it in one piece; copied only where it does not lie in one.
    pub fn to_bytes(&self) -> Cow<'e, [u8]> {
        match self {
            Text::Bytes(bytes) => Cow::Borrowed(bytes),
            _ => Cow::Owned(self.to_vec()),
        }
    }

    /// The integer whose canonical text this is.
    pub fn to_integer(&self) -> Option<i64> {
        match self {
            Text::Int(value) => Some(*value),
            Text::Bytes(bytes) => number::parse_i64(bytes),
            Text::Big(_) => None,
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Text::Int(value) => itoa::Buffer::new().format(*value).as_bytes().to_vec(),
            Text::Bytes(bytes) => bytes.to_vec(),
            Text::Big(string) => string.to_vec(),
        }
    }

    pub fn reply(&self, reply: &mut Reply) {
        match self {
            Text::Int(value) => reply.bulk_integer(*value),
            Text::Bytes(bytes) => reply.bulk(bytes),
            Text::Big(string) => reply.bulk_pieces(string.len(), string.chunks().iter()),
        }
    }
}
