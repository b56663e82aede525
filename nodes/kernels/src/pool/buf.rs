//! A buffer that knows its pool.

use std::ptr::NonNull;
use std::sync::Arc;

use half::bf16;

use super::Shared;
use super::zones::Slot;
use crate::view::{DType, View, ViewMut};

/// A pooled buffer of f32 or bf16 elements. Dropping it returns the memory to its pool.
#[derive(Debug)]
pub struct Buf {
    ptr: NonNull<u8>,
    slot: Slot,
    dtype: DType,
    len: usize,
    counted: usize,
    shared: Arc<Shared>,
}

// SAFETY: a buffer is plain memory that only it refers to; nothing in it is tied to a thread.
unsafe impl Send for Buf {}
// SAFETY: shared access to a buffer only reads it.
unsafe impl Sync for Buf {}

impl Buf {
    pub(super) fn new(
        ptr: NonNull<u8>,
        slot: Slot,
        dtype: DType,
        len: usize,
        counted: usize,
        shared: Arc<Shared>,
    ) -> Self {
        Buf { ptr, slot, dtype, len, counted, shared }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes this buffer adds to the pool's live count.
    pub fn bytes(&self) -> usize {
        self.counted
    }

    /// The elements, to read.
    pub fn view(&self) -> View<'_> {
        match self.dtype {
            // SAFETY: the place holds at least `len` elements, was zeroed when its region was made, is aligned to 64 bytes, and is
            // borrowed for as long as `self` is. Every bit pattern is a value of either type.
            DType::F32 => View::F32(unsafe { std::slice::from_raw_parts(self.ptr().cast(), self.len) }),
            // SAFETY: as above.
            DType::Bf16 => View::Bf16(unsafe { std::slice::from_raw_parts(self.ptr().cast(), self.len) }),
        }
    }

    /// The elements, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        match self.dtype {
            // SAFETY: as in `view`, and `self` is borrowed uniquely.
            DType::F32 => {
                ViewMut::F32(unsafe { std::slice::from_raw_parts_mut(self.ptr().cast(), self.len) })
            }
            // SAFETY: as above.
            DType::Bf16 => {
                ViewMut::Bf16(unsafe { std::slice::from_raw_parts_mut(self.ptr().cast(), self.len) })
            }
        }
    }

    /// The elements of an f32 buffer; empty for a bf16 one.
    pub fn as_f32(&self) -> &[f32] {
        match self.view() {
            View::F32(s) => s,
            View::Bf16(_) => &[],
        }
    }

    /// The elements of an f32 buffer, to write; empty for a bf16 one.
    pub fn as_f32_mut(&mut self) -> &mut [f32] {
        match self.view_mut() {
            ViewMut::F32(s) => s,
            ViewMut::Bf16(_) => &mut [],
        }
    }

    /// The elements of a bf16 buffer; empty for an f32 one.
    pub fn as_bf16(&self) -> &[bf16] {
        match self.view() {
            View::Bf16(s) => s,
            View::F32(_) => &[],
        }
    }

    pub(crate) fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stats.live -= self.counted;
        state.zones.give(self.slot);
    }
}
