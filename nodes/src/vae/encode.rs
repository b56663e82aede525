//! `VAEEncode`, `VAEEncodeTiled`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Saving, Sketches, Way};
use ebb_engine::schema::{Input, Schema};

use super::tiles::{self, Tiling};
use crate::values::{Image, ImageShape, Latent, LatentShape, LoadedVae, OrNode, Vae, model_error};

/// RGB pictures in 0 … 1 as pixels in −1 … 1, channels first, cut around their middle to whole cells.
pub(super) fn to_pixels(picture: &Tensor, scale: usize) -> Result<Tensor, NodeError> {
    let (_, height, width, channels) = picture.dims4().or_node()?;
    let (h, w) = (height / scale * scale, width / scale * scale);
    if h == 0 || w == 0 {
        return Err(NodeError::input(
            "pixels",
            format!(
                "a picture of {width}×{height} is smaller than one latent cell of {scale}×{scale} pixels"
            ),
        ));
    }
    let pixels = picture
        .narrow(1, (height - h) / 2, h)
        .and_then(|t| t.narrow(2, (width - w) / 2, w))
        .and_then(|t| t.narrow(3, 0, channels.min(3)))
        .and_then(|t| t.permute((0, 3, 1, 2)))
        .or_node()?;
    let pixels = match channels {
        1 => pixels.repeat((1, 3, 1, 1)).or_node()?,
        _ => pixels,
    };
    pixels.affine(2.0, -1.0).and_then(|t| t.contiguous()).or_node()
}

fn encode_one(context: &Context, vae: &LoadedVae, label: &str, pixels: &Tensor) -> Result<Tensor, NodeError> {
    let stop = || context.check().is_err();
    vae.network().encode_unless(pixels, &stop).map_err(|e| model_error(label, e))
}

/// The latent of pictures.
pub(crate) fn encode(context: &Context, vae: &Vae, picture: &Tensor) -> Result<Tensor, NodeError> {
    let pixels = to_pixels(picture, vae.scale())?;
    let (batch, _, height, width) = pixels.dims4().or_node()?;
    if let Some(tiling) = tiles::asked(context, 1) {
        return encode_tiled(context, vae, &pixels, tiling);
    }
    let loaded = vae.load(context)?;
    let _scratch =
        vae.compute().room(context, "VAE encode", vae.encode_scratch(1, height, width).unwrap_or(0))?;
    let mut latents = Vec::with_capacity(batch);
    for item in 0..batch {
        context.progress(item as f64, batch as f64)?;
        let one = pixels.narrow(0, item, 1).or_node()?;
        latents.push(encode_one(context, &loaded, &vae.spec().label, &one)?);
    }
    Tensor::cat(&latents, 0).or_node()
}

/// Bytes of scratch of an encoding in tiles; the tiling is in pixels.
fn tiled_scratch(vae: &Vae, image: ImageShape, tiling: Tiling) -> Option<u64> {
    let size = (image.height, image.width);
    let tile = tiles::dearest(tiling.tile, size, |height, width| vae.encode_scratch(1, height, width))?;
    let plane = image.height * image.width / vae.scale().pow(2);
    Some(tile.saturating_add(tiles::blending(vae.latent_channels() * image.batch, plane)))
}

/// The latent of pixels, tile by tile.
fn encode_tiled(context: &Context, vae: &Vae, pixels: &Tensor, tiling: Tiling) -> Result<Tensor, NodeError> {
    let (batch, channels, height, width) = pixels.dims4().or_node()?;
    let scratch = tiled_scratch(vae, ImageShape { batch, height, width, channels }, tiling);
    let loaded = vae.load(context)?;
    let _scratch = vae.compute().room(context, "VAE encode (tiled)", scratch.unwrap_or(0))?;
    tiles::three_ways(pixels, tiling, (1, vae.scale()), vae.latent_channels(), |tile, done, total| {
        context.progress(done as f64, total as f64)?;
        encode_one(context, &loaded, &vae.spec().label, tile)
    })
}

/// Ways to encode in less memory.
pub(super) fn ways(vae: &Vae, image: ImageShape) -> Vec<Way> {
    let ways = tiles::savings(image.height, image.width, 1).filter_map(|(side, tiling)| {
        let scratch = tiled_scratch(vae, image, tiling)?;
        Some(Way { savings: vec![Saving::Tiles { side }], uses: vec![vae.spec().clone()], scratch })
    });
    ways.collect()
}

fn forecast(
    inputs: &Sketches,
    scratch: impl FnOnce(&Vae, ImageShape) -> Option<u64>,
) -> Result<Forecast, NodeError> {
    let (Some(vae), Some(image)) = (inputs.what::<Vae>("vae"), inputs.what::<ImageShape>("pixels")) else {
        return Ok(Forecast::unknown());
    };
    let scale = vae.scale();
    let shape = LatentShape {
        batch: image.batch,
        channels: vae.latent_channels(),
        height: image.height / scale,
        width: image.width / scale,
    };
    let scratch = scratch(&vae, *image).unwrap_or(0);
    Ok(Forecast::output(shape.sketch()?).loading(vae.spec().clone(), vae.loader()).scratch(scratch))
}

/// A picture's latent.
pub(super) struct VAEEncode;

impl Node for VAEEncode {
    fn schema(&self) -> Schema {
        Schema::new("VAEEncode")
            .display("VAE Encode")
            .category("latent")
            .input(Input::wire("pixels", "IMAGE"))
            .input(Input::wire("vae", "VAE"))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("pixels")?;
        let vae = inputs.payload::<Vae>("vae")?;
        Ok(Outcome::payload(Latent::new(encode(context, &vae, image.tensor())?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let plain = forecast(inputs, |vae, image| vae.encode_scratch(1, image.height, image.width))?;
        let (Some(vae), Some(image)) = (inputs.what::<Vae>("vae"), inputs.what::<ImageShape>("pixels"))
        else {
            return Ok(plain);
        };
        Ok(plain.or(ways(&vae, *image)))
    }
}

/// A picture's latent, tile by tile.
pub(super) struct VAEEncodeTiled;

impl Node for VAEEncodeTiled {
    fn schema(&self) -> Schema {
        Schema::new("VAEEncodeTiled")
            .display("VAE Encode (Tiled)")
            .category("_for_testing")
            .input(Input::wire("pixels", "IMAGE"))
            .input(Input::wire("vae", "VAE"))
            .input(Input::int("tile_size", 512).range(64, 4096).option("step", 64))
            .input(Input::int("overlap", 64).range(0, 4096).option("step", 32))
            .input(Input::int("temporal_size", 64).range(8, 4096).option("step", 4))
            .input(Input::int("temporal_overlap", 8).range(4, 4096).option("step", 4))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("pixels")?;
        let vae = inputs.payload::<Vae>("vae")?;
        let scale = vae.scale();
        let pixels = to_pixels(image.tensor(), scale)?;
        let tile = inputs.size("tile_size")? / scale * scale;
        let tiling = Tiling { tile, overlap: inputs.size("overlap")?.min(tile / 2) / scale * scale };
        Ok(Outcome::payload(Latent::new(encode_tiled(context, &vae, &pixels, tiling)?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let tile = inputs.uint("tile_size").unwrap_or(512) as usize;
        forecast(inputs, |vae, image| {
            tiled_scratch(vae, image, Tiling { tile: tile / vae.scale() * vae.scale(), overlap: 0 })
        })
    }
}
