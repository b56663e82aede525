//! Letters on pictures.

use std::path::Path;

use ab_glyph::{Font as _, FontVec, PxScale, ScaleFont as _, point};
use image::{Rgb, RgbImage};

use super::super::failure::{Done, Failure};

/// The most lines that a label takes.
const LINES: usize = 3;

/// A font to draw labels with.
pub(super) struct Font(FontVec);

impl Font {
    /// A font of the user's, or the one inside: Hack (MIT and Bitstream Vera licences).
    pub(super) fn open(path: Option<&Path>) -> Done<Self> {
        let bytes = match path {
            Some(path) => std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?,
            None => epaint_default_fonts::HACK_REGULAR.to_vec(),
        };
        let name = path.map_or_else(|| "the font inside".to_owned(), |path| path.display().to_string());
        let font = FontVec::try_from_vec(bytes);
        font.map(Self).map_err(|error| Failure::other(format!("{name} is no font that can be read: {error}")))
    }

    /// Pixels from one line to the next.
    pub(super) fn line_height(&self, size: f32) -> u32 {
        self.0.as_scaled(PxScale::from(size)).height().ceil() as u32 + 2
    }

    fn width(&self, text: &str, size: f32) -> f32 {
        let font = self.0.as_scaled(PxScale::from(size));
        let mut width = 0.0;
        let mut last = None;
        for glyph in text.chars().map(|letter| font.glyph_id(letter)) {
            width += last.map_or(0.0, |last| font.kern(last, glyph)) + font.h_advance(glyph);
            last = Some(glyph);
        }
        width
    }

    /// A text in lines of a width at most; what does not fit ends with an ellipsis.
    pub(super) fn wrap(&self, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines: Vec<String> = vec![String::new()];
        for letter in text.trim().chars().map(|letter| if letter.is_whitespace() { ' ' } else { letter }) {
            let line = lines.last_mut().map(std::mem::take).unwrap_or_default();
            let longer = format!("{line}{letter}");
            let place = lines.len() - 1;
            if self.width(&longer, size) <= width || line.is_empty() {
                lines[place] = longer;
                continue;
            }
            // Break behind the last space, or behind the mark that parts of names are joined by.
            let cut = line.rfind([' ', '/', '-', '_']).map_or(line.len(), |at| at + 1);
            let (head, tail) = line.split_at(cut);
            lines[place] = head.trim_end().to_owned();
            lines.push(format!("{tail}{letter}").trim_start().to_owned());
        }
        if lines.len() > LINES {
            lines.truncate(LINES);
            if let Some(line) = lines.last_mut() {
                while !line.is_empty() && self.width(&format!("{line}…"), size) > width {
                    line.pop();
                }
                line.push('…');
            }
        }
        lines
    }

    /// Draws lines, each in the middle of a box, or at its left side.
    pub(super) fn draw(
        &self,
        on: &mut RgbImage,
        lines: &[String],
        size: f32,
        (left, top, width, height): (u32, u32, u32, u32),
        in_the_middle: bool,
    ) {
        let step = self.line_height(size);
        let used = step * lines.len() as u32;
        let font = self.0.as_scaled(PxScale::from(size));
        for (number, line) in lines.iter().enumerate() {
            let free = (width as f32 - self.width(line, size)).max(0.0);
            let mut x = left as f32 + if in_the_middle { free / 2.0 } else { 0.0 };
            let y = (top + height.saturating_sub(used) / 2 + step * number as u32) as f32 + font.ascent();
            let mut last = None;
            for letter in line.chars() {
                let id = font.glyph_id(letter);
                x += last.map_or(0.0, |last| font.kern(last, id));
                let glyph = id.with_scale_and_position(PxScale::from(size), point(x, y));
                x += font.h_advance(id);
                last = Some(id);
                let Some(outline) = self.0.outline_glyph(glyph) else { continue };
                let corner = outline.px_bounds().min;
                outline.draw(|dx, dy, cover| {
                    let (px, py) = (corner.x as i64 + i64::from(dx), corner.y as i64 + i64::from(dy));
                    let (Ok(px), Ok(py)) = (u32::try_from(px), u32::try_from(py)) else { return };
                    if let Some(pixel) = on.get_pixel_mut_checked(px, py) {
                        let ink = |under: u8| (f32::from(under) * (1.0 - cover.clamp(0.0, 1.0))) as u8;
                        *pixel = Rgb(pixel.0.map(ink));
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_break_at_words_and_end_with_an_ellipsis() {
        let font = Font::open(None).unwrap();
        let ten = font.width("0123456789", 16.0);
        assert_eq!(font.wrap("a red apple", 16.0, ten), ["a red", "apple"]);
        assert_eq!(font.wrap("models/tiny", 16.0, ten), ["models/", "tiny"]);
        let long = font.wrap(&"word ".repeat(40), 16.0, ten);
        assert_eq!(long.len(), LINES);
        assert!(long[LINES - 1].ends_with('…'));
        assert!(long.iter().all(|line| font.width(line, 16.0) <= ten));
        assert_eq!(font.wrap("", 16.0, ten), [""]);
    }

    #[test]
    fn letters_leave_ink_where_they_should() {
        let font = Font::open(None).unwrap();
        let mut picture = RgbImage::from_pixel(60, 30, Rgb([255; 3]));
        font.draw(&mut picture, &["Ж9".into()], 20.0, (0, 0, 60, 30), true);
        let dark: Vec<u32> =
            picture.enumerate_pixels().filter(|(_, _, p)| p.0[0] < 128).map(|(x, _, _)| x).collect();
        assert!(dark.len() > 20, "{} dark pixels", dark.len());
        // In the middle: as much space left as right, within a letter's own margins.
        let (first, last) = (dark.iter().min().unwrap(), dark.iter().max().unwrap());
        assert!(first.abs_diff(59 - last) <= 4, "{first} {last}");
        // Outside of the picture nothing is drawn, and nothing breaks.
        font.draw(&mut picture, &["xxxxxxxxxxxxxxxxxxxx".into()], 40.0, (50, 25, 5, 5), false);
    }
}
