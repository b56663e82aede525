//! Guidance: from what a user asks for to one prediction of the clean latent.
//!
//! A user's prompts arrive as [`Conditioning`] entries, which may each speak for an area, a mask or a part of
//! the schedule only. [`Guidance`] says how the sides (positive, negative …) are weighed against each other.
//! Before the first step the entries are prepared once (areas in cells, masks in the latent's size, ranges in
//! sigmas); at every step those that speak are run in as few calls of the [`Model`] as their shapes allow,
//! averaged within their side, and combined.

mod combine;
mod conditioning;
pub mod functions;
mod guided;
mod hooks;
mod inputs;
mod lazy;
mod model;
mod predict;
mod prepare;
mod weights;

pub use conditioning::{Area, CondValue, Conditioning, Mask, Opaque};
pub use guided::{Guidance, Guided, Prediction};
pub use hooks::{
    CfgArgs, CfgFunction, DenoiseMaskArgs, DenoiseMaskFunction, Evaluate, Hooks, NegativePatch, PostCfgArgs,
    PostCfgFunction, PreCfgArgs, PreCfgFunction,
};
pub use inputs::{ModelInput, ModelInputs};
pub use lazy::LazyReuse;
pub use model::{InputContext, Model, ModelCall, Side};
