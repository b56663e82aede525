//! What every answer tells the browser not to do.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Ebb's own editor: its files, its websocket, pictures it draws itself. No inline script, no eval.
const EDITOR: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' \
     'unsafe-inline'; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action \
     'self'; frame-ancestors 'self'";

/// The official front end has inline scripts and compiles templates, so these two are let through; other sites are not.
const FRONT_END: &str = "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' \
     'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src \
     'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; \
     frame-ancestors 'self'";

/// Something that a user or a job made: shown, never run.
pub(crate) const SANDBOX: &str =
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox";

/// Fills in what the route has not set itself.
pub(crate) fn set(headers: &mut HeaderMap, official_front_end: bool) {
    let policy = if official_front_end { FRONT_END } else { EDITOR };
    let all: [(HeaderName, &'static str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in all {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
