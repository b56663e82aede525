//! Who may speak to the server, and what a browser may do with its answers.
//!
//! - [`host`]: names this server answers to, so that a foreign name that is pointed here (DNS rebinding) is refused.
//! - [`origin`]: whether a page of another site is behind a request.
//! - [`token`]: the secret, and the cookie that stands for it in a browser.
//! - [`headers`]: what every answer tells the browser not to do.
//! - [`cors`]: the one foreign origin that was let in by a setting.
//! - [`pace`]: bodies that trickle.
//!
//! `guard` puts them in order; nothing behind it runs for a request that it refuses.

pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod host;
pub(crate) mod origin;
pub(crate) mod pace;
pub(crate) mod token;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;

/// Stands before every route, the websocket and static files included.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let access = &app.config.access;
    let mut response = match refuse(&app, &request) {
        Some(refusal) => refusal,
        None if request.method() == Method::OPTIONS => StatusCode::OK.into_response(),
        None => next.run(request).await,
    };
    headers::set(response.headers_mut(), app.config.front_end.is_some());
    cors::set(response.headers_mut(), access.cors.as_deref());
    response
}

fn refuse(app: &App, request: &Request) -> Option<Response> {
    let access = &app.config.access;
    let headers = request.headers();
    if !host::allowed(headers.get(header::HOST), &access.hosts) {
        return Some(text(
            StatusCode::FORBIDDEN,
            "This server does not answer to that name. Use its address, or start it with --host NAME.\n",
        ));
    }
    if request.method() == Method::OPTIONS {
        return None;
    }
    let changes = is_websocket(headers) || !matches!(*request.method(), Method::GET | Method::HEAD);
    let judged = match access.cors.as_deref() {
        None => origin::check(headers, changes),
        Some("*") => Ok(()),
        Some(allowed) => origin::check_but_for(headers, allowed, changes),
    };
    if let Err(reason) = judged {
        tracing::warn!(path = request.uri().path(), %reason, "refused a request of another site");
        return Some(StatusCode::FORBIDDEN.into_response());
    }
    match &app.token {
        Some(token) if !token::is_open(request.uri().path()) && !token.admits(headers) => {
            Some(token::challenge(request))
        }
        _ => None,
    }
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn text(status: StatusCode, body: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from(body)).into_response()
}
