//! How a sampler could do with less memory, and what is loaded then.

use std::sync::Arc;

use ebb_engine::node::{Saving, Way};
use ebb_engine::residency::{ComponentKey, ComponentSpec};
use ebb_kernels::Quant;
use ebb_models::LoadOptions;
use ebb_models::narrow::{self, Narrowed};
use ebb_models::source::Source;
use ebb_models::stream::Stream;

use super::Model;
use super::tensors::Tensors;

/// Hundredths of a denoiser's weights that may stay while the others are streamed.
const RESIDENT: [u8; 4] = [75, 50, 25, 0];

/// The saving that holds weights in a block type of [`narrow::KINDS`].
pub(super) fn narrow_to(kind: &str) -> Saving {
    Saving::Narrow { dtype: kind.into() }
}

/// The block type that a node is to hold its weights in, where it is to.
pub(super) fn narrowing(savings: &[Saving]) -> Option<(&str, Quant)> {
    savings.iter().find_map(|saving| match saving {
        Saving::Narrow { dtype } => Some((&**dtype, narrow::named(dtype)?)),
        _ => None,
    })
}

/// Tensors with their matrices in blocks.
pub(super) fn narrowed(tensors: &Tensors, quant: Quant) -> Arc<dyn Source> {
    Arc::new(Narrowed::new(tensors.source.clone(), quant))
}

/// The component that `spec` becomes when its matrices are held in blocks, and then has so many bytes; none where
/// that saves nothing.
pub(super) fn narrow_spec(spec: &ComponentSpec, kind: &str, bytes: u64) -> Option<ComponentSpec> {
    let key = ComponentKey { dtype: format!("{} {kind}", spec.key.dtype).into(), ..spec.key.clone() };
    let label = format!("{} ({kind})", spec.label).into();
    (bytes < spec.bytes).then_some(ComponentSpec { key, label, bytes, load_overhead: spec.load_overhead })
}

impl Model {
    /// Ways to sample `batch` latents of a size in cells in less memory than [`scratch`](Self::scratch) says, the
    /// least costly first: one sample after the other, then with weights streamed from their file, then with fewer bits
    /// a weight.
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
        for (kind, quant) in narrow::KINDS {
            let Some((spec, _)) = self.narrowed(kind, quant) else { continue };
            let uses = vec![spec];
            let together = self.scratch(batch, height, width, tokens).filter(|_| batch > 1);
            if let Some(scratch) = together {
                ways.push(Way { savings: vec![narrow_to(kind)], uses: uses.clone(), scratch });
            }
            ways.push(Way { savings: vec![Saving::Slices, narrow_to(kind)], uses, scratch });
        }
        ways
    }

    /// The component with its matrices in blocks of a type, patched ones too, and the tensors that it is loaded from;
    /// none where that saves nothing.
    pub(super) fn narrowed(&self, kind: &str, quant: Quant) -> Option<(ComponentSpec, Arc<dyn Source>)> {
        let weights = &self.weights;
        let source = narrowed(&weights.tensors, quant);
        let counted =
            (self.family.denoiser)(&weights.compute.counting(), &source, LoadOptions::default()).ok()?;
        // A view's own bytes are only what its patches changed: what counts is all that it holds.
        let whole =
            ComponentSpec { bytes: self.specs().map(|spec| spec.bytes).sum(), ..weights.spec.clone() };
        Some((narrow_spec(&whole, kind, counted.bytes() as u64)?, source))
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
