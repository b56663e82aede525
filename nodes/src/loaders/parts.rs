//! From what a file was recognised as to the values that loaders give.

use std::sync::Arc;

use ebb_engine::node::NodeError;
use ebb_engine::value::Value;
use ebb_models::clip;
use ebb_models::text::Composition;
use ebb_sampling::ModelSampling;
use ebb_sampling::model_sampling::{ContinuousEdm, Prediction as Output};
use ebb_weights::detect::{self, Component, Family as Detected, Inspection, Naming, Part, Prediction};
use ebb_weights::{ModelFile, WeightError, WeightSource, language_names, t5_names};

use crate::environment::Environment;
use crate::families;
use crate::values::{Clip, Language, Model, T5, Vae};

pub(super) fn refused(error: WeightError) -> NodeError {
    NodeError::model(error.to_string())
}

/// A file with what was found in it.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) inspection: Inspection,
    pub(super) source: WeightSource,
}

impl Opened {
    pub(super) fn new(name: &str, file: &Arc<ModelFile>) -> Result<Self, NodeError> {
        let inspection = detect::inspect(file).map_err(refused)?;
        Ok(Self { name: name.to_owned(), inspection, source: WeightSource::of_file(file) })
    }

    /// A part that lies in several files.
    pub(super) fn of_files(name: &str, files: &[Arc<ModelFile>]) -> Result<Option<Self>, NodeError> {
        let Some((first, rest)) = files.split_first() else { return Ok(None) };
        let mut opened = Self::new(name, first)?;
        if !rest.is_empty() {
            opened.source =
                rest.iter().fold(opened.source, |all, file| all.joined(&WeightSource::of_file(file)));
            opened.inspection.components = detect::components(&opened.source).map_err(refused)?;
        }
        Ok(Some(opened))
    }

    /// The component that a loader cannot do without.
    pub(super) fn require(&self, part: Part) -> Result<&Component, NodeError> {
        self.inspection.require(part).map_err(refused)
    }

    fn unsupported(&self, component: &Component) -> NodeError {
        NodeError::model(format!(
            "{}: is {}; that family does not run here yet (`ebb inspect` says how it was recognised)",
            self.name, component.title
        ))
    }

    /// The denoiser.
    pub(super) fn model(&self, environment: &Environment) -> Result<Model, NodeError> {
        let denoiser = self.require(Part::Denoiser)?;
        let unsupported = || self.unsupported(denoiser);
        let family = families::family(denoiser.family).ok_or_else(unsupported)?;
        let source = match denoiser.naming {
            Naming::Diffusers => {
                ebb_weights::diffusers::denoiser(denoiser.family, &denoiser.source(&self.source))
                    .map_err(refused)?
                    .ok_or_else(unsupported)?
            }
            _ => denoiser.source(&self.source),
        };
        let mut model = Model::new(family, source, &environment.compute)?;
        if let Some(sampling) = self.sampling(denoiser)? {
            model.sampling = sampling;
        }
        Ok(model)
    }

    /// The relation to noise that the file's tensors tell of; `None` leaves it to the family.
    fn sampling(&self, denoiser: &Component) -> Result<Option<ModelSampling>, NodeError> {
        let number = |name: &str, or: f64| -> Result<f64, NodeError> {
            let Some(view) = self.source.get(name) else { return Ok(or) };
            let values = view.to_vec::<f32>().map_err(refused)?;
            Ok(values.first().copied().map_or(or, f64::from))
        };
        Ok(match denoiser.prediction {
            Some(Prediction::Eps) => Some(ModelSampling::eps()),
            Some(Prediction::V) => Some(ModelSampling::v(false)),
            Some(Prediction::VZeroSnr) => Some(ModelSampling::v(true)),
            Some(Prediction::VEdm) => {
                let low = number("edm_vpred.sigma_min", 0.002)?;
                let high = number("edm_vpred.sigma_max", 120.0)?;
                Some(ModelSampling::new(Output::V, ContinuousEdm::new(low, high)))
            }
            Some(Prediction::Edm) => {
                return Err(NodeError::model(format!(
                    "{}: is Playground 2.5, whose latents have a scale of their own; it does not run here yet",
                    self.name
                )));
            }
            Some(Prediction::Flow | Prediction::Picture) | None => None,
        })
    }

    /// The text encoders of a whole checkpoint, put together as its denoiser's family wants them.
    pub(super) fn clip(&self, environment: &Environment) -> Result<Clip, NodeError> {
        let denoiser = self.require(Part::Denoiser)?;
        let composition = families::composition(denoiser.family).ok_or_else(|| self.unsupported(denoiser))?;
        let found: Vec<_> = self.inspection.all(Part::TextEncoder).map(|c| (self, c)).collect();
        encoders(composition, &found, environment)
    }

    /// The autoencoder, if there is one.
    pub(super) fn vae(&self, environment: &Environment) -> Result<Option<Vae>, NodeError> {
        let Some(vae) = self.inspection.component(Part::Vae) else { return Ok(None) };
        autoencoder(vae, &self.source, environment).map(Some)
    }
}

/// An autoencoder that was recognised in some tensors.
pub(super) fn autoencoder(
    vae: &Component,
    source: &WeightSource,
    environment: &Environment,
) -> Result<Vae, NodeError> {
    let source = vae.source(source);
    let source = match vae.naming {
        Naming::Diffusers => ebb_weights::diffusers::vae(&source).map_err(refused)?,
        _ => source,
    };
    Vae::new(source, &environment.compute)
}

/// What stands for an autoencoder that a checkpoint has not: whoever reads it is told.
pub(super) fn no_vae(name: &str) -> Value {
    Value::Blocked(Some(format!("{name} holds no autoencoder; load one with VAELoader").into()))
}

/// Text encoders put together.
pub(super) fn encoders(
    composition: Composition,
    found: &[(&Opened, &Component)],
    environment: &Environment,
) -> Result<Clip, NodeError> {
    let Environment { models, compute, .. } = environment;
    let mut clips: Vec<(clip::Kind, WeightSource)> = Vec::new();
    let (mut t5, mut language) = (None, None);
    for (file, component) in found {
        let source = component.source(&file.source);
        match families::encoder(component.family) {
            Some(kind) => clips.push((kind, clip_names(component, source))),
            None if component.family == Detected::T5 => {
                let source = if component.naming == Naming::LlamaCpp { t5_names(&source) } else { source };
                t5 = Some(T5::new(source, models, compute)?);
            }
            None if component.family == Detected::Qwen3 => {
                let is_llama = component.naming == Naming::LlamaCpp;
                let source = if is_llama { language_names(&source) } else { source };
                language = Some(Language::new(source, models, compute)?);
            }
            None => return Err(file.unsupported(component)),
        }
    }
    let clip = Clip::new(composition, clips, models, compute)?;
    let clip = match t5 {
        Some(t5) => clip.with_t5(t5),
        None => clip,
    };
    Ok(match language {
        Some(language) => clip.with_language(language),
        None => clip,
    })
}

/// CLIP's tensors under the names that its network asks for.
fn clip_names(component: &Component, source: WeightSource) -> WeightSource {
    match component.naming {
        Naming::Alternative => source.renamed(|name| Some(format!("text_model.{name}"))),
        _ => source,
    }
}
