//! The engine as a workshop.

use std::collections::HashSet;
use std::sync::Arc;

use ebb_engine::events::{Event, EventKind, EventSink, JobError};
use ebb_engine::execute::{Engine, Job};
use ebb_engine::node::{Cancel, NodeRef, Origins};
use ebb_engine::residency::{QueuedJob, Residency};
use ebb_engine::validate::{Rejection, Validated};
use ebb_engine::workflow::sweep::{CellOrigins, Drawing, Sweep};
use ebb_engine::workflow::ui::Catalog;
use ebb_engine::workflow::{NodeId, Workflow};
use serde_json::{Map, Value as Json, json};

use super::planned;
use super::workshop::{Checked, Cost, Later, Refused, Run, Workshop};

/// Checks and runs prompts with an [`Engine`].
#[derive(Clone)]
pub struct EngineWorkshop {
    engine: Arc<Engine>,
    /// Submissions are planned to know which weights they need.
    plans: bool,
}

impl EngineWorkshop {
    /// A workshop around an engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, plans: false }
    }

    /// Plans each submission for the weights that it needs: what a preference for jobs whose weights are in memory
    /// goes by. Costs a look at the headers of its model files.
    pub fn planning(self) -> Self {
        Self { plans: true, ..self }
    }

    /// Names of the weights that a workflow needs, none unless [`EngineWorkshop::planning`].
    fn components(&self, valid: &Validated) -> Vec<String> {
        if !self.plans {
            return Vec::new();
        }
        let mut names: Vec<String> = self
            .engine
            .plan(&valid.graph)
            .steps
            .iter()
            .flat_map(|s| &s.loads)
            .map(|spec| spec.key.to_string())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// What the cells of a sweep write into their pictures.
    fn origins(&self, sweep: &Json, extra_pnginfo: &Json) -> Option<Arc<dyn Origins>> {
        let sweep = match Sweep::from_json(sweep) {
            Ok(sweep) => Arc::new(sweep),
            Err(error) => {
                tracing::warn!(%error, "a stored sweep cannot be read: its pictures carry the whole sweep");
                return None;
            }
        };
        let extra = extra_pnginfo.as_object().cloned().unwrap_or_default();
        let catalog = Catalog::from_registry(self.engine.registry());
        let drawing = extra.get("workflow").and_then(|drawn| Drawing::new(drawn, &sweep, &catalog));
        Some(Arc::new(CellOrigins::new(sweep, drawing, extra)))
    }

    async fn validate(&self, prompt: Json, targets: Option<Vec<String>>) -> Result<Validated, Refused> {
        let workflow = Workflow::from_json(prompt).map_err(|error| Refused {
            error: json!({"type": "invalid_prompt", "message": "The prompt is not in API format",
                          "details": error.to_string(), "extra_info": {}}),
            node_errors: json!({}),
        })?;
        let targets: Option<Vec<NodeId>> = targets.map(|ids| ids.iter().map(NodeId::from).collect());
        self.engine.validate(workflow, targets.as_deref()).await.map_err(|rejection| refused(&rejection))
    }
}

fn refused(rejection: &Rejection) -> Refused {
    let mut body = rejection.to_json();
    Refused { error: body["error"].take(), node_errors: body["node_errors"].take() }
}

impl Workshop for EngineWorkshop {
    fn object_info(&self, class: Option<&str>) -> Map<String, Json> {
        let registry = self.engine.registry();
        let described = |name: &str| registry.get(name).map(|c| (name.to_owned(), c.schema.object_info()));
        match class {
            Some(name) => described(name).into_iter().collect(),
            None => registry.iter().map(|c| (c.schema.class.clone(), c.schema.object_info())).collect(),
        }
    }

    fn check(&self, prompt: Json, targets: Option<Vec<String>>) -> Result<Checked, Refused> {
        let valid = tokio::runtime::Handle::current().block_on(self.validate(prompt, targets))?;
        let components = self.components(&valid);
        Ok(Checked {
            prompt: valid.workflow.to_json(),
            outputs: valid.outputs.iter().map(|id| id.as_str().to_owned()).collect(),
            node_errors: valid.node_errors.to_json(),
            components,
        })
    }

    /// Planning reads headers of model files, so it runs beside the async threads as well.
    fn plan(&self, prompt: Json, targets: Option<Vec<String>>) -> Later<'_, Result<Option<Json>, Refused>> {
        let (workshop, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let work = tokio::task::spawn_blocking(move || {
            let valid = runtime.block_on(workshop.validate(prompt, targets))?;
            let (plan, budget) = (workshop.engine.plan(&valid.graph), workshop.engine.residency().budget());
            let type_of = |class: &str, slot: usize| {
                Some(workshop.engine.registry().get(class)?.schema.object_info()["output"].get(slot)?.clone())
            };
            Ok(Some(planned::to_json(&plan, &valid.workflow.to_json(), budget, &type_of)))
        });
        Box::pin(async move { work.await.unwrap_or_else(|panic| Err(broke("Planning", &panic))) })
    }

    fn cost(&self, prompt: Json, targets: Option<Vec<String>>) -> Later<'_, Result<Cost, Refused>> {
        let (workshop, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let work = tokio::task::spawn_blocking(move || {
            let valid = runtime.block_on(workshop.validate(prompt, targets))?;
            if !valid.node_errors.is_empty() {
                return Err(Refused {
                    error: json!({"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation",
                                  "details": "", "extra_info": {}}),
                    node_errors: valid.node_errors.to_json(),
                });
            }
            let plan = workshop.engine.plan(&valid.graph);
            let loads = plan.steps.iter().flat_map(|step| &step.loads);
            Ok(Cost {
                steps: plan.steps.len(),
                steps_alone: plan.cached.len()
                    + plan.steps.iter().map(|step| 1 + step.equal.len()).sum::<usize>(),
                loads: loads.map(|w| (w.key.to_string(), w.label.to_string(), w.bytes)).collect(),
                outputs: valid.outputs.len(),
                peak: plan.predicted_peak,
            })
        });
        Box::pin(async move { work.await.unwrap_or_else(|panic| Err(broke("Planning", &panic))) })
    }

    fn run(&self, run: Run, events: Arc<dyn EventSink>, cancel: Cancel) -> Later<'_, ()> {
        Box::pin(async move {
            let Run { id, prompt, outputs, extra_pnginfo, sweep, previews } = run;
            // It was valid when it was stored; files and nodes may have gone since.
            let graph = match self.validate(prompt, Some(outputs)).await {
                Ok(valid) => valid.graph,
                Err(refused) => return events.emit(no_longer_valid(id, &refused)),
            };
            let origins = sweep.and_then(|sweep| self.origins(&sweep, &extra_pnginfo));
            let extra_pnginfo = Arc::new(extra_pnginfo);
            let job = Job { id, graph, extra_pnginfo, origins, sink: events, cancel, previews };
            // How it ended is in its events.
            let _ = self.engine.run(job).await;
        })
    }

    fn free(&self, models: bool, cache: bool) {
        if cache {
            self.engine.clear_cache();
        }
        if models || cache {
            self.engine.residency().evict_all();
        }
    }

    fn foresee(&self, waiting: Vec<(String, Vec<String>)>) {
        let queue = waiting.into_iter().map(|(job, needs)| QueuedJob { job: job.into(), needs }).collect();
        self.engine.residency().foresee(queue);
    }

    fn resident(&self) -> HashSet<String> {
        self.engine.residency().residents().iter().map(|r| r.key.to_string()).collect()
    }

    fn residency(&self) -> Option<Arc<Residency>> {
        Some(Arc::clone(self.engine.residency()))
    }
}

/// A defect of ours, said to the client as such.
pub(crate) fn broke(what: &str, panic: &tokio::task::JoinError) -> Refused {
    tracing::error!(%panic, "{what} panicked");
    Refused {
        error: json!({"type": "internal_error", "message": format!("{what} failed: a defect of ebb"),
                      "details": "", "extra_info": {}}),
        node_errors: json!({}),
    }
}

fn no_longer_valid(job: Arc<str>, refused: &Refused) -> Event {
    let node = refused.node_errors.as_object().and_then(|nodes| nodes.iter().next());
    let (id, class) =
        node.map_or(("", ""), |(id, e)| (id.as_str(), e["class_type"].as_str().unwrap_or_default()));
    let text = |key: &str| refused.error[key].as_str().unwrap_or_default().to_owned();
    let error = JobError {
        node: Arc::new(NodeRef::top(id.into(), class)),
        message: format!(
            "the prompt was valid when it was queued and is not any more: {} {}",
            text("message"),
            text("details")
        ),
        exception: "PromptNoLongerValid".to_owned(),
        kind: "input",
        inputs: Map::new(),
        executed: Vec::new(),
    };
    Event { job, kind: EventKind::Failed { error: Arc::new(error) } }
}
