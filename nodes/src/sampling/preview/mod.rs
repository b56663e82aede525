//! Previews while sampling: what the picture would be if sampling stopped here, small and soon.
//!
//! `linear` draws a latent cell by cell; `small` decodes it with a small autoencoder where its file
//! is there and was asked for; `share` keeps either from slowing a run down.

mod linear;
mod share;
mod small;

use candle_core::Tensor;
use ebb_engine::events::{Preview, PreviewFormat, PreviewMethod, Previews};
use ebb_engine::node::Context;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use crate::values::Model;

/// Of a preview's JPEG, as ComfyUI sends it.
const QUALITY: u8 = 95;

/// Red, green and blue, row by row.
struct Pixels {
    bytes: Vec<u8>,
    width: usize,
    height: usize,
}

/// −1 … 1 as a byte.
fn byte(value: f32) -> u8 {
    ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// Draws the latents of one run.
pub(super) struct Previewer {
    draws: Draws,
    size: u32,
    share: share::Share,
}

enum Draws {
    Nothing,
    Linear(&'static linear::Map),
    Small(small::Small),
}

impl Previewer {
    /// What a run asks for, for a latent's height and width in cells. A preview is never a reason to
    /// fail: without a file, or without room for it, it is drawn the cheaper way.
    pub(super) fn new(context: &Context, model: &Model, cells: (usize, usize)) -> Self {
        let Previews { method, size } = context.previews();
        let linear = || linear::of(&model.family.latent_format).map_or(Draws::Nothing, Draws::Linear);
        let draws = match method {
            PreviewMethod::None => Draws::Nothing,
            PreviewMethod::Auto | PreviewMethod::Latent2Rgb => linear(),
            PreviewMethod::Taesd => match small::Small::open(context, model, cells) {
                Ok(Some(small)) => Draws::Small(small),
                Ok(None) => linear(),
                Err(error) => {
                    tracing::warn!(%error, "previews are drawn without the small decoder");
                    linear()
                }
            },
        };
        Self { draws, size, share: share::Share::new() }
    }

    /// The latent's first picture; `None` where none are made, it cannot be read, or previews took their share already.
    pub(super) fn draw(&self, latent: &Tensor) -> Option<Preview> {
        if matches!(self.draws, Draws::Nothing) {
            return None;
        }
        self.share.draw(|| self.picture(latent))
    }

    fn picture(&self, latent: &Tensor) -> Option<Preview> {
        let pixels = match &self.draws {
            Draws::Nothing => return None,
            Draws::Linear(map) => linear::draw(latent, map)?,
            Draws::Small(small) => small.draw(latent)?,
        };
        let data = jpeg(pixels, self.size)?;
        Some(Preview { format: PreviewFormat::Jpeg, data })
    }
}

/// A JPEG whose longer side has `size` pixels: clients lay it out by its size, so it is enlarged too.
fn jpeg(pixels: Pixels, size: u32) -> Option<Vec<u8>> {
    let Pixels { bytes, width, height } = pixels;
    let longer = width.max(height).max(1) as f64;
    let scaled = |side: usize| ((side as f64 * f64::from(size) / longer).round() as u32).max(1);
    let (to_width, to_height) = (scaled(width), scaled(height));
    let picture = RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, bytes)?;
    let picture = if picture.dimensions() == (to_width, to_height) {
        picture
    } else {
        resize(&picture, to_width, to_height, FilterType::Triangle)
    };
    let mut data = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut data, QUALITY);
    encoder.write_image(&picture, to_width, to_height, ExtendedColorType::Rgb8).ok()?;
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_has_the_size_that_was_asked_for() {
        for ((width, height), expected) in
            [((16, 16), (512, 512)), ((64, 96), (341, 512)), ((1024, 512), (512, 256))]
        {
            let pixels = Pixels { bytes: vec![200; width * height * 3], width, height };
            let data = jpeg(pixels, 512).expect("a picture");
            let read = image::load_from_memory(&data).expect("a JPEG").to_rgb8();
            assert_eq!(read.dimensions(), expected);
            assert!(read.pixels().all(|p| p.0.iter().all(|b| b.abs_diff(200) <= 2)));
        }
    }

    #[test]
    fn bytes() {
        assert_eq!([-2.0, -1.0, 0.0, 0.5, 1.0, 7.0].map(byte), [0, 0, 128, 191, 255, 255]);
    }
}
