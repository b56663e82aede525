//! The pool against a model of it, and what users may ask of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::cache::Signature;
use crate::events::{EventSink, Silent};
use crate::node::{Cancel, Context, NodeRef, RunInfo};

struct Weights(u64);

impl Component for Weights {
    fn bytes(&self) -> u64 {
        self.0
    }
}

fn key(name: &str) -> ComponentKey {
    ComponentKey { fingerprint: name.into(), part: "denoiser".into(), dtype: "f32".into() }
}

fn spec(name: &str, bytes: u64) -> ComponentSpec {
    ComponentSpec { key: key(name), label: name.into(), bytes, load_overhead: 0 }
}

fn context(residency: &Arc<Residency>, job: &str) -> Context {
    let run = RunInfo {
        job: job.into(),
        prompt: Arc::default(),
        extra_pnginfo: Arc::default(),
        origins: None,
        sink: Arc::new(Silent),
        cancel: Cancel::new(),
        residency: residency.clone(),
        previews: Default::default(),
    };
    Context::new(Arc::new(run), Arc::new(NodeRef::top("1".into(), "Node")), None)
}

fn load(
    residency: &Arc<Residency>,
    name: &str,
    bytes: u64,
) -> Result<Lease<Weights>, crate::node::NodeError> {
    context(residency, "job").component(&spec(name, bytes), |_| Ok(Weights(bytes)))
}

/// A cache of outputs that are just bytes.
#[derive(Default)]
struct Outputs(Mutex<Vec<(CachedOutput, Held)>>);

impl Shelf for Outputs {
    fn kept(&self) -> Vec<CachedOutput> {
        self.0.lock().unwrap().iter().map(|(output, _)| output.clone()).collect()
    }

    fn let_go(&self, signature: Signature) -> Option<u64> {
        let mut outputs = self.0.lock().unwrap();
        let place = outputs.iter().position(|(output, _)| output.signature == signature)?;
        Some(outputs.remove(place).1.bytes())
    }
}

const BUDGET: u64 = 100;
const NAMES: [(&str, u64); 6] = [("a", 10), ("b", 20), ("c", 30), ("d", 40), ("e", 25), ("f", 35)];

#[derive(Clone, Debug)]
enum Op {
    /// A job begins, and the one before it ends; it will use these, in this order.
    Job(Vec<usize>),
    Take(usize),
    Release(usize),
    Scratch(u64),
    /// Queued jobs need these, in this order.
    Queue(Vec<usize>),
    Pin(usize, bool),
    /// An output is cached: bytes, and hundredths of a second that it took.
    Cache(u64, u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let some = || prop::collection::vec(0..NAMES.len(), 0..6);
    let op = prop_oneof![
        1 => some().prop_map(Op::Job),
        6 => (0..NAMES.len()).prop_map(Op::Take),
        5 => (0..NAMES.len()).prop_map(Op::Release),
        2 => (1u64..110).prop_map(Op::Scratch),
        1 => some().prop_map(Op::Queue),
        1 => (0..NAMES.len(), any::<bool>()).prop_map(|(i, pin)| Op::Pin(i, pin)),
        2 => (1u64..30, any::<u8>()).prop_map(|(bytes, cost)| Op::Cache(bytes, cost)),
    ];
    prop::collection::vec(op, 1..60)
}

/// What the model knows of something in memory.
#[derive(Clone, Debug)]
struct Fact {
    bytes: u64,
    job: u64,
    used: u64,
    cost: f64,
    leases: usize,
    pinned: bool,
    weights: Option<usize>,
}

/// The rules, written down a second time, in the plainest way.
#[derive(Default)]
struct Model {
    facts: BTreeMap<String, Fact>,
    /// Uses that lie ahead in the running job, soonest first.
    plan: Vec<usize>,
    queue: Vec<usize>,
    clock: u64,
    job: u64,
    kind: usize,
}

impl Model {
    fn total(&self) -> u64 {
        self.facts.values().map(|fact| fact.bytes).sum()
    }

    fn planned(&self, fact: &Fact) -> bool {
        fact.weights.is_some_and(|i| self.plan.contains(&i))
    }

    /// Larger is needed later.
    fn distance(&self, fact: &Fact) -> usize {
        let Some(i) = fact.weights else { return usize::MAX };
        let queued = || Some(1_000 + self.queue.iter().position(|j| *j == i)?);
        self.plan.iter().position(|j| *j == i).or_else(queued).unwrap_or(usize::MAX)
    }

    fn idle(&self) -> Vec<(String, Fact)> {
        let idle = self.facts.iter().filter(|(_, fact)| fact.leases == 0 && !fact.pinned);
        idle.map(|(name, fact)| (name.clone(), fact.clone())).collect()
    }

    /// Makes room; false, with nothing changed, where that is not possible.
    fn room(&mut self, bytes: u64) -> bool {
        let mut idle = self.idle();
        if self.total() - idle.iter().map(|(_, fact)| fact.bytes).sum::<u64>() + bytes > BUDGET {
            return false;
        }
        let rate = |fact: &Fact| fact.cost / fact.bytes as f64;
        idle.sort_by(|(_, a), (_, b)| match self.kind {
            1 => a.used.cmp(&b.used),
            _ => (self.distance(b).cmp(&self.distance(a)))
                .then(a.job.cmp(&b.job))
                .then(rate(a).total_cmp(&rate(b)))
                .then(a.used.cmp(&b.used)),
        });
        for (name, _) in idle {
            if self.total() + bytes <= BUDGET {
                break;
            }
            self.facts.remove(&name);
        }
        true
    }

    fn drop_surplus(&mut self) {
        let mut idle = self.idle();
        idle.retain(|(_, fact)| fact.weights.is_some());
        let newer = |fact: &Fact| idle.iter().filter(|(_, other)| other.used > fact.used).count();
        let gone = idle.iter().filter(|(_, fact)| match self.kind {
            0 => false,
            1 => newer(fact) >= 2,
            2 => true,
            _ => fact.job < self.job,
        });
        let gone: Vec<String> =
            gone.filter(|(_, fact)| !self.planned(fact)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.facts.remove(&name);
        }
    }
}

fn residency(kind: usize) -> Arc<Residency> {
    match kind {
        0 => Residency::new(Foresight, Some(BUDGET)),
        1 => Residency::new(Lru(2), Some(BUDGET)),
        2 => Residency::new(KeepNothing, Some(BUDGET)),
        _ => Residency::new(KeepLast, Some(BUDGET)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is asked of the pool, under each policy, what is in memory afterwards is what the rules say, the
    /// ledger agrees, and the budget holds.
    #[test]
    fn the_pool_keeps_what_the_rules_say(ops in ops(), kind in 0..4usize) {
        let residency = residency(kind);
        let silent: Arc<dyn EventSink> = Arc::new(Silent);
        let shelf = Arc::new(Outputs::default());
        residency.attach(&shelf);
        let mut model = Model { kind, ..Model::default() };
        let mut leases: Vec<(usize, Lease<Weights>)> = Vec::new();
        let mut places: Vec<(u64, usize)> = Vec::new();
        let mut job: Arc<str> = "0".into();
        for (number, op) in ops.into_iter().enumerate() {
            // What loads took is measured: the model is told.
            for resident in residency.residents() {
                if let Some(fact) = model.facts.get_mut(&*resident.label) {
                    fact.cost = resident.seconds;
                }
            }
            model.clock += 1;
            match op {
                Op::Job(uses) => {
                    residency.end(&job);
                    model.plan.clear();
                    model.drop_surplus();
                    job = number.to_string().into();
                    model.job = residency.begin(&job, &silent);
                    places = (0..).zip(uses.clone()).collect();
                    let node = Arc::new(NodeRef::top("1".into(), "Node"));
                    for (place, i) in &places {
                        let (name, bytes) = NAMES[*i];
                        residency.will_use(&job, *place, &node, &[spec(name, bytes)]);
                    }
                    model.plan = uses;
                }
                Op::Take(i) => {
                    let (name, bytes) = NAMES[i];
                    if let Some(at) = places.iter().position(|(_, j)| *j == i) {
                        let (place, _) = places.remove(at);
                        residency.used(&job, place, &[spec(name, bytes)]);
                        model.plan.remove(at);
                        model.drop_surplus();
                    }
                    let taken = load(&residency, name, bytes);
                    let (clock, job) = (model.clock, model.job);
                    let there = if let Some(fact) = model.facts.get_mut(name) {
                        fact.leases += 1;
                        true
                    } else {
                        let room = model.room(bytes);
                        if room {
                            let fact = Fact {
                                bytes, job, used: clock, cost: 0.0, leases: 1, pinned: false, weights: Some(i),
                            };
                            model.facts.insert(name.to_owned(), fact);
                        }
                        room
                    };
                    prop_assert_eq!(taken.is_ok(), there, "{:?}", taken.err());
                    leases.extend(taken.ok().map(|lease| (i, lease)));
                }
                Op::Release(i) => {
                    let Some(at) = leases.iter().position(|(j, _)| *j == i) else { continue };
                    drop(leases.remove(at));
                    let (clock, job) = (model.clock, model.job);
                    let fact = model.facts.get_mut(NAMES[i].0).unwrap();
                    (fact.leases, fact.used, fact.job) = (fact.leases - 1, clock, job);
                    model.drop_surplus();
                }
                Op::Scratch(bytes) => {
                    let reserved = context(&residency, "job").reserve("scratch", bytes);
                    prop_assert_eq!(reserved.is_ok(), model.room(bytes));
                }
                Op::Queue(needs) => {
                    let one = |i: &usize| QueuedJob { job: "q".into(), needs: vec![key(NAMES[*i].0).to_string()] };
                    residency.foresee(needs.iter().map(one).collect());
                    model.queue = needs;
                }
                Op::Pin(i, pinned) => {
                    let done = residency.pin(&key(NAMES[i].0).to_string(), pinned);
                    let fact = model.facts.get_mut(NAMES[i].0);
                    prop_assert_eq!(done.is_ok(), fact.is_some());
                    if let Some(fact) = fact {
                        fact.pinned = pinned;
                    }
                }
                Op::Cache(bytes, cost) => {
                    // As the executor does: made first, then brought under the budget.
                    let name = format!("output {number}");
                    let owner = Owner { kind: OwnerKind::Cached, name: name.as_str().into() };
                    let output = CachedOutput {
                        signature: Signature::of_bytes(name.as_bytes()),
                        label: name.as_str().into(),
                        idle: bytes,
                        bytes,
                        last_job: model.job,
                        last_used: residency.tick(),
                        seconds: f64::from(cost) / 100.0,
                    };
                    shelf.0.lock().unwrap().push((output, residency.ledger().hold(owner, bytes)));
                    residency.fit();
                    let (used, job) = (model.clock, model.job);
                    let cost = f64::from(cost) / 100.0;
                    let fact = Fact { bytes, job, used, cost, leases: 0, pinned: false, weights: None };
                    model.facts.insert(name, fact);
                    // All of the excess is idle at the worst: this one is.
                    prop_assert!(model.room(0));
                }
            }
            let mut there: Vec<String> = residency.residents().iter().map(|r| r.label.to_string()).collect();
            there.extend(residency.cached().iter().map(|output| output.label.to_string()));
            there.sort();
            prop_assert_eq!(&there, &model.facts.keys().cloned().collect::<Vec<_>>(), "after step {}", number);
            prop_assert_eq!(residency.ledger().total(), model.total());
            prop_assert!(model.total() <= BUDGET);
        }
    }
}

#[test]
fn a_user_gives_back_what_is_idle_and_is_told_why_something_is_not() {
    let residency = Residency::new(Foresight, None);
    let id = key("a").to_string();
    assert_eq!(residency.evict(&id), Err(EvictError::Unknown(id.clone())));
    let lease = load(&residency, "a", 7).unwrap();
    let refused = residency.evict(&id).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`a` is in use by node #1 (Node) of job job; wait for it or interrupt it first"
    );
    drop(lease);
    assert_eq!(residency.pin(&id, true), Ok(true));
    assert_eq!(residency.evict(&id), Err(EvictError::Pinned("a".into())));
    assert_eq!(residency.evict_all(), 0, "what is pinned stays");
    assert_eq!(residency.pin(&id, false), Ok(false));
    assert_eq!(residency.evict(&id), Ok(7));
    assert_eq!(residency.ledger().total(), 0);
    let kinds: Vec<MarkKind> = residency.timeline().since(None).marks.iter().map(|mark| mark.kind).collect();
    assert_eq!(kinds, [MarkKind::Load, MarkKind::Evict]);
}

#[test]
fn a_refusal_names_what_is_pinned_and_gives_nothing_back() {
    let residency = Residency::new(Foresight, Some(10));
    drop(load(&residency, "a", 6).unwrap());
    drop(load(&residency, "b", 2).unwrap());
    residency.pin(&key("a").to_string(), true).unwrap();
    let error = load(&residency, "c", 8).err().unwrap();
    assert_eq!(error.kind, crate::node::ErrorKind::Memory);
    assert!(error.message.contains("c needs 8 bytes; 8 of the budget of 10"), "{error}");
    assert!(error.message.contains("unpin `a`, raise --memory"), "{error}");
    assert_eq!(residency.residents().len(), 2, "`b` is still there");
    let marks = residency.timeline().since(None).marks;
    assert_eq!(marks.last().map(|mark| (mark.kind, mark.bytes)), Some((MarkKind::Refused, Some(8))));
}

#[test]
fn residents_say_who_holds_them_and_who_is_next() {
    let residency = Residency::new(Foresight, None);
    let lease = load(&residency, "a", 6).unwrap();
    let node = Arc::new(NodeRef::top("9".into(), "KSampler"));
    residency.will_use(&"job".into(), 4, &node, &[spec("a", 6)]);
    residency.foresee(vec![QueuedJob { job: "later".into(), needs: vec![key("a").to_string()] }]);
    let resident = residency.residents().remove(0);
    assert_eq!((resident.state, &*resident.holders[0].job), (ResidentState::InUse, "job"));
    let next = resident.next_use.unwrap();
    assert_eq!((&*next.job, next.step, next.node), ("job", Some(4), Some(node)));
    drop(lease);
    residency.end(&"job".into());
    let resident = residency.residents().remove(0);
    assert_eq!(resident.state, ResidentState::Evictable);
    assert_eq!(resident.next_use.map(|next| (next.job, next.step)), Some(("later".into(), None)));
}

#[test]
fn pressure_from_outside_takes_what_is_needed_last() {
    let residency = Residency::new(Foresight, None);
    for name in ["a", "b", "c"] {
        drop(load(&residency, name, 5).unwrap());
    }
    residency.foresee(vec![
        QueuedJob { job: "1".into(), needs: vec![key("c").to_string()] },
        QueuedJob { job: "2".into(), needs: vec![key("a").to_string()] },
    ]);
    assert_eq!(residency.give_back(6), 10);
    assert_eq!(&*residency.residents()[0].label, "c");
}

/// Weights that note what the ledger says as they go.
struct Noted(Arc<Ledger>, Arc<Mutex<Option<u64>>>);

impl Component for Noted {
    fn bytes(&self) -> u64 {
        50
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = Some(self.0.total());
    }
}

#[test]
fn the_ledger_names_bytes_until_they_are_gone() {
    let residency = Residency::new(KeepNothing, Some(BUDGET));
    let said = Arc::new(Mutex::new(None));
    let noted = || Ok(Noted(residency.ledger().clone(), said.clone()));
    // The last use ends.
    drop(context(&residency, "job").component(&spec("a", 50), |_| noted()).unwrap());
    assert_eq!((said.lock().unwrap().take(), residency.ledger().total()), (Some(50), 0));
    // A load that was paid for fails: what it had read goes first as well.
    let failed = context(&residency, "job").component(&spec("a", 50), |_| {
        let _read = noted()?;
        Err::<Noted, _>(crate::node::NodeError::failed("broken"))
    });
    assert!(failed.is_err());
    assert_eq!((said.lock().unwrap().take(), residency.ledger().total()), (Some(50), 0));
}

/// Owners by name, and their bytes.
type Named = Vec<(Arc<str>, u64)>;

/// What the ledger names when something is told to have been given back.
struct AtEvictions(Arc<Ledger>, Mutex<Vec<Named>>);

impl EventSink for AtEvictions {
    fn emit(&self, event: crate::events::Event) {
        if matches!(event.kind, crate::events::EventKind::Evicted { .. }) {
            let named = self.0.owners().into_iter().map(|(owner, bytes)| (owner.name, bytes));
            self.1.lock().unwrap().push(named.collect());
        }
    }
}

#[test]
fn pages_that_are_handed_on_are_named_until_the_load_has_them() {
    let residency = Residency::new(Foresight, Some(BUDGET));
    residency.hand_on_pages(|_| Box::new(()));
    let evictions = Arc::new(AtEvictions(residency.ledger().clone(), Mutex::default()));
    let told = |job: &str| {
        let run = RunInfo {
            job: job.into(),
            prompt: Arc::default(),
            extra_pnginfo: Arc::default(),
            origins: None,
            sink: evictions.clone(),
            cancel: Cancel::new(),
            residency: residency.clone(),
            previews: Default::default(),
        };
        Context::new(Arc::new(run), Arc::new(NodeRef::top("1".into(), "Node")), None)
    };
    drop(load(&residency, "a", 40).unwrap());
    drop(load(&residency, "b", 30).unwrap());
    let ledger = residency.ledger().clone();
    drop(told("job").component(&spec("c", 90), |_| {
        assert_eq!(ledger.owners().len(), 1, "what was kept is a part of what is loaded");
        assert_eq!(ledger.total(), 90);
        Ok(Weights(90))
    }));
    let named = std::mem::take(&mut *evictions.1.lock().unwrap());
    assert_eq!(named.len(), 2);
    assert_eq!(named[1], [("pages handed on".into(), 70)], "both are gone, and their pages are not");
    assert_eq!((ledger.total(), ledger.peak()), (90, 90));

    // A load that fails leaves nothing, and one that is refused takes nothing away.
    let failed = told("job")
        .component(&spec("d", 50), |_| Err::<Weights, _>(crate::node::NodeError::failed("broken")));
    assert!(failed.is_err());
    assert_eq!(ledger.total(), 0);
    drop(load(&residency, "a", 40).unwrap());
    assert!(load(&residency, "huge", 101).is_err());
    assert_eq!(ledger.total(), 40);
}
