//! Picture files into pixels.

use std::io::{BufReader, Cursor, Read};

use ebb_engine::node::NodeError;
use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{LimitError, LimitErrorKind};
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::values::{Image, ImageShape, Mask, MaskShape};

/// Largest side that is decoded: a header that claims more is refused before any pixel is read.
const MAX_SIDE: u32 = 32_768;
/// Most bytes that decoding one file may take.
const MAX_BYTES: u64 = 2 << 30;

/// A picture file: its frames, upright.
pub struct Picture {
    frames: Vec<DynamicImage>,
}

/// Reads a picture file: PNG, JPEG, WebP, GIF, BMP or TIFF; every frame of an animation. The
/// orientation that a camera noted is applied.
///
/// # Errors
/// Where the file is broken, of another format, or too large.
pub fn read(name: &str, file: impl Read) -> Result<Picture, NodeError> {
    let refuse = |what: String| NodeError::input("image", format!("{name}: {what}"));
    let mut bytes = Vec::new();
    let read = BufReader::new(file).take(MAX_BYTES).read_to_end(&mut bytes);
    read.map_err(|e| refuse(format!("cannot be read: {e}")))?;
    decode(&bytes).map_err(|e| refuse(e.to_string()))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

/// Decodes a picture file's bytes.
///
/// # Errors
/// Where they are broken, of an unknown format, or too large.
pub fn decode(bytes: &[u8]) -> image::ImageResult<Picture> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits());
    let frames = match reader.format() {
        Some(ImageFormat::Gif) => {
            let mut decoder = GifDecoder::new(Cursor::new(bytes))?;
            decoder.set_limits(limits())?;
            animation(decoder)?
        }
        Some(ImageFormat::WebP) if WebPDecoder::new(Cursor::new(bytes))?.has_animation() => {
            let mut decoder = WebPDecoder::new(Cursor::new(bytes))?;
            decoder.set_limits(limits())?;
            animation(decoder)?
        }
        _ => {
            let mut decoder = reader.into_decoder()?;
            // The sides are within their limit, and yet their product may not be.
            if decoder.total_bytes() > MAX_BYTES {
                return Err(ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory)));
            }
            let orientation = decoder.orientation()?;
            let mut frame = DynamicImage::from_decoder(decoder)?;
            frame.apply_orientation(orientation);
            vec![frame]
        }
    };
    Ok(Picture { frames })
}

/// The frames of an animation that are as large as its first, up to the byte limit.
fn animation<'a>(decoder: impl AnimationDecoder<'a>) -> image::ImageResult<Vec<DynamicImage>> {
    let mut frames: Vec<DynamicImage> = Vec::new();
    let mut bytes = 0u64;
    for frame in decoder.into_frames() {
        let frame = DynamicImage::ImageRgba8(frame?.into_buffer());
        bytes += frame.as_bytes().len() as u64;
        if bytes > MAX_BYTES {
            break;
        }
        if frames.first().is_none_or(|f| (f.width(), f.height()) == (frame.width(), frame.height())) {
            frames.push(frame);
        }
    }
    // Decoders of animations always give alpha; one in which nothing is transparent has none.
    let opaque =
        |frame: &DynamicImage| frame.as_rgba8().is_some_and(|f| f.pixels().all(|p| p.0[3] == u8::MAX));
    if frames.iter().all(opaque) {
        frames = frames.into_iter().map(|frame| frame.into_rgb8().into()).collect();
    }
    Ok(frames)
}

impl Picture {
    fn mask_of(&self, values: Vec<f32>) -> Result<Mask, NodeError> {
        let (width, height) = self.size();
        Mask::from_vec(values, MaskShape { batch: self.frames.len(), height, width })
    }

    fn size(&self) -> (usize, usize) {
        self.frames.first().map_or((0, 0), |f| (f.width() as usize, f.height() as usize))
    }

    /// Whether the file has an alpha channel.
    pub fn has_alpha(&self) -> bool {
        self.frames.first().is_some_and(|f| f.color().has_alpha())
    }

    /// The pixels as RGB.
    ///
    /// # Errors
    /// Where there are none.
    pub fn rgb(&self) -> Result<Image, NodeError> {
        let (width, height) = self.size();
        let pixels = self.frames.iter().flat_map(|f| f.to_rgb8().into_raw());
        let pixels = pixels.map(|b| f32::from(b) / 255.0).collect();
        Image::from_vec(pixels, ImageShape { batch: self.frames.len(), height, width, channels: 3 })
    }

    /// One channel: 0 red, 1 green, 2 blue, 3 alpha.
    ///
    /// # Errors
    /// Where there are no pixels.
    pub fn channel(&self, channel: usize) -> Result<Mask, NodeError> {
        let bytes =
            self.frames.iter().flat_map(|f| f.to_rgba8().into_raw().into_iter().skip(channel).step_by(4));
        self.mask_of(bytes.map(|b| f32::from(b) / 255.0).collect())
    }

    /// What is transparent (1 where alpha is 0). A picture without alpha has an empty mask of
    /// 64×64 a frame, which is how ComfyUI's nodes say "none".
    ///
    /// # Errors
    /// Where there are no pixels.
    pub fn transparency(&self) -> Result<Mask, NodeError> {
        if !self.has_alpha() {
            let shape = MaskShape { batch: self.frames.len(), height: 64, width: 64 };
            return Mask::from_vec(vec![0.0; shape.batch * 64 * 64], shape);
        }
        self.see_through()
    }

    /// The picture without the frames that follow its first.
    #[must_use]
    pub fn first_frame(mut self) -> Self {
        self.frames.truncate(1);
        self
    }

    /// What is transparent, in the picture's own size: nothing, where it has no alpha.
    ///
    /// # Errors
    /// Where there are no pixels.
    pub fn see_through(&self) -> Result<Mask, NodeError> {
        let values = self.channel(3)?.to_vec()?;
        self.mask_of(values.into_iter().map(|v| 1.0 - v).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_9_a_header_that_claims_a_huge_picture_is_refused_before_it_is_decoded() {
        // The last one has sides that are allowed and pixels of 4 GiB.
        for side in [65_000, 32_769, 32_768] {
            let mut file = Vec::new();
            let mut encoder = ::png::Encoder::new(&mut file, side, side);
            encoder.set_color(::png::ColorType::Rgba);
            let mut writer = encoder.write_header().unwrap();
            writer.write_chunk(::png::chunk::IDAT, &[0x78, 0x01]).unwrap();
            drop(writer);
            let error = decode(&file).err().expect("refused");
            assert!(matches!(error, ImageError::Limits(_)), "{side}: {error}");
        }
    }
}
