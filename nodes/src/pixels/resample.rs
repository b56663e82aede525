//! Separable resampling with the conventions of PyTorch's `interpolate` (`align_corners=False`,
//! no antialiasing): output cell *i* covers source position `(i + ½)·in/out − ½`.

/// The source cells and weights of one output cell.
pub(super) struct Taps {
    /// Source indices with their weights.
    pub(super) taps: Vec<(usize, f32)>,
}

/// The weights of one axis, output cell by output cell.
pub(super) type Axis = Vec<Taps>;

/// The nearest source cell.
pub(super) fn nearest_exact(from: usize, to: usize) -> Axis {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|i| {
            let source = ((i as f32 + 0.5) * scale).floor() as usize;
            Taps { taps: vec![(source.min(from - 1), 1.0)] }
        })
        .collect()
}

/// Linear between the two nearest.
pub(super) fn bilinear(from: usize, to: usize) -> Axis {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|i| {
            let position = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
            let low = (position as usize).min(from - 1);
            let high = (low + 1).min(from - 1);
            let t = position - low as f32;
            Taps { taps: vec![(low, 1.0 - t), (high, t)] }
        })
        .collect()
}

/// Cubic convolution over four (Keys 1981, a = −0.75 as PyTorch and OpenCV have it).
pub(super) fn bicubic(from: usize, to: usize) -> Axis {
    const A: f32 = -0.75;
    let near = |t: f32| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let far = |t: f32| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
    let scale = from as f32 / to as f32;
    let last = from as isize - 1;
    (0..to)
        .map(|i| {
            let position = (i as f32 + 0.5) * scale - 0.5;
            let floor = position.floor();
            let t = position - floor;
            let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            let taps = weights
                .into_iter()
                .enumerate()
                .map(|(k, w)| ((floor as isize + k as isize - 1).clamp(0, last) as usize, w))
                .collect();
            Taps { taps }
        })
        .collect()
}

/// The mean of the source cells that the output cell touches.
pub(super) fn area(from: usize, to: usize) -> Axis {
    (0..to)
        .map(|i| {
            let start = i * from / to;
            let end = ((i + 1) * from).div_ceil(to);
            let weight = 1.0 / (end - start) as f32;
            Taps { taps: (start..end).map(|s| (s, weight)).collect() }
        })
        .collect()
}

/// Resamples planes along both axes.
pub(super) fn separable(
    planes: &[f32],
    (height, width): (usize, usize),
    rows: &Axis,
    columns: &Axis,
) -> Vec<f32> {
    let count = planes.len() / (height * width).max(1);
    let mut out = Vec::with_capacity(count * rows.len() * columns.len());
    let mut line = vec![0f32; width];
    for plane in planes.chunks_exact(height * width) {
        for row in rows {
            line.fill(0.0);
            for &(source, weight) in &row.taps {
                let values = &plane[source * width..(source + 1) * width];
                for (sum, value) in line.iter_mut().zip(values) {
                    *sum += weight * value;
                }
            }
            out.extend(
                columns.iter().map(|column| column.taps.iter().map(|&(s, w)| w * line[s]).sum::<f32>()),
            );
        }
    }
    out
}

/// Cubic convolution that widens when it shrinks (PyTorch's `antialias=True`, Keys' a = −0.5): no detail finer than
/// a result's cell is left to alias.
pub(super) fn smooth_bicubic(from: usize, to: usize) -> Axis {
    const A: f64 = -0.5;
    let filter = |x: f64| {
        let x = x.abs();
        if x < 1.0 {
            ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            (((x - 5.0) * x + 8.0) * x - 4.0) * A
        } else {
            0.0
        }
    };
    let scale = from as f64 / to as f64;
    let wide = scale.max(1.0);
    (0..to)
        .map(|i| {
            let center = scale * (i as f64 + 0.5);
            let first = (center - 2.0 * wide + 0.5).max(0.0) as usize;
            let last = ((center + 2.0 * wide + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..last).map(|j| filter((j as f64 - center + 0.5) / wide)).collect();
            let total: f64 = weights.iter().sum();
            let taps = weights.iter().enumerate().map(|(k, w)| (first + k, (w / total) as f32)).collect();
            Taps { taps }
        })
        .collect()
}
