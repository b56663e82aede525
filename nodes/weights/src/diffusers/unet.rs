//! UNets: diffusers counts blocks by resolution, single files count them in one list.

use super::count;
use crate::WeightSource;

/// A residual block's layers.
const RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// What stands outside of the blocks.
const ROOT: [(&str, &str); 9] = [
    ("conv_in.", "input_blocks.0.0."),
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("class_embedding.linear_1.", "label_emb.0.0."),
    ("class_embedding.linear_2.", "label_emb.0.2."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
];

/// Each block's prefix there and here.
fn blocks(source: &WeightSource) -> Vec<(String, String)> {
    let has = |prefix: &str| source.names().any(|name| name.starts_with(prefix));
    let mut pairs: Vec<(String, String)> =
        ROOT.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let mut at = 1;
    for block in 0..count(source, "down_blocks.") {
        let from = format!("down_blocks.{block}");
        for layer in 0..count(source, &format!("{from}.resnets.")) {
            pairs.push((format!("{from}.resnets.{layer}."), format!("input_blocks.{at}.0.")));
            pairs.push((format!("{from}.attentions.{layer}."), format!("input_blocks.{at}.1.")));
            at += 1;
        }
        let down = format!("{from}.downsamplers.0.conv.");
        if has(&down) {
            pairs.push((down, format!("input_blocks.{at}.0.op.")));
            at += 1;
        }
    }
    for (from, to) in [("resnets.0", 0), ("attentions.0", 1), ("resnets.1", 2)] {
        pairs.push((format!("mid_block.{from}."), format!("middle_block.{to}.")));
    }
    let mut at = 0;
    for block in 0..count(source, "up_blocks.") {
        let from = format!("up_blocks.{block}");
        for layer in 0..count(source, &format!("{from}.resnets.")) {
            pairs.push((format!("{from}.resnets.{layer}."), format!("output_blocks.{at}.0.")));
            pairs.push((format!("{from}.attentions.{layer}."), format!("output_blocks.{at}.1.")));
            at += 1;
        }
        // The step up belongs to the last entry of its resolution, after its attention.
        let place = if has(&format!("{from}.attentions.")) { 2 } else { 1 };
        let last = at.max(1) - 1;
        pairs.push((format!("{from}.upsamplers.0.conv."), format!("output_blocks.{last}.{place}.conv.")));
    }
    pairs
}

/// A UNet's tensors under the names of single files.
pub(super) fn unet(source: &WeightSource) -> WeightSource {
    let blocks = blocks(source);
    source.renamed(|name| {
        let (from, to) = blocks.iter().find(|(from, _)| name.starts_with(from.as_str()))?;
        let rest = &name[from.len()..];
        let inside = RESNET.iter().find_map(|(there, here)| {
            let last = rest.strip_prefix(there)?.strip_prefix('.')?;
            from.contains("resnets.").then(|| format!("{here}.{last}"))
        });
        Some(format!("{to}{}", inside.as_deref().unwrap_or(rest)))
    })
}
