//! `/system_stats` and `/features`.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::answer;
use crate::app::App;
use crate::ops::process;

/// The ComfyUI whose protocol this server speaks. Clients compare versions, so the field has to be one of ComfyUI's.
const COMFYUI: &str = "0.3.64";

pub(crate) async fn features(State(app): State<App>) -> Response {
    answer::json(&app.features())
}

/// Routes for what Ebb has none of: translations, templates and subgraphs that custom nodes bring along.
pub(crate) async fn empty_object() -> Response {
    answer::json(&json!({}))
}

pub(crate) async fn stats(State(app): State<App>) -> Response {
    let memory = process::memory();
    let system = json!({
        "os": if cfg!(windows) { "nt" } else { "posix" },
        "ram_total": memory.total,
        "ram_free": memory.available,
        "comfyui_version": COMFYUI,
        "required_frontend_version": "1.27.10",
        "installed_templates_version": "0.0.0",
        "required_templates_version": "0.0.0",
        // There is no Python here; clients show these as text.
        "python_version": format!("none (ebb {})", env!("CARGO_PKG_VERSION")),
        "pytorch_version": "none",
        "embedded_python": false,
        "argv": app.config.argv,
        "ebb_version": env!("CARGO_PKG_VERSION"),
        "rss_anon": memory.rss_anon,
    });
    let device = json!({
        "name": process::cpu(),
        "type": "cpu",
        "index": null,
        "vram_total": memory.total,
        "vram_free": memory.available,
        "torch_vram_total": memory.total,
        "torch_vram_free": memory.available,
    });
    answer::json(&json!({"system": system, "devices": [device]}))
}
