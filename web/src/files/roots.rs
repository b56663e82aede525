//! A name below a folder, opened.
//!
//! A check of a path and the opening of it are two moments, and between them a link can be put in its place. So the
//! file is opened first, by `openat2` with `RESOLVE_BENEATH` where the system has it: the kernel itself follows links
//! and refuses those that lead out. Elsewhere the canonical path is compared, the file is opened by it, and what was
//! opened is compared with what is there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::names::{PathError, relative};

/// Opens a file below `root` to read. Folders and devices are `Missing`.
pub(crate) fn open(root: &Path, path: &str) -> Result<File, PathError> {
    let inside = relative(path)?;
    if inside.as_os_str().is_empty() {
        return Err(PathError::Bad);
    }
    let file = open_beneath(root, &inside)?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        Ok(_) => Err(PathError::Missing),
        Err(_) => Err(PathError::Failed),
    }
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

#[cfg(target_os = "linux")]
fn open_beneath(root: &Path, inside: &Path) -> Result<File, PathError> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
    use rustix::io::Errno;

    let folder = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|_| PathError::Missing)?;
    // Not blocking: a pipe put in a file's place must not hold the thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat2(&folder, inside, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
    {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::XDEV) => Err(PathError::Outside),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR) => Err(PathError::Missing),
        // Kernels before 5.6, and sandboxes that know no openat2.
        Err(Errno::NOSYS | Errno::PERM) => open_compared(root, inside),
        Err(Errno::NAMETOOLONG) => Err(PathError::Bad),
        Err(_) => Err(PathError::Failed),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(root: &Path, inside: &Path) -> Result<File, PathError> {
    open_compared(root, inside)
}

fn open_compared(root: &Path, inside: &Path) -> Result<File, PathError> {
    let root = root.canonicalize().map_err(|_| PathError::Missing)?;
    let real = root.join(inside).canonicalize().map_err(|_| PathError::Missing)?;
    if !real.starts_with(&root) {
        return Err(PathError::Outside);
    }
    let file = File::open(&real).map_err(|_| PathError::Missing)?;
    // Swapped in between: the name now leads elsewhere.
    match real.canonicalize() {
        Ok(again) if again == real => Ok(file),
        _ => Err(PathError::Outside),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

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
            assert_eq!(open_compared(&root, Path::new(path)).map(drop), Err(PathError::Outside), "{path}");
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
        let stop = std::sync::atomic::AtomicBool::new(false);
        let mut read = [0; 2];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::write(&honest, "honest").expect("a file");
                    std::fs::rename(&honest, &name).expect("swapped in");
                    symlink(base.path().join("secret"), &link).expect("a link");
                    std::fs::rename(&link, &name).expect("swapped in");
                }
            });
            for _ in 0..4000 {
                match open(&root, "swapped") {
                    Ok(mut file) => {
                        let mut text = String::new();
                        file.read_to_string(&mut text).expect("text");
                        assert_ne!(text, "secret");
                        read[0] += 1;
                    }
                    Err(_) => read[1] += 1,
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(read[0] > 0 && read[1] > 0, "both were met: {read:?}");
    }
}
