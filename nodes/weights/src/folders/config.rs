//! `extra_model_paths.yaml`, as ComfyUI reads it.
//!
//! Sections of any name hold folders by kind, several to a kind as lines of one text. `base_path`
//! stands before them, `is_default` puts them first.

use std::env;
use std::path::{Component, Path, PathBuf};

use serde_yaml_ng::{Mapping, Value};

use crate::{Result, WeightError};

/// A folder that a configuration adds.
pub(super) struct Entry {
    pub(super) kind: String,
    pub(super) folder: PathBuf,
    pub(super) first: bool,
}

/// Longer than any list of folders.
const MAX_BYTES: u64 = 1 << 20;

pub(super) fn read(file: &Path) -> Result<Vec<Entry>> {
    let bad = |detail: String| WeightError::BadConfig { file: file.to_owned(), detail };
    let io = |e| WeightError::io(file, e);
    let size = file.metadata().map_err(io)?.len();
    if size > MAX_BYTES {
        let what = "its length in bytes".to_owned();
        return Err(WeightError::OverLimit { file: file.to_owned(), what, found: size, cap: MAX_BYTES });
    }
    let text = std::fs::read_to_string(file).map_err(io)?;
    let sections: Option<Mapping> = serde_yaml_ng::from_str(&text).map_err(|e| bad(e.to_string()))?;
    let beside = std::path::absolute(file).map_err(io)?.parent().map(Path::to_owned).unwrap_or_default();

    let mut entries = Vec::new();
    for (name, section) in sections.unwrap_or_default() {
        let name = name.as_str().unwrap_or("?").to_owned();
        let section = match section {
            Value::Null => continue,
            Value::Mapping(section) => section,
            _ => return Err(bad(format!("section '{name}' is not a list of `kind: folder`"))),
        };
        let base = match section.get("base_path") {
            None | Some(Value::Null) => beside.clone(),
            Some(Value::String(base)) => beside.join(expand(base)),
            Some(_) => return Err(bad(format!("base_path of section '{name}' is not text"))),
        };
        let first = matches!(section.get("is_default"), Some(Value::Bool(true)));
        for (kind, folders) in section {
            let kind = match kind.as_str() {
                Some("base_path" | "is_default") => continue,
                Some(kind) => kind.to_owned(),
                None => return Err(bad(format!("section '{name}' has a kind that is not text"))),
            };
            let folders = match folders {
                Value::Null => continue,
                Value::String(folders) => folders,
                _ => return Err(bad(format!("'{kind}' of section '{name}' is not text"))),
            };
            for line in folders.lines().map(str::trim).filter(|line| !line.is_empty()) {
                entries.push(Entry { kind: kind.clone(), folder: normal(&base.join(expand(line))), first });
            }
        }
    }
    Ok(entries)
}

/// Replaces a leading `~` and `$NAME`, `${NAME}` by what they stand for; what is not set stays.
fn expand(text: &str) -> PathBuf {
    let text = match (text.strip_prefix('~'), env::var("HOME")) {
        (Some(rest), Ok(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => text.to_owned(),
    };
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end + 1)
            }
        };
        match env::var(name) {
            Ok(value) if !name.is_empty() => out.push_str(&value),
            _ => out.push_str(&rest[at..at + length]),
        }
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    PathBuf::from(out)
}

/// Resolves `.` and `..` by their text: the folder need not exist.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<(String, String, bool)>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("extra_model_paths.yaml");
        std::fs::write(&file, text).unwrap();
        let base = folder.path().to_str().unwrap();
        let entries = read(&file)?;
        let plain = |e: Entry| (e.kind, e.folder.to_str().unwrap().replace(base, "BESIDE"), e.first);
        Ok(entries.into_iter().map(plain).collect())
    }

    #[test]
    fn sections_bases_and_lines() {
        let text = "
# comment
a111:
    base_path: /sd/webui/
    checkpoints: models/Stable-diffusion
    loras: |
         models/Lora
         models/LyCORIS
empty:
near:
    is_default: true
    vae: ../vae/./x
    custom: /else/where
";
        let expected = [
            ("checkpoints", "/sd/webui/models/Stable-diffusion", false),
            ("loras", "/sd/webui/models/Lora", false),
            ("loras", "/sd/webui/models/LyCORIS", false),
            ("custom", "/else/where", true),
        ];
        let found = entries(text).unwrap();
        for (kind, folder, first) in expected {
            assert!(found.contains(&(kind.into(), folder.into(), first)), "{kind}: {found:?}");
        }
        assert!(found.iter().any(|(k, f, first)| k == "vae" && f.ends_with("/vae/x") && *first));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn what_is_no_configuration_is_said() {
        assert!(entries("").unwrap().is_empty());
        assert!(entries("a: [1, 2]").unwrap_err().to_string().contains("section 'a'"));
        assert!(entries("a:\n  vae: 3").unwrap_err().to_string().contains("'vae' of section 'a'"));
        assert!(matches!(entries("a: {"), Err(WeightError::BadConfig { .. })));
    }

    #[test]
    fn variables_stand_for_their_values() {
        let path = env::var("PATH").unwrap();
        assert_eq!(expand("$PATH/x"), PathBuf::from(format!("{path}/x")));
        assert_eq!(expand("${PATH}y"), PathBuf::from(format!("{path}y")));
        assert_eq!(expand("a$EBB_NOT_SET/$"), PathBuf::from("a$EBB_NOT_SET/$"));
    }
}
