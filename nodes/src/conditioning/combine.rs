//! `ConditioningCombine`, `ConditioningConcat`, `ConditioningAverage`, `ConditioningZeroOut`.

use candle_core::Tensor;
use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketch, Sketches};
use ebb_engine::schema::{Input, Schema};
use ebb_sampling::guidance::Conditioning as Entry;

use crate::values::{Conditioning, OrNode};

/// Both prompts speak; where they overlap their predictions are averaged.
pub(super) struct ConditioningCombine;

impl Node for ConditioningCombine {
    fn schema(&self) -> Schema {
        Schema::new("ConditioningCombine")
            .display("Conditioning (Combine)")
            .category("conditioning")
            .input(Input::wire("conditioning_1", "CONDITIONING"))
            .input(Input::wire("conditioning_2", "CONDITIONING"))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let mut both = (*inputs.payload::<Conditioning>("conditioning_1")?).clone();
        both.entries.extend(inputs.payload::<Conditioning>("conditioning_2")?.entries.iter().cloned());
        Ok(Outcome::payload(both))
    }
}

/// The first entry of an input, which is what the two-prompt nodes work with.
fn first(conditioning: &Conditioning, input: &str) -> Result<(Entry, Tensor), NodeError> {
    let entry = conditioning.entries.first().cloned();
    let prompt = entry.as_ref().and_then(|e| e.cross_attn.clone());
    entry.zip(prompt).ok_or_else(|| NodeError::input(input, "holds no encoded prompt"))
}

/// The tokens of one prompt after those of the other.
pub(super) struct ConditioningConcat;

impl Node for ConditioningConcat {
    fn schema(&self) -> Schema {
        Schema::new("ConditioningConcat")
            .display("Conditioning (Concat)")
            .category("conditioning")
            .input(Input::wire("conditioning_to", "CONDITIONING"))
            .input(Input::wire("conditioning_from", "CONDITIONING"))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let to = inputs.payload::<Conditioning>("conditioning_to")?;
        let from = inputs.payload::<Conditioning>("conditioning_from")?;
        let (_, tail) = first(&from, "conditioning_from")?;
        let joined = to.try_map(|entry| {
            if let Some(head) = &entry.cross_attn {
                entry.cross_attn = Some(Tensor::cat(&[head, &tail], 1).or_node()?);
            }
            Ok(())
        })?;
        Ok(Outcome::payload(joined))
    }
}

/// A weighted mean of two prompts.
pub(super) struct ConditioningAverage;

fn mean(to: &Tensor, from: &Tensor, strength: f64) -> Result<Tensor, NodeError> {
    (to.affine(strength, 0.0)).and_then(|t| t + from.affine(1.0 - strength, 0.0)?).or_node()
}

/// Cut, or filled up with zeros, to a number of tokens.
fn fit_tokens(prompt: &Tensor, tokens: usize) -> candle_core::Result<Tensor> {
    let (batch, have, channels) = prompt.dims3()?;
    if have >= tokens {
        return prompt.narrow(1, 0, tokens);
    }
    let rest = Tensor::zeros((batch, tokens - have, channels), prompt.dtype(), prompt.device())?;
    Tensor::cat(&[prompt, &rest], 1)
}

impl Node for ConditioningAverage {
    fn schema(&self) -> Schema {
        Schema::new("ConditioningAverage")
            .category("conditioning")
            .input(Input::wire("conditioning_to", "CONDITIONING"))
            .input(Input::wire("conditioning_from", "CONDITIONING"))
            .input(Input::float("conditioning_to_strength", 1.0).between(0.0, 1.0).option("step", 0.01))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let to = inputs.payload::<Conditioning>("conditioning_to")?;
        let from = inputs.payload::<Conditioning>("conditioning_from")?;
        let strength = inputs.float("conditioning_to_strength")?;
        let (from, prompt) = first(&from, "conditioning_from")?;
        let averaged = to.try_map(|entry| {
            if let Some(own) = &entry.cross_attn {
                let other = fit_tokens(&prompt, own.dim(1).or_node()?).or_node()?;
                entry.cross_attn = Some(mean(own, &other, strength)?);
            }
            entry.pooled = match (&entry.pooled, &from.pooled) {
                (Some(own), Some(other)) => Some(mean(own, other, strength)?),
                (own, other) => own.clone().or_else(|| other.clone()),
            };
            Ok(())
        })?;
        Ok(Outcome::payload(averaged))
    }
}

/// A prompt that says nothing: zeros.
pub(super) struct ConditioningZeroOut;

impl Node for ConditioningZeroOut {
    fn schema(&self) -> Schema {
        Schema::new("ConditioningZeroOut")
            .category("advanced/conditioning")
            .input(Input::wire("conditioning", "CONDITIONING"))
            .output("CONDITIONING")
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let zeros = |tensor: &mut Option<Tensor>| -> Result<(), NodeError> {
            if let Some(values) = tensor {
                *values = values.zeros_like().or_node()?;
            }
            Ok(())
        };
        let silent = inputs.payload::<Conditioning>("conditioning")?.try_map(|entry| {
            zeros(&mut entry.pooled)?;
            zeros(&mut entry.cross_attn)
        })?;
        Ok(Outcome::payload(silent))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let sketch: Sketch = inputs.get("conditioning").clone();
        Ok(Forecast::output(sketch))
    }
}
