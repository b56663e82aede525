//! Arguments that several commands take.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ebb_engine::node::Savings;
use ebb_models::ops::Compute as Device;

use super::memory::MemoryLimit;

/// Where files are. The defaults are ComfyUI's, below the current folder.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Folders")]
pub(super) struct FolderOptions {
    /// The folder that holds models/, input/, output/ and temp/
    #[arg(long, value_name = "DIR", default_value = ".", env = "EBB_BASE")]
    pub(super) base_directory: PathBuf,
    /// The folder with checkpoints/, vae/, loras/ … [default: BASE/models]
    #[arg(long, value_name = "DIR", env = "EBB_MODELS")]
    pub(super) models: Option<PathBuf>,
    /// Further model folders, as ComfyUI reads them; may be given several times [default:
    /// BASE/extra_model_paths.yaml where there is one]
    #[arg(long, value_name = "FILE.yaml", visible_alias = "extra-model-paths-config")]
    pub(super) extra_model_paths: Vec<PathBuf>,
    /// Where pictures are loaded from [default: BASE/input]
    #[arg(long, value_name = "DIR", visible_alias = "input-directory")]
    pub(super) input: Option<PathBuf>,
    /// Where pictures are saved to [default: BASE/output]
    #[arg(long, value_name = "DIR", visible_alias = "output-directory")]
    pub(super) output: Option<PathBuf>,
    /// The folder in which temp/ is kept: pictures that are only shown. A server empties it when it starts [default:
    /// BASE]
    #[arg(long, value_name = "DIR", visible_alias = "temp-directory")]
    pub(super) temp: Option<PathBuf>,
}

/// What computes, and within which bounds.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Engine")]
pub(super) struct EngineOptions {
    /// What is kept when nothing needs it: `none`, `lru=N` (outputs and models that were used last), `last` (what the
    /// last workflow made, and models until room is needed), or `budget=BYTES` (outputs of as many bytes: `2GiB`,
    /// `10%` …) [default: `none` for a single run]
    #[arg(long, value_name = "none|lru=N|last|budget=BYTES")]
    pub(super) cache: Option<CacheChoice>,
    /// The most memory that models, pictures and scratch may take: bytes (`6GiB`), a part of the
    /// machine's (`75%`), `auto`, or `none`
    #[arg(long, value_name = "BYTES|PERCENT|auto|none", default_value = "auto")]
    pub(super) memory: MemoryLimit,
    /// How steps may be made to fit where --memory is too small for them: `none`, or some of `tiles` (the VAE, seams
    /// blended), `slices` (one sample after the other) and `stream` (weights read from the file as they are used)
    #[arg(long, value_name = "LIST|none", default_value = "tiles,slices,stream")]
    pub(super) savings: SavingsChoice,
    /// How deep nodes may expand into nodes that expand: a loop goes one deeper each time around
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(super) max_depth: u32,
    /// Nodes that a job may have with those of its expansions
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(super) max_job_nodes: usize,
    /// Where none of --savings is enough, hold weights with fewer bits than their file has (q8_0, then q4_1): another,
    /// close picture
    #[arg(long)]
    pub(super) allow_quantize: bool,
    /// Threads that compute [default: one a core]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<std::num::NonZeroUsize>,
    /// What computes: `cpu`, or a GPU with a build that has it (`cuda`, `cuda:1`, `metal`); `candle` is the GPUs' code
    /// on the CPU
    #[arg(long, value_name = "cpu|cuda[:N]|metal[:N]|candle", default_value_t)]
    pub(super) device: Device,
    /// What matrix products multiply in; sums, norms and the residual stream are f32 in any case
    #[arg(long, value_enum, default_value_t = PrecisionChoice::Auto)]
    pub(super) precision: PrecisionChoice,
}

/// Which savings a plan may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SavingsChoice(pub(super) Savings);

impl std::str::FromStr for SavingsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut savings = Savings::NONE;
        if text != "none" {
            for name in text.split(',') {
                match name.trim() {
                    "tiles" => savings.tiles = true,
                    "slices" => savings.slices = true,
                    "stream" => savings.stream = true,
                    other => return Err(format!("`{other}` is none of tiles, slices, stream")),
                }
            }
        }
        Ok(Self(savings))
    }
}

/// What matrix products multiply in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PrecisionChoice {
    /// bf16 for denoisers where the processor multiplies it, f32 for the rest: the fastest that stays within the error
    /// of PyTorch's own bf16
    Auto,
    /// The reference's numbers
    F32,
    /// bf16 in every network
    Bf16,
}

/// What stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheChoice {
    Nothing,
    Lru(usize),
    Last,
    Budget(u64),
}

impl std::str::FromStr for CacheChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "none" => Ok(Self::Nothing),
            None if text == "last" => Ok(Self::Last),
            Some(("lru", count)) => {
                count.parse().map(Self::Lru).map_err(|_| format!("`{count}` is no count: lru=4, for example"))
            }
            Some(("budget", size)) => match size.parse::<MemoryLimit>()?.bytes() {
                Some(bytes) if size != "auto" => Ok(Self::Budget(bytes)),
                _ => Err(format!("`{size}` is no size: budget=2GiB, for example")),
            },
            _ => Err("expected none, lru=N, last or budget=BYTES".into()),
        }
    }
}

/// Changes to a workflow before it is checked.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ChangeOptions {
    /// Set an input: the node by its id or title, as in `--set 6.text="a red apple"` or
    /// `--set KSampler.seed=7`; may be given several times
    #[arg(long, value_name = "NODE.INPUT=VALUE")]
    pub(super) set: Vec<String>,
    /// Seed of the choices in prompts such as `{red|green}`, in files of the editor
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(super) choices_seed: u64,
    /// Run only these output nodes (ids or titles); may be given several times
    #[arg(long, value_name = "NODE")]
    pub(super) only: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read() {
        let read = |text: &str| text.parse::<CacheChoice>();
        assert_eq!(read("none"), Ok(CacheChoice::Nothing));
        assert_eq!(read("last"), Ok(CacheChoice::Last));
        assert_eq!(read("lru=4"), Ok(CacheChoice::Lru(4)));
        assert_eq!(read("budget=2GiB"), Ok(CacheChoice::Budget(2 << 30)));
        for wrong in [
            "",
            "lru",
            "lru=",
            "lru=-1",
            "budget",
            "budget=",
            "budget=0",
            "budget=auto",
            "budget=none",
            "all",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
