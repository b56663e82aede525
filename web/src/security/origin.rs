//! Whether a page of another site is behind a request.
//!
//! A browser sends `Origin` with every request that could change something and with every websocket. A page cannot
//! leave it out or forge it, so what is compared is `Origin` with `Host`. Where a browser left it out,
//! `Sec-Fetch-Site`, `Sec-Fetch-Mode` and `Referer` tell the same. Scripts send none of them and pass.

use axum::http::{HeaderMap, header};

use super::host;

/// `Err` with the reason when another site is behind the request. `changes`: it could change something here.
pub(crate) fn check(headers: &HeaderMap, changes: bool) -> Result<(), &'static str> {
    let get = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("unreadable"));
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    if let Some(origin) = get("origin") {
        return match origin {
            // A sandboxed frame or a file: nobody knows whose. It may look (it cannot read the answer) and no more.
            "null" if changes => Err("Origin is null"),
            "null" => Ok(()),
            _ => host.is_none_or(|h| same(origin, h, changes)).then_some(()).ok_or("Origin is another site"),
        };
    }
    if !changes {
        return Ok(());
    }
    if matches!(get("sec-fetch-site"), Some("cross-site" | "same-site")) {
        return Err("Sec-Fetch-Site tells of another site");
    }
    if get("sec-fetch-site").is_none() && matches!(get("sec-fetch-mode"), Some("navigate" | "no-cors")) {
        return Err("Sec-Fetch-Mode tells of a form or an image");
    }
    match (get("referer"), host) {
        (Some(referer), Some(host)) if !same(referer, host, changes) => Err("Referer is another site"),
        _ => Ok(()),
    }
}

/// As [`check`], but pages of `allowed` are welcome.
pub(crate) fn check_but_for(headers: &HeaderMap, allowed: &str, changes: bool) -> Result<(), &'static str> {
    match headers.get(header::ORIGIN) {
        Some(origin) if origin.as_bytes() == allowed.as_bytes() => Ok(()),
        _ => check(headers, changes),
    }
}

/// Whether `url` (an origin or a whole address) is at `host`. Looking on allows what ComfyUI does: where one of them
/// has no port, names alone are compared. Changing compares ports as a browser does.
fn same(url: &str, host: &str, strict: bool) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    if !host::name(authority).eq_ignore_ascii_case(host::name(host)) {
        return false;
    }
    let (theirs, ours) = (host::port(authority), host::port(host));
    match (theirs, ours) {
        (Some(a), Some(b)) => a == b,
        (None, None) => true,
        _ if !strict => true,
        // Behind a proxy the scheme of the browser is not ours: the default ports of both are good.
        (None, Some(b)) => b == if scheme == "https" { 443 } else { 80 },
        (Some(a), None) => a == 80 || a == 443,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| {
                (
                    HeaderName::from_bytes(k.as_bytes()).expect("a name"),
                    HeaderValue::from_str(v).expect("a value"),
                )
            })
            .collect()
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:8188");

    #[test]
    fn foreign_requests_that_change_are_refused() {
        for pair in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:9999"),
            ("origin", "http://127.0.0.1"),
            ("origin", "http://localhost:8188"),
            ("origin", "http://evil@127.0.0.1:8188.evil.example"),
            ("origin", "127.0.0.1:8188"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-mode", "navigate"),
            ("referer", "http://evil.example/page"),
            ("referer", "http://evil.example/127.0.0.1:8188/"),
        ] {
            assert!(check(&headers(&[HOST, pair]), true).is_err(), "{pair:?}");
        }
    }

    #[test]
    fn own_pages_and_scripts_pass() {
        for pair in [
            ("origin", "http://127.0.0.1:8188"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("referer", "http://127.0.0.1:8188/"),
            ("user-agent", "python-requests"),
        ] {
            assert!(check(&headers(&[HOST, pair]), true).is_ok(), "{pair:?}");
        }
        let proxy = [("host", "box.lan"), ("origin", "https://box.lan")];
        assert!(check(&headers(&proxy), true).is_ok(), "behind a proxy with TLS");
    }

    #[test]
    fn looking_is_judged_as_comfyui_does() {
        for (pair, good) in [
            (("origin", "http://127.0.0.1:8188"), true),
            (("origin", "http://127.0.0.1"), true),
            (("origin", "null"), true),
            (("origin", "http://127.0.0.1:9999"), false),
            (("origin", "http://localhost:8188"), false),
            (("origin", "http://evil.example"), false),
        ] {
            assert_eq!(check(&headers(&[HOST, pair]), false).is_ok(), good, "{pair:?}");
        }
    }

    #[test]
    fn one_foreign_origin_may_be_let_in() {
        let allowed = "https://studio.example";
        assert!(check_but_for(&headers(&[HOST, ("origin", allowed)]), allowed, true).is_ok());
        assert!(check_but_for(&headers(&[HOST, ("origin", "https://evil.example")]), allowed, true).is_err());
    }
}
