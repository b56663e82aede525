//! Memory over time: samples with their owners, and marks of what happened.
//!
//! Both are bounded rings; they are written in the shape that `docs/v1-editor-contract.md` asks for.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::broadcast;

use super::ledger::{Ledger, Owner, OwnerKind};
use super::process;
use crate::workflow::NodeId;

/// Samples that are kept: ten minutes of work at the usual rate.
const SAMPLES: usize = 6_000;
/// Marks that are kept.
const MARKS: usize = 2_000;
/// Between two samples, while something goes on.
const BETWEEN: Duration = Duration::from_millis(100);
/// Between two samples that marks ask for.
const AT_MARKS: Duration = Duration::from_millis(10);
/// What a slow listener may lag behind.
const LAG: usize = 256;

/// A line of the diagram: everything that is booked to one owner, or to one kind of owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// `weights:LABEL`, or the kind itself.
    pub id: String,
    /// `weights`, `activations`, `values`, `cache` or `scratch`.
    pub kind: &'static str,
    /// Its name for people.
    pub name: String,
}

/// What was held at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub t: u64,
    /// Bytes by band; bands that came later are missing at the end.
    pub bytes: Vec<u64>,
    /// `RssAnon` of the process.
    pub rss_anon: Option<u64>,
    /// `VmHWM` of the process: the most that was resident until then, pages of files included.
    pub vm_hwm: Option<u64>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// Weights were loaded.
    Load,
    /// Weights or cached outputs were given back.
    Evict,
    /// Weights are read before they are needed.
    Prefetch,
    /// A node began to compute.
    Step,
    /// A job began.
    JobStart,
    /// A job ended.
    JobEnd,
    /// Memory was asked for that is not there.
    Refused,
}

/// Something that happened at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Milliseconds since the Unix epoch.
    pub t: u64,
    /// What happened.
    pub kind: MarkKind,
    /// In words for people.
    pub label: Arc<str>,
    /// The bytes that it is about.
    pub bytes: Option<u64>,
    /// The node that it happened for.
    #[serde(serialize_with = "id_as_text")]
    pub node: Option<NodeId>,
    /// The job that it happened for.
    #[serde(rename = "prompt_id")]
    pub job: Option<Arc<str>>,
}

#[allow(clippy::ref_option, reason = "serde hands the field by reference")]
fn id_as_text<S: serde::Serializer>(id: &Option<NodeId>, s: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => s.serialize_some(id.as_str()),
        None => s.serialize_none(),
    }
}

/// News for those who listen.
#[derive(Clone, Debug)]
pub enum News {
    /// A sample was taken.
    Sample(Arc<Sample>),
    /// Something happened.
    Mark(Arc<Mark>),
}

/// What the rings hold.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    /// The bands; later answers may have more at the end, never others.
    #[serde(rename = "owners")]
    pub bands: Vec<Band>,
    /// The samples, oldest first.
    pub samples: Vec<Arc<Sample>>,
    /// The marks, oldest first.
    #[serde(rename = "markers")]
    pub marks: Vec<Arc<Mark>>,
}

/// Memory over time.
pub struct Timeline {
    rings: Mutex<Rings>,
    /// When the last sample was taken, in milliseconds since the epoch.
    sampled: AtomicU64,
    news: broadcast::Sender<News>,
}

#[derive(Default)]
struct Rings {
    bands: Vec<Band>,
    places: HashMap<Owner, usize>,
    samples: VecDeque<Arc<Sample>>,
    marks: VecDeque<Arc<Mark>>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { rings: Mutex::default(), sampled: AtomicU64::new(0), news: broadcast::Sender::new(LAG) }
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Timeline {
    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples and marks from now on.
    pub fn listen(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// What happened after a moment (milliseconds since the epoch); everything, if none is given.
    pub fn since(&self, moment: Option<u64>) -> History {
        let rings = self.lock();
        let later = |t: u64| moment.is_none_or(|moment| t > moment);
        History {
            bands: rings.bands.clone(),
            samples: rings.samples.iter().filter(|sample| later(sample.t)).cloned().collect(),
            marks: rings.marks.iter().filter(|mark| later(mark.t)).cloned().collect(),
        }
    }

    /// Takes a sample, unless there is a fresh one.
    pub(super) fn tick(&self, ledger: &Ledger) {
        self.sample(ledger, BETWEEN);
    }

    /// Takes a sample where something is at its most, unless there is one of just then.
    pub(super) fn moment(&self, ledger: &Ledger) {
        self.sample(ledger, AT_MARKS);
    }

    /// Enters what happened, with a sample beside it.
    pub(super) fn mark(
        &self,
        ledger: &Ledger,
        kind: MarkKind,
        label: &str,
        bytes: Option<u64>,
        whom: (Option<NodeId>, Option<Arc<str>>),
    ) {
        let (node, job) = whom;
        let mark = Arc::new(Mark { t: now(), kind, label: label.into(), bytes, node, job });
        let mut rings = self.lock();
        if rings.marks.len() == MARKS {
            rings.marks.pop_front();
        }
        rings.marks.push_back(mark.clone());
        drop(rings);
        // Nobody may be listening.
        let _ = self.news.send(News::Mark(mark));
        self.sample(ledger, AT_MARKS);
    }

    /// Takes a sample if the last one is old enough.
    pub(super) fn sample(&self, ledger: &Ledger, old: Duration) {
        let t = now();
        let last = self.sampled.load(Ordering::Relaxed);
        let due = t >= last.saturating_add(old.as_millis() as u64);
        // Of several threads that find it due, one samples.
        if !due || self.sampled.compare_exchange(last, t, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let (rss_anon, vm_hwm) = process::resident();
        let owners = ledger.owners();
        let mut rings = self.lock();
        let mut bytes = vec![0; rings.bands.len()];
        for (owner, held) in owners {
            let place = rings.place(owner);
            bytes.resize(rings.bands.len(), 0);
            bytes[place] += held;
        }
        if rings.samples.len() == SAMPLES {
            rings.samples.pop_front();
        }
        let sample = Arc::new(Sample { t, bytes, rss_anon, vm_hwm });
        rings.samples.push_back(sample.clone());
        drop(rings);
        // Nobody may be listening.
        let _ = self.news.send(News::Sample(sample));
    }
}

impl Rings {
    /// The band of an owner. Weights have one each; there are as many as model files. Outputs come and go in any
    /// number, so that each kind of them shares a band.
    fn place(&mut self, owner: Owner) -> usize {
        let kind = owner.kind.shown();
        let key = if owner.kind == OwnerKind::Weights { owner } else { Owner { name: kind.into(), ..owner } };
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let id =
            if key.kind == OwnerKind::Weights { format!("{kind}:{}", key.name) } else { kind.to_owned() };
        self.bands.push(Band { id, kind, name: key.name.to_string() });
        self.places.insert(key, self.bands.len() - 1);
        self.bands.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(ledger: &Arc<Ledger>, kind: OwnerKind, name: &str, bytes: u64) -> crate::residency::Held {
        ledger.hold(Owner { kind, name: name.into() }, bytes)
    }

    #[test]
    fn bands_are_appended_and_outputs_share_one() {
        let (timeline, ledger) = (Timeline::default(), Arc::<Ledger>::default());
        let clip = hold(&ledger, OwnerKind::Weights, "clip", 5);
        timeline.sample(&ledger, Duration::ZERO);
        drop(clip);
        let _a = hold(&ledger, OwnerKind::Output, "KSampler #3 LATENT", 2);
        let _b = hold(&ledger, OwnerKind::Output, "VAEDecode #8 IMAGE", 3);
        timeline.sample(&ledger, Duration::ZERO);
        let history = timeline.since(None);
        let ids: Vec<&str> = history.bands.iter().map(|band| band.id.as_str()).collect();
        assert_eq!(ids, ["weights:clip", "values"]);
        let bytes: Vec<&[u64]> = history.samples.iter().map(|sample| sample.bytes.as_slice()).collect();
        assert_eq!(bytes, [&[5][..], &[0, 5]]);
    }

    #[test]
    fn the_rings_are_bounded_and_forget_the_oldest() {
        let (timeline, ledger) = (Timeline::default(), Arc::<Ledger>::default());
        for i in 0..MARKS + 10 {
            timeline.mark(&ledger, MarkKind::Step, &i.to_string(), None, (None, None));
        }
        let marks = timeline.since(None).marks;
        assert_eq!(marks.len(), MARKS);
        assert_eq!(&*marks[0].label, "10");
    }

    #[test]
    fn a_mark_is_told_at_once_and_found_after_a_moment() {
        let (timeline, ledger) = (Timeline::default(), Arc::<Ledger>::default());
        let mut news = timeline.listen();
        timeline.mark(&ledger, MarkKind::Load, "vae", Some(7), (Some("8".into()), Some("job".into())));
        let Ok(News::Mark(mark)) = news.try_recv() else { panic!("no mark") };
        let json = serde_json::to_value(&*mark).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"t": mark.t, "kind": "load", "label": "vae", "bytes": 7, "node": "8", "prompt_id": "job"})
        );
        assert_eq!(timeline.since(Some(mark.t - 1)).marks.len(), 1);
        assert!(timeline.since(Some(mark.t)).marks.is_empty());
    }
}
