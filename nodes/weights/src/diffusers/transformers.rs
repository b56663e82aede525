//! Flux and Stable Diffusion 3: diffusers keeps queries, keys and values apart, and says scale before shift in the
//! last modulation.

use super::{Translation, count};
use crate::{Result, WeightSource};

fn three(block: &str, names: [&str; 3]) -> Vec<String> {
    names.iter().map(|name| format!("{block}.{name}")).collect()
}

const OWN: [&str; 3] = ["attn.to_q", "attn.to_k", "attn.to_v"];
const ADDED: [&str; 3] = ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"];

/// Flux's tensors under the names of its first release.
pub(super) fn flux(source: &WeightSource) -> Result<WeightSource> {
    let mut t = Translation::new(source);
    for (from, to) in [("timestep", "time"), ("text", "vector"), ("guidance", "guidance")] {
        let from = format!("time_text_embed.{from}_embedder");
        t.layer(&format!("{from}.linear_1"), &format!("{to}_in.in_layer"));
        t.layer(&format!("{from}.linear_2"), &format!("{to}_in.out_layer"));
    }
    t.layer("context_embedder", "txt_in");
    t.layer("x_embedder", "img_in");
    t.layer("proj_out", "final_layer.linear");
    t.turned("norm_out.linear", "final_layer.adaLN_modulation.1")?;
    for i in 0..count(source, "transformer_blocks.") {
        let (from, to) = (format!("transformer_blocks.{i}"), format!("double_blocks.{i}"));
        t.fused(&three(&from, OWN), &format!("{to}.img_attn.qkv"))?;
        t.fused(&three(&from, ADDED), &format!("{to}.txt_attn.qkv"))?;
        for (there, here) in [
            ("norm1.linear", "img_mod.lin"),
            ("norm1_context.linear", "txt_mod.lin"),
            ("attn.to_out.0", "img_attn.proj"),
            ("attn.to_add_out", "txt_attn.proj"),
            ("ff.net.0.proj", "img_mlp.0"),
            ("ff.net.2", "img_mlp.2"),
            ("ff_context.net.0.proj", "txt_mlp.0"),
            ("ff_context.net.2", "txt_mlp.2"),
        ] {
            t.layer(&format!("{from}.{there}"), &format!("{to}.{here}"));
        }
        for (there, here) in [
            ("norm_q", "img_attn.norm.query_norm"),
            ("norm_k", "img_attn.norm.key_norm"),
            ("norm_added_q", "txt_attn.norm.query_norm"),
            ("norm_added_k", "txt_attn.norm.key_norm"),
        ] {
            t.tensor(&format!("{from}.attn.{there}.weight"), &format!("{to}.{here}.scale"));
        }
    }
    for i in 0..count(source, "single_transformer_blocks.") {
        let (from, to) = (format!("single_transformer_blocks.{i}"), format!("single_blocks.{i}"));
        let mut first = three(&from, OWN);
        first.push(format!("{from}.proj_mlp"));
        t.fused(&first, &format!("{to}.linear1"))?;
        t.layer(&format!("{from}.proj_out"), &format!("{to}.linear2"));
        t.layer(&format!("{from}.norm.linear"), &format!("{to}.modulation.lin"));
        t.tensor(&format!("{from}.attn.norm_q.weight"), &format!("{to}.norm.query_norm.scale"));
        t.tensor(&format!("{from}.attn.norm_k.weight"), &format!("{to}.norm.key_norm.scale"));
    }
    Ok(t.finish())
}

/// Z-Image's tensors under the names of its first release: most have them already.
pub(super) fn z_image(source: &WeightSource) -> Result<WeightSource> {
    let mut t = Translation::new(source);
    for list in ["layers", "noise_refiner", "context_refiner"] {
        for i in 0..count(source, &format!("{list}.")) {
            let block = format!("{list}.{i}.attention");
            let parts = ["to_q", "to_k", "to_v"].map(|part| format!("{block}.{part}"));
            t.fused(&parts, &format!("{block}.qkv"))?;
            t.layer(&format!("{block}.to_out.0"), &format!("{block}.out"));
            t.layer(&format!("{block}.norm_q"), &format!("{block}.q_norm"));
            t.layer(&format!("{block}.norm_k"), &format!("{block}.k_norm"));
        }
    }
    let inside = [".attention.to_", ".attention.norm_q.", ".attention.norm_k."];
    let rest = source.renamed(|name| {
        let outside = [("all_x_embedder.2-1.", "x_embedder."), ("all_final_layer.2-1.", "final_layer.")];
        match outside.iter().find_map(|(there, here)| Some((name.strip_prefix(there)?, here))) {
            Some((rest, here)) => Some(format!("{here}{rest}")),
            None => (!inside.iter().any(|part| name.contains(part))).then(|| name.to_owned()),
        }
    });
    Ok(t.finish().joined(&rest))
}

/// A control network of Stable Diffusion 3.5 large under the names of that transformer's first release: its blocks have
/// them already.
pub(super) fn sd35_control(source: &WeightSource) -> WeightSource {
    let whole = [
        ("pos_embed.proj.", "x_embedder.proj."),
        ("time_text_embed.timestep_embedder.linear_1.", "t_embedder.mlp.0."),
        ("time_text_embed.timestep_embedder.linear_2.", "t_embedder.mlp.2."),
        ("time_text_embed.text_embedder.linear_1.", "y_embedder.mlp.0."),
        ("time_text_embed.text_embedder.linear_2.", "y_embedder.mlp.2."),
    ];
    source.renamed(|name| {
        let found = whole.iter().find_map(|(there, here)| Some((name.strip_prefix(there)?, here)));
        Some(found.map_or_else(|| name.to_owned(), |(rest, here)| format!("{here}{rest}")))
    })
}

/// Stable Diffusion 3's tensors under the names of its first release; of the `whole` transformer, or of its first
/// blocks.
pub(super) fn sd3(source: &WeightSource, whole: bool) -> Result<WeightSource> {
    let mut t = Translation::new(source);
    for (from, to) in [("timestep", "t"), ("text", "y")] {
        let from = format!("time_text_embed.{from}_embedder");
        t.layer(&format!("{from}.linear_1"), &format!("{to}_embedder.mlp.0"));
        t.layer(&format!("{from}.linear_2"), &format!("{to}_embedder.mlp.2"));
    }
    t.layer("context_embedder", "context_embedder");
    t.layer("pos_embed.proj", "x_embedder.proj");
    t.tensor("pos_embed.pos_embed", "pos_embed");
    t.layer("proj_out", "final_layer.linear");
    t.turned("norm_out.linear", "final_layer.adaLN_modulation.1")?;
    let blocks = count(source, "transformer_blocks.");
    for i in 0..blocks {
        let from = format!("transformer_blocks.{i}");
        let (picture, text) =
            (format!("joint_blocks.{i}.x_block"), format!("joint_blocks.{i}.context_block"));
        t.fused(&three(&from, OWN), &format!("{picture}.attn.qkv"))?;
        t.fused(&three(&from, ADDED), &format!("{text}.attn.qkv"))?;
        t.fused(&three(&from, ["attn2.to_q", "attn2.to_k", "attn2.to_v"]), &format!("{picture}.attn2.qkv"))?;
        t.layer(&format!("{from}.norm1.linear"), &format!("{picture}.adaLN_modulation.1"));
        let (there, here) = (format!("{from}.norm1_context.linear"), format!("{text}.adaLN_modulation.1"));
        // The text of the last block goes no further: a modulation of the last kind.
        if whole && i + 1 == blocks {
            t.turned(&there, &here)?;
        } else {
            t.layer(&there, &here);
        }
        for (there, side, here) in [
            ("attn.to_out.0", &picture, "attn.proj"),
            ("attn.to_add_out", &text, "attn.proj"),
            ("attn2.to_out.0", &picture, "attn2.proj"),
            ("attn.norm_q", &picture, "attn.ln_q"),
            ("attn.norm_k", &picture, "attn.ln_k"),
            ("attn.norm_added_q", &text, "attn.ln_q"),
            ("attn.norm_added_k", &text, "attn.ln_k"),
            ("attn2.norm_q", &picture, "attn2.ln_q"),
            ("attn2.norm_k", &picture, "attn2.ln_k"),
            ("ff.net.0.proj", &picture, "mlp.fc1"),
            ("ff.net.2", &picture, "mlp.fc2"),
            ("ff_context.net.0.proj", &text, "mlp.fc1"),
            ("ff_context.net.2", &text, "mlp.fc2"),
        ] {
            t.layer(&format!("{from}.{there}"), &format!("{side}.{here}"));
        }
    }
    Ok(t.finish())
}
