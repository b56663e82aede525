//! The secret, and the cookie that stands for it in a browser.
//!
//! Scripts send `Authorization: Bearer TOKEN`. A browser is shown a form at `/login` and gets a cookie that is a
//! digest of the token: not the token itself, out of reach of scripts, never sent with another site's requests. The
//! token never stands in an address, where histories and logs would keep it.

use axum::body::Body;
use axum::extract::{Form, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::app::App;

const COOKIE: &str = "ebb_session";

/// Digests of the token, made once.
#[derive(Clone)]
pub(crate) struct Token {
    secret: [u8; 32],
    session: String,
}

impl Token {
    pub(crate) fn new(token: &str) -> Self {
        let mut cookie = Sha256::new();
        cookie.update(b"ebb browser session\0");
        cookie.update(token.as_bytes());
        let session = cookie.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Self { secret: Sha256::digest(token.as_bytes()).into(), session }
    }

    /// Whether the request brings the token or its cookie.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if let Some((_, token)) = bearer {
            return self.is(token.trim());
        }
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|v| v.to_str().ok());
        let mut sessions = cookies
            .flat_map(|v| v.split(';'))
            .filter_map(|c| c.trim().split_once('='))
            .filter(|(k, _)| *k == COOKIE);
        sessions.any(|(_, value)| equal(value.as_bytes(), self.session.as_bytes()))
    }

    /// Digests of equal length are compared, so that neither length nor content shows in the time it takes.
    fn is(&self, token: &str) -> bool {
        equal(&Sha256::digest(token.as_bytes()), &self.secret)
    }
}

/// Compares without stopping at the first difference.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(u8::from(a.len() != b.len()), |acc, (x, y)| acc | (x ^ y));
    std::hint::black_box(difference) == 0
}

/// Routes that answer without a token: whether the process lives, and the form that asks for the token.
pub(crate) fn is_open(path: &str) -> bool {
    matches!(path, "/health" | "/login")
}

/// The refusal: a browser that wants a page is led to the form, everything else is told what is missing.
pub(crate) fn challenge(request: &Request) -> Response {
    let wants_page = request.method() == Method::GET
        && request.headers().get(header::ACCEPT).is_some_and(|v| v.as_bytes().starts_with(b"text/html"));
    if wants_page {
        return Redirect::to("/login").into_response();
    }
    let body = r#"{"error": {"code": "unauthorized", "message": "this server wants its token: send the header Authorization: Bearer TOKEN, or open /login in a browser", "details": null}}"#;
    (
        StatusCode::UNAUTHORIZED,
        [
            (header::WWW_AUTHENTICATE, "Bearer realm=\"ebb\""),
            (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        ],
        Body::from(body),
    )
        .into_response()
}

/// `GET /login`: the form.
pub(crate) async fn form() -> Response {
    page("")
}

#[derive(Deserialize)]
pub(crate) struct Login {
    token: String,
}

/// `POST /login`: the token for a cookie.
pub(crate) async fn login(State(app): State<App>, Form(login): Form<Login>) -> Response {
    let Some(token) = &app.token else { return Redirect::to("/").into_response() };
    if !token.is(login.token.trim()) {
        // Slows down whoever tries one after the other.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        return (StatusCode::UNAUTHORIZED, page("<p role=\"alert\">That is not the token.</p>"))
            .into_response();
    }
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000", token.session);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

fn page(note: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Ebb</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <form method=\"post\" action=\"/login\"><h1>Ebb</h1>{note}<p><label>Token \
         <input name=\"token\" type=\"password\" autofocus required autocomplete=\"current-password\"></label> \
         <button>Enter</button></p></form></html>"
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header"))])
    }

    #[test]
    fn token_and_cookie_admit_and_nothing_else_does() {
        let token = Token::new("correct horse battery");
        assert!(token.admits(&with(header::AUTHORIZATION, "Bearer correct horse battery")));
        assert!(token.admits(&with(header::AUTHORIZATION, "bearer correct horse battery ")));
        assert!(token.admits(&with(header::COOKIE, &format!("a=b; {COOKIE}={}", token.session))));
        assert!(!token.admits(&HeaderMap::new()));
        assert!(!token.admits(&with(header::AUTHORIZATION, "Bearer correct horse batter")));
        assert!(!token.admits(&with(header::AUTHORIZATION, "Basic correct horse battery")));
        assert!(!token.admits(&with(header::COOKIE, &format!("{COOKIE}=correct horse battery"))));
        assert!(!token.admits(&with(header::COOKIE, &format!("{COOKIE}="))));
    }

    #[test]
    fn comparing_looks_at_every_byte() {
        assert!(equal(b"abc", b"abc"));
        for other in [&b"abd"[..], b"bbc", b"ab", b"abcd", b""] {
            assert!(!equal(b"abc", other));
        }
    }
}
