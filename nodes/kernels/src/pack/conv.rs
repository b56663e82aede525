//! Convolutions.

use super::{Dims, Packed, Storage};
use crate::error::{Result, expect, product, unsupported};
use crate::view::{Precision, Source};

/// How to pack a convolution.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConvSpec<'a> {
    /// Output channels.
    pub out_channels: usize,
    /// Input channels: all of them, groups are not supported.
    pub in_channels: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// One value for each output channel.
    pub bias: Option<&'a [f32]>,
    /// What to multiply in.
    pub precision: Precision,
}

/// A convolution's weight, packed.
#[derive(Debug)]
pub struct PackedConv {
    pub(crate) packed: Packed,
    pub(crate) kernel: [usize; 2],
}

const OP: &str = "PackedConv";

impl PackedConv {
    /// Packs a `[out, in, height, width]` weight.
    pub fn new(source: Source<'_>, spec: ConvSpec<'_>) -> Result<Self> {
        let [kh, kw] = spec.kernel;
        let taps = product(OP, &[kh, kw])?;
        if taps == 0 || spec.in_channels == 0 {
            return unsupported(OP, format!("a kernel of {kh}x{kw} over {} channels", spec.in_channels));
        }
        let row = product(OP, &[spec.in_channels, taps])?;
        expect(OP, "weight length", product(OP, &[spec.out_channels, row])?, source.len())?;
        if let Some(b) = spec.bias {
            expect(OP, "bias length", spec.out_channels, b.len())?;
        }
        if let Source::Quant(q, _) = source {
            return unsupported(OP, format!("{q:?} blocks: only linear layers are packed from them"));
        }
        let storage = Storage::of(&source, spec.precision);
        let dims = Dims { k: spec.in_channels, taps, rows: spec.out_channels, gated: false, storage };
        let bias = spec.bias.map(<[f32]>::to_vec);
        let packed = Packed::new(OP, dims, None, bias, spec.precision, |o| (source, o * row))?;
        Ok(PackedConv { packed, kernel: spec.kernel })
    }

    /// Input channels.
    pub fn in_channels(&self) -> usize {
        self.packed.k
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.packed.outputs()
    }

    /// Kernel height and width.
    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
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

    /// The bytes [`PackedConv::new`] will hold, before there are weights to read.
    pub fn bytes_for(
        out: usize,
        input: usize,
        kernel: [usize; 2],
        bias: bool,
        storage: Storage,
    ) -> Result<usize> {
        let taps = product(OP, &kernel)?;
        let dims = Dims { k: input, taps, rows: out, gated: false, storage };
        Ok(dims.held(OP)? + if bias { product(OP, &[out, 4])? } else { 0 })
    }
}
