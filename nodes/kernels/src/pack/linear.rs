//! Linear layers.

use super::{Dims, Packed, Storage, quant};
use crate::activation::Activation;
use crate::error::{Result, expect, product, unsupported};
use crate::view::{Precision, Source};

/// How to pack a linear layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinearSpec<'a> {
    /// Columns of the weight: what a row of the input holds.
    pub in_features: usize,
    /// One value for each row of the weight.
    pub bias: Option<&'a [f32]>,
    /// A gated layer: the first half of the outputs is multiplied by this activation of the second half. diffusion
    /// UNets' GEGLU is `Some(Activation::GeluErf)` on `ff.net.0.proj` as it is; T5's `[wi_1; wi_0]` takes
    /// `GeluTanh`, SwiGLU's `[up; gate]` takes `Silu`.
    pub glu: Option<Activation>,
    /// What to multiply in.
    pub precision: Precision,
}

/// A linear layer's weight, packed.
#[derive(Debug)]
pub struct PackedLinear {
    pub(crate) packed: Packed,
}

const OP: &str = "PackedLinear";

impl PackedLinear {
    /// Packs `[out, in]` weights. Several sources are stacked one under the other (a fused qkv). Sources of one block
    /// type, or of block types that one storage serves, stay blocks.
    pub fn new(sources: &[Source<'_>], spec: LinearSpec<'_>) -> Result<Self> {
        let k = spec.in_features;
        if k == 0 {
            return unsupported(OP, "in_features is 0");
        }
        let mut ends = Vec::with_capacity(sources.len());
        let mut rows = 0usize;
        for s in sources {
            if let Source::Quant(q, bytes) = s {
                quant::check(OP, *q, bytes.len(), k)?;
            }
            expect(
                OP,
                "a weight's length (a multiple of in_features)",
                s.len().next_multiple_of(k),
                s.len(),
            )?;
            rows += s.len() / k;
            ends.push(rows);
        }
        if let Some(b) = spec.bias {
            expect(OP, "bias length", rows, b.len())?;
        }
        if spec.glu.is_some() && !rows.is_multiple_of(2) {
            return unsupported(OP, format!("a gated layer needs an even number of rows, not {rows}"));
        }
        let storage = common(sources, spec.precision);
        let dims = Dims { k, taps: 1, rows, gated: spec.glu.is_some(), storage };
        let packed =
            Packed::new(OP, dims, spec.glu, spec.bias.map(<[f32]>::to_vec), spec.precision, |row| {
                let i = ends.partition_point(|&e| e <= row);
                let first = if i == 0 { 0 } else { ends[i - 1] };
                (sources[i], (row - first) * k)
            })?;
        Ok(PackedLinear { packed })
    }

    /// Columns of the input.
    pub fn in_features(&self) -> usize {
        self.packed.k
    }

    /// Columns of the result (half the weight's rows for a gated layer).
    pub fn out_features(&self) -> usize {
        self.packed.outputs()
    }

    /// Bytes held, bias included.
    pub fn bytes(&self) -> usize {
        self.packed.bytes()
    }

    /// How the weights are stored.
    pub fn storage(&self) -> Storage {
        self.packed.storage
    }

    /// What the layer multiplies in.
    pub fn precision(&self) -> Precision {
        self.packed.precision
    }

    /// How weights in blocks of these types, one a source, will be stored.
    pub fn storage_of(kinds: &[super::Quant], precision: Precision) -> Storage {
        let sources: Vec<_> = kinds.iter().map(|kind| Source::Quant(*kind, &[])).collect();
        common(&sources, precision)
    }

    /// The bytes [`PackedLinear::new`] will hold, before there are weights to read.
    pub fn bytes_for(
        rows: usize,
        in_features: usize,
        gated: bool,
        bias: bool,
        storage: Storage,
    ) -> Result<usize> {
        let dims = Dims { k: in_features, taps: 1, rows, gated, storage };
        Ok(dims.held(OP)? + if bias { product(OP, &[rows, 4])? } else { 0 })
    }
}

/// The storage of sources that are stacked: their own when they agree, else the least that loses nothing a product
/// of this precision would keep.
fn common(sources: &[Source<'_>], precision: Precision) -> Storage {
    let mut all = sources.iter().map(|s| Storage::of(s, precision));
    let Some(first) = all.next() else { return Storage::F32 };
    if all.all(|s| s == first) {
        first
    } else if precision == Precision::Bf16 {
        Storage::Bf16
    } else {
        // f16 beside bf16 fits neither, nor do blocks beside either.
        Storage::F32
    }
}
