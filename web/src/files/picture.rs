//! Pictures drawn anew for `/view`, and the alpha of a mask put into another picture.
//!
//! The header of a picture is read before a pixel is: a file of 200 bytes may claim 65,000 × 65,000.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbaImage};

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    /// Not a picture, or a broken one.
    #[error("the file is not a picture that can be read: {0}")]
    Unreadable(#[from] image::ImageError),
    /// Reading it failed.
    #[error("the file cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// More pixels than the server decodes.
    #[error("the picture is {width} × {height}; the limit is {limit} pixels")]
    TooLarge {
        /// Width in its header.
        width: u32,
        /// Height in its header.
        height: u32,
        /// Pixels allowed.
        limit: u64,
    },
}

/// `channel` of `/view`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Rgba,
    Rgb,
    Alpha,
}

impl Channel {
    pub(crate) fn parse(word: Option<&str>) -> Self {
        match word {
            Some("rgb") => Self::Rgb,
            Some("a") => Self::Alpha,
            _ => Self::Rgba,
        }
    }
}

/// `preview=FORMAT;QUALITY` of `/view`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preview {
    pub(crate) jpeg: bool,
    pub(crate) quality: u8,
}

impl Preview {
    /// Anything but `jpeg` is WebP, and so is a JPEG of which the alpha is wanted.
    pub(crate) fn parse(word: &str, channel: Option<&str>) -> Self {
        let mut parts = word.split(';');
        let jpeg = parts.next() == Some("jpeg") && !channel.is_some_and(|c| c.contains('a'));
        let quality = parts.next_back().and_then(|q| q.trim().parse::<u8>().ok()).unwrap_or(90);
        Self { jpeg, quality: quality.clamp(1, 100) }
    }

    pub(crate) fn mime(self) -> &'static str {
        if self.jpeg { "image/jpeg" } else { "image/webp" }
    }
}

/// A picture from bytes, if its header says that it is not too large.
pub(crate) fn decode(bytes: &[u8], limit: u64) -> Result<DynamicImage, PictureError> {
    let (width, height) = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_dimensions()?;
    if u64::from(width) * u64::from(height) > limit {
        return Err(PictureError::TooLarge { width, height, limit });
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(limit.saturating_mul(16));
    reader.limits(limits);
    Ok(reader.decode()?)
}

/// A smaller file of the same picture. WebP is without loss: the one encoder in safe Rust.
pub(crate) fn preview(
    picture: &DynamicImage,
    preview: Preview,
    channel: Channel,
) -> Result<Vec<u8>, PictureError> {
    let mut out = Cursor::new(Vec::new());
    if preview.jpeg {
        let picture = picture.to_rgb8();
        JpegEncoder::new_with_quality(&mut out, preview.quality).encode_image(&picture)?;
    } else if channel == Channel::Rgb || !picture.color().has_alpha() {
        DynamicImage::from(picture.to_rgb8()).write_to(&mut out, ImageFormat::WebP)?;
    } else {
        DynamicImage::from(picture.to_rgba8()).write_to(&mut out, ImageFormat::WebP)?;
    }
    Ok(out.into_inner())
}

/// The picture without alpha, or its alpha alone on black; `None` when the file is wanted as it is.
pub(crate) fn channel(picture: &DynamicImage, channel: Channel) -> Result<Option<Vec<u8>>, PictureError> {
    let drawn = match channel {
        Channel::Rgba => return Ok(None),
        Channel::Rgb => DynamicImage::from(picture.to_rgb8()),
        Channel::Alpha => {
            let mut alpha = picture.to_rgba8();
            alpha.pixels_mut().for_each(|p| p.0 = [0, 0, 0, p.0[3]]);
            DynamicImage::from(alpha)
        }
    };
    let mut out = Cursor::new(Vec::new());
    drawn.write_to(&mut out, ImageFormat::Png)?;
    Ok(Some(out.into_inner()))
}

/// `original` with the alpha of `mask`, as PNG with the text chunks of `original` kept.
pub(crate) fn with_alpha_of(original: &[u8], mask: &[u8], limit: u64) -> Result<Vec<u8>, PictureError> {
    let picture = decode(original, limit)?.to_rgba8();
    let mut mask = decode(mask, limit)?.to_rgba8();
    if mask.dimensions() != picture.dimensions() {
        let (w, h) = picture.dimensions();
        mask = image::imageops::resize(&mask, w, h, image::imageops::FilterType::Triangle);
    }
    let mut merged: RgbaImage = picture;
    merged.pixels_mut().zip(mask.pixels()).for_each(|(p, m)| p.0[3] = m.0[3]);
    encode_with_text(&merged, &texts(original))
}

/// Text chunks of a PNG; nothing for other formats and for chunks that do not decode.
fn texts(file: &[u8]) -> Vec<(String, String)> {
    let Ok(reader) = png::Decoder::new(Cursor::new(file)).read_info() else { return Vec::new() };
    let info = reader.info();
    let plain = info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone()));
    let packed =
        info.compressed_latin1_text.iter().filter_map(|t| Some((t.keyword.clone(), t.get_text().ok()?)));
    let unicode = info.utf8_text.iter().filter_map(|t| Some((t.keyword.clone(), t.get_text().ok()?)));
    plain.chain(packed).chain(unicode).collect()
}

fn encode_with_text(picture: &RgbaImage, texts: &[(String, String)]) -> Result<Vec<u8>, PictureError> {
    let failed = |e: png::EncodingError| PictureError::Io(std::io::Error::other(e));
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    for (key, text) in texts {
        // A PNG's plain text chunk is Latin-1; what does not fit goes into the Unicode kind.
        let added = if text.chars().all(|c| u32::from(c) < 256) {
            encoder.add_text_chunk(key.clone(), text.clone())
        } else {
            encoder.add_itxt_chunk(key.clone(), text.clone())
        };
        added.map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(picture.as_raw()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews_as_asked() {
        let webp = |q| Preview { jpeg: false, quality: q };
        let jpeg = |q| Preview { jpeg: true, quality: q };
        assert_eq!(Preview::parse("webp;80", None), webp(80));
        assert_eq!(Preview::parse("jpeg", None), jpeg(90));
        assert_eq!(Preview::parse("jpeg;50", Some("rgb")), jpeg(50));
        assert_eq!(Preview::parse("jpeg;50", Some("rgba")), webp(50));
        assert_eq!(Preview::parse("png;900", None), webp(90));
        assert_eq!(Preview::parse("", None), webp(90));
    }

    #[test]
    fn a_picture_that_claims_to_be_huge_is_not_decoded() {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 65_000, 65_000);
        encoder.set_color(png::ColorType::Rgba);
        // A header and the beginning of the pixels: decoding it would ask for 17 GB.
        let mut writer = encoder.write_header().expect("a header");
        writer.write_chunk(png::chunk::IDAT, &[0x78, 0x01]).expect("a chunk");
        drop(writer);
        let error = decode(&file, 128 << 20).expect_err("too large");
        assert!(matches!(error, PictureError::TooLarge { width: 65_000, .. }), "{error}");
    }

    #[test]
    fn rubbish_is_an_error() {
        for bytes in [&b""[..], b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>", &[0xff; 64]] {
            assert!(decode(bytes, 1 << 20).is_err());
        }
    }

    #[test]
    fn a_mask_keeps_the_texts() {
        let picture = RgbaImage::from_pixel(4, 4, image::Rgba([1, 2, 3, 255]));
        let texts =
            [("prompt".to_owned(), "{\"1\":{}}".to_owned()), ("workflow".to_owned(), "\"気\"".to_owned())];
        let original = encode_with_text(&picture, &texts).expect("a picture");
        let mask =
            encode_with_text(&RgbaImage::from_pixel(2, 2, image::Rgba([9, 9, 9, 7])), &[]).expect("a mask");
        let merged = with_alpha_of(&original, &mask, 1 << 20).expect("merged");
        assert_eq!(decode(&merged, 1 << 20).expect("a picture").to_rgba8().get_pixel(3, 3).0, [1, 2, 3, 7]);
        assert_eq!(super::texts(&merged), texts);
    }
}
