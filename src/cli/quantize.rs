//! `ebb quantize`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use ebb_engine::plan::show_bytes;
use ebb_models::quantize::{TYPES, quantize};
use ebb_weights::{DType, ModelFile};
use indicatif::{ProgressBar, ProgressStyle};

use super::failure::{Done, Failure};

/// Arguments of `ebb quantize`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model file: safetensors, GGUF or PyTorch
    model: PathBuf,
    /// The GGUF file to write
    out: PathBuf,
    /// What matrices are stored as; convolutions become f16, and what is small stays f32
    #[arg(
        long = "type",
        value_name = "q8_0|q6_k|q5_k|q5_1|q5_0|q4_k|q4_1|q4_0|q3_k|q2_k",
        default_value = "q8_0"
    )]
    kind: Kind,
    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
}

/// A type to quantise to.
#[derive(Clone, Copy)]
struct Kind(DType);

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = TYPES.into_iter().find(|dtype| dtype.name().eq_ignore_ascii_case(text));
        found.map(Self).ok_or_else(|| format!("`{text}` is no type that weights are quantised to"))
    }
}

pub(super) fn run(arguments: &Arguments) -> Done {
    let Arguments { model, out, kind, force } = arguments;
    if out.exists() && !force {
        return Err(Failure::other(format!("{} is there already; --force overwrites it", out.display())));
    }
    let file = ModelFile::open(model).map_err(Failure::model)?;
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} tensors, {eta} left");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let written = quantize(&file, out, kind.0, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let written = written.map_err(Failure::model)?;
    println!(
        "{}: {} of {} tensors as {}, {}",
        out.display(),
        written.quantised,
        written.tensors,
        kind.0.name().to_lowercase(),
        show_bytes(written.bytes)
    );
    Ok(())
}
