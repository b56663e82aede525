//! The queue as a whole: look, pause, resume.

use axum::extract::State;
use axum::response::Response;

use super::types::Queue;
use crate::answer;
use crate::app::App;

/// How many wait and run, and whether jobs are taken.
#[utoipa::path(get, path = "/v1/queue", operation_id = "getQueue", responses((status = 200, body = Queue, description = "How long the queue is, and whether it is paused")))]
pub(crate) async fn look(State(app): State<App>) -> Response {
    let read = app.on_store(|s| {
        let counts = s.counts()?;
        Ok(Queue { paused: s.paused()?, queued: counts.queued, running: counts.running })
    });
    match read.await {
        Ok(queue) => answer::json(&queue),
        Err(response) => response,
    }
}

/// Takes no more jobs until resumed, over restarts too. The running job runs on.
#[utoipa::path(post, path = "/v1/queue/pause", operation_id = "pauseQueue", responses((status = 200, body = Queue, description = "How long the queue is, and whether it is paused")))]
pub(crate) async fn pause(app: State<App>) -> Response {
    set(app, true).await
}

/// Takes jobs again.
#[utoipa::path(post, path = "/v1/queue/resume", operation_id = "resumeQueue", responses((status = 200, body = Queue, description = "How long the queue is, and whether it is paused")))]
pub(crate) async fn resume(app: State<App>) -> Response {
    set(app, false).await
}

async fn set(State(app): State<App>, paused: bool) -> Response {
    match app.on_store(move |s| s.set_paused(paused)).await {
        Ok(()) => {
            app.dispatcher.wake();
            look(State(app)).await
        }
        Err(response) => response,
    }
}
