//! Names and shapes as a source of weights, whose values cost next to nothing.

use std::collections::BTreeMap;
use std::path::Path;

use ebb_models::source::{Info, Source, Stored, Values};
use ebb_models::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Tensors by name.
#[derive(Default)]
pub(crate) struct Weights(BTreeMap<String, Vec<usize>>);

impl Weights {
    /// The tensors below `prefix` of one of the project's own manifests of full-size files.
    pub(crate) fn of_manifest(
        family: &str,
        prefix: &str,
    ) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/models");
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join(family).join("manifest.json"))?)?;
        let mut tensors = BTreeMap::new();
        for (name, shape) in manifest["tensors"].as_object().ok_or("a manifest without tensors")? {
            if let Some(name) = name.strip_prefix(prefix) {
                tensors.insert(name.to_owned(), serde_json::from_value(shape.clone())?);
            }
        }
        Ok(Self(tensors))
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.insert(name.into(), shape.to_vec());
    }

    /// A linear layer with a bias.
    pub(crate) fn linear(&mut self, name: &str, output: usize, input: usize) {
        self.add(format!("{name}.weight"), &[output, input]);
        self.add(format!("{name}.bias"), &[output]);
    }
}

impl Source for Weights {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.0.get(name).map(|shape| Info { shape: shape.clone(), stored: Stored::F16 })
    }

    fn read(&self, name: &str) -> Result<Values> {
        let missing = || Error::MissingTensor { what: "benchmark", name: name.to_owned() };
        let shape = self.0.get(name).ok_or_else(missing)?;
        let len = shape.iter().product();
        if shape.len() == 1 {
            let value = if name.ends_with(".bias") { 0.0 } else { 1.0 };
            return Ok(Values::F16(vec![f16::from_f32(value); len]));
        }
        let scale = (3.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
        let mut state = 0x2545_f491_4f6c_dd1du64 ^ len as u64;
        let mut values = vec![0f32; 1 << 12];
        let mut all = vec![f16::ZERO; len];
        for part in all.chunks_mut(values.len()) {
            for value in &mut values[..part.len()] {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *value = scale * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0);
            }
            part.convert_from_f32_slice(&values[..part.len()]);
        }
        Ok(Values::F16(all))
    }
}
