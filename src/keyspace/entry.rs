//! One allocation per key: header, optional expiry, key, and the value itself where it is small.
//!
//! ```text
//! count u32 | access 24 bits, kind 8 bits | [expiry i64] | key length varint | key | value
//!
//! value by kind:  Int8..Int64   1, 2, 4 or 8 bytes
//!                 Bytes         length varint, bytes
//!                 Boxed         8 bytes: a Box<Value>
//! ```
//!
//! Invariants: an entry that is shared (count > 1) is never written to, but for its access field, which is a relaxed
//! atomic outside of what a snapshot means. The allocation's size follows from its contents.
#![allow(
    unsafe_code,
    reason = "variable-size reference-counted allocation; all of it is in this file behind a safe type"
)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use crate::clock::UnixMillis;
use crate::cow::element::Element;
use crate::memory;
use crate::types::string::{BIG_STRING_BYTES, BigString};
use crate::types::{Type, Value};

/// A key with its value and expiry. Cloning shares the allocation.
#[repr(transparent)]
pub struct Entry(NonNull<Header>);

#[repr(C)]
struct Header {
    count: AtomicU32,
    /// The low 8 bits are the kind and its flags; the high 24 are LRU or LFU data.
    meta: AtomicU32,
}

/// What an entry holds, looked at.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Value(&'a Value),
}

/// What an entry is made of.
pub enum Content<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    /// A string that was changed by parts: never an integer, and `raw` to OBJECT ENCODING however short it is.
    Edited(&'a [u8]),
    Value(Value),
}

const KIND_MASK: u32 = 0x07;
const HAS_EXPIRY: u32 = 0x08;
const EDITED: u32 = 0x10;
const ACCESS_SHIFT: u32 = 8;

const INT_8: u32 = 0;
const INT_16: u32 = 1;
const INT_32: u32 = 2;
const INT_64: u32 = 3;
const BYTES: u32 = 4;
const BOXED: u32 = 5;

const HEADER_BYTES: usize = size_of::<Header>();

// SAFETY: the contents are plain bytes and a Box<Value>, which is Send and Sync; counts and access are atomics.
unsafe impl Send for Entry {}
// SAFETY: as above; a shared entry is only read.
unsafe impl Sync for Entry {}

impl Entry {
    pub fn new(key: &[u8], expiry: Option<UnixMillis>, content: Content) -> Self {
        match content {
            Content::Int(value) => Self::with_int(key, expiry, value),
            Content::Bytes(bytes) | Content::Edited(bytes) if bytes.len() >= BIG_STRING_BYTES => {
                Self::with_box(key, expiry, Box::new(Value::String(BigString::new(bytes))))
            }
            Content::Bytes(bytes) => Self::with_bytes(key, expiry, BYTES, bytes),
            Content::Edited(bytes) => Self::with_bytes(key, expiry, BYTES | EDITED, bytes),
            Content::Value(value) => Self::with_box(key, expiry, Box::new(value)),
        }
    }

    pub fn key(&self) -> &[u8] {
        let (start, length) = self.key_place();
        // SAFETY: the key's bytes were written when the entry was made and are inside its allocation.
        unsafe { std::slice::from_raw_parts(self.base().add(start), length) }
    }

    pub fn expiry(&self) -> Option<UnixMillis> {
        if self.meta() & HAS_EXPIRY == 0 {
            return None;
        }
        // SAFETY: the flag says that eight bytes of expiry follow the header.
        Some(UnixMillis(unsafe {
            self.base().add(HEADER_BYTES).cast::<i64>().read_unaligned()
        }))
    }

    /// Whether the entry's time has passed.
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expiry().is_some_and(|at| at < now)
    }

    pub fn view(&self) -> View<'_> {
        let start = self.value_start();
        // SAFETY: each kind wrote exactly what is read here at this place when the entry was made; a boxed value lives as
        // long as the entry.
        unsafe {
            let place = self.base().add(start);
            match self.meta() & KIND_MASK {
                INT_8 => View::Int(i64::from(place.cast::<i8>().read_unaligned())),
                INT_16 => View::Int(i64::from(place.cast::<i16>().read_unaligned())),
                INT_32 => View::Int(i64::from(place.cast::<i32>().read_unaligned())),
                INT_64 => View::Int(place.cast::<i64>().read_unaligned()),
                BYTES => {
                    let (length, used) = read_varint(place);
                    View::Bytes(std::slice::from_raw_parts(place.add(used), length))
                }
                _ => View::Value(&*place.cast::<*const Value>().read_unaligned()),
            }
        }
    }

    pub fn type_of(&self) -> Type {
        match self.view() {
            View::Value(value) => value.type_of(),
            _ => Type::String,
        }
    }

    /// The boxed value for writing; a shared entry is copied first. `None` for inline strings.
    pub fn value_mut(&mut self) -> Option<&mut Value> {
        if self.meta() & KIND_MASK != BOXED {
            return None;
        }
        self.make_unique();
        let start = self.value_start();
        // SAFETY: the kind says that a Box<Value> lies here, and the entry is not shared, so nobody else refers to it.
        unsafe { Some(&mut *self.base().add(start).cast::<*mut Value>().read_unaligned()) }
    }

    /// Replaces the value; key, expiry and access bits stay.
    pub fn set_content(&mut self, content: Content) {
        let changed = Self::new(self.key(), self.expiry(), content);
        changed.set_access(self.access());
        *self = changed;
    }

    /// Overwrites an inline string in place where the entry is not shared and the new one takes the same room.
    pub fn try_overwrite(&mut self, bytes: &[u8]) -> bool {
        if self.meta() & KIND_MASK != BYTES || !self.is_unique() || bytes.len() >= BIG_STRING_BYTES
        {
            return false;
        }
        let start = self.value_start();
        // SAFETY: the kind says that a varint and so many bytes lie here; the entry is not shared; the new value ends
        // inside the same allocation because its rounded size is equal.
        unsafe {
            let place = self.base().add(start);
            let (old_length, used) = read_varint(place);
            if old_length != bytes.len() {
                let old_total = layout_of(start + used + old_length).size();
                let new_used = varint_bytes(bytes.len());
                if layout_of(start + new_used + bytes.len()).size() != old_total {
                    return false;
                }
                write_varint(place, bytes.len());
                ptr::copy_nonoverlapping(bytes.as_ptr(), place.add(new_used), bytes.len());
            } else {
                ptr::copy_nonoverlapping(bytes.as_ptr(), place.add(used), bytes.len());
            }
        }
        self.set_edited(false);
        true
    }

    /// The bytes of an inline string, to be changed in place; it counts as edited from then on. `None` where the entry is
    /// shared or holds something else.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if self.meta() & KIND_MASK != BYTES || !self.is_unique() {
            return None;
        }
        self.set_edited(true);
        let start = self.value_start();
        // SAFETY: the kind says that a varint and so many bytes lie here, and the entry is not shared, so nobody else
        // refers to them.
        unsafe {
            let place = self.base().add(start);
            let (length, used) = read_varint(place);
            Some(std::slice::from_raw_parts_mut(place.add(used), length))
        }
    }

    /// Whether this is an inline string that was changed by parts.
    pub fn is_edited(&self) -> bool {
        self.meta() & EDITED != 0
    }

    /// Overwrites an inline integer in place where the entry is not shared and the new one takes the same room.
    pub fn try_overwrite_int(&mut self, value: i64) -> bool {
        let kind = self.meta() & KIND_MASK;
        if kind > INT_64 || int_kind(value) != kind || !self.is_unique() {
            return false;
        }
        let start = self.value_start();
        // SAFETY: the kind says how many bytes lie here, and the entry is not shared.
        unsafe { write_int(self.base().add(start), kind, value) };
        true
    }

    /// Sets or takes away the expiry. In place where there was one before and the entry is not shared.
    pub fn set_expiry(&mut self, expiry: Option<UnixMillis>) {
        if self.expiry() == expiry {
            return;
        }
        if let Some(at) = expiry
            && self.meta() & HAS_EXPIRY != 0
            && self.is_unique()
        {
            // SAFETY: the flag says that eight bytes of expiry follow the header, and the entry is not shared.
            unsafe {
                self.base()
                    .add(HEADER_BYTES)
                    .cast::<i64>()
                    .write_unaligned(at.0)
            };
            return;
        }
        *self = self.rebuilt(None, expiry);
    }

    /// The same value under another key. Takes the value along where this entry is not shared.
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let expiry = self.expiry();
        self.rebuilt(Some(key), expiry)
    }

    /// The 24 bits of LRU or LFU data.
    pub fn access(&self) -> u32 {
        self.meta() >> ACCESS_SHIFT
    }

    /// Sets the LRU or LFU data; copies nothing, also where the entry is shared.
    pub fn set_access(&self, access: u32) {
        let meta = self.meta() & 0xff | access << ACCESS_SHIFT;
        self.header().meta.store(meta, Ordering::Relaxed);
    }

    /// Bytes of the entry's own allocation.
    pub fn own_bytes(&self) -> usize {
        self.layout().size()
    }

    pub fn is_unique(&self) -> bool {
        self.header().count.load(Ordering::Acquire) == 1
    }

    fn with_int(key: &[u8], expiry: Option<UnixMillis>, value: i64) -> Self {
        let kind = int_kind(value);
        // SAFETY: `build` gives room for exactly the bytes asked for.
        Self::build(key, expiry, kind, 1 << kind, |place| unsafe {
            write_int(place, kind, value)
        })
    }

    fn with_bytes(key: &[u8], expiry: Option<UnixMillis>, kind: u32, bytes: &[u8]) -> Self {
        let used = varint_bytes(bytes.len());
        Self::build(key, expiry, kind, used + bytes.len(), |place| {
            // SAFETY: `build` gives room for exactly the bytes asked for.
            unsafe {
                write_varint(place, bytes.len());
                ptr::copy_nonoverlapping(bytes.as_ptr(), place.add(used), bytes.len());
            }
        })
    }

    fn with_box(key: &[u8], expiry: Option<UnixMillis>, value: Box<Value>) -> Self {
        let pointer = Box::into_raw(value);
        Self::build(key, expiry, BOXED, size_of::<*mut Value>(), |place| {
            // SAFETY: `build` gives room for exactly the bytes asked for; the entry owns the box from here on.
            unsafe { place.cast::<*mut Value>().write_unaligned(pointer) }
        })
    }

    fn build(
        key: &[u8],
        expiry: Option<UnixMillis>,
        kind: u32,
        value_bytes: usize,
        write_value: impl FnOnce(*mut u8),
    ) -> Self {
        let expiry_bytes = if expiry.is_some() {
            size_of::<i64>()
        } else {
            0
        };
        let key_start = HEADER_BYTES + expiry_bytes + varint_bytes(key.len());
        let layout = layout_of(key_start + key.len() + value_bytes);
        // SAFETY: the layout is not empty; every byte that is read later is written here, inside the allocation.
        unsafe {
            let base = alloc(layout);
            let Some(pointer) = NonNull::new(base) else {
                handle_alloc_error(layout)
            };
            let flag = if expiry.is_some() { HAS_EXPIRY } else { 0 };
            base.cast::<Header>().write(Header {
                count: AtomicU32::new(1),
                meta: AtomicU32::new(kind | flag),
            });
            if let Some(at) = expiry {
                base.add(HEADER_BYTES).cast::<i64>().write_unaligned(at.0);
            }
            write_varint(base.add(HEADER_BYTES + expiry_bytes), key.len());
            ptr::copy_nonoverlapping(key.as_ptr(), base.add(key_start), key.len());
            write_value(base.add(key_start + key.len()));
            Entry(pointer.cast())
        }
    }

    /// A new allocation with another key or expiry; a boxed value is moved where this entry is not shared, else cloned.
    fn rebuilt(&mut self, key: Option<&[u8]>, expiry: Option<UnixMillis>) -> Self {
        let key = key.unwrap_or_else(|| self.key());
        let rebuilt = match self.view() {
            View::Int(value) => Self::with_int(key, expiry, value),
            View::Bytes(bytes) => {
                Self::with_bytes(key, expiry, self.meta() & (KIND_MASK | EDITED), bytes)
            }
            View::Value(value) if !self.is_unique() => {
                memory::note_copied(self.own_bytes() + size_of::<Value>());
                Self::with_box(key, expiry, Box::new(value.clone()))
            }
            View::Value(_) => {
                let place = self.value_start();
                // SAFETY: a Box<Value> lies here and the entry is not shared. It is moved out: the kind left behind says
                // that there is nothing to drop, and the size of the value's place stays eight bytes (Int64).
                let value = unsafe {
                    let pointer = self.base().add(place).cast::<*mut Value>().read_unaligned();
                    let meta = self.meta() & !KIND_MASK | INT_64;
                    self.header().meta.store(meta, Ordering::Relaxed);
                    Box::from_raw(pointer)
                };
                Self::with_box(key, expiry, value)
            }
        };
        rebuilt.set_access(self.access());
        rebuilt
    }

    /// Only for an inline string that is not shared.
    fn set_edited(&mut self, edited: bool) {
        if self.is_edited() != edited {
            let meta = self.meta() ^ EDITED;
            self.header().meta.store(meta, Ordering::Relaxed);
        }
    }

    fn make_unique(&mut self) {
        if !self.is_unique() {
            *self = self.rebuilt(None, self.expiry());
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the header was written when the entry was made and lives as long as any entry that points to it.
        unsafe { self.0.as_ref() }
    }

    fn meta(&self) -> u32 {
        self.header().meta.load(Ordering::Relaxed)
    }

    fn base(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    fn key_place(&self) -> (usize, usize) {
        let at = HEADER_BYTES
            + if self.meta() & HAS_EXPIRY != 0 {
                size_of::<i64>()
            } else {
                0
            };
        // SAFETY: the key's length stands here.
        let (length, used) = unsafe { read_varint(self.base().add(at)) };
        (at + used, length)
    }

    fn value_start(&self) -> usize {
        let (start, length) = self.key_place();
        start + length
    }

    fn layout(&self) -> Layout {
        let start = self.value_start();
        let value_bytes = match self.meta() & KIND_MASK {
            kind @ INT_8..=INT_64 => 1 << kind,
            BYTES => {
                // SAFETY: the kind says that a varint lies here.
                let (length, used) = unsafe { read_varint(self.base().add(start)) };
                used + length
            }
            _ => size_of::<*mut Value>(),
        };
        layout_of(start + value_bytes)
    }
}

impl Clone for Entry {
    fn clone(&self) -> Self {
        // As std's Arc: a new reference is made from an existing one, so nothing needs to be ordered.
        self.header().count.fetch_add(1, Ordering::Relaxed);
        Entry(self.0)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.header().count.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // As std's Arc: all use of the entry by others happened before this thread frees it.
        fence(Ordering::Acquire);
        let layout = self.layout();
        // SAFETY: this was the last reference; a boxed value is owned by the entry and dropped with it.
        unsafe {
            if self.meta() & KIND_MASK == BOXED {
                let place = self.base().add(self.value_start()).cast::<*mut Value>();
                drop(Box::from_raw(place.read_unaligned()));
            }
            dealloc(self.base(), layout);
        }
    }
}

// SAFETY: the pointer comes from the allocator: eight-byte aligned, below 2^48; raw and from_raw keep the count.
unsafe impl Element for Entry {
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }

    fn into_raw(self) -> NonNull<u8> {
        let pointer = self.0.cast();
        std::mem::forget(self);
        pointer
    }

    unsafe fn from_raw(pointer: NonNull<u8>) -> Self {
        Entry(pointer.cast())
    }
}

/// Sizes are rounded to the allocator's steps, so that values of nearly equal length may overwrite each other in place.
fn layout_of(bytes: usize) -> Layout {
    let rounded = match bytes {
        0..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(8),
    };
    // Keys and inline values are bounded far below what a layout may have.
    Layout::from_size_align(rounded, 8).expect("an entry's size is bounded")
}

fn int_kind(value: i64) -> u32 {
    if i8::try_from(value).is_ok() {
        INT_8
    } else if i16::try_from(value).is_ok() {
        INT_16
    } else if i32::try_from(value).is_ok() {
        INT_32
    } else {
        INT_64
    }
}

/// # Safety
/// `place` has room for as many bytes as the kind says.
unsafe fn write_int(place: *mut u8, kind: u32, value: i64) {
    let bytes = value.to_le_bytes();
    // SAFETY: the low bytes of a little-endian integer are the integer of the smaller width.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, 1 << kind) };
}

fn varint_bytes(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        0x20_0000..=0xfff_ffff => 4,
        _ => 5,
    }
}

/// # Safety
/// `place` has room for [`varint_bytes`] of `value`, which is below 2^35.
unsafe fn write_varint(place: *mut u8, mut value: usize) {
    let mut at = place;
    // SAFETY: seven bits a byte, as many bytes as the caller has made room for.
    unsafe {
        while value > 0x7f {
            at.write(value as u8 | 0x80);
            value >>= 7;
            at = at.add(1);
        }
        at.write(value as u8);
    }
}

/// # Safety
/// A varint lies at `place`.
#[inline]
unsafe fn read_varint(place: *const u8) -> (usize, usize) {
    // SAFETY: the last byte of a varint has its high bit clear, so reading stops inside it.
    unsafe {
        let first = place.read();
        if first <= 0x7f {
            return (first as usize, 1);
        }
        let (mut value, mut shift, mut used) = (usize::from(first & 0x7f), 7, 1);
        loop {
            let byte = place.add(used).read();
            value |= usize::from(byte & 0x7f) << shift;
            used += 1;
            if byte <= 0x7f {
                return (value, used);
            }
            shift += 7;
        }
    }
}

#[cfg(test)]
mod tests;
