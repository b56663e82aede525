//! `ebb sweep` as people use it: cells, their pictures and workflows, the grid, and going on after a stop.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ebb_engine::workflow::png;
use serde_json::{Value as Json, json};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, json: &Json) -> String {
        let path = self.path(name);
        std::fs::write(&path, json.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn json(&self, name: &str) -> Json {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn ebb<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
        command.current_dir(self.0.path()).env_remove("RUST_LOG");
        if !self.path("models").exists() {
            command.env("EBB_MODELS", models);
        }
        command.args(arguments).output().unwrap()
    }

    /// The prompt and the drawing that a picture carries.
    fn metadata(&self, file: &str) -> (Json, Option<Json>) {
        let texts = png::texts(&std::fs::read(self.path(file)).unwrap()).unwrap();
        let read = |key: &str| texts.get(key).map(|text| serde_json::from_str(text).unwrap());
        (read("prompt").unwrap(), read("workflow"))
    }
}

#[track_caller]
fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn picture() -> Json {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "a/b"}},
    })
}

#[test]
fn every_cell_has_its_picture_and_its_own_workflow() {
    let place = Place::new();
    let file = place.write("picture.json", &picture());
    let axes = ["--axis", "1.color=0,255", "--axis", "1.width=16..24 step 4"];
    let arguments = ["sweep", &file, "--name", "s", "--grid", "grid.png"];
    let out = lines(&place.ebb(arguments.into_iter().chain(axes)));
    assert_eq!(out.len(), 7, "six pictures and the grid: {out:?}");
    for (cell, file) in out[..6].iter().enumerate() {
        assert_eq!(file, &format!("./output/sweeps/s/{cell}-b_00001_.png"));
        let (prompt, drawing) = place.metadata(file);
        let mut alone = picture();
        alone["1"]["inputs"]["color"] = json!([0, 255][cell / 3]);
        alone["1"]["inputs"]["width"] = json!([16, 20, 24][cell % 3]);
        assert_eq!(prompt, alone, "what runs alone to the same picture, its own prefix included");
        assert_eq!(drawing, None);
    }
    let manifest = place.json("output/sweeps/s/sweep.json");
    assert_eq!(manifest["cells"][5]["values"], json!(["255", "24"]));
    assert_eq!(manifest["cells"][5]["files"], json!(["sweeps/s/5-b_00001_.png"]));
    let grid = std::fs::read(place.path("grid.png")).unwrap();
    let width = u32::from_be_bytes(grid[16..20].try_into().unwrap());
    assert!(width >= 3 * 24, "{width}");
}

#[test]
fn a_stopped_sweep_goes_on_with_what_is_missing() {
    let place = Place::new();
    let file = place.write("picture.json", &picture());
    let arguments = ["sweep", file.as_str(), "--axis", "1.color=1..4", "--report", "report.json"];
    let first = lines(&place.ebb(arguments));
    assert_eq!(first.len(), 4);
    std::fs::remove_file(place.path(&first[2])).unwrap();
    let output = place.ebb(arguments);
    assert_eq!(lines(&output), first, "the same files again");
    assert!(String::from_utf8_lossy(&output.stderr).contains("3 of 4 cells are done already"));
    let steps = place.json("report.json")["steps"].as_array().unwrap().len();
    assert_eq!(steps, 3, "only the missing cell ran");
    // Nothing is left: nothing runs.
    let again = place.ebb(arguments);
    assert_eq!(lines(&again), first);
    assert_eq!(place.json("report.json")["steps"], json!([]));
}

#[test]
fn equal_work_runs_once_and_the_estimate_says_so() {
    let place = Place::new();
    let file = place.write("picture.json", &picture());
    let axis = ["--axis", "3.filename_prefix=x,y,z", "--name", "s"];
    let estimate = place.ebb(["sweep", &file, "--estimate"].into_iter().chain(axis));
    let said = lines(&estimate).join("\n");
    assert!(said.contains("3 cells in one graph: 5 steps instead of 9"), "{said}");
    assert!(!place.path("output").exists(), "an estimate leaves nothing behind");
    let output = place.ebb(["sweep", &file, "--report", "report.json"].into_iter().chain(axis));
    assert_eq!(lines(&output).len(), 3);
    let report = place.json("report.json");
    let ran = report["steps"].as_array().unwrap().iter().filter(|step| step["cached"] == false).count();
    assert_eq!(ran, 5);
}

#[test]
fn a_drawing_goes_with_each_picture() {
    let place = Place::new();
    let drawn = json!({"nodes": [
        {"id": 1, "type": "EmptyImage", "widgets_values": [16, 8, 1, 0],
         "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}], "pos": [10, 20]},
        {"id": 3, "type": "SaveImage", "widgets_values": ["p"],
         "inputs": [{"name": "images", "type": "IMAGE", "link": 1}]},
    ], "links": [[1, 1, 0, 3, 0, "IMAGE"]], "version": 0.4});
    let file = place.write("drawn.json", &drawn);
    let out = lines(&place.ebb(["sweep", &file, "--axis", "1.height=8,16", "--axis", "~p=p,q"]));
    let (prompt, drawing) = place.metadata(&out[3]);
    assert_eq!(prompt["1"]["inputs"]["height"], 16);
    let mut expected = drawn;
    expected["nodes"][0]["widgets_values"] = json!([16, 16, 1, 0]);
    expected["nodes"][1]["widgets_values"] = json!(["q"]);
    assert_eq!(drawing, Some(expected));
}

#[test]
fn a_cell_that_fails_leaves_the_others() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("input")).unwrap();
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/templates/text-to-image.png");
    std::fs::copy(good, place.path("input/good.png")).unwrap();
    std::fs::write(place.path("input/bad.png"), b"\x89PNG no more").unwrap();
    let file = place.write(
        "load.json",
        &json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": "good.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b"}},
        }),
    );
    let arguments =
        ["sweep", &file, "--axis", "1.image=bad.png,good.png", "--name", "s", "--grid", "grid.png"];
    let output = place.ebb(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("1 of 2 cells failed"), "{error}");
    let manifest = place.json("output/sweeps/s/sweep.json");
    let states: Vec<&Json> =
        manifest["cells"].as_array().unwrap().iter().map(|cell| &cell["status"]).collect();
    assert_eq!(states, ["failed", "done"]);
    assert!(place.path("grid.png").is_file());
}

#[test]
fn mistakes_end_with_2_before_anything_runs() {
    let place = Place::new();
    let file = place.write("picture.json", &picture());
    for (axis, says) in [
        ("1.colour=1", "did you mean `color`?"),
        ("~nothing=x", "no text that it looks at contains `nothing`"),
        ("1.width=16,0", "must be at least 1"),
        ("1.width=1..90000", "take fewer values"),
    ] {
        let output = place.ebb(["sweep", &file, "--axis", axis]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{axis}: {error}");
        assert!(error.contains(says), "{axis}: {error}");
    }
    assert!(!place.path("output").exists());
}

/// Four checkpoints, three seeds, the seeds on the slow axis: the worst order to run one by one.
#[test]
fn each_model_is_loaded_once() {
    let place = Place::new();
    let folder = place.path("models/checkpoints");
    std::fs::create_dir_all(&folder).unwrap();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/checkpoints/tiny-emoji-sd1.safetensors");
    let bytes = std::fs::read(tiny).unwrap();
    for salt in 0..4u8 {
        let mut other = bytes.clone();
        // Another low bit of one weight is another file, and as good a model.
        let last = other.len() - 2;
        other[last] ^= salt;
        std::fs::write(folder.join(format!("{salt}.safetensors")), other).unwrap();
    }
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows/text-to-image.json");
    let output = place.ebb([
        "sweep",
        demo.to_str().unwrap(),
        "--set",
        "KSampler.steps=1",
        "--set",
        "5.width=64",
        "--set",
        "5.height=64",
        "--axis",
        "KSampler.seed=1..3",
        "--axis",
        "4.ckpt_name=*.safetensors",
        "--report",
        "report.json",
        "--memory",
        "200MiB",
    ]);
    assert_eq!(lines(&output).len(), 12);
    let report = place.json("report.json");
    let loads = report["loads"].as_array().unwrap();
    let keys: HashSet<String> = loads.iter().map(|load| load["component"].to_string()).collect();
    assert_eq!((loads.len(), keys.len()), (12, 12), "three parts of four files, each once");
    // A single run keeps nothing that no step needs.
    assert_eq!(report["evictions"].as_array().unwrap().len(), 12);
    assert!(report["memory"]["ledger_peak"].as_u64().unwrap() <= 200 << 20);
}
