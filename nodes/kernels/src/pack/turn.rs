//! Rows turned into columns of 32 lanes, a few at a time in registers.

use super::LANES;

/// Writes the first `columns` values of 32 rows, each `stride` values after the one before, column by column:
/// `to[column * 32 + lane]`.
///
/// # Panics
/// Where a slice is too short for that: a mistake of this crate.
pub(super) fn turn16(from: &[u16], stride: usize, columns: usize, to: &mut [u16]) {
    assert!(columns <= stride && from.len() >= LANES * stride && to.len() >= columns * LANES);
    let whole = whole16(from, stride, columns, to);
    rest(from, stride, whole..columns, to);
}

/// [`turn16`] for values of 32 bits.
///
/// # Panics
/// As [`turn16`].
pub(super) fn turn32(from: &[u32], stride: usize, columns: usize, to: &mut [u32]) {
    assert!(columns <= stride && from.len() >= LANES * stride && to.len() >= columns * LANES);
    let whole = whole32(from.as_ptr(), stride, columns, to.as_mut_ptr());
    rest(from, stride, whole..columns, to);
}

/// [`turn16`] for pairs of values, which stay neighbours: `to[column * 32 + 2 * lane + i]` for the even `column`.
///
/// # Panics
/// As [`turn16`], and where a number is odd.
pub(super) fn turn16_pairs(from: &[u16], stride: usize, columns: usize, to: &mut [u16]) {
    assert!(stride.is_multiple_of(2) && columns.is_multiple_of(2) && columns <= stride);
    assert!(from.len() >= LANES * stride && to.len() >= columns * LANES);
    let whole = whole32(from.as_ptr().cast(), stride / 2, columns / 2, to.as_mut_ptr().cast());
    for column in (whole * 2..columns).step_by(2) {
        for (lane, to) in to[column * LANES..][..2 * LANES].chunks_exact_mut(2).enumerate() {
            to.copy_from_slice(&from[lane * stride + column..][..2]);
        }
    }
}

fn rest<T: Copy>(from: &[T], stride: usize, columns: std::ops::Range<usize>, to: &mut [T]) {
    for column in columns {
        for (lane, to) in to[column * LANES..][..LANES].iter_mut().enumerate() {
            *to = from[lane * stride + column];
        }
    }
}

/// Turns whole squares of 8 by 8; the columns that are done. SSE2 is part of every x86-64.
#[cfg(target_arch = "x86_64")]
fn whole16(from: &[u16], stride: usize, columns: usize, to: &mut [u16]) -> usize {
    use std::arch::x86_64::*;
    for column in (0..columns / 8 * 8).step_by(8) {
        for lane in (0..LANES).step_by(8) {
            // SAFETY: the caller checked that all rows and columns are within the slices; loads and stores need no alignment.
            unsafe {
                let row = |i: usize| _mm_loadu_si128(from.as_ptr().add((lane + i) * stride + column).cast());
                let pair = |i: usize| {
                    let (a, b) = (row(i), row(i + 1));
                    (_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b))
                };
                let four = |i: usize| {
                    let ((a, b), (c, d)) = (pair(i), pair(i + 2));
                    [
                        _mm_unpacklo_epi32(a, c),
                        _mm_unpackhi_epi32(a, c),
                        _mm_unpacklo_epi32(b, d),
                        _mm_unpackhi_epi32(b, d),
                    ]
                };
                let (low, high) = (four(0), four(4));
                for i in 0..4 {
                    let at = to.as_mut_ptr().add((column + 2 * i) * LANES + lane);
                    _mm_storeu_si128(at.cast(), _mm_unpacklo_epi64(low[i], high[i]));
                    _mm_storeu_si128(at.add(LANES).cast(), _mm_unpackhi_epi64(low[i], high[i]));
                }
            }
        }
    }
    columns / 8 * 8
}

/// Turns whole squares of 4 by 4; the columns that are done. Called where all rows and columns are known to be there;
/// 32 bits need not be aligned.
#[cfg(target_arch = "x86_64")]
fn whole32(from: *const u32, stride: usize, columns: usize, to: *mut u32) -> usize {
    use std::arch::x86_64::*;
    for column in (0..columns / 4 * 4).step_by(4) {
        for lane in (0..LANES).step_by(4) {
            // SAFETY: the caller checked that all rows and columns are within the slices; loads and stores need no alignment.
            unsafe {
                let row = |i: usize| _mm_loadu_si128(from.add((lane + i) * stride + column).cast());
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let (low, more) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
                let (high, rest) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
                let turned = [
                    _mm_unpacklo_epi64(low, more),
                    _mm_unpackhi_epi64(low, more),
                    _mm_unpacklo_epi64(high, rest),
                    _mm_unpackhi_epi64(high, rest),
                ];
                for (i, values) in turned.into_iter().enumerate() {
                    _mm_storeu_si128(to.add((column + i) * LANES + lane).cast(), values);
                }
            }
        }
    }
    columns / 4 * 4
}

#[cfg(not(target_arch = "x86_64"))]
fn whole16(_: &[u16], _: usize, _: usize, _: &mut [u16]) -> usize {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn whole32(_: *const u32, _: usize, _: usize, _: *mut u32) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_any_number_are_turned() {
        for (columns, stride) in [(0, 1), (1, 3), (4, 4), (7, 7), (8, 11), (21, 24), (22, 24)] {
            let wide: Vec<u32> = (0..(LANES * stride) as u32).map(|i| i * 65_537).collect();
            let narrow: Vec<u16> = wide.iter().map(|v| *v as u16).collect();
            let (mut wide_to, mut narrow_to) = (vec![0; columns * LANES], vec![0; columns * LANES]);
            if columns % 2 == 0 && stride % 2 == 0 {
                turn16_pairs(&narrow, stride, columns, &mut narrow_to);
                for (i, value) in narrow_to.iter().enumerate() {
                    let (column, lane) = (i / (2 * LANES) * 2 + i % 2, i % (2 * LANES) / 2);
                    assert_eq!(*value, narrow[lane * stride + column]);
                }
            }
            turn32(&wide, stride, columns, &mut wide_to);
            turn16(&narrow, stride, columns, &mut narrow_to);
            for column in 0..columns {
                for lane in 0..LANES {
                    let (to, from) = (column * LANES + lane, lane * stride + column);
                    assert_eq!((wide_to[to], narrow_to[to]), (wide[from], narrow[from]));
                }
            }
        }
    }
}
