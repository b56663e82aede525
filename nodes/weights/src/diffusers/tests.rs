//! Whole name sets: what diffusers calls a model's tensors must become exactly what its single file holds.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::ModelFile;

/// A file of tensors with a value each, in the shape that is given.
fn file(tensors: &[(String, Vec<usize>)]) -> WeightSource {
    let (mut header, mut data) = (String::from("{"), Vec::new());
    for (i, (name, shape)) in tensors.iter().enumerate() {
        let begin = data.len();
        let values = shape.iter().product::<usize>();
        data.extend((0..values).flat_map(|v| (v as f32).to_le_bytes()));
        let comma = if i > 0 { "," } else { "" };
        let end = data.len();
        let _ = write!(
            header,
            r#"{comma}"{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
        );
    }
    header.push('}');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    WeightSource::of_file(&ModelFile::from_bytes("test.safetensors", bytes).unwrap())
}

fn names(source: &WeightSource) -> BTreeSet<String> {
    source.names().map(str::to_owned).collect()
}

/// The names under a prefix that a family's manifest lists.
fn manifest(family: &str, prefix: &str) -> BTreeSet<String> {
    let path = format!("{}/../../tests/reference/models/{family}/manifest.json", env!("CARGO_MANIFEST_DIR"));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let tensors = json["tensors"].as_object().unwrap();
    tensors.keys().filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect()
}

fn layer(names: &mut Vec<String>, name: String) {
    names.push(format!("{name}.weight"));
    names.push(format!("{name}.bias"));
}

fn resnet(names: &mut Vec<String>, at: &str, embeds: bool, skips: bool) {
    for part in ["norm1", "conv1", "norm2", "conv2"] {
        layer(names, format!("{at}.{part}"));
    }
    if embeds {
        layer(names, format!("{at}.time_emb_proj"));
    }
    if skips {
        layer(names, format!("{at}.conv_shortcut"));
    }
}

fn attention(names: &mut Vec<String>, at: &str, depth: usize) {
    for part in ["norm", "proj_in", "proj_out"] {
        layer(names, format!("{at}.{part}"));
    }
    for block in (0..depth).map(|i| format!("{at}.transformer_blocks.{i}")) {
        for part in ["norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2"] {
            layer(names, format!("{block}.{part}"));
        }
        for attention in ["attn1", "attn2"] {
            let projections = ["to_q", "to_k", "to_v"];
            names.extend(projections.map(|p| format!("{block}.{attention}.{p}.weight")));
            layer(names, format!("{block}.{attention}.to_out.0"));
        }
    }
}

/// What diffusers calls the tensors of a UNet with these numbers of transformer blocks by resolution.
fn unet_names(depths: &[usize], middle: usize, label: bool) -> Vec<String> {
    let mut names = Vec::new();
    for name in ["conv_in", "conv_norm_out", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"]
    {
        layer(&mut names, name.into());
    }
    if label {
        layer(&mut names, "add_embedding.linear_1".into());
        layer(&mut names, "add_embedding.linear_2".into());
    }
    let last = depths.len() - 1;
    for (i, &depth) in depths.iter().enumerate() {
        for j in 0..2 {
            resnet(&mut names, &format!("down_blocks.{i}.resnets.{j}"), true, i > 0 && j == 0);
            if depth > 0 {
                attention(&mut names, &format!("down_blocks.{i}.attentions.{j}"), depth);
            }
        }
        if i < last {
            layer(&mut names, format!("down_blocks.{i}.downsamplers.0.conv"));
        }
    }
    resnet(&mut names, "mid_block.resnets.0", true, false);
    attention(&mut names, "mid_block.attentions.0", middle);
    resnet(&mut names, "mid_block.resnets.1", true, false);
    for (i, &depth) in depths.iter().rev().enumerate() {
        for j in 0..3 {
            resnet(&mut names, &format!("up_blocks.{i}.resnets.{j}"), true, true);
            if depth > 0 {
                attention(&mut names, &format!("up_blocks.{i}.attentions.{j}"), depth);
            }
        }
        if i < last {
            layer(&mut names, format!("up_blocks.{i}.upsamplers.0.conv"));
        }
    }
    names
}

fn ones(names: Vec<String>) -> WeightSource {
    file(&names.into_iter().map(|name| (name, vec![1])).collect::<Vec<_>>())
}

/// What is in one set and not in the other.
fn differences(found: &BTreeSet<String>, expected: &BTreeSet<String>) -> Vec<String> {
    found.symmetric_difference(expected).take(20).cloned().collect()
}

/// Which levels of a UNet are narrower than the next: those have a skip connection there.
fn without_skips(names: BTreeSet<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| !name.contains("skip_connection")).collect()
}

#[test]
fn a_unet_of_sd1_becomes_its_single_file() {
    let found = names(&unet::unet(&ones(unet_names(&[1, 1, 1, 0], 1, false))));
    let expected = manifest("sd1", "model.diffusion_model.");
    let (found, expected) = (without_skips(found), without_skips(expected));
    assert!(found == expected, "{:?}", differences(&found, &expected));
}

#[test]
fn steps_up_stand_after_the_attention_where_there_is_one() {
    let translated = names(&unet::unet(&ones(unet_names(&[0, 2, 10], 10, true))));
    for name in [
        "output_blocks.2.2.conv.weight",
        "output_blocks.5.2.conv.weight",
        "input_blocks.3.0.op.weight",
        "input_blocks.4.0.skip_connection.weight",
        "input_blocks.8.1.transformer_blocks.9.attn2.to_out.0.bias",
        "label_emb.0.2.weight",
    ] {
        assert!(translated.contains(name), "{name}");
    }
    let sd1 = names(&unet::unet(&ones(unet_names(&[1, 1, 1, 0], 1, false))));
    assert!(sd1.contains("output_blocks.2.1.conv.weight") && sd1.contains("output_blocks.5.2.conv.weight"));
}

#[test]
fn an_autoencoder_becomes_its_single_file() {
    let mut there = Vec::new();
    for half in ["encoder", "decoder"] {
        for name in ["conv_in", "conv_norm_out", "conv_out"] {
            layer(&mut there, format!("{half}.{name}"));
        }
        resnet(&mut there, &format!("{half}.mid_block.resnets.0"), false, false);
        resnet(&mut there, &format!("{half}.mid_block.resnets.1"), false, false);
        for name in ["group_norm", "to_q", "to_k", "to_v", "to_out.0"] {
            layer(&mut there, format!("{half}.mid_block.attentions.0.{name}"));
        }
    }
    for i in 0..4 {
        (0..2)
            .for_each(|j| resnet(&mut there, &format!("encoder.down_blocks.{i}.resnets.{j}"), false, false));
        (0..3).for_each(|j| resnet(&mut there, &format!("decoder.up_blocks.{i}.resnets.{j}"), false, false));
        if i < 3 {
            layer(&mut there, format!("encoder.down_blocks.{i}.downsamplers.0.conv"));
            layer(&mut there, format!("decoder.up_blocks.{i}.upsamplers.0.conv"));
        }
    }
    layer(&mut there, "quant_conv".into());
    layer(&mut there, "post_quant_conv".into());
    let found = names(&vae(&ones(there)).unwrap());
    let without = |names: BTreeSet<String>| -> BTreeSet<String> {
        names.into_iter().filter(|name| !name.contains("nin_shortcut")).collect()
    };
    let expected = without(manifest("sd1", "first_stage_model."));
    assert!(found == expected, "{:?}", differences(&found, &expected));
}

#[test]
fn flux_becomes_its_first_release() {
    const WIDTH: usize = 2;
    let mut there: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, rows: usize| {
        there.push((format!("{name}.weight"), vec![rows, WIDTH]));
        there.push((format!("{name}.bias"), vec![rows]));
    };
    for name in ["timestep", "text", "guidance"] {
        add(format!("time_text_embed.{name}_embedder.linear_1"), WIDTH);
        add(format!("time_text_embed.{name}_embedder.linear_2"), WIDTH);
    }
    ["context_embedder", "x_embedder", "proj_out"].into_iter().for_each(|name| add(name.into(), WIDTH));
    add("norm_out.linear".into(), 2 * WIDTH);
    for block in (0..2).map(|i| format!("transformer_blocks.{i}")) {
        for name in
            ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"]
        {
            add(format!("{block}.attn.{name}"), WIDTH);
        }
        for name in ["norm1.linear", "norm1_context.linear", "ff.net.0.proj", "ff.net.2"] {
            add(format!("{block}.{name}"), WIDTH);
        }
        add(format!("{block}.ff_context.net.0.proj"), WIDTH);
        add(format!("{block}.ff_context.net.2"), WIDTH);
    }
    for block in (0..2).map(|i| format!("single_transformer_blocks.{i}")) {
        ["attn.to_q", "attn.to_k", "attn.to_v", "norm.linear", "proj_out"]
            .into_iter()
            .for_each(|name| add(format!("{block}.{name}"), WIDTH));
        add(format!("{block}.proj_mlp"), 4 * WIDTH);
    }
    for i in 0..2 {
        for norm in ["norm_q", "norm_k", "norm_added_q", "norm_added_k"] {
            there.push((format!("transformer_blocks.{i}.attn.{norm}.weight"), vec![WIDTH]));
        }
        for norm in ["norm_q", "norm_k"] {
            there.push((format!("single_transformer_blocks.{i}.attn.{norm}.weight"), vec![WIDTH]));
        }
    }
    let translated = transformers::flux(&file(&there)).unwrap();
    let (found, expected) = (names(&translated), manifest("flux-dev", ""));
    assert!(found == expected, "{:?}", differences(&found, &expected));
    assert_eq!(translated.shape("single_blocks.0.linear1.weight"), Some(&[7 * WIDTH, WIDTH][..]));
    // Shift before scale.
    let turned = translated.get("final_layer.adaLN_modulation.1.bias").unwrap().to_vec::<f32>().unwrap();
    assert_eq!(turned, [2.0, 3.0, 0.0, 1.0]);
}

#[test]
fn sd3_becomes_its_first_release() {
    const WIDTH: usize = 2;
    let expected = manifest("sd35", "model.diffusion_model.");
    let blocks = 1 + expected
        .iter()
        .filter_map(|name| name.strip_prefix("joint_blocks.")?.split('.').next()?.parse::<usize>().ok())
        .max()
        .unwrap();
    let mut there: Vec<(String, Vec<usize>)> = vec![("pos_embed.pos_embed".into(), vec![1, 4, WIDTH])];
    let mut add = |name: String, rows: usize| {
        there.push((format!("{name}.weight"), vec![rows, WIDTH]));
        there.push((format!("{name}.bias"), vec![rows]));
    };
    for name in ["timestep", "text"] {
        add(format!("time_text_embed.{name}_embedder.linear_1"), WIDTH);
        add(format!("time_text_embed.{name}_embedder.linear_2"), WIDTH);
    }
    ["context_embedder", "pos_embed.proj", "proj_out"].into_iter().for_each(|name| add(name.into(), WIDTH));
    add("norm_out.linear".into(), 2 * WIDTH);
    for i in 0..blocks {
        let (block, goes_on) = (format!("transformer_blocks.{i}"), i + 1 < blocks);
        let own = expected.contains(&format!("joint_blocks.{i}.x_block.attn2.qkv.weight"));
        for name in ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0"] {
            add(format!("{block}.attn.{name}"), WIDTH);
        }
        if own {
            ["to_q", "to_k", "to_v", "to_out.0"]
                .into_iter()
                .for_each(|name| add(format!("{block}.attn2.{name}"), WIDTH));
        }
        for name in ["norm1.linear", "norm1_context.linear", "ff.net.0.proj", "ff.net.2"] {
            add(format!("{block}.{name}"), WIDTH);
        }
        if goes_on {
            for name in ["attn.to_add_out", "ff_context.net.0.proj", "ff_context.net.2"] {
                add(format!("{block}.{name}"), WIDTH);
            }
        }
    }
    for i in 0..blocks {
        let own = expected.contains(&format!("joint_blocks.{i}.x_block.attn2.qkv.weight"));
        let norms = ["attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k"];
        let more: &[&str] = if own { &["attn2.norm_q", "attn2.norm_k"] } else { &[] };
        for norm in norms.iter().chain(more) {
            there.push((format!("transformer_blocks.{i}.{norm}.weight"), vec![WIDTH]));
        }
    }
    let found = names(&transformers::sd3(&file(&there), true).unwrap());
    assert!(found == expected, "{:?}", differences(&found, &expected));
}

#[test]
fn z_image_becomes_its_first_release() {
    const WIDTH: usize = 2;
    let path = format!("{}/../tests/data/layers.json", env!("CARGO_MANIFEST_DIR"));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let expected: BTreeSet<String> = json["z"].as_object().unwrap().keys().cloned().collect();
    let mut there = Vec::new();
    for name in &expected {
        let name = name
            .replace("x_embedder.", "all_x_embedder.2-1.")
            .replace("final_layer.", "all_final_layer.2-1.")
            .replace(".attention.q_norm.", ".attention.norm_q.")
            .replace(".attention.k_norm.", ".attention.norm_k.")
            .replace(".attention.out.", ".attention.to_out.0.");
        if name.contains(".attention.qkv.") {
            let each = ["to_q", "to_k", "to_v"].map(|part| name.replace("qkv", part));
            there.extend(each.map(|name| (name, vec![WIDTH, WIDTH])));
        } else {
            there.push((name, vec![WIDTH]));
        }
    }
    let translated = transformers::z_image(&file(&there)).unwrap();
    let found = names(&translated);
    assert!(found == expected, "{:?}", differences(&found, &expected));
    let qkv = translated.shape("layers.0.attention.qkv.weight");
    assert_eq!(qkv, Some(&[3 * WIDTH, WIDTH][..]));
}
