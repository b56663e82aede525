//! A linear map from a cell of a latent to a colour: next to no work, and enough to see where a
//! picture goes.

use candle_core::Tensor;
use ebb_sampling::LatentFormat;

use super::Pixels;

/// Red, green and blue in −1 … 1 for each latent channel, in the denoiser's scale; the last row is
/// added to all.
pub(super) type Map = [[f32; 3]];

/// The map of a latent format; `None` for one that nobody has measured.
pub(super) fn of(format: &LatentFormat) -> Option<&'static Map> {
    let known: [(LatentFormat, &Map); 4] = [
        (LatentFormat::SD1, &SD1),
        (LatentFormat::SDXL, &SDXL),
        (LatentFormat::SD3, &SD3),
        (LatentFormat::FLUX, &FLUX),
    ];
    known.into_iter().find_map(|(of, map)| (of == *format).then_some(map))
}

/// The first picture of a batch; `None` where the map has another number of channels.
pub(super) fn draw(latent: &Tensor, map: &Map) -> Option<Pixels> {
    let (_, channels, height, width) = latent.dims4().ok()?;
    let (bias, rows) = map.split_last()?;
    if rows.len() != channels {
        return None;
    }
    let values = latent.get(0).ok()?.flatten_all().ok()?.to_vec1::<f32>().ok()?;
    let cells = height * width;
    let mut bytes = Vec::with_capacity(cells * 3);
    for cell in 0..cells {
        let mut colour = *bias;
        for (channel, row) in rows.iter().enumerate() {
            let value = values[channel * cells + cell];
            colour.iter_mut().zip(row).for_each(|(c, share)| *c += value * share);
        }
        bytes.extend(colour.map(super::byte));
    }
    Some(Pixels { bytes, width, height })
}

/// SD 1.x and 2.x: the fit that K. Turner published ("Decoding latents to RGB without upscaling",
/// discuss.huggingface.co, topic 23204).
const SD1: [[f32; 3]; 5] = [
    [0.298, 0.207, 0.208],
    [0.187, 0.286, 0.173],
    [-0.158, 0.189, 0.264],
    [-0.184, -0.271, -0.473],
    [0.0, 0.0, 0.0],
];

/// SDXL: the fit that StAlKeR7779 made for InvokeAI (Apache-2.0, `step_callback.py`).
const SDXL: [[f32; 3]; 5] = [
    [0.3816, 0.4930, 0.5320],
    [-0.3753, 0.1631, 0.1739],
    [0.1770, 0.3588, -0.2048],
    [-0.4350, -0.2644, -0.4289],
    [0.0, 0.0, 0.0],
];

/// SD3: what Stability AI published with its reference code (MIT, `sd3-ref`, `SD3LatentFormat`).
const SD3: [[f32; 3]; 17] = [
    [-0.0645, 0.0177, 0.1052],
    [0.0028, 0.0312, 0.0650],
    [0.1848, 0.0762, 0.0360],
    [0.0944, 0.0360, 0.0889],
    [0.0897, 0.0506, -0.0364],
    [-0.0020, 0.1203, 0.0284],
    [0.0855, 0.0118, 0.0283],
    [-0.0539, 0.0658, 0.1047],
    [-0.0057, 0.0116, 0.0700],
    [-0.0412, 0.0281, -0.0039],
    [0.1106, 0.1171, 0.1220],
    [-0.0248, 0.0682, -0.0481],
    [0.0815, 0.0846, 0.1207],
    [-0.0120, -0.0055, -0.0867],
    [-0.0749, -0.0634, -0.0456],
    [-0.1418, -0.1457, -0.1259],
    [0.0, 0.0, 0.0],
];

/// Flux: the fit in InvokeAI (Apache-2.0, `step_callback.py`).
const FLUX: [[f32; 3]; 17] = [
    [-0.0412, 0.0149, 0.0521],
    [0.0056, 0.0291, 0.0768],
    [0.0342, -0.0681, -0.0427],
    [-0.0258, 0.0092, 0.0463],
    [0.0863, 0.0784, 0.0547],
    [-0.0017, 0.0402, 0.0158],
    [0.0501, 0.1058, 0.1152],
    [-0.0209, -0.0218, -0.0329],
    [-0.0314, 0.0083, 0.0896],
    [0.0851, 0.0665, -0.0472],
    [-0.0534, 0.0238, -0.0024],
    [0.0452, -0.0026, 0.0048],
    [0.0892, 0.0831, 0.0881],
    [-0.1117, -0.0304, -0.0789],
    [0.0027, -0.0479, -0.0043],
    [-0.1146, -0.0827, -0.0598],
    [0.0, 0.0, 0.0],
];

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn every_format_has_as_many_rows_as_channels() {
        let formats = [
            (LatentFormat::SD1, 4),
            (LatentFormat::SDXL, 4),
            (LatentFormat::SD3, 16),
            (LatentFormat::FLUX, 16),
        ];
        for (format, channels) in formats {
            assert_eq!(of(&format).map(<[_]>::len), Some(channels + 1), "{format:?}");
        }
        assert!(of(&LatentFormat::scaled(1.0)).is_none());
    }

    #[test]
    fn a_latent_of_nothing_is_grey_and_a_bright_one_is_brighter() {
        let draw_all = |value: f32| {
            let latent = Tensor::full(value, (2, 4, 3, 5), &Device::Cpu).expect("a tensor");
            draw(&latent, &SD1).expect("four channels")
        };
        let grey = draw_all(0.0);
        assert_eq!((grey.width, grey.height, grey.bytes.len()), (5, 3, 45));
        assert!(grey.bytes.iter().all(|b| *b == 128));
        // 0.143, 0.411 and 0.172 are the columns' sums.
        assert_eq!(draw_all(1.0).bytes[..3], [146, 180, 149]);
        let other = Tensor::zeros((1, 16, 3, 5), candle_core::DType::F32, &Device::Cpu).expect("a tensor");
        assert!(draw(&other, &SD1).is_none());
    }
}
