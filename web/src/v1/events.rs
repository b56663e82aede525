//! A job's events as server-sent events. Each has a number; who comes back with the last one it saw
//! (`Last-Event-ID`) misses nothing, over a reload of the page and over a restart of the server.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::types::ErrorBody;
use crate::app::App;
use crate::work::feed::Told;

/// Events that are read from the store at once.
const PAGE: u64 = 500;

/// Follows a job from an event on, until it ends.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", operation_id = "followJob",
    params(
        ("id" = String, Path),
        ("Last-Event-ID" = Option<i64>, Header, description = "The last event that was seen; those after it follow"),
        ("after" = Option<i64>, Query, description = "The same, for clients that cannot set headers"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "Events named as on the websocket; `end` is the last"),
        (status = 404, body = ErrorBody, description = "There is no such job"),
    )
)]
pub(crate) async fn follow(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let header = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let seen =
        header.or(query.get("after").map(String::as_str)).and_then(|v| v.trim().parse().ok()).unwrap_or(0);
    // Listening begins before the store is read, so that nothing falls in between.
    let live = app.feed.listen();
    let asked = id.clone();
    let there = app.on_store(move |s| s.get(&asked)?.ok_or(ebb_queue::QueueError::NotFound { id: asked }));
    if let Err(response) = there.await {
        return response;
    }
    let reader = Reader { app, id: id.into(), seen, live, ready: VecDeque::new(), stored: true, over: false };
    Sse::new(events(reader)).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

struct Reader {
    app: App,
    id: Arc<str>,
    /// Number of the last event that was sent.
    seen: i64,
    live: Receiver<Told>,
    ready: VecDeque<(i64, String, String)>,
    /// There may be events in the store that were not read yet.
    stored: bool,
    over: bool,
}

fn events(reader: Reader) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((seq, kind, data)) = self.ready.pop_front() {
                self.seen = seq;
                return Some(Event::default().id(seq.to_string()).event(kind).data(data));
            }
            if self.over {
                return None;
            }
            if self.stored {
                let ended = self.read_stored().await?;
                if ended && self.ready.is_empty() {
                    self.over = true;
                    return Some(Event::default().event("end").data("{}"));
                }
                if !self.ready.is_empty() {
                    continue;
                }
                self.stored = false;
            }
            tokio::select! {
                told = self.live.recv() => match told {
                    Ok(told) if told.job == self.id => self.hear(&told),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => self.stored = true,
                    Err(RecvError::Closed) => return None,
                },
                // A job's end is stored after its last event was told; and it may end without one.
                () = tokio::time::sleep(Duration::from_millis(500)) => self.stored = true,
                () = self.app.stopping.cancelled() => return None,
            }
        }
    }

    fn hear(&mut self, told: &Told) {
        if told.seq == self.seen + 1 {
            self.ready.push_back((told.seq, told.kind.to_string(), told.data.get().to_owned()));
        } else if told.seq > self.seen {
            self.stored = true;
        }
    }

    /// Reads on in the store; whether the job is over. `None` when it is gone.
    async fn read_stored(&mut self) -> Option<bool> {
        let (id, seen) = (self.id.clone(), self.seen);
        let read = self.app.on_store(move |s| {
            // The state first: a job that is over gets no more events.
            let over = s.get(&id)?.is_none_or(|j| j.summary.state.is_finished());
            s.flush()?;
            Ok((over, s.events_after(&id, seen, PAGE)?))
        });
        let (over, events) = read.await.ok()?;
        self.ready.extend(events.into_iter().map(|e| (e.seq, e.kind, e.data.get().to_owned())));
        Some(over)
    }
}
