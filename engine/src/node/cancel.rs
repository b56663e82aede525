//! The flag that stops a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use tokio::sync::Notify;

/// Shared by whoever may cancel a run and whatever runs in it. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    wake: Notify,
    /// A flag that sets this one too.
    above: Option<Cancel>,
}

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that is set with this one, and that can be set alone.
    pub fn child(&self) -> Self {
        Self(Arc::new(Inner { above: Some(self.clone()), ..Inner::default() }))
    }

    /// Asks the run to stop: computing nodes see it at their next check, waiting ones at once.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.wake.notify_waiters();
    }

    /// Whether the run was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst) || self.0.above.as_ref().is_some_and(Self::is_cancelled)
    }

    /// Waits until the run is asked to stop.
    pub fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match &self.0.above {
                None => self.own().await,
                Some(above) => tokio::select! {
                    () = above.cancelled() => {}
                    () = self.own() => {}
                },
            }
        })
    }

    async fn own(&self) {
        loop {
            // Registered before the look, so that a cancel in between is not missed.
            let woken = self.0.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.0.cancelled.load(Ordering::SeqCst) {
                return;
            }
            woken.await;
        }
    }
}
