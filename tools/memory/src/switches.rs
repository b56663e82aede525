//! Alternating checkpoints: does memory stay where it was, and what does a switch cost?

use ebb_engine::cache::CachePolicy;
use serde_json::json;

use crate::bench::{Bench, Keep, Setup, text_to_image};
use crate::process;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The checkpoints, below checkpoints/
    #[arg(required = true)]
    checkpoints: Vec<String>,
    /// Switches
    #[arg(long, default_value_t = 100)]
    times: u64,
    /// The budget in bytes; none where it is left out
    #[arg(long)]
    memory: Option<u64>,
    /// What becomes of weights that nobody uses
    #[arg(long, value_enum, default_value_t = Keep::NextUse)]
    keep: Keep,
    /// Bytes of results that stay, as `ebb serve --cache budget=BYTES` has it; none where it is left out
    #[arg(long)]
    results: Option<u64>,
    /// Pixels of a side of the picture
    #[arg(long, default_value_t = 64)]
    side: u64,
}

impl Arguments {
    pub(crate) fn run(&self, setup: &Setup) -> anyhow::Result<()> {
        let cache = self.results.map_or(CachePolicy::None, CachePolicy::Budget);
        let bench = Bench::caching(setup, self.keep, self.memory, cache)?;
        let idle = process::anonymous();
        let mut seconds = Vec::new();
        let mut after = Vec::new();
        let (mut most, mut loads) = (0, 0);
        for (checkpoint, seed) in self.checkpoints.iter().cycle().zip(0..self.times) {
            let disk = process::read_from_disk();
            let ran = bench.run(text_to_image(checkpoint, self.side, 1, seed))?;
            let ledger = bench.engine.residency().ledger().total();
            println!(
                "{}",
                json!({
                    "checkpoint": checkpoint, "seconds": ran.seconds, "loads": ran.loads, "loading": ran.loading,
                    "after": process::anonymous(), "ledger": ledger, "ledger_peak": ran.ledger, "most": ran.most,
                    "from_disk": process::read_from_disk() - disk, "nodes": ran.nodes,
                })
            );
            (most, loads) = (most.max(ran.most), loads + ran.loads);
            seconds.push(ran.seconds);
            after.push(process::anonymous() as f64 - ledger as f64);
        }
        // The first round of each checkpoint is no switch yet.
        let warm = self.checkpoints.len().min(seconds.len());
        let mut warm_seconds = seconds.split_off(warm);
        warm_seconds.sort_by(f64::total_cmp);
        let unnamed = &after[warm..];
        println!(
            "{}",
            json!({
                "idle": idle, "switches": warm_seconds.len(), "loads": loads, "most": most,
                "median_seconds": warm_seconds.get(warm_seconds.len() / 2),
                "slope_bytes_a_switch": slope(unnamed),
                "beyond_idle_and_ledger": unnamed.last().map(|last| last - idle as f64),
            })
        );
        Ok(())
    }
}

/// Least squares, in units of `values` a step.
pub(crate) fn slope(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let middle = (n - 1.0) / 2.0;
    let (mut over, mut under) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        over += (i as f64 - middle) * (value - mean);
        under += (i as f64 - middle).powi(2);
    }
    (under > 0.0).then(|| over / under)
}
