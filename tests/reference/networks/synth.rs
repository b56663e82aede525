//! Procedural weights: every tensor is a function of its name and shape, the same in every language.
//!
//! The rule: seed = FNV-1a of the name; splitmix64 outputs from there; the upper 24 bits as v in [−1, 1);
//! value = offset + scale · v in f32, with offset and scale by the kind of name.

use std::collections::BTreeMap;

use ebb_models::{
    Error, Result,
    source::{Info, Source, Stored, Values},
};
use half::{bf16, f16};

/// A checkpoint made of names and shapes.
pub(crate) struct Synth {
    tensors: BTreeMap<String, Vec<usize>>,
    stored: Stored,
}

impl Synth {
    /// A checkpoint with these tensors, rounded to `stored`.
    pub(crate) fn new(tensors: impl IntoIterator<Item = (String, Vec<usize>)>, stored: Stored) -> Self {
        Self { tensors: tensors.into_iter().collect(), stored }
    }
}

impl Source for Synth {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.tensors.get(name).map(|shape| Info { shape: shape.clone(), stored: self.stored })
    }

    fn read(&self, name: &str) -> Result<Values> {
        let shape = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::MissingTensor { what: "synth", name: name.to_owned() })?;
        let values = tensor(name, shape);
        Ok(match self.stored {
            Stored::F32 => Values::F32(values),
            Stored::F16 => Values::F16(values.into_iter().map(f16::from_f32).collect()),
            Stored::Bf16 => Values::Bf16(values.into_iter().map(bf16::from_f32).collect()),
        })
    }
}

/// Values of the tensor `name`, row-major.
pub(crate) fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let seed =
        name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    let (offset, scale) = offset_scale(name, shape);
    (0..shape.iter().product::<usize>() as u64)
        .map(|i| {
            let mut z = seed.wrapping_add((i + 1).wrapping_mul(GOLDEN));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            let u = (z >> 40) as f32 * (1.0 / (1 << 24) as f32);
            offset + scale * (2.0 * u - 1.0)
        })
        .collect()
}

fn offset_scale(name: &str, shape: &[usize]) -> (f32, f32) {
    let embeddings =
        ["token_embedding", "position_embedding", "positional_embedding", "shared.weight", "pos_embed"];
    let matrix = [".weight", "_weight", "_proj", "_projection"];
    if embeddings.iter().any(|n| name.contains(n)) {
        (0.0, 0.05)
    } else if name.contains("relative_attention_bias") {
        (0.0, 0.5)
    } else if shape.len() >= 2 && matrix.iter().any(|end| name.ends_with(end)) {
        let fan_in: usize = shape[1..].iter().product();
        (0.0, (3.0 / fan_in as f64).sqrt() as f32)
    } else if shape.len() == 1 && (name.ends_with(".weight") || name.ends_with(".scale")) {
        (1.0, 0.1)
    } else {
        (0.0, 0.02)
    }
}
