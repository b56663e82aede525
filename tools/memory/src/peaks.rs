//! Predicted against measured peaks: of each workflow, at no budget and at parts of what it would take without one.
//!
//! Each run is a process of its own, so that nothing that another left is counted. Measured is the growth of the
//! anonymous resident bytes over those of the idle engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};

use crate::bench::{Bench, Keep, Setup};
use crate::cage::Cage;
use crate::process;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The workflows, in API format
    #[arg(required = true)]
    workflows: Vec<PathBuf>,
    /// Budgets, as parts of the peak without one
    #[arg(long, value_delimiter = ',', default_value = "0.8,0.65,0.5")]
    parts: Vec<f64>,
    /// Budgets in bytes in their place
    #[arg(long, value_delimiter = ',')]
    budgets: Vec<u64>,
    #[command(flatten)]
    bound: Bound,
    #[command(flatten)]
    change: Change,
}

/// What the system itself allows.
#[derive(clap::Args)]
pub(crate) struct Bound {
    /// A folder of the memory controller (`/sys/fs/cgroup/memory`, say) below which each run gets a group of its own,
    /// bounded at the predicted peak and a tenth: what takes more is killed
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// Hundredths over the predicted peak
    #[arg(long, default_value_t = 10)]
    slack: u64,
}

impl Bound {
    fn arguments(&self, command: &mut Command) {
        if let Some(cgroup) = &self.cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        command.args(["--slack", &self.slack.to_string()]);
    }
}

/// What is changed about each workflow.
#[derive(clap::Args)]
pub(crate) struct Change {
    /// The checkpoint in place of the workflow's
    #[arg(long)]
    checkpoint: Option<String>,
    /// Sampling steps in place of the workflow's
    #[arg(long, default_value_t = 2)]
    steps: u64,
    /// Pixels of a side in place of the workflow's
    #[arg(long)]
    side: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct One {
    /// The workflow, in API format
    workflow: PathBuf,
    /// The budget in bytes
    #[arg(long)]
    memory: Option<u64>,
    #[command(flatten)]
    bound: Bound,
    #[command(flatten)]
    change: Change,
}

impl Change {
    fn apply(&self, workflow: &mut Json) {
        for node in workflow.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            let class = node["class_type"].as_str().unwrap_or_default().to_owned();
            let inputs = &mut node["inputs"];
            match (class.as_str(), &self.checkpoint, self.side) {
                ("CheckpointLoaderSimple", Some(checkpoint), _) => inputs["ckpt_name"] = json!(checkpoint),
                ("KSampler" | "KSamplerAdvanced", ..) => inputs["steps"] = json!(self.steps),
                ("EmptyLatentImage", _, Some(side)) => {
                    inputs["width"] = json!(side);
                    inputs["height"] = json!(side);
                }
                _ => {}
            }
        }
    }

    fn arguments(&self, command: &mut Command) {
        command.args(["--steps", &self.steps.to_string()]);
        if let Some(checkpoint) = &self.checkpoint {
            command.args(["--checkpoint", checkpoint]);
        }
        if let Some(side) = self.side {
            command.args(["--side", &side.to_string()]);
        }
    }
}

impl One {
    pub(crate) fn run(&self, setup: &Setup) -> Result<()> {
        let text = std::fs::read(&self.workflow).with_context(|| self.workflow.display().to_string())?;
        let mut workflow: Json = serde_json::from_slice(&text)?;
        self.change.apply(&mut workflow);
        let bench = Bench::new(setup, Keep::NextUse, self.memory)?;
        let predicted = bench.predicted(workflow.clone())?;
        let allowed = predicted.saturating_add(predicted / 100 * self.bound.slack);
        let cage = self.bound.cgroup.as_deref().map(|parent| Cage::enter(parent, allowed)).transpose()?;
        let idle = process::anonymous();
        let ran = bench.run(workflow)?;
        println!(
            "{}",
            json!({
                "booked": cage.as_ref().and_then(Cage::most),
                "predicted": ran.predicted, "ledger": ran.ledger, "measured": ran.most.saturating_sub(idle),
                "seconds": ran.seconds, "loads": ran.loads,
            })
        );
        Ok(())
    }
}

impl Arguments {
    pub(crate) fn run(&self, setup: &Setup) -> Result<()> {
        println!(
            "{:28} {:>9} {:>10} {:>8} {:>9} {:>7}",
            "workflow", "budget", "predicted", "ledger", "measured", "part"
        );
        for workflow in &self.workflows {
            let whole = self.one(setup, workflow, None)?;
            let predicted = whole["predicted"].as_u64().unwrap_or(0);
            report(workflow, None, &whole);
            let parts = self.parts.iter().map(|part| (predicted as f64 * part) as u64);
            let budgets: Vec<u64> =
                if self.budgets.is_empty() { parts.collect() } else { self.budgets.clone() };
            for budget in budgets {
                match self.one(setup, workflow, Some(budget)) {
                    Ok(ran) => report(workflow, Some(budget), &ran),
                    Err(refused) => println!("{:28} {:>9} {refused}", name(workflow), mib(budget)),
                }
            }
        }
        Ok(())
    }

    fn one(&self, setup: &Setup, workflow: &Path, memory: Option<u64>) -> Result<Json> {
        let mut command = Command::new(std::env::current_exe()?);
        setup.arguments(&mut command);
        command.arg("peak").arg(workflow);
        self.change.arguments(&mut command);
        self.bound.arguments(&mut command);
        if let Some(memory) = memory {
            command.args(["--memory", &memory.to_string()]);
        }
        let done = command.env("RUST_BACKTRACE", "0").output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).replace('\n', " ");
            anyhow::bail!("{}: {}", done.status, said.trim());
        }
        Ok(serde_json::from_slice(&done.stdout)?)
    }
}

fn name(workflow: &Path) -> String {
    workflow.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn report(workflow: &Path, budget: Option<u64>, ran: &Json) {
    let bytes = |key: &str| ran[key].as_u64().unwrap_or(0);
    let budget = budget.map_or_else(|| "none".to_owned(), |budget| mib(budget).to_string());
    println!(
        "{:28} {budget:>9} {:>10} {:>8} {:>9} {:>6.0}%  {:.1} s, {} loads",
        name(workflow),
        mib(bytes("predicted")),
        mib(bytes("ledger")),
        mib(bytes("measured")),
        bytes("measured") as f64 / bytes("predicted").max(1) as f64 * 100.0,
        ran["seconds"].as_f64().unwrap_or(0.0),
        bytes("loads"),
    );
}
