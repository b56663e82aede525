//! A file as an answer: its type, part of it, or that it has not changed.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

/// What a browser may do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is part of a front end: any type, shown as it is.
    FrontEnd,
    /// A user or a job made it: shown if it is a picture, a film or sound, else handed over as a download.
    Made,
}

/// The type of a file by its name.
pub(crate) fn mime(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|e| e.to_str()) {
        // Not in every list of types, and served by the official front end.
        Some("mjs") => "text/javascript",
        Some("map") => "application/json",
        _ => mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream"),
    }
}

/// Types that may be shown in the page: they cannot run anything. SVG can.
pub(crate) fn shows(mime: &str) -> bool {
    let picture = mime.starts_with("image/") && !mime.contains("svg") && !mime.contains("xml");
    picture || mime.starts_with("video/") || mime.starts_with("audio/")
}

/// Types that a browser would run if it were sent there.
fn runs(mime: &str) -> bool {
    ["html", "xml", "svg", "javascript", "ecmascript", "css"].iter().any(|word| mime.contains(word))
}

/// The type under which something that a user made is sent.
pub(crate) fn harmless(mime: &'static str) -> &'static str {
    if runs(mime) { "application/octet-stream" } else { mime }
}

/// `Content-Disposition` as ComfyUI writes it for what is shown, with `attachment` for what is not.
pub(crate) fn disposition(name: &str, shown: bool) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '_' })
        .collect();
    let mut value = format!("{}filename=\"{plain}\"", if shown { "" } else { "attachment; " });
    if plain != name {
        let encoded: String = name
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                    (b as char).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect();
        value.push_str(&format!("; filename*=UTF-8''{encoded}"));
    }
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Answers with `file`: all of it, the range that was asked for, or "not modified".
pub(crate) fn send(file: File, name: &str, request: &HeaderMap, trust: Trust) -> Response {
    match respond(file, name, request, trust) {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, "a file could not be sent");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn respond(mut file: File, name: &str, request: &HeaderMap, trust: Trust) -> std::io::Result<Response> {
    let meta = file.metadata()?;
    let modified = meta.modified().unwrap_or(UNIX_EPOCH);
    let nanos = modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let etag = format!("\"{nanos:x}-{:x}\"", meta.len());
    let mime = match trust {
        Trust::FrontEnd => mime(name),
        Trust::Made => harmless(mime(name)),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let dated =
        |d: SystemTime| HeaderValue::from_str(&httpdate::fmt_http_date(d)).map_err(std::io::Error::other);
    headers.insert(header::LAST_MODIFIED, dated(modified)?);
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).map_err(std::io::Error::other)?);
    if unchanged(request, &etag, modified) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let (status, start, length) = match wanted(request, &etag, modified, meta.len()) {
        Wanted::All => (StatusCode::OK, 0, meta.len()),
        Wanted::Part(start, end) => {
            let range = format!("bytes {start}-{end}/{}", meta.len());
            headers
                .insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(std::io::Error::other)?);
            (StatusCode::PARTIAL_CONTENT, start, end - start + 1)
        }
        Wanted::Nothing => {
            let range = format!("bytes */{}", meta.len());
            headers
                .insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(std::io::Error::other)?);
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
    };
    file.seek(SeekFrom::Start(start))?;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(length), 64 << 10);
    Ok((status, headers, Body::from_stream(stream)).into_response())
}

fn text(request: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    request.get(name)?.to_str().ok()
}

fn unchanged(request: &HeaderMap, etag: &str, modified: SystemTime) -> bool {
    if let Some(tags) = text(request, header::IF_NONE_MATCH) {
        return tags.split(',').any(|t| t.trim() == "*" || t.trim().trim_start_matches("W/") == etag);
    }
    let since = text(request, header::IF_MODIFIED_SINCE).and_then(|d| httpdate::parse_http_date(d).ok());
    since.is_some_and(|since| seconds(modified) <= seconds(since))
}

/// HTTP dates count seconds.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// First and last byte.
    Part(u64, u64),
    Nothing,
}

/// One range is honoured; several are answered with the whole file, which is allowed.
fn wanted(request: &HeaderMap, etag: &str, modified: SystemTime, length: u64) -> Wanted {
    if let Some(condition) = text(request, header::IF_RANGE) {
        let same = match httpdate::parse_http_date(condition) {
            Ok(date) => seconds(date) == seconds(modified),
            Err(_) => condition == etag,
        };
        if !same {
            return Wanted::All;
        }
    }
    let Some(range) = text(request, header::RANGE).and_then(|r| r.strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    if range.contains(',') {
        return Wanted::All;
    }
    let Some((first, last)) = range.trim().split_once('-') else { return Wanted::All };
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(start), Ok(end)) if start <= end => (start, end),
        (Ok(start), _) if last.is_empty() => (start, u64::MAX),
        (_, Ok(suffix)) if first.is_empty() && suffix > 0 => (length.saturating_sub(suffix), u64::MAX),
        (_, Ok(0)) if first.is_empty() => return Wanted::Nothing,
        _ => return Wanted::All,
    };
    if start >= length { Wanted::Nothing } else { Wanted::Part(start, end.min(length - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let ask = |range: &str| {
            let headers =
                HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(range).expect("a header"))]);
            wanted(&headers, "\"x\"", UNIX_EPOCH, 100)
        };
        assert_eq!(ask("bytes=0-7"), Wanted::Part(0, 7));
        assert_eq!(ask("bytes=90-"), Wanted::Part(90, 99));
        assert_eq!(ask("bytes=-10"), Wanted::Part(90, 99));
        assert_eq!(ask("bytes=-1000"), Wanted::Part(0, 99));
        assert_eq!(ask("bytes=50-1000"), Wanted::Part(50, 99));
        assert_eq!(ask("bytes=100-"), Wanted::Nothing);
        assert_eq!(ask("bytes=-0"), Wanted::Nothing);
        for odd in ["bytes=5-2", "bytes=a-b", "bytes=0-1,5-6", "lines=0-1", "bytes=-"] {
            assert_eq!(ask(odd), Wanted::All, "{odd}");
        }
    }

    #[test]
    fn what_could_run_is_handed_over_as_bytes() {
        for name in ["a.html", "a.svg", "a.xhtml", "a.js", "a.css", "a.xml", "a.mjs"] {
            assert_eq!(harmless(mime(name)), "application/octet-stream", "{name}");
            assert!(!shows(mime(name)), "{name}");
        }
        for name in ["a.png", "a.jpg", "a.webp", "a.mp4", "a.webm", "a.flac"] {
            assert!(shows(mime(name)), "{name}");
        }
    }

    #[test]
    fn dispositions() {
        assert_eq!(disposition("a b.png", true), "filename=\"a b.png\"");
        assert_eq!(
            disposition("a\"b.svg", false),
            "attachment; filename=\"a_b.svg\"; filename*=UTF-8''a%22b.svg"
        );
        assert_eq!(disposition("ü\r\n.png", true), "filename=\"___.png\"; filename*=UTF-8''%C3%BC%0D%0A.png");
    }
}
