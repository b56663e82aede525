//! The part of a forward pass that a plan counts.

/// The most cells of a latent that a count goes through: one picture of 16,384 × 16,384 pixels.
pub(super) const CELLS: usize = 1 << 22;

/// A pass over so much of a batch that counting it takes neither time nor memory, whatever a workflow asks for.
pub(super) struct Counted {
    pub(super) batch: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// How many cells the whole has for so many of the part.
    share: (u128, u128),
}

impl Counted {
    /// The whole, where it has at most `cells` cells; else some of its pictures, or some rows of one.
    pub(super) fn of(batch: usize, height: usize, width: usize, cells: usize) -> Self {
        let whole = (batch as u128 * height as u128).saturating_mul(width as u128);
        // Never so wide that only a line is left: networks halve both sides some times.
        let width = width.min((cells >> 8).max(1));
        let rows = cells / width.max(1);
        let height = if height > rows { (rows / 64 * 64).max(1) } else { height };
        let batch = batch.min((cells / (width * height).max(1)).max(1));
        Self { batch, height, width, share: (whole, batch as u128 * height as u128 * width as u128) }
    }

    /// What the whole takes where the part takes `bytes`: activations are as many as there are cells.
    pub(super) fn whole(&self, bytes: usize) -> u64 {
        let (whole, part) = self.share;
        let bytes = (bytes as u128).saturating_mul(whole).div_ceil(part.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_counted_whole() {
        let counted = Counted::of(2, 64, 96, CELLS);
        assert_eq!((counted.batch, counted.height, counted.width), (2, 64, 96));
        assert_eq!(counted.whole(12_345), 12_345);
    }

    #[test]
    fn what_is_large_is_counted_in_part() {
        let counted = Counted::of(8192, 2048, 2048, CELLS);
        assert_eq!((counted.batch, counted.height, counted.width), (1, 2048, 2048));
        assert_eq!(counted.whole(1 << 30), 8192 << 30);
        let counted = Counted::of(3, 1 << 20, 1 << 20, CELLS);
        assert!(counted.batch * counted.height * counted.width <= CELLS);
        assert_eq!(counted.whole(1 << 30), 3 << (40 - 22 + 30));
        assert_eq!(Counted::of(usize::MAX, usize::MAX, usize::MAX, CELLS).whole(1 << 40), u64::MAX);
    }
}
