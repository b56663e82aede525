//! Tests of the whole server, in one binary: linking it once is what takes time.
//!
//! - `transcripts`: recorded exchanges of ComfyUI. `answers`: compression, what the official front end expects, a clean
//!   start. `v1`: the newer protocol. `sweep`: one workflow with many values.
//! - `jobs`: what happens to jobs. `cancel`: stopped at every stage. `affinity`: jobs whose models are in memory first.
//!   `kill`: kill −9. `models`: what is told of model files.
//! - `browser`, `paths`: hostile callers. `support`: a server in this process, a plain client, a replay.

mod affinity;
mod answers;
mod browser;
mod cancel;
mod jobs;
mod kill;
mod models;
mod paths;
mod support;
mod sweep;
mod transcripts;
mod v1;
