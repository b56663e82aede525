//! Weights with outliers, as real checkpoints have them and random ones have not.

use ebb_models::source::{Info, Source, Values};

/// Scales every eleventh channel that convolutions read by thirty. What attention reads stays as it is: scores
/// hundreds of times too large would have one key win over all others, and which one is decided by rounding.
pub(crate) struct Outliers<S>(pub(crate) S);

impl<S: Source> Source for Outliers<S> {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.0.info(name)
    }

    fn read(&self, name: &str) -> ebb_models::Result<Values> {
        let norm = ["in_layers.0.", "out_layers.0."].iter().any(|n| name.contains(n));
        let values = self.0.read(name)?;
        if !norm {
            return Ok(values);
        }
        let mut values = values.into_f32();
        values.iter_mut().step_by(11).for_each(|v| *v *= 30.0);
        Ok(Values::F32(values))
    }
}
