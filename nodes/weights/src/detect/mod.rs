//! What a file holds: found out from names and shapes by one table, with the reasons.

mod family;
mod prediction;
mod sign;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

pub use family::{Family, Medium, Naming, Part, Prediction};
pub use sign::Evidence;
use table::Place;

use crate::{DType, Format, ModelFile, Result, WeightError, WeightSource};

/// What a file holds, and how that was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file.
    pub file: PathBuf,
    /// Its format.
    pub format: Format,
    /// Its length.
    pub bytes: u64,
    /// The number of its tensors.
    pub tensors: usize,
    /// What tells it from other files; see [`ModelFile::fingerprint`].
    pub fingerprint: String,
    /// Its parts, in the order: denoiser, text encoders, autoencoder, others.
    pub components: Vec<Component>,
    /// Tensors that belong to none of them: schedules, counters, averages.
    pub other: Leftover,
    /// The text that its maker put beside the tensors.
    pub metadata: BTreeMap<String, String>,
}

/// A part of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Component {
    /// What it does.
    pub part: Part,
    /// What it is.
    pub family: Family,
    /// That in words.
    pub title: &'static str,
    /// How its tensors are called.
    pub naming: Naming,
    /// What its tensors' names begin with in the file.
    pub prefix: String,
    /// What it predicts, if it is a denoiser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    /// The number of its tensors.
    pub tensors: usize,
    /// Their bytes in the file.
    pub bytes: u64,
    /// The types of their values with the bytes of each, the most first.
    pub dtypes: Vec<(DType, u64)>,
    /// The tensors that told what it is.
    pub evidence: Vec<Evidence>,
}

/// Tensors of no known use.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Leftover {
    /// How many.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The first of their names.
    pub examples: Vec<String>,
}

/// How many characters of a metadata value an inspection repeats: training tools put megabytes there.
const METADATA_SHOWN: usize = 200;

/// Looks at a file's header, and at one small tensor where only values can tell.
///
/// # Errors
/// Where that tensor cannot be read. A file that holds nothing known is no error here: it has no
/// components.
pub fn inspect(file: &Arc<ModelFile>) -> Result<Inspection> {
    let source = WeightSource::of_file(file);
    let components = components(&source)?;
    let belongs = |name: &str| components.iter().any(|c| name.starts_with(&c.prefix));
    let mut other = Leftover::default();
    for view in source.tensors().filter(|view| !belongs(view.name())) {
        other.tensors += 1;
        other.bytes += view.stored_bytes();
        if other.examples.len() < 5 {
            other.examples.push(view.name().to_owned());
        }
    }
    let shorten = |v: &String| match v.char_indices().nth(METADATA_SHOWN) {
        Some((at, _)) => format!("{}…", &v[..at]),
        None => v.clone(),
    };
    Ok(Inspection {
        file: file.path().to_owned(),
        format: file.format(),
        bytes: file.bytes(),
        tensors: file.tensors().len(),
        fingerprint: file.fingerprint(),
        components,
        other,
        metadata: file.metadata().iter().map(|(k, v)| (k.clone(), shorten(v))).collect(),
    })
}

/// The components of a source: what [`inspect`] finds, for sources that are not one file.
///
/// # Errors
/// Where a tensor that must be looked into cannot be read.
pub fn components(source: &WeightSource) -> Result<Vec<Component>> {
    if let Some(found) = find(&table::ON_TOP, source) {
        return Ok(vec![found]);
    }
    if let Some(found) = find(&table::CONTROL, source) {
        return Ok(vec![found]);
    }
    let mut found: Vec<Component> = Vec::new();
    if let Some(mut denoiser) = find(&table::DENOISERS, source) {
        prediction::find(source, &mut denoiser)?;
        found.push(denoiser);
    }
    for place in
        [&table::CLIP_L, &table::CLIP_G, &table::CLIP_H, &table::LANGUAGE, &table::VAES, &table::VISION]
    {
        // A component that fills the whole file leaves no room for others.
        if found.iter().any(|c| c.prefix.is_empty()) {
            break;
        }
        found.extend(find(place, source).filter(|c| !c.prefix.is_empty() || found.is_empty()));
    }
    for place in [&table::LONE_CLIP, &table::UPSCALERS] {
        if found.is_empty() {
            found.extend(find(place, source));
        }
    }
    found.sort_by_key(|c| c.part);
    Ok(found)
}

/// The first place and row that match.
fn find(place: &Place, source: &WeightSource) -> Option<Component> {
    place.prefixes.iter().find_map(|prefix| {
        let inside = if prefix.is_empty() { source.clone() } else { source.under(prefix) };
        if inside.is_empty() {
            return None;
        }
        let (rule, evidence) = place.rules.iter().find_map(|rule| Some((rule, rule.matches(&inside)?)))?;
        let mut dtypes = BTreeMap::new();
        for view in inside.tensors() {
            *dtypes.entry(view.dtype()).or_insert(0) += view.stored_bytes();
        }
        let mut dtypes: Vec<(DType, u64)> = dtypes.into_iter().collect();
        dtypes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        Some(Component {
            part: rule.part,
            family: rule.family,
            title: rule.family.title(),
            naming: rule.naming,
            prefix: (*prefix).to_owned(),
            prediction: None,
            tensors: inside.len(),
            bytes: inside.bytes(),
            dtypes,
            evidence: evidence
                .into_iter()
                .map(|e| Evidence { looked_at: format!("{prefix}{}", e.looked_at), ..e })
                .collect(),
        })
    })
}

impl Component {
    /// Its tensors, without the prefix.
    pub fn source(&self, file: &WeightSource) -> WeightSource {
        if self.prefix.is_empty() { file.clone() } else { file.under(&self.prefix) }
    }
}

impl Inspection {
    /// The first component of a part.
    pub fn component(&self, part: Part) -> Option<&Component> {
        self.components.iter().find(|c| c.part == part)
    }

    /// All components of a part.
    pub fn all(&self, part: Part) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(move |c| c.part == part)
    }

    /// A component that a loader cannot do without.
    ///
    /// # Errors
    /// [`WeightError::Unsupported`], which says what the file holds instead, and refuses a model of
    /// video, sound or shapes by its name.
    pub fn require(&self, part: Part) -> Result<&Component> {
        let refuse = |family: &str, reason: String| WeightError::Unsupported {
            file: self.file.clone(),
            family: family.to_owned(),
            reason,
        };
        if let Some(other) = self.components.iter().find(|c| c.family.medium() != Medium::Image) {
            let makes = match other.family.medium() {
                Medium::Video => "a video model",
                Medium::Audio => "an audio model",
                Medium::ThreeD => "a 3D model",
                Medium::Image => "an image model",
            };
            return Err(refuse(other.title, format!("{makes}; only models of still images run here")));
        }
        self.component(part).ok_or_else(|| match self.components.first() {
            Some(other) => refuse(other.title, format!("a file with a {} was expected", part.name())),
            None => refuse(
                "an unknown model",
                format!(
                    "none of its {} tensors is known, e.g. {}",
                    self.tensors,
                    self.other.examples.join(", ")
                ),
            ),
        })
    }
}

#[cfg(test)]
mod tests;
