//! `GET /view`: a picture from one of the three folders, as it is, smaller, or one channel of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::answer::failed;
use crate::app::App;
use crate::files::picture::{self, Channel, PictureError, Preview};
use crate::files::{PathError, blocking, roots, send};
use crate::security::headers::SANDBOX;

/// `NAME [output]` names a folder that overrides `type`.
pub(crate) fn split_annotation(name: &str) -> (&str, Option<&'static str>) {
    for folder in ["input", "output", "temp"] {
        if let Some(rest) =
            name.strip_suffix(']').and_then(|n| n.strip_suffix(folder)).and_then(|n| n.strip_suffix(" ["))
        {
            return (rest, Some(folder));
        }
    }
    (name, None)
}

pub(crate) async fn view(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(asked) = query.get("filename") else { return StatusCode::NOT_FOUND.into_response() };
    let (asked, annotated) = split_annotation(asked);
    if asked.is_empty() || asked.starts_with('/') || asked.contains("..") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let kind = annotated.or(query.get("type").map(String::as_str)).unwrap_or("output");
    let Some(root) = app.folder(kind) else { return StatusCode::BAD_REQUEST.into_response() };
    // Only the base name counts; folders go into `subfolder`.
    let name = asked.rsplit('/').next().unwrap_or(asked).to_owned();
    let subfolder = query.get("subfolder").cloned().unwrap_or_default();

    let path = format!("{subfolder}/{name}");
    let path = path.strip_prefix('/').filter(|_| subfolder.is_empty()).unwrap_or(&path).to_owned();
    let opened = blocking(move || Ok(roots::open(&root, &path))).await;
    let file = match opened {
        Ok(Ok(file)) => file,
        Ok(Err(error)) => return error.status().into_response(),
        Err(error) => return failed(error),
    };
    let channel_word = query.get("channel").cloned();
    let channel = Channel::parse(channel_word.as_deref());
    let preview = query.get("preview").map(|p| Preview::parse(p, channel_word.as_deref()));
    let mut response = if preview.is_none() && channel == Channel::Rgba {
        send::send(file, &name, &headers, send::Trust::Made)
    } else {
        drawn(&app, file, preview, channel).await
    };
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        let shown = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|t| t.to_str().ok())
            .is_none_or(send::shows);
        response.headers_mut().insert(header::CONTENT_DISPOSITION, send::disposition(&name, shown));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    }
    response
}

async fn drawn(app: &App, file: File, preview: Option<Preview>, channel: Channel) -> Response {
    let (limit, most) = (app.config.limits.pixels, app.config.limits.upload as u64);
    let work = move || -> std::io::Result<Result<(Vec<u8>, &'static str), PictureError>> {
        let mut bytes = Vec::new();
        file.take(most.saturating_mul(4)).read_to_end(&mut bytes)?;
        Ok(picture::decode(&bytes, limit).and_then(|decoded| match preview {
            Some(preview) => Ok((picture::preview(&decoded, preview, channel)?, preview.mime())),
            None => Ok((picture::channel(&decoded, channel)?.unwrap_or(bytes), "image/png")),
        }))
    };
    match blocking(work).await {
        Ok(Ok((bytes, mime))) => ([(header::CONTENT_TYPE, mime)], bytes).into_response(),
        Ok(Err(error)) => crate::answer::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        Err(error) => failed(error),
    }
}

/// A status for a path that a multipart form named: ComfyUI answers 400 whatever is wrong with it.
pub(crate) fn form_status(error: PathError) -> StatusCode {
    match error {
        PathError::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        PathError::Bad | PathError::Outside | PathError::Missing => StatusCode::BAD_REQUEST,
    }
}
