//! What is done once before the first step: areas in cells, masks in the latent's size, ranges in sigmas,
//! and the entries that a side lacks.

use candle_core::{DType, Tensor};

use super::conditioning::{Area, Conditioning, Mask, Opaque};
use super::inputs::ModelInputs;
use super::model::{InputContext, Model, Side};
use super::weights::{CellArea, holds};
use crate::mask::resize_bilinear;
use crate::model_sampling::ModelSampling;
use crate::{Error, Result};

/// An entry that is ready to be run at every step.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) inputs: ModelInputs,
    pub(super) area: Option<CellArea>,
    pub(super) strength: f64,
    /// In the latent's size, with its factor.
    pub(super) mask: Option<(Tensor, f64)>,
    start_sigma: Option<f64>,
    end_sigma: Option<f64>,
    pub(super) control: Option<Opaque>,
    control_applies_to_others: bool,
    pub(super) patches: Option<Opaque>,
}

impl Prepared {
    /// Whether the entry speaks at this noise level.
    ///
    /// Compared in f32: ranges are computed in f64 for some models, while sigmas are f32, and a range that
    /// begins at a step must hold it.
    pub(super) fn speaks_at(&self, sigma: f64) -> bool {
        let sigma = sigma as f32;
        self.start_sigma.is_none_or(|start| sigma <= start as f32)
            && self.end_sigma.is_none_or(|end| sigma >= end as f32)
    }
}

/// Prepares the entries of all sides.
pub(super) fn prepare(
    sides: &[(Side, &[Conditioning])],
    model: &mut dyn Model,
    sampling: &ModelSampling,
    context: InputContext<'_>,
) -> Result<Vec<(Side, Vec<Prepared>)>> {
    let latent = spatial_size(context.noise)?;
    let mut prepared = Vec::with_capacity(sides.len());
    for &(side, entries) in sides {
        let context = InputContext { side, ..context };
        let entries = entries
            .iter()
            .map(|entry| prepare_entry(entry, model, sampling, &context, latent))
            .collect::<Result<Vec<_>>>()?;
        prepared.push((side, entries));
    }
    give_every_area_an_opposite(&mut prepared);
    spread_to_other_sides(&mut prepared, |entry| entry.control_applies_to_others, |entry| &mut entry.control);
    spread_to_other_sides(&mut prepared, |_| true, |entry| &mut entry.patches);
    Ok(prepared)
}

/// Rows and columns of a latent.
pub(super) fn spatial_size(latent: &Tensor) -> Result<(usize, usize)> {
    match *latent.dims() {
        [_, _, .., height, width] => Ok((height, width)),
        _ => Err(Error::Shape {
            what: "latent",
            found: latent.dims().to_vec(),
            expected: "batch × channels × rows × columns".into(),
        }),
    }
}

fn prepare_entry(
    entry: &Conditioning,
    model: &mut dyn Model,
    sampling: &ModelSampling,
    context: &InputContext<'_>,
    latent: (usize, usize),
) -> Result<Prepared> {
    let mut area = entry.area.map(|area| cells(area, latent)).transpose()?;
    let mut mask = None;
    if let Some(Mask { weights, strength, area_is_its_bounds }) = &entry.mask {
        let weights = mask_in_latent_size(weights, latent)?;
        if *area_is_its_bounds {
            area = bounds(&weights)?.within(latent.0, latent.1);
        }
        mask = Some((weights, *strength));
    }
    Ok(Prepared {
        inputs: model.inputs(entry, context)?,
        area,
        strength: entry.strength.unwrap_or(1.0),
        mask,
        start_sigma: entry.start_percent.map(|percent| sampling.percent_to_sigma(percent)),
        end_sigma: entry.end_percent.map(|percent| sampling.percent_to_sigma(percent)),
        control: entry.control.clone(),
        control_applies_to_others: entry.control_applies_to_others,
        patches: entry.patches.clone(),
    })
}

fn cells(area: Area, (rows, columns): (usize, usize)) -> Result<CellArea> {
    let round = |share: f64, of: usize| (share * of as f64).round_ties_even().max(0.0) as usize;
    let cells = match area {
        Area::Cells { height, width, y, x } => CellArea { height, width, y, x },
        Area::Share { height, width, y, x } => CellArea {
            height: round(height, rows).max(1),
            width: round(width, columns).max(1),
            y: round(y, rows),
            x: round(x, columns),
        },
    };
    let inside = cells.within(rows, columns).filter(|area| area.cells() > 0);
    inside.ok_or_else(|| Error::Option {
        what: "conditioning",
        option: "area",
        found: format!("{area:?}"),
        expected: "a rectangle that overlaps the latent",
    })
}

/// A mask as batch × rows × columns in the latent's size.
fn mask_in_latent_size(mask: &Tensor, (rows, columns): (usize, usize)) -> Result<Tensor> {
    let mask = match mask.dims() {
        [_, _] => mask.unsqueeze(0)?,
        [_, _, _] => mask.clone(),
        found => {
            return Err(Error::Shape {
                what: "a conditioning's mask",
                found: found.to_vec(),
                expected: "rows × columns, or batch × rows × columns".into(),
            });
        }
    };
    Ok(resize_bilinear(&mask.unsqueeze(1)?, rows, columns)?.squeeze(1)?)
}

/// The rectangle around all weights that are not zero, at least 8 × 8 cells.
fn bounds(mask: &Tensor) -> Result<CellArea> {
    const LEAST: usize = 8;
    let weights = mask.to_dtype(DType::F32)?.abs()?.max(0)?.to_vec2::<f32>()?;
    let rows: Vec<usize> =
        weights.iter().enumerate().filter(|(_, row)| row.iter().any(|w| *w != 0.0)).map(|(i, _)| i).collect();
    let used_columns = weights.iter().flat_map(|row| {
        row.iter().enumerate().filter(|(_, weight)| **weight != 0.0).map(|(column, _)| column)
    });
    let columns = used_columns.fold(None, |range: Option<(usize, usize)>, column| {
        Some(range.map_or((column, column), |(low, high)| (low.min(column), high.max(column))))
    });
    let (Some(&top), Some(&bottom), Some((left, right))) = (rows.first(), rows.last(), columns) else {
        // An empty mask: nothing will be heard of this entry, so let it cost little.
        return Ok(CellArea { height: LEAST, width: LEAST, y: 0, x: 0 });
    };
    Ok(CellArea {
        height: (bottom - top + 1).max(LEAST),
        width: (right - left + 1).max(LEAST),
        y: top,
        x: left,
    })
}

/// Guidance compares the sides cell by cell, and a model sees a crop differently than the whole. So where one
/// side has an entry for an area, every other side gets one for the same area: a copy of its entry with the
/// smallest area around it.
fn give_every_area_an_opposite(sides: &mut [(Side, Vec<Prepared>)]) {
    for from in 0..sides.len() {
        // By index: entries that are added here are themselves looked at.
        let mut i = 0;
        while i < sides[from].1.len() {
            let entry = sides[from].1[i].clone();
            for to in (0..sides.len()).filter(|to| *to != from) {
                let added = opposite(&sides[to].1, &entry);
                sides[to].1.extend(added);
            }
            i += 1;
        }
    }
}

fn opposite(entries: &[Prepared], of: &Prepared) -> Option<Prepared> {
    let area = of.area.as_ref()?;
    let candidates = entries.iter().filter(|entry| holds(entry.area.as_ref(), area));
    let cells = |entry: &Prepared| entry.area.map_or(usize::MAX, |area| area.cells());
    let smallest = candidates.min_by_key(|entry| cells(entry))?;
    let exists = smallest.area == Some(*area);
    (!exists).then(|| Prepared { inputs: smallest.inputs.clone(), ..of.clone() })
}

/// Gives what the positive entries carry (and `spreads`) to the entries of the other sides, in turn, unless a
/// side has its own.
fn spread_to_other_sides(
    sides: &mut [(Side, Vec<Prepared>)],
    spreads: impl Fn(&Prepared) -> bool,
    field: impl Fn(&mut Prepared) -> &mut Option<Opaque>,
) {
    let mut carried = Vec::new();
    for (side, entries) in sides.iter_mut() {
        if *side == Side::Positive {
            for entry in entries.iter_mut().filter(|entry| entry.area.is_none() && spreads(entry)) {
                carried.extend(field(entry).clone());
            }
        }
    }
    for (_, entries) in sides.iter_mut().filter(|(side, _)| *side != Side::Positive) {
        let mut whole: Vec<&mut Prepared> = entries.iter_mut().filter(|entry| entry.area.is_none()).collect();
        if whole.is_empty() || whole.iter_mut().any(|entry| field(entry).is_some()) {
            continue;
        }
        let count = whole.len();
        for (i, object) in carried.iter().enumerate() {
            *field(whole[i % count]) = Some(object.clone());
        }
    }
}
