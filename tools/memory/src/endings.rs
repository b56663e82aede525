//! Runs that end badly: loads that fail, loads that are cancelled, nodes that panic. What is held after each?

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ebb_engine::events::{Event, EventKind, EventSink, Silent};
use ebb_engine::node::{Cancel, Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Input, Schema};
use serde_json::json;

use crate::bench::{Bench, Keep, Setup, text_to_image};
use crate::process;
use crate::switches::slope;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The checkpoint, below checkpoints/
    checkpoint: String,
    /// A copy of it, below checkpoints/, that is cut short while it is read: it is worth nothing afterwards
    victim: String,
    /// How often each
    #[arg(long, default_value_t = 100)]
    times: u64,
    /// The budget in bytes; none where it is left out
    #[arg(long)]
    memory: Option<u64>,
}

/// Breaks in the middle of its work, with memory in its hands.
pub(crate) struct Panics;

impl Node for Panics {
    fn schema(&self) -> Schema {
        Schema::new("Panics").input(Input::wire("latent", "LATENT")).output_node().compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let _scratch = context.reserve("a lot", 64 << 20)?;
        let held = vec![1u8; 64 << 20];
        let _latent = inputs;
        panic!("this node always panics, with {} bytes in its hands", held.len());
    }
}

/// Does something when so many bytes of weights have been read.
struct At<F>(u64, F);

impl<F: Fn() + Send + Sync> EventSink for At<F> {
    fn emit(&self, event: Event) {
        if matches!(event.kind, EventKind::Loading { done, .. } if done > self.0) {
            (self.1)();
        }
    }
}

/// What was held after each run, beyond the idle process and the ledger.
struct Seen<'a> {
    bench: &'a Bench,
    idle: u64,
    beyond: Vec<f64>,
    most: u64,
}

impl Seen<'_> {
    fn look(&mut self) {
        let (held, ledger) = (process::anonymous(), self.bench.engine.residency().ledger().total());
        self.beyond.push(held as f64 - self.idle as f64 - ledger as f64);
        self.most = self.most.max(held);
    }

    fn report(mut self, what: &str) {
        // The first tenth warms up: threads, tables, the heap's gaps.
        let beyond = self.beyond.split_off(self.beyond.len() / 10);
        println!(
            "{}",
            json!({
                "ending": what, "times": beyond.len(), "slope_bytes_a_time": slope(&beyond),
                "beyond_idle_and_ledger": beyond.last(),
                "most_beyond": beyond.iter().copied().fold(0.0, f64::max), "most": self.most,
            })
        );
    }
}

impl Arguments {
    pub(crate) fn run(&self, setup: &Setup) -> anyhow::Result<()> {
        let bench = Bench::new(setup, Keep::NextUse, self.memory)?;
        let idle = process::anonymous();
        let victim: PathBuf = setup.models.join("checkpoints").join(&self.victim);
        let whole = std::fs::metadata(&victim).with_context(|| victim.display().to_string())?.len();
        let residency = bench.engine.residency();
        // Loads end at other places each time.
        let part = |time: u64| whole / 12 * (time % 9);

        let mut seen = Seen { bench: &bench, idle, beyond: Vec::new(), most: 0 };
        for time in 0..self.times {
            // What was cut off before reads as zeros.
            OpenOptions::new().write(true).open(&victim)?.set_len(whole)?;
            let (file, short) = (victim.clone(), whole / 10 + part(time));
            let cut = move || {
                if let Ok(file) = OpenOptions::new().write(true).open(&file) {
                    // A load that goes on all the same is found below.
                    let _ = file.set_len(short);
                }
            };
            let job = text_to_image(&self.victim, 64, 1, time);
            let ended = bench.run_told(job, Arc::new(At(0, cut)));
            ensure!(ended.is_err(), "a file that was cut short was loaded");
            seen.look();
        }
        seen.report("failed loads");

        residency.evict_all();
        let mut seen = Seen { bench: &bench, idle, beyond: Vec::new(), most: 0 };
        for time in 0..self.times {
            residency.evict_all();
            let cancel = Cancel::new();
            let stop = cancel.clone();
            let sink = At(part(time) / 2, move || stop.cancel());
            let ended = bench.run_until(text_to_image(&self.checkpoint, 64, 1, time), Arc::new(sink), cancel);
            ensure!(ended.is_err(), "a run that was cancelled went on");
            seen.look();
        }
        seen.report("cancelled loads");

        // A hundred backtraces would fill the log, and their symbols the memory.
        std::panic::set_hook(Box::new(|_| {}));
        let mut seen = Seen { bench: &bench, idle, beyond: Vec::new(), most: 0 };
        for time in 0..self.times {
            let mut job = text_to_image(&self.checkpoint, 64, 1, time);
            job["7"] = json!({"class_type": "Panics", "inputs": {"latent": ["5", 0]}});
            ensure!(bench.run_told(job, Arc::new(Silent)).is_err(), "a node that panics ended well");
            seen.look();
        }
        seen.report("panicking nodes");
        residency.evict_all();
        println!(
            "{}",
            json!({"ledger": residency.ledger().total(), "after": process::anonymous(), "idle": idle})
        );
        Ok(())
    }
}
