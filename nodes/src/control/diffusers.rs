//! Control networks as the diffusers library names their tensors.

use std::collections::HashMap;

use ebb_weights::WeightSource;

/// The tensors under the names of the single-file layout; `None` where they are no control network of that library.
pub(super) fn single_file_names(source: &WeightSource) -> Option<WeightSource> {
    if !source.contains("controlnet_cond_embedding.conv_in.weight") {
        return None;
    }
    let modules = modules(|module| source.contains(&format!("{module}.weight")));
    Some(source.renamed(|name| rename(&modules, name)))
}

/// The longest known module that a name begins with is replaced; names inside residual blocks differ too.
fn rename(modules: &HashMap<String, String>, name: &str) -> Option<String> {
    // What tells kinds of hints apart has one name everywhere.
    let shared = ["task_embedding", "transformer_layes.", "spatial_ch_projs.", "control_add_embedding."];
    if shared.iter().any(|beginning| name.starts_with(beginning)) {
        return Some(name.to_owned());
    }
    let cut = name.char_indices().rev().filter(|(_, c)| *c == '.').map(|(i, _)| i);
    let (single, rest) = cut.filter_map(|i| Some((modules.get(&name[..i])?, &name[i + 1..]))).next()?;
    let (inside, end) = rest.rsplit_once('.').unwrap_or(("", rest));
    if inside.is_empty() {
        return Some(format!("{single}.{end}"));
    }
    let inside = match inside {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        other => other,
    };
    Some(format!("{single}.{inside}.{end}"))
}

/// `(module there, module in a single file)`. Blocks are counted by what there is.
fn modules(has: impl Fn(&str) -> bool) -> HashMap<String, String> {
    let mut modules: HashMap<String, String> = [
        ("conv_in", "input_blocks.0.0"),
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("mid_block.resnets.0", "middle_block.0"),
        ("mid_block.attentions.0", "middle_block.1"),
        ("mid_block.resnets.1", "middle_block.2"),
        ("controlnet_mid_block", "middle_block_out.0"),
        ("controlnet_cond_embedding.conv_in", "input_hint_block.0"),
    ]
    .map(|(there, here)| (there.to_owned(), here.to_owned()))
    .into();
    let mut add = |there: String, here: String| modules.insert(there, here);
    let count = |name: &dyn Fn(usize) -> String| (0..).take_while(|i| has(&name(*i))).count();
    let hints = count(&|i| format!("controlnet_cond_embedding.blocks.{i}"));
    for i in 0..hints {
        add(format!("controlnet_cond_embedding.blocks.{i}"), format!("input_hint_block.{}", 2 * (i + 1)));
    }
    add("controlnet_cond_embedding.conv_out".into(), format!("input_hint_block.{}", 2 * (hints + 1)));
    for i in 0..count(&|i| format!("controlnet_down_blocks.{i}")) {
        add(format!("controlnet_down_blocks.{i}"), format!("zero_convs.{i}.0"));
    }
    let mut block = 1;
    for level in 0..count(&|i| format!("down_blocks.{i}.resnets.0.conv1")) {
        for i in 0..count(&|i| format!("down_blocks.{level}.resnets.{i}.conv1")) {
            add(format!("down_blocks.{level}.resnets.{i}"), format!("input_blocks.{block}.0"));
            add(format!("down_blocks.{level}.attentions.{i}"), format!("input_blocks.{block}.1"));
            block += 1;
        }
        let down = format!("down_blocks.{level}.downsamplers.0.conv");
        if has(&down) {
            add(down, format!("input_blocks.{block}.0.op"));
            block += 1;
        }
    }
    modules
}
