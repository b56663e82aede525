//! What the C library's allocator does with freed memory.
//!
//! glibc's heaps keep what is freed: the buffers that weights were read into, and after the first model, whose end
//! raises the size from which blocks are mappings of their own, weights too. [`share`] has one heap instead of one a
//! thread, and [`trim`] gives its free pages back. `docs/memory.md` has the figures of the other choices.

#![cfg_attr(all(target_os = "linux", target_env = "gnu"), allow(unsafe_code))]

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
