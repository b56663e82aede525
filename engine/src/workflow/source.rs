//! A file that carries a workflow, whichever way: API format, UI format, a request's envelope, or a
//! PNG with either in its texts.

use serde_json::{Map, Value as Json};

use super::png::{self, PngError};
use super::ui::{self, Catalog, ConvertError, Options, UnknownNode};
use super::{Workflow, WorkflowError};

/// What was found in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// How it was written.
    pub format: Format,
    /// The workflow: in UI format if [`Format::is_ui`] says so, else in API format.
    pub workflow: Json,
    /// What belongs into the metadata of pictures beside the prompt: the UI workflow, if there is
    /// one.
    pub extra_pnginfo: Map<String, Json>,
}

/// The ways to write a workflow down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Id → class and inputs.
    Api,
    /// What the editor saves.
    Ui,
    /// A `POST /prompt` body: `{"prompt": …}`.
    Envelope,
    /// A PNG's `prompt` text, in API format.
    PngPrompt,
    /// A PNG's `workflow` text, in UI format.
    PngWorkflow,
}

impl Format {
    /// Whether the workflow is to be converted first.
    pub fn is_ui(self) -> bool {
        matches!(self, Self::Ui | Self::PngWorkflow)
    }
}

/// Why a file gives no workflow.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Neither JSON nor PNG.
    #[error("this is neither JSON nor a PNG: {0}")]
    NotJson(#[source] serde_json::Error),
    /// A damaged PNG.
    #[error(transparent)]
    Png(#[from] PngError),
    /// A PNG that no workflow was written into.
    #[error(
        "the PNG carries no workflow: it has no `prompt` and no `workflow` text \
         (saving it again, or sending it through a chat program, often removes them)"
    )]
    PngWithoutWorkflow,
    /// A text that is no JSON.
    #[error("the PNG's `{key}` text is not JSON: {error}")]
    PngText {
        /// Its keyword.
        key: &'static str,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// A UI workflow that does not convert.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// Not the API format.
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
}

/// A workflow ready to be checked.
#[derive(Debug)]
pub struct Opened {
    /// In API format.
    pub workflow: Workflow,
    /// How it was written.
    pub format: Format,
    /// See [`Source::extra_pnginfo`].
    pub extra_pnginfo: Map<String, Json>,
    /// Nodes of a UI workflow that the catalog does not know.
    pub unknown: Vec<UnknownNode>,
}

/// The text behind a UTF-16 byte order mark.
fn utf16(bytes: &[u8]) -> Option<String> {
    let unit = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    String::from_utf16(&units).ok()
}

impl Source {
    /// Finds the workflow in a file's bytes.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(bytes: &[u8]) -> Result<Self, SourceError> {
        if png::is_png(bytes) {
            return Self::from_png(bytes);
        }
        // Editors on some systems put a byte order mark first, and shells on some write UTF-16 after one.
        let utf16 = utf16(bytes).map(String::into_bytes);
        let bytes = utf16.as_deref().unwrap_or(bytes);
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let json = serde_json::from_slice(bytes).or_else(|error| match std::str::from_utf8(bytes) {
            Ok(text) => parse_loosely(text),
            Err(_) => Err(error),
        });
        Ok(Self::from_json(json.map_err(SourceError::NotJson)?))
    }

    /// Finds the workflow in a JSON document.
    pub fn from_json(mut json: Json) -> Self {
        if ui::is_ui(&json) {
            let extra_pnginfo = Map::from_iter([("workflow".to_owned(), json.clone())]);
            return Self { format: Format::Ui, workflow: json, extra_pnginfo };
        }
        // A node could be called "prompt"; an envelope's has no class.
        let enveloped = json.get("prompt").is_some_and(|p| p.is_object() && p.get("class_type").is_none());
        if enveloped {
            let extra = json.pointer_mut("/extra_data/extra_pnginfo").map(Json::take);
            let extra_pnginfo = match extra {
                Some(Json::Object(map)) => map,
                _ => Map::new(),
            };
            let workflow = json.get_mut("prompt").map(Json::take).unwrap_or_default();
            return Self { format: Format::Envelope, workflow, extra_pnginfo };
        }
        Self { format: Format::Api, workflow: json, extra_pnginfo: Map::new() }
    }

    /// The prompt is what ran, so that it comes before the drawing.
    fn from_png(bytes: &[u8]) -> Result<Self, SourceError> {
        let texts = png::texts(bytes)?;
        let parse = |key: &'static str| {
            let text = texts.get(key).map(|text| parse_loosely(text));
            text.transpose().map_err(|error| SourceError::PngText { key, error })
        };
        let prompt = parse("prompt")?;
        // A prompt runs without its drawing, even where that is damaged.
        let drawing = match &prompt {
            Some(_) => parse("workflow").ok().flatten(),
            None => parse("workflow")?,
        };
        let extra_pnginfo =
            drawing.clone().map(|drawing| ("workflow".to_owned(), drawing)).into_iter().collect();
        let (format, workflow) = match (prompt, drawing) {
            (Some(prompt), _) => (Format::PngPrompt, prompt),
            (None, Some(drawing)) => (Format::PngWorkflow, drawing),
            (None, None) => return Err(SourceError::PngWithoutWorkflow),
        };
        Ok(Self { format, workflow, extra_pnginfo })
    }

    /// Converts it if need be, and reads it.
    ///
    /// # Errors
    /// Where it does not convert, or is not of the API format's shape.
    pub fn open(self, catalog: &Catalog, options: &mut Options<'_>) -> Result<Opened, SourceError> {
        let Self { format, workflow, extra_pnginfo } = self;
        let (json, unknown) = if format.is_ui() {
            let converted = ui::convert(workflow, catalog, options)?;
            (converted.prompt, converted.unknown)
        } else {
            (workflow, Vec::new())
        };
        Ok(Opened { workflow: Workflow::from_json(json)?, format, extra_pnginfo, unknown })
    }
}

/// Reads JSON as Python writes it: `NaN` and `Infinity`, which ComfyUI's metadata contain, are null.
fn parse_loosely(text: &str) -> Result<Json, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| {
        let plain = without_not_numbers(text);
        if plain == text { Err(error) } else { serde_json::from_str(&plain) }
    })
}

fn without_not_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let word =
            ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        let mut taken = c.len_utf8();
        match c {
            '"' => in_string = !in_string,
            '\\' if in_string => taken += rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let read = |json: Json| Source::read(json.to_string().as_bytes()).unwrap();
        let api = json!({"1": {"class_type": "A", "inputs": {}}});
        assert_eq!(read(api.clone()).format, Format::Api);
        let named = json!({"prompt": {"class_type": "A", "inputs": {}}});
        assert_eq!(read(named).format, Format::Api);
        let drawing = json!({"nodes": [], "links": []});
        assert_eq!(read(drawing.clone()).extra_pnginfo["workflow"], drawing);
        let body = json!({"prompt": api, "extra_data": {"extra_pnginfo": {"workflow": drawing}}});
        let body = read(body);
        assert_eq!((body.format, &body.workflow), (Format::Envelope, &api));
        assert_eq!(body.extra_pnginfo["workflow"], drawing);
    }

    #[test]
    fn python_json_is_read() {
        let source =
            Source::read(b"\xef\xbb\xbf{\"1\": {\"is_changed\": [NaN, -Infinity], \"t\": \"NaN \\\" NaN\"}}")
                .unwrap();
        assert_eq!(source.workflow, json!({"1": {"is_changed": [null, null], "t": "NaN \" NaN"}}));
        let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}{\"1\": {\"class_type\": \"Ä\"}}".encode_utf16().flat_map(unit).collect()
        };
        for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
            assert_eq!(Source::read(&bytes).unwrap().workflow, json!({"1": {"class_type": "Ä"}}));
        }
        assert!(matches!(Source::read(b"not json"), Err(SourceError::NotJson(_))));
        assert!(matches!(Source::read(b""), Err(SourceError::NotJson(_))));
    }
}
