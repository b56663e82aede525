//! `ControlNetApply`, `ControlNetApplyAdvanced`, and what puts networks that see latents on a conditioning.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_models::controlnet::Sees;

use crate::pixels::{self, Crop, Method};
use crate::values::{Conditioning, Control, ControlNet, Image, Mask, OrNode, Vae, elements, repeat_to_batch};

/// What a forecast knows of a conditioning: the control networks on it, and what makes latents of their hints.
pub(crate) struct ControlSketch(pub(crate) Vec<(Arc<ControlNet>, Option<Arc<Vae>>)>);

/// The networks on the conditioning at an input, and the one that comes to them.
fn sketch(inputs: &Sketches, conditioning: &str) -> Sketch {
    let Some(net) = inputs.what::<ControlNet>("control_net") else { return Sketch::Unknown };
    let mut nets = inputs.what::<ControlSketch>(conditioning).map(|s| s.0.clone()).unwrap_or_default();
    let vae = inputs.what::<Vae>("vae").filter(|_| net.sees() != Sees::Pixels);
    nets.push((net, vae));
    Sketch::known(0, ControlSketch(nets))
}

/// The autoencoder for a network that sees latents; none for one that sees pixels.
fn autoencoder(net: &ControlNet, vae: Option<&Vae>) -> Result<Option<Vae>, NodeError> {
    match (net.sees(), vae) {
        (Sees::Pixels, _) => Ok(None),
        (Sees::Latent { .. }, Some(vae)) => Ok(Some(vae.clone())),
        (Sees::Latent { .. }, None) => Err(NodeError::input(
            "control_net",
            "sees the hint as a latent and needs a VAE: put it on with ControlNetApplyAdvanced and connect `vae`",
        )),
    }
}

/// A picture as networks read it: channels first, three of them.
fn hint(image: &Image) -> Result<Tensor, NodeError> {
    let pixels = image.tensor().permute((0, 3, 1, 2)).or_node()?;
    let channels = pixels.dim(1).or_node()?;
    let pixels = match channels {
        3 => pixels,
        1 => pixels.repeat((1, 3, 1, 1)).or_node()?,
        _ => pixels.narrow(1, 0, 3).or_node()?,
    };
    pixels.contiguous().or_node()
}

/// Whether a picture has been given at all: a hint without a pixel controls nothing.
fn check(hint: &Tensor) -> Result<(), NodeError> {
    if hint.elem_count() == 0 || !elements(hint)?.iter().all(|v| v.is_finite()) {
        return Err(NodeError::input("image", "has no pixels, or values that are no numbers"));
    }
    Ok(())
}

/// Puts a control network on a conditioning, for both sides of guidance.
pub(super) struct ControlNetApply;

impl Node for ControlNetApply {
    fn schema(&self) -> Schema {
        Schema::new("ControlNetApply")
            .display("Apply ControlNet (OLD)")
            .category("conditioning/controlnet")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .input(Input::wire("control_net", "CONTROL_NET"))
            .input(Input::wire("image", "IMAGE"))
            .input(Input::float("strength", 1.0).between(0.0, 10.0).option("step", 0.01))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let conditioning = inputs.payload::<Conditioning>("conditioning")?;
        let strength = inputs.float("strength")?;
        if strength == 0.0 {
            return Ok(Outcome::values(vec![Value::Payload(conditioning)]));
        }
        let net = inputs.payload::<ControlNet>("control_net")?;
        let vae = autoencoder(&net, None)?;
        let hint = hint(&*inputs.payload::<Image>("image")?)?;
        check(&hint)?;
        Ok(Outcome::payload(conditioning.map(|entry| {
            entry.control = Some(Arc::new(Control {
                net: (*net).clone(),
                hint: hint.clone(),
                vae: vae.clone(),
                mask: None,
                strength,
                start_percent: 0.0,
                end_percent: 1.0,
                previous: Control::of(entry),
            }));
            entry.control_applies_to_others = true;
        })))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(sketch(inputs, "conditioning")))
    }
}

/// Says which kind a hint is, to networks that tell several apart.
pub(super) struct SetUnionControlNetType;

/// Kinds of hints, in the order of their numbers.
const KINDS: [&str; 8] = [
    "openpose",
    "depth",
    "hed/pidi/scribble/ted",
    "canny/lineart/anime_lineart/mlsd",
    "normal",
    "segment",
    "tile",
    "repaint",
];

impl SetUnionControlNetType {
    fn set(net: &ControlNet, kind: &str) -> Result<ControlNet, NodeError> {
        let hint_kind = KINDS.iter().position(|name| *name == kind);
        if let Some(kind) = hint_kind.filter(|kind| net.kinds() > 0 && *kind >= net.kinds()) {
            return Err(NodeError::input(
                "type",
                format!(
                    "'{}' is not among the {} kinds that this network was trained for",
                    KINDS[kind],
                    net.kinds()
                ),
            ));
        }
        Ok(net.for_kind(hint_kind))
    }
}

impl Node for SetUnionControlNetType {
    fn schema(&self) -> Schema {
        Schema::new("SetUnionControlNetType")
            .category("conditioning/controlnet")
            .module("comfy_extras.nodes_controlnet")
            .input(Input::wire("control_net", "CONTROL_NET"))
            .input(Input::combo("type", std::iter::once("auto").chain(KINDS)))
            .output("CONTROL_NET")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let net = inputs.payload::<ControlNet>("control_net")?;
        Ok(Outcome::payload(Self::set(&net, inputs.str("type")?)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(net), Some(kind)) = (inputs.what::<ControlNet>("control_net"), inputs.str("type")) else {
            return Ok(Forecast::unknown());
        };
        Ok(Forecast::output(Sketch::handle(Arc::new(Self::set(&net, kind)?))))
    }
}

/// Puts a control network on both sides, for a part of sampling.
pub(super) struct ControlNetApplyAdvanced;

impl Node for ControlNetApplyAdvanced {
    fn schema(&self) -> Schema {
        let schema = Schema::new("ControlNetApplyAdvanced")
            .display("Apply ControlNet")
            .category("conditioning/controlnet")
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("control_net", "CONTROL_NET"))
            .input(Input::wire("image", "IMAGE"));
        both_outputs(strength_and_range(schema).input(Input::wire("vae", "VAE").optional()))
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let vae = inputs.optional::<Vae>("vae")?;
        on_both_sides(inputs, vae.as_deref(), |_, image| Ok((hint(image)?, None)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_of_both(inputs))
    }
}

/// Puts a control network on both sides, with what `shown` makes of the picture: a hint and a mask.
fn on_both_sides(
    inputs: &Inputs,
    vae: Option<&Vae>,
    shown: impl FnOnce(&ControlNet, &Image) -> Result<(Tensor, Option<Tensor>), NodeError>,
) -> Result<Outcome, NodeError> {
    let sides = [inputs.payload::<Conditioning>("positive")?, inputs.payload::<Conditioning>("negative")?];
    let strength = inputs.float("strength")?;
    if strength == 0.0 {
        return Ok(Outcome::values(sides.map(|side| Value::Payload(side)).into()));
    }
    let net = inputs.payload::<ControlNet>("control_net")?;
    let vae = autoencoder(&net, vae)?;
    let (hint, mask) = shown(&net, &*inputs.payload::<Image>("image")?)?;
    check(&hint)?;
    let (start_percent, end_percent) = (inputs.float("start_percent")?, inputs.float("end_percent")?);
    // Entries that were controlled alike stay alike, so that both sides share calls of the model.
    let mut applied: Vec<Arc<Control>> = Vec::new();
    let mut control = |previous: Option<Arc<Control>>| {
        let same = |c: &&Arc<Control>| match (&c.previous, &previous) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        if let Some(found) = applied.iter().find(same) {
            return found.clone();
        }
        let (net, hint, vae, mask) = ((*net).clone(), hint.clone(), vae.clone(), mask.clone());
        let control = Control { net, hint, vae, mask, strength, start_percent, end_percent, previous };
        applied.push(Arc::new(control));
        applied[applied.len() - 1].clone()
    };
    let sides = sides.map(|side| {
        let side = side.map(|entry| {
            entry.control = Some(control(Control::of(entry)));
            entry.control_applies_to_others = false;
        });
        Value::Payload(Arc::new(side))
    });
    Ok(Outcome::values(sides.into()))
}

fn forecast_of_both(inputs: &Sketches) -> Forecast {
    Forecast { outputs: vec![sketch(inputs, "positive"), sketch(inputs, "negative")], ..Forecast::default() }
}

/// The inputs that put a network on both sides for a part of sampling have at their end.
fn strength_and_range(schema: Schema) -> Schema {
    schema
        .input(Input::float("strength", 1.0).between(0.0, 10.0).option("step", 0.01))
        .input(Input::float("start_percent", 0.0).between(0.0, 1.0).option("step", 0.001))
        .input(Input::float("end_percent", 1.0).between(0.0, 1.0).option("step", 0.001))
}

fn both_outputs(schema: Schema) -> Schema {
    schema.named_output("CONDITIONING", "positive").named_output("CONDITIONING", "negative")
}

/// As [`ControlNetApplyAdvanced`], for networks that see latents.
pub(super) struct ControlNetApplySD3;

impl Node for ControlNetApplySD3 {
    fn schema(&self) -> Schema {
        let schema = Schema::new("ControlNetApplySD3")
            .display("Apply Controlnet with VAE")
            .category("conditioning/controlnet")
            .module("comfy_extras.nodes_sd3")
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("control_net", "CONTROL_NET"))
            .input(Input::wire("vae", "VAE"))
            .input(Input::wire("image", "IMAGE"));
        Schema { deprecated: true, ..both_outputs(strength_and_range(schema)) }
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let vae = inputs.payload::<Vae>("vae")?;
        on_both_sides(inputs, Some(&vae), |_, image| Ok((hint(image)?, None)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_of_both(inputs))
    }
}

/// Puts an inpainting network on both sides: the hint is black where the mask is, and the network is told so.
pub(super) struct ControlNetInpaintingAliMamaApply;

/// The hint without what is masked, and where it is kept.
fn kept(net: &ControlNet, image: &Image, mask: &Mask) -> Result<(Tensor, Option<Tensor>), NodeError> {
    let hint = hint(image)?;
    if !matches!(net.sees(), Sees::Latent { masked: true, .. }) {
        return Ok((hint, None));
    }
    let (_, _, height, width) = hint.dims4().or_node()?;
    let keep = mask.tensor().affine(-1.0, 1.0).and_then(|m| m.unsqueeze(1)).or_node()?;
    let whole = pixels::latent(&keep, width, height, Method::Bilinear, Crop::Center)?;
    let whole = crate::values::round(&repeat_to_batch(&whole, hint.dim(0).or_node()?)?)?;
    Ok((hint.broadcast_mul(&whole).or_node()?, Some(keep)))
}

impl Node for ControlNetInpaintingAliMamaApply {
    fn schema(&self) -> Schema {
        let schema = Schema::new("ControlNetInpaintingAliMamaApply")
            .display("ControlNetInpaintingAliMamaApply")
            .category("conditioning/controlnet")
            .module("comfy_extras.nodes_controlnet")
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("control_net", "CONTROL_NET"))
            .input(Input::wire("vae", "VAE"))
            .input(Input::wire("image", "IMAGE"))
            .input(Input::wire("mask", "MASK"));
        both_outputs(strength_and_range(schema))
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (vae, mask) = (inputs.payload::<Vae>("vae")?, inputs.payload::<Mask>("mask")?);
        on_both_sides(inputs, Some(&vae), |net, image| kept(net, image, &mask))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_of_both(inputs))
    }
}
