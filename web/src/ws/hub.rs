//! The connected clients, by id. Everything that is said to anybody is said here.
//!
//! Nothing here waits: each client has an outbox with room for a while, and a client that does not read loses its
//! progress frames first and then its connection, so that a sleeping browser tab never holds up a job.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes};
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::frames;

/// Frames that wait for a slow client.
const OUTBOX: usize = 2048;

/// Who shall hear a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To<'a> {
    /// The client of this id, if it is connected.
    Client(&'a str),
    /// Everybody.
    All,
}

/// What may be dropped for a client that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// The next one says the same and more.
    Progress,
    /// Has to arrive.
    Fact,
}

/// The connected clients.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By id, oldest first and never none: the newest hears, the others wait until it has gone.
    clients: HashMap<String, Vec<Client>>,
    /// Counts connections: tells those of one id apart.
    connections: u64,
    /// The queue's length as it was last told.
    remaining: u64,
    /// Whose job runs, and the visible node it is at.
    running: Option<(String, Option<String>)>,
}

struct Client {
    connection: u64,
    outbox: Sender<Message>,
    /// It said that it reads event 4.
    metadata: bool,
    logs: bool,
}

/// A connection's side of the hub.
pub(crate) struct Inbox {
    pub(crate) sid: String,
    pub(crate) connection: u64,
    pub(crate) frames: Receiver<Message>,
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a client. Its first frame is the queue's length with its id; a client whose job runs is told where it
    /// is. An older connection of the id hears nothing while this one is there, as with ComfyUI, and goes on after it:
    /// browsers give a duplicated tab the id of the first.
    pub(crate) fn connect(&self, sid: Option<String>) -> Inbox {
        let sid = sid.filter(|s| !s.is_empty()).unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        let (outbox, frames) = channel(OUTBOX);
        let mut state = self.state();
        state.connections += 1;
        let connection = state.connections;
        let client = Client { connection, outbox, metadata: false, logs: false };
        state.greet(&sid, &client);
        state.clients.entry(sid.clone()).or_default().push(client);
        Inbox { sid, connection, frames }
    }

    /// Forgets a connection. If it was its id's newest, the one before it hears again.
    pub(crate) fn disconnect(&self, sid: &str, connection: u64) {
        self.state().forget(sid, connection);
    }

    /// Keeps what a client said it can do and answers with what the server can.
    pub(crate) fn negotiate(&self, sid: &str, connection: u64, metadata: bool, answer: Utf8Bytes) {
        let mut state = self.state();
        let mut of_id = state.clients.get_mut(sid).into_iter().flatten();
        if let Some(client) = of_id.find(|c| c.connection == connection) {
            client.metadata = metadata;
            let _ = client.outbox.try_send(Message::Text(answer));
        }
    }

    /// Turns a client's log frames on or off.
    pub(crate) fn subscribe_logs(&self, sid: &str, on: bool) {
        for client in self.state().clients.get_mut(sid).into_iter().flatten() {
            client.logs = on;
        }
    }

    /// Whether anybody reads logs.
    pub(crate) fn has_log_readers(&self) -> bool {
        self.state().clients.values().flatten().any(|c| c.logs)
    }

    /// Sends log entries to those who read them.
    pub(crate) fn send_logs(&self, frame: &Utf8Bytes) {
        let mut state = self.state();
        let mut ids = state.recipients(To::All);
        ids.retain(|id| state.newest(id).is_some_and(|c| c.logs));
        for id in ids {
            state.send(&id, Message::Text(frame.clone()), Weight::Progress);
        }
    }

    /// Tells everybody how long the queue is.
    pub(crate) fn status(&self, remaining: u64) {
        let mut state = self.state();
        state.remaining = remaining;
        state.send_to(To::All, &Message::Text(frames::status(remaining, None)), Weight::Fact);
    }

    /// Notes whose job runs and where it is, for those who connect later.
    pub(crate) fn running(&self, at: Option<(&str, Option<&str>)>) {
        self.state().running = at.map(|(client, node)| (client.to_owned(), node.map(str::to_owned)));
    }

    /// Sends a text frame.
    pub(crate) fn text(&self, to: To<'_>, frame: &Utf8Bytes, weight: Weight) {
        self.state().send_to(to, &Message::Text(frame.clone()), weight);
    }

    /// Sends a binary frame.
    pub(crate) fn binary(&self, to: To<'_>, frame: &Bytes, weight: Weight) {
        self.state().send_to(to, &Message::Binary(frame.clone()), weight);
    }

    /// Sends a step with its picture: with metadata and before the step to those who can read that, plain and after
    /// it to the others, as ComfyUI orders them.
    pub(crate) fn step(&self, to: To<'_>, step: Option<&Utf8Bytes>, plain: &Bytes, with_metadata: &Bytes) {
        let mut state = self.state();
        for id in state.recipients(to) {
            let metadata = state.newest(&id).is_some_and(|c| c.metadata);
            if metadata {
                state.send(&id, Message::Binary(with_metadata.clone()), Weight::Progress);
            }
            if let Some(step) = step {
                state.send(&id, Message::Text(step.clone()), Weight::Progress);
            }
            if !metadata {
                state.send(&id, Message::Binary(plain.clone()), Weight::Progress);
            }
        }
    }

    /// Clients at the moment.
    pub(crate) fn len(&self) -> usize {
        self.state().clients.len()
    }
}

impl State {
    /// The connection of an id that hears.
    fn newest(&self, id: &str) -> Option<&Client> {
        self.clients.get(id)?.last()
    }

    /// Tells a connection that begins to hear what it needs to know. An outbox without room is left to the next frame.
    fn greet(&self, sid: &str, client: &Client) {
        let _ = client.outbox.try_send(Message::Text(frames::status(self.remaining, Some(sid))));
        if let Some((_, Some(node))) = self.running.as_ref().filter(|(id, _)| *id == sid) {
            let _ = client.outbox.try_send(Message::Text(frames::text("executing", &json!({"node": node}))));
        }
    }

    fn forget(&mut self, sid: &str, connection: u64) {
        let Some(of_id) = self.clients.get_mut(sid) else { return };
        let heard = of_id.last().is_some_and(|c| c.connection == connection);
        of_id.retain(|c| c.connection != connection);
        if of_id.is_empty() {
            self.clients.remove(sid);
        } else if let Some(next) = self.newest(sid).filter(|_| heard) {
            self.greet(sid, next);
        }
    }

    fn recipients(&self, to: To<'_>) -> Vec<String> {
        match to {
            To::Client(id) => self.clients.contains_key(id).then(|| id.to_owned()).into_iter().collect(),
            To::All => self.clients.keys().cloned().collect(),
        }
    }

    fn send_to(&mut self, to: To<'_>, frame: &Message, weight: Weight) {
        for id in self.recipients(to) {
            self.send(&id, frame.clone(), weight);
        }
    }

    fn send(&mut self, id: &str, frame: Message, weight: Weight) {
        let Some(client) = self.newest(id) else { return };
        // The last quarter of an outbox is kept for facts.
        if weight == Weight::Progress && client.outbox.capacity() < OUTBOX / 4 {
            return;
        }
        let Err(error) = client.outbox.try_send(frame) else { return };
        if matches!(error, TrySendError::Full(_)) {
            tracing::warn!("a client does not read its frames and is disconnected");
        }
        let connection = client.connection;
        self.forget(id, connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(inbox: &mut Inbox) -> Vec<Message> {
        std::iter::from_fn(|| inbox.frames.try_recv().ok()).collect()
    }

    fn kinds(frames: &[Message]) -> Vec<&'static str> {
        frames
            .iter()
            .map(|f| match f {
                Message::Text(t) if t.contains("\"progress\"") => "progress",
                Message::Text(_) => "text",
                Message::Binary(b) if b[3] == 4 => "event 4",
                Message::Binary(_) => "event 1",
                _ => "other",
            })
            .collect()
    }

    #[test]
    fn the_first_frame_is_the_status_with_the_id() {
        let hub = Hub::default();
        hub.status(3);
        let mut inbox = hub.connect(Some("a".into()));
        hub.status(2);
        let frames = drain(&mut inbox);
        assert_eq!(frames[0], Message::Text(frames::status(3, Some("a"))));
        assert_eq!(frames[1], Message::Text(frames::status(2, None)));
        assert_eq!(hub.connect(None).sid.len(), 32);
    }

    #[test]
    fn a_new_connection_takes_the_id_until_it_goes() {
        let hub = Hub::default();
        let mut old = hub.connect(Some("a".into()));
        let mut new = hub.connect(Some("a".into()));
        hub.status(1);
        assert_eq!(drain(&mut old).len(), 1, "nothing after its first status");
        assert_eq!(drain(&mut new).len(), 2);
        hub.running(Some(("a", Some("5"))));
        hub.disconnect("a", new.connection);
        let told = [frames::status(1, Some("a")), frames::text("executing", &json!({"node": "5"}))];
        assert_eq!(drain(&mut old), told.map(Message::Text), "it is told what it missed");
        hub.status(0);
        assert_eq!(drain(&mut old).len(), 1);

        let mut third = hub.connect(Some("a".into()));
        drain(&mut third);
        hub.disconnect("a", old.connection);
        hub.status(2);
        assert_eq!(
            (hub.len(), drain(&mut third).len()),
            (1, 1),
            "the old one's end does not touch the new one"
        );
    }

    #[test]
    fn who_comes_back_is_told_where_its_job_is() {
        let hub = Hub::default();
        hub.running(Some(("a", Some("5"))));
        let mut owner = hub.connect(Some("a".into()));
        let mut other = hub.connect(Some("b".into()));
        assert_eq!(drain(&mut owner)[1], Message::Text(frames::text("executing", &json!({"node": "5"}))));
        assert_eq!(drain(&mut other).len(), 1);
    }

    #[test]
    fn pictures_come_before_or_after_the_step() {
        let hub = Hub::default();
        let mut plain = hub.connect(Some("plain".into()));
        let mut modern = hub.connect(Some("modern".into()));
        hub.negotiate("modern", modern.connection, true, frames::text("feature_flags", &json!({})));
        let step = frames::text("progress", &json!({}));
        hub.step(
            To::All,
            Some(&step),
            &Bytes::from_static(b"\0\0\0\x01"),
            &Bytes::from_static(b"\0\0\0\x04"),
        );
        assert_eq!(kinds(&drain(&mut plain)[1..]), ["progress", "event 1"]);
        assert_eq!(kinds(&drain(&mut modern)[2..]), ["event 4", "progress"]);
    }

    #[test]
    fn a_client_that_does_not_read_loses_progress_then_its_connection() {
        let hub = Hub::default();
        let mut sleeper = hub.connect(Some("a".into()));
        let frame = frames::text("progress", &json!({}));
        for _ in 0..3 * OUTBOX {
            hub.text(To::Client("a"), &frame, Weight::Progress);
        }
        assert_eq!(hub.len(), 1);
        for _ in 0..OUTBOX {
            hub.text(To::Client("a"), &frame, Weight::Fact);
        }
        assert_eq!(hub.len(), 0);
        assert!(drain(&mut sleeper).len() <= OUTBOX);
    }
}
