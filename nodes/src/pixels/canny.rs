//! Edges of a picture: blur, gradient, thinning, two thresholds (Canny 1986, "A Computational Approach to Edge
//! Detection"), with kornia's choices of kernels and borders, which control networks were used with.

/// Brightness, by the weights of ITU-R BT.601.
pub(crate) fn grey(pixels: &[f32], channels: usize) -> Vec<f32> {
    let weigh = |p: &[f32]| match p {
        [r, g, b, ..] => 0.299 * r + 0.587 * g + 0.114 * b,
        [grey, ..] => *grey,
        [] => 0.0,
    };
    pixels.chunks_exact(channels.max(1)).map(weigh).collect()
}

/// Steps to the neighbour in each of eight directions, clockwise from the right: (rows, columns).
const STEPS: [(isize, isize); 8] = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)];

/// 1 on edges and 0 elsewhere: where the gradient is above `high`, and above `low` if that leads there.
pub(crate) fn edges(grey: &[f32], (height, width): (usize, usize), low: f32, high: f32) -> Vec<f32> {
    let blurred = blur(grey, height, width);
    let at = |y: isize, x: isize| {
        let clamp = |v: isize, size: usize| v.clamp(0, size as isize - 1) as usize;
        blurred[clamp(y, height) * width + clamp(x, width)]
    };
    let mut magnitude = vec![0f32; grey.len()];
    let mut direction = vec![0usize; grey.len()];
    for i in 0..grey.len() {
        let (y, x) = ((i / width) as isize, (i % width) as isize);
        let along =
            |near: [f32; 3], far: [f32; 3]| far[0] - near[0] + 2.0 * (far[1] - near[1]) + far[2] - near[2];
        let row = |dy: isize| [at(y + dy, x - 1), at(y + dy, x), at(y + dy, x + 1)];
        let column = |dx: isize| [at(y - 1, x + dx), at(y, x + dx), at(y + 1, x + dx)];
        let (gx, gy) = (along(column(-1), column(1)), along(row(-1), row(1)));
        // The root's argument is kept above zero, as where its derivative is wanted.
        magnitude[i] = (gx * gx + gy * gy + 1e-6).sqrt();
        let eighth = (gy.atan2(gx).to_degrees() / 45.0).round_ties_even() as isize;
        direction[i] = eighth.rem_euclid(8) as usize;
    }
    let neighbour = |i: usize, step: usize| {
        let (dy, dx) = STEPS[step];
        let (y, x) = ((i / width).checked_add_signed(dy)?, (i % width).checked_add_signed(dx)?);
        (y < height && x < width).then_some(y * width + x)
    };
    // A ridge is higher than both neighbours along the gradient; outside the picture there is nothing.
    let is_ridge = |i: usize| {
        let over = |step: usize| magnitude[i] > neighbour(i, step).map_or(0.0, |n| magnitude[n]);
        over(direction[i]) && over((direction[i] + 4) % 8)
    };
    let ridges: Vec<f32> = (0..grey.len()).map(|i| if is_ridge(i) { magnitude[i] } else { 0.0 }).collect();
    let mut edges = vec![0f32; grey.len()];
    let mut strong: Vec<usize> = (0..grey.len()).filter(|i| ridges[*i] > low && ridges[*i] > high).collect();
    strong.iter().for_each(|i| edges[*i] = 1.0);
    while let Some(i) = strong.pop() {
        for n in (0..8).filter_map(|step| neighbour(i, step)) {
            if edges[n] == 0.0 && ridges[n] > low {
                edges[n] = 1.0;
                strong.push(n);
            }
        }
    }
    edges
}

/// A Gaussian of deviation 1 over five cells in each direction; the picture is mirrored at its borders.
fn blur(grey: &[f32], height: usize, width: usize) -> Vec<f32> {
    let weights = [-2.0f32, -1.0, 0.0, 1.0, 2.0].map(|x| (-x * x / 2.0).exp());
    let total: f32 = weights.iter().sum();
    let mirror = |v: isize, size: usize| {
        let last = size as isize - 1;
        if last == 0 {
            return 0;
        }
        let folded = v.rem_euclid(2 * last);
        (if folded > last { 2 * last - folded } else { folded }) as usize
    };
    let pass = |from: &[f32], place: &dyn Fn(usize, isize) -> usize| -> Vec<f32> {
        let sum = |i| (-2isize..=2).zip(&weights).map(|(d, w)| from[place(i, d)] * w / total).sum();
        (0..from.len()).map(sum).collect()
    };
    let across = pass(grey, &|i, d| i / width * width + mirror((i % width) as isize + d, width));
    pass(&across, &|i, d| mirror((i / width) as isize + d, height) * width + i % width)
}
