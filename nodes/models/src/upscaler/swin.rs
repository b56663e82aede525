//! SwinIR (Liang et al. 2021): attention inside small windows, every second time shifted by half of one, between
//! convolutions.

use std::sync::Arc;

use candle_core::Tensor;

use super::windows::{Order, Windows};
use crate::{
    Error, Result,
    ops::{
        Act, Activation, Attention, Conv, ConvShape, Epilogue, LayerNorm, Linear, Mask, Norm, Ops, Out, blank,
    },
    params::Loader,
};

const EPS: f32 = 1e-5;
const LRELU: Activation = Activation::LeakyRelu(0.2);
/// PyTorch's own slope, where the network names none.
const LRELU_BEFORE: Activation = Activation::LeakyRelu(0.01);
/// The mean of the pictures that it was trained on.
const MEAN: [f64; 3] = [0.4488, 0.4371, 0.4040];

pub(super) struct SwinIr {
    first: Arc<Conv>,
    /// Squares of so many pixels become channels before anything else.
    fold: usize,
    window: usize,
    /// Pixels were counted to this.
    range: f64,
    embedded: Option<Arc<Norm>>,
    groups: Vec<Group>,
    norm: Arc<Norm>,
    body: Vec<Arc<Conv>>,
    end: End,
}

/// How features become pixels.
enum End {
    /// Channels become squares of pixels, step by step.
    Shuffled { before: Arc<Conv>, up: Vec<Arc<Conv>>, last: Arc<Conv> },
    /// The same in one step.
    Direct(Arc<Conv>),
    /// Doublings between convolutions.
    Nearest { before: Arc<Conv>, up: Vec<Arc<Conv>>, high: Arc<Conv>, last: Arc<Conv> },
    /// A change of the picture itself.
    Same(Arc<Conv>),
}

struct Group {
    blocks: Vec<Block>,
    convs: Vec<Arc<Conv>>,
}

struct Block {
    heads: usize,
    norm1: Arc<Norm>,
    qkv: Arc<Linear>,
    /// What is added to the scores in each kind of windows; a block that does not shift has one kind.
    masks: Vec<Mask>,
    out: Arc<Linear>,
    norm2: Arc<Norm>,
    expand: Arc<Linear>,
    contract: Arc<Linear>,
}

impl Block {
    fn load(w: &Loader<'_>, window: usize, shifts: bool) -> Result<Self> {
        let attn = w.at("attn");
        let heads = attn.shape("relative_position_bias_table")?.get(1).copied().unwrap_or(1);
        let table = attn.values("relative_position_bias_table")?;
        Ok(Self {
            heads,
            norm1: w.norm("norm1")?,
            qkv: attn.linear("qkv")?,
            masks: super::windows::masks(&table, heads, window, shifts),
            out: attn.linear("proj")?,
            norm2: w.norm("norm2")?,
            expand: w.linear("mlp.fc1")?,
            contract: w.linear("mlp.fc2")?,
        })
    }

    /// `x` in the order of the block's windows.
    fn forward(&self, ops: &Ops, x: &Act, windows: &Windows) -> Result<Act> {
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(x, LayerNorm { norm: Some(norm), eps: EPS, modulation: None, out: Out::Operand })
        };
        let qkv = ops.linear(&self.qkv, &norm(x, &self.norm1)?, Epilogue::operand())?;
        let attended = self.attend(ops, qkv, windows)?;
        let x = ops.linear(&self.out, &attended, Epilogue::residual(x))?;
        drop(attended);
        let wide = Epilogue::activation(Activation::Gelu, Out::Operand);
        let wide = ops.linear(&self.expand, &norm(&x, &self.norm2)?, wide)?;
        ops.linear(&self.contract, &wide, Epilogue::residual(&x))
    }

    fn attend(&self, ops: &Ops, qkv: Act, windows: &Windows) -> Result<Act> {
        let (n, positions) = (qkv.dims().n, qkv.dims().positions());
        let size = windows.positions();
        let attend = |part: Act, mask: &Mask| -> Result<Act> {
            let count = part.dims().rows() / size;
            let part = part.regrouped(count, size);
            let plain = Attention::new(self.heads, part.chunk(0, 3), part.chunk(1, 3), part.chunk(2, 3));
            Ok(ops.attention(Attention { mask: Some(mask), ..plain })?.regrouped(n, count / n * size))
        };
        if self.masks.len() == 1 {
            return attend(qkv, &self.masks[0]);
        }
        let (mut parts, mut start) = (Vec::new(), 0);
        for (count, mask) in windows.kinds().into_iter().zip(&self.masks).filter(|(count, _)| *count > 0) {
            parts.push(attend(ops.slice(qkv.cols(), start, count * size)?, mask)?);
            start += count * size;
        }
        debug_assert_eq!(start, positions);
        drop(qkv);
        ops.concat_tokens(&parts.iter().collect::<Vec<_>>())
    }
}

/// One convolution, or three around a bottleneck.
fn convs(w: &Loader<'_>, name: &str) -> Result<Vec<Arc<Conv>>> {
    if w.has(&format!("{name}.weight")) {
        return Ok(vec![w.conv(name)?]);
    }
    [0, 2, 4].into_iter().map(|i| w.conv(&format!("{name}.{i}"))).collect()
}

/// `residual` and what the convolutions make of `x`.
fn around(ops: &Ops, convs: &[Arc<Conv>], x: Act, residual: &Act) -> Result<Act> {
    let last = convs.len().saturating_sub(1);
    let mut x = x;
    for (i, conv) in convs.iter().enumerate() {
        let how =
            if i == last { Epilogue::residual(residual) } else { Epilogue::activation(LRELU, Out::Stream) };
        x = ops.conv(conv, &[&x], ConvShape::same(conv.kernel[0]), how)?;
    }
    Ok(x)
}

impl Group {
    fn load(w: &Loader<'_>, window: usize) -> Result<Self> {
        let list = w.at("residual_group.blocks");
        let count = list.count(|i| format!("{i}.attn.qkv.weight"));
        let block = |i: usize| Block::load(&list.at(i), window, i % 2 == 1);
        Ok(Self { blocks: (0..count).map(block).collect::<Result<_>>()?, convs: convs(w, "conv")? })
    }

    fn forward(&self, ops: &Ops, x: &Act, windows: &Windows) -> Result<Act> {
        let (h, w) = (x.dims().h, x.dims().w);
        let mut order = Order::Rows;
        let mut y: Option<Act> = None;
        for (i, block) in self.blocks.iter().enumerate() {
            let next = if i % 2 == 1 { Order::Shifted } else { Order::Windows };
            let moved = ops.gather(y.as_ref().unwrap_or(x), windows.between(order, next))?;
            y = Some(block.forward(ops, &moved, windows)?);
            order = next;
        }
        let y = ops.gather(y.as_ref().unwrap_or(x), windows.between(order, Order::Rows))?;
        around(ops, &self.convs, y.with_positions(h, w), x)
    }
}

impl SwinIr {
    /// `None` where the tensors are of another network.
    pub(super) fn load(w: &Loader<'_>) -> Result<Option<Self>> {
        const TABLE: &str = "layers.0.residual_group.blocks.0.attn.relative_position_bias_table";
        let folded = w.has("conv_first.1.weight");
        if !w.has(TABLE) || !(folded || w.has("conv_first.weight")) {
            return Ok(None);
        }
        let refused = |name: &str, expected: &str| -> Result<Option<Self>> {
            let found = w.shape(name)?;
            Err(Error::Shape { name: w.name(name), found, expected: expected.into() })
        };
        if w.has("absolute_pos_embed") {
            return refused("absolute_pos_embed", "no such tensor: positions in windows only");
        }
        let name = if folded { "conv_first.1" } else { "conv_first" };
        let first = w.conv(name)?;
        let fold = if folded { ((first.input / 3) as f64).sqrt().round().max(1.0) as usize } else { 1 };
        if first.input != 3 * fold * fold {
            return refused(&format!("{name}.weight"), "pictures of 3 channels");
        }
        // A table has a row for each distance inside a window, in both directions.
        let window = ((w.shape(TABLE)?[0] as f64).sqrt().round() as usize).div_ceil(2);
        let groups = w.count(|i| format!("layers.{i}.residual_group.blocks.0.attn.qkv.weight"));
        let groups = (0..groups).map(|i| Group::load(&w.at(format!("layers.{i}")), window));
        let end = if w.has("conv_before_upsample.0.weight") {
            let (before, last) = (w.conv("conv_before_upsample.0")?, w.conv("conv_last")?);
            if w.has("conv_up1.weight") {
                let ups = (1..).take_while(|i| w.has(&format!("conv_up{i}.weight"))).count();
                let up = (1..=ups).map(|i| w.conv(&format!("conv_up{i}"))).collect::<Result<_>>()?;
                End::Nearest { before, up, high: w.conv("conv_hr")?, last }
            } else {
                let ups = (0..).step_by(2).take_while(|i| w.has(&format!("upsample.{i}.weight")));
                let up = ups.map(|i| w.conv(&format!("upsample.{i}"))).collect::<Result<_>>()?;
                End::Shuffled { before, up, last }
            }
        } else if w.has("upsample.0.weight") {
            End::Direct(w.conv("upsample.0")?)
        } else {
            End::Same(w.conv("conv_last")?)
        };
        Ok(Some(Self {
            first,
            fold,
            window,
            // Those against the traces of JPEG alone have windows of seven, and count to 255.
            range: if window == 7 { 255.0 } else { 1.0 },
            embedded: if w.has("patch_embed.norm.weight") { Some(w.norm("patch_embed.norm")?) } else { None },
            groups: groups.collect::<Result<_>>()?,
            norm: w.norm("norm")?,
            body: convs(w, "conv_after_body")?,
            end,
        }))
    }

    pub(super) fn scale(&self) -> usize {
        let factor = match &self.end {
            End::Shuffled { up, .. } => up.iter().map(|conv| shuffle(conv.output, conv.input)).product(),
            End::Direct(conv) => shuffle(conv.output, 3),
            End::Nearest { up, .. } => 1 << up.len(),
            End::Same(_) => 1,
        };
        (factor / self.fold).max(1)
    }

    /// Pixels `[n, 3, h, w]` to pixels; larger than asked for where the picture was filled up to whole windows.
    pub(super) fn forward(&self, ops: &Ops, pixels: &Tensor) -> Result<Tensor> {
        let x = self.centred(ops, pixels)?;
        let picture = ops.from_nchw(&super::esrgan::fold(&x, self.fold)?)?;
        let same = ConvShape::same(3);
        let shallow = ops.conv(&self.first, &[&picture], same, Epilogue::default())?;
        let d = shallow.dims();
        let windows = Windows::new(d.h, d.w, self.window);
        let norm = |x: &Act, norm: &Norm| {
            ops.layer_norm(x, LayerNorm { norm: Some(norm), eps: EPS, modulation: None, out: Out::Stream })
        };
        let mut y = self.embedded.as_ref().map(|embedded| norm(&shallow, embedded)).transpose()?;
        for group in &self.groups {
            y = Some(group.forward(ops, y.as_ref().unwrap_or(&shallow), &windows)?);
        }
        let y = norm(y.as_ref().unwrap_or(&shallow), &self.norm)?.with_positions(d.h, d.w);
        let y = around(ops, &self.body, y, &shallow)?;
        drop(shallow);
        let y = ops.to_nchw(&self.pixels(ops, y, &picture)?)?;
        if !ops.wants_values() {
            return Ok(y);
        }
        Ok((y / self.range)?.broadcast_add(&mean(pixels)?)?)
    }

    /// Around 0, filled up to whole windows with what is mirrored at the edges.
    fn centred(&self, ops: &Ops, pixels: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = pixels.dims4()?;
        let whole = |size: usize| size.next_multiple_of(self.window * self.fold);
        if !ops.wants_values() {
            return blank(&[n, c, whole(h), whole(w)]);
        }
        let mut x = (pixels.broadcast_sub(&mean(pixels)?)? * self.range)?;
        for (axis, size) in [(2, h), (3, w)] {
            let turn = (2 * size).saturating_sub(2).max(1);
            let mirrored = |i: usize| (i % turn).min(turn - i % turn) as u32;
            if whole(size) > size {
                let index: Vec<u32> = (0..whole(size)).map(mirrored).collect();
                x = x.contiguous()?.index_select(&Tensor::new(index, x.device())?, axis)?;
            }
        }
        Ok(x)
    }

    fn pixels(&self, ops: &Ops, y: Act, picture: &Act) -> Result<Act> {
        let same = ConvShape::same(3);
        let plain = Epilogue::default();
        let how = |activation: Activation| Epilogue::activation(activation, Out::Stream);
        match &self.end {
            End::Shuffled { before, up, last } => {
                let mut y = ops.conv(before, &[&y], same, how(LRELU_BEFORE))?;
                for conv in up {
                    let wide = ops.conv(conv, &[&y], same, plain)?;
                    y = ops.pixel_shuffle(&wide, shuffle(conv.output, conv.input))?;
                }
                ops.conv(last, &[&y], same, plain)
            }
            End::Direct(conv) => {
                let wide = ops.conv(conv, &[&y], same, plain)?;
                ops.pixel_shuffle(&wide, shuffle(conv.output, 3))
            }
            End::Nearest { before, up, high, last } => {
                let mut y = ops.conv(before, &[&y], same, how(LRELU_BEFORE))?;
                for conv in up {
                    y = ops.conv(conv, &[&y], ConvShape { upsample: true, ..same }, how(LRELU))?;
                }
                let y = ops.conv(high, &[&y], same, how(LRELU))?;
                ops.conv(last, &[&y], same, plain)
            }
            End::Same(last) => ops.conv(last, &[&y], same, Epilogue::residual(picture)),
        }
    }
}

/// How many pixels along a side so many channels become.
fn shuffle(channels: usize, pixels: usize) -> usize {
    ((channels / pixels.max(1)) as f64).sqrt().round().max(1.0) as usize
}

fn mean(pixels: &Tensor) -> Result<Tensor> {
    Ok(Tensor::new(&MEAN.map(|mean| mean as f32), pixels.device())?.reshape((1, 3, 1, 1))?)
}
