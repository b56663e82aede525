//! `ebb inspect`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use ebb_engine::plan::show_bytes;
use ebb_weights::detect::{self, Inspection};
use ebb_weights::{ModelFile, ModelFolders};

use super::failure::{Done, Failure};
use super::options::FolderOptions;
use super::similar;

/// Arguments of `ebb inspect`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A path, or a name as workflows use it, such as `checkpoints/sd15.safetensors` or
    /// `sd15.safetensors`
    model: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Read the whole file for its SHA-256
    #[arg(long)]
    hash: bool,
    #[command(flatten)]
    folders: FolderOptions,
}

pub(super) fn run(arguments: &Arguments) -> Done {
    let file = open(arguments)?;
    let inspection = detect::inspect(&file).map_err(Failure::model)?;
    let hash = arguments.hash.then(|| file.content_hash().map_err(Failure::model)).transpose()?;
    let mut out = std::io::stdout();
    if arguments.json {
        let mut json = serde_json::to_value(&inspection)?;
        if let Some(hash) = hash {
            json["sha256"] = hash.into();
        }
        writeln!(out, "{json:#}")?;
    } else {
        let mut text = describe(&inspection);
        if let Some(hash) = hash {
            let _ = writeln!(text, "SHA-256      {hash}");
        }
        out.write_all(text.as_bytes())?;
    }
    match inspection.components.is_empty() {
        true => Err(Failure::model("this file holds no model that ebb knows")),
        false => Ok(()),
    }
}

/// A path that exists, else a name in a model folder, with its kind before it or not.
fn open(arguments: &Arguments) -> Done<Arc<ModelFile>> {
    let path = &arguments.model;
    if path.exists() {
        return ModelFile::open(path).map_err(Failure::model);
    }
    let folders = arguments.folders.models()?;
    let name = path.to_string_lossy();
    let kinds: Vec<String> = folders.kinds().map(str::to_owned).collect();
    if let Some((kind, rest)) = name.split_once('/').filter(|(kind, _)| folders.has_kind(kind)) {
        return folders.open(kind, rest).map_err(Failure::model);
    }
    match kinds.iter().find(|kind| folders.list(kind).iter().any(|listed| *listed == name)) {
        Some(kind) => folders.open(kind, &name).map_err(Failure::model),
        None => Err(Failure::model(missing(&name, &kinds, &folders))),
    }
}

fn missing(name: &str, kinds: &[String], folders: &ModelFolders) -> String {
    let listed: Vec<String> = kinds.iter().flat_map(|kind| folders.list(kind)).collect();
    let hint = similar::hint(name, listed.iter().map(String::as_str));
    format!("there is no file {name}, and no model folder lists it{hint}")
}

fn describe(inspection: &Inspection) -> String {
    let mut out = format!("{}\n", inspection.file.display());
    let size = show_bytes(inspection.bytes);
    let _ = writeln!(out, "format       {:?}, {size}, {} tensors", inspection.format, inspection.tensors);
    let _ = writeln!(out, "fingerprint  {}", inspection.fingerprint);
    for component in &inspection.components {
        let types: Vec<String> =
            component.dtypes.iter().map(|(dtype, bytes)| format!("{dtype} {}", show_bytes(*bytes))).collect();
        let _ = writeln!(
            out,
            "{:12} {}: {} tensors, {} ({}){}",
            component.part.name(),
            component.title,
            component.tensors,
            show_bytes(component.bytes),
            types.join(", "),
            component
                .prediction
                .map(|p| format!(", predicts {}", format!("{p:?}").to_lowercase()))
                .unwrap_or_default(),
        );
        let prefix = if component.prefix.is_empty() { "the top" } else { &component.prefix };
        let _ = writeln!(out, "             under {prefix}, told by");
        for evidence in &component.evidence {
            let _ = writeln!(out, "               {}: {}", evidence.looked_at, evidence.found);
        }
    }
    if inspection.other.tensors > 0 {
        let (count, bytes) = (inspection.other.tensors, show_bytes(inspection.other.bytes));
        let _ = writeln!(
            out,
            "other        {count} tensors, {bytes}: {} …",
            inspection.other.examples.join(", ")
        );
    }
    for (key, value) in &inspection.metadata {
        let _ = writeln!(out, "metadata     {key}: {value}");
    }
    out
}
