//! A name below a folder, opened.
//!
//! Files are opened without a check before it, because a link could be put in the file's place in between
//! ([`open_beneath`]).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ebb_weights::{is_escape, open_beneath};

use super::names::{PathError, relative};

/// Opens a file below `root` to read. Folders and devices are `Missing`.
pub(crate) fn open(root: &Path, path: &str) -> Result<File, PathError> {
    let inside = relative(path)?;
    if inside.as_os_str().is_empty() {
        return Err(PathError::Bad);
    }
    open_beneath(root, &inside).map_err(|e| match (is_escape(&e), e.kind()) {
        (true, _) => PathError::Outside,
        (_, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput) => {
            PathError::Missing
        }
        (_, io::ErrorKind::InvalidFilename) => PathError::Bad,
        // Links that lead to themselves.
        _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => PathError::Missing,
        _ => PathError::Failed,
    })
}

/// The real place of a path below `root` that exists; of its nearest existing parent with the rest added otherwise.
pub(crate) fn resolve(root: &Path, path: &str) -> Result<PathBuf, PathError> {
    let inside = relative(path)?;
    let root = root.canonicalize().map_err(|_| PathError::Missing)?;
    let mut real = root.clone();
    for part in inside.components() {
        let next = real.join(part);
        real = match next.canonicalize() {
            Ok(found) if found.starts_with(&root) => found,
            Ok(_) => return Err(PathError::Outside),
            // A link to nowhere would be followed by whoever creates the file.
            Err(_) if next.symlink_metadata().is_ok() => return Err(PathError::Outside),
            Err(e) if e.kind() == io::ErrorKind::NotFound => next,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(PathError::Missing),
            Err(_) => return Err(PathError::Failed),
        };
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn folders() -> (tempfile::TempDir, PathBuf) {
        let base = tempfile::tempdir().expect("a folder");
        let root = base.path().join("root");
        std::fs::create_dir_all(root.join("sub")).expect("folders");
        std::fs::write(base.path().join("secret"), "secret").expect("a file");
        std::fs::write(root.join("sub/a.txt"), "a").expect("a file");
        (base, root)
    }

    #[test]
    fn files_inside_open() {
        let (_base, root) = folders();
        symlink("sub", root.join("link")).expect("a link");
        for path in ["sub/a.txt", "link/a.txt", "./sub//a.txt"] {
            let mut text = String::new();
            open(&root, path).expect(path).read_to_string(&mut text).expect("text");
            assert_eq!(text, "a");
        }
        for path in ["sub", "nothing", "sub/a.txt/b"] {
            assert_eq!(open(&root, path).map(drop), Err(PathError::Missing), "{path}");
        }
    }

    #[test]
    fn links_that_lead_out_are_refused() {
        let (base, root) = folders();
        symlink(base.path().join("secret"), root.join("absolute")).expect("a link");
        symlink("../secret", root.join("relative")).expect("a link");
        symlink(base.path(), root.join("folder")).expect("a link");
        symlink("/nowhere/at/all", root.join("dangling")).expect("a link");
        for path in ["absolute", "relative", "folder/secret"] {
            assert_eq!(open(&root, path).map(drop), Err(PathError::Outside), "{path}");
            assert_eq!(resolve(&root, path), Err(PathError::Outside), "{path}");
        }
        assert!(resolve(&root, "dangling").is_err(), "a file must not be created through it");
        assert_eq!(resolve(&root, "folder/new"), Err(PathError::Outside));
    }

    #[test]
    fn places_of_new_files() {
        let (_base, root) = folders();
        let real = root.canonicalize().expect("it is there");
        assert_eq!(resolve(&root, "sub/new/deep.txt"), Ok(real.join("sub/new/deep.txt")));
        assert_eq!(resolve(&root, "sub/a.txt/b"), Err(PathError::Missing));
    }

    #[test]
    fn case_13_a_file_swapped_for_a_link_while_it_is_opened() {
        let (base, root) = folders();
        let (name, honest, link) = (root.join("swapped"), root.join("honest"), root.join("link"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::fs::write(&honest, "honest").expect("a file");
                    std::fs::rename(&honest, &name).expect("swapped in");
                    symlink(base.path().join("secret"), &link).expect("a link");
                    std::fs::rename(&link, &name).expect("swapped in");
                }
            });
            // A failure must end the swapping too, or the scope waits for it without end.
            let _stop = OnDrop(&stop);
            let (mut read, mut refused) = (0, 0);
            while read < 1000 || refused < 1000 {
                match open(&root, "swapped") {
                    Ok(mut file) => {
                        let mut text = String::new();
                        file.read_to_string(&mut text).expect("text");
                        assert_ne!(text, "secret");
                        read += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        });
    }

    struct OnDrop<'a>(&'a AtomicBool);

    impl Drop for OnDrop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
