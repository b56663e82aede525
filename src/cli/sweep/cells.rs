//! Runs the cells that are missing, as one graph.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ebb_engine::execute::{Engine, Job, RunError, RunReport};
use ebb_engine::node::{Cancel, Origins};
use ebb_engine::plan::{Plan, show_bytes};
use ebb_engine::validate::Validated;
use ebb_engine::workflow::sweep::Sweep;
use ebb_engine::workflow::{InputValue, NodeId};
use ebb_nodes::Folders;
use serde_json::Value as Json;

use super::super::failure::{Done, Failure};
use super::super::progress::Bars;
use super::super::report::{Memory, Report, Sampling};
use super::super::workflow::rejected;
use super::listener::Listener;
use super::manifest::Manifest;

/// What the cells of a sweep run with.
pub(super) struct Cells<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) sweep: &'a Arc<Sweep>,
    /// The only outputs to run, by their ids in the workflow.
    pub(super) targets: Option<Vec<NodeId>>,
    pub(super) origins: Arc<dyn Origins>,
    pub(super) folders: Folders,
    pub(super) name: String,
}

impl Cells<'_> {
    /// Prints what it would take.
    pub(super) async fn estimate(&self, cells: &[usize]) -> Done {
        if cells.is_empty() {
            println!("all {} cells are done", self.sweep.len());
            return Ok(());
        }
        let valid = self.validate(&self.arrange(cells).await?).await?;
        let plan = self.engine.plan(&valid.graph);
        println!("{}", summary(cells.len(), &plan));
        for (label, (times, bytes)) in loads(&plan) {
            println!(
                "  {label}: {}, {times} {}",
                show_bytes(bytes),
                if times == 1 { "load" } else { "loads" }
            );
        }
        println!("  peak {}", show_bytes(plan.predicted_peak));
        Ok(())
    }

    /// Runs what is missing. A cell that fails does not keep the others from running.
    pub(super) async fn run(&self, manifest: &mut Manifest, report: Option<&Path>) -> Done {
        let total = self.sweep.len();
        let (started, mut kept) = (Instant::now(), Report::default());
        let mut memory = Memory::idle(self.engine.residency());
        let _sampling = Sampling::begin(self.engine.residency());
        let missing = manifest.missing();
        if missing.len() < total {
            eprintln!("{} of {total} cells are done already", total - missing.len());
        }
        let order = if missing.is_empty() { missing } else { self.arrange(&missing).await? };
        let cancel = Cancel::new();
        let watch = tokio::spawn(stop_at_ctrl_c(cancel.clone()));
        let mut stopped = false;
        let mut last = None;
        loop {
            let open = manifest.missing();
            let cells: Vec<usize> = order.iter().copied().filter(|cell| open.contains(cell)).collect();
            if cells.is_empty() {
                break;
            }
            let valid = self.validate(&cells).await?;
            eprintln!("{}", summary(cells.len(), &self.engine.plan(&valid.graph)));
            let (ended, report) = self.pass(valid, std::mem::take(&mut kept), &cancel, manifest).await?;
            kept = report;
            memory.ledger_peak = memory.ledger_peak.max(self.engine.residency().ledger().peak());
            match ended {
                Ok(done) => {
                    last = Some(done);
                    break;
                }
                Err(RunError::Interrupted { .. }) => {
                    stopped = true;
                    break;
                }
                Err(RunError::Failed(error)) => {
                    let Some((cell, _)) = Sweep::cell_of(&error.node.real) else {
                        return Err(Failure::other(RunError::Failed(error)));
                    };
                    let message =
                        format!("node #{} ({}): {}", error.node.id, error.node.class, error.message);
                    eprintln!("cell {} failed: {message}", manifest.title(cell));
                    manifest.fail(cell, message)?;
                }
            }
        }
        watch.abort();
        if let Some(path) = report {
            let files: Vec<_> = manifest.files().map(|file| self.folders.output.join(file)).collect();
            kept.write(path, started.elapsed().as_secs_f64(), last.as_ref(), &memory, &files)?;
        }
        if stopped {
            let left = manifest.missing().len();
            return Err(Failure::other(format!(
                "stopped with {left} of {total} cells missing: the same command goes on"
            )));
        }
        match manifest.failures().len() {
            0 => Ok(()),
            count => Err(Failure::other(format!("{count} of {total} cells failed: see above"))),
        }
    }

    /// One run of some cells. Each is written down as soon as it is done.
    async fn pass(
        &self,
        valid: Validated,
        report: Report,
        cancel: &Cancel,
        manifest: &mut Manifest,
    ) -> Done<(Result<RunReport, RunError>, Report)> {
        let (tell, mut hear) = tokio::sync::mpsc::unbounded_channel();
        let bars = Bars::new(&valid.workflow);
        let listener = Arc::new(Listener::new(bars, self.folders.clone(), report, &valid.outputs, tell));
        let job = Job {
            id: "sweep".into(),
            graph: valid.graph,
            extra_pnginfo: Arc::new(Json::Null),
            origins: Some(self.origins.clone()),
            sink: listener.clone(),
            cancel: cancel.clone(),
            previews: Default::default(),
        };
        let mut run = std::pin::pin!(self.engine.run(job));
        let ended = loop {
            tokio::select! {
                ended = &mut run => break ended,
                Some((cell, files)) = hear.recv() => manifest.finish(cell, files)?,
            }
        };
        while let Ok((cell, files)) = hear.try_recv() {
            manifest.finish(cell, files)?;
        }
        Ok((ended, listener.take_report()))
    }

    /// The cells of one graph, checked.
    async fn validate(&self, cells: &[usize]) -> Done<Validated> {
        let mut combined = self.sweep.combined(cells.iter().copied());
        let digits = self.sweep.len().saturating_sub(1).to_string().len();
        for (id, node) in &mut combined.nodes {
            let Some((cell, _)) = Sweep::cell_of(id) else { continue };
            if let Some(InputValue::Literal(Json::String(prefix))) = node.inputs.get_mut("filename_prefix") {
                let stem = prefix.rsplit(['/', '\\']).next().unwrap_or_default();
                *prefix = format!("sweeps/{}/{cell:0digits$}-{stem}", self.name);
            }
        }
        let targets: Option<Vec<NodeId>> = self.targets.as_ref().map(|targets| {
            cells.iter().flat_map(|cell| targets.iter().map(|id| Sweep::id_in(*cell, id))).collect()
        });
        let original = combined.clone();
        let checked = self.engine.validate(combined, targets.as_deref()).await;
        let registry = self.engine.registry();
        let valid = checked.map_err(|rejection| rejected(&rejection, &original, registry))?;
        if valid.node_errors.is_empty() {
            return Ok(valid);
        }
        Err(Failure::workflow(format!(
            "some cells cannot run:\n{}",
            valid.node_errors.explain(&original).trim_end()
        )))
    }

    /// The cells in the order that loads each model once.
    async fn arrange(&self, cells: &[usize]) -> Done<Vec<usize>> {
        let mut needs: Vec<Vec<String>> = Vec::new();
        for probe in self.sweep.probes() {
            let original = probe.clone();
            let checked = self.engine.validate(probe, self.targets.as_deref()).await;
            let valid =
                checked.map_err(|rejection| rejected(&rejection, &original, self.engine.registry()))?;
            let plan = self.engine.plan(&valid.graph);
            let loads = plan.steps.iter().flat_map(|step| &step.loads);
            let mut keys: Vec<String> = loads.map(|spec| spec.key.to_string()).collect();
            keys.sort();
            needs.push(keys);
        }
        let order = self.sweep.arranged(&needs);
        Ok(order.into_iter().filter(|cell| cells.contains(cell)).collect())
    }
}

/// The first one lets the step come to its end, a second one quits.
async fn stop_at_ctrl_c(cancel: Cancel) {
    if tokio::signal::ctrl_c().await.is_ok() {
        eprintln!("stopping after this step; Ctrl-C again quits at once");
        cancel.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}

/// Loads by name: how many, and their bytes.
fn loads(plan: &Plan) -> BTreeMap<String, (usize, u64)> {
    let mut loads: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for spec in plan.steps.iter().flat_map(|step| &step.loads) {
        let entry = loads.entry(spec.label.to_string()).or_insert((0, spec.bytes));
        entry.0 += 1;
    }
    loads
}

fn summary(cells: usize, plan: &Plan) -> String {
    let alone: usize = plan.steps.iter().map(|step| 1 + step.equal.len()).sum();
    let steps = plan.steps.len();
    let loads: usize = plan.steps.iter().map(|step| step.loads.len()).sum();
    let plural =
        |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    format!(
        "{} in one graph: {steps} steps instead of {alone}, {} of weights",
        plural(cells, "cell"),
        plural(loads, "load")
    )
}
