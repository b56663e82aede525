//! From what a file was recognised as to what runs it.

use ebb_models::clip;
use ebb_models::text::Composition;
use ebb_weights::detect::Family as Detected;

use super::{FLUX, FLUX_SCHNELL, Family, LOTUS, SD1, SD2, SD2_UNCLIP, SD3, SDXL, SDXL_REFINER, Z_IMAGE};

/// The family that runs a denoiser; `None` where Ebb knows its name and cannot run it.
pub(crate) fn family(detected: Detected) -> Option<&'static Family> {
    match detected {
        Detected::Sd1 | Detected::Sd1Inpaint | Detected::Sd1Edit => Some(&SD1),
        Detected::Sd2 | Detected::Sd2Inpaint => Some(&SD2),
        Detected::Sd2Unclip => Some(&SD2_UNCLIP),
        Detected::Lotus => Some(&LOTUS),
        Detected::Sdxl | Detected::SdxlInpaint | Detected::SdxlEdit => Some(&SDXL),
        Detected::SdxlRefiner => Some(&SDXL_REFINER),
        Detected::Sd3 | Detected::Sd35 => Some(&SD3),
        Detected::FluxDev | Detected::FluxFill | Detected::FluxControl => Some(&FLUX),
        Detected::FluxSchnell => Some(&FLUX_SCHNELL),
        Detected::ZImage => Some(&Z_IMAGE),
        _ => None,
    }
}

/// How a family's text encoders are put together.
pub(crate) fn composition(detected: Detected) -> Option<Composition> {
    match detected {
        Detected::Sd1 | Detected::Sd1Inpaint | Detected::Sd1Edit => Some(Composition::Sd1),
        Detected::Sd2 | Detected::Sd2Inpaint | Detected::Sd2Unclip | Detected::Lotus => {
            Some(Composition::Sd2)
        }
        Detected::Sdxl | Detected::SdxlInpaint | Detected::SdxlEdit => Some(Composition::Sdxl),
        Detected::SdxlRefiner => Some(Composition::SdxlRefiner),
        Detected::Sd3 | Detected::Sd35 => Some(Composition::Sd3),
        Detected::FluxDev | Detected::FluxFill | Detected::FluxControl | Detected::FluxSchnell => {
            Some(Composition::Flux)
        }
        Detected::ZImage => Some(Composition::ZImage),
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
