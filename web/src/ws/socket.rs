//! One connection's life.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value as Json;

use super::frames;
use super::hub::Inbox;
use crate::answer::text;
use crate::app::App;

/// Bytes of a frame from a client: they only ever send flags.
const LONGEST: usize = 1 << 20;
/// How long a frame may take to leave.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
pub(crate) struct Words {
    #[serde(rename = "clientId")]
    client_id: Option<String>,
}

/// `GET /ws?clientId=ID`.
pub(crate) async fn upgrade(
    State(app): State<App>,
    Query(words): Query<Words>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(place) = Arc::clone(&app.sockets).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "as many websockets are open as are allowed\n");
    };
    // Before the answer leaves: of two connections of one id, the newest is the one that was asked for last, and not the
    // one whose task happened to begin last.
    let inbox = app.hub.connect(words.client_id.filter(|id| id.len() <= 256));
    let connection = Connection { app, inbox };
    upgrade.max_message_size(LONGEST).max_frame_size(LONGEST).on_upgrade(move |socket| async move {
        connection.serve(socket).await;
        drop(place);
    })
}

/// A connection's place in the hub, which it leaves however it ends: its upgrade may fail, too.
struct Connection {
    app: App,
    inbox: Inbox,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.app.hub.disconnect(&self.inbox.sid, self.inbox.connection);
    }
}

impl Connection {
    async fn serve(mut self, socket: WebSocket) {
        let Self { app, inbox } = &mut self;
        let (mut sink, mut stream) = socket.split();
        let mut first = true;
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        loop {
            tokio::select! {
                frame = inbox.frames.recv() => match frame {
                    Some(frame) => {
                        if !matches!(tokio::time::timeout(PATIENCE, sink.send(frame)).await, Ok(Ok(()))) {
                            break;
                        }
                    }
                    None => break,
                },
                received = stream.next() => match received {
                    Some(Ok(Message::Text(text))) => {
                        if first {
                            negotiate(app, &inbox.sid, inbox.connection, &text);
                        }
                        first = false;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
                _ = ping.tick() => {
                    if !matches!(tokio::time::timeout(PATIENCE, sink.send(Message::Ping(Default::default()))).await, Ok(Ok(()))) {
                        break;
                    }
                }
                () = app.stopping.cancelled() => {
                    let _ = tokio::time::timeout(Duration::from_secs(1), sink.send(Message::Close(None))).await;
                    break;
                }
            }
        }
    }
}

/// Flags count in the very first text frame only.
fn negotiate(app: &App, sid: &str, connection: u64, text: &str) {
    let Ok(frame) = serde_json::from_str::<Json>(text) else { return };
    if frame.get("type").and_then(Json::as_str) != Some("feature_flags") {
        return;
    }
    let metadata = frame.pointer("/data/supports_preview_metadata") == Some(&Json::Bool(true));
    app.hub.negotiate(sid, connection, metadata, frames::text("feature_flags", &app.features()));
}
