//! The allocator and what it has given out: `used_memory` without a shared counter on the hot path.
#![allow(
    unsafe_code,
    reason = "a global allocator is an unsafe trait, which only forwards and counts; jemalloc is asked in C"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// jemalloc, with the requested bytes counted per thread and flushed in batches of 64 KiB: the total is exact to
/// within that amount per live thread, and an allocation costs a third of a nanosecond more.
pub struct CountingAllocator;

const BATCH_BYTES: i64 = 64 * 1024;

static USED_BYTES: AtomicI64 = AtomicI64::new(0);
static PEAK_BYTES: AtomicI64 = AtomicI64::new(0);

/// Bytes of nodes and entries that were copied, or replaced while somebody else still saw them.
static COPIED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Notes that `bytes` live on only because a snapshot, or another clone, still sees them.
pub fn note_copied(bytes: usize) {
    COPIED_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// All that was noted since start: what it has grown by while a snapshot is alive is the most that the snapshot retains.
pub fn copied_bytes() -> u64 {
    COPIED_BYTES.load(Ordering::Relaxed)
}

thread_local! {
    static PENDING_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Bytes allocated now by the whole process.
pub fn used_bytes() -> u64 {
    let pending = PENDING_BYTES.try_with(Cell::get).unwrap_or(0);
    (USED_BYTES.load(Ordering::Relaxed) + pending).max(0) as u64
}

/// The highest value that the shared counter has had.
pub fn peak_bytes() -> u64 {
    PEAK_BYTES.load(Ordering::Relaxed).max(used_bytes() as i64) as u64
}

/// Returns to the system what is free and still resident. Takes the longer, the more there is.
pub fn purge() {
    // SAFETY: the name ends with a zero, and the request neither reads nor writes memory of ours. The number stands for all
    // arenas (MALLCTL_ARENAS_ALL). A failure leaves things as they are.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            c"arena.4096.purge".as_ptr(),
            null_mut(),
            null_mut(),
            null_mut(),
            0,
        );
    }
}

/// What the allocator tells about itself, as text for people.
pub fn allocator_report() -> Vec<u8> {
    let mut report: Vec<u8> = Vec::new();
    // SAFETY: `note_report` gets back the pointer given here, to a vector that outlives the call and that nobody else uses
    // meanwhile. No options are given.
    unsafe {
        tikv_jemalloc_sys::malloc_stats_print(Some(note_report), (&raw mut report).cast(), null());
    }
    report
}

unsafe extern "C" fn note_report(report: *mut c_void, text: *const c_char) {
    // SAFETY: jemalloc calls this with the pointer that `allocator_report` gave it, and with text that ends with a zero.
    let (report, text) = unsafe { (&mut *report.cast::<Vec<u8>>(), CStr::from_ptr(text)) };
    report.extend_from_slice(text.to_bytes());
}

fn count(bytes: i64) {
    // A thread that is being torn down has no cell any more: its last bytes go straight to the shared counter.
    let flushed = PENDING_BYTES.try_with(|pending| {
        let sum = pending.get() + bytes;
        if sum.abs() < BATCH_BYTES {
            pending.set(sum);
            return 0;
        }
        pending.set(0);
        sum
    });
    let flushed = flushed.unwrap_or(bytes);
    if flushed != 0 {
        let now = USED_BYTES.fetch_add(flushed, Ordering::Relaxed) + flushed;
        PEAK_BYTES.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: every call is forwarded unchanged to jemalloc, which upholds the contract; counting touches no memory of it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract is jemalloc's.
        unsafe { tikv_jemallocator::Jemalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract is jemalloc's.
        unsafe { tikv_jemallocator::Jemalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's contract is jemalloc's.
        unsafe { tikv_jemallocator::Jemalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's contract is jemalloc's.
        unsafe { tikv_jemallocator::Jemalloc.realloc(pointer, layout, new_size) }
    }
}
