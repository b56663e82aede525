//! What a user conditions a picture on.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Tensor;

/// Something that sampling passes on without looking into it. Two are the same if they are one object.
pub type Opaque = Arc<dyn Any + Send + Sync>;

/// One entry of a conditioning: an encoded prompt, and where and when it speaks.
///
/// Cheap to clone: tensors are shared.
#[derive(Clone, Debug, Default)]
pub struct Conditioning {
    /// The encoded prompt, batch × tokens × channels.
    pub cross_attn: Option<Tensor>,
    /// The prompt as one vector, for families that read one.
    pub pooled: Option<Tensor>,
    /// What else the family reads (sizes, guidance, reference latents …), by the names of its nodes.
    pub extra: BTreeMap<String, CondValue>,
    /// Where in the picture it speaks; everywhere if none.
    pub area: Option<Area>,
    /// Its weight where several entries speak; 1 if none.
    pub strength: Option<f64>,
    /// Where it speaks, and how loud, in any size.
    pub mask: Option<Mask>,
    /// The share of sampling (0 to 1) after which it speaks.
    pub start_percent: Option<f64>,
    /// The share of sampling (0 to 1) until which it speaks.
    pub end_percent: Option<f64>,
    /// ControlNets and their like. Entries are batched only with entries of the same object.
    pub control: Option<Opaque>,
    /// Whether `control` also guides the other sides, where they have none of their own.
    pub control_applies_to_others: bool,
    /// Changes of the model's layers for this entry (GLIGEN).
    pub patches: Option<Opaque>,
}

/// A rectangle of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Area {
    /// In cells of the latent.
    Cells {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// First row.
        y: usize,
        /// First column.
        x: usize,
    },
    /// In shares (0 to 1) of the latent's size.
    Share {
        /// Share of the rows.
        height: f64,
        /// Share of the columns.
        width: f64,
        /// Where the first row is.
        y: f64,
        /// Where the first column is.
        x: f64,
    },
}

impl Area {
    /// Rows and columns that it has in a latent of so many, before it is cut at the latent's edges.
    pub fn size(self, rows: usize, columns: usize) -> [usize; 2] {
        let share = |share: f64, of: usize| ((share * of as f64).round_ties_even().max(0.0) as usize).max(1);
        match self {
            Self::Cells { height, width, .. } => [height.min(rows), width.min(columns)],
            Self::Share { height, width, .. } => {
                [share(height, rows).min(rows), share(width, columns).min(columns)]
            }
        }
    }
}

/// A map of weights over the picture.
#[derive(Clone, Debug)]
pub struct Mask {
    /// Weights, height × width or batch × height × width, in any size.
    pub weights: Tensor,
    /// Factor on the weights.
    pub strength: f64,
    /// Whether the model sees only the rectangle around the weights that are not zero.
    pub area_is_its_bounds: bool,
}

/// A value for a model that is not one of the usual tensors.
#[derive(Clone, Debug)]
pub enum CondValue {
    /// A number or a size.
    Number(f64),
    /// A switch.
    Flag(bool),
    /// A name.
    Text(String),
    /// A tensor.
    Tensor(Tensor),
    /// Several tensors.
    Tensors(Vec<Tensor>),
    /// Anything else.
    Opaque(Opaque),
}

impl Conditioning {
    /// An encoded prompt that speaks everywhere and always.
    pub fn prompt(cross_attn: Tensor, pooled: Option<Tensor>) -> Self {
        Self { cross_attn: Some(cross_attn), pooled, ..Self::default() }
    }

    /// The number under a name in `extra`.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.extra.get(name)? {
            CondValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The tensor under a name in `extra`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        match self.extra.get(name)? {
            CondValue::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }
}
