//! One picture of all cells. The last axis runs across, the one before it down; every combination
//! of the others is a block of its own, one under the other.

use std::path::Path;

use ebb_engine::workflow::sweep::Sweep;
use image::imageops::{FilterType, overlay, resize};
use image::{ImageReader, Limits, Rgb, RgbImage};

use super::super::failure::{Done, Failure};
use super::labels::Font;
use super::manifest::Manifest;

/// No side of a grid is longer; cells are made smaller instead. Viewers give up beyond it.
const LONGEST: u32 = 16_384;
/// Pixels between cells.
const GAP: u32 = 8;
const PAPER: Rgb<u8> = Rgb([255; 3]);
const EMPTY: Rgb<u8> = Rgb([224; 3]);

/// Where everything goes.
struct Layout {
    columns: u32,
    rows: u32,
    blocks: u32,
    cell: (u32, u32),
    /// Width of the labels at the left, and height of those above.
    left: u32,
    head: u32,
    /// Height of the line that names a block.
    caption: u32,
    size: f32,
}

impl Layout {
    fn new(sweep: &Sweep, cell: (u32, u32), font: &Font) -> Self {
        let lengths: Vec<u32> = sweep.axes().iter().map(|axis| axis.values.len() as u32).collect();
        let columns = lengths.last().copied().unwrap_or(1);
        let rows = lengths.len().checked_sub(2).map_or(1, |axis| lengths[axis]);
        let blocks = lengths.iter().rev().skip(2).product();
        let fit =
            |many: u32, pixels: u32| (LONGEST / many.max(1)).saturating_sub(GAP + 1) as f32 / pixels as f32;
        let scale = fit(columns + 1, cell.0).min(fit(rows * blocks + blocks, cell.1)).min(1.0);
        let small = |pixels: u32| ((pixels as f32 * scale) as u32).max(1);
        let cell = (small(cell.0), small(cell.1));
        let size = (cell.0 as f32 / 14.0).clamp(12.0, 32.0);
        let line = font.line_height(size);
        Self {
            columns,
            rows,
            blocks,
            cell,
            left: if lengths.len() > 1 { (cell.0 / 2).clamp(96, 320) } else { 0 },
            head: line * 3 + GAP,
            caption: if blocks > 1 || lengths.len() > 2 { line + GAP } else { 0 },
            size,
        }
    }

    fn block_height(&self) -> u32 {
        self.caption + self.head + self.rows * (self.cell.1 + GAP)
    }

    fn page(&self) -> (u32, u32) {
        (GAP + self.left + self.columns * (self.cell.0 + GAP), GAP + self.blocks * self.block_height())
    }

    fn corner(&self, block: u32, row: u32, column: u32) -> (u32, u32) {
        let top = GAP + block * self.block_height() + self.caption + self.head + row * (self.cell.1 + GAP);
        (GAP + self.left + column * (self.cell.0 + GAP), top)
    }
}

/// Draws the grid. Cells that are not there are grey.
pub(super) fn draw(path: &Path, sweep: &Sweep, manifest: &Manifest, output: &Path, font: &Font) -> Done {
    let first = |cell: usize| manifest.files_of(cell).first().map(|file| output.join(file));
    let sizes = (0..sweep.len()).filter_map(|cell| image::image_dimensions(first(cell)?).ok());
    let largest = sizes.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)));
    let Some(largest) = largest else {
        return Err(Failure::other("no cell left a picture to draw into the grid"));
    };
    let layout = Layout::new(sweep, largest, font);
    let (width, height) = layout.page();
    let mut page = RgbImage::from_pixel(width, height, PAPER);
    name_axes(&mut page, sweep, &layout, font);
    for cell in 0..sweep.len() {
        let place = cell as u32;
        let (column, row) = (place % layout.columns, place / layout.columns % layout.rows);
        let (x, y) = layout.corner(place / layout.columns / layout.rows, row, column);
        match first(cell).and_then(|file| read(&file)) {
            Some(picture) => {
                let picture = shrink(picture, layout.cell);
                let x = x + (layout.cell.0 - picture.width()) / 2;
                let y = y + (layout.cell.1 - picture.height()) / 2;
                overlay(&mut page, &picture, x.into(), y.into());
            }
            None => {
                let blank = RgbImage::from_pixel(layout.cell.0, layout.cell.1, EMPTY);
                overlay(&mut page, &blank, x.into(), y.into());
                let word = if manifest.failures().contains_key(&cell) { "failed" } else { "no picture" };
                font.draw(&mut page, &[word.into()], layout.size, (x, y, layout.cell.0, layout.cell.1), true);
            }
        }
    }
    save(path, &page)
}

fn name_axes(page: &mut RgbImage, sweep: &Sweep, layout: &Layout, font: &Font) {
    let axes = sweep.axes();
    let Some((across, above)) = axes.split_last() else { return };
    let (down, others) = above.split_last().map_or((None, above), |(down, others)| (Some(down), others));
    for block in 0..layout.blocks {
        let (x, top) = layout.corner(block, 0, 0);
        if !others.is_empty() {
            let index = sweep.index(block as usize * (layout.columns * layout.rows) as usize);
            let named = others
                .iter()
                .zip(index)
                .map(|(axis, value)| format!("{} = {}", axis.label, axis.values[value].label));
            let caption = named.collect::<Vec<_>>().join(", ");
            let width = layout.page().0 - 2 * GAP;
            let lines = font.wrap(&caption, layout.size, width as f32);
            let place = (GAP, top - layout.head - layout.caption, width, layout.caption);
            font.draw(page, &lines[..1], layout.size, place, false);
        }
        for (column, value) in across.values.iter().enumerate() {
            let (x, _) = layout.corner(block, 0, column as u32);
            let lines = font.wrap(&value.label, layout.size, layout.cell.0 as f32);
            font.draw(page, &lines, layout.size, (x, top - layout.head, layout.cell.0, layout.head), true);
        }
        for (row, value) in down.into_iter().flat_map(|axis| &axis.values).enumerate() {
            let (_, y) = layout.corner(block, row as u32, 0);
            let width = layout.left.saturating_sub(GAP);
            let lines = font.wrap(&value.label, layout.size, width as f32);
            font.draw(page, &lines, layout.size, (GAP, y, width, layout.cell.1), false);
        }
        let names = match down {
            Some(down) => format!("{} ↓ {} →", down.label, across.label),
            None => String::new(),
        };
        let lines = font.wrap(&names, layout.size * 0.7, (x - 2 * GAP) as f32);
        font.draw(page, &lines, layout.size * 0.7, (GAP, top - layout.head, x - 2 * GAP, layout.head), false);
    }
}

/// A picture of this program's own; one that is broken is drawn as missing.
fn read(file: &Path) -> Option<RgbImage> {
    let mut reader = ImageReader::open(file).ok()?.with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(2 << 30);
    reader.limits(limits);
    Some(reader.decode().ok()?.into_rgb8())
}

fn shrink(picture: RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let scale = (width as f32 / picture.width() as f32).min(height as f32 / picture.height() as f32);
    if scale >= 1.0 {
        return picture;
    }
    let side = |pixels: u32, most: u32| ((pixels as f32 * scale).round() as u32).clamp(1, most);
    resize(&picture, side(picture.width(), width), side(picture.height(), height), FilterType::Lanczos3)
}

/// The file appears whole or not at all.
fn save(path: &Path, page: &RgbImage) -> Done {
    let failed =
        |error: &dyn std::fmt::Display| Failure::other(format!("cannot write {}: {error}", path.display()));
    let name = path.file_name().ok_or_else(|| failed(&"it is no file name"))?;
    let mut part = name.to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(part);
    let written = page.save_with_format(&part, image::ImageFormat::Png).map_err(|error| failed(&error));
    written.and_then(|()| std::fs::rename(&part, path).map_err(|error| failed(&error))).inspect_err(|_| {
        // It may not be there: the write is what failed then.
        let _ = std::fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use ebb_engine::workflow::Workflow;
    use ebb_engine::workflow::sweep::Axis;
    use serde_json::json;

    use super::*;

    fn sweep(lengths: &[usize]) -> Sweep {
        let base = Workflow::from_json(json!({"1": {"class_type": "A", "inputs": {}}})).unwrap();
        let axis = |(place, length): (usize, &usize)| {
            let values = (0..*length).map(|value| json!(value).into()).collect();
            Axis::input(&format!("axis {place}"), "1".into(), &format!("i{place}"), values)
        };
        Sweep::new(base, lengths.iter().enumerate().map(axis).collect()).unwrap()
    }

    #[test]
    fn the_last_axis_runs_across_and_others_make_blocks() {
        let font = Font::open(None).unwrap();
        let layout = Layout::new(&sweep(&[2, 3, 4]), (64, 32), &font);
        assert_eq!((layout.blocks, layout.rows, layout.columns), (2, 3, 4));
        let one = Layout::new(&sweep(&[5]), (64, 32), &font);
        assert_eq!((one.blocks, one.rows, one.columns, one.left), (1, 1, 5, 0));
    }

    #[test]
    fn a_grid_that_would_be_too_large_has_smaller_cells() {
        let font = Font::open(None).unwrap();
        for lengths in [&[40, 40][..], &[30, 20, 3]] {
            let (width, height) = Layout::new(&sweep(lengths), (2048, 1024), &font).page();
            assert!(width <= LONGEST && height <= LONGEST * 2, "{lengths:?}: {width} × {height}");
        }
    }

    #[test]
    fn cells_stand_where_their_values_say() {
        let place = tempfile::tempdir().unwrap();
        let sweep = sweep(&[2, 2]);
        let mut manifest = Manifest::open(place.path(), "g", &sweep).unwrap();
        std::fs::create_dir_all(place.path().join("sweeps/g")).unwrap();
        for cell in 0..3u8 {
            let file = place.path().join(format!("sweeps/g/{cell}.png"));
            RgbImage::from_pixel(16, 16, Rgb([cell, 200, 0])).save(&file).unwrap();
            manifest.finish(cell.into(), vec![file]).unwrap();
        }
        manifest.fail(3, "no".into()).unwrap();
        let font = Font::open(None).unwrap();
        let file = place.path().join("grid.png");
        draw(&file, &sweep, &manifest, place.path(), &font).unwrap();
        let page = image::open(&file).unwrap().into_rgb8();
        let layout = Layout::new(&sweep, (16, 16), &font);
        for (cell, row, column) in [(0, 0, 0), (1, 0, 1), (2, 1, 0)] {
            let (x, y) = layout.corner(0, row, column);
            assert_eq!(page.get_pixel(x + 8, y + 8).0, [cell, 200, 0]);
        }
        let (x, y) = layout.corner(0, 1, 1);
        assert_eq!(page.get_pixel(x, y), &EMPTY);
        assert_eq!(page.dimensions(), layout.page());
    }
}
