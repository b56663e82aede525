//! What a component takes while it is read: its own bytes, and how much beside them.

use std::sync::{Arc, Mutex, PoisonError};

use ebb_engine::events::{Event, EventKind, EventSink};
use ebb_weights::{ModelFile, WeightSource};
use serde_json::json;

use crate::bench::{Bench, Keep, Setup, text_to_image};
use crate::process::{self, Watch};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The checkpoints, below checkpoints/
    #[arg(required = true)]
    checkpoints: Vec<String>,
}

/// A load under way: what was held before it, and who watches.
type UnderWay = Option<(u64, Watch)>;

#[derive(Default)]
struct Loads(Mutex<(UnderWay, Vec<serde_json::Value>)>);

impl EventSink for Loads {
    fn emit(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            EventKind::Loading { done: 0, .. } if state.0.is_none() => {
                state.0 = Some((process::anonymous(), Watch::start()));
            }
            EventKind::Loaded { label, bytes, seconds, .. } => {
                let Some((before, watch)) = state.0.take() else { return };
                let grown = watch.most().saturating_sub(before);
                state.1.push(json!({
                    "component": &*label, "bytes": bytes, "grown": grown,
                    "beside": grown.saturating_sub(bytes), "seconds": seconds,
                }));
            }
            _ => {}
        }
    }
}

impl Arguments {
    pub(crate) fn run(&self, setup: &Setup) -> anyhow::Result<()> {
        for checkpoint in &self.checkpoints {
            // Components one after the other: nothing is read while something else computes.
            let bench = Bench::new(setup, Keep::Nothing, None)?;
            let loads = Arc::new(Loads::default());
            bench.run_told(text_to_image(checkpoint, 64, 1, 0), loads.clone())?;
            let file = ModelFile::open(setup.models.join("checkpoints").join(checkpoint))?;
            let largest = WeightSource::of_file(&file).largest();
            println!("{}", json!({"checkpoint": checkpoint, "largest_tensor_in_the_file": largest}));
            let state = loads.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.1.iter().for_each(|load| println!("{load}"));
        }
        Ok(())
    }
}
