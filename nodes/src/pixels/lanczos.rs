//! Lanczos resampling of 8-bit pictures with Pillow's conventions: the filter widens when
//! shrinking, its weights are fixed-point, and each pass rounds to 8 bits.

use std::f64::consts::PI;

/// Fraction bits of a weight: 32 less 8 for the value and 2 for the sign and overshoot.
const BITS: u32 = 22;
const SUPPORT: f64 = 3.0;

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

fn lanczos(x: f64) -> f64 {
    if (-SUPPORT..SUPPORT).contains(&x) { sinc(x) * sinc(x / SUPPORT) } else { 0.0 }
}

/// First source cell and fixed-point weights of each output cell.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<i64>)> {
    let scale = from as f64 / to as f64;
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    (0..to)
        .map(|i| {
            let center = (i as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let raw: Vec<f64> =
                (start..end).map(|s| lanczos((s as f64 - center + 0.5) / filter_scale)).collect();
            let sum: f64 = raw.iter().sum();
            let fixed = raw.iter().map(|w| {
                let scaled = w / sum * f64::from(1u32 << BITS);
                (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i64
            });
            (start, fixed.collect())
        })
        .collect()
}

fn round_to_byte(sum: i64) -> u8 {
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

/// Resamples one plane.
pub(super) fn scale(
    plane: &[u8],
    (height, width): (usize, usize),
    (to_height, to_width): (usize, usize),
) -> Vec<u8> {
    let mut wide = plane.to_vec();
    if to_width != width {
        let columns = weights(width, to_width);
        wide = plane
            .chunks_exact(width)
            .flat_map(|row| {
                columns.iter().map(|(start, weights)| {
                    round_to_byte(row[*start..].iter().zip(weights).map(|(p, w)| i64::from(*p) * w).sum())
                })
            })
            .collect();
    }
    if to_height == height {
        return wide;
    }
    weights(height, to_height)
        .iter()
        .flat_map(|(start, weights)| {
            let wide = &wide;
            (0..to_width).map(move |x| {
                let rows = weights.iter().enumerate();
                round_to_byte(rows.map(|(k, w)| i64::from(wide[(start + k) * to_width + x]) * w).sum())
            })
        })
        .collect()
}
