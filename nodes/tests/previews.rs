//! Previews of a sampling run: none unless asked for, and drawn the way that was asked for.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ebb_engine::events::{Event, EventKind, EventSink, PreviewFormat, PreviewMethod, Previews};
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_weights::ModelFolders;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value as Json, json};

const STEPS: usize = 3;

#[derive(Default)]
struct Seen(Mutex<Vec<Vec<u8>>>);

impl EventSink for Seen {
    fn emit(&self, event: Event) {
        if let EventKind::Progress { preview: Some(preview), .. } = event.kind {
            assert_eq!(preview.format, PreviewFormat::Jpeg);
            self.0.lock().unwrap().push(preview.data.clone());
        }
    }
}

/// The demo workflow's previews with the model folders below `models`.
async fn previews(models: &Path, method: PreviewMethod) -> Vec<Vec<u8>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = ModelFolders::under(models);
    folders.add("checkpoints", repository.join("models/checkpoints"), true);
    let folders = Arc::new(folders);
    let kernels = Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap();
    let compute = Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32);
    let environment = Environment {
        folders: Arc::new(Folders::under(models)),
        models: folders.clone(),
        compute: compute.with_small_decoders(folders),
    };
    let mut registry = Registry::new();
    ebb_nodes::register(&mut registry, &environment).unwrap();
    let engine = Engine::new(Arc::new(registry), Residency::new(Foresight, None), EngineConfig::default());
    let workflow = std::fs::read(repository.join("workflows/text-to-image.json")).unwrap();
    let mut workflow: Json = serde_json::from_slice(&workflow).unwrap();
    workflow["3"]["inputs"]["steps"] = json!(STEPS);
    let valid = engine.validate(Workflow::from_json(workflow).unwrap(), None).await.unwrap();
    let seen = Arc::new(Seen::default());
    let mut job = Job::new("previews", valid.graph).with_sink(seen.clone());
    job.previews = Previews { method, size: 256 };
    engine.run(job).await.unwrap();
    std::mem::take(&mut *seen.0.lock().unwrap())
}

/// A decoder as TAESD's files have it (layers by number, four channels in, three out) that answers every latent with
/// one colour: all its weights are zero but the last bias, 0.25, 0.5 and 0.75 of the way from black to white.
fn write_decoder(path: &Path) {
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut conv = |name: String, (to, from): (usize, usize), bias: Option<Vec<f32>>| {
        tensors.push((format!("{name}.weight"), vec![to, from, 3, 3], vec![0.0; to * from * 9]));
        if let Some(bias) = bias {
            tensors.push((format!("{name}.bias"), vec![to], bias));
        }
    };
    let blank = || Some(vec![0.0; 64]);
    conv("1".into(), (64, 4), blank());
    for block in [3, 4, 5, 8, 9, 10, 13, 14, 15, 18] {
        for part in [0, 2, 4] {
            conv(format!("{block}.conv.{part}"), (64, 64), blank());
        }
    }
    for after_doubling in [7, 12, 17] {
        conv(after_doubling.to_string(), (64, 64), None);
    }
    conv("19".into(), (3, 64), Some(vec![0.25, 0.5, 0.75]));
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn read(jpeg: &[u8]) -> image::RgbImage {
    image::load_from_memory(jpeg).unwrap().to_rgb8()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_drawn_as_it_was_asked_for() {
    let models = tempfile::tempdir().unwrap();
    let draw = |method| previews(models.path(), method);
    assert!(draw(PreviewMethod::None).await.is_empty());

    // On a busy machine a step may go without a picture, as previews have their share of the time; the first never does.
    let linear = draw(PreviewMethod::Latent2Rgb).await;
    assert!((1..=STEPS).contains(&linear.len()), "{}", linear.len());
    assert_eq!(read(&linear[0]).dimensions(), (256, 256));
    assert!(linear.len() == 1 || linear.first() != linear.last(), "the picture comes into being");
    let begins = |with: Vec<Vec<u8>>| with.first() == linear.first();
    assert!(begins(draw(PreviewMethod::Auto).await));
    assert!(begins(draw(PreviewMethod::Taesd).await), "without a file it is drawn the cheaper way");

    let approximate = models.path().join("vae_approx");
    std::fs::create_dir(&approximate).unwrap();
    write_decoder(&approximate.join("taesd_decoder.safetensors"));
    let decoded = draw(PreviewMethod::Taesd).await;
    assert!((1..=STEPS).contains(&decoded.len()), "{}", decoded.len());
    let picture = read(&decoded[0]);
    assert_eq!(picture.dimensions(), (256, 256));
    for (colour, expected) in picture.get_pixel(100, 30).0.into_iter().zip([64u8, 128, 191]) {
        assert!(colour.abs_diff(expected) <= 3, "{:?}", picture.get_pixel(100, 30));
    }
    assert!(begins(draw(PreviewMethod::Auto).await), "auto stays cheap, as ComfyUI's does");

    std::fs::write(approximate.join("taesd_decoder.safetensors"), b"not a model").unwrap();
    assert!(begins(draw(PreviewMethod::Taesd).await), "a broken file is no reason to fail a job");
}
