//! `VAEDecode`, `VAEDecodeTiled`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Saving, Sketches, Way};
use ebb_engine::schema::{Input, Schema};

use super::tiles::{self, Tiling};
use crate::values::{Image, ImageShape, Latent, LatentShape, LoadedVae, OrNode, Vae, model_error};

/// Pixels in −1 … 1 as a picture in 0 … 1, channels last.
fn to_picture(pixels: &Tensor) -> Result<Image, NodeError> {
    let picture =
        pixels.affine(0.5, 0.5).and_then(|t| t.clamp(0f32, 1f32)).and_then(|t| t.permute((0, 2, 3, 1)));
    Image::new(picture.or_node()?)
}

fn decode(context: &Context, vae: &LoadedVae, label: &str, latent: &Tensor) -> Result<Tensor, NodeError> {
    let stop = || context.check().is_err();
    vae.network().decode_unless(latent, &stop).map_err(|e| model_error(label, e))
}

/// Refuses latents of another family in words.
fn check(vae: &Vae, latent: &Latent) -> Result<LatentShape, NodeError> {
    let shape = latent.shape()?;
    if shape.channels == vae.latent_channels() {
        return Ok(shape);
    }
    Err(NodeError::input(
        "samples",
        format!(
            "has {} channels; this VAE decodes {}: the latent and the VAE are of different families",
            shape.channels,
            vae.latent_channels()
        ),
    ))
}

fn forecast(
    inputs: &Sketches,
    scratch: impl FnOnce(&Vae, LatentShape) -> Option<u64>,
) -> Result<Forecast, NodeError> {
    let (Some(vae), Some(latent)) = (inputs.what::<Vae>("vae"), inputs.what::<LatentShape>("samples")) else {
        return Ok(Forecast::unknown());
    };
    let scale = vae.scale();
    let shape = ImageShape {
        batch: latent.batch,
        height: latent.height * scale,
        width: latent.width * scale,
        channels: 3,
    };
    let scratch = scratch(&vae, *latent).unwrap_or(0);
    Ok(Forecast::output(shape.sketch()?).loading(vae.spec().clone(), vae.loader()).scratch(scratch))
}

/// A latent's picture.
pub(super) struct VAEDecode;

impl Node for VAEDecode {
    fn schema(&self) -> Schema {
        Schema::new("VAEDecode")
            .display("VAE Decode")
            .category("latent")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::wire("vae", "VAE"))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let vae = inputs.payload::<Vae>("vae")?;
        let shape = check(&vae, &latent)?;
        if let Some(tiling) = tiles::asked(context, vae.scale()) {
            return decode_tiled(context, &vae, &latent, tiling);
        }
        let loaded = vae.load(context)?;
        let mut pictures = Vec::with_capacity(shape.batch);
        // One at a time: a picture takes the same scratch alone and in any batch.
        let scratch = vae.decode_scratch(1, shape.height, shape.width);
        let _scratch = vae.compute().room(context, "VAE decode", scratch.unwrap_or(0))?;
        for item in 0..shape.batch {
            context.progress(item as f64, shape.batch as f64)?;
            let one = latent.samples.narrow(0, item, 1).or_node()?;
            pictures.push(decode(context, &loaded, &vae.spec().label, &one)?);
        }
        Ok(Outcome::payload(to_picture(&Tensor::cat(&pictures, 0).or_node()?)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let plain = forecast(inputs, |vae, latent| vae.decode_scratch(1, latent.height, latent.width))?;
        let (Some(vae), Some(latent)) = (inputs.what::<Vae>("vae"), inputs.what::<LatentShape>("samples"))
        else {
            return Ok(plain);
        };
        let scale = vae.scale();
        let ways = tiles::savings(latent.height * scale, latent.width * scale, scale).filter_map(
            |(side, tiling)| {
                let scratch = tiled_scratch(&vae, *latent, tiling)?;
                Some(Way { savings: vec![Saving::Tiles { side }], uses: vec![vae.spec().clone()], scratch })
            },
        );
        Ok(plain.or(ways))
    }
}

/// Bytes of scratch of a decoding in tiles.
fn tiled_scratch(vae: &Vae, latent: LatentShape, tiling: Tiling) -> Option<u64> {
    let size = (latent.height, latent.width);
    let tile = tiles::dearest(tiling.tile, size, |height, width| vae.decode_scratch(1, height, width))?;
    let plane = latent.height * latent.width * vae.scale().pow(2);
    Some(tile.saturating_add(tiles::blending(3 * latent.batch, plane)))
}

fn decode_tiled(context: &Context, vae: &Vae, latent: &Latent, tiling: Tiling) -> Result<Outcome, NodeError> {
    let scratch = tiled_scratch(vae, check(vae, latent)?, tiling);
    let loaded = vae.load(context)?;
    let _scratch = vae.compute().room(context, "VAE decode (tiled)", scratch.unwrap_or(0))?;
    let pixels = tiles::three_ways(&latent.samples, tiling, (vae.scale(), 1), 3, |tile, done, total| {
        context.progress(done as f64, total as f64)?;
        decode(context, &loaded, &vae.spec().label, tile)
    })?;
    Ok(Outcome::payload(to_picture(&pixels)?))
}

/// A latent's picture, tile by tile: less scratch, a little more time.
pub(super) struct VAEDecodeTiled;

fn tiling(tile_size: usize, overlap: usize, scale: usize) -> Tiling {
    // The overlap stays below a quarter of the tile, and the tile above the overlap.
    let overlap = if tile_size < overlap * 4 { tile_size / 4 } else { overlap };
    Tiling { tile: (tile_size / scale).max(1), overlap: overlap / scale }
}

impl Node for VAEDecodeTiled {
    fn schema(&self) -> Schema {
        Schema::new("VAEDecodeTiled")
            .display("VAE Decode (Tiled)")
            .category("_for_testing")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::wire("vae", "VAE"))
            .input(Input::int("tile_size", 512).range(64, 4096).option("step", 32))
            .input(Input::int("overlap", 64).range(0, 4096).option("step", 32))
            .input(Input::int("temporal_size", 64).range(8, 4096).option("step", 4))
            .input(Input::int("temporal_overlap", 8).range(4, 4096).option("step", 4))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let vae = inputs.payload::<Vae>("vae")?;
        check(&vae, &latent)?;
        let tiling = tiling(inputs.size("tile_size")?, inputs.size("overlap")?, vae.scale());
        decode_tiled(context, &vae, &latent, tiling)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let size = |name| inputs.uint(name).map(|n| n as usize);
        let (tile, overlap) = (size("tile_size").unwrap_or(512), size("overlap").unwrap_or(64));
        forecast(inputs, |vae, latent| tiled_scratch(vae, latent, tiling(tile, overlap, vae.scale())))
    }
}
