//! One reference-counted allocation: taking it, counting it, freeing it. The memory order of `std::sync::Arc` without its
//! weak count: four bytes, wherever the owner of the layout wants them.
//!
//! In tests every freed allocation is overwritten first, and a thread that asks for it has its live allocations counted.
#![allow(unsafe_code, reason = "raw allocation, and counts inside it")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// A count this high means that counts are being leaked: the process stops before it wraps.
const COUNT_MAX: u32 = i32::MAX as u32;

/// Memory of `bytes` bytes, not initialised.
pub fn allocate(bytes: usize, align: usize) -> NonNull<u8> {
    let layout =
        Layout::from_size_align(bytes, align).expect("a size that was computed from live data");
    assert!(bytes > 0, "an allocation of no bytes");
    // SAFETY: the layout's size is not zero.
    let memory = unsafe { alloc(layout) };
    let Some(memory) = NonNull::new(memory) else {
        handle_alloc_error(layout)
    };
    #[cfg(test)]
    tests::allocated(1);
    memory
}

/// # Safety
/// `memory` came from [`allocate`] with the same size and alignment, and nobody uses it any more.
pub unsafe fn free(memory: NonNull<u8>, bytes: usize, align: usize) {
    #[cfg(test)]
    {
        tests::allocated(-1);
        // SAFETY: the caller owns these bytes, for the last time.
        unsafe { memory.write_bytes(0xd5, bytes) };
    }
    // SAFETY: the caller passes what `allocate` was given, which was a valid layout.
    unsafe {
        dealloc(
            memory.as_ptr(),
            Layout::from_size_align_unchecked(bytes, align),
        )
    };
}

/// One more owner.
#[inline]
pub fn retain(count: &AtomicU32) {
    // Relaxed: whoever counts up already owns one, so the allocation cannot vanish meanwhile.
    if count.fetch_add(1, Ordering::Relaxed) >= COUNT_MAX {
        std::process::abort();
    }
}

/// One owner less. True for the last one, who then frees the allocation and sees all that others did to it.
#[inline]
#[must_use = "the last owner frees the allocation"]
pub fn release(count: &AtomicU32) -> bool {
    // A sole owner needs no locked instruction: nobody else could count up in between.
    if count.load(Ordering::Acquire) == 1 {
        return true;
    }
    if count.fetch_sub(1, Ordering::Release) != 1 {
        return false;
    }
    fence(Ordering::Acquire);
    true
}

/// Whether the caller, who owns one count, is the only owner and may change the allocation in place.
#[inline]
pub fn is_unique(count: &AtomicU32) -> bool {
    count.load(Ordering::Acquire) == 1
}

/// How many owners there are at this moment: none once the last one has let go.
pub fn owners(count: &AtomicU32) -> u32 {
    count.load(Ordering::Relaxed)
}

/// Asks the processor for the cache line at `address`. Any address will do, nothing is read.
#[inline(always)]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::AtomicIsize;

    thread_local! {
        static LIVE: RefCell<Option<Arc<AtomicIsize>>> = const { RefCell::new(None) };
    }

    /// Counts the allocations of this thread, and of every thread that is given the same counter, from here on.
    pub(in crate::cow) fn count_live_into(counter: &Arc<AtomicIsize>) {
        LIVE.with(|live| *live.borrow_mut() = Some(counter.clone()));
    }

    pub(super) fn allocated(change: isize) {
        // A thread that is being torn down has no counter any more; no test frees there.
        let _ = LIVE.try_with(|live| {
            if let Some(counter) = &*live.borrow() {
                counter.fetch_add(change, Ordering::Relaxed);
            }
        });
    }

    #[test]
    fn only_the_last_release_says_so() {
        let count = AtomicU32::new(1);
        retain(&count);
        assert!(!is_unique(&count));
        assert!(!release(&count));
        assert!(is_unique(&count));
        assert!(release(&count));
    }
}
