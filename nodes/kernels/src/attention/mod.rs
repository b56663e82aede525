//! Attention without a score matrix (after Dao et al. 2022): keys in blocks, a running maximum and sum.
//!
//! A tile is 32 queries in the lanes of vectors: scores are `K Q^T` (a block of keys by 32 queries), so the softmax
//! over keys goes lane by lane, and the result is accumulated as `V^T P` (head dimension by 32 queries). Nothing is
//! ever summed across lanes, and heads are read where a fused qkv left them.

#![allow(unsafe_code)]

mod tile;

use crate::error::{Result, at_least, expect, product, unsupported};
use crate::gemm::{SendPtr, stage};
use crate::kernels::Kernels;
use crate::scratch::Scratch;
use crate::simd::{LANES, dispatch, tile_rows};
use crate::threads::Threads;
use crate::view::{DType, Layout, View, ViewMut};
use tile::{KEYS, Side, TileJob, Values};

/// Queries, keys or values: head `h` of token `t` (counted over all samples) is the `head_dim` values from
/// `layout.start(t) + h * head_dim`.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// The elements.
    pub data: View<'a>,
    /// Where the tokens lie. [`Layout::columns`] reads a part of a fused qkv.
    pub layout: Layout,
}

/// What a query may see.
#[derive(Debug, Clone, Copy, Default)]
pub enum Mask<'a> {
    /// All keys.
    #[default]
    None,
    /// Keys up to the query's own position.
    Causal,
    /// Values added to the scaled scores. Key `k` of query `q`, head `h`, sample `b` uses
    /// `values[b * batch + h * head + q * query + k]`; a stride of 0 shares values.
    Additive {
        /// The addends; negative infinity hides a key.
        values: &'a [f32],
        /// Stride of samples.
        batch: usize,
        /// Stride of heads.
        head: usize,
        /// Stride of queries.
        query: usize,
    },
}

/// Scaled dot-product attention.
#[derive(Debug)]
pub struct Attention<'a> {
    /// `batch * q_len` tokens.
    pub q: Heads<'a>,
    /// `batch * k_len` tokens.
    pub k: Heads<'a>,
    /// `batch * k_len` tokens.
    pub v: Heads<'a>,
    /// Samples.
    pub batch: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; 0 means as many as queries have. Fewer are shared evenly.
    pub kv_heads: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Queries of a sample.
    pub q_len: usize,
    /// Keys of a sample.
    pub k_len: usize,
    /// Multiplies the scores; `None` means `1 / sqrt(head_dim)`.
    pub scale: Option<f32>,
    /// What a query may see.
    pub mask: Mask<'a>,
    /// `batch * q_len` tokens of `heads * head_dim` values.
    pub out: ViewMut<'a>,
    /// Where the tokens of `out` lie; `None` when they are dense.
    pub out_layout: Option<Layout>,
}

const OP: &str = "attention";

impl Kernels {
    /// Runs attention: in bf16 when queries, keys and values all are and the machine multiplies it, else in f32.
    pub fn attention(&self, args: Attention<'_>) -> Result<()> {
        let Attention {
            q,
            k,
            v,
            batch,
            heads,
            kv_heads,
            head_dim,
            q_len,
            k_len,
            scale,
            mask,
            mut out,
            out_layout,
        } = args;
        let kv_heads = if kv_heads == 0 { heads } else { kv_heads };
        if head_dim == 0 || kv_heads == 0 || heads % kv_heads != 0 {
            return unsupported(OP, format!("{heads} heads of {head_dim} over {kv_heads} key heads"));
        }
        if k_len == 0 && q_len > 0 {
            return unsupported(OP, "there are no keys");
        }
        let scale = scale.unwrap_or(1.0 / (head_dim as f32).sqrt());
        if !(scale >= 0.0 && scale.is_finite()) {
            return unsupported(OP, format!("a scale of {scale}"));
        }
        let (width, kv_width) = (product(OP, &[heads, head_dim])?, kv_heads * head_dim);
        let (queries, keys) = (product(OP, &[batch, q_len])?, product(OP, &[batch, k_len])?);
        for (what, side, rows, width) in [
            ("query length", q, queries, width),
            ("key length", k, keys, kv_width),
            ("value length", v, keys, kv_width),
        ] {
            at_least(OP, what, side.layout.extent(rows, width).unwrap_or(usize::MAX), side.data.len())?;
        }
        let out_layout = out_layout.unwrap_or(Layout::dense(width));
        at_least(OP, "output length", out_layout.extent(queries, width).unwrap_or(usize::MAX), out.len())?;
        if out_layout.row < width && queries > 1 && out_layout.rows_per_sample > 1 {
            return unsupported(OP, format!("output rows {} apart hold {width} values", out_layout.row));
        }
        check_mask(&mask, batch, heads, q_len, k_len)?;
        if queries == 0 || heads == 0 {
            return Ok(());
        }

        let all_bf16 = [q, k, v].iter().all(|s| s.data.dtype() == DType::Bf16);
        let bf16 = all_bf16 && head_dim % 2 == 0 && self.path().multiplies_bf16();
        let compute = if bf16 { DType::Bf16 } else { DType::F32 };
        let key_rows = stage(self, compute, keys, &[(k.data, kv_width, k.layout)])?;
        let rows = tile_rows(self.path());
        let depth = head_dim.next_multiple_of(rows);
        // Values: pairs of keys side by side for bf16 products, else the rows as they lie.
        let (value_rows, pairs);
        let values = if bf16 {
            pairs = tile::pair_values(self, v, batch, kv_heads, head_dim, k_len, depth)?;
            Values::Pairs { ptr: pairs.ptr().cast(), depth }
        } else {
            value_rows = stage(self, compute, keys, &[(v.data, kv_width, v.layout)])?;
            Values::Rows(&value_rows[0])
        };

        let tiles = q_len.div_ceil(LANES);
        // A task's queries share its keys and values in the second-level cache.
        let group = (batch * heads * tiles).div_ceil(8 * self.threads().count()).clamp(1, 4);
        let groups = tiles.div_ceil(group);
        let units = head_dim * compute.size() / 4;
        let scratch = Scratch::new(self, room(units, rows, depth) * 4)?;
        let (to, out_type) = (SendPtr(out.as_mut_ptr()), out.dtype());
        let queries = Side { ptr: q.data.as_ptr(), dtype: q.data.dtype(), layout: q.layout };
        self.threads().each(batch * heads * groups, |task| {
            let (bh, g) = (task / groups, task % groups);
            let (sample, head) = (bh / heads, bh % heads);
            let job = TileJob {
                q: queries,
                k: &key_rows[0],
                v: &values,
                sample,
                head,
                kv_head: head / (heads / kv_heads),
                kv_heads,
                head_dim,
                depth,
                q_len,
                k_len,
                scale,
                mask,
                bf16,
                tiles: g * group..((g + 1) * group).min(tiles),
                room: scratch.of(Threads::worker()).cast(),
                out: to.get(),
                out_type,
                out_layout,
            };
            // SAFETY: every length was checked above, the scratch holds `room` elements for each worker, and tasks
            // write disjoint heads or rows.
            unsafe { dispatch(self.path(), job) };
        });
        Ok(())
    }
}

/// 32-bit elements of a worker's scratch: queries, scores, weights, sums, and three rows of figures.
fn room(units: usize, rows: usize, depth: usize) -> usize {
    (units.max(1) + (KEYS + rows) + KEYS / 2 + depth + 3) * LANES
}

/// Bytes that attention takes while it runs, beside keys and values that have to be converted: the workers' scratch,
/// and in bf16 the values in pairs of keys. `all_heads` are those of all samples.
pub(crate) fn workspace(
    keys: usize,
    all_heads: usize,
    head_dim: usize,
    rows: usize,
    bf16: bool,
    workers: usize,
) -> [usize; 2] {
    let depth = head_dim.next_multiple_of(rows);
    let units = if bf16 { head_dim / 2 } else { head_dim };
    let pairs = if bf16 { keys.div_ceil(2) * all_heads * depth * 4 } else { 0 };
    [pairs, Scratch::bytes(workers, room(units, rows, depth) * 4)]
}

fn check_mask(mask: &Mask<'_>, batch: usize, heads: usize, q_len: usize, k_len: usize) -> Result<()> {
    match *mask {
        Mask::None => Ok(()),
        Mask::Causal => {
            expect(OP, "key length (causal attention needs as many keys as queries)", q_len, k_len)
        }
        Mask::Additive { values, batch: sb, head: sh, query: sq } => {
            let reach = |n: usize, stride: usize| n.saturating_sub(1).checked_mul(stride);
            let needed = reach(batch, sb)
                .and_then(|a| a.checked_add(reach(heads, sh)?))
                .and_then(|a| a.checked_add(reach(q_len, sq)?))
                .and_then(|a| a.checked_add(k_len));
            at_least(OP, "mask length", needed.unwrap_or(usize::MAX), values.len())
        }
    }
}
