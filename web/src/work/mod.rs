//! From the queue to the engine and back to the clients.
//!
//! - [`workshop`]: what checks and runs prompts, as the server sees it.
//! - [`engine`]: the engine as a workshop.
//! - [`dispatcher`]: the one thread that takes jobs, runs them and stores how they ended.
//! - [`stage`]: a running job's events as frames, in ComfyUI's order.
//! - [`progress`]: the cumulative picture of a running job that `progress_state` frames carry.
//! - [`outcome`]: how a job ended, as history shows it, and the files that it made.
//! - `planned`: a plan in the words of the editor. `resume`: what a sweep has already.
//! - [`feed`]: the same events for those who read them by server-sent events.

pub(crate) mod dispatcher;
pub(crate) mod engine;
pub(crate) mod feed;
pub(crate) mod outcome;
mod planned;
pub(crate) mod progress;
mod resume;
pub(crate) mod stage;
pub(crate) mod workshop;
