//! A family's tensors and inputs.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_models::source::{Prefixed, Stored};

use super::synth::Synth;
use crate::support::{AnyResult, Report, tensors};

/// What networks are given; every other key of `io.safetensors` is what they give.
const INPUTS: [&str; 11] = [
    "context",
    "controlnet.hint",
    "guidance",
    "image",
    "input_ids",
    "latent",
    "timestep",
    "vae_image",
    "vae_latent",
    "x",
    "y",
];

/// The backend that runs by default.
pub(crate) const KERNELS: &str = "kernels";

/// What `manifest.json` says of a family, and the tensors of `io.safetensors`.
pub(crate) struct Kit {
    json: serde_json::Value,
    pub(crate) io: BTreeMap<String, Tensor>,
}

impl Kit {
    pub(crate) fn open(folder: &Path, family: &str) -> AnyResult<Self> {
        let folder = folder.join("models").join(family);
        let json = serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json"))?)?;
        Ok(Self { json, io: tensors(&folder.join("io.safetensors"))? })
    }

    /// The checkpoint, or the tensors under `prefix` of it.
    pub(crate) fn source(&self, prefix: &str) -> AnyResult<Prefixed<Synth>> {
        Ok(Prefixed::new(self.synth("tensors")?, prefix))
    }

    /// The procedural tensors that an entry of the manifest lists.
    pub(crate) fn synth(&self, entry: &str) -> AnyResult<Synth> {
        let listed = self.json[entry].as_object().ok_or_else(|| format!("the manifest has no {entry}"))?;
        let mut all = Vec::with_capacity(listed.len());
        for (name, shape) in listed {
            all.push((name.clone(), serde_json::from_value(shape.clone())?));
        }
        Ok(Synth::new(all, Stored::F32))
    }

    /// The prompts that were encoded.
    pub(crate) fn prompts(&self) -> Vec<String> {
        let listed = self.json["prompts"].as_array().into_iter().flatten();
        listed.filter_map(|p| p.as_str().map(str::to_owned)).collect()
    }

    /// A number of the manifest.
    pub(crate) fn number(&self, entry: &str) -> AnyResult<f64> {
        self.json[entry].as_f64().ok_or_else(|| format!("the manifest has no {entry}").into())
    }

    /// Fails for every key of `io.safetensors` that no comparison has read.
    pub(crate) fn leave_none_out(&self, report: &mut Report) {
        report.leave_none_out(self.io.keys(), &INPUTS, |key| format!("{KERNELS}:{key}"));
    }

    /// A tensor of `io.safetensors`.
    pub(crate) fn input(&self, key: &str) -> AnyResult<&Tensor> {
        self.io.get(key).ok_or_else(|| format!("io.safetensors has no {key}").into())
    }
}

/// Backends that every network is compared on.
pub(crate) fn backends() -> AnyResult<Vec<(&'static str, Ops)>> {
    Ok(vec![(KERNELS, kernels()?), ("candle", Ops::candle(candle_core::Device::Cpu, Precision::F32))])
}

/// What runs by default.
pub(crate) fn kernels() -> AnyResult<Ops> {
    Ok(Ops::cpu(Kernels::new(Threads::new(0)?, Pool::new())?, Precision::F32))
}

/// Records one result of one backend.
pub(crate) fn record(report: &mut Report, backend: &str, key: &str, error: AnyResult<f64>, bound: f64) {
    report.record_result(&format!("{backend}:{key}"), error, bound);
}
