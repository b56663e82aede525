//! Nodes between pictures and latents.

mod decode;
mod edit;
mod encode;
mod inpaint;
pub(crate) mod tiles;

use ebb_engine::registry::{DuplicateClass, Registry};

pub(crate) use encode::encode;

pub(crate) fn register(registry: &mut Registry) -> Result<(), DuplicateClass> {
    registry.add(decode::VAEDecode)?;
    registry.add(decode::VAEDecodeTiled)?;
    registry.add(encode::VAEEncode)?;
    registry.add(encode::VAEEncodeTiled)?;
    registry.add(edit::InstructPixToPixConditioning)?;
    registry.add(inpaint::VAEEncodeForInpaint)?;
    registry.add(inpaint::InpaintModelConditioning)
}
