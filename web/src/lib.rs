//! The server: ComfyUI's protocol, `/v1`, and the editor.
//!
//! A request's way: `serve` (connections, limits on time) → `ops::request` (an id, a line of log) → `security` (who
//! may speak) → a route. Routes read and write the job store ([`ebb_queue`]) and never compute; jobs are run by one
//! thread, the dispatcher, which hands them to the [`Workshop`] and shows their events.
//!
//! - `config`: what a server is told before it starts. `app`: what all routes share, and the routes put together.
//! - `security`: host, origin, token, headers. `files`: paths, sending, pictures, writing.
//! - `comfy`: ComfyUI's routes, a file a group. `ws`: its websocket. `v1`: the newer protocol.
//! - `work`: dispatcher, frames, outcomes. `ops`: health, metrics, log. `users`: users and their settings.
//!
//! ```no_run
//! # async fn start(workshop: std::sync::Arc<dyn ebb_web::Workshop>) -> Result<(), ebb_web::StartError> {
//! use ebb_web::{LogBuffer, Server, ServerConfig};
//! let server = Server::bind(ServerConfig::below(".".as_ref()), workshop, LogBuffer::new()).await?;
//! println!("http://{}", server.address()?);
//! server.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

// A refused request is a `Response` that is on its way to the client: boxing it would only add an allocation.
#![allow(clippy::result_large_err)]

mod answer;
mod app;
mod comfy;
mod config;
pub mod editor;
mod files;
mod ops;
mod security;
mod serve;
mod users;
mod v1;
mod work;
mod ws;

pub use app::StartError;
pub use config::{Access, ConfigError, Folders, Limits, ServerConfig};
pub use ops::logs::{LogBuffer, LogWriter};
pub use serve::Server;
pub use work::engine::EngineWorkshop;
pub use work::workshop::{Checked, Later, Refused, Run, Workshop};
