//! The description of `/v1`, made from the code of its routes.

use axum::response::Response;
use utoipa::OpenApi;

use super::{events, jobs, memory, models, plan, queue, results, sweep, templates, types, watch};
use crate::answer;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ebb",
        description = "Submit workflows once, follow them without a gap, find results by content. ComfyUI's own \
                       protocol is served beside this one.",
    ),
    paths(
        jobs::submit,
        jobs::list,
        jobs::one,
        jobs::change,
        jobs::cancel,
        events::follow,
        queue::look,
        queue::pause,
        queue::resume,
        results::file,
        memory::look,
        memory::evict,
        memory::pin,
        watch::follow,
        plan::look,
        sweep::submit,
        sweep::estimate,
        sweep::look,
        models::list,
        templates::list,
        templates::one
    ),
    components(schemas(
        types::SubmitJob,
        types::Job,
        types::Jobs,
        types::ChangeJob,
        types::Queue,
        types::ErrorBody
    ))
)]
pub(super) struct Document;

pub(crate) async fn document() -> Response {
    answer::json(&Document::openapi())
}
