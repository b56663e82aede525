//! LoRA and its kin: files of small matrices that change a base model, as a view on it.
//!
//! A LoRA file names *modules* in the spelling of the tool that trained it. [`Keys`] knows every spelling of every
//! module of a base component; [`Patches`] is a file read through it; [`Patched`] is the base with patches applied, one
//! more [`Source`]. Nothing of the base is copied: a model loaded from the view with the base's
//! [`Params`](crate::Params) shares every weight that no patch touches.

mod delta;
mod keys;
mod rotation;
mod transformers;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use half::{bf16, f16};

use crate::{
    Error, Result,
    source::{Info, Source, Stored, Values},
};
use delta::{Kind, Module};
pub use keys::{Keys, Spelling};

/// What one file changes of one component. Its tensors are read when a patched weight is.
pub struct Patches {
    file: Arc<dyn Source>,
    by_tensor: BTreeMap<String, Vec<Change>>,
    fingerprint: u64,
    ignored: Vec<String>,
}

/// A change of all of a tensor's rows, or of some.
struct Change {
    rows: Option<(usize, usize)>,
    kind: Kind,
    /// The file's tensors of this module.
    roles: Arc<HashMap<Role, String>>,
}

/// Ends of the names of what belongs to one module, longest first where one ends with another.
const ENDS: [(&str, Role); 41] = [
    (".lora_up.weight", Role::Up),
    (".lora_down.weight", Role::Down),
    (".lora_mid.weight", Role::Mid),
    (".lora_B.weight", Role::Up),
    (".lora_A.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".hada_w1_a", Role::HadaW1A),
    (".hada_w1_b", Role::HadaW1B),
    (".hada_w2_a", Role::HadaW2A),
    (".hada_w2_b", Role::HadaW2B),
    (".lokr_w1", Role::KronW1),
    (".lokr_w1_a", Role::KronW1A),
    (".lokr_w1_b", Role::KronW1B),
    (".lokr_w2", Role::KronW2),
    (".lokr_w2_a", Role::KronW2A),
    (".lokr_w2_b", Role::KronW2B),
    (".alpha", Role::Alpha),
    (".dora_scale", Role::DoraScale),
    (".diff", Role::Diff),
    (".diff_b", Role::BiasDiff),
    (".w_norm", Role::NormDiff),
    (".b_norm", Role::NormBiasDiff),
    (".set_weight", Role::Set),
    (".hada_t1", Role::HadaT1),
    (".hada_t2", Role::HadaT2),
    (".lokr_t1", Role::KronT1),
    (".lokr_t2", Role::KronT2),
    (".a1.weight", Role::GloraA1),
    (".a2.weight", Role::GloraA2),
    (".b1.weight", Role::GloraB1),
    (".b2.weight", Role::GloraB2),
    (".oft_blocks", Role::Rotation),
    (".lora_A", Role::Down),
    (".lora_B", Role::Up),
];

/// What a tensor of a LoRA file is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Up,
    Down,
    Mid,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    KronW1,
    KronW1A,
    KronW1B,
    KronW2,
    KronW2A,
    KronW2B,
    Alpha,
    DoraScale,
    Diff,
    BiasDiff,
    NormDiff,
    NormBiasDiff,
    Set,
    HadaT1,
    HadaT2,
    KronT1,
    KronT2,
    GloraA1,
    GloraA2,
    GloraB1,
    GloraB2,
    Rotation,
}

impl Patches {
    /// Finds what a file changes of the component that `keys` was made for; reads names and shapes only.
    /// `fingerprint` tells the file from others.
    pub fn read(file: Arc<dyn Source>, keys: &Keys, fingerprint: u64) -> Self {
        let mut modules: BTreeMap<String, HashMap<Role, String>> = BTreeMap::new();
        let mut ignored = Vec::new();
        for name in file.names() {
            match ENDS.iter().find_map(|(end, role)| Some((name.strip_suffix(end)?, *role))) {
                Some((module, role)) => {
                    modules.entry(module.to_owned()).or_default().insert(role, name.clone());
                }
                None => ignored.push(name),
            }
        }
        let mut by_tensor: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        for (module, roles) in modules {
            let kinds = [Kind::of_weight(&roles), Kind::of_bias(&roles)];
            let target = keys.find(&module).filter(|_| kinds.iter().any(Option::is_some));
            let Some(target) = target else {
                ignored.extend(roles.into_values());
                continue;
            };
            let roles = Arc::new(roles);
            for (kind, tensor) in kinds.into_iter().zip([target.tensor.clone(), target.bias()]) {
                if let Some(kind) = kind {
                    let change = Change { rows: target.rows, kind, roles: roles.clone() };
                    by_tensor.entry(tensor).or_default().push(change);
                }
            }
        }
        ignored.sort();
        Self { file, by_tensor, fingerprint, ignored }
    }

    /// How many tensors of the component it changes.
    pub fn len(&self) -> usize {
        self.by_tensor.len()
    }

    /// Whether it changes nothing of the component.
    pub fn is_empty(&self) -> bool {
        self.by_tensor.is_empty()
    }

    /// Names in the file that belong to no module of the component, or to a kind of change that is not known.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }
}

/// A component with patches applied.
pub struct Patched<S> {
    base: S,
    patches: Vec<(Arc<Patches>, f32)>,
}

impl<S: Source> Patched<S> {
    /// `base` changed by each of `patches` in turn, times its strength. A strength of zero is no change.
    pub fn new(base: S, patches: impl IntoIterator<Item = (Arc<Patches>, f32)>) -> Self {
        Self { base, patches: patches.into_iter().filter(|(_, strength)| *strength != 0.0).collect() }
    }

    fn changes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Change, f32, &'a Patches)> {
        self.patches.iter().flat_map(move |(patches, strength)| {
            let changes = patches.by_tensor.get(name).into_iter().flatten();
            changes.map(move |change| (change, *strength, &**patches))
        })
    }
}

impl<S: Source> Source for Patched<S> {
    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn info(&self, name: &str) -> Option<Info> {
        self.base.info(name)
    }

    fn read(&self, name: &str) -> Result<Values> {
        let values = self.base.read(name)?;
        if self.changes(name).next().is_none() {
            return Ok(values);
        }
        let info = self
            .info(name)
            .ok_or_else(|| Error::MissingTensor { what: "patched model", name: name.into() })?;
        let mut values = values.into_f32();
        for (change, strength, patches) in self.changes(name) {
            let row = info.shape.iter().skip(1).product::<usize>();
            let (first, count) = change.rows.unwrap_or((0, info.shape.first().copied().unwrap_or(1)));
            let mut shape = info.shape.clone();
            if let Some(rows) = shape.first_mut() {
                *rows = count;
            }
            let part = values.get_mut(first * row..(first + count) * row).ok_or_else(|| Error::Shape {
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: format!("at least {} rows, for the patch", first + count),
            })?;
            let module = Module { file: &*patches.file, roles: &change.roles };
            module.apply(change.kind, name, part, &shape, strength)?;
        }
        Ok(match info.stored {
            Stored::F32 => Values::F32(values),
            Stored::F16 => Values::F16(values.into_iter().map(f16::from_f32).collect()),
            Stored::Bf16 => Values::Bf16(values.into_iter().map(bf16::from_f32).collect()),
        })
    }

    fn blocks(&self, name: &str) -> Option<ebb_kernels::Quant> {
        if self.changes(name).next().is_some() { None } else { self.base.blocks(name) }
    }

    fn read_blocks(&self, name: &str) -> Result<Vec<u8>> {
        self.base.read_blocks(name)
    }

    fn revision(&self, name: &str) -> u64 {
        self.changes(name).fold(self.base.revision(name), |r, (_, strength, patches)| {
            // Order matters to rounding, and to what changes after a decomposition.
            (r ^ patches.fingerprint ^ u64::from(strength.to_bits()).rotate_left(32))
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                | 1
        })
    }
}
