//! `CLIPLoader`, `DualCLIPLoader`, `TripleCLIPLoader`, and their siblings for GGUF files.

use std::sync::Arc;

use ebb_engine::node::{Changed, Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_models::text::Composition;
use ebb_weights::detect::{Family as Detected, Part};

use super::parts::{self, Opened};
use super::{GGUF_MODULE, fingerprint, open};
use crate::environment::Environment;
use crate::values::Clip;

const FOLDER: &str = "text_encoders";

/// What `CLIPLoader` can be told the encoder is for.
const SINGLE: [&str; 16] = [
    "stable_diffusion",
    "stable_cascade",
    "sd3",
    "stable_audio",
    "mochi",
    "ltxv",
    "pixart",
    "cosmos",
    "lumina2",
    "wan",
    "hidream",
    "chroma",
    "ace",
    "omnigen2",
    "qwen_image",
    "hunyuan_image",
];
/// What `DualCLIPLoader` can be told the encoders are for.
const DUAL: [&str; 6] = ["sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image"];
/// The inputs that name files, of which a class has the first few.
const NAMES: [&str; 3] = ["clip_name1", "clip_name2", "clip_name3"];

/// How encoders of these families are put together for a purpose; `None` where that does not run here.
fn composition(purpose: &str, families: &[Detected]) -> Option<Composition> {
    use Detected::{ClipG, ClipH, ClipL, Qwen3, T5};
    let has = |family| families.contains(&family);
    match (purpose, families) {
        ("sd3", _) if families.iter().all(|f| matches!(f, ClipL | ClipG | T5)) => Some(Composition::Sd3),
        ("flux", [_, _]) if has(ClipL) && has(T5) => Some(Composition::Flux),
        ("sdxl", [_, _]) if has(ClipL) && has(ClipG) => Some(Composition::Sdxl),
        // One encoder tells by itself what it is for: as in ComfyUI, the type does not matter then.
        (_, [ClipL]) => Some(Composition::Sd1),
        (_, [ClipH]) => Some(Composition::Sd2),
        // Templates load it as Lumina 2's, whose networks Z-Image's are like.
        (_, [Qwen3]) => Some(Composition::ZImage),
        (_, [ClipG]) if purpose != "stable_cascade" => Some(Composition::SdxlRefiner),
        _ => None,
    }
}

fn clip(environment: &Environment, files: &[(&str, &str)], purpose: &str) -> Result<Clip, NodeError> {
    let opened: Vec<Opened> = files
        .iter()
        .map(|(input, name)| Opened::new(name, &open(environment, FOLDER, input, name)?))
        .collect::<Result<_, _>>()?;
    let mut found = Vec::with_capacity(opened.len());
    for file in &opened {
        file.require(Part::TextEncoder)?;
        found.extend(file.inspection.all(Part::TextEncoder).map(|component| (file, component)));
    }
    let families: Vec<Detected> = found.iter().map(|(_, component)| component.family).collect();
    let composition = composition(purpose, &families).ok_or_else(|| {
        let titles: Vec<String> = found.iter().map(|(f, c)| format!("{} is {}", f.name, c.title)).collect();
        NodeError::model(format!(
            "{}: text encoders of type '{purpose}' cannot be made of that, or that family does not run here",
            titles.join(", ")
        ))
    })?;
    parts::encoders(composition, &found, environment)
}

/// The values of the inputs that name files, where all are known.
fn named<'a>(sketches: &'a Sketches, names: &[&'static str]) -> Option<Vec<(&'static str, &'a str)>> {
    names.iter().map(|name| Some((*name, sketches.str(name)?))).collect()
}

fn listed(environment: &Environment, input: &str) -> Input {
    let models = environment.models.clone();
    Input::listed(input, move || models.list(FOLDER))
}

fn device() -> Input {
    Input::combo("device", ["default", "cpu"]).option("advanced", true).optional()
}

/// Text encoders from files: a class for each number of them.
pub(super) struct ClipLoader {
    environment: Environment,
    schema: fn(&Environment) -> Schema,
    names: &'static [&'static str],
    /// What they are for where no input says it.
    purpose: &'static str,
}

impl ClipLoader {
    fn new(
        environment: &Environment,
        names: &'static [&'static str],
        purpose: &'static str,
        schema: fn(&Environment) -> Schema,
    ) -> Self {
        Self { environment: environment.clone(), schema, names, purpose }
    }

    /// Every class of this file.
    pub(super) fn all(environment: &Environment) -> [Self; 6] {
        const ONE: &[&str] = &["clip_name"];
        [
            Self::new(environment, ONE, "stable_diffusion", |e| {
                let schema = Schema::new("CLIPLoader").display("Load CLIP").category("advanced/loaders");
                single(schema, e).input(device())
            }),
            Self::new(environment, &NAMES[..2], "sdxl", |e| {
                let schema =
                    Schema::new("DualCLIPLoader").display("DualCLIPLoader").category("advanced/loaders");
                dual(schema, e, &DUAL).input(device())
            }),
            Self::new(environment, &NAMES, "sd3", |e| {
                let schema = Schema::new("TripleCLIPLoader").category("advanced/loaders");
                let schema = schema.module("comfy_extras.nodes_sd3");
                NAMES.iter().fold(schema, |schema, name| schema.input(listed(e, name).named_combo()))
            }),
            Self::new(environment, ONE, "stable_diffusion", |e| {
                single(bootleg("CLIPLoaderGGUF", "CLIPLoader (GGUF)"), e)
            }),
            Self::new(environment, &NAMES[..2], "sdxl", |e| {
                dual(bootleg("DualCLIPLoaderGGUF", "DualCLIPLoader (GGUF)"), e, &DUAL)
            }),
            Self::new(environment, &NAMES, "sd3", |e| {
                let schema = bootleg("TripleCLIPLoaderGGUF", "TripleCLIPLoader (GGUF)");
                NAMES.iter().fold(schema, |schema, name| schema.input(listed(e, name)))
            }),
        ]
    }
}

fn bootleg(class: &str, display: &str) -> Schema {
    Schema::new(class).display(display).category("bootleg").module(GGUF_MODULE)
}

fn single(schema: Schema, environment: &Environment) -> Schema {
    schema.input(listed(environment, "clip_name")).input(Input::combo("type", SINGLE))
}

fn dual(schema: Schema, environment: &Environment, types: &[&str]) -> Schema {
    let schema = NAMES[..2].iter().fold(schema, |schema, name| schema.input(listed(environment, name)));
    schema.input(Input::combo("type", types))
}

impl Node for ClipLoader {
    fn schema(&self) -> Schema {
        (self.schema)(&self.environment).output("CLIP").compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let files: Vec<(&str, &str)> =
            self.names.iter().map(|name| Ok((*name, inputs.str(name)?))).collect::<Result<_, NodeError>>()?;
        let purpose = if inputs.has("type") { inputs.str("type")? } else { self.purpose };
        Ok(Outcome::payload(clip(&self.environment, &files, purpose)?))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        fingerprint(&self.environment, inputs, FOLDER, self.names)
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(files) = named(inputs, self.names) else { return Ok(Forecast::unknown()) };
        let purpose = inputs.str("type").unwrap_or(self.purpose);
        Ok(Forecast::output(Sketch::handle(Arc::new(clip(&self.environment, &files, purpose)?))))
    }
}
