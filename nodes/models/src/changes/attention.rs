//! Self-attention with changes: tiles, merged queries, and what it looked at.

use super::{AttentionChange, Changes, Draw, Recording, Tiling};
use crate::Result;
use crate::ops::{Act, Attention, Cols, Dims, Ops};

fn draw(source: &Draw) -> u32 {
    let mut source = source.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    source()
}

/// How queries are cut: as `nh` × `nw` tiles of a sequence that is read as `h` rows of `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiles {
    nh: usize,
    nw: usize,
    h: usize,
    w: usize,
}

impl Tiling {
    /// The tiles for a layer of `tokens` positions of a latent of `rows` × `columns` cells; `None` where the layer
    /// is not cut.
    fn tiles(&self, tokens: usize, (rows, columns): (usize, usize)) -> Option<Tiles> {
        let level = (0..=self.depth).find(|i| {
            let at = |size: usize| size as f64 / 2f64.powi(*i as i32);
            at(rows) * at(columns) == tokens as f64
        })?;
        // The reference names them the other way round, which shows in pictures that are no squares.
        let (wide, tokens) = (columns as f64 / rows as f64, tokens as f64);
        let h = (tokens * wide).sqrt().round_ties_even() as usize;
        let w = (tokens / wide).sqrt().round_ties_even() as usize;
        let size = self.size * if self.scales { 1 << level } else { 1 };
        let (nh, nw) = (self.divisor(h, size), self.divisor(w, size));
        (nh * nw > 1).then_some(Tiles { nh, nw, h, w })
    }

    /// Into how many parts of at least `least` a side is cut.
    fn divisor(&self, side: usize, least: usize) -> usize {
        let parts: Vec<usize> = (least.min(side)..=side)
            .filter(|size| *size > 0 && side.is_multiple_of(*size))
            .take(self.swap)
            .map(|size| side / size)
            .collect();
        match parts.len() {
            0 => 1,
            // The last one is never drawn, in the reference too.
            n @ 2.. => parts[draw(&self.draw) as usize % (n - 1)],
            1 => parts[0],
        }
    }
}

impl Tiles {
    /// Where a position of the sequence is, tile by tile.
    fn order(self) -> impl Iterator<Item = usize> {
        let Self { nh, nw, h, w } = self;
        let (th, tw) = (h / nh, w / nw);
        (0..nh * nw).flat_map(move |tile| {
            let (top, left) = ((tile / nw) * th, (tile % nw) * tw);
            (0..th * tw).map(move |i| (top + i / tw) * w + left + i % tw)
        })
    }

    fn count(self) -> usize {
        self.nh * self.nw
    }
}

/// Rows of each sample in another order; `from[i]` is the place of row `i`.
fn gathered(values: &[f32], d: Dims, from: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for sample in values.chunks_exact((d.positions() * d.c).max(1)) {
        from.iter().for_each(|&i| out.extend_from_slice(&sample[i * d.c..(i + 1) * d.c]));
    }
    out
}

/// Queries of every sample that stand for others.
struct Merged {
    /// For each sample and each position, the row of the merged queries that answers for it.
    places: Vec<Vec<usize>>,
    rows: usize,
}

impl Merged {
    /// Finds which queries to merge: in each square of four positions one is drawn that others may join; the share
    /// of the others that are most like their nearest joins it.
    fn find(metric: &[f32], d: Dims, ratio: f64, source: &Draw) -> Option<Self> {
        let (h, w, tokens) = (d.h, d.w, d.positions());
        let r = (tokens as f64 * ratio) as usize;
        if r == 0 || w == 1 || h == 1 {
            return None;
        }
        let (squares_h, squares_w) = (h / 2, w / 2);
        let mut joins = vec![false; tokens];
        for square in 0..squares_h * squares_w {
            let (top, left, at) =
                ((square / squares_w) * 2, (square % squares_w) * 2, (draw(source) % 4) as usize);
            joins[(top + at / 2) * w + left + at % 2] = true;
        }
        let targets: Vec<usize> = (0..tokens).filter(|i| joins[*i]).collect();
        let others: Vec<usize> = (0..tokens).filter(|i| !joins[*i]).collect();
        let r = r.min(others.len());
        let mut places = Vec::new();
        for sample in metric.chunks_exact(tokens * d.c) {
            places.push(Self::of_sample(sample, d.c, &targets, &others, r));
        }
        Some(Self { places, rows: tokens - r })
    }

    fn of_sample(sample: &[f32], c: usize, targets: &[usize], others: &[usize], r: usize) -> Vec<usize> {
        use rayon::prelude::*;
        let unit = |i: &usize| -> Vec<f32> {
            let row = &sample[i * c..(i + 1) * c];
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row.iter().map(|v| v / length).collect()
        };
        let directions: Vec<Vec<f32>> = targets.iter().map(unit).collect();
        let nearest: Vec<(f32, usize)> = others
            .par_iter()
            .map(|i| {
                let own = unit(i);
                let mut best = (f32::NEG_INFINITY, 0);
                for (j, other) in directions.iter().enumerate() {
                    let alike = own.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
                    if alike > best.0 {
                        best = (alike, j);
                    }
                }
                best
            })
            .collect();
        let mut order: Vec<usize> = (0..others.len()).collect();
        order.sort_by(|a, b| nearest[*b].0.total_cmp(&nearest[*a].0));
        let mut places = vec![0; targets.len() + others.len()];
        let kept = others.len() - r;
        targets.iter().enumerate().for_each(|(j, i)| places[*i] = kept + j);
        for (rank, other) in order.iter().enumerate() {
            places[others[*other]] = if rank < r { kept + nearest[*other].1 } else { rank - r };
        }
        places
    }

    /// The means of the queries that share a row.
    fn merge(&self, values: &[f32], c: usize) -> Vec<f32> {
        let tokens = self.places.first().map_or(0, Vec::len);
        let mut out = Vec::with_capacity(self.places.len() * self.rows * c);
        for (sample, places) in values.chunks_exact((tokens * c).max(1)).zip(&self.places) {
            let (mut sums, mut counts) = (vec![0f32; self.rows * c], vec![0f32; self.rows]);
            for (row, place) in sample.chunks_exact(c).zip(places) {
                counts[*place] += 1.0;
                sums[place * c..(place + 1) * c].iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
            sums.chunks_exact_mut(c).zip(&counts).for_each(|(row, n)| row.iter_mut().for_each(|v| *v /= n));
            out.extend(sums);
        }
        out
    }

    /// Every position's answer.
    fn spread(&self, values: &[f32], c: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for (sample, places) in values.chunks_exact((self.rows * c).max(1)).zip(&self.places) {
            places.iter().for_each(|place| out.extend_from_slice(&sample[place * c..(place + 1) * c]));
        }
        out
    }
}

/// Something to be undone on the answers.
enum Undo {
    Tiles(Tiles),
    Merged(Merged),
}

impl Changes {
    /// Self-attention over `q`, `k` and `v` of the same positions. `normed` is what they were made from, `cells` the
    /// latent's rows and columns, `middle` whether this is the middle block and `first` its first layer.
    pub(crate) fn self_attention(
        &self,
        ops: &Ops,
        [q, k, v]: [Cols<'_>; 3],
        heads: usize,
        normed: &Act,
        cells: (usize, usize),
        (middle, first): (bool, bool),
    ) -> Result<Act> {
        let (d, c) = (q.act.dims(), q.len);
        let tokens = d.positions();
        if middle && self.perturbed {
            return Ok(ops.slice(v, 0, tokens)?.with_positions(d.h, d.w));
        }
        if let Some(recording) = self.recorder.as_ref().filter(|_| middle && first) {
            recording.write(ops, q, k, heads)?;
        }
        let mut queries: Option<Act> = None;
        let mut undo = Vec::new();
        let mut parts = 1;
        for change in &self.attention {
            let own = match &queries {
                Some(queries) => queries.cols(),
                None => q,
            };
            match change {
                AttentionChange::Tiles(tiling) => {
                    let here = own.act.dims();
                    let Some(tiles) = tiling.tiles(here.positions(), cells) else { continue };
                    if parts > 1 {
                        continue;
                    }
                    let whole = ops.slice(own, 0, here.positions())?;
                    let order: Vec<usize> = tiles.order().collect();
                    let values = gathered(&ops.download(&whole)?, whole.dims(), &order);
                    let n = d.n * tiles.count();
                    queries = Some(ops.upload(Dims::tokens(n, order.len() / tiles.count(), c), &values)?);
                    parts = tiles.count();
                    undo.push(Undo::Tiles(tiles));
                }
                AttentionChange::Merge { ratio, draw } => {
                    // Layers of lower resolution are cheap, and stay.
                    if parts > 1 || tokens < cells.0 * cells.1 || !undo.is_empty() {
                        continue;
                    }
                    let metric = ops.download(normed)?;
                    let shape = Dims { h: cells.0, w: cells.1, ..normed.dims() };
                    let Some(merged) = Merged::find(&metric, shape, *ratio, draw) else { continue };
                    let whole = ops.slice(own, 0, tokens)?;
                    let values = merged.merge(&ops.download(&whole)?, c);
                    queries = Some(ops.upload(Dims::tokens(d.n, merged.rows, c), &values)?);
                    undo.push(Undo::Merged(merged));
                }
            }
        }
        let Some(queries) = queries else { return ops.attention(Attention::new(heads, q, k, v)) };
        // The reference reads keys and values in as many runs as there are tiles.
        let share = |x: Cols<'_>| -> Result<Act> {
            let whole = ops.slice(x, 0, tokens)?;
            Ok(whole.regrouped(d.n * parts, tokens / parts))
        };
        let (k, v) = (share(k)?, share(v)?);
        let mut answers = ops.attention(Attention::new(heads, queries.cols(), k.cols(), v.cols()))?;
        drop((queries, k, v));
        for undo in undo.iter().rev() {
            let values = ops.download(&answers)?;
            let values = match undo {
                Undo::Tiles(tiles) => {
                    let mut places = vec![0; tokens];
                    tiles.order().enumerate().for_each(|(to, from)| places[from] = to);
                    gathered(&values, Dims::tokens(d.n, tokens, c), &places)
                }
                Undo::Merged(merged) => merged.spread(&values, c),
            };
            answers = ops.upload(Dims { c, ..d }, &values)?;
        }
        Ok(answers)
    }
}

impl Recording {
    fn write(&self, ops: &Ops, q: Cols<'_>, k: Cols<'_>, heads: usize) -> Result<()> {
        let d = q.act.dims();
        let tokens = d.positions();
        let part = |x: Cols<'_>| -> Result<Vec<f32>> { ops.download(&ops.slice(x, 0, tokens)?) };
        let (queries, keys, c) = (part(q)?, part(k)?, q.len);
        let size = (c / heads.max(1)).max(1);
        let scale = (size as f32).powf(-0.5);
        let (first, count) = self.samples;
        for sample in first..(first + count).min(d.n) {
            let rows = |x: &[f32], i: usize, head: usize| -> Vec<f32> {
                x[(sample * tokens + i) * c + head * size..][..size].to_vec()
            };
            let mut sums = vec![0f32; tokens];
            for head in 0..heads {
                let keys: Vec<Vec<f32>> = (0..tokens).map(|i| rows(&keys, i, head)).collect();
                for i in 0..tokens {
                    let query = rows(&queries, i, head);
                    let mut scores: Vec<f32> = keys
                        .iter()
                        .map(|key| scale * query.iter().zip(key).map(|(a, b)| a * b).sum::<f32>())
                        .collect();
                    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    scores.iter_mut().for_each(|s| *s = (*s - most).exp());
                    let total: f32 = scores.iter().sum();
                    sums.iter_mut().zip(&scores).for_each(|(sum, s)| *sum += s / total);
                }
            }
            sums.iter_mut().for_each(|sum| *sum /= heads as f32);
            self.sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(sums);
        }
        Ok(())
    }
}
