//! What stands on top of a model, through the real nodes: from a workflow, through plan and executor, on the
//! reference kit's procedural models.

mod control;
mod custom_sampling;
mod layers;
mod lora;
mod pictures;
mod support;
#[allow(dead_code, reason = "the kit's rule as the reference tests have it; only files are made of it here")]
#[path = "../../../tests/reference/networks/synth.rs"]
mod synth;
mod transformers;
mod unclip;
mod union;
