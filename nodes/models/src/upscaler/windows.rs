//! Positions of a picture in the order of small windows, plain or shifted by half of one, so that a window's positions
//! stand together.

use std::sync::Arc;

use crate::ops::Mask;

/// How positions are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Row by row.
    Rows,
    /// Window by window.
    Windows,
    /// Window by window of the picture that is rolled by half a window, by their kinds.
    Shifted,
}

/// A picture cut into windows.
pub(super) struct Windows {
    side: usize,
    /// Shifted windows: those inside, at the right edge, at the bottom, in the corner.
    kinds: [usize; 4],
    rows: Vec<u32>,
    plain: Vec<u32>,
    shifted: Vec<u32>,
    plain_to_shifted: Vec<u32>,
    shifted_to_plain: Vec<u32>,
    plain_to_rows: Vec<u32>,
    shifted_to_rows: Vec<u32>,
}

/// Positions of a window by window order, of a picture rolled by `shift`; `windows` are rows and columns of them.
fn positions(
    (height, width): (usize, usize),
    side: usize,
    shift: usize,
    windows: impl Iterator<Item = (usize, usize)>,
) -> Vec<u32> {
    let mut all = Vec::with_capacity(height * width);
    for (row, column) in windows {
        for y in 0..side {
            let y = (row * side + y + shift) % height;
            all.extend((0..side).map(|x| (y * width + (column * side + x + shift) % width) as u32));
        }
    }
    all
}

/// Where each value stands.
fn places(order: &[u32]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, at)| places[*at as usize] = i as u32);
    places
}

impl Windows {
    /// Of a picture whose sides are multiples of `side`.
    pub(super) fn new(height: usize, width: usize, side: usize) -> Self {
        let (rows, columns) = (height / side, width / side);
        let all = || (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let kind = move |(row, column): (usize, usize)| match (row + 1 == rows, column + 1 == columns) {
            (false, false) => 0,
            (false, true) => 1,
            (true, false) => 2,
            (true, true) => 3,
        };
        let by_kind = (0..4).flat_map(|wanted| all().filter(move |window| kind(*window) == wanted));
        let size = (height, width);
        let (plain, shifted) = (positions(size, side, 0, all()), positions(size, side, side / 2, by_kind));
        let (plain_to_rows, shifted_to_rows) = (places(&plain), places(&shifted));
        let through = |to: &[u32], places: &[u32]| to.iter().map(|at| places[*at as usize]).collect();
        Self {
            side,
            kinds: [0, 1, 2, 3].map(|wanted| all().filter(|window| kind(*window) == wanted).count()),
            rows: (0..(height * width) as u32).collect(),
            plain_to_shifted: through(&shifted, &plain_to_rows),
            shifted_to_plain: through(&plain, &shifted_to_rows),
            plain,
            shifted,
            plain_to_rows,
            shifted_to_rows,
        }
    }

    /// Positions of a window.
    pub(super) fn positions(&self) -> usize {
        self.side * self.side
    }

    /// How many shifted windows there are of each kind, in their order.
    pub(super) fn kinds(&self) -> [usize; 4] {
        self.kinds
    }

    /// Where each position of one order stands in another.
    pub(super) fn between(&self, from: Order, to: Order) -> &[u32] {
        use Order::{Rows, Shifted, Windows};
        match (from, to) {
            (Rows, Windows) => &self.plain,
            (Rows, Shifted) => &self.shifted,
            (Windows, Shifted) => &self.plain_to_shifted,
            (Shifted, Windows) => &self.shifted_to_plain,
            (Windows, Rows) => &self.plain_to_rows,
            (Shifted, Rows) => &self.shifted_to_rows,
            (Rows, Rows) | (Windows, Windows) | (Shifted, Shifted) => &self.rows,
        }
    }
}

/// What is added to the scores inside windows of `side`: a table's value for each distance, one row a distance and one
/// column a head. Shifted windows at an edge hold parts of both of the picture's sides, which do not see each other.
pub(super) fn masks(table: &[f32], heads: usize, side: usize, shifts: bool) -> Vec<Mask> {
    /// What hides one position from another.
    const HIDDEN: f32 = -100.0;
    let (size, span, shift) = (side * side, 2 * side - 1, side / 2);
    let kinds: &[(bool, bool)] = if shifts {
        &[(false, false), (false, true), (true, false), (true, true)]
    } else {
        &[(false, false)]
    };
    let mask = |&(bottom, right): &(bool, bool)| {
        let mut values = Vec::with_capacity(heads * size * size);
        for head in 0..heads {
            for query in 0..size {
                let (qy, qx) = (query / side, query % side);
                values.extend((0..size).map(|key| {
                    let (ky, kx) = (key / side, key % side);
                    let distance = (qy + side - 1 - ky) * span + qx + side - 1 - kx;
                    let beyond = |at: usize| at >= side - shift;
                    let apart = bottom && beyond(qy) != beyond(ky) || right && beyond(qx) != beyond(kx);
                    let value = table.get(distance * heads + head).copied().unwrap_or(0.0);
                    if apart { value + HIDDEN } else { value }
                }));
            }
        }
        Mask { values: Arc::new(values), dims: [1, heads, size, size] }
    };
    kinds.iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_lead_into_each_other() {
        let windows = Windows::new(8, 12, 4);
        let rows: Vec<u32> = (0..96).collect();
        let through = |values: &[u32], index: &[u32]| -> Vec<u32> {
            index.iter().map(|i| values[*i as usize]).collect()
        };
        let plain = through(&rows, windows.between(Order::Rows, Order::Windows));
        assert_eq!(plain[..5], [0, 1, 2, 3, 12]);
        let shifted = through(&plain, windows.between(Order::Windows, Order::Shifted));
        assert_eq!(shifted, windows.shifted);
        assert_eq!(shifted[..5], [26, 27, 28, 29, 38]);
        assert_eq!(through(&shifted, windows.between(Order::Shifted, Order::Windows)), plain);
        assert_eq!(through(&shifted, windows.between(Order::Shifted, Order::Rows)), rows);
        assert_eq!(windows.kinds(), [2, 1, 2, 1]);
    }
}
