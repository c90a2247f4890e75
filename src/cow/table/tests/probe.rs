//! An element for tests: its hash is what the test says, it counts the living, and it notices being used after its end.
#![allow(unsafe_code, reason = "an element is an unsafe trait")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicU32, Ordering};

use crate::cow::element::Element;
use crate::cow::shared;

const ALIVE: u64 = 0x0a11_5e11_0a11_5e11;

pub struct Probe(NonNull<Body>);

struct Body {
    alive: u64,
    count: AtomicU32,
    hash: u64,
    key: [u8; 8],
    value: u64,
    living: Arc<AtomicIsize>,
}

impl Probe {
    pub fn new(hash: u64, key: u64, value: u64, living: &Arc<AtomicIsize>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        let body = Box::new(Body {
            alive: ALIVE,
            count: AtomicU32::new(1),
            hash,
            key: key.to_be_bytes(),
            value,
            living: living.clone(),
        });
        Probe(NonNull::from(Box::leak(body)))
    }

    pub fn number(&self) -> u64 {
        u64::from_be_bytes(self.body().key)
    }

    pub fn value(&self) -> u64 {
        self.body().value
    }

    pub fn is_unique(&self) -> bool {
        shared::is_unique(&self.body().count)
    }

    /// Changes the value in place if that is allowed, or in a copy.
    pub fn set_value(&mut self, value: u64) {
        if self.is_unique() {
            // SAFETY: nobody else holds the body.
            unsafe { self.0.as_mut() }.value = value;
        } else {
            *self = Probe::new(self.body().hash, self.number(), value, &self.body().living);
        }
    }

    fn body(&self) -> &Body {
        // SAFETY: the handle holds a count.
        let body = unsafe { self.0.as_ref() };
        assert_eq!(body.alive, ALIVE, "an element used after its end");
        body
    }
}

// SAFETY: the count is atomic, the rest only changed by a sole owner.
unsafe impl Send for Probe {}

// SAFETY: likewise.
unsafe impl Sync for Probe {}

impl Clone for Probe {
    fn clone(&self) -> Self {
        shared::retain(&self.body().count);
        Probe(self.0)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if shared::release(&self.body().count) {
            // SAFETY: the last handle.
            let mut body = unsafe { Box::from_raw(self.0.as_ptr()) };
            body.living.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: a write that the compiler may not leave out, to memory that is still the box's.
            unsafe { std::ptr::write_volatile(&mut body.alive, 0) };
        }
    }
}

// SAFETY: one pointer to an allocation that holds the key; a shared body is never changed.
unsafe impl Element for Probe {
    fn key(&self) -> &[u8] {
        &self.body().key
    }

    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Probe(raw.cast())
    }

    fn hash(&self) -> u64 {
        self.body().hash
    }
}
