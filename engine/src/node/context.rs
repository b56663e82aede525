//! What a node is handed when it runs.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;

use super::{Cancel, NodeError, Saving};
use crate::events::{Event, EventKind, EventSink, Preview, Previews};
use crate::residency::{Component, ComponentSpec, Lease, LoadProgress, Reservation, Residency};
use crate::workflow::{NodeId, Workflow};

/// Which node something happened in. An expanded node knows the visible one that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct NodeRef {
    /// Its id; dotted inside an expansion.
    #[serde(serialize_with = "id_as_text")]
    pub id: NodeId,
    /// The node of the workflow that is shown for it.
    #[serde(serialize_with = "id_as_text")]
    pub display: NodeId,
    /// The node that expanded into it.
    #[serde(serialize_with = "opt_id_as_text")]
    pub parent: Option<NodeId>,
    /// The node of the submitted workflow that it came from.
    #[serde(serialize_with = "id_as_text")]
    pub real: NodeId,
    /// Its class.
    pub class: Arc<str>,
}

fn id_as_text<S: serde::Serializer>(id: &NodeId, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(id.as_str())
}

#[allow(clippy::ref_option, reason = "serde hands the field by reference")]
fn opt_id_as_text<S: serde::Serializer>(id: &Option<NodeId>, s: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => s.serialize_some(id.as_str()),
        None => s.serialize_none(),
    }
}

impl NodeRef {
    /// A node of the submitted workflow.
    pub fn top(id: NodeId, class: impl Into<Arc<str>>) -> Self {
        Self { display: id.clone(), real: id.clone(), parent: None, id, class: class.into() }
    }
}

/// What a saved picture says that it came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The workflow.
    pub prompt: Arc<Workflow>,
    /// What goes into a PNG's metadata beside the prompt: `{"workflow": …}`.
    pub extra_pnginfo: Arc<Json>,
}

/// What the nodes of a job came from, where that is not the job as a whole: several workflows may
/// run as one.
pub trait Origins: Send + Sync {
    /// The origin of a node of the submitted workflow; none: the job.
    fn of(&self, node: &NodeId) -> Option<Origin>;
}

/// What all nodes of a run share.
pub struct RunInfo {
    /// The job's id.
    pub job: Arc<str>,
    /// The workflow as submitted.
    pub prompt: Arc<Workflow>,
    /// What goes into a PNG's metadata beside the prompt: `{"workflow": …}`.
    pub extra_pnginfo: Arc<Json>,
    /// What its nodes came from, where that is not the workflow as a whole.
    pub origins: Option<Arc<dyn Origins>>,
    /// Who listens.
    pub sink: Arc<dyn EventSink>,
    /// The flag that stops the run.
    pub cancel: Cancel,
    /// Who holds the weights and keeps the ledger.
    pub residency: Arc<Residency>,
    /// What previews nodes make.
    pub previews: Previews,
}

/// A node's way to the world: progress, cancellation, weights, memory.
#[derive(Clone)]
pub struct Context {
    run: Arc<RunInfo>,
    node: Arc<NodeRef>,
    /// The workflow with the nodes that expansions added, where the node asked for it.
    dyn_prompt: Option<Arc<Workflow>>,
    savings: Arc<[Saving]>,
}

impl Context {
    /// A context of a node in a run.
    pub fn new(run: Arc<RunInfo>, node: Arc<NodeRef>, dyn_prompt: Option<Arc<Workflow>>) -> Self {
        Self { run, node, dyn_prompt, savings: Arc::default() }
    }

    /// Sets how the node is to need less memory.
    pub fn with_savings(self, savings: Arc<[Saving]>) -> Self {
        Self { savings, ..self }
    }

    /// How the node is to need less memory: the way of its forecast that the plan chose, or nothing where the plain
    /// one fits.
    pub fn savings(&self) -> &[Saving] {
        &self.savings
    }

    /// The node.
    pub fn node(&self) -> &Arc<NodeRef> {
        &self.node
    }

    /// The job's id.
    pub fn job(&self) -> &str {
        &self.run.job
    }

    pub(crate) fn job_id(&self) -> &Arc<str> {
        &self.run.job
    }

    /// The workflow as submitted; of several that run as one, this node's.
    pub fn prompt(&self) -> Arc<Workflow> {
        self.origin().map_or_else(|| self.run.prompt.clone(), |origin| origin.prompt)
    }

    fn origin(&self) -> Option<Origin> {
        self.run.origins.as_ref()?.of(&self.node.real)
    }

    /// The workflow with the nodes that expansions added; as submitted, where the node did not
    /// declare [`DynPrompt`](crate::schema::Hidden::DynPrompt).
    pub fn dyn_prompt(&self) -> &Workflow {
        self.dyn_prompt.as_deref().unwrap_or(&self.run.prompt)
    }

    /// What goes into a PNG's metadata beside the prompt.
    pub fn extra_pnginfo(&self) -> Arc<Json> {
        self.origin().map_or_else(|| self.run.extra_pnginfo.clone(), |origin| origin.extra_pnginfo)
    }

    /// What previews the node is asked for.
    pub fn previews(&self) -> Previews {
        self.run.previews
    }

    /// The flag that stops the run.
    pub fn cancel(&self) -> &Cancel {
        &self.run.cancel
    }

    /// Stops a node whose run was cancelled: to be called often, with `?`.
    ///
    /// # Errors
    /// A cancellation, if the run was asked to stop.
    pub fn check(&self) -> Result<(), NodeError> {
        if self.run.cancel.is_cancelled() { Err(NodeError::cancelled()) } else { Ok(()) }
    }

    /// Ends a node that has used up what the process had put by: before anything else is asked for.
    fn memory_left(&self) -> Result<(), NodeError> {
        self.run.residency.system_room(&self.node.class, 0)
    }

    /// Reports progress and stops a node whose run was cancelled, or for which there was not enough memory.
    ///
    /// # Errors
    /// A cancellation, if the run was asked to stop; not enough memory.
    pub fn progress(&self, value: f64, max: f64) -> Result<(), NodeError> {
        self.check()?;
        self.memory_left()?;
        self.emit(EventKind::Progress { node: self.node.clone(), value, max, preview: None });
        Ok(())
    }

    /// Reports progress with a picture of where things stand.
    ///
    /// # Errors
    /// A cancellation, if the run was asked to stop.
    pub fn progress_with_preview(&self, value: f64, max: f64, preview: Preview) -> Result<(), NodeError> {
        self.check()?;
        self.memory_left()?;
        let preview = Some(Arc::new(preview));
        self.emit(EventKind::Progress { node: self.node.clone(), value, max, preview });
        Ok(())
    }

    /// Shows a picture without a step of progress.
    pub fn preview(&self, preview: Preview) {
        self.emit(EventKind::Preview { node: self.node.clone(), preview: Arc::new(preview) });
    }

    /// Shows a line of text under the node.
    pub fn text(&self, text: impl Into<String>) {
        self.emit(EventKind::Text { node: self.node.clone(), text: text.into() });
    }

    /// The weights of a component: those in memory, or loaded now by `load`. They stay as long
    /// as a lease lives; afterwards they may be evicted.
    ///
    /// # Errors
    /// What `load` says; not enough memory; a cancellation.
    pub fn component<C: Component>(
        &self,
        spec: &ComponentSpec,
        load: impl FnOnce(&LoadProgress<'_>) -> Result<C, NodeError>,
    ) -> Result<Lease<C>, NodeError> {
        self.check()?;
        self.run.residency.acquire(self, spec, load)
    }

    /// Asks for scratch before it is taken; given back when the reservation is dropped.
    ///
    /// # Errors
    /// Where the budget cannot hold it, even after evicting what may be evicted.
    pub fn reserve(&self, what: &str, bytes: u64) -> Result<Reservation, NodeError> {
        self.run.residency.reserve(self, what, bytes)
    }

    /// The residency manager.
    pub fn residency(&self) -> &Arc<Residency> {
        &self.run.residency
    }

    /// Tells whoever listens.
    pub fn emit(&self, kind: EventKind) {
        self.run.residency.sample();
        self.run.sink.emit(Event { job: self.run.job.clone(), kind });
    }
}
