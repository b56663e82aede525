//! Scaling by method name, with ComfyUI's centre crop.

use std::str::FromStr;

use candle_core::Tensor;
use ebb_engine::node::NodeError;

use super::{bislerp, lanczos, resample};
use crate::values::{OrNode, elements, tensor};

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The nearest source cell.
    NearestExact,
    /// Linear between two.
    Bilinear,
    /// The mean of the covered cells.
    Area,
    /// Cubic over four.
    Bicubic,
    /// Spherical interpolation of channel vectors.
    Bislerp,
    /// Windowed sinc over 8-bit values, as Pillow.
    Lanczos,
}

impl Method {
    /// The names that image nodes offer, in their order.
    pub const IMAGE: [&str; 5] = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"];
    /// The names that latent nodes offer, in their order.
    pub const LATENT: [&str; 5] = ["nearest-exact", "bilinear", "area", "bicubic", "bislerp"];
}

impl FromStr for Method {
    type Err = NodeError;

    fn from_str(name: &str) -> Result<Self, NodeError> {
        Ok(match name {
            "nearest-exact" => Self::NearestExact,
            "bilinear" => Self::Bilinear,
            "area" => Self::Area,
            "bicubic" => Self::Bicubic,
            "bislerp" => Self::Bislerp,
            "lanczos" => Self::Lanczos,
            other => {
                return Err(NodeError::input("upscale_method", format!("`{other}` is not a known method")));
            }
        })
    }
}

/// What happens to a picture of another aspect ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crop {
    /// It is stretched.
    Disabled,
    /// The middle part of the new aspect ratio is taken.
    Center,
}

impl FromStr for Crop {
    type Err = NodeError;

    fn from_str(name: &str) -> Result<Self, NodeError> {
        match name {
            "disabled" => Ok(Self::Disabled),
            "center" => Ok(Self::Center),
            other => Err(NodeError::input("crop", format!("`{other}` is neither `disabled` nor `center`"))),
        }
    }
}

/// Scales `[batch, channels, height, width]` to `height`×`width` cells.
///
/// # Errors
/// Where a size is 0 or the tensor has not four dimensions.
pub fn latent(
    samples: &Tensor,
    width: usize,
    height: usize,
    method: Method,
    crop: Crop,
) -> Result<Tensor, NodeError> {
    let samples = match crop {
        Crop::Disabled => samples.clone(),
        Crop::Center => crop_center(samples, width, height)?,
    };
    let (batch, channels, from_height, from_width) = samples.dims4().or_node()?;
    if [width, height, from_width, from_height].contains(&0) {
        return Err(NodeError::failed(format!(
            "cannot scale {from_width}×{from_height} to {width}×{height}: a size is 0"
        )));
    }
    let data = elements(&samples)?;
    let from = (from_height, from_width);
    let separable = |axis: fn(usize, usize) -> resample::Axis| {
        resample::separable(&data, from, &axis(from_height, height), &axis(from_width, width))
    };
    let out = match method {
        Method::NearestExact => separable(resample::nearest_exact),
        Method::Bilinear => separable(resample::bilinear),
        Method::Area => separable(resample::area),
        Method::Bicubic => separable(resample::bicubic),
        Method::Bislerp => {
            let items = data.chunks_exact(channels * from_height * from_width);
            items.flat_map(|item| bislerp::scale(item, channels, from, (height, width))).collect()
        }
        Method::Lanczos => {
            let to_byte = |v: &f32| (255.0 * v).clamp(0.0, 255.0) as u8;
            data.chunks_exact(from_height * from_width)
                .flat_map(|plane| {
                    let bytes: Vec<u8> = plane.iter().map(to_byte).collect();
                    lanczos::scale(&bytes, from, (height, width))
                })
                .map(|b| f32::from(b) / 255.0)
                .collect()
        }
    };
    tensor(out, &[batch, channels, height, width])
}

/// Scales `[batch, channels, height, width]` with a cubic filter that widens when it shrinks.
///
/// # Errors
/// Where a size is 0.
pub(crate) fn smooth_bicubic(samples: &Tensor, width: usize, height: usize) -> Result<Tensor, NodeError> {
    let (batch, channels, from_height, from_width) = samples.dims4().or_node()?;
    if [width, height, from_width, from_height].contains(&0) {
        return Err(NodeError::failed("cannot scale a picture without pixels"));
    }
    let (rows, columns) =
        (resample::smooth_bicubic(from_height, height), resample::smooth_bicubic(from_width, width));
    let out = resample::separable(&elements(samples)?, (from_height, from_width), &rows, &columns);
    tensor(out, &[batch, channels, height, width])
}

/// Scales `[batch, height, width, channels]` to `height`×`width` pixels.
///
/// # Errors
/// As [`latent`].
pub fn image(
    pixels: &Tensor,
    width: usize,
    height: usize,
    method: Method,
    crop: Crop,
) -> Result<Tensor, NodeError> {
    let planes = pixels.permute((0, 3, 1, 2)).or_node()?;
    latent(&planes, width, height, method, crop)?.permute((0, 2, 3, 1)).and_then(|t| t.contiguous()).or_node()
}

/// The middle part of `[…, height, width]` that has the aspect ratio of `width`:`height`.
fn crop_center(samples: &Tensor, width: usize, height: usize) -> Result<Tensor, NodeError> {
    let (_, _, from_height, from_width) = samples.dims4().or_node()?;
    let old = from_width as f64 / from_height as f64;
    let new = width as f64 / height as f64;
    let margin = |length: usize, ratio: f64| {
        let length = length as f64;
        ((length - length * ratio) / 2.0).round_ties_even().max(0.0) as usize
    };
    let (x, y) = if old > new {
        (margin(from_width, new / old), 0)
    } else if old < new {
        (0, margin(from_height, old / new))
    } else {
        (0, 0)
    };
    samples
        .narrow(3, x, from_width.saturating_sub(2 * x))
        .and_then(|t| t.narrow(2, y, from_height.saturating_sub(2 * y)))
        .or_node()
}
