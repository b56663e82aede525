//! `SaveImage`, `PreviewImage`, and the file names that both give.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::schema::{Hidden, Input, Schema};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use crate::files;
use crate::folders::Folders;
use crate::pixels::png;
use crate::values::Image;

/// Numbers new files after those that a folder holds: `PREFIX_00001_.png`.
pub(crate) struct Saver {
    folder: PathBuf,
    subfolder: String,
    stem: String,
    counter: u64,
}

impl Saver {
    /// Reads where a prefix leads: `a/b` is the stem `b` in the subfolder `a`; `%width%`,
    /// `%height%`, `%year%` … `%second%` are filled in. `%batch_num%` is left for [`save`](Self::save).
    pub(crate) fn new(root: &Path, prefix: &str, width: usize, height: usize) -> Result<Self, NodeError> {
        let refused = |e: String| NodeError::input("filename_prefix", e);
        let prefix = fill_in(prefix, width, height);
        let relative = files::relative(&prefix, root).map_err(|e| refused(e.to_string()))?;
        let stem = relative.file_name().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let subfolder = relative.parent().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = files::subfolder(root, &subfolder).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidInput => {
                refused(format!("the folder for `{prefix}` cannot be made: {e}"))
            }
            // No fault of the workflow's.
            _ => NodeError::failed(format!(
                "nothing can be saved: the folder {} cannot be made: {e}",
                root.join(&subfolder).display()
            )),
        })?;
        let names = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let highest = names.filter_map(|e| number_of(&e.file_name().to_string_lossy(), &stem)).max();
        Ok(Self { folder, subfolder, stem, counter: highest.map_or(1, |n| n.saturating_add(1)) })
    }

    /// Writes the next file of the series and tells its name.
    pub(crate) fn save(&mut self, batch: usize, ending: &str, bytes: &[u8]) -> Result<String, NodeError> {
        let stem = self.stem.replace("%batch_num%", &batch.to_string());
        let counter = &mut self.counter;
        let written = png::write_new(&self.folder, bytes, || {
            let name = format!("{stem}_{counter:05}_.{ending}");
            *counter += 1;
            name
        });
        let (_, name) = written.map_err(|e| {
            NodeError::failed(format!(
                "{} cannot be written to {}: {e}; nothing was left behind",
                stem,
                self.folder.display()
            ))
        })?;
        Ok(name)
    }

    /// Has the next file of the series written under another name, then gives it its own: whole, or not at all, and
    /// never over one that is there.
    pub(crate) fn save_as(
        &mut self,
        ending: &str,
        write: impl FnOnce(&Path) -> Result<(), NodeError>,
    ) -> Result<String, NodeError> {
        let temporary = self.folder.join(format!(".{}.{}.{ending}", self.stem, moment()));
        let written = write(&temporary).and_then(|()| {
            loop {
                let name = format!("{}_{:05}_.{ending}", self.stem, self.counter);
                self.counter += 1;
                match std::fs::hard_link(&temporary, self.folder.join(&name)) {
                    Ok(()) => return Ok(name),
                    Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                    Err(e) => {
                        let folder = self.folder.display();
                        return Err(NodeError::failed(format!("{name} cannot be written to {folder}: {e}")));
                    }
                }
            }
        });
        // Its other name stays where it got one.
        let _ = std::fs::remove_file(&temporary);
        written
    }

    /// What a client needs to find a file.
    pub(crate) fn describe(&self, name: &str, kind: &str) -> Json {
        json!({"filename": name, "subfolder": self.subfolder, "type": kind})
    }
}

/// What tells two files of one moment apart.
fn moment() -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}-{count}", std::process::id())
}

/// The number in `STEM_00012_…`, if the name is of that form.
fn number_of(name: &str, stem: &str) -> Option<u64> {
    let rest = name.strip_prefix(stem)?.strip_prefix('_')?;
    rest.split('_').next()?.parse().ok()
}

fn fill_in(prefix: &str, width: usize, height: usize) -> String {
    if !prefix.contains('%') {
        return prefix.to_owned();
    }
    let now = jiff::Zoned::now();
    let filled = prefix.replace("%width%", &width.to_string()).replace("%height%", &height.to_string());
    let parts = [
        ("%year%", now.strftime("%Y")),
        ("%month%", now.strftime("%m")),
        ("%day%", now.strftime("%d")),
        ("%hour%", now.strftime("%H")),
        ("%minute%", now.strftime("%M")),
        ("%second%", now.strftime("%S")),
    ];
    parts.iter().fold(filled, |text, (key, value)| text.replace(key, &value.to_string()))
}

/// The text chunks of a picture: the prompt, and each key that the client sent along.
pub(crate) fn metadata(context: &Context) -> Vec<(String, String)> {
    let mut texts = vec![("prompt".to_owned(), png::ascii_json(&context.prompt().to_json()))];
    if let Json::Object(extra) = &*context.extra_pnginfo() {
        // A PNG keyword is 1 to 79 bytes of Latin-1; others cannot be stored and are left out.
        let storable = extra.iter().filter(|(key, _)| (1..80).contains(&key.len()) && key.is_ascii());
        texts.extend(storable.map(|(key, value)| (key.clone(), png::ascii_json(value))));
    }
    texts
}

/// `{"images": [...]}`.
fn saved_ui(images: Vec<Json>) -> Map<String, Json> {
    Map::from_iter([("images".to_owned(), Json::Array(images))])
}

fn save_all(context: &Context, image: &Image, mut saver: Saver, kind: &str) -> Result<Outcome, NodeError> {
    let shape = image.shape();
    let texts = metadata(context);
    let pixels = image.to_vec()?;
    let size = (shape.width * shape.height * shape.channels).max(1);
    let mut saved = Vec::new();
    for (batch, picture) in pixels.chunks_exact(size).enumerate() {
        context.check()?;
        let bytes = png::to_bytes(picture);
        let encoded = png::encode(&bytes, (shape.width, shape.height, shape.channels), &texts)
            .map_err(|e| NodeError::failed(format!("the picture cannot be encoded as PNG: {e}")))?;
        let name = saver.save(batch, "png", &encoded)?;
        saved.push(saver.describe(&name, kind));
    }
    Ok(Outcome::none().with_ui(saved_ui(saved)))
}

fn with_hidden(schema: Schema) -> Schema {
    schema
        .hidden("prompt", Hidden::Prompt)
        .hidden("extra_pnginfo", Hidden::ExtraPngInfo)
        .output_node()
        .compute()
}

/// Writes images to the output folder.
pub(super) struct SaveImage(pub(super) Arc<Folders>);

impl Node for SaveImage {
    fn schema(&self) -> Schema {
        let schema = Schema::new("SaveImage")
            .display("Save Image")
            .category("image")
            .input(Input::wire("images", "IMAGE"))
            .input(Input::string("filename_prefix", "ComfyUI"));
        with_hidden(schema)
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let image = inputs.payload::<Image>("images")?;
        let prefix =
            inputs.get("filename_prefix").map_or(Ok("ComfyUI"), |_| inputs.str("filename_prefix"))?;
        let saver = Saver::new(&self.0.output, prefix, image.shape().width, image.shape().height)?;
        save_all(context, &image, saver, "output")
    }
}

/// Writes images to the temp folder, for a client to show.
pub(super) struct PreviewImage(pub(super) Arc<Folders>);

/// Five letters that stay the same for a node as long as the process lives.
fn letters(node: &str) -> String {
    static PROCESS: OnceLock<[u8; 16]> = OnceLock::new();
    let secret = PROCESS.get_or_init(|| {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&started.as_nanos().to_le_bytes());
        bytes
    });
    let hash = Sha256::new().chain_update(secret).chain_update(node).finalize();
    hash.iter().take(5).map(|byte| char::from(b'a' + byte % 26)).collect()
}

impl Node for PreviewImage {
    fn schema(&self) -> Schema {
        let schema = Schema::new("PreviewImage")
            .display("Preview Image")
            .category("image")
            .input(Input::wire("images", "IMAGE"));
        with_hidden(schema)
    }

    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        preview(context, &self.0, &*inputs.payload::<Image>("images")?)
    }
}

/// Writes pictures to the temp folder, and tells the client of them.
pub(super) fn preview(context: &Context, folders: &Folders, image: &Image) -> Result<Outcome, NodeError> {
    let prefix = format!("ComfyUI_temp_{}", letters(context.node().id.as_str()));
    let saver = Saver::new(&folders.temp, &prefix, image.shape().width, image.shape().height)?;
    save_all(context, image, saver, "temp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_after_the_highest() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ebb_00001_.png", "ebb_00007_.png", "ebb_x_.png", "other_00009_.png", "ebb.png"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let mut saver = Saver::new(dir.path(), "ebb", 1, 1).unwrap();
        assert_eq!(saver.save(0, "png", b"x").unwrap(), "ebb_00008_.png");
        assert_eq!(saver.save(1, "png", b"x").unwrap(), "ebb_00009_.png");
    }

    #[test]
    fn a_prefix_names_a_subfolder_and_fills_in_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let mut saver = Saver::new(dir.path(), "a/b_%width%x%height%_%batch_num%", 64, 32).unwrap();
        let name = saver.save(3, "png", b"x").unwrap();
        assert_eq!(name, "b_64x32_3_00001_.png");
        assert!(dir.path().join("a").join(&name).is_file());
        assert_eq!(saver.describe(&name, "output")["subfolder"], "a");
    }

    #[test]
    fn a_prefix_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        for prefix in ["../x", "/tmp/x", "a/../../x", "C:\\x", ""] {
            assert!(Saver::new(dir.path(), prefix, 1, 1).is_err(), "{prefix:?} was taken");
        }
    }
}
