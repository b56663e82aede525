//! Every spelling that LoRA files have for a component's modules.

use std::collections::HashMap;

use super::transformers;
use crate::source::Source;

/// Which component is patched, and so which spellings its modules have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// A denoiser.
    Denoiser,
    /// SD 1's or SD 2's only text encoder, SDXL's first or second, by number: 0 is the only one.
    TextEncoder(u8),
}

/// The tensor that a module's spelling stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) tensor: String,
    /// First row and how many, where the base holds several modules in one tensor.
    pub(super) rows: Option<(usize, usize)>,
}

impl Target {
    /// The bias beside the weight.
    pub(super) fn bias(&self) -> String {
        match self.tensor.strip_suffix("weight") {
            Some(module) => format!("{module}bias"),
            None => format!("{}.bias", self.tensor),
        }
    }
}

/// The modules of a component by all of their spellings.
pub struct Keys {
    targets: HashMap<String, Target>,
}

impl Keys {
    /// The spellings of the modules of `base`, whose tensors are named as models read them (without a prefix).
    pub fn new(base: &dyn Source, spelling: Spelling) -> Self {
        let mut keys = Self { targets: HashMap::new() };
        let names = base.names();
        let modules = || names.iter().filter_map(|n| Some((n.strip_suffix(".weight")?, n.as_str())));
        match spelling {
            Spelling::Denoiser => {
                for (module, tensor) in modules() {
                    keys.denoiser(module, tensor, None);
                }
                for (module, other) in unet_diffusers(&names) {
                    keys.denoiser(&other, &format!("{module}.weight"), None);
                }
                for (module, target) in transformers::modules(base) {
                    keys.denoiser(&module, &target.tensor, target.rows);
                }
            }
            Spelling::TextEncoder(number) => {
                for (module, tensor) in modules().filter(|(m, _)| m.starts_with("text_model.")) {
                    keys.text(module, tensor, None, number);
                }
                for (module, target) in open_clip(base, &names) {
                    keys.text(&module, &target.tensor, target.rows, number);
                }
            }
        }
        keys
    }

    pub(super) fn find(&self, module: &str) -> Option<&Target> {
        self.targets.get(module)
    }

    fn insert(&mut self, key: String, tensor: &str, rows: Option<(usize, usize)>) {
        self.targets.entry(key).or_insert_with(|| Target { tensor: tensor.to_owned(), rows });
    }

    fn denoiser(&mut self, module: &str, tensor: &str, rows: Option<(usize, usize)>) {
        let joined = module.replace('.', "_");
        for prefix in ["lora_unet_", "lora_transformer_", "lycoris_"] {
            self.insert(format!("{prefix}{joined}"), tensor, rows);
        }
        for prefix in
            ["diffusion_model.", "unet.", "transformer.", "base_model.model.", "model.diffusion_model.", ""]
        {
            self.insert(format!("{prefix}{module}"), tensor, rows);
        }
        // The first LoRAs of the diffusers library hung them on the attention's processor.
        for part in ["to_q", "to_k", "to_v", "to_out.0"] {
            if let Some(attention) = module.strip_suffix(&format!(".{part}")) {
                let part = part.trim_end_matches(".0");
                self.insert(format!("unet.{attention}.processor.{part}"), tensor, rows);
            }
        }
    }

    fn text(&mut self, module: &str, tensor: &str, rows: Option<(usize, usize)>, number: u8) {
        let joined = module.replace('.', "_");
        let (short, long): (&[&str], &[&str]) = match number {
            0 => (&["lora_te_", "lora_te1_"], &["text_encoder.", "clip_l.transformer."]),
            1 => (&["lora_te1_", "lora_te_"], &["text_encoder.", "clip_l.transformer."]),
            _ => (&["lora_te2_"], &["text_encoder_2.", "clip_g.transformer."]),
        };
        for prefix in short {
            self.insert(format!("{prefix}{joined}"), tensor, rows);
        }
        for prefix in long {
            self.insert(format!("{prefix}{module}"), tensor, rows);
        }
    }
}

/// `(single-file module, diffusers module)` of a UNet's blocks.
fn unet_diffusers(names: &[String]) -> Vec<(String, String)> {
    let modules: Vec<&str> = names.iter().filter_map(|n| n.strip_suffix(".weight")).collect();
    let has = |module: &str| modules.contains(&module);
    let mut blocks: Vec<(String, String)> = Vec::new();
    let (mut level, mut within) = (0, 0);
    for i in (1..).take_while(|i| modules.iter().any(|m| m.starts_with(&format!("input_blocks.{i}.")))) {
        if has(&format!("input_blocks.{i}.0.op")) {
            blocks
                .push((format!("input_blocks.{i}.0.op"), format!("down_blocks.{level}.downsamplers.0.conv")));
            (level, within) = (level + 1, 0);
        } else {
            blocks.push((format!("input_blocks.{i}.0"), format!("down_blocks.{level}.resnets.{within}")));
            blocks.push((format!("input_blocks.{i}.1"), format!("down_blocks.{level}.attentions.{within}")));
            within += 1;
        }
    }
    (level, within) = (0, 0);
    for i in (0..).take_while(|i| modules.iter().any(|m| m.starts_with(&format!("output_blocks.{i}.")))) {
        blocks.push((format!("output_blocks.{i}.0"), format!("up_blocks.{level}.resnets.{within}")));
        blocks.push((format!("output_blocks.{i}.1"), format!("up_blocks.{level}.attentions.{within}")));
        within += 1;
        if let Some(j) = (1..3).find(|j| has(&format!("output_blocks.{i}.{j}.conv"))) {
            blocks.push((
                format!("output_blocks.{i}.{j}.conv"),
                format!("up_blocks.{level}.upsamplers.0.conv"),
            ));
            (level, within) = (level + 1, 0);
        }
    }
    for (ours, theirs) in [
        ("middle_block.0", "mid_block.resnets.0"),
        ("middle_block.1", "mid_block.attentions.0"),
        ("middle_block.2", "mid_block.resnets.1"),
        ("input_blocks.0.0", "conv_in"),
        ("time_embed.0", "time_embedding.linear_1"),
        ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "add_embedding.linear_1"),
        ("label_emb.0.2", "add_embedding.linear_2"),
        ("out.0", "conv_norm_out"),
        ("out.2", "conv_out"),
    ] {
        blocks.push((ours.into(), theirs.into()));
    }
    let mut pairs = Vec::new();
    for module in modules {
        for (ours, theirs) in &blocks {
            match module.strip_prefix(ours.as_str()) {
                Some("") => pairs.push((module.to_owned(), theirs.clone())),
                Some(rest) if rest.starts_with('.') => {
                    pairs.push((module.to_owned(), format!("{theirs}.{}", inside(&rest[1..]))));
                }
                _ => {}
            }
        }
    }
    pairs
}

/// Names inside a residual block differ, those inside a transformer don't.
fn inside(rest: &str) -> &str {
    match rest {
        "in_layers.0" => "norm1",
        "in_layers.2" => "conv1",
        "emb_layers.1" => "time_emb_proj",
        "out_layers.0" => "norm2",
        "out_layers.3" => "conv2",
        "skip_connection" => "conv_shortcut",
        other => other,
    }
}

/// Modules of an encoder in OpenCLIP's naming, spelled as the transformers library does.
fn open_clip(base: &dyn Source, names: &[String]) -> Vec<(String, Target)> {
    let mut found = Vec::new();
    for name in names {
        let Some((layer, part)) = name.strip_prefix("transformer.resblocks.").and_then(|r| r.split_once('.'))
        else {
            continue;
        };
        let module = |rest: &str| format!("text_model.encoder.layers.{layer}.{rest}");
        let whole = |rest: &str| (module(rest), Target { tensor: name.clone(), rows: None });
        match part {
            "mlp.c_fc.weight" => found.push(whole("mlp.fc1")),
            "mlp.c_proj.weight" => found.push(whole("mlp.fc2")),
            "attn.out_proj.weight" => found.push(whole("self_attn.out_proj")),
            "attn.in_proj_weight" => {
                let rows = base.info(name).and_then(|i| i.shape.first().copied()).unwrap_or(0) / 3;
                for (i, projection) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
                    let target = Target { tensor: name.clone(), rows: Some((i * rows, rows)) };
                    found.push((module(&format!("self_attn.{projection}")), target));
                }
            }
            _ => {}
        }
    }
    found
}
