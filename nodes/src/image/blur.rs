//! `ImageBlur`.

use ebb_engine::node::{Context, Forecast, Inputs, Node, NodeError, Outcome, Sketches};
use ebb_engine::schema::{Input, Schema};

use crate::values::{Image, ImageShape};

/// A Gaussian blur; beyond its edges an image is mirrored.
pub(super) struct ImageBlur;

/// The Gaussian at `2·radius + 1` places evenly from −1 to 1, of sum 1: σ is in units of the radius, not of pixels.
/// The kernel of two dimensions is the product of two of these, so rows and columns are blurred one after the other.
fn kernel(radius: usize, sigma: f64) -> Vec<f32> {
    let places = (0..=2 * radius).map(|i| i as f64 / radius as f64 - 1.0);
    let weights: Vec<f64> = places.map(|x| (-x * x / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// Where a place beyond an edge is mirrored to; the edge itself is not repeated.
fn mirrored(place: usize, radius: usize, length: usize) -> usize {
    let inside = place.abs_diff(radius);
    if inside < length { inside } else { 2 * (length - 1) - inside }
}

/// Blurs along the middle one of three dimensions.
fn blur(
    context: &Context,
    pixels: &[f32],
    length: usize,
    inner: usize,
    kernel: &[f32],
) -> Result<Vec<f32>, NodeError> {
    let radius = kernel.len() / 2;
    let mut blurred = vec![0.0; pixels.len()];
    let size = (length * inner).max(1);
    for (from, to) in pixels.chunks_exact(size).zip(blurred.chunks_exact_mut(size)) {
        context.check()?;
        for (at, line) in to.chunks_exact_mut(inner).enumerate() {
            for (tap, weight) in kernel.iter().enumerate() {
                let source = mirrored(at + tap, radius, length) * inner;
                for (sum, value) in line.iter_mut().zip(&from[source..source + inner]) {
                    *sum += weight * value;
                }
            }
        }
    }
    Ok(blurred)
}

/// A picture's pixels, blurred; `input` is the input that the radius came from.
pub(super) fn blurred(
    context: &Context,
    image: &Image,
    input: &str,
    radius: usize,
    sigma: f64,
) -> Result<Vec<f32>, NodeError> {
    let ImageShape { height, width, channels, .. } = image.shape();
    if radius >= height.min(width) {
        return Err(NodeError::input(
            input,
            format!(
                "is {radius}, and an image of {width}×{height} can be mirrored only by less than its sides"
            ),
        ));
    }
    let kernel = kernel(radius, sigma);
    let rows = blur(context, &image.to_vec()?, width, channels, &kernel)?;
    blur(context, &rows, height, width * channels, &kernel)
}

impl Node for ImageBlur {
    fn schema(&self) -> Schema {
        Schema::new("ImageBlur")
            .module("comfy_extras.nodes_post_processing")
            .category("image/postprocessing")
            .input(Input::wire("image", "IMAGE"))
            .input(Input::int("blur_radius", 1).range(1, 31).option("step", 1))
            .input(Input::float("sigma", 1.0).between(0.1, 10.0).option("step", 0.1))
            .output("IMAGE")
            .compute()
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("image")?;
        let (radius, sigma) = (inputs.size("blur_radius")?, inputs.float("sigma")?);
        if radius == 0 {
            return Ok(Outcome::value(inputs.value("image")?.clone()));
        }
        let pixels = blurred(context, &image, "blur_radius", radius, sigma)?;
        Ok(Outcome::payload(Image::from_vec(pixels, image.shape())?))
    }

    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        Ok(Forecast::output(inputs.get("image").clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_a_gaussian_of_sum_one() {
        // exp(−1/2) = 0.60653 beside 1, divided by their sum 2.21306.
        let expected = [0.274_068_6, 0.451_862_8, 0.274_068_6];
        for (weight, expected) in kernel(1, 1.0).into_iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-6, "{weight}");
        }
    }

    #[test]
    fn edges_are_mirrored_and_not_repeated() {
        let places: Vec<usize> = (0..8).map(|place| mirrored(place, 2, 4)).collect();
        assert_eq!(places, [2, 1, 0, 1, 2, 3, 2, 1]);
    }
}
