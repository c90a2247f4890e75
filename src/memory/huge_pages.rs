//! Huge pages for a heap that has become large: fewer page faults, and a keyspace that the processor finds its way through.
//! A server that forks must shun them, because each first write after the fork would copy two megabytes; this one does not.
//!
//! jemalloc's own switch would apply from the first byte and cost an idle server a multiple of its memory. So its way of
//! getting memory from the system is wrapped: what it gets once the heap is large is marked for huge pages.
#![allow(
    unsafe_code,
    reason = "jemalloc is extended through hooks that are called from C"
)]

use std::ffi::{CString, c_uint, c_void};
use std::ptr::{from_mut, null_mut};
use std::sync::OnceLock;

use tikv_jemalloc_sys::{extent_hooks_t, mallctl};

/// Below this the heap gets ordinary pages.
const LARGE_HEAP_BYTES: u64 = 32 * 1024 * 1024;

const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// jemalloc's own hooks, which are alive as long as the process.
struct Hooks {
    own: *mut extent_hooks_t,
    wrapped: extent_hooks_t,
}

// SAFETY: both are tables of functions that are never changed once they stand here.
unsafe impl Send for Hooks {}
// SAFETY: as above.
unsafe impl Sync for Hooks {}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Lets every arena ask for huge pages from now on. Where jemalloc refuses, things stay as they are.
pub fn use_when_large() {
    let own = match arena_hooks(0, None) {
        Some(own) if !own.is_null() => own,
        _ => return,
    };
    // SAFETY: jemalloc's table is valid for as long as the process lives.
    let mut wrapped = unsafe { own.read() };
    wrapped.alloc = Some(allocate);
    let hooks = HOOKS.get_or_init(|| Hooks { own, wrapped });
    let mut arenas: c_uint = 0;
    let mut length = size_of::<c_uint>();
    // SAFETY: the name ends with a zero; jemalloc writes a number of the size given.
    let asked = unsafe {
        mallctl(
            c"opt.narenas".as_ptr(),
            from_mut(&mut arenas).cast(),
            &mut length,
            null_mut(),
            0,
        )
    };
    if asked == 0 {
        for arena in 0..arenas {
            arena_hooks(arena, Some((&raw const hooks.wrapped).cast_mut()));
        }
    }
}

/// Reads an arena's hooks and, if `new` is given, replaces them.
fn arena_hooks(arena: c_uint, new: Option<*mut extent_hooks_t>) -> Option<*mut extent_hooks_t> {
    let name = CString::new(format!("arena.{arena}.extent_hooks")).ok()?;
    let mut old: *mut extent_hooks_t = null_mut();
    let mut length = size_of_val(&old);
    let mut new = new;
    let (place, place_bytes) = match &mut new {
        Some(new) => (from_mut(new).cast(), size_of_val(new)),
        None => (null_mut(), 0),
    };
    // SAFETY: the name ends with a zero; jemalloc reads and writes one pointer each, to tables that outlive the process's
    // last allocation: its own, and one in a static.
    let asked = unsafe {
        mallctl(
            name.as_ptr(),
            from_mut(&mut old).cast(),
            &mut length,
            place,
            place_bytes,
        )
    };
    (asked == 0).then_some(old)
}

unsafe extern "C" fn allocate(
    _: *mut extent_hooks_t,
    address: *mut c_void,
    size: usize,
    alignment: usize,
    zero: *mut bool,
    commit: *mut bool,
    arena: c_uint,
) -> *mut c_void {
    let Some(hooks) = HOOKS.get() else {
        return null_mut();
    };
    // SAFETY: the table is jemalloc's own, and what it is called with comes from jemalloc.
    let memory = unsafe {
        let Some(allocate) = (*hooks.own).alloc else {
            return null_mut();
        };
        allocate(hooks.own, address, size, alignment, zero, commit, arena)
    };
    if !memory.is_null() && size >= HUGE_PAGE_BYTES && super::used_bytes() >= LARGE_HEAP_BYTES {
        // SAFETY: the range has just been mapped for us. Advice that is not taken costs nothing.
        unsafe { libc::madvise(memory, size, libc::MADV_HUGEPAGE) };
    }
    memory
}
