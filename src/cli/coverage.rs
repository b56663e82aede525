//! `ebb coverage`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ebb_engine::workflow::Workflow;
use ebb_engine::workflow::source::Source;
use ebb_engine::workflow::ui::{self, Catalog};
use serde_json::{Value as Json, json};

use super::failure::{Done, Failure};
use super::options::FolderOptions;
use super::{assemble, workflow};

/// Arguments of `ebb coverage`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Workflows in UI or API format, or folders of them
    #[arg(required = true, value_name = "FILE|FOLDER")]
    workflows: Vec<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folders: FolderOptions,
}

/// One workflow.
struct Looked {
    path: PathBuf,
    verdict: Verdict,
}

enum Verdict {
    /// Every class is there.
    Runs,
    /// These are not.
    Lacks(BTreeSet<String>),
    /// A JSON file of another kind, or one that cannot be read.
    NoWorkflow(String),
}

pub(super) fn run(arguments: &Arguments) -> Done {
    let catalog = Catalog::from_registry(&assemble::registry(&arguments.folders, None)?);
    let mut files = Vec::new();
    for path in &arguments.workflows {
        collect(path, &mut files)?;
    }
    let looked: Vec<Looked> = files
        .into_iter()
        .map(|path| {
            let verdict = look(&path, &catalog).unwrap_or_else(|why| Verdict::NoWorkflow(why.to_string()));
            Looked { path, verdict }
        })
        .collect();
    let text = if arguments.json { format!("{:#}\n", as_json(&looked)) } else { as_text(&looked) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// A file, or all JSON files below a folder, by name.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Done {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        let is_json = entry.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        if entry.is_dir() || is_json {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

fn look(path: &Path, catalog: &Catalog) -> Done<Verdict> {
    let source = Source::read(&workflow::read(path)?).map_err(Failure::workflow)?;
    let (prompt, unknown) = if source.format.is_ui() {
        let converted = ui::convert(source.workflow, catalog, &mut workflow::options(0));
        let converted = converted.map_err(Failure::workflow)?;
        (converted.prompt, converted.unknown.into_iter().map(|node| node.class).collect())
    } else {
        (source.workflow, BTreeSet::new())
    };
    // Any JSON lies in a folder: what is no workflow must not count as one that runs.
    let prompt = Workflow::from_json(prompt).map_err(Failure::workflow)?;
    let classes: Vec<&str> = prompt.nodes.values().filter_map(|node| node.class_type.as_deref()).collect();
    if classes.is_empty() && unknown.is_empty() {
        return Ok(Verdict::NoWorkflow("no node has a class_type".into()));
    }
    let lacking = classes.into_iter().filter(|class| !catalog.knows(class)).map(str::to_owned);
    let lacking: BTreeSet<String> = lacking.chain(unknown).collect();
    Ok(if lacking.is_empty() { Verdict::Runs } else { Verdict::Lacks(lacking) })
}

/// How many workflows lack each class, those that most lack first.
fn ranked(looked: &[Looked]) -> Vec<(&str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in looked {
        if let Verdict::Lacks(classes) = &one.verdict {
            classes.iter().for_each(|class| *counts.entry(class).or_default() += 1);
        }
    }
    let mut ranked: Vec<_> = counts.into_iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked
}

/// How many run, and how many workflows there are.
fn counts(looked: &[Looked]) -> (usize, usize) {
    let runs = looked.iter().filter(|one| matches!(one.verdict, Verdict::Runs)).count();
    let workflows = looked.iter().filter(|one| !matches!(one.verdict, Verdict::NoWorkflow(_))).count();
    (runs, workflows)
}

fn as_text(looked: &[Looked]) -> String {
    let mut out = String::new();
    for Looked { path, verdict } in looked {
        let path = path.display();
        let _ = match verdict {
            Verdict::Runs => writeln!(out, "runs   {path}"),
            Verdict::Lacks(classes) => {
                let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
                writeln!(out, "lacks  {path}: {}", classes.join(", "))
            }
            Verdict::NoWorkflow(why) => writeln!(out, "-      {path}: {why}"),
        };
    }
    let (runs, workflows) = counts(looked);
    let _ = writeln!(out, "\n{runs} of {workflows} workflows have every node that they need");
    for (class, count) in ranked(looked) {
        let _ = writeln!(out, "{count:5}  lack {class}");
    }
    out
}

fn as_json(looked: &[Looked]) -> Json {
    let workflow = |one: &Looked| {
        let path = one.path.display().to_string();
        match &one.verdict {
            Verdict::Runs => json!({"path": path, "runs": true, "lacks": []}),
            Verdict::Lacks(classes) => json!({"path": path, "runs": false, "lacks": classes}),
            Verdict::NoWorkflow(why) => json!({"path": path, "error": why}),
        }
    };
    let (runs, workflows) = counts(looked);
    json!({
        "runs": runs,
        "of": workflows,
        "workflows": looked.iter().map(workflow).collect::<Vec<_>>(),
        "lacking": ranked(looked).into_iter().map(|(class, n)| json!({"class": class, "workflows": n})).collect::<Vec<_>>(),
    })
}
