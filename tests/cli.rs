//! The binary as people use it: arguments in, files, text and exit codes out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of its own with the repository's models.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, json: &Json) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, json.to_string()).unwrap();
        path
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
        command.current_dir(self.0.path()).env("EBB_MODELS", repository().join("models"));
        command.env_remove("EBB_TOKEN").env_remove("RUST_LOG");
        command
    }

    fn ebb<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Output {
        self.command().args(arguments).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends with a code, and says something.
#[track_caller]
fn fails(output: &Output, code: i32, says: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(says), "expected `{says}` in: {error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn demo() -> PathBuf {
    repository().join("workflows/text-to-image.json")
}

fn picture(seed: u64) -> Json {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 8, "batch_size": 1, "color": seed}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a/b"},
              "_meta": {"title": "Keep it"}},
    })
}

#[test]
fn a_run_prints_what_it_saved_and_the_picture_runs_again() {
    let place = Place::new();
    let file = place.write("picture.json", &picture(255));
    let out = succeeds(&place.ebb(["run", file.to_str().unwrap(), "--report", "report.json"]));
    assert_eq!(out.trim(), "./output/a/b_00001_.png");
    assert!(place.path("output/a/b_00001_.png").is_file());

    let report: Json = serde_json::from_slice(&std::fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["end"]["status"], "succeeded");
    assert_eq!(report["steps"].as_array().unwrap().len(), 2);
    assert_eq!(report["files"], json!(["./output/a/b_00001_.png"]));
    assert!(report["memory"]["ledger_peak"].as_u64().unwrap() >= 16 * 8 * 3 * 4);
    assert!(report["memory"]["predicted_peak"].as_u64().unwrap() >= 16 * 8 * 3 * 4);

    // The picture carries its workflow, and titles name nodes.
    let again = place.ebb([
        "run",
        "output/a/b_00001_.png",
        "--set",
        "Keep it.filename_prefix=again",
        "--set",
        "1.width=24",
    ]);
    assert_eq!(succeeds(&again).trim(), "./output/again_00001_.png");
    let png = std::fs::read(place.path("output/again_00001_.png")).unwrap();
    assert_eq!(png[16..24], [0, 0, 0, 24, 0, 0, 0, 8], "width and height in the header");
}

#[test]
fn the_demo_workflow_makes_a_picture() {
    let place = Place::new();
    let demo = demo();
    let arguments = ["run", demo.to_str().unwrap(), "--set", "KSampler.steps=2", "--report", "report.json"];
    let out = succeeds(&place.ebb(arguments));
    let file = place.path(out.trim());
    assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"), "{}", file.display());
    let report: Json = serde_json::from_slice(&std::fs::read(place.path("report.json")).unwrap()).unwrap();
    assert!(!report["loads"].as_array().unwrap().is_empty());
    let loads = report["loads"].as_array().unwrap();
    let keys: std::collections::HashSet<String> =
        loads.iter().map(|load| load["component"].to_string()).collect();
    assert_eq!(keys.len(), loads.len(), "nothing is loaded twice");
}

#[test]
fn a_plan_shows_steps_loads_and_peak() {
    let place = Place::new();
    let two = repository().join("workflows/two-branches.json");
    let two = two.to_str().unwrap();
    let plan = succeeds(&place.ebb(["plan", two]));
    assert!(plan.contains("loads") && plan.contains("predicted peak"), "{plan}");
    assert_eq!(plan, succeeds(&place.ebb(["plan", two])), "a plan is deterministic");
    let json: Json = serde_json::from_str(&succeeds(&place.ebb(["plan", two, "--format", "json"]))).unwrap();
    let loads: Vec<&Json> =
        json["steps"].as_array().unwrap().iter().flat_map(|s| s["loads"].as_array().unwrap()).collect();
    let keys: std::collections::HashSet<String> = loads.iter().map(|load| load["key"].to_string()).collect();
    assert_eq!(keys.len(), loads.len(), "one checkpoint is loaded once for both branches");
    assert!(succeeds(&place.ebb(["plan", two, "--format", "dot"])).starts_with("digraph"));
    assert!(!place.path("output").exists(), "a plan leaves nothing behind");
}

#[test]
fn bad_workflows_end_with_2_and_say_why() {
    let place = Place::new();
    let mut wrong = picture(1);
    wrong["1"]["class_type"] = json!("EmptyImag");
    let file = place.write("class.json", &wrong);
    fails(&place.ebb([Path::new("run"), &file]), 2, "did you mean `EmptyImage`?");

    // Everything at once: unknown classes, none at all, and what is wrong with the nodes that are known.
    wrong["2"]["inputs"]["filename_prefix"] = json!({"a": 1});
    wrong["3"] = json!({"inputs": {}, "_meta": {"title": "Nameless"}});
    wrong["4"] =
        json!({"class_type": "EmptyImage", "inputs": {"width": 0, "height": 1, "batch_size": 1, "color": 0}});
    wrong["1"]["inputs"]["image"] = json!(["4", 0]);
    wrong["5"] = json!({"class_type": "SaveImage", "inputs": {"images": ["4", -1], "filename_prefix": "x"}});
    let file = place.write("all.json", &wrong);
    let output = place.ebb([Path::new("run"), &file]);
    fails(&output, 2, "node #1 is a `EmptyImag`; did you mean `EmptyImage`?");
    fails(&output, 2, "node #3 \"Nameless\" has no `class_type`");
    fails(&output, 2, "node #4 (EmptyImage):\n    `width` is 0, but must be at least 1");
    fails(&output, 2, "`images` links to node #4 (EmptyImage), but not to an output of it");
    assert!(!text(&output.stderr).contains("does not exist"), "{}", text(&output.stderr));

    let mut wrong = picture(1);
    wrong["1"]["inputs"] = json!({"width": 0, "height": "x", "batch_size": 1, "color": 0});
    let file = place.write("values.json", &wrong);
    let output = place.ebb([Path::new("validate"), &file]);
    fails(&output, 2, "`width` is 0, but must be at least 1");
    fails(&output, 2, "`height` takes INT");

    let file = place.write("empty.json", &json!({}));
    fails(&place.ebb([Path::new("run"), &file]), 2, "SaveImage");
    std::fs::write(place.path("broken.json"), "{").unwrap();
    fails(&place.ebb(["run", "broken.json"]), 2, "broken.json: this is neither JSON nor a PNG");
    let file = place.write("list.json", &json!([1]));
    fails(&place.ebb([Path::new("run"), &file]), 2, "found an array");
    let drawn = json!({"nodes": [{"id": 1, "type": "SaveImge"}]});
    let file = place.write("unknown.json", &drawn);
    fails(&place.ebb([Path::new("run"), &file]), 2, "node #1 is a `SaveImge`; did you mean `SaveImage`?");
    assert!(!place.path("output").exists(), "nothing is half-written");
}

#[test]
fn wrong_changes_are_named() {
    let place = Place::new();
    let file = place.write("picture.json", &picture(1));
    let file = file.to_str().unwrap();
    fails(&place.ebb(["run", file, "--set", "1.widht=3"]), 2, "did you mean `width`?");
    fails(&place.ebb(["run", file, "--set", "1.width=wide"]), 2, "`width` takes a whole number, not `wide`");
    fails(&place.ebb(["run", file, "--set", "Keep i.images=3"]), 2, "did you mean `Keep it`?");
    fails(&place.ebb(["run", file, "--only", "7"]), 2, "no node has the id or title `7`");
}

#[test]
fn missing_and_broken_models_end_with_3() {
    let place = Place::new();
    let demo = demo();
    let missing = ["run", demo.to_str().unwrap(), "--set", "4.ckpt_name=tiny-emoji.safetensors"];
    fails(&place.ebb(missing), 3, "did you mean \"tiny-emoji-sd1.safetensors\"?");
    std::fs::create_dir_all(place.path("models/checkpoints")).unwrap();
    std::fs::write(place.path("models/checkpoints/cut.safetensors"), [8, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap();
    let mut broken = place.command();
    broken.args([
        "run",
        demo.to_str().unwrap(),
        "--models",
        "models",
        "--set",
        "4.ckpt_name=cut.safetensors",
    ]);
    fails(&broken.output().unwrap(), 3, "cut.safetensors");
    fails(&place.ebb(["inspect", "models/checkpoints/cut.safetensors"]), 3, "cut.safetensors");
    #[cfg(unix)]
    {
        let model = repository().join("models/checkpoints/tiny-emoji-sd1.safetensors");
        std::os::unix::fs::symlink(model, place.path("models/checkpoints/linked.safetensors")).unwrap();
        let mut linked = place.command();
        linked.args(["run", demo.to_str().unwrap(), "--models", "models"]);
        linked.args(["--set", "4.ckpt_name=linked.safetensors"]);
        fails(&linked.output().unwrap(), 3, "a link that leads out of the model folders");
    }
    fails(&place.ebb(["inspect", "tiny-emoji.safetensors"]), 3, "did you mean");
    fails(&place.ebb(["inspect", "checkpoints/../../secret"]), 3, "secret");
}

#[test]
fn wrong_arguments_end_with_1() {
    let place = Place::new();
    fails(&place.ebb(["run", "x.json", "--reprot", "r.json"]), 1, "--report");
    fails(&place.ebb(["rnu"]), 1, "rnu");
    fails(&place.ebb(["run", "absent.json"]), 1, "cannot read absent.json");
    fails(&place.ebb(["plan", "x.json", "--memory", "6 elephants"]), 1, "no amount of memory");
    fails(&place.ebb(["plan", "x.json", "--cache", "lru=many"]), 1, "lru=4");
    fails(&place.ebb(["nodes", "KSamplr"]), 1, "did you mean `KSampler`?");
    fails(&place.ebb(["nodes", "ksampler"]), 1, "did you mean `KSampler`?");
    assert!(place.ebb(["--help"]).status.success());
    assert!(succeeds(&place.ebb(["--version"])).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn too_little_memory_is_refused_with_the_bytes() {
    let place = Place::new();
    let demo = demo();
    let output = place.ebb(["run", demo.to_str().unwrap(), "--memory", "1MiB"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let error = text(&output.stderr);
    // What is needed and what there is, and what to do about it.
    assert!(error.contains("MiB at the least, and there are 1.0 MiB"), "{error}");
    assert!(error.contains("nothing was loaded") && error.contains("--memory"), "{error}");
    assert!(!place.path("output").join("ebb_00001_.png").exists());
}

#[test]
fn case_17_a_picture_that_no_machine_holds_is_refused_without_being_tried() {
    let place = Place::new();
    let demo = demo();
    let huge = ["5.width=16384", "5.height=16384", "5.batch_size=4096"].map(|set| ["--set", set]);
    let arguments = |command| {
        let mut all = vec![command, demo.to_str().unwrap(), "--memory", "8GiB", "--report", "report.json"];
        all.extend(huge.iter().flatten());
        all.retain(|argument| command == "run" || !["--report", "report.json"].contains(argument));
        all
    };
    let plan = succeeds(&place.ebb(arguments("plan")));
    assert!(plan.contains("will be refused") && plan.contains("TiB"), "{plan}");
    let output = place.ebb(arguments("run"));
    fails(&output, 1, "nothing was loaded");
    let report: Json = serde_json::from_slice(&std::fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["loads"], json!([]));
    // Planning took no memory of the size that it plans.
    if let Some(most) = report["memory"]["process"]["vm_hwm"].as_u64() {
        assert!(most < 1 << 30, "{most} bytes");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_work() {
    let place = Place::new();
    let file = place.write("picture.json", &picture(1));
    let file = file.to_str().unwrap();
    fails(
        &place.ebb(["run", file, "--report", "nowhere/report.json"]),
        1,
        "cannot write nowhere/report.json",
    );
    std::fs::create_dir(place.path("folder")).unwrap();
    fails(&place.ebb(["run", file, "--report", "folder"]), 1, "it is a folder");
    assert!(!place.path("output").exists(), "nothing ran");
    // A folder that is none is no fault of the workflow's.
    std::fs::write(place.path("taken"), "").unwrap();
    fails(&place.ebb(["run", file, "--output", "taken"]), 1, "the folder taken/a cannot be made");
}

#[test]
fn a_plan_quantises_only_where_it_may_and_the_run_does_as_it_says() {
    let place = Place::new();
    let demo = demo();
    let demo = demo.to_str().unwrap();
    // Many small pictures: sampling is the largest step.
    let many = "--set 5.width=64 --set 5.height=64 --set 5.batch_size=16 --set KSampler.steps=1";
    let many: Vec<&str> = many.split(' ').collect();
    let plan = |memory: &str, more: &[&str]| {
        let arguments = ["plan", demo, "--format", "json", "--savings", "none", "--memory", memory];
        let output = place.ebb(arguments.iter().chain(&many).chain(more));
        serde_json::from_str::<Json>(&succeeds(&output)).unwrap()
    };
    let mut budget = plan("none", &[])["predicted_peak"].as_u64().unwrap();
    while plan(&budget.to_string(), &[])["refusal"].is_null() {
        budget -= budget / 50;
    }
    let budget = budget.to_string();
    let refused = plan(&budget, &[]);
    assert!(refused["refusal"].to_string().contains("a saving that --savings leaves out"), "{refused}");
    let allowed = plan(&budget, &["--allow-quantize"]);
    assert!(allowed["refusal"].is_null(), "{allowed}");
    assert!(allowed["decisions"].to_string().contains("q8_0"), "{allowed}");
    let run = [
        "run",
        demo,
        "--savings",
        "none",
        "--memory",
        budget.as_str(),
        "--allow-quantize",
        "--report",
        "r.json",
    ];
    succeeds(&place.ebb(run.iter().chain(&many)));
    let report: Json = serde_json::from_slice(&std::fs::read(place.path("r.json")).unwrap()).unwrap();
    assert!(report["loads"].to_string().contains("(q8_0)"), "{report}");
    let memory = &report["memory"];
    assert!(memory["ledger_peak"].as_u64() <= memory["predicted_peak"].as_u64(), "{memory}");
    let timeline = &memory["timeline"];
    assert!(
        timeline["samples"].as_array().unwrap().len() > 2
            && timeline["owners"].to_string().contains("denoiser")
    );
    #[cfg(target_os = "linux")]
    assert!(memory["named"]["ledger"].as_u64().unwrap() > 1 << 20, "{memory}");
}

#[test]
fn nodes_and_models_are_described() {
    let place = Place::new();
    let list = succeeds(&place.ebb(["nodes"]));
    assert!(list.contains("KSampler") && list.contains("SaveImage"));
    let described = succeeds(&place.ebb(["nodes", "KSampler"]));
    assert!(described.contains("latent_image") && described.contains("LATENT"), "{described}");
    let info: Json = serde_json::from_str(&succeeds(&place.ebb(["nodes", "KSampler", "--json"]))).unwrap();
    assert_eq!(info["KSampler"]["input"]["required"]["seed"][1]["max"], json!(u64::MAX));
    let model = succeeds(&place.ebb(["inspect", "checkpoints/tiny-emoji-sd1.safetensors"]));
    assert!(model.contains("denoiser") && model.contains("fingerprint"), "{model}");
    let json = succeeds(&place.ebb(["inspect", "tiny-emoji-sd1.safetensors", "--json", "--hash"]));
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn extra_model_paths_are_searched() {
    let place = Place::new();
    let models = repository().join("models");
    std::fs::write(
        place.path("extra_model_paths.yaml"),
        format!("mine:\n  base_path: {}\n  checkpoints: checkpoints\n", models.display()),
    )
    .unwrap();
    let demo = demo();
    let mut found = place.command();
    found.args(["validate", demo.to_str().unwrap(), "--models", "elsewhere"]);
    succeeds(&found.output().unwrap());
}

#[test]
fn drawings_convert_and_run() {
    let place = Place::new();
    let pairs = repository().join("tests/conformance");
    let drawn = pairs.join("ui2api/syn_subgraph_modes.ui.json");
    let info = pairs.join("object_info.core.json");
    let (drawn, info) = (drawn.to_str().unwrap(), info.to_str().unwrap());
    succeeds(&place.ebb(["convert", drawn, "-o", "api.json", "--object-info", info]));
    let read = |path: &Path| -> Json { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let converted = read(&place.path("api.json"));
    let expected = read(&pairs.join("ui2api/syn_subgraph_modes.api.json"));
    for (id, node) in expected.as_object().unwrap() {
        assert_eq!(converted[id]["class_type"], node["class_type"], "{id}");
        assert_eq!(converted[id]["inputs"], node["inputs"], "{id}");
    }

    let basic = pairs.join("ui2api/syn_basic.ui.json");
    let out = succeeds(&place.ebb([Path::new("run"), &basic]));
    assert!(place.path(out.trim()).is_file(), "{out}");

    let unknown = pairs.join("ui2api/syn_unknown_node.ui.json");
    let output = place.ebb([Path::new("convert"), &unknown]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("TotallyUnknownNode"), "{}", text(&output.stderr));
}

#[test]
fn coverage_tells_what_workflows_lack() {
    let place = Place::new();
    place.write(
        "own.json",
        &json!({"1": {"class_type": "Unheard", "inputs": {}}, "2": {"class_type": "KSampler", "inputs": {}}}),
    );
    place.write("list.json", &json!(["no workflow"]));
    let demo = repository().join("workflows/text-to-image.json");
    let said = succeeds(&place.ebb(["coverage".as_ref(), place.0.path().as_os_str(), demo.as_os_str()]));
    assert!(said.contains("own.json: Unheard\n"), "{said}");
    assert!(said.contains("1 of 2 workflows have every node that they need"), "{said}");
    assert!(said.contains("1  lack Unheard"), "{said}");
    let json = succeeds(&place.ebb(["coverage".as_ref(), "--json".as_ref(), demo.as_os_str()]));
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["runs"], &json["of"], &json["lacking"]), (&json!(1), &json!(1), &json!([])));
}

#[test]
fn completions_are_printed() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(succeeds(&place.ebb(["completions", shell])).contains("ebb"), "{shell}");
    }
}

#[test]
fn a_server_beyond_this_machine_wants_a_token() {
    let place = Place::new();
    fails(&place.ebb(["serve", "--listen", "0.0.0.0", "--port", "0"]), 1, "token");
    fails(&place.ebb(["serve", "--token", "short", "--port", "0"]), 1, "16");
}

#[cfg(unix)]
#[test]
fn a_server_answers_and_ends_cleanly() {
    let place = Place::new();
    let mut command = place.command();
    let mut server =
        command.args(["serve", "--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /api/object_info/SaveImage HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let id = server.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    let ended = server.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("filename_prefix"), "{answer}");
    assert!(ended.success(), "{ended}");
}
