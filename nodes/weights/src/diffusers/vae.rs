//! KL autoencoders.

use super::count;
use crate::{Result, WeightSource};

/// Parts of names there and here, where the place does not matter.
const PARTS: [(&str, &str); 15] = [
    ("conv_shortcut.", "nin_shortcut."),
    ("conv_norm_out.", "norm_out."),
    ("mid_block.resnets.0.", "mid.block_1."),
    ("mid_block.resnets.1.", "mid.block_2."),
    ("mid_block.attentions.0.", "mid.attn_1."),
    (".group_norm.", ".norm."),
    // The attention's names of today, then those from before diffusers 0.15.
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".to_out.0.", ".proj_out."),
    (".query.", ".q."),
    (".key.", ".k."),
    (".value.", ".v."),
    (".proj_attn.", ".proj_out."),
    ("samplers.0.conv.", "sample.conv."),
];

/// An autoencoder's tensors under the names of single files.
///
/// # Errors
/// None today; a translation that puts tensors together may fail.
pub fn vae(source: &WeightSource) -> Result<WeightSource> {
    let levels = count(source, "decoder.up_blocks.");
    Ok(source.renamed(|name| {
        let mut name = name.to_owned();
        for (from, to) in PARTS {
            name = name.replace(from, to);
        }
        if let Some(rest) = name.strip_prefix("encoder.down_blocks.") {
            return Some(format!("encoder.down.{}", rest.replace(".resnets.", ".block.")));
        }
        // Single files count the decoder's levels from the finest.
        if let Some((level, rest)) =
            name.strip_prefix("decoder.up_blocks.").and_then(|rest| rest.split_once('.'))
        {
            let level = levels.checked_sub(1 + level.parse::<usize>().ok()?)?;
            return Some(format!("decoder.up.{level}.{}", rest.replace("resnets.", "block.")));
        }
        Some(name)
    }))
}
