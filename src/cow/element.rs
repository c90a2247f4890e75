//! What a [`CowTable`](super::table::CowTable) holds: thin counted pointers, and the borrowed forms in which it hands
//! them out. Also the one hash function of the process.
//!
//! A slot of a leaf has 48 bits for an element, so there is no `&E` inside a table: [`Ref`] and [`RefMut`] carry the
//! handle itself for as long as the table is borrowed.
#![allow(
    unsafe_code,
    reason = "elements cross the border to raw pointers here and nowhere else"
)]

use std::hash::{DefaultHasher, Hasher};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::leaf::Slot;
use crate::random;

/// A thin pointer to one reference-counted allocation. Cloning counts up, dropping counts down.
///
/// # Safety
/// - `into_raw` gives a pointer whose address fits in 48 bits and keeps the count that the handle had; `from_raw` takes it
///   back. Both are pure casts: `from_raw` of one pointer may be called many times as long as only one of the handles is
///   ever dropped or used mutably.
/// - What `key` returns lives in the allocation: it stays where it is, unchanged, until the allocation is freed or
///   changed through `&mut` to a handle that is its only owner.
/// - An allocation with more than one owner is never changed, except for fields that are atomics.
/// - `Clone` and `Drop` count as `std::sync::Arc` does, so that handles may go to other threads.
pub unsafe trait Element: Clone + Send + Sync + Sized {
    /// The bytes that name the element in its table. Must not change while it is in one.
    fn key(&self) -> &[u8];

    fn into_raw(self) -> NonNull<u8>;

    /// # Safety
    /// `raw` came from `into_raw` and at most one of the handles made of it is treated as its owner.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// The hash under which the element is found: what callers of the table pass along with the key.
    fn hash(&self) -> u64 {
        hash(self.key())
    }

    /// The allocation's address, which is the element's identity while it lives.
    fn address(&self) -> NonNull<u8> {
        // SAFETY: the copy of the handle is never dropped: `into_raw` consumes it and its pointer is only looked at.
        let copy: Self = unsafe { std::ptr::read(self) };
        copy.into_raw()
    }
}

/// The hash of a key in this process. Seeded at random, the same in all tables, so that a request hashes a key once.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    let seeds = &*SEEDS;
    let mut hasher = FoldHasher::with_seed(seeds.of_hasher, &seeds.shared);
    hasher.write(key);
    hasher.finish()
}

/// The hash that leads on where all 64 bits of the first are used up: SipHash, so that whoever finds a way to make first
/// hashes collide gains a few levels of depth and no more.
pub(super) fn second_hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(random::hash_seed());
    hasher.write(key);
    hasher.finish()
}

struct Seeds {
    of_hasher: u64,
    shared: SharedSeed,
}

static SEEDS: LazyLock<Seeds> = LazyLock::new(|| Seeds {
    of_hasher: random::hash_seed().rotate_left(32),
    shared: SharedSeed::from_u64(random::hash_seed()),
});

/// An element of a table that is borrowed for `'a`. Derefs to the element; cloning that takes a count of one's own.
pub struct Ref<'a, E: Element> {
    element: ManuallyDrop<E>,
    borrowed: PhantomData<&'a E>,
}

impl<'a, E: Element> Ref<'a, E> {
    /// # Safety
    /// `raw` is an element that stays alive and unchanged for `'a`.
    #[inline]
    pub(super) unsafe fn new(raw: NonNull<u8>) -> Self {
        Ref {
            // SAFETY: the handle is never dropped, so the table's slot stays the owner.
            element: ManuallyDrop::new(unsafe { E::from_raw(raw) }),
            borrowed: PhantomData,
        }
    }

    /// The key, for as long as the table is borrowed.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: a key lives in the allocation (contract of `Element`).
        unsafe { self.project(E::key) }
    }

    /// Something inside the element, for as long as the table is borrowed and not just this `Ref`.
    ///
    /// # Safety
    /// What `part` returns must live in the element's allocation, not in the handle, and stay unchanged as long as no
    /// only owner changes it: what [`Element`] promises of its key.
    #[inline]
    pub unsafe fn project<T: ?Sized>(&self, part: impl FnOnce(&E) -> &T) -> &'a T {
        let part: *const T = part(&self.element);
        // SAFETY: the caller promises that it lives in the allocation, which the table holds unchanged for `'a`.
        unsafe { &*part }
    }
}

impl<E: Element> Deref for Ref<'_, E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        &self.element
    }
}

/// An element of a table that is borrowed mutably for `'a`. The element may be changed or replaced by one of the same key;
/// what is there when the guard drops goes back into the table. Forgetting the guard leaks its element.
///
/// The slot is the caller's alone, the element perhaps not: a snapshot may share it. An element knows that by itself.
pub struct RefMut<'a, E: Element> {
    element: ManuallyDrop<E>,
    slot: Slot,
    borrowed: PhantomData<&'a mut E>,
}

impl<E: Element> RefMut<'_, E> {
    /// # Safety
    /// `slot` is an occupied slot of a leaf that only the caller owns and that nobody else reads or changes for `'a`.
    #[inline]
    pub(super) unsafe fn new(slot: Slot) -> Self {
        // The slot is empty as long as the element is out, so that a forgotten guard leaves no dangling pointer behind.
        // SAFETY: the caller's promise, and the element is owned by the guard from here on.
        let element = ManuallyDrop::new(unsafe { E::from_raw(slot.lift()) });
        RefMut {
            element,
            slot,
            borrowed: PhantomData,
        }
    }

    /// Puts `element`, which must have the same key, in the place of the one that is there, and gives that back.
    pub fn replace(&mut self, element: E) -> E {
        debug_assert!(
            self.key() == element.key(),
            "an element replaced by one of another key"
        );
        std::mem::replace(&mut *self.element, element)
    }
}

impl<E: Element> Deref for RefMut<'_, E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        &self.element
    }
}

impl<E: Element> DerefMut for RefMut<'_, E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut E {
        &mut self.element
    }
}

impl<E: Element> Drop for RefMut<'_, E> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the handle is taken out once, here; the leaf is still the caller's alone, as `new` was promised.
        unsafe {
            let element = ManuallyDrop::take(&mut self.element);
            self.slot.put_back(element.into_raw());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_repeat_within_a_process_and_spread_over_both_ends() {
        let mut tops = std::collections::HashSet::new();
        let mut tags = std::collections::HashSet::new();
        for number in 0..4096u32 {
            let key = number.to_string();
            assert_eq!(hash(key.as_bytes()), hash(key.as_bytes()));
            tops.insert(hash(key.as_bytes()) >> 48);
            tags.insert(hash(key.as_bytes()) & 0xffff);
        }
        // 4096 draws of 65536 give about 3970 different values.
        assert!(tops.len() > 3800, "{} of 4096 top ends", tops.len());
        assert!(tags.len() > 3800, "{} of 4096 tags", tags.len());
    }
}
