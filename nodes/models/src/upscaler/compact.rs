//! RealESRGAN's compact network: plain convolutions with learned slopes, then pixels from channels
//! (Wang et al. 2021, `SRVGGNetCompact`).

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    Result,
    ops::{Act, Conv, ConvShape, Epilogue, Norm, Ops},
    params::Loader,
};

pub(super) struct Compact {
    layers: Vec<(Arc<Conv>, Option<Arc<Norm>>)>,
    scale: usize,
}

impl Compact {
    pub(super) fn load(w: &Loader<'_>) -> Result<Self> {
        let body = w.at("body");
        let mut layers = Vec::new();
        for i in (0..).step_by(2).take_while(|i| body.has(&format!("{i}.weight"))) {
            let slope = format!("{}.weight", i + 1);
            let slope = if body.has(&slope) { Some(body.gain(&slope)?) } else { None };
            layers.push((body.conv(&i.to_string())?, slope));
        }
        let out = layers.last().map_or(3, |(conv, _)| conv.output);
        Ok(Self { layers, scale: ((out / 3) as f64).sqrt().round().max(1.0) as usize })
    }

    pub(super) fn scale(&self) -> usize {
        self.scale
    }

    pub(super) fn forward(&self, ops: &Ops, pixels: &Tensor) -> Result<Act> {
        let (_, _, h, w) = pixels.dims4()?;
        let x = ops.from_nchw(pixels)?;
        let mut y: Option<Act> = None;
        for (conv, slope) in &self.layers {
            let mut next =
                ops.conv(conv, &[y.as_ref().unwrap_or(&x)], ConvShape::same(3), Epilogue::default())?;
            if let Some(slope) = slope {
                next = ops.prelu(&next, slope)?;
            }
            y = Some(next);
        }
        let enlarged = ops.resize_nearest(&x, h * self.scale, w * self.scale)?;
        match y {
            Some(y) => ops.add(&ops.pixel_shuffle(&y, self.scale)?, &enlarged, 1.0),
            None => Ok(enlarged),
        }
    }
}
