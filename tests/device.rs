//! `--device`: candle's operators, which GPUs would run, draw the kernels' picture; what a build lacks is said.

use std::path::Path;
use std::process::{Command, Output};

fn ebb(folder: &Path, arguments: &[&str]) -> Output {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ebb"));
    command.current_dir(folder).env("EBB_MODELS", repository.join("models")).env_remove("RUST_LOG");
    command.arg("run").arg(repository.join("workflows/text-to-image.json")).args(arguments).output().unwrap()
}

#[test]
fn candles_operators_draw_the_same_picture() {
    let folder = tempfile::tempdir().unwrap();
    let mut pictures = Vec::new();
    for device in ["cpu", "candle"] {
        let output =
            ebb(folder.path(), &["--device", device, "--precision", "f32", "--set", "KSampler.steps=4"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let file = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        pictures.push(image::open(folder.path().join(file)).unwrap().to_rgb8());
    }
    let [ours, candles] = pictures.as_slice() else { unreachable!("two runs") };
    assert_eq!(ours.dimensions(), candles.dimensions());
    let difference: u64 =
        ours.as_raw().iter().zip(candles.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let mean = difference as f64 / ours.as_raw().len() as f64;
    assert!(mean < 0.1, "pictures differ by {mean} of 255 on average");
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (device, feature) in [("cuda", "cuda"), ("cuda:1", "cuda"), ("metal", "metal")] {
        let output = ebb(folder.path(), &["--device", device]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("--features {feature}")), "{error}");
    }
    let output = ebb(folder.path(), &["--device", "gpu"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("none of cpu, cuda"), "{error}");
}
