//! ComfyUI's protocol over HTTP, a file per group of routes. Every ordinary route exists twice: `/x` and `/api/x`.
//!
//! - [`prompt`]: handing work in. [`queue`], [`history`]: what waits, what runs, what was. [`jobs`]: the same as newer
//!   front ends ask for it.
//! - [`view`], [`upload`]: pictures out and in. [`userdata`], [`users`]: what a front end keeps.
//! - [`nodes`]: descriptions of nodes. [`models`]: files of models. [`system`], [`internal`]: the machine, the log.
//! - [`static_files`]: the front end itself.

pub(crate) mod history;
pub(crate) mod internal;
pub(crate) mod jobs;
pub(crate) mod listing;
pub(crate) mod models;
pub(crate) mod nodes;
pub(crate) mod prompt;
pub(crate) mod queue;
pub(crate) mod static_files;
pub(crate) mod system;
pub(crate) mod upload;
pub(crate) mod userdata;
pub(crate) mod users;
pub(crate) mod view;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, patch, post};

use crate::app::App;
use crate::ws::socket;

/// Both forms of every route, and those that exist once.
pub(crate) fn routes(app: &App) -> Router<App> {
    twice(app)
        .nest("/api", twice(app))
        .route("/user.css", get(users::style))
        .route("/internal/logs", get(internal::logs))
        .route("/internal/logs/raw", get(internal::raw_logs))
        .route("/internal/logs/subscribe", patch(internal::subscribe))
        .route("/internal/folder_paths", get(internal::folder_paths))
        .route("/internal/files/{kind}", get(internal::files))
        .route("/api/{*rest}", any(static_files::nothing))
}

fn twice(app: &App) -> Router<App> {
    let uploads = Router::new()
        .route("/upload/image", post(upload::image))
        .route("/upload/mask", post(upload::mask))
        .layer(DefaultBodyLimit::max(app.config.limits.upload));
    Router::new()
        .merge(uploads)
        .route("/ws", get(socket::upgrade))
        .route("/prompt", get(prompt::remaining).post(prompt::submit))
        .route("/queue", get(queue::list).post(queue::change))
        .route("/interrupt", post(queue::interrupt))
        .route("/free", post(queue::free))
        .route("/history", get(history::list).post(history::change))
        .route("/history/{id}", get(history::one))
        .route("/jobs", get(jobs::list))
        .route("/jobs/cancel", post(jobs::cancel))
        .route("/jobs/{id}", get(jobs::one))
        .route("/jobs/{id}/assets", get(jobs::assets))
        .route("/object_info", get(nodes::all))
        .route("/object_info/{class}", get(nodes::one))
        .route("/system_stats", get(system::stats))
        .route("/features", get(system::features))
        .route("/extensions", get(static_files::extensions))
        .route("/i18n", get(system::empty_object))
        .route("/workflow_templates", get(system::empty_object))
        .route("/global_subgraphs", get(system::empty_object))
        .route("/node_replacements", get(system::empty_object))
        .route("/embeddings", get(models::embeddings))
        .route("/models", get(models::folders))
        .route("/models/{folder}", get(models::in_folder))
        .route("/experiment/models", get(models::experiment_folders))
        .route("/experiment/models/{folder}", get(models::experiment_folder))
        .route("/experiment/models/preview/{folder}/{index}/{*file}", get(models::preview))
        .route("/view_metadata/{folder}", get(models::metadata))
        .route("/view", get(view::view))
        .route("/users", get(users::users).post(users::add))
        .route("/settings", get(users::settings).post(users::merge))
        .route("/settings/{id}", get(users::setting).post(users::set))
        .route("/userdata", get(userdata::list))
        .route("/v2/userdata", get(userdata::list_v2))
        .route("/userdata/{file}", get(userdata::read).post(userdata::write).delete(userdata::delete))
        .route("/userdata/{file}/move/{dest}", post(userdata::rename))
}
