//! The one typed stream that the command line, the server and reports read.
//!
//! Whatever is said in public (a time, a number of bytes, a load) is said here first, so that all
//! readers agree.

use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::node::NodeRef;
use crate::residency::ComponentKey;
use crate::workflow::NodeId;

/// A picture of where a node stands, encoded.
#[derive(Clone, Debug)]
pub struct Preview {
    /// How it is encoded.
    pub format: PreviewFormat,
    /// The encoded picture.
    pub data: Vec<u8>,
}

/// How a preview is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PreviewFormat {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
}

/// How nodes picture what is not finished yet: ComfyUI's `--preview-method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreviewMethod {
    /// Not at all.
    #[default]
    None,
    /// The cheapest way that the model has.
    Auto,
    /// A linear map from latent channels to colours.
    Latent2Rgb,
    /// A small autoencoder where its file is there, else as [`PreviewMethod::Latent2Rgb`].
    Taesd,
}

impl PreviewMethod {
    /// All of them, as ComfyUI lists them.
    pub const ALL: [Self; 4] = [Self::None, Self::Auto, Self::Latent2Rgb, Self::Taesd];

    /// ComfyUI's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Latent2Rgb => "latent2rgb",
            Self::Taesd => "taesd",
        }
    }

    /// The method of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What previews a run makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previews {
    /// How.
    pub method: PreviewMethod,
    /// Pixels of a preview's longer side.
    pub size: u32,
}

impl Default for Previews {
    fn default() -> Self {
        Self { method: PreviewMethod::None, size: 512 }
    }
}

/// Something that happened in a job.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// The job's id.
    pub job: Arc<str>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// The job's plan is made and its first step is about to run.
    Started {
        /// Steps that will run, as far as is known.
        steps: usize,
        /// The peak that the plan predicts, in bytes.
        predicted_peak: u64,
    },
    /// Nodes whose outputs are in the cache, in the order of the workflow.
    Cached {
        /// The nodes.
        #[serde(serialize_with = "ids_as_text")]
        nodes: Vec<NodeId>,
    },
    /// A node begins.
    NodeStarted {
        /// The node.
        node: Arc<NodeRef>,
    },
    /// A node comes along.
    Progress {
        /// The node.
        node: Arc<NodeRef>,
        /// How far it is.
        value: f64,
        /// How far it will go.
        max: f64,
        /// A picture, if it made one.
        #[serde(skip)]
        preview: Option<Arc<Preview>>,
    },
    /// A node shows a picture.
    Preview {
        /// The node.
        node: Arc<NodeRef>,
        /// The picture.
        #[serde(skip)]
        preview: Arc<Preview>,
    },
    /// A node shows a line of text.
    Text {
        /// The node.
        node: Arc<NodeRef>,
        /// The text.
        text: String,
    },
    /// A node has lazy inputs that it wants first; it will start again after them.
    NodeDeferred {
        /// The node.
        node: Arc<NodeRef>,
        /// The inputs that it asked for.
        wants: Vec<String>,
    },
    /// A node expanded into a subgraph; it finishes when that has.
    NodeExpanded {
        /// The node.
        node: Arc<NodeRef>,
        /// How many nodes the subgraph has.
        nodes: usize,
    },
    /// The plan was revised: a lazy input was asked for, or a node expanded.
    PlanRevised {
        /// The node that caused it.
        node: Arc<NodeRef>,
        /// Steps that came on top.
        added: usize,
        /// The peak that the plan predicts now, in bytes.
        predicted_peak: u64,
    },
    /// A node is done.
    NodeFinished {
        /// The node.
        node: Arc<NodeRef>,
        /// The node that did the work: itself, or another one if its outputs came from the cache.
        origin: Arc<NodeRef>,
        /// What a client shows.
        ui: Option<Arc<Map<String, Json>>>,
        /// Its outputs came from the cache or from an equal node.
        cached: bool,
        /// Seconds that it took.
        seconds: f64,
        /// Bytes of its outputs.
        bytes: u64,
    },
    /// A blocked value with a message reached a node.
    NodeBlocked {
        /// The node.
        node: Arc<NodeRef>,
        /// The message.
        message: Arc<str>,
        /// What has run until now.
        #[serde(serialize_with = "ids_as_text")]
        executed: Vec<NodeId>,
    },
    /// A value died: its last consumer has run and no cache holds it.
    ValueDropped {
        /// The node that made it.
        node: Arc<NodeRef>,
        /// Its slot.
        slot: usize,
        /// Its bytes.
        bytes: u64,
    },
    /// Weights were read into memory.
    Loaded {
        /// Which.
        component: ComponentKey,
        /// Their name for people.
        label: Arc<str>,
        /// Their bytes in memory.
        bytes: u64,
        /// Seconds that it took.
        seconds: f64,
    },
    /// Weights are being read.
    Loading {
        /// The node that waits for them.
        node: Arc<NodeRef>,
        /// Their name for people.
        label: Arc<str>,
        /// Bytes read so far.
        done: u64,
        /// Bytes to read.
        total: u64,
    },
    /// Weights that a later step needs are being read ahead, while another one computes.
    Prefetching {
        /// The node that will need them.
        node: Arc<NodeRef>,
        /// Which.
        component: ComponentKey,
        /// Their name for people.
        label: Arc<str>,
        /// Bytes that they will hold.
        bytes: u64,
    },
    /// Cached outputs were given back to make room.
    CacheEvicted {
        /// The node that made them, for people.
        label: Arc<str>,
        /// Bytes that this freed.
        bytes: u64,
        /// Why, in words.
        reason: String,
    },
    /// Weights were given back.
    Evicted {
        /// Which.
        component: ComponentKey,
        /// Their name for people.
        label: Arc<str>,
        /// Their bytes.
        bytes: u64,
        /// Why these, in words.
        reason: String,
    },
    /// The job ended well.
    Succeeded,
    /// The job failed.
    Failed {
        /// Where and why.
        error: Arc<JobError>,
    },
    /// The job was cancelled.
    Interrupted {
        /// The node that was running, if one was.
        node: Option<Arc<NodeRef>>,
        /// Nodes that had run.
        #[serde(serialize_with = "ids_as_text")]
        executed: Vec<NodeId>,
    },
}

fn ids_as_text<S: serde::Serializer>(ids: &[NodeId], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(ids.iter().map(NodeId::as_str))
}

/// How a job failed.
#[derive(Clone, Debug, Serialize)]
pub struct JobError {
    /// The node that failed.
    pub node: Arc<NodeRef>,
    /// In the user's words.
    pub message: String,
    /// The name that ComfyUI's clients see as `exception_type`.
    pub exception: String,
    /// `input`, `model`, `memory`, `panicked`, `cycle` or `failed`.
    pub kind: &'static str,
    /// The inputs as they were, by name, in short.
    pub inputs: Map<String, Json>,
    /// Nodes that had run.
    #[serde(serialize_with = "ids_as_text")]
    pub executed: Vec<NodeId>,
}

/// Who listens. Called from any thread, in the order of the events of each job; must not block.
pub trait EventSink: Send + Sync {
    /// Takes an event.
    fn emit(&self, event: Event);
}

/// Listens to nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl EventSink for Silent {
    fn emit(&self, _: Event) {}
}

/// Keeps every event: for tests and reports.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Event>>);

impl Recorder {
    /// Takes what was recorded so far.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl EventSink for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}

impl<F: Fn(Event) + Send + Sync> EventSink for F {
    fn emit(&self, event: Event) {
        self(event);
    }
}
