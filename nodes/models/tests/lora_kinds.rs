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
