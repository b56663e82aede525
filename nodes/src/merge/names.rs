//! Tensors of a component under the names that checkpoints have for them.

use std::sync::Arc;

use ebb_models::clip::Kind;
use ebb_models::source::{Info, Source, Stored, Values};
use ebb_weights::DType;

/// A tensor that is to be written, and what it is made of.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) stored: Stored,
    source: Arc<dyn Source>,
    /// Tensors one after the other in their first dimension.
    parts: Vec<String>,
    transposed: bool,
}

impl Entry {
    fn new(name: String, source: &Arc<dyn Source>, from: &str, info: Info) -> Self {
        let (shape, stored) = (info.shape, info.stored);
        Self { name, shape, stored, source: source.clone(), parts: vec![from.to_owned()], transposed: false }
    }

    pub(super) fn dtype(&self) -> DType {
        match self.stored {
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::Bf16 => DType::BF16,
        }
    }

    /// Bytes that it takes while it is written.
    pub(super) fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * 4
    }

    /// Its values as the file has them.
    pub(super) fn read(&self) -> ebb_models::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            let values = self.source.read(part)?;
            let values = match (self.transposed, self.shape.as_slice()) {
                // The shape is that after turning.
                (true, [rows, columns]) => values.transposed(*columns, *rows),
                _ => values,
            };
            match values {
                Values::F32(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
                Values::F16(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
                Values::Bf16(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            }
        }
        Ok(bytes)
    }
}

/// All tensors of a source under a prefix.
pub(super) fn prefixed(source: &Arc<dyn Source>, prefix: &str) -> Vec<Entry> {
    let entry = |name: String| {
        let info = source.info(&name)?;
        Some(Entry::new(format!("{prefix}{name}"), source, &name, info))
    };
    source.names().into_iter().filter_map(entry).collect()
}

/// A text encoder under a prefix, in OpenCLIP's names where a checkpoint has these.
pub(super) fn text_encoder(source: &Arc<dyn Source>, prefix: &str, kind: Kind, open: bool) -> Vec<Entry> {
    let is_open = source.info("token_embedding.weight").is_some();
    if !open || is_open || kind == Kind::L {
        return prefixed(source, prefix);
    }
    let mut entries = Vec::new();
    for name in source.names() {
        let Some(info) = source.info(&name) else { continue };
        if name == "text_projection.weight" {
            let mut entry = Entry::new(format!("{prefix}text_projection"), source, &name, info);
            entry.shape.reverse();
            entry.transposed = true;
            entries.push(entry);
        } else if let Some((layer, end)) = projection(&name, ".self_attn.q_proj.") {
            // Queries, keys and values are one matrix there.
            let parts: Vec<String> =
                ["q", "k", "v"].iter().map(|p| name.replace(".q_proj.", &format!(".{p}_proj."))).collect();
            let name = format!("{prefix}transformer.resblocks.{layer}.attn.in_proj_{end}");
            let mut entry = Entry::new(name, source, &parts[0], info);
            entry.shape[0] *= parts.len();
            entry.parts = parts;
            entries.push(entry);
        } else if let Some(open) = open_name(&name) {
            entries.push(Entry::new(format!("{prefix}{open}"), source, &name, info));
        }
    }
    entries
}

/// A layer's number and the end of a name, where the name has `middle` between.
fn projection<'a>(name: &'a str, middle: &str) -> Option<(&'a str, &'a str)> {
    name.strip_prefix("text_model.encoder.layers.")?.split_once(middle)
}

fn open_name(name: &str) -> Option<String> {
    let outside = [
        ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        ("text_model.final_layer_norm.weight", "ln_final.weight"),
        ("text_model.final_layer_norm.bias", "ln_final.bias"),
        ("logit_scale", "logit_scale"),
    ];
    if let Some((_, open)) = outside.iter().find(|(own, _)| *own == name) {
        return Some((*open).to_owned());
    }
    let (layer, module) = name.strip_prefix("text_model.encoder.layers.")?.split_once('.')?;
    let modules = [
        ("layer_norm1.", "ln_1."),
        ("layer_norm2.", "ln_2."),
        ("mlp.fc1.", "mlp.c_fc."),
        ("mlp.fc2.", "mlp.c_proj."),
        ("self_attn.out_proj.", "attn.out_proj."),
    ];
    let (own, open) = modules.iter().find(|(own, _)| module.starts_with(own))?;
    Some(format!("transformer.resblocks.{layer}.{open}{}", &module[own.len()..]))
}
