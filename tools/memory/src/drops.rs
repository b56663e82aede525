//! Load and drop: does what is freed go back to the system?

use serde_json::json;

use crate::bench::{Bench, Keep, Setup, text_to_image};
use crate::process;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The checkpoint, below checkpoints/
    checkpoint: String,
    /// How often
    #[arg(long, default_value_t = 6)]
    times: u64,
    /// Pixels of a side of the picture
    #[arg(long, default_value_t = 64)]
    side: u64,
    /// Sampling steps
    #[arg(long, default_value_t = 1)]
    steps: u64,
}

impl Arguments {
    pub(crate) fn run(&self, setup: &Setup, trims: bool) -> anyhow::Result<()> {
        let bench = Bench::new(setup, Keep::Nothing, None)?;
        println!("{}", json!({"idle": process::anonymous()}));
        for seed in 0..self.times {
            let before = process::faults();
            let ran = bench.run(text_to_image(&self.checkpoint, self.side, self.steps, seed))?;
            if trims {
                ebb_kernels::heap::trim();
            }
            println!(
                "{}",
                json!({
                    "after": process::anonymous(), "ledger": bench.engine.residency().ledger().total(),
                    "most": ran.most, "predicted": ran.predicted, "seconds": ran.seconds,
                    "loading": ran.loading, "faults": process::faults().0 - before.0,
                })
            );
        }
        std::thread::sleep(std::time::Duration::from_secs(2));
        println!(
            "{}",
            json!({"idle_after_2s": process::anonymous(), "most_resident": process::most_resident()})
        );
        Ok(())
    }
}
