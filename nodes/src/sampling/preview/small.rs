//! A small autoencoder (TAESD) as a preview: closer to the picture than a linear map, and a
//! thousand times its work.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use ebb_engine::node::{Context, NodeError};
use ebb_engine::residency::{Component, Lease};
use ebb_models::LoadOptions;
use ebb_models::taesd::{Scaling, Taesd};
use ebb_sampling::LatentFormat;
use ebb_weights::WeightSource;

use super::Pixels;
use crate::compute::{Compute, Room};
use crate::values::tensors::Tensors;
use crate::values::{Model, load_progress, model_error};

/// It reads latents in the denoiser's own scale.
const AS_SAMPLED: Scaling = Scaling { scale: 1.0, shift: 0.0 };

/// A small decoder in memory, with room to run.
pub(super) struct Small {
    decoder: Lease<Decoder>,
    _scratch: Room,
}

struct Decoder(Taesd);

impl Component for Decoder {
    fn bytes(&self) -> u64 {
        self.0.bytes() as u64
    }
}

/// How the names of a latent format's files in `models/vae_approx` begin.
pub(super) fn file_name(format: &LatentFormat) -> Option<&'static str> {
    let known = [
        (LatentFormat::SD1, "taesd_decoder"),
        (LatentFormat::SDXL, "taesdxl_decoder"),
        (LatentFormat::SD3, "taesd3_decoder"),
        (LatentFormat::FLUX, "taef1_decoder"),
    ];
    known.into_iter().find_map(|(of, name)| (of == *format).then_some(name))
}

impl Small {
    /// The decoder of a model's latents, for a latent's height and width in cells; `None` where
    /// there is no file.
    ///
    /// # Errors
    /// Where the file is no such decoder, or there is no room for it.
    pub(super) fn open(
        context: &Context,
        model: &Model,
        (height, width): (usize, usize),
    ) -> Result<Option<Self>, NodeError> {
        let compute = model.compute();
        let Some(source) = source(&model.family.latent_format, compute)? else { return Ok(None) };
        let tensors = Tensors::of_file(source);
        let label = tensors.label("preview decoder");
        let counting = compute.counting();
        let failed = |error| model_error(&label, error);
        let outline =
            Taesd::load(&counting, &tensors.source, AS_SAMPLED, LoadOptions::default()).map_err(failed)?;
        let latent =
            Tensor::zeros((1, model.family.latent_channels, height, width), DType::F32, &Device::Cpu);
        counting.reset_peak();
        latent.map_err(Into::into).and_then(|latent| outline.decode(&latent)).map_err(failed)?;
        let scratch = compute.room(context, "preview", counting.peak_pages().unwrap_or(0) as u64)?;
        let spec = tensors.spec("taesd_decoder", compute, outline.bytes() as u64);
        let decoder = context.component(&spec, |progress| {
            let mut report = load_progress(progress, spec.bytes);
            let options = LoadOptions { progress: Some(&mut report), ..LoadOptions::default() };
            Taesd::load(compute.ops(), &tensors.source, AS_SAMPLED, options).map(Decoder).map_err(failed)
        })?;
        Ok(Some(Self { decoder, _scratch: scratch }))
    }

    /// The first picture of a batch.
    pub(super) fn draw(&self, latent: &Tensor) -> Option<Pixels> {
        let first = latent.narrow(0, 0, 1).ok()?;
        let picture = self.decoder.0.decode(&first).ok()?.squeeze(0).ok()?;
        let (_, height, width) = picture.dims3().ok()?;
        let values = picture.permute((1, 2, 0)).ok()?.flatten_all().ok()?.to_vec1::<f32>().ok()?;
        Some(Pixels { bytes: values.into_iter().map(super::byte).collect(), width, height })
    }
}

/// The decoder's tensors under the names that the network has in a whole file.
fn source(format: &LatentFormat, compute: &Arc<Compute>) -> Result<Option<WeightSource>, NodeError> {
    let (Some(name), Some(folders)) = (file_name(format), compute.small_decoders()) else { return Ok(None) };
    let Some(file) = folders.list("vae_approx").into_iter().find(|file| file.starts_with(name)) else {
        tracing::warn!(
            "previews by a small decoder were asked for, but models/vae_approx has no {name} file"
        );
        return Ok(None);
    };
    let file = folders.open("vae_approx", &file).map_err(|e| NodeError::model(e.to_string()))?;
    let source = WeightSource::of_file(&file);
    if source.names().any(|name| name.starts_with("taesd_decoder.")) {
        return Ok(Some(source));
    }
    // A file of its own numbers the layers without saying whose they are.
    Ok(Some(source.renamed(|name| Some(format!("taesd_decoder.{name}")))))
}
