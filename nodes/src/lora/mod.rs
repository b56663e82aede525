//! `LoraLoader`, `LoraLoaderModelOnly`.
//!
//! A LoRA is a view: the base's weights stay as they are and are shared; what a patch changes is a component of its
//! own, loaded when it is first used and evicted before its base.

mod apply;

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use crate::environment::Environment;
use crate::loaders::open;
use crate::values::{Clip, Model};
use apply::{LoraFile, Strengths};

pub(crate) fn register(registry: &mut Registry, environment: &Environment) -> Result<(), DuplicateClass> {
    registry.add(LoraLoader(environment.clone()))?;
    registry.add(LoraLoaderModelOnly(environment.clone()))
}

fn fingerprint(environment: &Environment, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
    let file = open(environment, "loras", "lora_name", inputs.str("lora_name")?)?;
    Ok(Some(Changed::Fingerprint(file.fingerprint())))
}

/// A number at an input of a sketch; `None` where another node makes it.
fn number(inputs: &Sketches, name: &str) -> Option<f64> {
    inputs.get(name).as_json()?.as_f64()
}

/// Patches a denoiser and its text encoders.
struct LoraLoader(Environment);

impl Node for LoraLoader {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("LoraLoader")
            .display("Load LoRA")
            .category("loaders")
            .input(Input::wire("model", "MODEL"))
            .input(Input::wire("clip", "CLIP"))
            .input(Input::listed("lora_name", move || models.list("loras")))
            .input(Input::float("strength_model", 1.0).between(-100.0, 100.0).option("step", 0.01))
            .input(Input::float("strength_clip", 1.0).between(-100.0, 100.0).option("step", 0.01))
            .output("MODEL")
            .output("CLIP")
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (model, clip) = (inputs.payload::<Model>("model")?, inputs.payload::<Clip>("clip")?);
        let strengths =
            Strengths { model: inputs.float("strength_model")?, clip: inputs.float("strength_clip")? };
        let lora = LoraFile::open(&self.0, inputs.str("lora_name")?)?;
        let patched = lora.apply(Some(&model), Some(&clip), strengths)?;
        lora.report(context, &patched);
        let model = patched.model.map_or(model, Arc::new);
        let clip = patched.clip.map_or(clip, Arc::new);
        Ok(Outcome::values(vec![Value::Payload(model), Value::Payload(clip)]))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(model), Some(clip)) = (inputs.what::<Model>("model"), inputs.what::<Clip>("clip")) else {
            return Ok(Forecast::unknown());
        };
        let (Some(name), Some(for_model), Some(for_clip)) =
            (inputs.str("lora_name"), number(inputs, "strength_model"), number(inputs, "strength_clip"))
        else {
            return Ok(Forecast::unknown());
        };
        let strengths = Strengths { model: for_model, clip: for_clip };
        let patched = LoraFile::open(&self.0, name)?.apply(Some(&model), Some(&clip), strengths)?;
        let model = patched.model.map_or(model, Arc::new);
        let clip = patched.clip.map_or(clip, Arc::new);
        Ok(Forecast { outputs: vec![Sketch::handle(model), Sketch::handle(clip)], ..Forecast::default() })
    }
}

/// Patches a denoiser alone.
struct LoraLoaderModelOnly(Environment);

impl Node for LoraLoaderModelOnly {
    fn schema(&self) -> Schema {
        let models = self.0.models.clone();
        Schema::new("LoraLoaderModelOnly")
            .category("loaders")
            .input(Input::wire("model", "MODEL"))
            .input(Input::listed("lora_name", move || models.list("loras")))
            .input(Input::float("strength_model", 1.0).between(-100.0, 100.0).option("step", 0.01))
            .output("MODEL")
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.payload::<Model>("model")?;
        let strengths = Strengths { model: inputs.float("strength_model")?, clip: 0.0 };
        let lora = LoraFile::open(&self.0, inputs.str("lora_name")?)?;
        let patched = lora.apply(Some(&model), None, strengths)?;
        lora.report(context, &patched);
        let model = patched.model.map_or(model, Arc::new);
        Ok(Outcome::values(vec![Value::Payload(model)]))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.0, inputs)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(model), Some(name), Some(strength)) =
            (inputs.what::<Model>("model"), inputs.str("lora_name"), number(inputs, "strength_model"))
        else {
            return Ok(Forecast::unknown());
        };
        let strengths = Strengths { model: strength, clip: 0.0 };
        let patched = LoraFile::open(&self.0, name)?.apply(Some(&model), None, strengths)?;
        Ok(Forecast::output(Sketch::handle(patched.model.map_or(model, Arc::new))))
    }
}
