//! Previews while sampling: a linear map from latent channels to colours, which costs next to
//! nothing.

use candle_core::Tensor;
use ebb_engine::events::{Preview, PreviewFormat};

use crate::families::Family;
use crate::pixels::png;

/// A small picture of a latent in the model's scale; `None` where the family has no map, or the
/// tensor cannot be read.
pub(super) fn encode(latent: &Tensor, family: &Family) -> Option<Preview> {
    let (_, channels, height, width) = latent.dims4().ok()?;
    let (bias, map) = family.preview.split_last()?;
    if map.len() != channels {
        return None;
    }
    let values = latent.get(0).ok()?.flatten_all().ok()?.to_vec1::<f32>().ok()?;
    let cells = height * width;
    let mut bytes = Vec::with_capacity(cells * 3);
    for cell in 0..cells {
        let mut colours = *bias;
        for (channel, row) in map.iter().enumerate() {
            let value = values[channel * cells + cell];
            colours.iter_mut().zip(row).for_each(|(colour, share)| *colour += value * share);
        }
        bytes.extend(colours.map(|colour| (((colour + 1.0) * 0.5).clamp(0.0, 1.0) * 255.0) as u8));
    }
    let data = png::encode(&bytes, (width, height, 3), &[]).ok()?;
    Some(Preview { format: PreviewFormat::Png, data })
}
