//! Loaders of networks beside the usual ones: picture encoders, style models, GLIGEN, hypernetworks, and checkpoints
//! with a picture encoder.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_models::gligen::Gligen;
use ebb_models::hypernetwork::{Form, Function, Hypernetwork};
use ebb_models::style::StyleModel;
use ebb_models::vision::Vision;
use ebb_weights::WeightSource;

use super::parts::{Opened, no_vae};
use super::{fingerprint, open};
use crate::environment::Environment;
use crate::values::{Handle, Model, Network, Patch};

pub(super) fn register(registry: &mut Registry, environment: &Environment) -> Result<(), DuplicateClass> {
    registry.add(FileLoader {
        environment: environment.clone(),
        class: "CLIPVisionLoader",
        display: "Load CLIP Vision",
        input: "clip_name",
        folder: "clip_vision",
        output: "CLIP_VISION",
        load: |environment, name| loaded(vision(environment, "clip_vision", "clip_name", name)?),
    })?;
    registry.add(FileLoader {
        environment: environment.clone(),
        class: "StyleModelLoader",
        display: "Load Style Model",
        input: "style_model_name",
        folder: "style_models",
        output: "STYLE_MODEL",
        load: |environment, name| loaded(style_model(environment, name)?),
    })?;
    registry.add(FileLoader {
        environment: environment.clone(),
        class: "GLIGENLoader",
        display: "GLIGENLoader",
        input: "gligen_name",
        folder: "gligen",
        output: "GLIGEN",
        load: |environment, name| loaded(gligen(environment, name)?),
    })?;
    registry.add(HypernetworkLoader(environment.clone()))?;
    registry.add(UnCLIPCheckpointLoader(environment.clone()))
}

/// A value and its sketch.
struct Both {
    value: Value,
    sketch: Sketch,
}

fn loaded<N: Network>(handle: Handle<N>) -> Result<Both, NodeError> {
    let handle = Arc::new(handle);
    Ok(Both { value: Value::Payload(handle.clone()), sketch: Sketch::handle(handle) })
}

/// A class that opens one file of one folder.
struct FileLoader {
    environment: Environment,
    class: &'static str,
    display: &'static str,
    input: &'static str,
    folder: &'static str,
    output: &'static str,
    load: fn(&Environment, &str) -> Result<Both, NodeError>,
}

impl Node for FileLoader {
    fn schema(&self) -> Schema {
        let (models, folder) = (self.environment.models.clone(), self.folder);
        Schema::new(self.class)
            .display(self.display)
            .category("loaders")
            .input(Input::listed(self.input, move || models.list(folder)))
            .output(self.output)
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::values(vec![(self.load)(&self.environment, inputs.str(self.input)?)?.value]))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.environment, inputs, self.folder, &[self.input])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str(self.input) else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output((self.load)(&self.environment, name)?.sketch))
    }
}

/// Where a picture encoder may be in a file, and under which names.
fn vision_source(whole: &WeightSource) -> Option<WeightSource> {
    let has = |source: &WeightSource| {
        source.contains("vision_model.embeddings.patch_embedding.weight") || source.contains("conv1.weight")
    };
    let prefixes = ["", "visual.", "embedder.model.visual.", "image_encoder."];
    prefixes.iter().map(|prefix| whole.under(prefix)).find(has)
}

fn vision(
    environment: &Environment,
    folder: &str,
    input: &str,
    name: &str,
) -> Result<Handle<Vision>, NodeError> {
    let file = open(environment, folder, input, name)?;
    let Some(source) = vision_source(&WeightSource::of_file(&file)) else {
        return Err(NodeError::model(format!(
            "{name}: holds no picture encoder: there is no `vision_model` (CLIP, SigLIP) in it"
        )));
    };
    Handle::new(source, (), &environment.compute)
}

fn style_model(environment: &Environment, name: &str) -> Result<Handle<StyleModel>, NodeError> {
    let file = open(environment, "style_models", "style_model_name", name)?;
    Handle::new(WeightSource::of_file(&file), (), &environment.compute)
}

fn gligen(environment: &Environment, name: &str) -> Result<Handle<Gligen>, NodeError> {
    let whole = WeightSource::of_file(&open(environment, "gligen", "gligen_name", name)?);
    let prefixes = ["", "model.diffusion_model.", "model."];
    let own = |source: &WeightSource| source.contains("position_net.null_positive_feature");
    let Some(source) = prefixes.iter().map(|prefix| whole.under(prefix)).find(own) else {
        return Err(NodeError::model(format!("{name}: holds no GLIGEN: there is no `position_net` in it")));
    };
    Handle::new(source, (), &environment.compute)
}

/// A network on the keys and values of a model.
struct HypernetworkLoader(Environment);

impl HypernetworkLoader {
    fn patched(&self, model: &Model, name: &str, strength: f64) -> Result<Model, NodeError> {
        let mut model = model.clone();
        if strength != 0.0 {
            let file = open(&self.0, "hypernetworks", "hypernetwork_name", name)?;
            let says = |key: &str| file.metadata().get(key).map(String::as_str);
            let is = |key: &str| says(key).is_some_and(|text| matches!(text, "True" | "true" | "1"));
            let function = says("activation_func").unwrap_or("linear");
            let Some(function) = Function::named(function) else {
                return Err(NodeError::model(format!(
                    "{name}: its layers are activated by '{function}', which no hypernetwork here is"
                )));
            };
            let form =
                Form { function, normed: is("is_layer_norm"), activates_output: is("activate_output") };
            let network = Handle::<Hypernetwork>::new(WeightSource::of_file(&file), form, &self.0.compute)?;
            model.patches.push(Patch::Hypernetwork(network, strength));
        }
        Ok(model)
    }
}

impl Node for HypernetworkLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("HypernetworkLoader")
            .category("loaders")
            .module("comfy_extras.nodes_hypernetwork")
            .input(Input::wire("model", "MODEL"))
            .input(Input::listed("hypernetwork_name", move || models.list("hypernetworks")))
            .input(Input::float("strength", 1.0).between(-10.0, 10.0).option("step", 0.01))
            .output("MODEL")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.payload::<Model>("model")?;
        let patched = self.patched(&model, inputs.str("hypernetwork_name")?, inputs.float("strength")?)?;
        Ok(Outcome::payload(patched))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs, "hypernetworks", &["hypernetwork_name"])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(model), Some(name)) = (inputs.what::<Model>("model"), inputs.str("hypernetwork_name"))
        else {
            return Ok(Forecast::unknown());
        };
        let strength = inputs.get("strength").as_json().and_then(|v| v.as_f64()).unwrap_or(1.0);
        Ok(Forecast::output(Sketch::handle(Arc::new(self.patched(&model, name, strength)?))))
    }
}

/// A checkpoint with a picture encoder in it.
struct UnCLIPCheckpointLoader(Environment);

impl UnCLIPCheckpointLoader {
    fn parts(&self, name: &str) -> Result<([Value; 4], [Sketch; 4]), NodeError> {
        let file = open(&self.0, "checkpoints", "ckpt_name", name)?;
        let opened = Opened::new(name, &file)?;
        let (model, clip) = (Arc::new(opened.model(&self.0)?), Arc::new(opened.clip(&self.0)?));
        let vae = opened.vae(&self.0)?.map(Arc::new);
        let vision = match vision_source(&opened.source) {
            Some(source) => Some(Arc::new(Handle::<Vision>::new(source, (), &self.0.compute)?)),
            None => None,
        };
        let no_vision = || {
            let said = format!("{name} holds no picture encoder; load one with CLIPVisionLoader");
            Value::Blocked(Some(said.into()))
        };
        let sketches = [
            Sketch::handle(model.clone()),
            Sketch::handle(clip.clone()),
            vae.clone().map_or(Sketch::Unknown, Sketch::handle),
            vision.clone().map_or(Sketch::Unknown, Sketch::handle),
        ];
        let values = [
            Value::Payload(model),
            Value::Payload(clip),
            vae.map_or_else(|| no_vae(name), |vae| Value::Payload(vae)),
            vision.map_or_else(no_vision, |vision| Value::Payload(vision)),
        ];
        Ok((values, sketches))
    }
}

impl Node for UnCLIPCheckpointLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("unCLIPCheckpointLoader")
            .category("loaders")
            .input(Input::listed("ckpt_name", move || models.list("checkpoints")))
            .output("MODEL")
            .output("CLIP")
            .output("VAE")
            .output("CLIP_VISION")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::values(self.parts(inputs.str("ckpt_name")?)?.0.into()))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs, "checkpoints", &["ckpt_name"])
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(name) = inputs.str("ckpt_name") else { return Ok(Forecast::unknown()) };
        Ok(Forecast { outputs: self.parts(name)?.1.into(), ..Forecast::default() })
    }
}
