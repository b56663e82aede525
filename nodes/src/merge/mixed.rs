//! Two sets of tensors as one.

use std::sync::Arc;

use ebb_models::source::{FileTensor, Info, Source, Stored, Values};
use half::{bf16, f16};

/// How much of each of two tensors there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares {
    pub(super) own: f32,
    pub(super) other: f32,
}

impl Shares {
    /// What leaves a tensor as it is.
    const OWN: Self = Self { own: 1.0, other: 0.0 };

    /// `ratio` of the first, the rest of the second.
    pub(super) fn ratio(ratio: f64) -> Self {
        Self { own: ratio as f32, other: (1.0 - ratio) as f32 }
    }
}

type SharesOf = Box<dyn Fn(&str) -> Shares + Send + Sync>;

/// Tensors of one source, mixed with those of the same names and shapes of another.
pub(super) struct Mixed {
    own: Arc<dyn Source>,
    other: Option<Arc<dyn Source>>,
    shares: SharesOf,
    /// Tells this mixture from others.
    digest: u64,
}

impl Mixed {
    /// `own` mixed with `other`, by `shares` for each name. `digest` tells the other source and the shares from others.
    pub(super) fn new(
        own: Arc<dyn Source>,
        other: Arc<dyn Source>,
        digest: u64,
        shares: impl Fn(&str) -> Shares + Send + Sync + 'static,
    ) -> Self {
        Self { own, other: Some(other), shares: Box::new(shares), digest }
    }

    /// `own` with each tensor times a factor.
    pub(super) fn scaled(
        own: Arc<dyn Source>,
        digest: u64,
        factor: impl Fn(&str) -> f32 + Send + Sync + 'static,
    ) -> Self {
        let shares = move |name: &str| Shares { own: factor(name), other: 0.0 };
        Self { own, other: None, shares: Box::new(shares), digest }
    }

    /// What a tensor is mixed of; `None` where it stays as it is.
    fn mixture(&self, name: &str) -> Option<Shares> {
        let shares = (self.shares)(name);
        if shares == Shares::OWN {
            return None;
        }
        let shape = |source: &Arc<dyn Source>| source.info(name).map(|info| info.shape);
        match &self.other {
            // Tensors of other shapes cannot be mixed: a first convolution that reads a mask too, say.
            Some(other) => (shape(other) == shape(&self.own)).then_some(shares),
            None => Some(shares),
        }
    }
}

impl Source for Mixed {
    fn names(&self) -> Vec<String> {
        self.own.names()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.own.info(name)
    }

    fn read(&self, name: &str) -> ebb_models::Result<Values> {
        let Some(Shares { own, other }) = self.mixture(name) else { return self.own.read(name) };
        let stored = self.own.info(name).map_or(Stored::F32, |info| info.stored);
        let mut values = self.own.read(name)?.into_f32();
        values.iter_mut().for_each(|v| *v *= own);
        if let (Some(source), true) = (&self.other, other != 0.0) {
            let more = source.read(name)?.into_f32();
            values.iter_mut().zip(more).for_each(|(v, more)| *v += other * more);
        }
        Ok(match stored {
            Stored::F32 => Values::F32(values),
            Stored::F16 => Values::F16(values.into_iter().map(f16::from_f32).collect()),
            Stored::Bf16 => Values::Bf16(values.into_iter().map(bf16::from_f32).collect()),
        })
    }

    fn stored(&self, name: &str) -> Option<Box<dyn FileTensor>> {
        if self.mixture(name).is_some() { None } else { self.own.stored(name) }
    }

    fn read_ahead(&self, name: &str) {
        self.own.read_ahead(name);
        if let (Some(other), Some(_)) = (&self.other, self.mixture(name)) {
            other.read_ahead(name);
        }
    }

    fn blocks(&self, name: &str) -> Option<ebb_kernels::Quant> {
        if self.mixture(name).is_some() { None } else { self.own.blocks(name) }
    }

    fn read_blocks(&self, name: &str) -> ebb_models::Result<Vec<u8>> {
        self.own.read_blocks(name)
    }

    fn revision(&self, name: &str) -> u64 {
        let before = self.own.revision(name);
        match self.mixture(name) {
            Some(Shares { own, other }) => {
                let bits = u64::from(own.to_bits()) << 32 | u64::from(other.to_bits());
                (before ^ self.digest ^ bits).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1
            }
            None => before,
        }
    }
}

/// A number for a text: what tells one mixture from another.
pub(super) fn digest(text: &str) -> u64 {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
