//! Names from workflows and requests, resolved to files inside a folder and nowhere else.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Why a name is refused.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The name is empty, absolute, climbs out, or has characters that mean something else on
    /// another system.
    #[error("`{name}` is not a file name inside {folder}: {why}")]
    Unsafe {
        /// The name.
        name: String,
        /// The folder that it should be in.
        folder: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name leads, by a link, to a place outside of the folder.
    #[error("`{name}` leads out of {folder}; links may only point inside it")]
    Escapes {
        /// The name.
        name: String,
        /// The folder.
        folder: String,
    },
    /// There is no such file.
    #[error("`{name}` is not in {folder}")]
    Missing {
        /// The name.
        name: String,
        /// The folder.
        folder: String,
    },
    /// The system does not open it.
    #[error("`{name}` in {folder} cannot be opened: {why}")]
    Failed {
        /// The name.
        name: String,
        /// The folder.
        folder: String,
        /// The system's reason.
        why: std::io::Error,
    },
}

/// The relative path that a name means, judged by its text alone.
///
/// # Errors
/// [`NameError::Unsafe`].
pub fn relative(name: &str, folder: &Path) -> Result<PathBuf, NameError> {
    let unsafe_name = |why| NameError::Unsafe {
        name: name.chars().take(200).collect(),
        folder: folder.display().to_string(),
        why,
    };
    if name.len() > 1024 {
        return Err(unsafe_name("it is longer than 1,024 bytes"));
    }
    if name.contains(['\0', '\\', ':']) || name.chars().any(char::is_control) {
        return Err(unsafe_name("it holds a backslash, a colon or a control character"));
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => {
                if part.len() > 255 {
                    return Err(unsafe_name("a part of it is longer than 255 bytes"));
                }
                path.push(part);
            }
            Component::CurDir => {}
            Component::ParentDir => return Err(unsafe_name("it climbs out with `..`")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(unsafe_name("it is an absolute path"));
            }
        }
    }
    if path.as_os_str().is_empty() {
        return Err(unsafe_name("it is empty"));
    }
    Ok(path)
}

/// Opens the file that a name means. Links are followed, and the file that is opened is inside.
///
/// # Errors
/// Where the name is unsafe, leads out, there is no such file, or it cannot be opened.
pub fn open(folder: &Path, name: &str) -> Result<File, NameError> {
    let path = folder.join(relative(name, folder)?);
    let here = || folder.display().to_string();
    let missing = || NameError::Missing { name: name.to_owned(), folder: here() };
    let escapes = || NameError::Escapes { name: name.to_owned(), folder: here() };
    let real = path.canonicalize().map_err(|_| missing())?;
    let root = folder.canonicalize().map_err(|_| missing())?;
    let inside = real.strip_prefix(&root).map_err(|_| escapes())?;
    // What was looked up may have been replaced by a link since.
    ebb_weights::open_beneath(&root, inside).map_err(|why| match why.kind() {
        _ if ebb_weights::is_escape(&why) => escapes(),
        ErrorKind::NotFound => missing(),
        _ => NameError::Failed { name: name.to_owned(), folder: here(), why },
    })
}

/// A folder inside another, made where it is missing; links are followed before the check.
///
/// # Errors
/// Where the name is unsafe, leads out, or the folder cannot be made.
pub fn subfolder(folder: &Path, name: &str) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let root = folder.canonicalize()?;
    if name.is_empty() {
        return Ok(root);
    }
    let refused = |e: NameError| std::io::Error::new(std::io::ErrorKind::InvalidInput, e);
    let relative = relative(name, folder).map_err(refused)?;
    // Level by level, so that a link on the way is seen before anything is made behind it.
    let mut path = root.clone();
    for part in relative.components() {
        path.push(part);
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        path = path.canonicalize()?;
        if !path.starts_with(&root) {
            let folder = folder.display().to_string();
            return Err(refused(NameError::Escapes { name: name.to_owned(), folder }));
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_leave_the_folder() {
        let folder = Path::new("input");
        for name in
            ["", ".", "..", "../a", "a/../../b", "/etc/passwd", "C:\\x", "C:x", "a\0b", "a\\b", "a\nb"]
        {
            assert!(relative(name, folder).is_err(), "{name:?} was taken");
        }
        assert!(relative(&"x".repeat(300), folder).is_err());
        assert_eq!(relative("a/./b.png", folder).unwrap(), Path::new("a/b.png"));
    }

    #[cfg(unix)]
    #[test]
    fn refuses_links_that_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), inside.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("folder")).unwrap();
        assert!(matches!(open(&inside, "link"), Err(NameError::Escapes { .. })));
        assert!(subfolder(&inside, "folder/deeper").is_err());
        assert!(!outside.join("deeper").exists());
        assert!(subfolder(&inside, "a/b").unwrap().is_dir());
    }
}
