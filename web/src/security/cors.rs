//! The one foreign origin that was let in by a setting.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// ComfyUI's four headers, but never credentials together with `*`: every page of every site could then act as a
/// user who is logged in.
pub(crate) fn set(headers: &mut HeaderMap, allowed: Option<&str>) {
    let Some(origin) = allowed.and_then(|o| HeaderValue::from_str(o).ok()) else { return };
    let any = origin == "*";
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, DELETE, PUT, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Content-Type, Authorization"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    if any {
        headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    } else {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}
