//! What pictures say to a model: `CLIPVisionEncode`, `unCLIPConditioning`, `StyleModelApply`, and reference latents.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_models::style::StyleModel;
use ebb_models::vision::{Form, Vision};
use ebb_sampling::guidance::CondValue;

use crate::families::PICTURES;
use crate::pixels;
use crate::values::{Conditioning, Handle, Image, Latent, OrNode, Shown, VisionOutput, model_error};

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(CLIPVisionEncode)?;
    registry.add(UnCLIPConditioning)?;
    registry.add(StyleModelApply)?;
    registry.add(ReferenceLatent)?;
    registry.add(FluxKontextMultiReferenceLatentMethod)
}

/// Looks at pictures.
struct CLIPVisionEncode;

/// Pictures as an encoder reads them: resized (a square from the middle, or all of it squeezed), in whole steps of
/// a byte, `[n, 3, size, size]`.
fn prepared(image: &Image, form: &Form, crop: bool) -> Result<Tensor, NodeError> {
    let shape = image.shape();
    let pixels = image.tensor();
    let pixels = match shape.channels {
        3 => pixels.clone(),
        1 => pixels.repeat((1, 1, 1, 3)).or_node()?,
        _ => pixels.narrow(3, 0, 3).or_node()?,
    };
    let pixels = pixels.permute((0, 3, 1, 2)).and_then(|t| t.contiguous()).or_node()?;
    let size = form.size;
    let pixels = if (shape.height, shape.width) == (size, size) {
        pixels
    } else {
        let scaled = |side: usize| -> usize {
            let scale = size as f64 / shape.height.min(shape.width) as f64;
            ((scale * side as f64).round_ties_even() as usize).max(size)
        };
        let (height, width) = if crop { (scaled(shape.height), scaled(shape.width)) } else { (size, size) };
        let resized = pixels::smooth_bicubic(&pixels, width, height)?;
        let (top, left) = ((height - size) / 2, (width - size) / 2);
        resized.narrow(2, top, size).and_then(|t| t.narrow(3, left, size)).or_node()?
    };
    let bytes = (pixels * 255.0).and_then(|t| t.clamp(0f32, 255f32)).or_node()?;
    let values: Vec<f32> = crate::values::elements(&bytes.contiguous().or_node()?)?
        .into_iter()
        .map(|v| v.round_ties_even() / 255.0)
        .collect();
    crate::values::tensor(values, &[shape.batch, 3, size, size])
}

impl Node for CLIPVisionEncode {
    fn schema(&self) -> Schema {
        Schema::new("CLIPVisionEncode")
            .display("CLIP Vision Encode")
            .category("conditioning")
            .input(Input::wire("clip_vision", "CLIP_VISION"))
            .input(Input::wire("image", "IMAGE"))
            .input(Input::combo("crop", ["center", "none"]))
            .output("CLIP_VISION_OUTPUT")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let vision = inputs.payload::<Handle<Vision>>("clip_vision")?;
        let image = inputs.payload::<Image>("image")?;
        let form = vision.outline().form();
        let pixels = prepared(&image, &form, inputs.str("crop")? == "center")?;
        let loaded = vision.load(context)?;
        let (batch, scratch) = (image.shape().batch, scratch(&vision));
        let _room = vision.compute().room(context, "looking at pictures", scratch)?;
        let mut seen: Vec<[Tensor; 3]> = Vec::with_capacity(batch);
        for i in 0..batch {
            context.progress(i as f64, batch as f64)?;
            let one = pixels.narrow(0, i, 1).and_then(|t| t.contiguous()).or_node()?;
            let one = loaded.network().encode(&one).map_err(|e| model_error(&vision.spec().label, e))?;
            seen.push([one.last, one.penultimate, one.embeds]);
        }
        let all =
            |which: usize| Tensor::cat(&seen.iter().map(|one| &one[which]).collect::<Vec<_>>(), 0).or_node();
        Ok(Outcome::payload(VisionOutput { last: all(0)?, penultimate: all(1)?, embeds: all(2)? }))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(vision) = inputs.what::<Handle<Vision>>("clip_vision") else {
            return Ok(Forecast::unknown());
        };
        let scratch = scratch(&vision);
        let sketch = Sketch::known(0, VisionSketch);
        Ok(Forecast::output(sketch).using(vision.spec().clone()).scratch(scratch))
    }
}

/// What a plan knows of pictures that were looked at: nothing that matters.
struct VisionSketch;

fn scratch(vision: &Handle<Vision>) -> u64 {
    let size = vision.outline().form().size;
    let run = |network: &Vision| {
        let pixels = Tensor::zeros((1, 3, size, size), DType::F32, &Device::Cpu)?;
        network.encode(&pixels)
    };
    vision.scratch(run).unwrap_or(0)
}

/// Shows a picture to a model that reads pictures in place of a pooled prompt.
struct UnCLIPConditioning;

impl Node for UnCLIPConditioning {
    fn schema(&self) -> Schema {
        Schema::new("unCLIPConditioning")
            .category("conditioning")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(Input::wire("clip_vision_output", "CLIP_VISION_OUTPUT"))
            .input(Input::float("strength", 1.0).between(-10.0, 10.0).option("step", 0.01))
            .input(Input::float("noise_augmentation", 0.0).between(0.0, 1.0).option("step", 0.01))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let conditioning = inputs.payload::<Conditioning>("conditioning")?;
        let strength = inputs.float("strength")?;
        if strength == 0.0 {
            return Ok(Outcome::values(vec![Value::Payload(conditioning)]));
        }
        let seen = inputs.payload::<VisionOutput>("clip_vision_output")?;
        if seen.embeds.rank() != 2 {
            let said = "comes from an encoder that has no vector for a whole picture";
            return Err(NodeError::input("clip_vision_output", said));
        }
        let shown =
            Shown { embeds: seen.embeds.clone(), strength, noise: inputs.float("noise_augmentation")? };
        Ok(Outcome::payload(conditioning.map(|entry| {
            let mut all = match entry.extra.get(PICTURES) {
                Some(CondValue::Opaque(before)) => {
                    before.downcast_ref::<Vec<Shown>>().cloned().unwrap_or_default()
                }
                _ => Vec::new(),
            };
            all.push(shown.clone());
            entry.extra.insert(PICTURES.into(), CondValue::Opaque(Arc::new(all)));
        })))
    }
}

/// Puts what CLIP saw behind a prompt, as tokens.
struct StyleModelApply;

/// The name of a bias on attention's scores, over the prompt's tokens and one position for the picture.
const BIAS: &str = "attention_mask";

/// A bias with `more` tokens behind `texts` of a prompt, on which everything else looks with `bias`.
fn widened(before: Option<&Tensor>, texts: usize, more: usize, bias: f32) -> Result<Tensor, NodeError> {
    let (old, new) = (texts + 1, texts + more + 1);
    let values = match before {
        Some(before) => crate::values::elements(before)?,
        None => vec![0.0; old * old],
    };
    if values.len() != old * old {
        return Err(NodeError::input("conditioning", "has an attention mask of another length"));
    }
    // Where a position was before the new tokens came: those were nowhere.
    let place = |i: usize| match i {
        _ if i < texts => Some(i),
        _ if i < texts + more => None,
        _ => Some(texts),
    };
    let mut wide = vec![0f32; new * new];
    for i in 0..new {
        for k in 0..new {
            wide[i * new + k] = match (place(i), place(k)) {
                (Some(i), Some(k)) => values[i * old + k],
                (Some(_), None) => bias,
                (None, _) => 0.0,
            };
        }
    }
    crate::values::tensor(wide, &[1, new, new])
}

impl Node for StyleModelApply {
    fn schema(&self) -> Schema {
        Schema::new("StyleModelApply")
            .display("Apply Style Model")
            .category("conditioning/style_model")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(Input::wire("style_model", "STYLE_MODEL"))
            .input(Input::wire("clip_vision_output", "CLIP_VISION_OUTPUT"))
            .input(Input::float("strength", 1.0).between(0.0, 10.0).option("step", 0.001))
            .input(Input::combo("strength_type", ["multiply", "attn_bias"]))
            .output("CONDITIONING")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let conditioning = inputs.payload::<Conditioning>("conditioning")?;
        let model = inputs.payload::<Handle<StyleModel>>("style_model")?;
        let seen = inputs.payload::<VisionOutput>("clip_vision_output")?;
        let (strength, kind) = (inputs.float("strength")?, inputs.str("strength_type")?);
        let loaded = model.load(context)?;
        let tokens = loaded.network().tokens(&seen.last).map_err(|e| model_error(&model.spec().label, e))?;
        let (pictures, each, channels) = tokens.dims3().or_node()?;
        let mut tokens = tokens.reshape((1, pictures * each, channels)).or_node()?;
        if kind == "multiply" {
            tokens = (tokens * strength).or_node()?;
        }
        let more = pictures * each;
        let bias = if kind == "attn_bias" { strength.ln() as f32 } else { 0.0 };
        let applied = conditioning.try_map(|entry| {
            let Some(prompt) = &entry.cross_attn else { return Ok(()) };
            let (batch, texts, width) = prompt.dims3().or_node()?;
            if width != channels {
                return Err(NodeError::input(
                    "style_model",
                    format!("makes tokens of {channels} channels; this prompt's have {width}"),
                ));
            }
            let before = entry.tensor(BIAS).cloned();
            if before.is_some() || (kind == "attn_bias" && strength != 1.0) {
                let wide = widened(before.as_ref(), texts, more, bias)?;
                entry.extra.insert(BIAS.into(), CondValue::Tensor(wide));
            }
            let tokens = tokens.repeat((batch, 1, 1)).or_node()?;
            entry.cross_attn = Some(Tensor::cat(&[prompt, &tokens], 1).or_node()?);
            Ok(())
        })?;
        Ok(Outcome::payload(applied))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let Some(model) = inputs.what::<Handle<StyleModel>>("style_model") else {
            return Ok(Forecast::unknown());
        };
        Ok(Forecast { uses: vec![model.spec().clone()], ..Forecast::unknown() })
    }
}

/// A latent to look at beside the one that is sampled.
struct ReferenceLatent;

/// The name under which a family looks for reference latents.
const REFERENCES: &str = "reference_latents";

impl Node for ReferenceLatent {
    fn schema(&self) -> Schema {
        Schema::new("ReferenceLatent")
            .category("advanced/conditioning/edit_models")
            .module("comfy_extras.nodes_edit_model")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(Input::wire("latent", "LATENT").optional())
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let conditioning = inputs.payload::<Conditioning>("conditioning")?;
        if !inputs.has("latent") {
            return Ok(Outcome::values(vec![Value::Payload(conditioning)]));
        }
        let latent = inputs.payload::<Latent>("latent")?;
        Ok(Outcome::payload(conditioning.map(|entry| {
            let mut all = match entry.extra.get(REFERENCES) {
                Some(CondValue::Tensors(before)) => before.clone(),
                _ => Vec::new(),
            };
            all.push(latent.samples.clone());
            entry.extra.insert(REFERENCES.into(), CondValue::Tensors(all));
        })))
    }
}

/// Where Flux puts several reference latents.
struct FluxKontextMultiReferenceLatentMethod;

impl Node for FluxKontextMultiReferenceLatentMethod {
    fn schema(&self) -> Schema {
        Schema::new("FluxKontextMultiReferenceLatentMethod")
            .category("advanced/conditioning/flux")
            .module("comfy_extras.nodes_flux")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(Input::combo("reference_latents_method", ["offset", "index", "uxo/uno"]).named_combo())
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let method = inputs.str("reference_latents_method")?.to_owned();
        let set = inputs.payload::<Conditioning>("conditioning")?.map(|entry| {
            entry.extra.insert("reference_latents_method".into(), CondValue::Text(method.clone()));
        });
        Ok(Outcome::payload(set))
    }
}
