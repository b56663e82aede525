//! Ebb's engine: workflows, plans, memory and execution. It knows no tensors and no HTTP.
//!
//! The modules, in the order in which a workflow meets them:
//!
//! - [`workflow`]: ComfyUI's API format, read into a [`Workflow`](workflow::Workflow).
//! - [`schema`]: what a node declares about itself; printed as ComfyUI's `object_info`.
//! - [`node`]: the trait that every node implements, and what it is handed when it runs.
//! - [`registry`]: the nodes that this process knows.
//! - [`value`]: what travels along a wire: typed, immutable, counted, and aware of its bytes.
//! - [`validate`]: a workflow checked against the schemas, every error at once.
//! - [`graph`]: a checked workflow with its links resolved, which expansions make grow.
//! - [`plan`]: what runs, in which order, what dies when, and how much memory that takes.
//! - [`execute`]: the [`Engine`](execute::Engine) that walks a plan and revises it as it goes.
//! - [`cache`]: outputs by the history of their content.
//! - [`residency`]: which weights are in memory, who holds them, and which go first.
//! - [`events`]: the one typed stream that the command line, the server and reports read.

pub mod cache;
pub mod events;
pub mod execute;
pub mod graph;
pub mod node;
pub mod plan;
pub mod registry;
pub mod residency;
pub mod schema;
pub mod validate;
pub mod value;
pub mod workflow;
