//! `/object_info`.

use axum::extract::{Path, State};
use axum::response::Response;

use crate::answer::{self, failed};
use crate::app::App;
use crate::files::blocking;

pub(crate) async fn all(State(app): State<App>) -> Response {
    described(app, None).await
}

pub(crate) async fn one(State(app): State<App>, Path(class): Path<String>) -> Response {
    described(app, Some(class)).await
}

/// Lists of files are read anew each time, so an upload can be chosen at once.
async fn described(app: App, class: Option<String>) -> Response {
    match blocking(move || Ok(app.workshop.object_info(class.as_deref()))).await {
        Ok(info) => answer::json(&info),
        Err(error) => failed(error),
    }
}
