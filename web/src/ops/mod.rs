//! What whoever runs the server looks at: logs, figures of the process, metrics, health.
//!
//! - [`logs`]: the last lines of the log. `process`: memory of process and machine, read when asked for. `metrics`:
//!   counters for Prometheus. `health`: whether the process lives. `request`: an id and a line of log a request.

pub(crate) mod health;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod process;
pub(crate) mod request;

use axum::Router;
use axum::routing::get;

use crate::app::App;
use crate::security::token;

/// `/health`, `/metrics` and the form for the token.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .route("/login", get(token::form).post(token::login))
}
