//! How a sampler could do with less memory, and what is loaded then.

use std::sync::Arc;

use ebb_engine::node::{Saving, Way};
use ebb_engine::residency::{ComponentKey, ComponentSpec};
use ebb_models::LoadOptions;
use ebb_models::stream::Stream;

use super::Model;

/// Hundredths of a denoiser's weights that may stay while the others are streamed.
const RESIDENT: [u8; 4] = [75, 50, 25, 0];

impl Model {
    /// Ways to sample `batch` latents of a size in cells in less memory than [`scratch`](Self::scratch) says, the
    /// least costly first: one sample after the other, then with weights streamed from their file.
    pub fn ways(&self, batch: usize, height: usize, width: usize, tokens: usize) -> Vec<Way> {
        let Some(scratch) = self.scratch(1, height, width, tokens) else { return Vec::new() };
        let whole: Vec<ComponentSpec> = self.specs().cloned().collect();
        let mut ways = Vec::new();
        if batch > 1 {
            ways.push(Way { savings: vec![Saving::Slices], uses: whole, scratch });
        }
        for resident in RESIDENT {
            let Some((spec, largest)) = self.streamed(resident) else { continue };
            let savings = vec![Saving::Slices, Saving::Stream { resident }];
            ways.push(Way { savings, uses: vec![spec], scratch: scratch.saturating_add(largest) });
        }
        ways
    }

    /// The component with a part of its weights streamed, and the bytes that the largest streamed one takes in use.
    pub(super) fn streamed(&self, resident: u8) -> Option<(ComponentSpec, u64)> {
        let weights = &self.weights;
        let stream = self.stream(resident);
        let options = LoadOptions { stream: Some(stream.clone()), ..LoadOptions::default() };
        let outline =
            (self.family.denoiser)(&weights.compute.counting(), &weights.tensors.source, options).ok()?;
        let spec = ComponentSpec {
            key: ComponentKey {
                dtype: format!("{} {resident}%", weights.spec.key.dtype).into(),
                ..weights.spec.key.clone()
            },
            label: format!("{} ({resident}%)", weights.spec.label).into(),
            bytes: outline.bytes() as u64,
            load_overhead: weights.spec.load_overhead,
        };
        Some((spec, stream.largest() as u64))
    }

    /// Bytes that the largest streamed weight takes in use, where a saving is to stream.
    pub fn streaming(&self, saving: &Saving) -> Option<u64> {
        match saving {
            Saving::Stream { resident } => Some(self.streamed(*resident)?.1),
            _ => None,
        }
    }

    /// Says which weights stay where so many hundredths may.
    pub(super) fn stream(&self, resident: u8) -> Arc<Stream> {
        let weights = &self.weights;
        let bytes = weights.outline.bytes() as u128 * u128::from(resident) / 100;
        Stream::new(weights.tensors.source.clone(), usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}
