//! What some models see beside the noisy latent, as further channels: a picture, or a mask and the picture
//! outside of it.

use candle_core::Tensor;
use ebb_engine::node::NodeError;
use ebb_sampling::Result;
use ebb_sampling::guidance::{CondValue, Conditioning, InputContext};

use super::Family;
use crate::pixels::{self, Crop, Method};
use crate::values::{repeat_to_batch, round};

/// A grey picture's latent in SD 1's scale: what a model sees where nothing is given.
const GREY: [f32; 4] = [0.8223, -0.6876, 0.6364, 0.1380];
/// Pixels along a side of a latent cell, each with a channel of its own in Flux Fill's mask.
const CELL: usize = 8;

/// The channels that a network of `channels` reads after the latent's; `None` where it reads none, or where
/// nothing here knows what they are.
pub(crate) fn concat(
    family: &Family,
    channels: usize,
    entry: &Conditioning,
    context: &InputContext<'_>,
) -> Result<Option<Tensor>> {
    let latent = family.latent_channels;
    let more = channels.saturating_sub(latent);
    Ok(match more {
        _ if more == latent => Some(picture(family, entry, context)?),
        _ if more == latent + 1 => Some(inpainting(family, entry, context)?),
        _ if more == latent + CELL * CELL => {
            Some(Tensor::cat(&[&picture(family, entry, context)?, &mask_by_pixels(entry, context)?], 1)?)
        }
        _ => None,
    })
}

fn failed(error: NodeError) -> ebb_sampling::Error {
    candle_core::Error::Msg(error.message).into()
}

/// Resized to the latent's size, or `by` times that, and repeated to its batch.
fn fit(tensor: &Tensor, like: &Tensor, by: usize) -> Result<Tensor> {
    let (batch, _, height, width) = like.dims4()?;
    let (height, width) = (height * by, width * by);
    let fits = tensor.dims4().is_ok_and(|(_, _, h, w)| (h, w) == (height, width));
    let fitted = if fits {
        tensor.clone()
    } else {
        pixels::latent(tensor, width, height, Method::Bilinear, Crop::Center).map_err(failed)?
    };
    repeat_to_batch(&fitted, batch).map_err(failed)
}

/// The picture that is edited or followed: what InstructPix2Pix, Flux Canny and Flux Depth read.
fn picture(family: &Family, entry: &Conditioning, context: &InputContext<'_>) -> Result<Tensor> {
    let noise = context.noise;
    let Some(latent) = entry.tensor("concat_latent_image") else { return Ok(noise.zeros_like()?) };
    let latent = fit(latent, noise, 1)?;
    if family.edits_scaled { family.latent_format.process_in(&latent) } else { Ok(latent) }
}

/// `[batch, channels, height, width]` of a mask in any of its shapes.
fn given_mask(entry: &Conditioning, context: &InputContext<'_>) -> Result<Option<Tensor>> {
    let Some(mask) = entry.tensor("concat_mask").or(context.denoise_mask) else { return Ok(None) };
    Ok(Some(match mask.rank() {
        2 => mask.unsqueeze(0)?.unsqueeze(0)?,
        3 => mask.unsqueeze(1)?,
        _ => mask.clone(),
    }))
}

/// Flux Fill's mask: the 8×8 pixels of a cell as 64 channels. With none, everything is to be painted.
fn mask_by_pixels(entry: &Conditioning, context: &InputContext<'_>) -> Result<Tensor> {
    let (batch, _, height, width) = context.noise.dims4()?;
    let Some(mask) = given_mask(entry, context)? else {
        let shape = (batch, CELL * CELL, height, width);
        return Ok(Tensor::ones(shape, context.noise.dtype(), context.noise.device())?);
    };
    let mask = fit(&mask.mean_keepdim(1)?, context.noise, CELL)?;
    let cells = mask.reshape(vec![batch, height, CELL, width, CELL])?.permute(vec![0, 2, 4, 1, 3])?;
    Ok(cells.contiguous()?.reshape((batch, CELL * CELL, height, width))?)
}

/// Mask (1 channel), then masked picture: what the 5 extra channels of an inpainting UNet hold.
/// With no mask anywhere everything is to be painted, on grey.
fn inpainting(family: &Family, entry: &Conditioning, context: &InputContext<'_>) -> Result<Tensor> {
    let noise = context.noise;
    let Some(mask) = given_mask(entry, context)? else {
        let (batch, _, height, width) = noise.dims4()?;
        let ones = Tensor::ones((batch, 1, height, width), noise.dtype(), noise.device())?;
        let grey = Tensor::new(&GREY, noise.device())?.reshape((1, 4, 1, 1))?;
        let grey = grey.broadcast_as((batch, 4, height, width))?;
        return Ok(Tensor::cat(&[&ones, &grey.contiguous()?], 1)?);
    };
    let picture = match entry.tensor("concat_latent_image") {
        Some(latent) => family.latent_format.process_in(latent)?,
        None => context.latent.clone(),
    };
    let mask = round(&fit(&mask.narrow(1, 0, 1)?, noise, 1)?).map_err(failed)?;
    Ok(Tensor::cat(&[&mask, &fit(&picture, noise, 1)?], 1)?)
}

/// Leaves a picture for [`concat`] to find.
pub(crate) fn set_picture(entry: &mut Conditioning, latent: &Tensor) {
    entry.extra.insert("concat_latent_image".into(), CondValue::Tensor(latent.clone()));
}

/// Leaves a picture and a mask for [`concat`] to find.
pub(crate) fn set_concat(entry: &mut Conditioning, latent: &Tensor, mask: &Tensor) {
    set_picture(entry, latent);
    entry.extra.insert("concat_mask".into(), CondValue::Tensor(mask.clone()));
}
