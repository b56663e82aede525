//! `ebb run`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ebb_engine::cache::CachePolicy;
use ebb_engine::events::{Event, EventKind, EventSink, Previews};
use ebb_engine::execute::{Engine, Job, RunError, RunReport};
use ebb_engine::node::Cancel;
use ebb_engine::validate::Validated;
use ebb_nodes::Folders;
use serde_json::Value as Json;

use super::failure::{Done, Failure};
use super::options::{ChangeOptions, EngineOptions, FolderOptions};
use super::progress::Bars;
use super::report::{self, Memory, Report, Sampling};
use super::{assemble, saved, workflow};

/// Arguments of `ebb run`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The workflow: API format, UI format, a request body, or a PNG with one inside; `-` reads it
    /// from the standard input
    workflow: PathBuf,
    #[command(flatten)]
    changes: ChangeOptions,
    /// Write what each step, load and eviction took to a JSON file
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    #[command(flatten)]
    folders: FolderOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

/// Reads the run's events: draws them, keeps the report, notes the files.
struct Listener {
    bars: Bars,
    folders: Folders,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    report: Report,
    files: Vec<PathBuf>,
}

impl EventSink for Listener {
    fn emit(&self, event: Event) {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.report.add(&event);
            if let EventKind::NodeFinished { ui: Some(ui), .. } = &event.kind {
                kept.files.extend(saved::files(ui, &self.folders));
            }
        }
        self.bars.emit(event);
    }
}

pub(super) fn run(arguments: Arguments) -> Done {
    let Arguments { workflow: file, changes, report, folders, engine: options } = arguments;
    // One run reads none of its outputs again, so that keeping them would only cost memory.
    let engine = assemble::engine(&folders, &options, CachePolicy::None)?;
    if let Some(path) = &report {
        report::writable(path)?;
    }
    ebb_nodes::prepare();
    let opened = workflow::open(&file, &changes, engine.registry())?;
    let targets = workflow::targets(&changes, &opened.workflow)?;
    let runtime = assemble::runtime()?;
    let original = opened.workflow.clone();
    let valid = runtime
        .block_on(engine.validate(opened.workflow, targets.as_deref()))
        .map_err(|rejection| workflow::rejected_in(&rejection, &original, engine.registry(), &folders))?;
    let partly = (!valid.node_errors.is_empty()).then(|| valid.node_errors.explain(&original));
    if let Some(problems) = &partly {
        eprintln!("warning: some outputs cannot run; the others do\n{}", problems.trim_end());
    }

    let listener = Arc::new(Listener {
        bars: Bars::new(&original),
        folders: folders.pictures(),
        kept: Mutex::default(),
    });
    let mut memory = Memory::idle(engine.residency());
    let started = Instant::now();
    let ended =
        runtime.block_on(execute(&engine, valid, Json::Object(opened.extra_pnginfo), listener.clone()));
    let seconds = started.elapsed().as_secs_f64();
    let Kept { report: kept, files } =
        std::mem::take(&mut *listener.kept.lock().unwrap_or_else(PoisonError::into_inner));
    for file in &files {
        use std::io::Write;
        writeln!(std::io::stdout(), "{}", file.display())?;
    }
    if let Some(path) = report {
        memory.ledger_peak = engine.residency().ledger().peak();
        kept.write(&path, seconds, ended.as_ref().ok(), &memory, &files)?;
    }
    match ended {
        Ok(_) if partly.is_some() => Err(Failure::workflow("some outputs did not run: see above")),
        Ok(_) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

/// Runs to the end, or to Ctrl-C: the first one lets the step come to its end, a second one quits.
async fn execute(
    engine: &Engine,
    valid: Validated,
    extra_pnginfo: Json,
    listener: Arc<Listener>,
) -> Result<RunReport, RunError> {
    let cancel = Cancel::new();
    let job = Job {
        id: "run".into(),
        graph: valid.graph,
        extra_pnginfo: Arc::new(extra_pnginfo),
        origins: None,
        sink: listener.clone(),
        cancel: cancel.clone(),
        // Nothing on a terminal shows them.
        previews: Previews::default(),
    };
    let watch = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            listener.bars.line("stopping after this step; Ctrl-C again quits at once");
            cancel.cancel();
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        }
    });
    let sampling = Sampling::begin(engine.residency());
    let ended = engine.run(job).await;
    drop(sampling);
    watch.abort();
    ended
}

fn failed(error: &RunError) -> Failure {
    match error {
        RunError::Failed(job) if job.kind == "model" => Failure::model(error),
        RunError::Failed(job) if matches!(job.kind, "input" | "cycle") => Failure::workflow(error),
        _ => Failure::other(error),
    }
}
