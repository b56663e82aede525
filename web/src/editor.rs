//! The node editor: the files of `web/editor`, built by the build script and carried in the binary.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

struct File {
    path: &'static str,
    kind: &'static str,
    etag: &'static str,
    content: &'static [u8],
}

mod built {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/editor_files.rs"));
}

/// What people see where there is no editor.
const PLAIN: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Ebb</title>\
    <h1>Ebb is running</h1><p>This build has no editor. The API is at <code>/prompt</code>, <code>/queue</code>, \
    <code>/history</code>, <code>/ws</code> and <code>/v1</code>; ComfyUI's clients work with it as they are.</p>";

/// Answers a path of the editor: `/` is its page. 404 for what it does not have.
pub fn serve(path: &str, headers: &HeaderMap) -> Response {
    let wanted = if path == "/" { "/index.html" } else { path };
    if let Some(file) = built::FILES.iter().find(|f| f.path == wanted) {
        return send(file, headers);
    }
    if wanted == "/index.html" {
        let why = built::MISSING.map(|reason| format!("<p>It was left out because {}.</p>", escape(reason)));
        let page = format!("{PLAIN}{}", why.unwrap_or_default());
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}

fn send(file: &File, headers: &HeaderMap) -> Response {
    let etag = HeaderValue::from_static(file.etag);
    // Names under /assets hold a hash of their content, so they never change.
    let cache =
        if file.path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let common = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static(cache))];
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|seen| seen == etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, HeaderValue::from_static(file.kind))], file.content).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(response: &Response) -> &str {
        response.headers()[header::CONTENT_TYPE].to_str().unwrap()
    }

    #[test]
    fn the_page_is_html_with_or_without_the_editor() {
        let response = serve("/", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(kind(&response), "text/html; charset=utf-8");
    }

    #[test]
    fn a_script_of_the_bundle_is_there_and_is_not_sent_twice() {
        let Some(script) = built::FILES.iter().find(|f| f.path.ends_with(".js")) else {
            // Built without the editor: then no path but the page's own answers.
            assert_eq!(serve("/assets/index.js", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
            return;
        };
        let first = serve(script.path, &HeaderMap::new());
        assert_eq!(kind(&first), "text/javascript; charset=utf-8");
        let seen = HeaderMap::from_iter([(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone())]);
        assert_eq!(serve(script.path, &seen).status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn no_path_leads_out_of_the_bundle() {
        for path in ["/../Cargo.toml", "/assets/../../x", "/nothing", "//index.html", "/package.json"] {
            assert_eq!(serve(path, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn reasons_are_shown_as_text() {
        assert_eq!(escape("<b>&"), "&lt;b&gt;&amp;");
    }
}
