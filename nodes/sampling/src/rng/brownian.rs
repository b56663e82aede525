//! A Brownian path that can be asked for any increment, in any order, and always answers the same.
//!
//! The path is the dyadic tree of `torchsde.BrownianTree` (Li et al. 2020, "Scalable Gradients for
//! Stochastic Differential Equations"): a node is an interval with a known increment; splitting it at its
//! middle draws the left half from the Brownian bridge with a seed that belongs to the node alone.

use candle_core::{Device, Shape, Tensor};

use super::{generator::Generator, seed_sequence::generate_state};
use crate::{Error, Result};

/// The size that torchsde gives the entropy pool of a Brownian tree.
const POOL: usize = 24;
/// Times are known to six decimals: torchsde's tolerance of 1e-6.
const GRID: usize = 6;

/// Increments of Brownian motion over `[start, end]`, the same for every order of questions.
pub struct BrownianTree {
    entropy: u64,
    shape: Shape,
    device: Device,
    root: Node,
    /// The increment over the whole interval.
    whole: Vec<f32>,
}

/// An interval of the tree. Its name (`key`, `depth`) decides the noise with which it is split.
#[derive(Clone, Copy)]
struct Node {
    start: f64,
    end: f64,
    key: u64,
    depth: u64,
}

impl BrownianTree {
    /// A tree over the times `start < end`, whose increments have `shape`.
    pub fn new(seed: u64, start: f64, end: f64, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        if !(start.is_finite() && end.is_finite() && start < end) {
            return Err(Error::BrownianInterval { start, end });
        }
        let shape = shape.into();
        let [whole_seed, ..] = generate_state::<POOL, 3>(seed, &[]);
        let deviation = (end - start).sqrt() as f32;
        let mut whole = Generator::new(u64::from(whole_seed)).normal_vec(shape.elem_count());
        whole.iter_mut().for_each(|value| *value *= deviation);
        let root = Node { start: on_grid(start), end: on_grid(end), key: 0, depth: 0 };
        Ok(Self { entropy: seed, shape, device: device.clone(), root, whole })
    }

    /// The increment `W(to) − W(from)`; times outside the tree's interval are moved to its ends.
    pub fn increment(&self, from: f64, to: f64) -> Result<Tensor> {
        let sign = if from <= to { 1.0 } else { -1.0 };
        let clamp = |time: f64| on_grid(time.clamp(self.root.start, self.root.end));
        let (low, high) = (clamp(from.min(to)), clamp(from.max(to)));
        let mut sum = vec![0f32; self.shape.elem_count()];
        if low < high {
            self.add_increment(self.root, self.whole.clone(), low, high, &mut sum);
        }
        sum.iter_mut().for_each(|value| *value *= sign);
        Ok(Tensor::from_vec(sum, self.shape.clone(), &self.device)?)
    }

    /// Adds the increment over `[low, high]`, which lies within `node`, whose own increment is `w`.
    fn add_increment(&self, node: Node, w: Vec<f32>, low: f64, high: f64, sum: &mut [f32]) {
        let middle = node.middle();
        let whole = low == node.start && high == node.end;
        // A middle on an end means that the grid cannot be divided further here.
        if whole || middle <= node.start || middle >= node.end {
            sum.iter_mut().zip(&w).for_each(|(total, value)| *total += value);
            return;
        }
        let (left_w, right_w) = self.split(node, middle, w);
        let (left, right) = node.children(middle);
        if low < middle {
            self.add_increment(left, left_w, low, high.min(middle), sum);
        }
        if high > middle {
            self.add_increment(right, right_w, low.max(middle), high, sum);
        }
    }

    /// Splits an increment by the Brownian bridge: mean `w·left/whole`, variance `left·right/whole`.
    fn split(&self, node: Node, middle: f64, w: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
        let [seed, ..] = generate_state::<POOL, 4>(self.entropy, &[node.key, node.depth]);
        let noise = Generator::new(u64::from(seed)).normal_vec(w.len());
        let reciprocal = 1.0 / (node.end - node.start);
        let (left, right) = (middle - node.start, node.end - middle);
        let deviation = (left * right * reciprocal).sqrt() as f32;
        // Rounded after each factor, as the reference computes it on f32 tensors.
        let (left, reciprocal) = (left as f32, reciprocal as f32);
        let left_w: Vec<f32> =
            w.iter().zip(noise).map(|(w, z)| left * w * reciprocal + deviation * z).collect();
        let right_w = w.iter().zip(&left_w).map(|(whole, left)| whole - left).collect();
        (left_w, right_w)
    }
}

impl Node {
    fn middle(&self) -> f64 {
        on_grid(0.5 * (self.end + self.start))
    }

    fn children(&self, middle: f64) -> (Self, Self) {
        let (key, depth) = (2 * self.key, self.depth + 1);
        (Self { end: middle, key, depth, ..*self }, Self { start: middle, key: key + 1, depth, ..*self })
    }
}

/// The nearest time with six decimals. Decimal rounding, not binary: it has to agree with Python's `round`.
fn on_grid(time: f64) -> f64 {
    format!("{time:.GRID$}").parse().unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_add_up_in_any_order() -> Result<()> {
        let tree = BrownianTree::new(7, 0.0, 3.0, (2, 8), &Device::Cpu)?;
        let whole = tree.increment(0.25, 2.5)?;
        let parts = (tree.increment(0.25, 1.7)? + tree.increment(1.7, 2.5)?)?;
        let back = (tree.increment(2.5, 0.25)? + &whole)?;
        for difference in [(whole - parts)?, back] {
            let worst: f32 = difference.abs()?.max_all()?.to_scalar()?;
            assert!(worst < 2e-6, "{worst}");
        }
        Ok(())
    }

    #[test]
    fn an_empty_interval_is_refused() {
        assert!(BrownianTree::new(7, 1.0, 1.0, (1, 1), &Device::Cpu).is_err());
        assert!(BrownianTree::new(7, f64::NAN, 1.0, (1, 1), &Device::Cpu).is_err());
    }
}
