//! The unit in which weights are loaded, shared and evicted.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use super::manager::Residency;
use crate::node::NodeError;

/// Weights in memory.
pub trait Component: Any + Send + Sync {
    /// Bytes that they hold now.
    fn bytes(&self) -> u64;

    /// The weights that these are a view on and hold a lease on: they can go when these have gone.
    fn base(&self) -> Option<&ComponentKey> {
        None
    }
}

/// Which weights: equal keys are the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ComponentKey {
    /// The identity of the file or files that they come from.
    pub fingerprint: Arc<str>,
    /// The part of them: `denoiser`, `text_encoder`, `vae` …
    pub part: Arc<str>,
    /// How they are held in memory: `f32`, `bf16`, `q8_0` …
    pub dtype: Arc<str>,
}

impl fmt::Display for ComponentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.fingerprint, self.part, self.dtype)
    }
}

/// What is known of a component before it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentSpec {
    /// Which weights.
    pub key: ComponentKey,
    /// Their name for people: `sd15.safetensors denoiser`.
    pub label: Arc<str>,
    /// Bytes that they will hold in memory.
    pub bytes: u64,
    /// Bytes on top of these while they are loaded.
    pub load_overhead: u64,
}

/// Told by a loader how far it is.
pub struct LoadProgress<'a> {
    pub(super) report: &'a dyn Fn(u64, u64) -> Result<(), NodeError>,
}

impl LoadProgress<'_> {
    /// Reports bytes read of bytes to read, and stops a load whose run was cancelled.
    ///
    /// # Errors
    /// A cancellation, if the run was asked to stop.
    pub fn report(&self, done: u64, total: u64) -> Result<(), NodeError> {
        (self.report)(done, total)
    }
}

/// Weights that were just read, whatever their type.
pub(super) struct Loaded {
    pub(super) component: Arc<dyn Any + Send + Sync>,
    pub(super) bytes: u64,
    pub(super) base: Option<ComponentKey>,
}

impl Loaded {
    pub(super) fn new<C: Component>(component: C) -> Self {
        let (bytes, base) = (component.bytes(), component.base().cloned());
        Self { component: Arc::new(component), bytes, base }
    }
}

/// Reads a component when nobody has asked for it yet, so that it is there when somebody does.
#[derive(Clone)]
pub struct Loader(Arc<Load>);

type Load = dyn Fn(&LoadProgress<'_>) -> Result<Loaded, NodeError> + Send + Sync;

impl Loader {
    /// Wraps what [`Context::component`](crate::node::Context::component) would be given.
    pub fn new<C: Component>(
        load: impl Fn(&LoadProgress<'_>) -> Result<C, NodeError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |progress| load(progress).map(Loaded::new)))
    }

    pub(super) fn load(&self, progress: &LoadProgress<'_>) -> Result<Loaded, NodeError> {
        (self.0)(progress)
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

/// Holds a component in memory for as long as it lives.
pub struct Lease<C> {
    /// There until the lease is dropped.
    component: Option<Arc<C>>,
    key: ComponentKey,
    residency: Arc<Residency>,
    /// Which of the leases on the component this is.
    ticket: u64,
}

impl<C> Lease<C> {
    pub(super) fn new(component: Arc<C>, key: ComponentKey, residency: Arc<Residency>, ticket: u64) -> Self {
        Self { component: Some(component), key, residency, ticket }
    }

    /// Which weights.
    pub fn key(&self) -> &ComponentKey {
        &self.key
    }
}

impl<C> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        match &self.component {
            Some(component) => component,
            None => unreachable!("only a lease that is being dropped has none"),
        }
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        // First: where this was the last use, the manager gives the weights back, and says so when they are gone.
        self.component = None;
        self.residency.release(&self.key, self.ticket);
    }
}
