//! Builds the editor with npm and Vite into `OUT_DIR` and lists its files for `src/editor.rs` to embed, and the example
//! workflows for `src/v1/templates.rs`.
//!
//! Without npm, or when it fails (no network for the first install), the server is built all the same and shows a plain
//! page that says so; `EBB_EDITOR=require` turns that into an error. Nothing is written into the source tree.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What the build of the editor reads.
const SOURCES: [&str; 7] =
    ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "src", "public"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=EBB_EDITOR");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    write_templates(&out.join("templates.rs"));
    let list = out.join("editor_files.rs");
    if env::var_os("CARGO_FEATURE_EDITOR").is_none() {
        write_list(&list, &BTreeMap::new(), None);
        return;
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed=editor/{source}");
    }
    match build(&out) {
        Ok(files) => write_list(&list, &files, None),
        Err(reason) => {
            assert!(
                env::var_os("EBB_EDITOR").is_none_or(|v| v != "require"),
                "the editor could not be built: {reason}"
            );
            println!("cargo:warning=the editor is left out: {reason}");
            println!(
                "cargo:warning=install Node.js 20 or newer with npm and build again (or use --no-default-features to leave it out on purpose)"
            );
            write_list(&list, &BTreeMap::new(), Some(&reason));
        }
    }
}

/// Copies the sources, installs what they need, bundles. Answers the files of the bundle by their path on the server.
fn build(out: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let from = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"))
        .join("editor");
    let work = out.join("editor");
    for source in SOURCES {
        let target = work.join(source);
        if target.is_dir() {
            fs::remove_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
        }
        copy(&from.join(source), &target).map_err(|e| format!("{}: {e}", from.join(source).display()))?;
    }
    install(&work)?;
    let dist = out.join("editor-dist");
    let vite = work.join("node_modules/vite/bin/vite.js");
    let mut bundle = Command::new("node");
    bundle
        .arg(vite)
        .args(["build", "--logLevel", "warn", "--emptyOutDir", "--outDir"])
        .arg(&dist)
        .current_dir(&work);
    run(&mut bundle)?;
    let mut files = BTreeMap::new();
    collect(&dist, "", &mut files).map_err(|e| format!("{}: {e}", dist.display()))?;
    Ok(files)
}

/// `npm ci`, only when the lock file is not the one that was installed last time.
fn install(work: &Path) -> Result<(), String> {
    let lock = fs::read(work.join("package-lock.json")).map_err(|e| format!("package-lock.json: {e}"))?;
    let installed = work.join("installed-lock.json");
    if fs::read(&installed).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    let mut npm = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(work);
    run(&mut npm)?;
    fs::write(&installed, lock).map_err(|e| format!("{}: {e}", installed.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!("{name} is not installed"),
        _ => format!("{name} does not start: {e}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last =
        said.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" | ");
    Err(format!("{name} failed ({}): {last}", output.status))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).map(drop)
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{prefix}/{}", path.file_name().and_then(OsStr::to_str).unwrap_or_default());
        if path.is_dir() {
            collect(&path, &name, files)?;
        } else {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The table that `src/editor.rs` includes: path, content type, content, and why there is none.
fn write_list(list: &Path, files: &BTreeMap<String, PathBuf>, missing: Option<&str>) {
    let mut text = String::from("pub(super) static FILES: &[File] = &[\n");
    for (name, path) in files {
        let kind = match path.extension().and_then(OsStr::to_str) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            _ => "application/octet-stream",
        };
        let hash = fingerprint(&fs::read(path).expect("the file was just built"));
        text += &format!(
            "    File {{ path: {name:?}, kind: {kind:?}, etag: \"\\\"{hash:016x}\\\"\", content: include_bytes!({:?}) }},\n",
            path.display().to_string()
        );
    }
    text += "];\n";
    text += &format!("pub(super) static MISSING: Option<&str> = {missing:?};\n");
    fs::write(list, text).expect("OUT_DIR can be written");
}

/// The example workflows of the repository with their pictures, for `src/v1/templates.rs`.
fn write_templates(list: &Path) {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let folder = here.join("../workflows");
    println!("cargo:rerun-if-changed=../workflows");
    println!("cargo:rerun-if-changed=templates");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    files.retain(|p| p.extension() == Some(OsStr::new("json")));
    files.sort();
    let mut text = String::from("pub(super) static TEMPLATES: &[Template] = &[\n");
    for path in files {
        let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let picture = here.join("templates").join(format!("{name}.png"));
        let thumbnail = if picture.is_file() {
            format!("Some(include_bytes!({:?}))", picture.display().to_string())
        } else {
            "None".to_owned()
        };
        text += &format!(
            "    Template {{ name: {name:?}, workflow: include_str!({:?}), thumbnail: {thumbnail} }},\n",
            path.display().to_string()
        );
    }
    text += "];\n";
    fs::write(list, text).expect("OUT_DIR can be written");
}

/// FNV-1a: tells versions of a file apart, no more.
fn fingerprint(content: &[u8]) -> u64 {
    content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
