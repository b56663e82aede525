//! `/users` and `/settings`.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};

use crate::answer::{self, Lenient, done, failed, text};
use crate::app::App;
use crate::files::blocking;
use crate::users::Unknown;

pub(crate) async fn users(State(app): State<App>) -> Response {
    let users = &app.users;
    if users.multi() {
        answer::json(&json!({"storage": "server", "users": users.list()}))
    } else {
        answer::json(&json!({"storage": "server", "migrated": users.migrated()}))
    }
}

pub(crate) async fn add(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let name = body.get("username").and_then(Json::as_str).unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.len() > 200 {
        return answer::json_with(StatusCode::BAD_REQUEST, &json!({"error": "username not provided"}));
    }
    match blocking(move || app.users.add(&name)).await {
        Ok(Some(id)) => answer::json(&id),
        Ok(None) => answer::json_with(StatusCode::BAD_REQUEST, &json!({"error": "Duplicate username."})),
        Err(error) => failed(error),
    }
}

fn unknown() -> Response {
    text(Unknown::STATUS, "this user is not known\n")
}

pub(crate) async fn settings(State(app): State<App>, headers: HeaderMap) -> Response {
    let Ok(user) = app.users.of(&headers) else { return unknown() };
    match blocking(move || Ok(app.users.settings(&user))).await {
        Ok(settings) => answer::json(&settings),
        Err(error) => failed(error),
    }
}

pub(crate) async fn setting(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Ok(user) = app.users.of(&headers) else { return unknown() };
    match blocking(move || Ok(app.users.settings(&user))).await {
        Ok(settings) => answer::json(&settings.get(&id)),
        Err(error) => failed(error),
    }
}

pub(crate) async fn merge(State(app): State<App>, headers: HeaderMap, Lenient(body): Lenient) -> Response {
    match body {
        Json::Object(changes) => change(app, &headers, changes).await,
        _ => text(StatusCode::BAD_REQUEST, "settings are a JSON object\n"),
    }
}

pub(crate) async fn set(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Lenient(value): Lenient,
) -> Response {
    change(app, &headers, Map::from_iter([(id, value)])).await
}

async fn change(app: App, headers: &HeaderMap, changes: Map<String, Json>) -> Response {
    let Ok(user) = app.users.of(headers) else { return unknown() };
    match blocking(move || app.users.merge(&user, changes)).await {
        Ok(()) => done(),
        Err(error) => failed(error),
    }
}

/// `GET /user.css`: the official front end asks for it; the user's own style sheet, if there is one.
pub(crate) async fn style(State(app): State<App>, headers: HeaderMap) -> Response {
    let official = app.config.front_end.is_some();
    let Ok(user) = app.users.of(&headers) else { return super::static_files::missing() };
    match blocking(move || std::fs::read_to_string(user.0.join("user.css"))).await {
        Ok(css) => ([("content-type", "text/css; charset=utf-8")], css).into_response(),
        // The official front end links to it in any case, and a browser that must not guess types complains about
        // anything but a style sheet.
        Err(_) if !official => super::static_files::missing(),
        Err(_) => ([("content-type", "text/css; charset=utf-8")], "").into_response(),
    }
}
