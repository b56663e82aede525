//! What the C library's allocator does with freed memory.
//!
//! glibc's heaps keep what is freed: the buffers that weights were read into, and after the first model, whose end
//! raises the size from which blocks are mappings of their own, weights too. [`share`] has one heap instead of one a
//! thread, and [`trim`] gives its free pages back. `docs/memory.md` has the figures of the other choices.
//!
//! A buffer that cannot be had is an error where a kernel asks for it, but Rust's own collections end the process. So a
//! process that is to outlive such a moment has [`WithReserve`] for its allocator, puts something by with [`put_by`], and
//! asks [`has`] before it takes much: what was asked for wrongly is then served from the reserve, and the next question is
//! answered with no.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Has all threads share one heap: what one leaves, another uses, and gaps are few. To be called when the process
/// starts; each of glibc's heaps otherwise keeps its own leavings. Small blocks are cached for each thread as before.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets numbers of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back the free pages that the heap holds: to be called after a load and after weights are dropped. Takes a
/// few milliseconds. Does nothing where the allocator is not glibc's.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes the allocator's own locks and frees no live block.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Announces weights of so many bytes that are about to be packed: until the result is dropped, pages of weights that make
/// way wait for them, never more than are still expected, in place of going to the system and being cleared there first.
/// The ledger's entry for these weights covers both.
pub fn hand_on(bytes: u64) -> Box<dyn Send> {
    #[cfg(target_os = "linux")]
    {
        Box::new(crate::pool::spare::expect(usize::try_from(bytes).unwrap_or(0)))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = bytes;
        Box::new(())
    }
}

/// Has blocks of `from` bytes and more be mappings, which go back as they are freed: for comparisons. It costs a page
/// fault for every 4 KiB of every temporary buffer. Returns whether the allocator takes such advice.
pub fn map_blocks_from(from: usize) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let from = libc::c_int::try_from(from).unwrap_or(libc::c_int::MAX);
        // SAFETY: mallopt only sets numbers of the allocator, under its own lock.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, from) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        let _ = from;
        false
    }
}

#[cfg(target_os = "linux")]
/// Bytes of address space that are put by. Nothing touches them, so that they cost no memory.
const RESERVE: usize = 64 << 20;

/// Less than this is not worth two calls of the system: the reserve serves it.
const MUCH: u64 = 1 << 20;

/// What is put by; null where it was used up, or never put by.
static PUT_BY: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// Whether there is to be something put by.
static WANTED: AtomicBool = AtomicBool::new(false);

/// The system's allocator. Where it has nothing left, what was [put by](put_by) is given up and it is asked again.
#[derive(Debug, Default, Clone, Copy)]
pub struct WithReserve;

// SAFETY: every block comes from `System` with the layout that was asked for and goes back to it with the same; giving
// up the reserve unmaps memory that nobody was ever given.
unsafe impl GlobalAlloc for WithReserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is `System`'s.
        let first = unsafe { System.alloc(layout) };
        if !first.is_null() || !give_up() {
            return first;
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is `System`'s.
        let first = unsafe { System.alloc_zeroed(layout) };
        if !first.is_null() || !give_up() {
            return first;
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block came from `System` with this layout, and the size is the caller's promise.
        let first = unsafe { System.realloc(block, layout, size) };
        if !first.is_null() || !give_up() {
            return first;
        }
        // SAFETY: a failed `realloc` left the block as it was.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[cfg(target_os = "linux")]
fn map(bytes: usize) -> Option<*mut u8> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address of the system's choice touches nothing that exists.
    let block = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    (block != libc::MAP_FAILED).then_some(block.cast())
}

#[cfg(target_os = "linux")]
fn unmap(block: *mut u8, bytes: usize) {
    // SAFETY: called with what `map` gave for as many bytes, which nobody else was given.
    unsafe { libc::munmap(block.cast(), bytes) };
}

/// Gives up what was put by; false where there is nothing.
fn give_up() -> bool {
    let block = PUT_BY.swap(ptr::null_mut(), Ordering::AcqRel);
    if block.is_null() {
        return false;
    }
    #[cfg(target_os = "linux")]
    unmap(block, RESERVE);
    true
}

/// Puts something by for the moment when there is nothing left; again, where it was used up. False where the system
/// has not even that much.
pub fn put_by() -> bool {
    WANTED.store(true, Ordering::Relaxed);
    #[cfg(target_os = "linux")]
    if PUT_BY.load(Ordering::Acquire).is_null() {
        let Some(block) = map(RESERVE) else { return false };
        if PUT_BY.compare_exchange(ptr::null_mut(), block, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // Another thread was faster.
            unmap(block, RESERVE);
        }
    }
    true
}

/// Whether the system would give so many bytes now, beside what is put by. Takes nothing. Where limits are on what is
/// touched and not on what is asked for (a control group's), it cannot tell and says yes.
pub fn has(bytes: u64) -> bool {
    if WANTED.load(Ordering::Relaxed) && PUT_BY.load(Ordering::Acquire).is_null() && !put_by() {
        return false;
    }
    if bytes < MUCH {
        return true;
    }
    #[cfg(target_os = "linux")]
    {
        let Ok(bytes) = usize::try_from(bytes) else { return false };
        map(bytes).inspect(|block| unmap(*block, bytes)).is_some()
    }
    #[cfg(not(target_os = "linux"))]
    {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_put_by_is_given_up_once_and_put_by_again() {
        assert!(put_by() && has(1 << 20));
        assert!(!has(1 << 60), "no machine has that much");
        assert!(give_up() && !give_up());
        assert!(has(0), "put by again");
        assert!(give_up());
    }
}
