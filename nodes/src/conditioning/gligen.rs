//! `GLIGENTextBoxApply`.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_models::gligen::{Gligen, OBJECTS, phrase};

use super::encode::{forecast_encode, text};
use crate::values::{Boxes, Clip, Conditioning, Handle, PhraseBox, model_error};

/// A phrase in a box of the picture.
pub(super) struct GLIGENTextBoxApply;

/// Pixels along a side of a latent cell.
const CELL: u64 = 8;

impl Node for GLIGENTextBoxApply {
    fn schema(&self) -> Schema {
        let side = |name| Input::int(name, 64).range(8, 16384).option("step", 8);
        let place = |name| Input::int(name, 0).range(0, 16384).option("step", 8);
        Schema::new("GLIGENTextBoxApply")
            .category("conditioning/gligen")
            .input(Input::wire("conditioning_to", "CONDITIONING"))
            .input(Input::wire("clip", "CLIP"))
            .input(Input::wire("gligen_textbox_model", "GLIGEN"))
            .input(text("text"))
            .input(side("width"))
            .input(side("height"))
            .input(place("x"))
            .input(place("y"))
            .output("CONDITIONING")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let conditioning = inputs.payload::<Conditioning>("conditioning_to")?;
        let gligen = inputs.payload::<Handle<Gligen>>("gligen_textbox_model")?;
        let clip = inputs.payload::<Clip>("clip")?;
        let encoded = clip.encode_unprojected(context, inputs.str("text")?)?;
        let Some(pooled) = encoded.pooled else {
            return Err(NodeError::input("clip", "has no vector for a whole phrase"));
        };
        let phrase = phrase(&pooled).map_err(|e| model_error(&gligen.spec().label, e))?;
        let cells = |name: &str| -> Result<u64, NodeError> { Ok(inputs.uint(name)? / CELL) };
        let one = PhraseBox {
            phrase,
            height: cells("height")?,
            width: cells("width")?,
            y: cells("y")?,
            x: cells("x")?,
        };
        // Entries that had the same boxes get the same again, so that they share calls of the model.
        let mut made: Vec<(Option<Arc<Boxes>>, Arc<Boxes>)> = Vec::new();
        let placed = conditioning.try_map(|entry| {
            let before = entry.patches.clone().and_then(|patches| patches.downcast::<Boxes>().ok());
            let same = |known: &Option<Arc<Boxes>>| match (known, &before) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (a, b) => a.is_none() && b.is_none(),
            };
            let found = made.iter().find(|(known, _)| same(known)).map(|(_, boxes)| boxes.clone());
            let boxes = match found {
                Some(boxes) => boxes,
                None => {
                    let mut boxes = before.as_ref().map(|before| before.boxes.clone()).unwrap_or_default();
                    boxes.push(one.clone());
                    if boxes.len() > OBJECTS {
                        return Err(NodeError::input(
                            "conditioning_to",
                            format!("has {} boxes; GLIGEN has room for {OBJECTS}", boxes.len()),
                        ));
                    }
                    let boxes = Arc::new(Boxes { gligen: (*gligen).clone(), boxes });
                    made.push((before, boxes.clone()));
                    boxes
                }
            };
            entry.patches = Some(boxes);
            Ok(())
        })?;
        Ok(Outcome::payload(placed))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(forecast_encode(inputs))
    }
}
