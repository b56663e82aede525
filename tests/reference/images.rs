//! `math/images.safetensors`: scaling of pictures and latents by every method.

use std::path::Path;

use candle_core::Tensor;
use ebb_nodes::pixels::{self, Crop, Method};

use crate::support::{AnyResult, Family, Report, max_difference, tensors};

pub(crate) const FAMILY: Family = Family { name: "math/images", files: &["math/images.safetensors"], check };

/// Sums of a few f32 products in another order.
const BOUND: f64 = 2e-5;
/// Lanczos works on whole 8-bit values: a difference would be a whole level.
const EXACT: f64 = 1e-6;

fn check(folder: &Path, report: &mut Report) -> AnyResult {
    let tensors = tensors(&folder.join("math/images.safetensors"))?;
    let given = |name: &str| tensors.get(name).ok_or_else(|| format!("no `{name}` to scale"));
    let (input, latent) = (given("input")?, given("latent")?);
    for (key, expected) in &tensors {
        if key == "input" || key == "latent" {
            continue;
        }
        let bound = if key.contains(".lanczos.") { EXACT } else { BOUND };
        report.record_result(key, difference(key, input, latent, expected), bound);
    }
    Ok(())
}

/// `image_scale.METHOD.WxH.CROP` or `latent_upscale.METHOD.WxH`.
fn difference(key: &str, input: &Tensor, latent: &Tensor, expected: &Tensor) -> AnyResult<f64> {
    let parts: Vec<&str> = key.split('.').collect();
    let [kind, method, size, crop @ ..] = parts.as_slice() else { return Err("not a scaling".into()) };
    let method: Method = method.parse()?;
    let (width, height) = size.split_once('x').ok_or("no size")?;
    let (width, height) = (width.parse()?, height.parse()?);
    let scaled = match (*kind, crop) {
        ("image_scale", [crop]) => pixels::image(input, width, height, method, crop.parse()?)?,
        ("latent_upscale", []) => pixels::latent(latent, width, height, method, Crop::Disabled)?,
        _ => return Err(format!("unknown kind `{kind}`").into()),
    };
    max_difference(&scaled, expected)
}
