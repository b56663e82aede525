//! Work on tiles, their seams blended, as ComfyUI's tiled nodes do it: three passes with square,
//! wide and tall tiles, whose seams lie in different places, averaged.

use candle_core::Tensor;
use ebb_engine::node::{Context, NodeError, Saving};

use crate::values::{OrNode, elements, tensor};

/// How a picture is cut, in cells of the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Side of a square tile.
    pub(super) tile: usize,
    /// Cells that neighbours share.
    pub(super) overlap: usize,
}

/// Pixels of a side of the tiles that are tried where a budget is too small for the whole picture.
const SIDES: [usize; 3] = [512, 256, 128];

/// The tilings for a picture of a size in pixels, and the side of their tiles; `scale` is the pixels of a side of a
/// latent cell. Neighbours share a quarter of a tile.
pub(super) fn savings(height: usize, width: usize, scale: usize) -> impl Iterator<Item = (u64, Tiling)> {
    let sides = SIDES.into_iter().filter(move |side| *side < height.max(width));
    sides.map(move |side| (side as u64, of_side(side as u64, scale)))
}

/// The tiling of a side in pixels, in latent cells.
pub(super) fn of_side(side: u64, scale: usize) -> Tiling {
    let tile = (usize::try_from(side).unwrap_or(usize::MAX) / scale).max(1);
    Tiling { tile, overlap: tile / 4 }
}

/// The tiling that a plan asks for, in latent cells.
pub(super) fn asked(context: &Context, scale: usize) -> Option<Tiling> {
    context.savings().iter().find_map(|saving| match saving {
        Saving::Tiles { side } => Some(of_side(*side, scale)),
        _ => None,
    })
}

/// Sides of the tiles of the three passes: wide ones, tall ones, square ones.
fn shapes(tile: usize) -> [(usize, usize); 3] {
    let half = (tile / 2).max(1);
    [(half, tile * 2), (tile * 2, half), (tile, tile)]
}

/// What the dearest tile of [`three_ways`] takes of a picture of a size in cells. Tiles end where the picture does: in one
/// that is no longer than two tiles, square ones are the largest.
pub(super) fn dearest(
    tile: usize,
    (height, width): (usize, usize),
    mut bytes: impl FnMut(usize, usize) -> Option<u64>,
) -> Option<u64> {
    let mut most = 0;
    let mut last = None;
    for (h, w) in shapes(tile) {
        let shape = (h.min(height), w.min(width));
        if last != Some(shape) {
            most = most.max(bytes(shape.0, shape.1)?);
        }
        last = Some(shape);
    }
    Some(most)
}

/// Bytes that [`three_ways`] holds beside its tiles for an output of so many values a channel.
pub(crate) fn blending(channels: usize, plane: usize) -> u64 {
    // The sum of the passes, the pass, and its weights, in f32.
    (2 * channels as u64 + 1) * plane as u64 * 4
}

/// Output cells for input cells: a factor, and a divisor.
pub(crate) type Ratio = (usize, usize);

fn scaled(cells: usize, (times, by): Ratio) -> usize {
    cells * times / by
}

/// Where tiles of a length begin along an axis: one tile where it suffices.
fn starts(length: usize, tile: usize, overlap: usize) -> Vec<usize> {
    if length <= tile {
        return vec![0];
    }
    let step = tile.saturating_sub(overlap).max(1);
    // As many as it takes for the last one to reach the end.
    (0..length.saturating_sub(overlap)).step_by(step).map(|at| at.min(length - overlap)).collect()
}

/// How many tiles of a length cover an axis.
pub(crate) fn count(length: usize, tile: usize, overlap: usize) -> usize {
    starts(length, tile, overlap).len()
}

/// Runs `work` on every tile of three tilings and averages them. `work` is told how many tiles are
/// done, and how many there are.
pub(super) fn three_ways(
    input: &Tensor,
    tiling: Tiling,
    ratio: Ratio,
    channels: usize,
    mut work: impl FnMut(&Tensor, usize, usize) -> Result<Tensor, NodeError>,
) -> Result<Tensor, NodeError> {
    let (batch, _, height, width) = input.dims4().or_node()?;
    let Tiling { tile, overlap } = tiling;
    let shapes = shapes(tile);
    let tiles =
        |(h, w): (usize, usize)| starts(height, h, overlap).len() * starts(width, w, overlap).len() * batch;
    let total: usize = shapes.iter().map(|shape| tiles(*shape)).sum();
    let mut done = 0;
    let (to_height, to_width) = (scaled(height, ratio), scaled(width, ratio));
    let mut sum = vec![0f32; batch * channels * to_height * to_width];
    for shape in shapes {
        let pass = one_way(input, shape, overlap, ratio, channels, |tile| {
            done += 1;
            work(tile, done - 1, total)
        })?;
        sum.iter_mut().zip(pass).for_each(|(sum, value)| *sum += value);
    }
    sum.iter_mut().for_each(|v| *v /= shapes.len() as f32);
    tensor(sum, &[batch, channels, to_height, to_width])
}

/// One pass over all tiles of a size: the blended output, `[batch, channels, height, width]`, row-major.
pub(crate) fn one_way(
    input: &Tensor,
    (tile_height, tile_width): (usize, usize),
    overlap: usize,
    ratio: Ratio,
    channels: usize,
    mut work: impl FnMut(&Tensor) -> Result<Tensor, NodeError>,
) -> Result<Vec<f32>, NodeError> {
    let (batch, _, height, width) = input.dims4().or_node()?;
    let (to_height, to_width) = (scaled(height, ratio), scaled(width, ratio));
    let plane = to_height * to_width;
    let mut out = vec![0f32; batch * channels * plane];
    let feather = scaled(overlap, ratio);
    for item in 0..batch {
        let one = input.narrow(0, item, 1).or_node()?;
        let mut weights = vec![0f32; plane];
        let whole = height <= tile_height && width <= tile_width;
        for y in starts(height, tile_height, overlap) {
            for x in starts(width, tile_width, overlap) {
                let (h, w) = (tile_height.min(height - y), tile_width.min(width - x));
                let part = one.narrow(2, y, h).and_then(|t| t.narrow(3, x, w)).and_then(|t| t.contiguous());
                let result = work(&part.or_node()?)?;
                let (_, _, rows, columns) = result.dims4().or_node()?;
                let values = elements(&result)?;
                let (at_y, at_x) = (scaled(y, ratio), scaled(x, ratio));
                // Towards its sides a tile counts less, down to 1/feather; one that is too small for
                // that counts whole.
                let near = |d: usize| if d < feather { (d + 1) as f32 / feather as f32 } else { 1.0 };
                let ramp =
                    |i: usize, n: usize| if whole || feather >= n { 1.0 } else { near(i) * near(n - 1 - i) };
                for row in 0..rows.min(to_height - at_y) {
                    for column in 0..columns.min(to_width - at_x) {
                        let weight = ramp(row, rows) * ramp(column, columns);
                        let to = (at_y + row) * to_width + at_x + column;
                        weights[to] += weight;
                        for channel in 0..channels {
                            let from = (channel * rows + row) * columns + column;
                            out[(item * channels + channel) * plane + to] += values[from] * weight;
                        }
                    }
                }
            }
        }
        for channel in 0..channels {
            let at = (item * channels + channel) * plane;
            out[at..at + plane].iter_mut().zip(&weights).for_each(|(value, weight)| *value /= weight);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn tiles_cover_everything_and_blend_to_the_same_picture() {
        for (height, width, tile, overlap) in [(5, 7, 4, 2), (33, 20, 8, 2), (8, 8, 16, 4), (64, 9, 16, 0)] {
            let count = 2 * 3 * height * width;
            let input = Tensor::arange(0f32, count as f32, &Device::Cpu).unwrap();
            let input = input.reshape((2, 3, height, width)).unwrap();
            let tiling = Tiling { tile, overlap };
            let out = three_ways(&input, tiling, (1, 1), 3, |t, _, _| Ok(t.clone())).unwrap();
            let worst = (out - &input).unwrap().abs().unwrap().max_all().unwrap();
            assert!(worst.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap() < 1e-3);
        }
    }
}
