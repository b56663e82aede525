//! `/history`: jobs that a worker had and that are over.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use ebb_queue::{HistoryWindow, JobRecord};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::json;
use serde_json::value::RawValue;

use super::queue::{Item, clears, ids};
use crate::answer::{self, Lenient, done, text};
use crate::app::App;
use crate::files::blocking;

/// Entries by id, in the order of completion.
struct Entries<'a>(&'a [JobRecord]);

#[derive(Serialize)]
struct Entry<'a> {
    prompt: Item<'a>,
    outputs: &'a RawValue,
    status: &'a RawValue,
    meta: &'a RawValue,
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for job in self.0 {
            let Some(outcome) = &job.outcome else { continue };
            let entry = Entry {
                prompt: Item::of(job),
                outputs: &outcome.outputs,
                status: &outcome.status,
                meta: &outcome.meta,
            };
            map.serialize_entry(&job.summary.id, &entry)?;
        }
        map.end()
    }
}

/// `GET /history?max_items=N&offset=K`. A negative offset means none, as with ComfyUI.
pub(crate) async fn list(State(app): State<App>, Query(query): Query<HashMap<String, String>>) -> Response {
    let number = |key: &str| query.get(key).map(|v| v.trim().parse::<i64>()).transpose();
    let (Ok(max_items), Ok(offset)) = (number("max_items"), number("offset")) else {
        return text(StatusCode::BAD_REQUEST, "max_items and offset are whole numbers\n");
    };
    let window = HistoryWindow {
        offset: offset.and_then(|o| u64::try_from(o).ok()),
        max_items: max_items.map(|m| u64::try_from(m).unwrap_or(0)),
    };
    let store = app.store.clone();
    let written = blocking(move || {
        let jobs = store.history(window).map_err(std::io::Error::other)?;
        Ok(answer::json(&Entries(&jobs)))
    });
    written.await.unwrap_or_else(answer::failed)
}

/// `GET /history/{id}`: `{}` until the job is over.
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Response {
    match app.on_store(move |s| s.get(&id)).await {
        Ok(Some(job)) if job.outcome.is_some() && job.summary.started_ms.is_some() => {
            answer::json(&Entries(std::slice::from_ref(&job)))
        }
        Ok(_) => answer::json(&json!({})),
        Err(response) => response,
    }
}

/// `POST /history`: forgets entries.
pub(crate) async fn change(State(app): State<App>, Lenient(body): Lenient) -> Response {
    let (all, some) = (clears(&body), ids(&body));
    let forgotten = app.on_store(move |s| {
        if all {
            s.clear_history()?;
        }
        s.remove_history(&some)
    });
    match forgotten.await {
        Ok(_) => done(),
        Err(response) => response,
    }
}
