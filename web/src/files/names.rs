//! Which words may be part of a path at all. Purely text: nothing here looks at a disk.

use std::path::PathBuf;

/// Why a path is refused or not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// Not a usable name: empty, too long, control characters, a drive, a device.
    #[error("not a usable file name")]
    Bad,
    /// It leads out of its folder.
    #[error("the path leads out of its folder")]
    Outside,
    /// There is no such file.
    #[error("no such file")]
    Missing,
    /// The system refused.
    #[error("the file cannot be opened")]
    Failed,
}

/// Bytes of one part of a path, the bound of every file system in use.
const LONGEST_PART: usize = 255;
/// Bytes of a whole relative path.
const LONGEST: usize = 2048;

/// A relative path from a request: forward slashes, no way out, nothing that another system reads differently.
/// Empty parts are dropped (`a//b`), so `""` is the folder itself.
pub(crate) fn relative(path: &str) -> Result<PathBuf, PathError> {
    if path.len() > LONGEST {
        return Err(PathError::Bad);
    }
    if path.starts_with('/') {
        return Err(PathError::Outside);
    }
    let mut out = PathBuf::new();
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        out.push(self::part(part)?);
    }
    Ok(out)
}

/// One part of a path.
pub(crate) fn part(part: &str) -> Result<&str, PathError> {
    if part == ".." || part.split('\\').any(|p| p == "..") || part.starts_with('\\') {
        return Err(PathError::Outside);
    }
    let drive = part.as_bytes().get(1) == Some(&b':') && part.as_bytes()[0].is_ascii_alphabetic();
    // Dots at the end and backslashes name another file on Windows, where a data folder may be opened later.
    let refused = part.is_empty()
        || part.len() > LONGEST_PART
        || part == "."
        || part.ends_with('.')
        || part.contains('\\')
        || part.chars().any(char::is_control)
        || drive;
    if refused { Err(PathError::Bad) } else { Ok(part) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ways_out_are_refused() {
        for path in
            ["..", "../x", "a/../..", "a/../../b", "/etc/passwd", "\\\\host\\x", "..\\x", "a\\..\\b", "\\x"]
        {
            assert_eq!(relative(path), Err(PathError::Outside), "{path}");
        }
    }

    #[test]
    fn names_that_other_systems_read_differently_are_refused() {
        let long = "x".repeat(256);
        for path in ["a\0b", "C:", "c:x", "C:\\x", "a.", "a/b..", "a\\b", "a\nb", "\u{7f}", long.as_str()] {
            assert!(relative(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for (path, expected) in [
            ("a.png", "a.png"),
            ("a/b c/ü.png", "a/b c/ü.png"),
            ("./a//b", "a/b"),
            ("", ""),
            ("%2e%2e", "%2e%2e"),
            ("...x", "...x"),
        ] {
            assert_eq!(relative(path), Ok(PathBuf::from(expected)), "{path}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_passes_leads_out(path in "[a-z./\\\\:\u{0}]{0,24}") {
            if let Ok(inside) = relative(&path) {
                prop_assert!(inside.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
