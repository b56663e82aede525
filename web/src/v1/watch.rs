//! `GET /v1/events`: memory as it changes, as server-sent events. `docs/v1-editor-contract.md` has the shapes.
//!
//! An event's number is its moment. Who comes back with the last one it saw (`Last-Event-ID`) is told what it missed,
//! as far as the time line reaches.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use ebb_engine::residency::{Mark, MarkKind, News, Residency, Sample};
use futures::stream::{self, Stream};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::error::error;
use crate::app::App;

/// Memory as it changes: `memory`, `marker`, `residents`.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "followMemory",
    params(
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen; those after it follow"),
        ("after" = Option<u64>, Query, description = "The same, for clients that cannot set headers"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "Events named `memory`, `marker` and `residents`"),
        (status = 501, description = "This server keeps no ledger of memory"),
    )
)]
pub(crate) async fn follow(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(residency) = app.workshop.residency() else {
        return error(
            StatusCode::NOT_IMPLEMENTED,
            "no_ledger",
            "this server keeps no ledger of memory",
            Json::Null,
        );
    };
    let header = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let seen = header.or(query.get("after").map(String::as_str)).and_then(|v| v.trim().parse().ok());
    // Listening begins before the past is read, so that nothing falls in between.
    let news = residency.timeline().listen();
    let mut watcher = Watcher { app, residency, news, seen: 0, ready: VecDeque::new() };
    if let Some(seen) = seen {
        watcher.seen = seen;
        watcher.catch_up();
    }
    Sse::new(watcher.events()).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

struct Watcher {
    app: App,
    residency: Arc<Residency>,
    news: Receiver<News>,
    /// Moment of the last event that was told.
    seen: u64,
    ready: VecDeque<Event>,
}

impl Watcher {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watcher| async move {
            let event = watcher.next().await?;
            Some((Ok(event), watcher))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            tokio::select! {
                news = self.news.recv() => match news {
                    Ok(News::Sample(sample)) => self.sample(&sample),
                    Ok(News::Mark(mark)) => self.mark(&mark),
                    Err(RecvError::Lagged(_)) => self.catch_up(),
                    Err(RecvError::Closed) => return None,
                },
                () = self.app.stopping.cancelled() => return None,
            }
        }
    }

    /// What happened since the last event, in its order.
    fn catch_up(&mut self) {
        let past = self.residency.timeline().since(Some(self.seen));
        let mut samples = past.samples.iter().peekable();
        for mark in &past.marks {
            while let Some(sample) = samples.next_if(|sample| sample.t < mark.t) {
                self.sample(sample);
            }
            self.mark(mark);
        }
        samples.for_each(|sample| self.sample(sample));
    }

    fn sample(&mut self, sample: &Sample) {
        self.tell(sample.t, "memory", sample);
    }

    fn mark(&mut self, mark: &Mark) {
        self.tell(mark.t, "marker", mark);
        if !matches!(mark.kind, MarkKind::Step | MarkKind::Refused) {
            self.ready.push_back(Event::default().event("residents").data("{}"));
        }
    }

    fn tell(&mut self, moment: u64, name: &str, what: &impl Serialize) {
        self.seen = self.seen.max(moment);
        // These types always print.
        let data = serde_json::to_string(what).unwrap_or_default();
        self.ready.push_back(Event::default().id(moment.to_string()).event(name).data(data));
    }
}
