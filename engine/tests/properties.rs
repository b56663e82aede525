//! Random graphs with random laziness, lists, blockers, expansions, failures, cancellations.

mod support;

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{Event, EventKind, Recorder, Silent};
use ebb_engine::execute::{Engine, Job, RunError};
use ebb_engine::node::{Cancel, RunInfo};
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::schema::Work;
use ebb_engine::workflow::{InputValue, NodeId, Workflow, WorkflowNode};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use support::cells::{Alive, KINDS, Kind, registry};
use support::naive::Naive;

/// One node of a random graph: its kind, and numbers that choose its inputs.
type Dice = (usize, [usize; 3], i64, u64);

fn dice(kinds: &'static [Kind], most: usize) -> impl Strategy<Value = Vec<Dice>> {
    let node = (0..kinds.len(), any::<[usize; 3]>(), 0i64..40, 1u64..100);
    prop::collection::vec(node, 1..most)
}

/// The workflow that some dice describe: each node reads nodes before it; whatever nobody reads is
/// shown.
fn workflow(kinds: &[Kind], dice: &[Dice]) -> Workflow {
    let mut workflow = Workflow::default();
    let mut read = HashSet::new();
    let mut ids: Vec<String> = Vec::new();
    for (number, (kind, choice, value, bytes)) in dice.iter().enumerate() {
        let kind = if ids.is_empty() { Kind::Leaf } else { kinds[*kind] };
        let mut node = WorkflowNode::new(kind.class());
        let wires: &[&str] = match kind {
            Kind::Leaf => &[],
            Kind::Join(_) => &["a", "b"],
            Kind::Pick(_) => &["by", "a", "b"],
            Kind::List => &["a", "b", "c"],
            _ => &["a"],
        };
        for (name, choice) in wires.iter().zip(choice) {
            // Near ones more often, so that graphs get deep.
            let back = (choice % ids.len()).min(choice / 7 % ids.len());
            let from = ids[ids.len() - 1 - back].clone();
            read.insert(from.clone());
            node = node.link(name, from, 0);
        }
        node = match kind {
            Kind::Leaf => node.literal("value", *value % 6).literal("bytes", *bytes),
            Kind::Join(_) | Kind::Sum | Kind::Moody => node.literal("bytes", *bytes),
            Kind::Grow => node.literal("depth", *value % 3).literal("bytes", *bytes),
            Kind::Sprout(_) => node.literal("shape", *value).literal("bytes", *bytes),
            _ => node,
        };
        let id = format!("n{number}");
        workflow.nodes.insert(id.as_str().into(), node);
        ids.push(id);
    }
    for id in ids.into_iter().filter(|id| !read.contains(id)) {
        let show = WorkflowNode::new("Show").link("value", id.as_str(), 0);
        workflow.nodes.insert(format!("show {id}").into(), show);
    }
    workflow
}

struct Bench {
    engine: Engine,
    alive: Arc<Alive>,
    cancel: Cancel,
}

fn bench(cache: CachePolicy) -> Bench {
    let (alive, cancel) = (Arc::new(Alive::default()), Cancel::new());
    let engine = support::engine(registry(&alive, &cancel), cache);
    Bench { engine, alive, cancel }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

type Ran = (Result<(), RunError>, Vec<EventKind>, ebb_engine::plan::Plan);

fn run(bench: &Bench, workflow: &Workflow) -> Ran {
    block_on(async {
        let checked = bench.engine.validate(workflow.clone(), None).await.unwrap();
        let plan = bench.engine.plan(&checked.graph);
        let sink = Arc::new(Recorder::default());
        let job = Job::new("job", checked.graph).with_sink(sink.clone()).with_cancel(bench.cancel.child());
        let ended = bench.engine.run(job).await.map(|_| ());
        (ended, sink.take().into_iter().map(|Event { kind, .. }| kind).collect(), plan)
    })
}

/// What the output nodes show according to the naive interpreter, or that something fails.
fn naively(workflow: &Workflow) -> Result<HashMap<String, Json>, String> {
    let (alive, cancel) = (Arc::new(Alive::default()), Cancel::new());
    let registry = registry(&alive, &cancel);
    let run = Arc::new(RunInfo {
        job: "naive".into(),
        prompt: Arc::new(workflow.clone()),
        extra_pnginfo: Arc::new(Json::Null),
        origins: None,
        sink: Arc::new(Silent),
        cancel: Cancel::new(),
        residency: Residency::new(Foresight, None),
        previews: Default::default(),
    });
    let naive = Naive { registry: &registry, run };
    let mut shown = HashMap::new();
    for (id, node) in &workflow.nodes {
        if node.class_type.as_deref() == Some("Show") {
            let eval = || naive.eval(workflow, id.as_str());
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(eval));
            let done = done.map_err(|_| "panicked".to_owned())?.map_err(|error| error.to_string())?;
            shown.insert(id.to_string(), json!(done.shown));
        }
    }
    Ok(shown)
}

fn shown(events: &[EventKind], workflow: &Workflow) -> HashMap<String, Json> {
    let shows = workflow.nodes.iter().filter(|(_, node)| node.class_type.as_deref() == Some("Show"));
    let mut shown: HashMap<String, Json> = shows.map(|(id, _)| (id.to_string(), json!([]))).collect();
    // What nodes of expansions show is their own affair.
    shown.extend(
        support::shown(events).into_iter().filter(|(id, _)| workflow.nodes.contains_key(&NodeId::from(id))),
    );
    shown
}

fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let expected = info.payload().downcast_ref::<&str>().is_some_and(|text| *text == "thirteen");
            if !expected {
                usual(info);
            }
        }));
    });
}

/// All that a graph can have but what always changes, what fails by itself and what cancels. (A subgraph may hold what
/// fails.)
const SOUND: [Kind; 14] = {
    let mut sound = [Kind::Leaf; 14];
    let mut i = 0;
    while i < sound.len() {
        sound[i] = KINDS[i];
        i += 1;
    }
    sound
};

/// Kinds that run where the events come from, and do not fail.
const CALM: [Kind; 7] = [
    Kind::Leaf,
    Kind::Join(Work::Light),
    Kind::Pick(Work::Light),
    Kind::List,
    Kind::Sum,
    Kind::Gate,
    Kind::Grow,
];

/// Kinds whose work can be told from the workflow alone, in all manners of running.
const PLAIN: [Kind; 10] = [
    Kind::Leaf,
    Kind::Join(Work::Light),
    Kind::Join(Work::Compute),
    Kind::Join(Work::Async),
    Kind::Pick(Work::Light),
    Kind::Pick(Work::Compute),
    Kind::Pick(Work::Async),
    Kind::List,
    Kind::Sum,
    Kind::Gate,
];

/// Those of them that work once a node, and expansions.
const SINGLE: [Kind; 8] = [
    Kind::Leaf,
    Kind::Join(Work::Light),
    Kind::Join(Work::Compute),
    Kind::Join(Work::Async),
    Kind::Pick(Work::Light),
    Kind::Pick(Work::Async),
    Kind::Sum,
    Kind::Grow,
];

const POLICIES: [CachePolicy; 4] =
    [CachePolicy::None, CachePolicy::LastRun, CachePolicy::Lru(3), CachePolicy::Budget(120)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Results are the naive interpreter's, whatever the cache; and after any ending the ledger and
    /// the heap hold what the cache holds and nothing else.
    #[test]
    fn computes_what_the_naive_interpreter_computes(dice in dice(&KINDS[..17], 10), policy in 0..4usize) {
        quiet();
        let workflow = workflow(&KINDS, &dice);
        let bench = bench(POLICIES[policy]);
        let expected = naively(&workflow);
        for _ in 0..2 {
            let (ended, events, _) = run(&bench, &workflow);
            match &expected {
                Ok(expected) => {
                    prop_assert!(ended.is_ok(), "{ended:?}");
                    prop_assert_eq!(&shown(&events, &workflow), expected);
                }
                Err(_) => prop_assert!(matches!(ended, Err(RunError::Failed(_)))),
            }
            let ledger = bench.engine.residency().ledger();
            prop_assert_eq!(ledger.total() as i64, bench.alive.now().1, "ledger and heap agree");
            if POLICIES[policy] == CachePolicy::None {
                prop_assert_eq!(bench.alive.now(), (0, 0));
            }
        }
        bench.engine.clear_cache();
        prop_assert_eq!(bench.alive.now(), (0, 0));
        prop_assert!(bench.engine.residency().ledger().owners().is_empty());
    }

    /// At the beginning of every node the heap holds what the ledger says, to the byte.
    #[test]
    fn the_ledger_tells_the_truth_at_each_moment(dice in dice(&CALM, 14), policy in 0..4usize) {
        let workflow = workflow(&CALM, &dice);
        let bench = bench(POLICIES[policy]);
        let (alive, ledger) = (bench.alive.clone(), bench.engine.residency().ledger().clone());
        let wrong = Arc::new(std::sync::Mutex::new(Vec::new()));
        let faults = wrong.clone();
        let sink = move |event: Event| {
            let (said, held) = (ledger.total() as i64, alive.now().1);
            if let EventKind::NodeStarted { node } = event.kind && said != held {
                faults.lock().unwrap().push((node.id.to_string(), said, held));
            }
        };
        block_on(async {
            let checked = bench.engine.validate(workflow.clone(), None).await.unwrap();
            bench.engine.run(Job::new("job", checked.graph).with_sink(Arc::new(sink))).await
        }).unwrap();
        prop_assert!(wrong.lock().unwrap().is_empty(), "{:?}", wrong.lock().unwrap());
    }

    /// A job that is cancelled in the middle leaves nothing behind, and the next one runs.
    #[test]
    fn a_cancelled_job_leaves_nothing_behind(dice in dice(&KINDS[..18], 14), policy in 0..4usize) {
        quiet();
        let workflow = workflow(&KINDS, &dice);
        let bench = bench(POLICIES[policy]);
        let (ended, events, _) = run(&bench, &workflow);
        let halted = bench.cancel.is_cancelled();
        if halted {
            prop_assert!(!matches!(ended, Ok(())) || matches!(events.last(), Some(EventKind::Succeeded)));
        }
        prop_assert_eq!(bench.engine.residency().ledger().total() as i64, bench.alive.now().1);
        bench.engine.clear_cache();
        prop_assert_eq!(bench.alive.now(), (0, 0));
        prop_assert_eq!(bench.engine.residency().ledger().total(), 0);
    }

    /// Cancelled at any moment, whatever was under way: nothing is left behind, and the next run is none the worse for it.
    #[test]
    fn a_cancellation_at_any_event_leaves_nothing_behind(
        dice in dice(&SOUND, 10), policy in 0..4usize, at in 0..60usize,
    ) {
        let workflow = workflow(&SOUND, &dice);
        let bench = bench(POLICIES[policy]);
        let (cancel, seen) = (Cancel::new(), AtomicUsize::new(0));
        let (stop, ended_as) = (cancel.clone(), Arc::new(std::sync::Mutex::new(None)));
        let last = ended_as.clone();
        let sink = move |event: Event| {
            if seen.fetch_add(1, Ordering::SeqCst) == at {
                stop.cancel();
            }
            *last.lock().unwrap() = Some(event.kind);
        };
        let ended = block_on(async {
            let checked = bench.engine.validate(workflow.clone(), None).await.unwrap();
            let job = Job::new("job", checked.graph).with_sink(Arc::new(sink)).with_cancel(cancel);
            bench.engine.run(job).await.map(|_| ())
        });
        let last = ended_as.lock().unwrap().take();
        match ended {
            Ok(()) => {
                let said = matches!(last, Some(EventKind::Succeeded));
                prop_assert!(said, "{last:?}");
            }
            Err(RunError::Interrupted { .. }) => {
                let said = matches!(last, Some(EventKind::Interrupted { .. }));
                prop_assert!(said, "{last:?}");
            }
            Err(RunError::Failed(_)) => {
                let said = matches!(last, Some(EventKind::Failed { .. }));
                prop_assert!(said && naively(&workflow).is_err(), "{last:?}");
            }
        }
        let ledger = bench.engine.residency().ledger();
        prop_assert_eq!(ledger.total() as i64, bench.alive.now().1, "ledger and heap agree");
        if POLICIES[policy] == CachePolicy::None {
            prop_assert_eq!(bench.alive.now(), (0, 0));
        }
        let (ended, events, _) = run(&bench, &workflow);
        match naively(&workflow) {
            Ok(expected) => {
                prop_assert!(ended.is_ok(), "{ended:?}");
                prop_assert_eq!(shown(&events, &workflow), expected);
            }
            Err(_) => prop_assert!(matches!(ended, Err(RunError::Failed(_))), "{ended:?}"),
        }
        bench.engine.clear_cache();
        prop_assert_eq!(bench.alive.now(), (0, 0));
        prop_assert!(bench.engine.residency().ledger().owners().is_empty());
    }

    /// A workflow that has changed somewhere gets nothing stale from the cache, nor does the old one afterwards.
    #[test]
    fn what_has_changed_is_never_stale(
        dice in dice(&SOUND, 10), policy in 0..4usize, place in any::<usize>(), value in 0i64..40,
    ) {
        let mut other = dice.clone();
        let place = place % other.len();
        other[place].2 = value;
        let bench = bench(POLICIES[policy]);
        for dice in [&dice, &other, &dice] {
            let workflow = workflow(&SOUND, dice);
            let (ended, events, _) = run(&bench, &workflow);
            match naively(&workflow) {
                Ok(expected) => {
                    prop_assert!(ended.is_ok(), "{ended:?}");
                    prop_assert_eq!(shown(&events, &workflow), expected);
                }
                Err(_) => prop_assert!(matches!(ended, Err(RunError::Failed(_))), "{ended:?}"),
            }
            prop_assert_eq!(bench.engine.residency().ledger().total() as i64, bench.alive.now().1);
        }
    }

    /// What always changes runs again with everything downstream, and nothing else does.
    #[test]
    fn what_always_changes_runs_again_with_all_that_reads_it(dice in dice(&KINDS[..15], 16)) {
        let workflow = workflow(&KINDS, &dice);
        let bench = bench(CachePolicy::LastRun);
        let ran = |events: &[EventKind]| -> HashSet<NodeId> {
            let ran = events.iter().filter_map(|event| match event {
                EventKind::NodeFinished { node, cached: false, .. } => Some(node.id.clone()),
                _ => None,
            });
            ran.filter(|id| workflow.nodes.contains_key(id)).collect()
        };
        let (ended, first, _) = run(&bench, &workflow);
        // A subgraph may hold what fails.
        prop_assume!(ended.is_ok());
        let (ended, second, _) = run(&bench, &workflow);
        prop_assert!(ended.is_ok());
        let moods = moody(&workflow);
        let expected: HashSet<NodeId> = ran(&first).into_iter().filter(|id| moods.contains(id)).collect();
        prop_assert_eq!(ran(&second), expected);
    }

    /// Nothing that is equal runs twice, expansions included, where a cache keeps what was made.
    #[test]
    fn equal_work_of_expansions_is_done_once(dice in dice(&SINGLE, 16)) {
        let workflow = workflow(&SINGLE, &dice);
        let bench = bench(CachePolicy::LastRun);
        let (ended, events, _) = run(&bench, &workflow);
        prop_assert!(ended.is_ok());
        let top = contents(&workflow, true);
        let mut seen: HashMap<u64, NodeId> = HashMap::new();
        for event in &events {
            if let EventKind::NodeFinished { node, cached: false, .. } = event {
                let other = seen.insert(inner_content(&workflow, &top, node.id.as_str()), node.id.clone());
                prop_assert!(other.is_none(), "{} did the work of {} again", node.id, other.unwrap());
            }
        }
        let (ended, events, _) = run(&bench, &workflow);
        prop_assert!(ended.is_ok());
        let ran = events.iter().any(|event| matches!(event, EventKind::NodeFinished { cached: false, .. }));
        prop_assert!(!ran, "all was cached");
    }

    /// Nothing that is equal runs twice, every edge is respected, and each value is dropped right
    /// after its last use: counted by the events, without a cache.
    #[test]
    fn runs_once_in_order_and_drops_in_time(dice in dice(&PLAIN, 24)) {
        let workflow = workflow(&PLAIN, &dice);
        let bench = bench(CachePolicy::None);
        let (ended, events, _) = run(&bench, &workflow);
        prop_assert!(ended.is_ok());
        let ran: Vec<&NodeId> = events.iter().filter_map(|event| match event {
            EventKind::NodeFinished { node, cached: false, .. } => Some(&node.id),
            _ => None,
        }).collect();
        let contents = contents(&workflow, false);
        let distinct: HashSet<u64> = ran.iter().map(|id| contents[*id]).collect();
        prop_assert_eq!(distinct.len(), ran.len(), "equal work ran twice");

        let finished: HashMap<&NodeId, usize> = events.iter().enumerate().filter_map(|(at, event)| match event {
            EventKind::NodeFinished { node, .. } => Some((&node.id, at)),
            _ => None,
        }).collect();
        let mut started: HashMap<&NodeId, usize> = HashMap::new();
        for (at, event) in events.iter().enumerate() {
            if let EventKind::NodeStarted { node } = event {
                started.insert(&node.id, at);
            }
        }
        for (id, at) in &started {
            for (name, input) in &workflow.nodes[*id].inputs {
                let lazy = is_pick(&workflow.nodes[*id]) && name != "by";
                if let InputValue::Link(link) = input && !lazy {
                    prop_assert!(finished[&link.node] < *at, "{} started before {}", id, link.node);
                }
            }
        }
        let perhaps = workflow.nodes.values().any(is_pick);
        let mut dropped: HashMap<&NodeId, usize> = HashMap::new();
        for (at, event) in events.iter().enumerate() {
            if let EventKind::ValueDropped { node, .. } = event {
                prop_assert!(dropped.insert(&node.id, at).is_none(), "{} dropped twice", node.id);
            }
        }
        for id in ran {
            let outputs = workflow.nodes[id].class_type.as_deref() != Some("Show");
            prop_assert_eq!(dropped.contains_key(id), outputs, "{} has one value to drop", id);
            let Some(at) = dropped.get(id) else { continue };
            // Equal nodes read on behalf of each other.
            let own = contents[id];
            let readers = started.keys().filter(|reader| workflow.nodes[**reader].inputs.values().any(|input| {
                matches!(input, InputValue::Link(link) if contents[&link.node] == own)
            }));
            let last = readers.map(|reader| finished[*reader]).max().unwrap_or(finished[id]);
            prop_assert!(last < *at, "{} dropped before its last use", id);
            let idle = events[last..*at].iter().all(|event| !matches!(event, EventKind::NodeStarted { .. }));
            // A value that a lazy input may ask for lives until that has been decided.
            prop_assert!(idle || perhaps, "{} outlived its last use", id);
        }
    }

    /// Where every size is known, the peak by the ledger is the one that the plan predicted, and no
    /// more than that of ComfyUI's order; planning again gives the same plan.
    #[test]
    fn the_peak_is_the_predicted_one(dice in dice(&KINDS[..2], 30), keeps in any::<bool>()) {
        let workflow = workflow(&KINDS[..2], &dice);
        let bench = bench(if keeps { CachePolicy::LastRun } else { CachePolicy::None });
        let (ended, events, plan) = run(&bench, &workflow);
        prop_assert!(ended.is_ok());
        prop_assert_eq!(bench.engine.residency().ledger().peak(), plan.predicted_peak);
        let order: Vec<&NodeId> = plan.steps.iter().map(|step| &step.node.id).collect();
        let ran: Vec<&NodeId> = events.iter().filter_map(|event| match event {
            EventKind::NodeStarted { node } => Some(&node.id),
            _ => None,
        }).collect();
        prop_assert_eq!(ran, order);
        let again = block_on(bench.engine.validate(workflow, None)).unwrap();
        bench.engine.clear_cache();
        prop_assert_eq!(bench.engine.plan(&again.graph).to_json(), plan.to_json());
    }
}

fn is_pick(node: &WorkflowNode) -> bool {
    node.class_type.as_deref().is_some_and(|class| class.starts_with("Pick"))
}

/// Every node's content as a number: class, literals, and the content of what it reads. `grown`: those of classes that
/// `Grow` makes nodes of are told as [`inner_content`] tells them.
fn contents(workflow: &Workflow, grown: bool) -> HashMap<NodeId, u64> {
    let mut contents: HashMap<NodeId, u64> = HashMap::new();
    for (id, node) in &workflow.nodes {
        let number = |name: &str| node.inputs[name].to_json().as_i64().unwrap();
        let content = match node.class_type.as_deref().unwrap() {
            "Leaf" if grown => work(&("Leaf", number("value"), number("bytes") as u64)),
            "Grow" if grown => {
                let reads = contents[&node.inputs["a"].link().unwrap().node];
                work(&("Grow", reads, number("depth"), number("bytes") as u64))
            }
            class => {
                let input = |(name, input): (&String, &InputValue)| match input {
                    InputValue::Link(link) => (name.clone(), contents[&link.node].to_string()),
                    other => (name.clone(), other.to_json().to_string()),
                };
                work(&(class, node.inputs.iter().map(input).collect::<Vec<_>>()))
            }
        };
        contents.insert(id.clone(), content);
    }
    contents
}

/// [`contents`] of any node that ran: those of expansions as `Grow` makes them.
fn inner_content(workflow: &Workflow, top: &HashMap<NodeId, u64>, id: &str) -> u64 {
    let Some((parent, name)) = id.rsplit_once(".0.0.") else { return top[&NodeId::from(id)] };
    let (carried, depth, bytes) = grow_reads(workflow, top, parent);
    let leaf = work(&("Leaf", depth, bytes));
    match name {
        "leaf" => leaf,
        "join" => work(&("JoinLight", ("carried", carried), leaf, bytes)),
        _ => work(&("Grow", inner_content(workflow, top, &format!("{parent}.0.0.join")), depth - 1, bytes)),
    }
}

/// What a `Grow` reads: the content of the node that makes its cell, its depth, its bytes.
fn grow_reads(workflow: &Workflow, top: &HashMap<NodeId, u64>, id: &str) -> (u64, i64, u64) {
    if let Some((parent, _)) = id.rsplit_once(".0.0.") {
        let (_, depth, bytes) = grow_reads(workflow, top, parent);
        return (inner_content(workflow, top, &format!("{parent}.0.0.join")), depth - 1, bytes);
    }
    let inputs = &workflow.nodes[&NodeId::from(id)].inputs;
    let number = |name: &str| inputs[name].to_json().as_i64().unwrap();
    (top[&inputs["a"].link().unwrap().node], number("depth"), number("bytes") as u64)
}

fn work(of: &impl Hash) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The nodes that always change, and all that link to these, whether they ask for them or not.
fn moody(workflow: &Workflow) -> HashSet<NodeId> {
    let mut moods = HashSet::new();
    for (id, node) in &workflow.nodes {
        let reads = |input: &InputValue| input.link().is_some_and(|link| moods.contains(&link.node));
        if node.class_type.as_deref() == Some("Moody") || node.inputs.values().any(reads) {
            moods.insert(id.clone());
        }
    }
    moods
}
