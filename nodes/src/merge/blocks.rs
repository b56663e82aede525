//! `ModelMergeBlocks` and its siblings: a ratio for each part of a network.

use std::sync::Arc;

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::registry::{DuplicateClass, Registry};
use ebb_engine::schema::{Input, Schema};

use super::mixed::Shares;
use super::model::mixed;
use super::{CATEGORY, MODULE};
use crate::values::Model;

const SPECIFIC: &str = "comfy_extras.nodes_model_merging_model_specific";
const SPECIFIC_CATEGORY: &str = "advanced/model_merging/model_specific";

/// A class of this file: beginnings of tensors' names, each of which is an input.
struct MergeParts {
    class: &'static str,
    module: &'static str,
    category: &'static str,
    parts: Vec<String>,
}

/// `name` with each number, between a front and an end.
fn numbered(front: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |i| format!("{front}{i}."))
}

fn unet(blocks: usize) -> Vec<String> {
    let mut parts = vec!["time_embed.".to_owned(), "label_emb.".to_owned()];
    parts.extend(numbered("input_blocks.", blocks));
    parts.extend(numbered("middle_block.", 3));
    parts.extend(numbered("output_blocks.", blocks));
    parts.push("out.".to_owned());
    parts
}

/// SDXL's inputs have no dot behind the block's number.
fn sdxl() -> Vec<String> {
    let undotted = |part: String| match part.strip_suffix('.') {
        Some(block) if part.contains("block") => block.to_owned(),
        _ => part,
    };
    unet(9).into_iter().map(undotted).collect()
}

fn mmdit(blocks: usize) -> Vec<String> {
    let front = ["pos_embed.", "x_embedder.", "context_embedder.", "y_embedder.", "t_embedder."];
    let mut parts: Vec<String> = front.map(str::to_owned).into();
    parts.extend(numbered("joint_blocks.", blocks));
    parts.push("final_layer.".to_owned());
    parts
}

fn flux() -> Vec<String> {
    let front = ["img_in.", "time_in.", "guidance_in", "vector_in.", "txt_in."];
    let mut parts: Vec<String> = front.map(str::to_owned).into();
    parts.extend(numbered("double_blocks.", 19));
    parts.extend(numbered("single_blocks.", 38));
    parts.push("final_layer.".to_owned());
    parts
}

pub(super) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(MergeParts {
        class: "ModelMergeBlocks",
        module: MODULE,
        category: CATEGORY,
        parts: ["input", "middle", "out"].map(str::to_owned).into(),
    })?;
    let specific: [(&'static str, Vec<String>); 6] = [
        ("ModelMergeSD1", unet(12)),
        ("ModelMergeSD2", unet(12)),
        ("ModelMergeSDXL", sdxl()),
        ("ModelMergeSD3_2B", mmdit(24)),
        ("ModelMergeSD35_Large", mmdit(38)),
        ("ModelMergeFlux1", flux()),
    ];
    for (class, parts) in specific {
        registry.add(MergeParts { class, module: SPECIFIC, category: SPECIFIC_CATEGORY, parts })?;
    }
    Ok(())
}

impl MergeParts {
    /// A tensor's ratio is that of the longest beginning of its name; the first input's where none fits.
    fn merge(&self, first: &Model, second: &Model, ratios: Vec<f64>) -> Result<Model, NodeError> {
        let how = format!("{} {ratios:?}", self.class);
        let parts = self.parts.clone();
        let shares = move |name: &str| {
            let fitting = parts.iter().zip(&ratios).filter(|(part, _)| name.starts_with(part.as_str()));
            let ratio = fitting.max_by_key(|(part, _)| part.len()).map(|(_, ratio)| *ratio);
            Shares::ratio(ratio.unwrap_or_else(|| ratios.first().copied().unwrap_or(1.0)))
        };
        mixed(first, second, "merged by blocks with", &how, shares)
    }
}

impl Node for MergeParts {
    fn schema(&self) -> Schema {
        let schema = Schema::new(self.class)
            .category(self.category)
            .module(self.module)
            .input(Input::wire("model1", "MODEL"))
            .input(Input::wire("model2", "MODEL"));
        let ratio = |part: &String| Input::float(part, 1.0).between(0.0, 1.0).option("step", 0.01);
        self.parts.iter().fold(schema, |schema, part| schema.input(ratio(part))).output("MODEL").compute()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let (first, second) = (inputs.payload::<Model>("model1")?, inputs.payload::<Model>("model2")?);
        let ratios = self.parts.iter().map(|part| inputs.float(part)).collect::<Result<_, _>>()?;
        Ok(Outcome::payload(self.merge(&first, &second, ratios)?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let (Some(first), Some(second)) = (inputs.what::<Model>("model1"), inputs.what::<Model>("model2"))
        else {
            return Ok(Forecast::unknown());
        };
        let ratios: Option<Vec<f64>> =
            self.parts.iter().map(|part| inputs.get(part).as_json().and_then(|v| v.as_f64())).collect();
        let Some(ratios) = ratios else { return Ok(Forecast::unknown()) };
        Ok(Forecast::output(Sketch::handle(Arc::new(self.merge(&first, &second, ratios)?))))
    }
}
