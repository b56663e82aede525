//! A job's events for those who read them by server-sent events: kept in the store, and told as they happen.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// Events that a slow reader may lag behind before it has to read the store again.
const LAG: usize = 4096;

/// Something that happened in a job.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) job: Arc<str>,
    pub(crate) seq: i64,
    pub(crate) kind: Arc<str>,
    pub(crate) data: Arc<RawValue>,
}

/// Tells whoever listens at the moment.
pub(crate) struct Feed(Sender<Told>);

impl Default for Feed {
    fn default() -> Self {
        Self(channel(LAG).0)
    }
}

impl Feed {
    pub(crate) fn tell(&self, told: Told) {
        // Nobody listening is no error.
        let _ = self.0.send(told);
    }

    pub(crate) fn listen(&self) -> Receiver<Told> {
        self.0.subscribe()
    }
}
