//! From what a file was recognised as to what runs it.

use ebb_models::clip;
use ebb_models::text::Composition;
use ebb_sampling::ModelSampling;
use ebb_weights::detect::{Family as Detected, Prediction};

use super::{Family, SD1, SD2, SDXL, SDXL_REFINER};

/// The family that runs a denoiser; `None` where Ebb knows its name and cannot run it.
pub(crate) fn family(detected: Detected) -> Option<&'static Family> {
    match detected {
        Detected::Sd1 | Detected::Sd1Inpaint => Some(&SD1),
        Detected::Sd2 | Detected::Sd2Inpaint => Some(&SD2),
        Detected::Sdxl | Detected::SdxlInpaint => Some(&SDXL),
        Detected::SdxlRefiner => Some(&SDXL_REFINER),
        _ => None,
    }
}

/// How a family's text encoders are put together.
pub(crate) fn composition(detected: Detected) -> Option<Composition> {
    match detected {
        Detected::Sd1 | Detected::Sd1Inpaint => Some(Composition::Sd1),
        Detected::Sd2 | Detected::Sd2Inpaint => Some(Composition::Sd2),
        Detected::Sdxl | Detected::SdxlInpaint => Some(Composition::Sdxl),
        Detected::SdxlRefiner => Some(Composition::SdxlRefiner),
        _ => None,
    }
}

/// Which CLIP an encoder is.
pub(crate) fn encoder(detected: Detected) -> Option<clip::Kind> {
    match detected {
        Detected::ClipL => Some(clip::Kind::L),
        Detected::ClipG => Some(clip::Kind::G),
        Detected::ClipH => Some(clip::Kind::H),
        _ => None,
    }
}

/// The relation to noise that a file's tensors tell of; `None` leaves it to the family.
pub(crate) fn sampling(prediction: Option<Prediction>) -> Option<ModelSampling> {
    match prediction? {
        Prediction::Eps => Some(ModelSampling::eps()),
        Prediction::V => Some(ModelSampling::v(false)),
        Prediction::VZeroSnr => Some(ModelSampling::v(true)),
        Prediction::Edm | Prediction::VEdm | Prediction::Flow => None,
    }
}
