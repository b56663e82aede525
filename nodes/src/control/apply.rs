//! `ControlNetApply`, `ControlNetApplyAdvanced`.

use std::sync::Arc;

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;

use crate::values::{Conditioning, Control, ControlNet, Image, OrNode, elements};

/// What a forecast knows of a conditioning: the control networks on it.
pub(crate) struct ControlSketch(pub(crate) Vec<Arc<ControlNet>>);

/// The networks on the conditioning at an input, and the one that comes to them.
fn sketch(inputs: &Sketches, conditioning: &str) -> Sketch {
    let Some(net) = inputs.what::<ControlNet>("control_net") else { return Sketch::Unknown };
    let mut nets = inputs.what::<ControlSketch>(conditioning).map(|s| s.0.clone()).unwrap_or_default();
    nets.push(net);
    Sketch::known(0, ControlSketch(nets))
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
        let hint = hint(&*inputs.payload::<Image>("image")?)?;
        check(&hint)?;
        Ok(Outcome::payload(conditioning.map(|entry| {
            entry.control = Some(Arc::new(Control {
                net: (*net).clone(),
                hint: hint.clone(),
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
        Schema::new("ControlNetApplyAdvanced")
            .display("Apply ControlNet")
            .category("conditioning/controlnet")
            .input(Input::wire("positive", "CONDITIONING"))
            .input(Input::wire("negative", "CONDITIONING"))
            .input(Input::wire("control_net", "CONTROL_NET"))
            .input(Input::wire("image", "IMAGE"))
            .input(Input::float("strength", 1.0).between(0.0, 10.0).option("step", 0.01))
            .input(Input::float("start_percent", 0.0).between(0.0, 1.0).option("step", 0.001))
            .input(Input::float("end_percent", 1.0).between(0.0, 1.0).option("step", 0.001))
            .input(Input::wire("vae", "VAE").optional())
            .named_output("CONDITIONING", "positive")
            .named_output("CONDITIONING", "negative")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let sides =
            [inputs.payload::<Conditioning>("positive")?, inputs.payload::<Conditioning>("negative")?];
        let strength = inputs.float("strength")?;
        if strength == 0.0 {
            return Ok(Outcome::values(sides.map(|side| Value::Payload(side)).into()));
        }
        let net = inputs.payload::<ControlNet>("control_net")?;
        let hint = hint(&*inputs.payload::<Image>("image")?)?;
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
            let (net, hint) = ((*net).clone(), hint.clone());
            let control = Arc::new(Control { net, hint, strength, start_percent, end_percent, previous });
            applied.push(control.clone());
            control
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

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let outputs = vec![sketch(inputs, "positive"), sketch(inputs, "negative")];
        Ok(Forecast { outputs, ..Forecast::default() })
    }
}
