//! What inpainting models see beside the noisy latent: a mask and the picture outside of it.

use candle_core::Tensor;
use ebb_sampling::guidance::{CondValue, Conditioning, InputContext};
use ebb_sampling::{LatentFormat, Result};

use crate::pixels::{self, Crop, Method};
use crate::values::repeat_to_batch;

/// A grey picture's latent in SD 1's scale: what a model sees where nothing is given.
const GREY: [f32; 4] = [0.8223, -0.6876, 0.6364, 0.1380];

fn fit(tensor: &Tensor, like: &Tensor) -> Result<Tensor> {
    let (batch, _, height, width) = like.dims4()?;
    let failed = |e: ebb_engine::node::NodeError| candle_core::Error::Msg(e.message);
    let fits = tensor.dims4().is_ok_and(|(_, _, h, w)| (h, w) == (height, width));
    let fitted = if fits {
        tensor.clone()
    } else {
        pixels::latent(tensor, width, height, Method::Bilinear, Crop::Center).map_err(failed)?
    };
    Ok(repeat_to_batch(&fitted, batch).map_err(failed)?)
}

/// Mask (1 channel), then masked picture: what the 5 extra channels of an inpainting UNet hold.
/// With no mask anywhere everything is to be painted, on grey.
pub(crate) fn image_concat(
    entry: &Conditioning,
    context: &InputContext<'_>,
    format: &LatentFormat,
) -> Result<Tensor> {
    let noise = context.noise;
    let given = entry.tensor("concat_mask").or(context.denoise_mask);
    let Some(mask) = given else {
        let (batch, _, height, width) = noise.dims4()?;
        let ones = Tensor::ones((batch, 1, height, width), noise.dtype(), noise.device())?;
        let grey = Tensor::new(&GREY, noise.device())?.reshape((1, 4, 1, 1))?;
        let grey = grey.broadcast_as((batch, 4, height, width))?;
        return Ok(Tensor::cat(&[&ones, &grey.contiguous()?], 1)?);
    };
    let mask = match mask.rank() {
        2 => mask.unsqueeze(0)?.unsqueeze(0)?,
        3 => mask.unsqueeze(1)?,
        _ => mask.narrow(1, 0, 1)?,
    };
    let picture = match entry.tensor("concat_latent_image") {
        Some(latent) => format.process_in(latent)?,
        None => context.latent.clone(),
    };
    Ok(Tensor::cat(&[&fit(&mask, noise)?.round()?, &fit(&picture, noise)?], 1)?)
}

/// Names under which conditioning nodes leave what [`image_concat`] reads.
pub(crate) fn set_concat(entry: &mut Conditioning, latent: &Tensor, mask: &Tensor) {
    entry.extra.insert("concat_latent_image".into(), CondValue::Tensor(latent.clone()));
    entry.extra.insert("concat_mask".into(), CondValue::Tensor(mask.clone()));
}
