//! Which files a workflow may name: cases 11 to 14 of the list of hostile inputs, for models.

mod support;

use std::fs;
use std::path::Path;

use ebb_weights::{ModelFolders, WeightError};
use proptest::prelude::*;
use support::safetensors_f32;

fn model(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, safetensors_f32(&[("a", &[1], vec![1.0])])).unwrap();
}

fn refused(folders: &ModelFolders, name: &str) -> String {
    match folders.resolve("checkpoints", name) {
        Err(e @ WeightError::NotListed { .. }) => e.to_string(),
        other => panic!("{name:?}: {other:?}"),
    }
}

#[test]
fn models_are_listed_with_their_subfolders() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    for name in ["checkpoints/b.safetensors", "checkpoints/XL/a.CKPT", "clip/t5.gguf", "text_encoders/l.sft"]
    {
        model(&at(name));
    }
    fs::write(at("checkpoints/notes.txt"), "no model").unwrap();
    fs::create_dir_all(at("checkpoints/.git")).unwrap();
    model(&at("checkpoints/.git/x.safetensors"));
    fs::create_dir_all(at("diffusers/sdxl/unet")).unwrap();
    fs::write(at("diffusers/sdxl/model_index.json"), "{}").unwrap();

    let folders = ModelFolders::under(base.path());
    assert_eq!(folders.list("checkpoints"), ["XL/a.CKPT", "b.safetensors"]);
    assert_eq!(folders.list("text_encoders"), ["l.sft", "t5.gguf"]);
    assert_eq!(folders.list("clip"), folders.list("text_encoders"), "the former name");
    assert_eq!(folders.list("diffusers"), ["sdxl"]);
    assert!(folders.resolve("diffusers", "sdxl").unwrap().is_dir());
    assert!(folders.resolve("diffusers", "sdxl/unet").is_err());
    assert!(folders.list("vae").is_empty() && folders.list("nonsense").is_empty());
    assert_eq!(folders.open("checkpoints", "XL/a.CKPT").unwrap().tensors().len(), 1);
    let entry = &folders.entries("text_encoders")[0];
    assert_eq!((entry.name.as_str(), entry.root), ("l.sft", 0));
    assert!(entry.bytes > 0 && entry.modified > 1e9);
    assert!(refused(&folders, "b.safetensor").contains("did you mean 'b.safetensors'?"));
}

#[test]
fn folders_that_are_added_first_are_searched_first() {
    let base = tempfile::tempdir().unwrap();
    let extra = tempfile::tempdir().unwrap();
    model(&base.path().join("vae/x.safetensors"));
    model(&extra.path().join("x.safetensors"));
    let config = base.path().join("extra_model_paths.yaml");
    fs::write(&config, format!("e:\n  is_default: true\n  vae: {}\n", extra.path().display())).unwrap();
    let mut folders = ModelFolders::under(base.path());
    folders.add_config(&config).unwrap();
    assert_eq!(folders.list("vae"), ["x.safetensors"]);
    assert!(
        folders.resolve("vae", "x.safetensors").unwrap().starts_with(extra.path().canonicalize().unwrap())
    );
}

#[test]
fn case_11_and_14_names_that_lead_out_or_are_not_listed() {
    let base = tempfile::tempdir().unwrap();
    model(&base.path().join("checkpoints/a.safetensors"));
    model(&base.path().join("secret.safetensors"));
    fs::write(base.path().join("checkpoints/notes.txt"), "no model").unwrap();
    let absolute = base.path().join("secret.safetensors");
    let folders = ModelFolders::under(base.path());
    assert!(folders.resolve("checkpoints", "a.safetensors").is_ok());
    let long = format!("{}.safetensors", "x".repeat(5000));
    for name in [
        "../secret.safetensors",
        "x/../../secret.safetensors",
        "./a.safetensors",
        "/etc/passwd",
        absolute.to_str().unwrap(),
        "..\\secret.safetensors",
        "%2e%2e/secret.safetensors",
        "%252e%252e%252fsecret.safetensors",
        "a.safetensors\0.txt",
        "C:a.safetensors",
        "a.safetensors.",
        "a.safetensors ",
        "a.safetensors/",
        "//a.safetensors",
        "",
        ".",
        "notes.txt",
        long.as_str(),
    ] {
        refused(&folders, name);
    }
}

#[cfg(unix)]
#[test]
fn case_12_links_that_lead_out_are_neither_listed_nor_opened() {
    use std::os::unix::fs::symlink;
    let base = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let checkpoints = base.path().join("checkpoints");
    model(&checkpoints.join("a.safetensors"));
    model(&base.path().join("vae/v.safetensors"));
    model(&outside.path().join("o.safetensors"));
    symlink(outside.path().join("o.safetensors"), checkpoints.join("out.safetensors")).unwrap();
    symlink(outside.path(), checkpoints.join("outside")).unwrap();
    symlink(&checkpoints, checkpoints.join("circle")).unwrap();
    symlink(base.path().join("vae/v.safetensors"), checkpoints.join("v.safetensors")).unwrap();

    let folders = ModelFolders::under(base.path());
    assert_eq!(folders.list("checkpoints"), ["a.safetensors", "v.safetensors"]);
    assert!(refused(&folders, "out.safetensors").contains("extra_model_paths.yaml"));
    refused(&folders, "outside/o.safetensors");
    assert!(folders.open("checkpoints", "v.safetensors").is_ok(), "to another model folder");

    // A model folder that is a link itself is its owner's choice.
    symlink(outside.path(), base.path().join("loras")).unwrap();
    assert_eq!(ModelFolders::under(base.path()).list("loras"), ["o.safetensors"]);
}

#[cfg(unix)]
#[test]
fn case_13_a_file_swapped_for_a_link_between_check_and_open() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let base = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let path = base.path().join("checkpoints/a.safetensors");
    model(&path);
    let secret = outside.path().join("secret.safetensors");
    fs::write(&secret, safetensors_f32(&[("secret", &[1], vec![1.0])])).unwrap();
    let folders = ModelFolders::under(base.path());

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (link, kept) = (base.path().join("link"), base.path().join("kept"));
            while !stop.load(Ordering::Relaxed) {
                std::os::unix::fs::symlink(&secret, &link).unwrap();
                fs::rename(&path, &kept).unwrap();
                fs::rename(&link, &path).unwrap();
                fs::rename(&kept, &path).unwrap();
            }
        });
        // A failure must end the swapping too, or the scope waits for it without end.
        let _stop = OnDrop(&stop);
        let (mut opened, mut refused) = (0, 0);
        while opened < 1000 || refused < 1000 {
            match folders.open("checkpoints", "a.safetensors") {
                Ok(file) => {
                    assert!(file.tensor("secret").is_none(), "the file outside was opened");
                    opened += 1;
                }
                Err(_) => refused += 1,
            }
        }
    });
}

struct OnDrop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

proptest! {
    #[test]
    fn case_14_what_resolves_is_listed(name in "[ab./ -]{0,12}(\\.safetensors)?") {
        let base = tempfile::tempdir().unwrap();
        model(&base.path().join("checkpoints/a.safetensors"));
        model(&base.path().join("checkpoints/b/a b.safetensors"));
        let folders = ModelFolders::under(base.path());
        let listed = folders.list("checkpoints");
        prop_assert_eq!(folders.resolve("checkpoints", &name).is_ok(), listed.contains(&name));
        for name in listed {
            prop_assert!(folders.resolve("checkpoints", &name).is_ok());
        }
    }
}
