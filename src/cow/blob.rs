//! The element of hashes, sets and sorted sets: a key, a value and a small header in one counted allocation.
//!
//! ```text
//! count:u32  header:H  length of key and whether there is a value:varint  key  [length of value:varint  value]
//! ```
//!
//! Nothing is aligned but the count, so that a set's member of up to eleven bytes takes 16 bytes and no more. The value
//! comes after the key, so that a new value never moves it. The allocation is as large as the allocator's size class for
//! what is in it: the slack is the value's to grow into.
#![allow(unsafe_code, reason = "a hand-made layout in one allocation")]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use super::element::{Element, Ref};
use super::shared;

/// A thin pointer to a key with its value. Cloning it counts; the bytes are shared and never change while they are.
pub struct Blob<H: Copy + Send + Sync> {
    base: NonNull<u8>,
    header: PhantomData<H>,
}

impl<H: Copy + Send + Sync> Blob<H> {
    const HEADER_AT: usize = size_of::<AtomicU32>();
    const LENGTHS_AT: usize = Self::HEADER_AT + size_of::<H>();

    /// One allocation with all three. No value and an empty value are the same.
    pub fn new(header: H, key: &[u8], value: &[u8]) -> Self {
        let bytes = Self::LENGTHS_AT + Self::body_bytes(key.len(), !value.is_empty(), value.len());
        let base = shared::allocate(size_class(bytes), ALIGN);
        let blob = Blob {
            base,
            header: PhantomData,
        };
        // SAFETY: the allocation is as large as the parts, which are written one after the other.
        unsafe {
            base.cast().write(AtomicU32::new(1));
            base.byte_add(Self::HEADER_AT)
                .cast::<H>()
                .write_unaligned(header);
            let at = base.byte_add(Self::LENGTHS_AT);
            let at = write_varint(at, (key.len() as u64) << 1 | u64::from(!value.is_empty()));
            let at = write_bytes(at, key);
            if !value.is_empty() {
                write_bytes(write_varint(at, value.len() as u64), value);
            }
        }
        blob
    }

    #[inline]
    pub fn header(&self) -> H {
        // SAFETY: written when the blob was made, and plain data.
        unsafe {
            self.base
                .byte_add(Self::HEADER_AT)
                .cast::<H>()
                .read_unaligned()
        }
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        self.parts().key
    }

    #[inline]
    pub fn value(&self) -> &[u8] {
        let parts = self.parts();
        if !parts.has_value {
            return &[];
        }
        // SAFETY: a key with a value is followed by its length and its bytes.
        unsafe {
            let (length, at) = read_varint(parts.end);
            read_bytes(at, length as usize)
        }
    }

    /// Bytes of the allocation.
    pub fn heap_bytes(&self) -> usize {
        let parts = self.parts();
        let mut used = parts.key.len() + varint_bytes((parts.key.len() as u64) << 1);
        if parts.has_value {
            let length = self.value().len();
            used += length + varint_bytes(length as u64);
        }
        size_class(Self::LENGTHS_AT + used)
    }

    /// Whether nobody else holds the blob.
    #[inline]
    pub fn is_unique(&self) -> bool {
        shared::is_unique(self.count())
    }

    /// Overwrites the header; a shared blob is copied first, and then has another address.
    pub fn set_header(&mut self, header: H) {
        if !self.is_unique() {
            *self = Blob::new(header, self.key(), self.value());
            return;
        }
        // SAFETY: within the allocation, which is this handle's alone.
        unsafe {
            self.base
                .byte_add(Self::HEADER_AT)
                .cast::<H>()
                .write_unaligned(header)
        };
    }

    /// Overwrites the value, in place if nobody else holds the blob and the new value needs an allocation of the same size.
    /// Otherwise the blob has another address afterwards.
    pub fn set_value(&mut self, value: &[u8]) {
        let parts = self.parts();
        let has_value = parts.has_value || !value.is_empty();
        let bytes = Self::LENGTHS_AT + Self::body_bytes(parts.key.len(), has_value, value.len());
        if !self.is_unique() || size_class(bytes) != self.heap_bytes() {
            *self = Blob::new(self.header(), self.key(), value);
            return;
        }
        if !has_value {
            return;
        }
        let (key_length, end) = (parts.key.len() as u64, parts.end);
        // SAFETY: the allocation is this handle's alone and large enough; a flag more does not make the first varint longer,
        // so the key stays where it is.
        unsafe {
            write_varint(self.base.byte_add(Self::LENGTHS_AT), key_length << 1 | 1);
            write_bytes(write_varint(end, value.len() as u64), value);
        }
    }

    /// Bytes of what comes after the header.
    fn body_bytes(key_length: usize, has_value: bool, value_length: usize) -> usize {
        let key = varint_bytes((key_length as u64) << 1) + key_length;
        if has_value {
            key + varint_bytes(value_length as u64) + value_length
        } else {
            key
        }
    }

    #[inline]
    fn parts(&self) -> Parts<'_> {
        // SAFETY: the varint was written when the blob was made, and that many bytes of key follow it.
        unsafe {
            let (length, at) = read_varint(self.base.byte_add(Self::LENGTHS_AT));
            let key_length = (length >> 1) as usize;
            Parts {
                key: read_bytes(at, key_length),
                has_value: length & 1 != 0,
                end: at.byte_add(key_length),
            }
        }
    }

    #[inline]
    fn count(&self) -> &AtomicU32 {
        // SAFETY: a blob begins with its count, which is only ever used as an atomic.
        unsafe { self.base.cast().as_ref() }
    }
}

struct Parts<'a> {
    key: &'a [u8],
    has_value: bool,
    /// Where the key ends.
    end: NonNull<u8>,
}

// SAFETY: the count is atomic, and everything else is only changed by a sole owner.
unsafe impl<H: Copy + Send + Sync> Send for Blob<H> {}

// SAFETY: likewise.
unsafe impl<H: Copy + Send + Sync> Sync for Blob<H> {}

impl<H: Copy + Send + Sync> Clone for Blob<H> {
    #[inline]
    fn clone(&self) -> Self {
        shared::retain(self.count());
        Blob {
            base: self.base,
            header: PhantomData,
        }
    }
}

impl<H: Copy + Send + Sync> Drop for Blob<H> {
    #[inline]
    fn drop(&mut self) {
        if shared::release(self.count()) {
            // SAFETY: the last owner frees it, with the size it was allocated with, which only depends on what is in it.
            unsafe { shared::free(self.base, self.heap_bytes(), ALIGN) };
        }
    }
}

// SAFETY: the handle is one pointer to the allocation, which holds the key; a shared blob is never changed, and counts
// are those of `shared`.
unsafe impl<H: Copy + Send + Sync> Element for Blob<H> {
    #[inline]
    fn key(&self) -> &[u8] {
        Blob::key(self)
    }

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).base
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Blob {
            base: raw,
            header: PhantomData,
        }
    }
}

impl<'a, H: Copy + Send + Sync> Ref<'a, Blob<H>> {
    /// The value, for as long as the table is borrowed.
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        // SAFETY: the value lives in the allocation, as the key does.
        unsafe { self.project(Blob::value) }
    }
}

const ALIGN: usize = 8;

/// The bytes that jemalloc really gives for a request: steps of 16 up to 128, then four steps for each doubling.
fn size_class(bytes: usize) -> usize {
    match bytes {
        0..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

/// Seven bits a byte, lowest first.
fn varint_bytes(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}

/// The number at `at`, and where it ends.
///
/// # Safety
/// A varint lies there.
#[inline]
unsafe fn read_varint(mut at: NonNull<u8>) -> (u64, NonNull<u8>) {
    let (mut number, mut shift) = (0, 0);
    loop {
        // SAFETY: the last byte of a varint is below 128, and not yet passed.
        let byte = unsafe { at.read() };
        // SAFETY: at most one past the varint.
        at = unsafe { at.byte_add(1) };
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (number, at);
        }
        shift += 7;
    }
}

/// # Safety
/// There are [`varint_bytes`] bytes of room at `at`.
unsafe fn write_varint(mut at: NonNull<u8>, mut number: u64) -> NonNull<u8> {
    loop {
        let more = number >= 0x80;
        // SAFETY: the caller promises room.
        unsafe {
            at.write(number as u8 & 0x7f | u8::from(more) << 7);
            at = at.byte_add(1);
        }
        if !more {
            return at;
        }
        number >>= 7;
    }
}

/// # Safety
/// There are as many bytes of room at `at`.
unsafe fn write_bytes(at: NonNull<u8>, bytes: &[u8]) -> NonNull<u8> {
    // SAFETY: the caller promises room, in an allocation that no slice of the caller's lies in.
    unsafe {
        at.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        at.byte_add(bytes.len())
    }
}

/// # Safety
/// That many initialised bytes lie at `at`, unchanged for `'a`.
#[inline]
unsafe fn read_bytes<'a>(at: NonNull<u8>, length: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { NonNull::slice_from_raw_parts(at, length).as_ref() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_member_of_eleven_bytes_takes_sixteen() {
        assert_eq!(Blob::new((), b"elevenbytes", b"").heap_bytes(), 16);
        assert_eq!(Blob::new((), b"abc", b"").heap_bytes(), 8);
        assert_eq!(
            Blob::new(1.5f64, b"nineteen bytes long", b"").heap_bytes(),
            32
        );
        assert_eq!(size_class(129), 160);
        assert_eq!(size_class(160), 160);
        assert_eq!(size_class(257), 320);
        assert_eq!(size_class(4097), 5120);
    }

    #[test]
    fn what_goes_in_comes_out_at_every_length() {
        for key_length in [0, 1, 11, 63, 64, 127, 128, 8191, 8192, 100_000] {
            for value_length in [0, 1, 10, 127, 128, 16_383, 16_384] {
                let (key, value) = (vec![b'k'; key_length], vec![b'v'; value_length]);
                let blob = Blob::new(key_length as f64, &key, &value);
                assert_eq!(blob.key(), key);
                assert_eq!(blob.value(), value);
                assert_eq!(blob.header(), key_length as f64);
            }
        }
    }

    #[test]
    fn a_sole_owner_overwrites_in_place_what_fits() {
        let mut blob = Blob::new(1u64, b"field", b"value");
        let address = blob.address();
        blob.set_value(b"longer one");
        blob.set_header(2);
        assert_eq!(
            (blob.header(), blob.key(), blob.value()),
            (2, &b"field"[..], &b"longer one"[..])
        );
        blob.set_value(b"");
        assert_eq!(
            (blob.key(), blob.value(), blob.address()),
            (&b"field"[..], &b""[..], address)
        );
        blob.set_value(&[b'x'; 1000]);
        assert_eq!(
            (blob.header(), blob.key(), blob.value()),
            (2, &b"field"[..], &[b'x'; 1000][..])
        );
    }

    #[test]
    fn a_value_may_come_and_go_without_moving_the_key() {
        let mut blob = Blob::new((), b"member", b"");
        let address = blob.address();
        blob.set_value(b"12");
        assert_eq!(
            (blob.key(), blob.value(), blob.address()),
            (&b"member"[..], &b"12"[..], address)
        );
    }

    #[test]
    fn a_shared_blob_is_copied_before_it_changes() {
        let mut blob = Blob::new(1.0f64, b"member", b"old");
        let snapshot = blob.clone();
        blob.set_header(2.0);
        assert_ne!(blob.address(), snapshot.address());
        let second = blob.clone();
        blob.set_value(b"new");
        assert_eq!((snapshot.header(), snapshot.value()), (1.0, &b"old"[..]));
        assert_eq!((second.header(), second.value()), (2.0, &b"old"[..]));
        assert_eq!((blob.header(), blob.value()), (2.0, &b"new"[..]));
        drop((snapshot, second));
        assert!(blob.is_unique());
    }
}
