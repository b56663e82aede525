//! 3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3).
//!
//! Weights stay in their packing and are transformed panel by panel as they are used, which costs a few percent and
//! no memory. Tiles are taken in blocks whose transformed input fits the last-level cache, because every panel reads
//! all of it. Products and transforms are f32, whatever the storage: that is both faster and nearer to the exact
//! result than bf16 products of the direct form.

#![allow(unsafe_code)]

mod transform;

use crate::conv::Plane;
use crate::error::Result;
use crate::gemm::{Finish, Run, SendPtr, run};
use crate::kernels::Kernels;
use crate::pack::Packed;
use crate::scratch::Scratch;
use crate::simd::{LANES, MAX_ROWS, Simd, Task, dispatch, tile_rows};
use crate::threads::Threads;
use crate::view::DType;
use transform::{POINTS, Place, input_tile, output_tile, weight_panel};

/// Bytes of a block's transformed input.
const BLOCK_BYTES: usize = 12 << 20;
/// Channels of a panel that are transformed at a time: 1.4 MB of transformed weights.
const DEPTH: usize = 320;
/// Floats that keep the points of a tile, and tiles, from falling on the same cache sets.
const SKEW: usize = 16;

/// A convolution to run: 3x3, stride 1, one pixel of zeros around.
pub(crate) struct Tiles<'a> {
    pub(crate) planes: &'a [Plane<'a>],
    pub(crate) batch: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) upsample: bool,
    pub(crate) w: &'a Packed,
    pub(crate) finish: Finish,
}

/// Whether Winograd's form beats the direct one, which would compute in `direct`.
pub(crate) fn wins(taps: usize, k: usize, outputs: usize, pixels: usize, direct: DType) -> bool {
    // Fewer channels and the transforms, which wait for memory, cost more than the products: soonest against bf16's
    // quick ones. Fewer pixels and the transforms of the weights do.
    let least = if direct == DType::Bf16 { 192 } else { 32 };
    taps == 9 && k >= least && outputs >= 32 && pixels >= 512
}

/// Sizes that do not change over a call.
#[derive(Clone, Copy)]
struct Sizes {
    /// Output image.
    height: usize,
    width: usize,
    /// Tiles down and across.
    down: usize,
    across: usize,
    /// From a tile to the next in the transformed input, and from a point to the next.
    tile: usize,
    point: usize,
}

impl Sizes {
    /// Image, row and column of a tile's first output pixel.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (n, r) = (tile / (self.down * self.across), tile % (self.down * self.across));
        (n, r / self.across * 4, r % self.across * 4)
    }
}

/// How a convolution's tiles are cut into tasks.
struct Blocks {
    /// From a tile to the next in the transformed input.
    tile: usize,
    /// Tiles whose transformed input is held at a time.
    block: usize,
    /// Tasks of a panel, and the tiles of one.
    parts: usize,
    part: usize,
    /// Channels of a panel that are transformed at a time.
    depth: usize,
    /// From a point to the next, in transformed weights and in products.
    weight_stride: usize,
    product_stride: usize,
}

impl Blocks {
    fn new(k: usize, panels: usize, all: usize, workers: usize, rows: usize) -> Self {
        let tile = k.next_multiple_of(SKEW) + SKEW;
        let most = (BLOCK_BYTES / (POINTS * tile * 4)).max(4 * rows) / rows * rows;
        // Equal blocks: a short last one would leave its weights' transforms to few tiles.
        let block = all.div_ceil(all.div_ceil(most)).next_multiple_of(rows);
        // A few tasks for each thread: panels, or parts of the tiles against a panel where panels are few.
        let parts = (3 * workers).div_ceil(panels).min(block.div_ceil(4 * rows)).max(1);
        let part = block.div_ceil(parts).next_multiple_of(rows);
        let depth = k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(2);
        let (weight_stride, product_stride) = (depth * LANES + 2 * SKEW, part * LANES + SKEW);
        Self { tile, block, parts, part, depth, weight_stride, product_stride }
    }
}

/// Bytes that a convolution of `tiles` tiles takes while it runs: transformed input, and the workers' scratch.
pub(crate) fn workspace(k: usize, panels: usize, tiles: usize, workers: usize, rows: usize) -> [usize; 2] {
    let b = Blocks::new(k, panels, tiles, workers, rows);
    let each = POINTS * (b.weight_stride + b.product_stride) * 4;
    [POINTS * (b.block * b.tile + SKEW) * 4, Scratch::bytes(workers, each)]
}

/// Runs a convolution.
pub(crate) fn convolve(kernels: &Kernels, t: &Tiles<'_>) -> Result<()> {
    let (path, threads) = (kernels.path(), kernels.threads());
    let shift = usize::from(t.upsample);
    let (height, width) = (t.height << shift, t.width << shift);
    let (down, across) = (height.div_ceil(4), width.div_ceil(4));
    let rows = tile_rows(path);
    let all = t.batch * down * across;
    let Blocks { tile, block, parts, part, depth, weight_stride, product_stride } =
        Blocks::new(t.w.k, t.w.panels(), all, threads.count(), rows);
    let sizes = Sizes { height, width, down, across, tile, point: block * tile + SKEW };
    let transformed = kernels.pool().f32(POINTS * sizes.point)?;
    let panels = t.w.panels();
    let scratch = Scratch::new(kernels, POINTS * (weight_stride + product_stride) * 4)?;

    for first in (0..all).step_by(block) {
        let count = block.min(all - first);
        let to = SendPtr(transformed.ptr());
        threads.each(count.div_ceil(rows), |g| {
            let tiles = g * rows..((g + 1) * rows).min(count);
            let job = InputJob { t, sizes: &sizes, first, tiles, to: to.get().cast() };
            // SAFETY: planes were checked by `conv2d`; tasks write disjoint tiles of `transformed`.
            unsafe { dispatch(path, job) };
        });
        threads.each(panels * parts, |task| {
            let (panel, p) = (task / parts, task % parts);
            let tiles = p * part..((p + 1) * part).min(count);
            if tiles.start >= tiles.end {
                return;
            }
            let weights: *mut f32 = scratch.of(Threads::worker()).cast();
            let job = PanelJob {
                t,
                sizes: &sizes,
                first,
                tiles,
                panel,
                depth,
                input: transformed.as_f32().as_ptr(),
                weights,
                weight_stride,
                products: weights.wrapping_add(POINTS * weight_stride),
                product_stride,
            };
            // SAFETY: the scratch holds both parts for each worker; tasks write disjoint pixels or channels.
            unsafe { dispatch(path, job) };
        });
    }
    Ok(())
}

struct InputJob<'a> {
    t: &'a Tiles<'a>,
    sizes: &'a Sizes,
    first: usize,
    tiles: std::ops::Range<usize>,
    to: *mut f32,
}

impl Task for InputJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        let Tiles { planes, height, width, upsample, .. } = *self.t;
        let shift = usize::from(upsample);
        for tile in self.tiles {
            let (n, y0, x0) = self.sizes.place(self.first + tile);
            let mut channel = 0;
            for plane in planes {
                let size = plane.channels * plane.data.dtype().size();
                let mut pixels = [std::ptr::null(); POINTS];
                for (i, p) in pixels.iter_mut().enumerate() {
                    // A row above the first wraps around and is past the image too.
                    let (y, x) = ((y0 + i / 6).wrapping_sub(1), (x0 + i % 6).wrapping_sub(1));
                    if y < self.sizes.height && x < self.sizes.width {
                        let at = (n * height + (y >> shift)) * width + (x >> shift);
                        *p = plane.data.as_ptr().wrapping_add(at * size);
                    }
                }
                // SAFETY: the caller's promise.
                unsafe {
                    let to = self.to.add(tile * self.sizes.tile + channel);
                    let dtype = plane.data.dtype();
                    match dtype {
                        // Two copies, so that the type is not asked for every vector.
                        DType::F32 => {
                            input_tile(s, &pixels, DType::F32, plane.channels, to, self.sizes.point)
                        }
                        DType::Bf16 => {
                            input_tile(s, &pixels, DType::Bf16, plane.channels, to, self.sizes.point)
                        }
                    }
                }
                channel += plane.channels;
            }
        }
    }
}

struct PanelJob<'a> {
    t: &'a Tiles<'a>,
    sizes: &'a Sizes,
    first: usize,
    tiles: std::ops::Range<usize>,
    panel: usize,
    depth: usize,
    input: *const f32,
    weights: *mut f32,
    weight_stride: usize,
    products: *mut f32,
    product_stride: usize,
}

impl Task for PanelJob<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        let w = self.t.w;
        let count = self.tiles.len();
        let ahead = S::ROWS * self.sizes.tile * 4;
        for first in (0..w.k).step_by(self.depth) {
            let units = self.depth.min(w.k - first);
            // SAFETY: the caller's promise; a tile past the last one repeats it, and its products are not read.
            unsafe {
                weight_panel(s, w, self.panel, first, units, self.weights, self.weight_stride);
                for point in 0..POINTS {
                    let b = self.weights.add(point * self.weight_stride);
                    let input = self.input.add(point * self.sizes.point + first);
                    let mut i = 0;
                    while i < count {
                        let mut rows = [std::ptr::null::<u8>(); MAX_ROWS];
                        for (r, row) in rows.iter_mut().enumerate().take(S::ROWS) {
                            let tile = self.tiles.start + (i + r).min(count - 1);
                            *row = input.add(tile * self.sizes.tile).cast();
                        }
                        let acc = self.products.add(point * self.product_stride + i * LANES);
                        let rows = rows.as_ptr();
                        run::<S, false>(
                            s,
                            Run {
                                taps: 1,
                                units,
                                rows,
                                first: 0,
                                b,
                                tap_stride: 0,
                                acc,
                                ahead,
                                add: first > 0,
                            },
                        );
                        i += S::ROWS;
                    }
                }
            }
        }
        for i in 0..count {
            let (sample, y0, x0) = self.sizes.place(self.first + self.tiles.start + i);
            let mut rows = [usize::MAX; 16];
            for (j, row) in rows.iter_mut().enumerate() {
                let (y, x) = (y0 + j / 4, x0 + j % 4);
                if y < self.sizes.height && x < self.sizes.width {
                    *row = (sample * self.sizes.height + y) * self.sizes.width + x;
                }
            }
            // SAFETY: the caller's promise.
            unsafe {
                let from = self.products.add(i * LANES);
                let place = Place { rows, sample };
                output_tile(s, from, self.product_stride, self.panel, w.outputs(), &place, &self.t.finish);
            }
        }
    }
}
