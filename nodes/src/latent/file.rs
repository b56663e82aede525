//! `SaveLatent`, `LoadLatent`: safetensors files under the ending `.latent`.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;

use candle_core::Device;
use ebb_engine::node::{Changed, Context, Inputs, Node, NodeError, Outcome, ValidatorScope, Verdict};
use ebb_engine::schema::{Hidden, Input, Schema};
use serde_json::{Map, Value as Json};

use crate::folders::Folders;
use crate::image::{Saver, metadata};
use crate::values::{Latent, OrNode, tensor};

/// The tensor that holds the samples.
const SAMPLES: &str = "latent_tensor";
/// Says that the samples are not scaled; files without it hold samples times SD 1's 0.18215.
const UNSCALED: &str = "latent_format_version_0";

/// Writes a latent to the output folder.
pub(super) struct SaveLatent(pub(super) Arc<Folders>);

impl Node for SaveLatent {
    fn schema(&self) -> Schema {
        Schema::new("SaveLatent")
            .category("_for_testing")
            .input(Input::wire("samples", "LATENT"))
            .input(Input::string("filename_prefix", "latents/ComfyUI"))
            .hidden("prompt", Hidden::Prompt)
            .hidden("extra_pnginfo", Hidden::ExtraPngInfo)
            .output_node()
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let latent = inputs.payload::<Latent>("samples")?;
        let shape = latent.shape()?;
        let mut saver =
            Saver::new(&self.0.output, inputs.str("filename_prefix")?, shape.width, shape.height)?;
        let samples = latent.samples.contiguous().or_node()?;
        let marker = tensor(Vec::new(), &[0])?;
        let metadata: HashMap<String, String> = metadata(context).into_iter().collect();
        let bytes = safetensors::serialize([(SAMPLES, &samples), (UNSCALED, &marker)], Some(metadata))
            .map_err(|e| NodeError::failed(format!("the latent cannot be written: {e}")))?;
        let name = saver.save(0, "latent", &bytes)?;
        let described = Json::Array(vec![saver.describe(&name, "output")]);
        Ok(Outcome::none().with_ui(Map::from_iter([("latents".to_owned(), described)])))
    }
}

/// Reads a latent from the input folder.
pub(super) struct LoadLatent(pub(super) Arc<Folders>);

impl Node for LoadLatent {
    fn schema(&self) -> Schema {
        let folders = self.0.clone();
        Schema::new("LoadLatent")
            .category("_for_testing")
            .input(Input::listed("latent", move || folders.input_files(&["latent"])))
            .output("LATENT")
            .compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let name = inputs.str("latent")?;
        let refused = |e: String| NodeError::input("latent", format!("{name}: {e}"));
        let mut bytes = Vec::new();
        let mut file = self.0.open_input(inputs, "latent")?;
        file.read_to_end(&mut bytes).map_err(|e| refused(e.to_string()))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|e| refused(format!("is no latent file: {e}")))?;
        let samples = tensors.get(SAMPLES).ok_or_else(|| refused(format!("holds no `{SAMPLES}`")))?;
        let scale = if tensors.contains_key(UNSCALED) { 1.0 } else { 1.0 / 0.18215 };
        let samples =
            samples.to_dtype(candle_core::DType::F32).and_then(|t| t.affine(scale, 0.0)).or_node()?;
        let latent = Latent::new(samples);
        latent.shape().map_err(|e| refused(format!("holds no latent: {}", e.message)))?;
        Ok(Outcome::payload(latent))
    }

    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        self.0.fingerprint(inputs, "latent")
    }

    fn validator(&self) -> Option<ValidatorScope> {
        Some(ValidatorScope { inputs: vec!["latent".into()], ..ValidatorScope::default() })
    }

    fn validate(&self, inputs: &Inputs, _: &[(String, String)]) -> Verdict {
        self.0.check_file(inputs, "latent", "Invalid latent file")
    }
}
