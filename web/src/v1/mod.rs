//! `/v1`: the newer protocol, beside ComfyUI's. Described by `/v1/openapi.json`, which is made from this code.
//!
//! - [`jobs`]: submit with an idempotency key, look, cancel, move. [`events`]: follow a job by server-sent events.
//! - [`queue`]: pause and resume. [`results`]: files by their content. [`memory`]: what is held, and by whom.
//! - [`watch`]: memory as it changes. [`plan`]: what would run. [`sweep`]: one workflow with many values, as one job. [`models`]: what files there are. [`templates`]: example workflows.
//! - [`types`]: the shapes of requests and answers. [`error`]: the one shape of errors.

pub(crate) mod error;
mod events;
mod jobs;
mod memory;
mod models;
mod openapi;
mod plan;
mod queue;
mod results;
mod sweep;
mod templates;
mod types;
mod watch;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

/// The routes of `/v1`.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/jobs", get(jobs::list).post(jobs::submit))
        .route("/v1/jobs/{id}", get(jobs::one).patch(jobs::change).delete(jobs::cancel))
        .route("/v1/jobs/{id}/events", get(events::follow))
        .route("/v1/queue", get(queue::look))
        .route("/v1/queue/pause", post(queue::pause))
        .route("/v1/queue/resume", post(queue::resume))
        .route("/v1/results/{sha256}", get(results::file))
        .route("/v1/memory", get(memory::look))
        .route("/v1/memory/evict", post(memory::evict))
        .route("/v1/memory/pin", post(memory::pin))
        .route("/v1/events", get(watch::follow))
        .route("/v1/plan", post(plan::look))
        .route("/v1/sweep", post(sweep::submit))
        .route("/v1/sweep/estimate", post(sweep::estimate))
        .route("/v1/sweep/{id}", get(sweep::look))
        .route("/v1/models", get(models::list))
        .route("/v1/templates", get(templates::list))
        .route("/v1/templates/{file}", get(templates::one))
        .route("/v1/{*rest}", axum::routing::any(error::no_route))
}

#[cfg(test)]
mod tests {
    use super::openapi::Document;
    use utoipa::OpenApi;

    /// What OpenAPI asks of a document, as far as this one could get it wrong. (`tests/sdk/run.sh` has a validator read
    /// the whole.)
    #[test]
    fn the_document_is_valid() {
        let document = serde_json::to_value(Document::openapi()).expect("JSON");
        let mut ids = std::collections::HashSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let place = format!("{method} {path}");
                let id =
                    operation["operationId"].as_str().unwrap_or_else(|| panic!("{place}: no operationId"));
                assert!(ids.insert(id.to_owned()), "{place}: {id} is the id of another");
                let responses = operation["responses"].as_object().expect("responses");
                assert!(!responses.is_empty(), "{place}");
                for (status, response) in responses {
                    let text = response["description"].as_str().unwrap_or_default();
                    assert!(!text.is_empty(), "{place} {status} is not described");
                }
                let declared = operation["parameters"].as_array().into_iter().flatten();
                let declared: Vec<&str> =
                    declared.filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect();
                let named: Vec<&str> =
                    path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')).collect();
                assert_eq!(declared, named, "{place}");
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap_or_default();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }

    #[test]
    fn the_document_names_every_route() {
        let source = include_str!("mod.rs");
        let document = Document::openapi();
        let routes = source.lines().filter_map(|l| l.trim().strip_prefix(".route(\"")?.split('"').next());
        for route in routes.filter(|r| !r.contains('*') && *r != "/v1/openapi.json") {
            assert!(document.paths.paths.contains_key(route), "{route} is not described");
        }
    }
}
