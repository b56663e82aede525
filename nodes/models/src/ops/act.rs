//! Activations: a shape and where the values are.

use super::{candle, meta};

/// The shape of an activation. Tokens are positions with `h = 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Samples.
    pub n: usize,
    /// Rows of positions.
    pub h: usize,
    /// Positions a row.
    pub w: usize,
    /// Channels a position.
    pub c: usize,
}

impl Dims {
    /// A sequence of `t` tokens.
    pub fn tokens(n: usize, t: usize, c: usize) -> Self {
        Self { n, h: 1, w: t, c }
    }

    /// Positions a sample.
    pub fn positions(self) -> usize {
        self.h * self.w
    }

    /// Positions in all.
    pub fn rows(self) -> usize {
        self.n * self.positions()
    }

    /// Values in all.
    pub fn len(self) -> usize {
        self.rows() * self.c
    }

    /// Whether there is no value at all.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The same positions with other channels.
    pub fn with_c(self, c: usize) -> Self {
        Self { c, ..self }
    }
}

/// Values flowing through a model: NHWC, `n · h · w` rows of `c` channels.
pub struct Act {
    pub(crate) dims: Dims,
    pub(crate) data: Data,
}

pub(crate) enum Data {
    Cpu(ebb_kernels::Buf),
    Candle(candle::Values),
    /// Its bytes count until it is dropped.
    Meta(meta::Block),
}

impl Act {
    /// The shape.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// All columns.
    pub fn cols(&self) -> Cols<'_> {
        Cols { act: self, start: 0, len: self.dims.c }
    }

    /// Columns `start..start + len`.
    pub fn cols_at(&self, start: usize, len: usize) -> Cols<'_> {
        debug_assert!(start + len <= self.dims.c);
        Cols { act: self, start, len }
    }

    /// One of `of` equal groups of columns, as of a fused `qkv`.
    pub fn chunk(&self, index: usize, of: usize) -> Cols<'_> {
        let len = self.dims.c / of;
        self.cols_at(index * len, len)
    }

    /// The same values with positions laid out otherwise (pixels as tokens and back).
    #[must_use]
    pub fn with_positions(self, h: usize, w: usize) -> Self {
        debug_assert_eq!(self.dims.positions(), h * w);
        Self { dims: Dims { h, w, ..self.dims }, data: self.data }
    }

    /// Pixels as tokens.
    #[must_use]
    pub fn with_tokens(self) -> Self {
        let positions = self.dims.positions();
        self.with_positions(1, positions)
    }

    /// The same values, in the same order, as `n` sequences of `tokens`.
    #[must_use]
    pub fn regrouped(self, n: usize, tokens: usize) -> Self {
        debug_assert_eq!(self.dims.rows(), n * tokens);
        Self { dims: Dims::tokens(n, tokens, self.dims.c), data: self.data }
    }
}

/// Some columns of an activation.
#[derive(Clone, Copy)]
pub struct Cols<'a> {
    /// The activation.
    pub act: &'a Act,
    /// The first column.
    pub start: usize,
    /// How many.
    pub len: usize,
}
