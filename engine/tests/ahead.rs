//! Reading ahead, cancelling, and the pool, as seen from jobs: nothing here depends on how long anything takes.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{Event, EventKind, Recorder};
use ebb_engine::execute::{Engine, EngineConfig, Job, RunError};
use ebb_engine::node::{
    BoxFuture, Cancel, Context, Expansion, Forecast, Inputs, Node, NodeError, Outcome, Outputs, Sketch,
    Sketches,
};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{
    Component, ComponentKey, ComponentSpec, Foresight, KeepNothing, LoadProgress, Loader, MarkKind, Policy,
    Residency,
};
use ebb_engine::schema::{Input, Schema, Work};
use ebb_engine::value::{Payload, Value};
use ebb_engine::workflow::{InputValue, Link, Workflow, WorkflowNode};
use serde_json::{Value as Json, json};

/// Long enough for anything to happen that will happen; only a failing test waits for it.
const NEVER: Duration = Duration::from_secs(60);

/// Things that have happened, which nodes and loaders wait for.
#[derive(Default)]
struct Stage {
    happened: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Stage {
    fn say(&self, what: &str) {
        self.happened.lock().unwrap().push(what.to_owned());
        self.changed.notify_all();
    }

    fn wait_for(&self, what: &str) {
        let happened = self.happened.lock().unwrap();
        let missing = |happened: &mut Vec<String>| !happened.iter().any(|said| said == what);
        let (held, waited) = self.changed.wait_timeout_while(happened, NEVER, missing).unwrap();
        drop(held);
        assert!(!waited.timed_out(), "`{what}` never happened");
    }

    fn happened(&self, what: &str) -> usize {
        self.happened.lock().unwrap().iter().filter(|said| *said == what).count()
    }
}

struct Weights(u64);

impl Component for Weights {
    fn bytes(&self) -> u64 {
        self.0
    }
}

struct Bytes(u64);

impl Payload for Bytes {
    fn type_name(&self) -> &'static str {
        "BYTES"
    }

    fn bytes(&self) -> u64 {
        self.0
    }
}

/// What a node waits for while it computes, and what its loader waits for while it reads, by model.
#[derive(Clone, Default)]
struct Script {
    stage: Arc<Stage>,
    computing: HashMap<&'static str, &'static str>,
    loading: HashMap<&'static str, &'static str>,
}

/// Computes with the weights of a model; `makes` bytes.
struct Compute(Script);

fn spec(model: &str) -> ComponentSpec {
    let key = ComponentKey { fingerprint: model.into(), part: "denoiser".into(), dtype: "f32".into() };
    ComponentSpec { key, label: model.into(), bytes: 100, load_overhead: 0 }
}

impl Script {
    fn load(&self, model: &str, progress: &LoadProgress<'_>) -> Result<Weights, NodeError> {
        self.stage.say(&format!("loading {model}"));
        match self.loading.get(model) {
            // Reads until it is stopped.
            Some(&"for ever") => loop {
                progress.report(1, 2).inspect_err(|_| self.stage.say(&format!("stopped {model}")))?;
                std::thread::yield_now();
            },
            Some(&"broken") => return Err(NodeError::model("no such tensor")),
            Some(&"panics") => panic!("expected: a loader that panics"),
            Some(what) => self.stage.wait_for(what),
            None => {}
        }
        self.stage.say(&format!("loaded {model}"));
        Ok(Weights(100))
    }
}

impl Node for Compute {
    fn schema(&self) -> Schema {
        let schema = Schema::new("Compute").input(Input::string("model", "")).input(Input::int("makes", 0));
        schema.input(Input::wire("before", "*").optional()).output("BYTES").compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let model = inputs.str("model")?.to_owned();
        let lease = context.component(&spec(&model), |progress| self.0.load(&model, progress))?;
        self.0.stage.say(&format!("computing {model}"));
        match self.0.computing.get(model.as_str()) {
            Some(&"until cancelled") => loop {
                context.check().inspect_err(|_| self.0.stage.say(&format!("stopped {model}")))?;
                std::thread::yield_now();
            },
            Some(what) => self.0.stage.wait_for(what),
            None => {}
        }
        drop(lease);
        Ok(Outcome::payload(Bytes(inputs.uint("makes")?)))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let model = inputs.str("model").unwrap_or_default().to_owned();
        let (script, name) = (self.0.clone(), model.clone());
        let loader = Loader::new(move |progress| script.load(&name, progress));
        let made = Sketch::known(inputs.uint("makes").unwrap_or(0), ());
        Ok(Forecast::output(made).loading(spec(&model), loader))
    }
}

/// Takes and gives anything.
struct Show;

impl Node for Show {
    fn schema(&self) -> Schema {
        Schema::new("Show").input(Input::wire("value", "*")).output_node()
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::none())
    }
}

fn engine_of(script: &Script, policy: impl Policy + 'static, budget: Option<u64>) -> Engine {
    let mut registry = Registry::new();
    registry.add(Compute(script.clone())).unwrap();
    registry.add(Show).unwrap();
    let config = EngineConfig { cache: CachePolicy::LastRun, ..EngineConfig::default() };
    Engine::new(Arc::new(registry), Residency::new(policy, budget), config)
}

/// Models used one after the other, each step reading what the one before it made.
fn in_turn(models: &[&str]) -> Json {
    let mut workflow = json!({});
    for (i, model) in models.iter().enumerate() {
        workflow[i.to_string()] = json!({"class_type": "Compute", "inputs": {"model": model, "makes": 0}});
        if i > 0 {
            workflow[i.to_string()]["inputs"]["before"] = json!([(i - 1).to_string(), 0]);
        }
    }
    let last = (models.len() - 1).to_string();
    workflow["show"] = json!({"class_type": "Show", "inputs": {"value": [last, 0]}});
    workflow
}

async fn run(engine: &Engine, workflow: Json, cancel: &Cancel) -> (Result<(), RunError>, Vec<EventKind>) {
    let checked = engine.validate(Workflow::from_json(workflow).unwrap(), None).await.unwrap();
    let sink = Arc::new(Recorder::default());
    let job = Job::new("job", checked.graph).with_sink(sink.clone()).with_cancel(cancel.clone());
    let ended = engine.run(job).await.map(|_| ());
    (ended, sink.take().into_iter().map(|Event { kind, .. }| kind).collect())
}

fn place(events: &[EventKind], what: impl Fn(&EventKind) -> bool) -> usize {
    events.iter().position(what).expect("the event was emitted")
}

fn loads(events: &[EventKind]) -> Vec<String> {
    let loaded = events.iter().filter_map(|event| match event {
        EventKind::Loaded { label, .. } => Some(label.to_string()),
        _ => None,
    });
    loaded.collect()
}

fn names(engine: &Engine) -> Vec<String> {
    engine.residency().residents().iter().map(|resident| resident.label.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_weights_are_read_while_a_step_computes() {
    // The first step does not end before the second one's weights are there: without overlap, never.
    let script = Script { computing: HashMap::from([("a", "loaded b")]), ..Script::default() };
    let engine = engine_of(&script, Foresight, Some(1000));
    let (ended, events) = run(&engine, in_turn(&["a", "b", "a"]), &Cancel::new()).await;
    ended.unwrap();
    let ahead = place(&events, |e| matches!(e, EventKind::Prefetching { label, .. } if &**label == "b"));
    let there = place(&events, |e| matches!(e, EventKind::Loaded { label, .. } if &**label == "b"));
    let done =
        place(&events, |e| matches!(e, EventKind::NodeFinished { node, .. } if node.id.as_str() == "0"));
    // The step ends as soon as the loader is done, which may be a moment before that is told.
    assert!(ahead < there && ahead < done, "{ahead} {there} {done}");
    assert_eq!(loads(&events), ["a", "b"], "each is read once");
    let marks = engine.residency().timeline().since(None).marks;
    assert!(marks.iter().any(|mark| mark.kind == MarkKind::Prefetch && &*mark.label == "b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_ahead_where_the_budget_has_no_room_for_it() {
    let script = Script::default();
    let engine = engine_of(&script, Foresight, Some(150));
    // `a` is needed again: it does not make way for what is merely read ahead.
    let (ended, events) = run(&engine, in_turn(&["a", "b", "a"]), &Cancel::new()).await;
    ended.unwrap();
    assert!(!events.iter().any(|event| matches!(event, EventKind::Prefetching { .. })));
    assert_eq!(loads(&events), ["a", "b", "a"]);
    assert!(engine.residency().ledger().peak() <= 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_idle_from_an_earlier_job_makes_way_for_what_is_read_ahead() {
    let script = Script { computing: HashMap::from([("a", "loaded b")]), ..Script::default() };
    let engine = engine_of(&script, Foresight, Some(250));
    run(&engine, in_turn(&["old"]), &Cancel::new()).await.0.unwrap();
    run(&engine, in_turn(&["a", "b"]), &Cancel::new()).await.0.unwrap();
    assert_eq!(names(&engine), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ahead_that_fails_is_found_again_by_the_step_that_needs_it() {
    for how in ["broken", "panics"] {
        let script = Script { loading: HashMap::from([("b", how)]), ..Script::default() };
        let engine = engine_of(&script, Foresight, None);
        let (ended, _) = run(&engine, in_turn(&["a", "b"]), &Cancel::new()).await;
        let Err(RunError::Failed(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(
            (error.node.id.as_str(), error.kind),
            ("1", if how == "broken" { "model" } else { "panicked" })
        );
        assert_eq!(names(&engine), ["a"], "a failed load leaves nothing behind");
        assert_eq!(engine.residency().ledger().total(), 100);
    }
}

/// Runs a job, cancels it when `when` has happened, and gives the events.
async fn cancelled_when(
    engine: &Engine,
    stage: &Arc<Stage>,
    workflow: Json,
    when: &'static str,
) -> Vec<EventKind> {
    let (cancel, stage) = (Cancel::new(), stage.clone());
    let stop = cancel.clone();
    let watcher = tokio::task::spawn_blocking(move || {
        stage.wait_for(when);
        stop.cancel();
    });
    let (ended, events) = tokio::time::timeout(NEVER, run(engine, workflow, &cancel)).await.expect("it ends");
    watcher.await.unwrap();
    assert!(matches!(ended, Err(RunError::Interrupted { .. })), "{ended:?}");
    assert!(matches!(events.last(), Some(EventKind::Interrupted { .. })));
    events
}

fn interrupted(events: &[EventKind]) -> &str {
    match events.last() {
        Some(EventKind::Interrupted { node: Some(node), .. }) => node.id.as_str(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_a_computing_node_and_what_is_read_ahead_for_another() {
    let script = Script {
        computing: HashMap::from([("a", "until cancelled")]),
        loading: HashMap::from([("b", "for ever")]),
        ..Script::default()
    };
    let engine = engine_of(&script, KeepNothing, None);
    // Under a policy that keeps nothing, `a` is still needed by a later step: room for both is promised.
    let events = cancelled_when(&engine, &script.stage, in_turn(&["a", "b", "a"]), "loading b").await;
    assert_eq!(interrupted(&events), "0");
    assert_eq!((script.stage.happened("stopped a"), script.stage.happened("stopped b")), (1, 1));
    assert!(names(&engine).is_empty(), "{:?}", names(&engine));
    assert_eq!(engine.residency().ledger().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_a_node_that_loads_and_leaves_no_half_of_it() {
    let script = Script { loading: HashMap::from([("a", "for ever")]), ..Script::default() };
    let engine = engine_of(&script, Foresight, None);
    let events = cancelled_when(&engine, &script.stage, in_turn(&["a"]), "loading a").await;
    assert_eq!(interrupted(&events), "0");
    assert!(names(&engine).is_empty());
    assert_eq!(engine.residency().ledger().total(), 0);
    assert_eq!(engine.cached(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_a_job_that_waits_for_its_turn_on_the_device() {
    let script = Script { computing: HashMap::from([("a", "b was cancelled")]), ..Script::default() };
    let engine = Arc::new(engine_of(&script, Foresight, None));
    let first = tokio::spawn({
        let engine = engine.clone();
        async move { run(&engine, in_turn(&["a"]), &Cancel::new()).await.0 }
    });
    let stage = script.stage.clone();
    tokio::task::spawn_blocking(move || stage.wait_for("computing a")).await.unwrap();
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let workflow = Workflow::from_json(in_turn(&["b"])).unwrap();
    let graph = engine.validate(workflow, None).await.unwrap().graph;
    // Its node has begun, and the device is not free.
    let sink = move |event: Event| {
        if matches!(event.kind, EventKind::NodeStarted { .. }) {
            let stop = stop.clone();
            std::thread::spawn(move || stop.cancel());
        }
    };
    let job = Job::new("second", graph).with_sink(Arc::new(sink)).with_cancel(cancel);
    let ended = tokio::time::timeout(NEVER, engine.run(job)).await.expect("it ends");
    assert!(matches!(ended, Err(RunError::Interrupted { node: Some(node), .. }) if node.id.as_str() == "0"));
    assert_eq!(script.stage.happened("loading b"), 0, "its turn never came");
    script.stage.say("b was cancelled");
    first.await.unwrap().unwrap();
    assert_eq!(names(&engine), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_a_job_that_waits_for_anothers_load() {
    // Two engines share the weights, so that their jobs do not take turns.
    let script = Script { loading: HashMap::from([("a", "b was cancelled")]), ..Script::default() };
    let residency = Residency::new(Foresight, None);
    let engine = |residency: &Arc<Residency>| {
        let mut registry = Registry::new();
        registry.add(Compute(script.clone())).unwrap();
        registry.add(Show).unwrap();
        Engine::new(Arc::new(registry), residency.clone(), EngineConfig::default())
    };
    let (loads, waits) = (engine(&residency), engine(&residency));
    let first = tokio::spawn(async move { run(&loads, in_turn(&["a"]), &Cancel::new()).await.0 });
    // The other one has the load before this one asks for it.
    let stage = script.stage.clone();
    tokio::task::spawn_blocking(move || stage.wait_for("loading a")).await.unwrap();
    let events = cancelled_when(&waits, &script.stage, in_turn(&["a"]), "loading a").await;
    assert!(events.iter().all(|event| !matches!(event, EventKind::Loaded { .. })));
    script.stage.say("b was cancelled");
    first.await.unwrap().unwrap();
    assert_eq!(residency.residents().len(), 1);
    assert_eq!(script.stage.happened("loading a"), 1, "never twice for one key");
}

/// A node of any kind that says when it is at work, and ends only by being stopped.
struct Endless {
    kind: &'static str,
    stage: Arc<Stage>,
}

impl Endless {
    fn spin(&self, context: &Context) -> Result<Outcome, NodeError> {
        self.stage.say("at work");
        loop {
            context.check().inspect_err(|_| self.stage.say("stopped"))?;
            std::thread::yield_now();
        }
    }
}

impl Node for Endless {
    fn schema(&self) -> Schema {
        let mut schema = Schema::new("Endless").input(Input::wire("value", "*").lazy()).output("BYTES");
        schema.work = match self.kind {
            "async" | "async list" => Work::Async,
            "light expanding" => Work::Light,
            _ => Work::Compute,
        };
        schema
    }

    fn needs(&self, _: &Context, _: &Inputs) -> Result<Vec<String>, NodeError> {
        Ok(vec!["value".into()])
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        match self.kind {
            // Expands into itself, again and again.
            "expanding" | "light expanding" => {
                self.stage.say("at work");
                let mut graph = Workflow::default();
                let again = WorkflowNode::new("Endless").value("value", inputs.value("value")?.clone());
                graph.nodes.insert("again".into(), again);
                let outputs = vec![InputValue::Link(Link::new("again", 0))];
                Ok(Outcome { outputs: Outputs::Expand(Expansion { graph, outputs }), ui: None })
            }
            _ => self.spin(context),
        }
    }

    fn execute_async<'a>(
        &'a self,
        _: &'a Context,
        _: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move {
            self.stage.say("at work");
            std::future::pending().await
        })
    }
}

/// Several values.
struct Many;

impl Node for Many {
    fn schema(&self) -> Schema {
        Schema::new("Many").list_output("BYTES", "many")
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        let many = (0..5).map(|_| Value::payload(Bytes(7))).collect();
        Ok(Outcome::values(vec![Value::list(many)]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_every_kind_of_node_and_leaves_counts_and_ledger_exact() {
    for kind in ["compute", "list", "async", "async list", "expanding", "light expanding"] {
        for cache in [CachePolicy::None, CachePolicy::LastRun] {
            let stage = Arc::<Stage>::default();
            let mut registry = Registry::new();
            registry.add(Endless { kind, stage: stage.clone() }).unwrap();
            registry.add(Many).unwrap();
            registry.add(Compute(Script::default())).unwrap();
            registry.add(Show).unwrap();
            let config =
                EngineConfig { cache, max_depth: u32::MAX, max_nodes: usize::MAX, ..Default::default() };
            let engine = Engine::new(Arc::new(registry), Residency::new(Foresight, None), config);
            let source = if kind.ends_with("list") {
                json!({"class_type": "Many", "inputs": {}})
            } else {
                json!({"class_type": "Compute", "inputs": {"model": "m", "makes": 35}})
            };
            let workflow = json!({
                "1": source,
                "2": {"class_type": "Endless", "inputs": {"value": ["1", 0]}},
                "3": {"class_type": "Show", "inputs": {"value": ["2", 0]}},
            });
            let events = cancelled_when(&engine, &stage, workflow, "at work").await;
            assert!(interrupted(&events).starts_with('2'), "{kind}: {}", interrupted(&events));
            let weights: u64 = engine.residency().residents().iter().map(|resident| resident.bytes).sum();
            let kept = if cache == CachePolicy::None { 0 } else { 35 };
            assert_eq!(engine.residency().ledger().total() - weights, kept, "{kind} {cache:?}");
            engine.clear_cache();
            assert_eq!(engine.residency().ledger().total() - weights, 0, "{kind} {cache:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_outputs_and_weights_make_room_for_each_other() {
    let script = Script::default();
    let engine = engine_of(&script, Foresight, Some(300));
    let job = |model: &str, makes: u64| {
        json!({
            "1": {"class_type": "Compute", "inputs": {"model": model, "makes": makes}},
            "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
        })
    };
    // Weights of 100 and an output of 150 stay.
    run(&engine, job("a", 150), &Cancel::new()).await.0.unwrap();
    assert_eq!(engine.residency().ledger().total(), 250);
    // The same workflow with another branch: the cached output is named, and still it goes before the job fails;
    // its bytes are dearer to keep than the weights are to read, but nothing needs either.
    let mut both = job("a", 150);
    both["3"] = json!({"class_type": "Compute", "inputs": {"model": "b", "makes": 120}});
    both["4"] = json!({"class_type": "Show", "inputs": {"value": ["3", 0]}});
    let (ended, events) = run(&engine, both, &Cancel::new()).await;
    ended.unwrap();
    assert!(engine.residency().ledger().total() <= 300, "{:?}", engine.residency().ledger().owners());
    let gave =
        |event: &EventKind| matches!(event, EventKind::CacheEvicted { .. } | EventKind::Evicted { .. });
    assert!(events.iter().any(gave));
    // A third job needs the room of all that is left, whatever it is.
    engine.residency().foresee(Vec::new());
    let (ended, _) = run(&engine, job("c", 200), &Cancel::new()).await;
    ended.unwrap();
    assert!(engine.residency().ledger().total() <= 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_two_jobs_never_mixes() {
    struct Ticks(Arc<Stage>);
    impl Node for Ticks {
        fn schema(&self) -> Schema {
            Schema::new("Ticks").input(Input::string("who", "")).output("BYTES").asynchronous()
        }

        fn execute_async<'a>(
            &'a self,
            context: &'a Context,
            inputs: &'a Inputs,
        ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
            Box::pin(async move {
                // Each waits until the other one is at work, so that their reports are interleaved.
                let who = inputs.str("who")?;
                self.0.say(who);
                while self.0.happened("first") == 0 || self.0.happened("second") == 0 {
                    tokio::task::yield_now().await;
                }
                for i in 0..50 {
                    context.progress(f64::from(i), 50.0)?;
                    context.text(who);
                    tokio::task::yield_now().await;
                }
                Ok(Outcome::payload(Bytes(0)))
            })
        }
    }
    let stage = Arc::<Stage>::default();
    let mut registry = Registry::new();
    registry.add(Ticks(stage)).unwrap();
    registry.add(Show).unwrap();
    let engine = Engine::new(Arc::new(registry), Residency::new(Foresight, None), EngineConfig::default());
    let job = |who: &'static str| {
        let engine = &engine;
        async move {
            let workflow = json!({
                "1": {"class_type": "Ticks", "inputs": {"who": who}},
                "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
            });
            let checked = engine.validate(Workflow::from_json(workflow).unwrap(), None).await.unwrap();
            let sink = Arc::new(Recorder::default());
            engine.run(Job::new(who, checked.graph).with_sink(sink.clone())).await.unwrap();
            sink.take()
        }
    };
    let (first, second) = tokio::join!(job("first"), job("second"));
    for (who, events) in [("first", first), ("second", second)] {
        assert!(events.iter().all(|event| &*event.job == who));
        let said: Vec<&str> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Text { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(said, vec![who; 50]);
        let ticks = events.iter().filter(|event| matches!(event.kind, EventKind::Progress { .. })).count();
        assert_eq!(ticks, 50);
    }
}
