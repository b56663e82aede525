//! Nodes for images.

mod arrange;
mod batch;
mod blend;
mod blur;
mod compose;
mod composite;
mod load;
mod pad;
mod save;
mod scale;
mod stitch;

use std::sync::Arc;

use ebb_engine::registry::{DuplicateClass, Registry};

use crate::folders::Folders;

pub(crate) use save::{Saver, metadata};

pub(crate) fn register(registry: &mut Registry, folders: &Arc<Folders>) -> Result<(), DuplicateClass> {
    registry.add(load::LoadImage(folders.clone()))?;
    registry.add(load::LoadImageOutput(load::LoadImage(folders.clone())))?;
    registry.add(load::LoadImageMask(folders.clone()))?;
    registry.add(save::SaveImage(folders.clone()))?;
    registry.add(save::PreviewImage(folders.clone()))?;
    registry.add(scale::ImageScale)?;
    registry.add(scale::ImageScaleBy)?;
    registry.add(scale::ImageScaleToTotalPixels)?;
    registry.add(compose::ImageInvert)?;
    registry.add(compose::EmptyImage)?;
    registry.add(blur::ImageBlur)?;
    registry.add(batch::ImageBatch)?;
    registry.add(batch::ImageFromBatch)?;
    registry.add(batch::RepeatImageBatch)?;
    registry.add(batch::RebatchImages)?;
    registry.add(arrange::ImageCrop)?;
    registry.add(arrange::ImageFlip)?;
    registry.add(arrange::ImageRotate)?;
    registry.add(arrange::GetImageSize)?;
    registry.add(arrange::ImageScaleToMaxDimension)?;
    registry.add(blend::ImageBlend)?;
    registry.add(blend::ImageSharpen)?;
    registry.add(blend::JoinImageWithAlpha)?;
    registry.add(blend::SplitImageWithAlpha)?;
    registry.add(blend::ImageColorToMask)?;
    registry.add(composite::ImageCompositeMasked)?;
    registry.add(composite::LatentCompositeMasked)?;
    registry.add(composite::MaskPreview(folders.clone()))?;
    registry.add(composite::FluxKontextImageScale)?;
    registry.add(stitch::ImageStitch)?;
    registry.add(pad::ImagePadForOutpaint)
}
