//! Tests of the whole server, in one binary: linking it once is what takes time.
//!
//! - `transcripts`: recorded exchanges of ComfyUI. `jobs`: what happens to jobs. `kill`: kill −9.
//! - `v1`: the newer protocol. `answers`: compression, what the official front end expects, a clean start.
//! - `sweep`: one workflow with many values.
//! - `browser`, `paths`: hostile callers. `support`: a server in this process, a plain client, a replay.

mod answers;
mod browser;
mod jobs;
mod kill;
mod paths;
mod support;
mod sweep;
mod transcripts;
mod v1;
