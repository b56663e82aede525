//! `POST /v1/plan`: what would run, without running it. `docs/v1-editor-contract.md` has the shape.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value as Json;

use super::error::error;
use crate::answer::{self, Lenient};
use crate::app::App;
use crate::comfy::prompt::{refused, targets};

/// Plans a prompt. One that is not valid is refused with the body of `POST /prompt`.
#[utoipa::path(post, path = "/v1/plan", operation_id = "planPrompt", request_body = Object, responses(
    (status = 200, body = Object, description = "See docs/v1-editor-contract.md"),
    (status = 400, body = Object, description = "As POST /prompt answers")
))]
pub(crate) async fn look(State(app): State<App>, Lenient(mut body): Lenient) -> Response {
    let prompt = body["prompt"].take();
    if !prompt.is_object() {
        return error(StatusCode::BAD_REQUEST, "no_prompt", "the body has no prompt", Json::Null);
    }
    match app.workshop.plan(prompt, targets(body.get("partial_execution_targets"))).await {
        Ok(Some(plan)) => answer::json(&plan),
        Ok(None) => error(StatusCode::NOT_IMPLEMENTED, "no_planner", "this server does not plan", Json::Null),
        Err(refusal) => refused(refusal),
    }
}
