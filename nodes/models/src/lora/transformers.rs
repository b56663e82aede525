//! Modules of Flux, SD 3 and Z-Image as the diffusers library calls them: it keeps queries, keys and values apart that
//! the single files have in one tensor, and so do most LoRAs that were trained with it.

use super::keys::Target;
use crate::source::Source;

/// A module in a block: its name there, the tensor here, which rows of it.
type Row = (&'static str, &'static str, Rows);

/// Which rows of a tensor a module is, in parts as high as its block is wide.
#[derive(Clone, Copy)]
enum Rows {
    /// All.
    All,
    /// One part, by its number.
    Part(usize),
    /// All from a part on.
    From(usize),
}

use Rows::{All, From, Part};

/// A list of blocks: the name there, the name here, a tensor that each block has here, what is in them.
struct Blocks {
    there: &'static str,
    here: &'static str,
    /// A tensor as many columns wide as the block.
    has: &'static str,
    rows: &'static [Row],
}

const ALL: [Blocks; 6] = [
    Blocks {
        there: "transformer_blocks",
        here: "double_blocks",
        has: "img_attn.qkv.weight",
        rows: &[
            ("attn.to_q", "img_attn.qkv", Part(0)),
            ("attn.to_k", "img_attn.qkv", Part(1)),
            ("attn.to_v", "img_attn.qkv", Part(2)),
            ("attn.add_q_proj", "txt_attn.qkv", Part(0)),
            ("attn.add_k_proj", "txt_attn.qkv", Part(1)),
            ("attn.add_v_proj", "txt_attn.qkv", Part(2)),
            ("attn.to_out.0", "img_attn.proj", All),
            ("attn.to_add_out", "txt_attn.proj", All),
            ("norm1.linear", "img_mod.lin", All),
            ("norm1_context.linear", "txt_mod.lin", All),
            ("ff.net.0.proj", "img_mlp.0", All),
            ("ff.net.2", "img_mlp.2", All),
            ("ff_context.net.0.proj", "txt_mlp.0", All),
            ("ff_context.net.2", "txt_mlp.2", All),
        ],
    },
    Blocks {
        there: "single_transformer_blocks",
        here: "single_blocks",
        has: "linear1.weight",
        rows: &[
            ("attn.to_q", "linear1", Part(0)),
            ("attn.to_k", "linear1", Part(1)),
            ("attn.to_v", "linear1", Part(2)),
            ("proj_mlp", "linear1", From(3)),
            ("proj_out", "linear2", All),
            ("norm.linear", "modulation.lin", All),
        ],
    },
    Blocks {
        there: "transformer_blocks",
        here: "joint_blocks",
        has: "x_block.attn.qkv.weight",
        rows: &[
            ("attn.to_q", "x_block.attn.qkv", Part(0)),
            ("attn.to_k", "x_block.attn.qkv", Part(1)),
            ("attn.to_v", "x_block.attn.qkv", Part(2)),
            ("attn.add_q_proj", "context_block.attn.qkv", Part(0)),
            ("attn.add_k_proj", "context_block.attn.qkv", Part(1)),
            ("attn.add_v_proj", "context_block.attn.qkv", Part(2)),
            ("attn2.to_q", "x_block.attn2.qkv", Part(0)),
            ("attn2.to_k", "x_block.attn2.qkv", Part(1)),
            ("attn2.to_v", "x_block.attn2.qkv", Part(2)),
            ("attn.to_out.0", "x_block.attn.proj", All),
            ("attn.to_add_out", "context_block.attn.proj", All),
            ("attn2.to_out.0", "x_block.attn2.proj", All),
            ("norm1.linear", "x_block.adaLN_modulation.1", All),
            ("norm1_context.linear", "context_block.adaLN_modulation.1", All),
            ("ff.net.0.proj", "x_block.mlp.fc1", All),
            ("ff.net.2", "x_block.mlp.fc2", All),
            ("ff_context.net.0.proj", "context_block.mlp.fc1", All),
            ("ff_context.net.2", "context_block.mlp.fc2", All),
        ],
    },
    z_image("layers"),
    z_image("noise_refiner"),
    z_image("context_refiner"),
];

/// Z-Image's blocks differ in their attention only.
const fn z_image(name: &'static str) -> Blocks {
    Blocks {
        there: name,
        here: name,
        has: "attention.qkv.weight",
        rows: &[
            ("attention.to_q", "attention.qkv", Part(0)),
            ("attention.to_k", "attention.qkv", Part(1)),
            ("attention.to_v", "attention.qkv", Part(2)),
            ("attention.to_out.0", "attention.out", All),
        ],
    }
}

/// Modules outside of the blocks.
const OUTSIDE: [(&str, &str); 18] = [
    ("x_embedder", "img_in"),
    ("context_embedder", "txt_in"),
    ("time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"),
    ("time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"),
    ("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
    ("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
    ("time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
    ("time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
    ("context_embedder", "context_embedder"),
    ("pos_embed.proj", "x_embedder.proj"),
    ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
    ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
    ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
    ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
    ("proj_out", "final_layer.linear"),
    ("all_x_embedder.2-1", "x_embedder"),
    ("all_final_layer.2-1.linear", "final_layer.linear"),
    ("all_final_layer.2-1.adaLN_modulation.1", "final_layer.adaLN_modulation.1"),
];

/// `(module there, its tensor here)` of a transformer; nothing of another network. The last modulation of Flux and
/// SD 3, whose halves stand the other way round there, is not among them.
pub(super) fn modules(base: &dyn Source) -> Vec<(String, Target)> {
    let shape = |name: &str| base.info(name).map(|info| info.shape);
    let mut found = Vec::new();
    for Blocks { there, here, has, rows } in &ALL {
        for i in 0.. {
            let Some(width) = shape(&format!("{here}.{i}.{has}")).and_then(|shape| shape.get(1).copied())
            else {
                break;
            };
            for (theirs, ours, which) in *rows {
                let tensor = format!("{here}.{i}.{ours}.weight");
                let Some(high) = shape(&tensor).and_then(|shape| shape.first().copied()) else { continue };
                let rows = match which {
                    All => None,
                    Part(part) => Some((part * width, width)),
                    From(part) => Some((part * width, high.saturating_sub(part * width))),
                };
                found.push((format!("{there}.{i}.{theirs}"), Target { tensor, rows }));
            }
        }
    }
    if found.is_empty() {
        return found;
    }
    for (theirs, ours) in OUTSIDE {
        let tensor = format!("{ours}.weight");
        if shape(&tensor).is_some() {
            found.push((theirs.to_owned(), Target { tensor, rows: None }));
        }
    }
    found
}
