//! `ebb sweep`: one workflow, some inputs varied, every combination a cell.
//!
//! - `axes`: `NODE.INPUT=v1,v2,…` → an axis. `manifest`: `sweep.json`, what is done already.
//! - `listener`: events → cells that are done. `cells`: runs what is left, as one graph.
//! - `grid`: one picture of all cells, with labels.

mod axes;
mod cells;
mod grid;
mod labels;
mod listener;
mod manifest;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use ebb_engine::cache::CachePolicy;
use ebb_engine::workflow::sweep::{CellOrigins, Drawing, Sweep};
use ebb_engine::workflow::ui::Catalog;

use super::failure::{Done, Failure};
use super::options::{ChangeOptions, EngineOptions, FolderOptions};
use super::{assemble, workflow};
use manifest::Manifest;

/// Arguments of `ebb sweep`.
#[derive(clap::Args)]
#[command(after_help = "An axis is an input and its values, or a text and what takes its place:\n  \
    --axis 4.ckpt_name=a.safetensors,b.safetensors      a list; quote values that hold a comma\n  \
    --axis '4.ckpt_name=sd15/*.safetensors'             every choice that matches\n  \
    --axis KSampler.seed=1..4                           a range, both ends in\n  \
    --axis 'KSampler.cfg=4..8 step 0.5'                 a range with a step\n  \
    --axis '6.text~apple=apple,pear,\"an old, red house\"'  search and replace in one input\n  \
    --axis '~apple=apple,pear'                          search and replace in every text\n  \
    --axis 6.text=@prompts.txt                          a value for each line of a file")]
pub(super) struct Arguments {
    /// The workflow: API format, UI format, a request body, or a PNG with one inside
    workflow: PathBuf,
    /// What varies; may be given several times. The last axis runs fastest, and across the grid
    #[arg(long, value_name = "NODE.INPUT=VALUES", required = true)]
    axis: Vec<String>,
    /// Draw all cells into one picture, with labels
    #[arg(long, value_name = "FILE.png")]
    grid: Option<PathBuf>,
    /// The font of the labels; the one inside knows Latin, Greek and Cyrillic letters
    #[arg(long, value_name = "FILE.ttf", requires = "grid")]
    font: Option<PathBuf>,
    /// The folder below OUTPUT/sweeps for the pictures and `sweep.json`. A sweep that stopped goes
    /// on from there [default: after the workflow and its axes]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Say how many pictures, steps and loads it takes, and run nothing
    #[arg(long)]
    estimate: bool,
    /// Write what each step, load and eviction took to a JSON file
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    #[command(flatten)]
    changes: ChangeOptions,
    #[command(flatten)]
    folders: FolderOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

pub(super) fn run(arguments: Arguments) -> Done {
    let Arguments {
        workflow: file,
        axis,
        grid,
        font,
        name,
        estimate,
        report,
        changes,
        folders,
        engine: options,
    } = arguments;
    // Equal work is done once by the plan; what is kept beyond that would only cost memory.
    let engine = assemble::engine(&folders, &options, CachePolicy::None)?;
    ebb_nodes::prepare();
    let opened = workflow::open(&file, &changes, engine.registry())?;
    let targets = workflow::targets(&changes, &opened.workflow)?;
    let axes = axis.iter().map(|axis| axes::read(axis, &opened.workflow, engine.registry()));
    let axes = axes.collect::<Result<Vec<_>, _>>().map_err(Failure::workflow)?;
    let sweep = Arc::new(Sweep::new(opened.workflow, axes).map_err(Failure::workflow)?);
    let style = grid.as_ref().map(|_| labels::Font::open(font.as_deref())).transpose()?;

    let name = name.unwrap_or_else(|| manifest::name_of(&file, &sweep));
    let output = folders.pictures().output;
    let mut manifest = Manifest::open(&output, &name, &sweep)?;
    let drawn = opened.extra_pnginfo.get("workflow");
    let drawing =
        drawn.and_then(|drawn| Drawing::new(drawn, &sweep, &Catalog::from_registry(engine.registry())));
    let origins = CellOrigins::new(sweep.clone(), drawing, opened.extra_pnginfo);
    let cells = cells::Cells {
        engine: &engine,
        sweep: &sweep,
        targets,
        origins: Arc::new(origins),
        folders: folders.pictures(),
        name,
    };
    let runtime = assemble::runtime()?;
    if estimate {
        return runtime.block_on(cells.estimate(&manifest.missing()));
    }
    let ended = runtime.block_on(cells.run(&mut manifest, report.as_deref()));
    for file in manifest.files() {
        writeln!(std::io::stdout(), "{}", output.join(file).display())?;
    }
    if let (Some(path), Some(font)) = (&grid, &style) {
        grid::draw(path, &sweep, &manifest, &output, font)?;
        writeln!(std::io::stdout(), "{}", path.display())?;
    }
    ended
}
