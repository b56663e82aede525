//! Memory from the system.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use super::ALIGN;
#[cfg(target_os = "linux")]
use super::spare;

/// From this size on, Linux is asked for pages themselves: they go back to it the moment they are freed, which an
/// allocator between promises for no size.
#[cfg(target_os = "linux")]
const PAGES: usize = 256 << 10;
/// Size of a page, at the least: a multiple of it is no worse.
#[cfg(target_os = "linux")]
pub(super) const PAGE: usize = 4 << 10;
/// Size of a large page.
pub(super) const HUGE: usize = 2 << 20;

/// A block from the system, zeroed, its usable part aligned to 64 bytes. Pages that are never touched cost nothing.
#[derive(Debug)]
pub(crate) struct Block {
    raw: NonNull<u8>,
    bytes: usize,
    /// Whether `raw` is a mapping of its own.
    mapped: bool,
    /// Whether its pages go to the next weights, if somebody waits for pages.
    weights: bool,
    /// Whether its pages come from the system, and not from other weights.
    fresh: bool,
}

// SAFETY: a block is plain memory owned by one value; nothing in it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: shared access to a block only reads it.
unsafe impl Sync for Block {}

impl Block {
    pub(crate) fn zeroed(bytes: usize) -> Option<Block> {
        #[cfg(target_os = "linux")]
        if bytes >= PAGES {
            return Block::map(bytes);
        }
        // Alignment is made by hand inside a 16-byte aligned block because the system's zeroed allocation at that
        // alignment gets untouched pages, while at 64 bytes it would write zeros over the whole block.
        let layout = Layout::from_size_align(bytes.checked_add(ALIGN)?, 16).ok()?;
        // SAFETY: the size is at least ALIGN, never zero.
        let raw = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Block { raw, bytes, mapped: false, weights: false, fresh: true })
    }

    /// A block for weights, every byte of which will be written. Where pages of weights that made way for it are at hand it
    /// gets these, with what is in them: the system would have to clear others first.
    pub(crate) fn for_weights(bytes: usize) -> Option<Block> {
        #[cfg(target_os = "linux")]
        if bytes >= PAGES {
            if let Some(raw) = spare::take(bytes.next_multiple_of(PAGE)) {
                return Some(Block { raw, bytes, mapped: true, weights: true, fresh: false });
            }
            return Block::map(bytes).map(|mut block| {
                block.weights = true;
                block
            });
        }
        Block::zeroed(bytes)
    }

    /// Bytes that a block for weights takes from the system: whole pages where it is a mapping of its own.
    pub(crate) fn held_for(bytes: usize) -> usize {
        #[cfg(target_os = "linux")]
        if bytes >= PAGES {
            return bytes.next_multiple_of(PAGE);
        }
        bytes
    }

    #[cfg(target_os = "linux")]
    fn map(bytes: usize) -> Option<Block> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the system's choice touches nothing that exists.
        let raw = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
        if raw == libc::MAP_FAILED {
            return None;
        }
        let block =
            Block { raw: NonNull::new(raw.cast())?, bytes, mapped: true, weights: false, fresh: true };
        block.ask_for_huge_pages();
        Some(block)
    }

    pub(crate) fn ptr(&self) -> *mut u8 {
        let p = self.raw.as_ptr();
        // SAFETY: what is not mapped, and so aligned to pages, holds `bytes + ALIGN` bytes; the offset is below ALIGN.
        unsafe { p.add(p.align_offset(ALIGN)) }
    }

    /// Takes the pages of a part at once that is about to be written whole: cheaper than a fault for each. What is
    /// there already stays as it is, so that threads may do so for parts that share a page.
    pub(crate) fn populate(&self, range: std::ops::Range<usize>) {
        #[cfg(target_os = "linux")]
        if self.mapped && self.fresh {
            let base = self.raw.as_ptr() as usize;
            let start = (base + range.start) / PAGE * PAGE;
            let end = base + range.end.min(self.bytes);
            if end > start {
                // SAFETY: the range lies within the block's own mapping, which begins at a page, and no byte of it changes.
                // A kernel that does not know the call says so and changes nothing.
                unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_POPULATE_WRITE) };
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (range, self.mapped);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Weights and large activations are walked through by every call: pages of 2 MiB spare the address cache, and
    /// the kernel 511 of 512 faults on the first use.
    #[cfg(target_os = "linux")]
    fn ask_for_huge_pages(&self) {
        let start = (self.raw.as_ptr() as usize).next_multiple_of(HUGE);
        let end = (self.raw.as_ptr() as usize + self.bytes) / HUGE * HUGE;
        if end > start {
            // SAFETY: the range lies within the block. The call is advice: what it returns changes nothing.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
        }
    }

    /// Gives the pages of a part that nobody uses back to the system, where it takes parts; they read as zeros again.
    pub(super) fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(target_os = "linux")]
        if self.mapped {
            let base = self.raw.as_ptr() as usize;
            let start = (base + range.start).next_multiple_of(HUGE);
            let end = base + range.end.next_multiple_of(HUGE).min(self.bytes);
            if end > start {
                // SAFETY: the range lies within this mapping, and the caller says that nobody uses it.
                unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (range, self.mapped);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if self.mapped {
            if !(self.weights && spare::keep(self.raw, self.bytes.next_multiple_of(PAGE))) {
                // SAFETY: the whole of a mapping that `map` made, or of a part of one that was cut at pages, and nobody
                // refers to it any more.
                unsafe { libc::munmap(self.raw.as_ptr().cast(), self.bytes) };
            }
            return;
        }
        // SAFETY: the same size and alignment that `zeroed` asked for, which were valid there.
        unsafe { dealloc(self.raw.as_ptr(), Layout::from_size_align_unchecked(self.bytes + ALIGN, 16)) }
    }
}
