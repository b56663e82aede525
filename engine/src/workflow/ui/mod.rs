//! From the editor's format to the API's.
//!
//! What a browser saves is a drawing: nodes with positions, widget values by position, reroutes,
//! muted and bypassed nodes, subgraphs. What runs is a list of nodes with named inputs. This module
//! flattens the one into the other, in the steps that the files follow:
//!
//! - `groups`: legacy group nodes become subgraphs first.
//! - `document`: nodes, links and definitions are read.
//! - `scopes`: every active instance of a subgraph becomes a scope, within [`Limits`].
//! - `follow` (with `bypass` and `promoted`): where a link comes from in the end.
//! - `values` and `text`: what a widget holds, and what the editor does to texts.
//! - `emit`: the entries.
//!
//! [`Catalog`] tells it what nodes declare. Where generations of ComfyUI's front end disagree, the
//! newest one is followed.
//!
//! ```
//! use ebb_engine::workflow::ui::{Catalog, Options, convert};
//! use serde_json::json;
//!
//! let info = json!({"EmptyImage": {"input": {"required": {"width": ["INT", {"default": 512}]}}}});
//! let drawn = json!({"nodes": [{"id": 1, "type": "EmptyImage", "widgets_values": [64]}], "links": []});
//! let converted = convert(drawn, &Catalog::from_object_info(&info), &mut Options::seeded(0))?;
//! assert_eq!(converted.prompt["1"]["inputs"]["width"], 64);
//! # Ok::<(), ebb_engine::workflow::ui::ConvertError>(())
//! ```

mod bypass;
mod catalog;
mod clock;
mod document;
mod emit;
mod error;
mod follow;
mod groups;
mod promoted;
mod scopes;
mod text;
mod values;

pub use catalog::Catalog;
pub use clock::Clock;
pub use error::ConvertError;
pub use scopes::Limits;

use serde_json::Value as Json;

use document::Document;
use emit::Emitter;

/// What a conversion needs to know beside the file.
pub struct Options<'p> {
    /// The time for `%date:…%`; without one, such placeholders stay.
    pub clock: Option<Clock>,
    /// Picks among the choices of `{a|b}`: given how many there are, which one, from 0.
    pub pick: Box<dyn FnMut(usize) -> usize + 'p>,
    /// How large a workflow may be.
    pub limits: Limits,
}

impl Options<'_> {
    /// Choices drawn from a seed: the same seed picks the same ones.
    pub fn seeded(seed: u64) -> Self {
        // SplitMix64 (Steele, Lea, Flood 2014): small, and even enough to pick among words.
        let mut state = seed;
        let pick = move |bound: usize| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
        };
        Self { clock: None, pick: Box::new(pick), limits: Limits::default() }
    }
}

/// A converted workflow.
#[derive(Debug)]
pub struct Converted {
    /// The workflow in API format.
    pub prompt: Json,
    /// Nodes whose class the catalog does not know. As in the editor they are in the prompt without
    /// a `class_type`, so that no server takes it; this list has the names.
    pub unknown: Vec<UnknownNode>,
}

/// A node of a class that nobody declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNode {
    /// Its id in the prompt.
    pub id: String,
    /// Its class.
    pub class: String,
}

/// Whether a JSON document looks like a UI workflow: an object with a list of nodes.
pub fn is_ui(json: &Json) -> bool {
    json.get("nodes").is_some_and(Json::is_array)
}

/// Converts a UI workflow.
///
/// # Errors
/// Where the document does not have the editor's shape, where subgraphs or links go round in
/// circles, and where a limit is met. An unknown class is no error here: see
/// [`Converted::unknown`].
pub fn convert(json: Json, catalog: &Catalog, options: &mut Options<'_>) -> Result<Converted, ConvertError> {
    let json = groups::into_subgraphs(json, catalog, &options.limits)?;
    let document = Document::read(&json)?;
    let scopes = scopes::lay_out(&document, &options.limits)?;
    Emitter::new(&document, &scopes, catalog, options).prompt()
}
