//! `VAEEncodeForInpaint`, `InpaintModelConditioning`: a picture with a hole.

use candle_core::Tensor;
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use super::encode::encode;
use crate::families::set_concat;
use crate::pixels::{self, Crop, Method};
use crate::values::{
    Conditioning, Image, Latent, Mask, OrNode, Vae, elements, repeat_to_batch, round, tensor,
};

/// A picture and its mask, cut to whole cells, and the picture with grey under the mask.
struct Holed {
    picture: Tensor,
    /// `[batch, height, width]`.
    mask: Tensor,
    holed: Tensor,
}

/// Cuts a hole: `[batch, height, width, channels]` becomes grey where the rounded mask is 1.
fn cut_hole(image: &Image, mask: &Mask, scale: usize) -> Result<Holed, NodeError> {
    let shape = image.shape();
    let mask = mask.tensor().unsqueeze(1).or_node()?;
    let mask = pixels::latent(&mask, shape.width, shape.height, Method::Bilinear, Crop::Disabled)?;
    let mask = mask.squeeze(1).or_node()?;
    let (height, width) = (shape.height / scale * scale, shape.width / scale * scale);
    let (top, left) = ((shape.height - height) / 2, (shape.width - width) / 2);
    let cut = |t: &Tensor| t.narrow(1, top, height).and_then(|t| t.narrow(2, left, width)).or_node();
    let (picture, mask) = (cut(image.tensor())?, cut(&mask)?);
    let keep = round(&repeat_to_batch(&mask, shape.batch)?)?.affine(-1.0, 1.0);
    let keep = keep.and_then(|t| t.unsqueeze(3)).or_node()?;
    let holed = picture
        .affine(1.0, -0.5)
        .and_then(|t| t.broadcast_mul(&keep))
        .and_then(|t| t.affine(1.0, 0.5))
        .or_node()?;
    Ok(Holed { picture, mask: mask.contiguous().or_node()?, holed })
}

/// The latent of a picture with a hole that is to be filled.
pub(super) struct VAEEncodeForInpaint;

/// 1 wherever a `by`×`by` window around a cell touches the rounded mask, values of windows summed
/// and cut at 1; an even window reaches one cell further to the left and up.
fn grow(mask: &Tensor, by: usize) -> Result<Tensor, NodeError> {
    let (batch, height, width) = mask.dims3().or_node()?;
    if by == 0 {
        return Ok(mask.clone());
    }
    let rounded: Vec<f32> = elements(mask)?.iter().map(|v| v.round_ties_even()).collect();
    let before = (by - 1).div_ceil(2);
    let after = by - 1 - before;
    let mut out = vec![0f32; rounded.len()];
    for item in 0..batch {
        for y in 0..height {
            for x in 0..width {
                let rows = y.saturating_sub(before)..(y + after + 1).min(height);
                let touched = rows.clone().any(|row| {
                    let line = (item * height + row) * width;
                    let columns = x.saturating_sub(before)..(x + after + 1).min(width);
                    rounded[line + columns.start..line + columns.end].iter().any(|v| *v > 0.0)
                });
                out[(item * height + y) * width + x] = f32::from(u8::from(touched));
            }
        }
    }
    tensor(out, &[batch, height, width])
}

impl Node for VAEEncodeForInpaint {
    fn schema(&self) -> Schema {
        Schema::new("VAEEncodeForInpaint")
            .display("VAE Encode (for Inpainting)")
            .category("latent/inpaint")
            .input(Input::wire("pixels", "IMAGE"))
            .input(Input::wire("vae", "VAE"))
            .input(Input::wire("mask", "MASK"))
            .input(Input::int("grow_mask_by", 6).range(0, 64).option("step", 1))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("pixels")?;
        let vae = inputs.payload::<Vae>("vae")?;
        let cut = cut_hole(&image, &*inputs.payload::<Mask>("mask")?, vae.scale())?;
        let grown = grow(&cut.mask, inputs.size("grow_mask_by")?)?;
        let mut latent = Latent::new(encode(context, &vae, &cut.holed)?);
        latent.noise_mask = Some(Mask::new(round(&grown)?)?);
        Ok(Outcome::payload(latent))
    }
}

/// What an inpainting model is given: the picture outside of a mask, and the mask.
pub(super) struct InpaintModelConditioning;

impl Node for InpaintModelConditioning {
    fn schema(&self) -> Schema {
        Schema::new("InpaintModelConditioning")
            .category("conditioning/inpaint")
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("vae", "VAE"))
            .input(Input::wire("pixels", "IMAGE"))
            .input(Input::wire("mask", "MASK"))
            .input(Input::boolean("noise_mask", true))
            .named_output("CONDITIONING", "positive")
            .named_output("CONDITIONING", "negative")
            .named_output("LATENT", "latent")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("pixels")?;
        let vae = inputs.payload::<Vae>("vae")?;
        let cut = cut_hole(&image, &*inputs.payload::<Mask>("mask")?, vae.scale())?;
        let outside = encode(context, &vae, &cut.holed)?;
        let mut latent = Latent::new(encode(context, &vae, &cut.picture)?);
        if inputs.get("noise_mask").is_none() || inputs.bool("noise_mask")? {
            latent.noise_mask = Some(Mask::new(cut.mask.clone())?);
        }
        let given = |name| -> Result<Value, NodeError> {
            let prompt = inputs.payload::<Conditioning>(name)?;
            Ok(Value::payload(prompt.map(|entry| set_concat(entry, &outside, &cut.mask))))
        };
        Ok(Outcome::values(vec![given("positive")?, given("negative")?, Value::payload(latent)]))
    }
}
