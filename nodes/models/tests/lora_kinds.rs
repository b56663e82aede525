//! Every kind of change that a LoRA file may hold, on small weights, against PyTorch's einsums of the papers'
//! formulas in f64 (`data/lora_kinds.json`: shapes, strength, expected weights).

use std::collections::BTreeMap;
use std::sync::Arc;

use ebb_models::lora::{Keys, Patched, Patches, Spelling};
use ebb_models::source::{Info, Source, Stored, Values};
use ebb_models::{Error, Result};

/// Tensors whose values follow from their names: ((7i + 13k) mod 23 − 11) / 16, k the sum of the name's bytes.
struct Made(BTreeMap<String, (String, Vec<usize>)>);

impl Source for Made {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.0.get(name).map(|(_, shape)| Info { shape: shape.clone(), stored: Stored::F32 })
    }

    fn read(&self, name: &str) -> Result<Values> {
        let missing = || Error::MissingTensor { what: "test", name: name.to_owned() };
        let (seed, shape) = self.0.get(name).ok_or_else(missing)?;
        let k: usize = seed.bytes().map(usize::from).sum();
        let value = |i: usize| (((i * 7 + k * 13) % 23) as f32 - 11.0) / 16.0;
        Ok(Values::F32((0..shape.iter().product()).map(value).collect()))
    }
}

fn shape(json: &serde_json::Value) -> Vec<usize> {
    json.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

#[test]
fn each_kind_of_change_is_the_papers() {
    let cases: serde_json::Value = serde_json::from_str(include_str!("data/lora_kinds.json")).unwrap();
    for (label, case) in cases.as_object().unwrap() {
        let base = Made([("layer.weight".to_owned(), ("w".to_owned(), shape(&case["shape"])))].into());
        let files = case["files"].as_object().unwrap().iter();
        let file =
            Made(files.map(|(name, dims)| (format!("layer.{name}"), (name.clone(), shape(dims)))).collect());
        let patches = Patches::read(Arc::new(file), &Keys::new(&base, Spelling::Denoiser), 1);
        assert_eq!((patches.len(), patches.ignored()), (1, &[][..]), "{label}");
        let strength = case["strength"].as_f64().unwrap() as f32;
        let patched = Patched::new(base, [(Arc::new(patches), strength)]);
        let found = patched.read("layer.weight").unwrap().into_f32();
        let expected = case["expected"].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{label}");
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let expected = expected.as_f64().unwrap() as f32;
            assert!((found - expected).abs() < 2e-5, "{label}[{i}]: {found}, expected {expected}");
        }
    }
}

#[test]
fn biases_are_changed_beside_their_weights() {
    let tensor = |name: &str, dims: &[usize]| (name.to_owned(), (name.to_owned(), dims.to_vec()));
    let base = Made([tensor("layer.weight", &[2, 2]), tensor("layer.bias", &[2])].into());
    let file = Made([tensor("layer.diff", &[2, 2]), tensor("layer.diff_b", &[2])].into());
    let read = |source: &dyn Source, name: &str| source.read(name).unwrap().into_f32();
    let expected: Vec<f32> = read(&base, "layer.bias")
        .iter()
        .zip(read(&file, "layer.diff_b"))
        .map(|(b, d)| b + 0.25 * d)
        .collect();
    let patches = Patches::read(Arc::new(file), &Keys::new(&base, Spelling::Denoiser), 1);
    assert_eq!((patches.len(), patches.ignored()), (2, &[][..]));
    let patched = Patched::new(base, [(Arc::new(patches), 0.25)]);
    assert_eq!(read(&patched, "layer.bias"), expected);
    assert_ne!(patched.revision("layer.bias"), 0);
}

/// What is changed of which rows, for a module in the spelling of the diffusers library.
#[test]
fn modules_that_single_files_hold_in_one_tensor_are_its_rows() {
    const W: usize = 2;
    // Module, the tensor, its shape, the first row, how many.
    let cases: [(&str, &str, [usize; 2], usize, usize); 12] = [
        ("transformer.transformer_blocks.0.attn.to_k", "double_blocks.0.img_attn.qkv", [3 * W, W], W, W),
        (
            "transformer.transformer_blocks.0.attn.add_v_proj",
            "double_blocks.0.txt_attn.qkv",
            [3 * W, W],
            2 * W,
            W,
        ),
        ("transformer.single_transformer_blocks.0.attn.to_q", "single_blocks.0.linear1", [7 * W, W], 0, W),
        (
            "transformer.single_transformer_blocks.0.proj_mlp",
            "single_blocks.0.linear1",
            [7 * W, W],
            3 * W,
            4 * W,
        ),
        (
            "lora_transformer_single_transformer_blocks_0_proj_out",
            "single_blocks.0.linear2",
            [W, 5 * W],
            0,
            W,
        ),
        ("lycoris_transformer_blocks_0_ff_net_0_proj", "double_blocks.0.img_mlp.0", [4 * W, W], 0, 4 * W),
        (
            "base_model.model.transformer_blocks.0.attn.to_v",
            "joint_blocks.0.x_block.attn.qkv",
            [3 * W, W],
            2 * W,
            W,
        ),
        ("transformer.transformer_blocks.0.attn2.to_q", "joint_blocks.0.x_block.attn2.qkv", [3 * W, W], 0, W),
        (
            "transformer.transformer_blocks.0.attn.to_add_out",
            "joint_blocks.0.context_block.attn.proj",
            [W, W],
            0,
            W,
        ),
        ("diffusion_model.layers.0.attention.to_k", "layers.0.attention.qkv", [3 * W, W], W, W),
        ("lora_unet_noise_refiner_0_attention_to_out_0", "noise_refiner.0.attention.out", [W, W], 0, W),
        ("transformer.layers.0.feed_forward.w1", "layers.0.feed_forward.w1", [3 * W, W], 0, 3 * W),
    ];
    let marks = [
        "double_blocks.0.img_attn.qkv",
        "single_blocks.0.linear1",
        "joint_blocks.0.x_block.attn.qkv",
        "layers.0.attention.qkv",
        "noise_refiner.0.attention.qkv",
    ];
    let tensor = |name: String, dims: [usize; 2]| (name.clone(), (name, dims.to_vec()));
    for (module, name, dims, first, rows) in cases {
        let weight = format!("{name}.weight");
        // One family's tensors: what marks its blocks, and the tensor itself.
        let family = name.split('.').next().unwrap();
        let mark = marks.iter().filter(|mark| mark.starts_with(family) && **mark != name);
        let high = |mark: &str| if mark.contains("linear1") { 7 * W } else { 3 * W };
        let mut tensors: BTreeMap<_, _> =
            mark.map(|mark| tensor(format!("{mark}.weight"), [high(mark), W])).collect();
        tensors.extend([tensor(weight.clone(), dims)]);
        let base = Made(tensors);
        let [up, down] = ["lora_B", "lora_A"].map(|part| format!("{module}.{part}.weight"));
        let file = Made([tensor(up.clone(), [rows, 1]), tensor(down.clone(), [1, dims[1]])].into());
        let (up, down) = (file.read(&up).unwrap().into_f32(), file.read(&down).unwrap().into_f32());
        let mut expected = base.read(&weight).unwrap().into_f32();
        for (row, up) in up.iter().enumerate() {
            for (column, down) in down.iter().enumerate() {
                expected[(first + row) * dims[1] + column] += 0.5 * up * down;
            }
        }
        let patches = Patches::read(Arc::new(file), &Keys::new(&base, Spelling::Denoiser), 1);
        assert_eq!((patches.len(), patches.ignored()), (1, &[][..]), "{module}");
        let patched = Patched::new(base, [(Arc::new(patches), 0.5)]);
        let found = patched.read(&weight).unwrap().into_f32();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{module}: {found}, expected {expected}");
        }
    }
}
