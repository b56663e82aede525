//! The front end itself: the folder of `--front-end`, or Ebb's own editor.

use std::path::PathBuf;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::listing::walk;
use crate::answer::{self, failed};
use crate::app::App;
use crate::files::{blocking, roots, send};

/// `/api/...` that no route has: never a file.
pub(crate) async fn nothing() -> Response {
    missing()
}

/// 404 with the type that static files of no known kind have.
pub(crate) fn missing() -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/octet-stream")]).into_response()
}

/// The list of the front end's own templates, which come in a package of their own: without it there are none, and an
/// error would be shown in place of the dialog.
const TEMPLATES: &str = "/templates/index.json";

/// Any other path: a file of the front end.
pub(crate) async fn serve(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Some(folder) = &app.config.front_end else {
        let response = crate::editor::serve(&path, request.headers());
        return if response.status() == StatusCode::NOT_FOUND { missing() } else { response };
    };
    let mut response = from_folder(folder.clone(), &path, request.headers().clone()).await;
    if response.status() == StatusCode::NOT_FOUND && path == TEMPLATES {
        response = answer::json(&Vec::<String>::new());
    }
    cache(&path, response.headers_mut());
    response
}

async fn from_folder(folder: PathBuf, path: &str, headers: HeaderMap) -> Response {
    let Some(name) = decoded(path) else { return StatusCode::BAD_REQUEST.into_response() };
    let name = name.trim_start_matches('/').to_owned();
    let name = if name.is_empty() { "index.html".to_owned() } else { name };
    let asked = name.clone();
    match blocking(move || Ok(roots::open(&folder, &asked))).await {
        Ok(Ok(file)) => send::send(file, &name, &headers, send::Trust::FrontEnd),
        Ok(Err(_)) => missing(),
        Err(error) => failed(error),
    }
}

/// Percent signs decoded once; `None` where that gives no text.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Scripts, styles and lists are asked for anew; pictures are kept for a day.
fn cache(path: &str, headers: &mut HeaderMap) {
    let last = path.rsplit('/').next().unwrap_or_default();
    let extension = last.rsplit_once('.').map_or("", |(_, e)| e);
    let value = match extension {
        "js" | "css" => "no-cache",
        "json" if last.starts_with("index") => "no-cache",
        "jpg" | "jpeg" | "png" | "ppm" | "bmp" | "pgm" | "tif" | "tiff" | "webp" => "public, max-age=86400",
        _ if path == "/" => {
            headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
            headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
            "no-cache"
        }
        _ => return,
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
}

/// `GET /extensions`: the scripts that the front end loads, those that it brings itself.
pub(crate) async fn extensions(State(app): State<App>) -> Response {
    let Some(folder) = app.config.front_end.clone() else { return answer::json(&Vec::<String>::new()) };
    let folder = folder.join("extensions");
    let listed = blocking(move || if folder.is_dir() { walk(&folder, true, 10_000) } else { Ok(Vec::new()) });
    match listed.await {
        Ok(entries) => {
            let scripts = entries.iter().filter(|e| e.path.ends_with(".js"));
            answer::json(&scripts.map(|e| format!("/extensions/{}", e.path)).collect::<Vec<_>>())
        }
        Err(error) => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn percent_signs_are_decoded_once() {
        assert_eq!(decoded("/a%20b").as_deref(), Some("/a b"));
        assert_eq!(decoded("/%252e%252e/x").as_deref(), Some("/%2e%2e/x"));
        for broken in ["/%", "/%2", "/%zz", "/%ff"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
