//! Families through real nodes: the tiny models of the reference kit, written as files, loaded by their loaders and
//! run from a workflow through plan and executor; pictures against the kit's, others against the formula.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};
use ebb_engine::events::Silent;
use ebb_engine::execute::{Engine, EngineConfig, Job};
use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{KeepLast, Residency};
use ebb_engine::schema::{Input, Schema};
use ebb_engine::value::Value;
use ebb_engine::workflow::Workflow;
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::LoadOptions;
use ebb_models::denoiser::{Denoiser, Input as Call, Session};
use ebb_models::dit::{flux::Flux, mmdit::Mmdit};
use ebb_models::ops::{Ops, Precision};
use ebb_models::t5::T5;
use ebb_models::text::Token;
use ebb_nodes::values::{Conditioning, Image, Latent};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_sampling::guidance::Conditioning as Entry;
use ebb_sampling::noise::prepare_noise;
use ebb_weights::{ModelFile, ModelFolders, WeightSource};
use serde_json::{Value as Json, json};

#[allow(dead_code, reason = "the reference comparisons use more of it")]
#[path = "../../tests/reference/networks/synth.rs"]
mod synth;

/// Mean absolute difference of pixels in 0 to 1.
const PICTURE: f32 = 1.0 / 255.0;
/// Of the output's standard deviation, for samplers.
const LATENT: f64 = 1e-3;

fn kit(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/models").join(path)
}

fn manifest(family: &str) -> Json {
    serde_json::from_slice(&std::fs::read(kit(&format!("{family}/manifest.json"))).unwrap()).unwrap()
}

fn outputs(family: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(kit(&format!("{family}/io.safetensors")), &Device::Cpu).unwrap()
}

/// Writes the part of a family's checkpoint under `prefix`, which is cut off.
fn write(file: &Path, family: &str, prefix: &str) {
    let listed = manifest(family);
    let mut tensors = HashMap::new();
    for (name, shape) in listed["tensors"].as_object().unwrap() {
        let Some(short) = name.strip_prefix(prefix) else { continue };
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let values = synth::tensor(name, &shape);
        tensors.insert(short.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    }
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    candle_core::safetensors::save(&tensors, file).unwrap();
}

/// Keeps what reaches it, in place of a file.
struct Catch(Arc<Mutex<Vec<Value>>>);

impl Node for Catch {
    fn schema(&self) -> Schema {
        Schema::new("Catch").input(Input::wire("value", "*")).output_node()
    }

    fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        self.0.lock().unwrap().push(inputs.value("value")?.clone());
        Ok(Outcome::none())
    }
}

/// A prompt as the kit holds it, in place of encoders.
struct Given(Conditioning);

impl Node for Given {
    fn schema(&self) -> Schema {
        Schema::new("Given").output("CONDITIONING")
    }

    fn execute(&self, _: &Context, _: &Inputs) -> Result<Outcome, NodeError> {
        Ok(Outcome::payload(self.0.clone()))
    }
}

/// An engine over model folders of its own.
struct Bench {
    models: PathBuf,
    engine: Engine,
    caught: Arc<Mutex<Vec<Value>>>,
    _folder: tempfile::TempDir,
}

fn ops() -> Ops {
    Ops::cpu(Kernels::new(Threads::new(2).unwrap(), Pool::new()).unwrap(), Precision::F32)
}

impl Bench {
    fn new(given: Conditioning) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        let environment = Environment {
            folders: Arc::new(Folders::under(folder.path())),
            models: Arc::new(ModelFolders::under(&models)),
            compute: Compute::new(ops(), Precision::F32),
        };
        let caught = Arc::new(Mutex::new(Vec::new()));
        let mut registry = Registry::new();
        ebb_nodes::register(&mut registry, &environment).unwrap();
        registry.add(Catch(caught.clone())).unwrap();
        registry.add(Given(given)).unwrap();
        let engine = Engine::new(Arc::new(registry), Residency::new(KeepLast, None), EngineConfig::default());
        Self { models, engine, caught, _folder: folder }
    }

    /// Runs a workflow; what its `Catch` got, or what went wrong.
    async fn run(&self, workflow: Json) -> Result<Value, String> {
        let workflow = Workflow::from_json(workflow).unwrap();
        let valid = self.engine.validate(workflow, None).await.map_err(|e| format!("{e:?}"))?;
        let job = Job::new("families", valid.graph).with_sink(Arc::new(Silent));
        self.engine.run(job).await.map_err(|e| format!("{e:?}"))?;
        Ok(self.caught.lock().unwrap().pop().expect("nothing was caught"))
    }
}

fn node(class: &str, inputs: Json) -> Json {
    json!({"class_type": class, "inputs": inputs})
}

/// `KSampler` at the kit's usual settings, then the picture.
fn sampled(mut workflow: Json, model: Json, vae: Json) -> Json {
    workflow["latent"] = node("EmptyLatentImage", json!({"width": 64, "height": 96, "batch_size": 1}));
    workflow["sample"] = node(
        "KSampler",
        json!({"model": model, "seed": 42, "steps": 4, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal",
            "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["latent", 0], "denoise": 1.0}),
    );
    workflow["decode"] = node("VAEDecode", json!({"samples": ["sample", 0], "vae": vae}));
    workflow["catch"] = node("Catch", json!({"value": ["decode", 0]}));
    workflow
}

fn assert_picture(family: &str, found: &Value, key: &str) {
    let found = found.downcast::<Image>().unwrap();
    let difference = (found.tensor() - &outputs(family)[key]).unwrap().abs().unwrap();
    let mean: f32 = difference.mean_all().unwrap().to_scalar().unwrap();
    println!("{family}: mean difference {mean:.2e}");
    assert!(mean < PICTURE, "{family}: mean difference {mean}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd1_from_split_files_draws_the_kits_picture() {
    let bench = Bench::new(Conditioning::default());
    write(&bench.models.join("unet/unet.safetensors"), "sd1", "model.diffusion_model.");
    write(&bench.models.join("clip/clip.safetensors"), "sd1", "cond_stage_model.transformer.");
    write(&bench.models.join("vae/vae.safetensors"), "sd1", "first_stage_model.");
    let prompt = &manifest("sd1")["prompts"][2];
    let workflow = json!({
        "unet": node("UNETLoader", json!({"unet_name": "unet.safetensors", "weight_dtype": "default"})),
        "clip": node("CLIPLoader", json!({"clip_name": "clip.safetensors", "type": "stable_diffusion"})),
        "vae": node("VAELoader", json!({"vae_name": "vae.safetensors"})),
        "positive": node("CLIPTextEncode", json!({"text": prompt, "clip": ["clip", 0]})),
        "negative": node("CLIPTextEncode", json!({"text": "", "clip": ["clip", 0]})),
    });
    let found = bench.run(sampled(workflow, json!(["unet", 0]), json!(["vae", 0]))).await.unwrap();
    assert_picture("sd1", &found, "txt2img|prompt2|neg0|euler|normal|4|5.0|seed42|64x96.image");
}

#[tokio::test(flavor = "multi_thread")]
async fn sd2_told_to_predict_the_velocity_draws_the_kits_picture() {
    let bench = Bench::new(Conditioning::default());
    write(&bench.models.join("checkpoints/sd2.safetensors"), "sd2", "");
    let prompt = &manifest("sd2")["prompts"][2];
    let workflow = json!({
        "all": node("CheckpointLoaderSimple", json!({"ckpt_name": "sd2.safetensors"})),
        "v": node("ModelSamplingDiscrete", json!({"model": ["all", 0], "sampling": "v_prediction", "zsnr": false})),
        "positive": node("CLIPTextEncode", json!({"text": prompt, "clip": ["all", 1]})),
        "negative": node("CLIPTextEncode", json!({"text": "", "clip": ["all", 1]})),
    });
    let found = bench.run(sampled(workflow, json!(["v", 0]), json!(["all", 2]))).await.unwrap();
    assert_picture("sd2", &found, "txt2img|prompt2|neg0|euler|normal|4|5.0|seed42|64x96|v_prediction.image");
}

#[tokio::test(flavor = "multi_thread")]
async fn sdxl_told_the_size_draws_the_kits_picture() {
    let bench = Bench::new(Conditioning::default());
    write(&bench.models.join("checkpoints/sdxl.safetensors"), "sdxl", "");
    let encode = |text: &Json| {
        node(
            "CLIPTextEncodeSDXL",
            json!({"clip": ["all", 1], "text_g": text, "text_l": text, "width": 1024, "height": 768,
                "crop_w": 8, "crop_h": 16, "target_width": 1000, "target_height": 760}),
        )
    };
    let workflow = json!({
        "all": node("CheckpointLoaderSimple", json!({"ckpt_name": "sdxl.safetensors"})),
        "positive": encode(&manifest("sdxl")["prompts"][2]),
        "negative": encode(&json!("")),
    });
    let found = bench.run(sampled(workflow, json!(["all", 0]), json!(["all", 2]))).await.unwrap();
    let key = "txt2img|prompt2|neg0|euler|normal|4|5.0|seed42|64x96|size1024x768crop8,16target1000x760.image";
    assert_picture("sdxl", &found, key);
}

/// Euler over a rectified flow, written out: x ← x + (σ′ − σ)·v, from noise alone.
fn euler(model: &dyn Denoiser, sigmas: &[f64], units: f64, guidance: Option<f32>, given: &Entry) -> Tensor {
    let zeros = Tensor::zeros((1, 16, 12, 8), DType::F32, &Device::Cpu).unwrap();
    let mut x = (prepare_noise(&zeros, 42, None).unwrap() * sigmas[0]).unwrap();
    for pair in sigmas.windows(2) {
        let (timestep, guidance) = ([(pair[0] * units) as f32], guidance.map(|g| [g]));
        let context = given.cross_attn.as_ref().unwrap();
        let call = Call {
            y: given.pooled.as_ref(),
            guidance: guidance.as_ref().map(|g| &g[..]),
            ..Call::new(&x, &timestep, context)
        };
        let v = model.denoise(&mut Session::new(), call).unwrap();
        x = (x + (v * (pair[1] - pair[0])).unwrap()).unwrap();
    }
    x
}

/// The kit's context and pooled vector of one sample.
fn given(family: &str) -> Entry {
    let io = outputs(family);
    let first = |key: &str| io[key].narrow(0, 0, 1).unwrap().contiguous().unwrap();
    Entry::prompt(first("context"), Some(first("y")))
}

/// Runs a transformer from its own file through `UNETLoader` and `KSampler`, for `simple` at cfg 1.
async fn transformer(family: &str, prefix: &str, entry: Entry, steps: usize) -> Tensor {
    let bench = Bench::new(Conditioning::single(entry));
    write(&bench.models.join("diffusion_models/model.safetensors"), family, prefix);
    let workflow = json!({
        "unet": node("UNETLoader", json!({"unet_name": "model.safetensors", "weight_dtype": "default"})),
        "prompt": node("Given", json!({})),
        "latent": node("EmptySD3LatentImage", json!({"width": 64, "height": 96, "batch_size": 1})),
        "sample": node("KSampler", json!({"model": ["unet", 0], "seed": 42, "steps": steps, "cfg": 1.0,
            "sampler_name": "euler", "scheduler": "simple", "positive": ["prompt", 0], "negative": ["prompt", 0],
            "latent_image": ["latent", 0], "denoise": 1.0})),
        "catch": node("Catch", json!({"value": ["sample", 0]})),
    });
    bench.run(workflow).await.unwrap().downcast::<Latent>().unwrap().samples.clone()
}

fn assert_latent(family: &str, found: &Tensor, expected: &Tensor) {
    let mean = expected.mean_all().unwrap();
    let variance = expected.broadcast_sub(&mean).unwrap().sqr().unwrap().mean_all().unwrap();
    let deviation = f64::from(variance.to_scalar::<f32>().unwrap()).sqrt();
    let worst: f32 = (found - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap();
    println!("{family}: {:.2e} of the standard deviation", f64::from(worst) / deviation);
    assert!(f64::from(worst) < LATENT * deviation, "{family}: {worst}, deviation {deviation}");
}

/// Sigmas of `simple`: even steps over a table of times i / 1000 (10,000 for Flux dev), bent by the family's shift.
fn simple(table: usize, steps: usize, bend: impl Fn(f64) -> f64) -> Vec<f64> {
    let stride = table as f64 / steps as f64;
    let places = (0..steps).map(|i| table - (i as f64 * stride) as usize);
    places.map(|place| bend(place as f64 / table as f64)).chain([0.0]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sd3_and_sd35_flow_with_shift_3_in_thousandths() {
    for family in ["sd3", "sd35"] {
        let prefix = "model.diffusion_model.";
        let found = transformer(family, prefix, given(family), 3).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.safetensors");
        write(&file, family, prefix);
        let source = WeightSource::of_file(&ModelFile::open(&file).unwrap());
        let ops = ops();
        let model = Mmdit::load(&ops, &source, LoadOptions::default()).unwrap();
        let sigmas = simple(1000, 3, |t| 3.0 * t / (1.0 + 2.0 * t));
        let expected = euler(&model, &sigmas, 1000.0, None, &given(family));
        assert_latent(family, &found, &((expected / 1.5305).unwrap() + 0.0609).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_flows_with_its_own_shift_and_reads_guidance() {
    for (family, guidance) in [("flux-dev", Some(3.5)), ("flux-schnell", None)] {
        let found = transformer(family, "", given(family), 3).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.safetensors");
        write(&file, family, "");
        let source = WeightSource::of_file(&ModelFile::open(&file).unwrap());
        let ops = ops();
        let model = Flux::load(&ops, &source, LoadOptions::default()).unwrap();
        let dev = |t: f64| 1.15f64.exp() / (1.15f64.exp() + 1.0 / t - 1.0);
        let sigmas = if guidance.is_some() { simple(10_000, 3, dev) } else { simple(1000, 3, |t| t) };
        let expected = euler(&model, &sigmas, 1.0, guidance, &given(family));
        assert_latent(family, &found, &((expected / 0.3611).unwrap() + 0.1159).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_alone_reads_the_vocabulary_beside_it_or_says_where_it_looked() {
    let bench = Bench::new(Conditioning::default());
    let file = bench.models.join("text_encoders/t5.safetensors");
    write(&file, "t5", "");
    let workflow = json!({
        "clip": node("CLIPLoader", json!({"clip_name": "t5.safetensors", "type": "sd3"})),
        "prompt": node("CLIPTextEncode", json!({"text": "a cat", "clip": ["clip", 0]})),
        "catch": node("Catch", json!({"value": ["prompt", 0]})),
    });
    let said = bench.run(workflow.clone()).await.unwrap_err();
    assert!(said.contains("tokenizer.json") && said.contains("text_encoders"), "{said}");

    let vocabulary = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false, "vocab":
            [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁a", -1.0], ["▁cat", -2.0], ["▁", -3.0]]},
    });
    std::fs::write(file.with_file_name("tokenizer.json"), vocabulary.to_string()).unwrap();
    let found = bench.run(workflow).await.unwrap().downcast::<Conditioning>().unwrap();
    let entry = &found.entries[0];

    let source = WeightSource::of_file(&ModelFile::open(&file).unwrap());
    let ops = ops();
    let t5 = T5::load(&ops, &source, LoadOptions::default()).unwrap();
    let mut tokens: Vec<Token> = [3, 4, 1].map(Token::Id).into();
    tokens.resize(77, Token::Id(0));
    let expected = t5.forward(&[tokens]).unwrap();
    assert_latent("t5", entry.cross_attn.as_ref().unwrap(), &expected);
    let pooled = entry.pooled.as_ref().unwrap();
    assert_eq!(pooled.dims(), [1, 768 + 1280]);
    assert_eq!(pooled.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn taesd_and_pixels_stand_in_for_an_autoencoder() {
    let bench = Bench::new(Conditioning::default());
    for half in ["encoder", "decoder"] {
        let file = bench.models.join(format!("vae_approx/taesd_{half}.safetensors"));
        write(&file, "taesd", &format!("taesd_{half}."));
    }
    let io = outputs("taesd");
    for (name, channels) in [("taesd", 4), ("pixel_space", 3)] {
        let workflow = json!({
            "vae": node("VAELoader", json!({"vae_name": name})),
            "picture": node("EmptyImage", json!({"width": 64, "height": 64, "batch_size": 1, "color": 0xff_8000})),
            "encode": node("VAEEncode", json!({"pixels": ["picture", 0], "vae": ["vae", 0]})),
            "catch": node("Catch", json!({"value": ["encode", 0]})),
        });
        let latent = bench.run(workflow).await.unwrap().downcast::<Latent>().unwrap();
        let cells = if channels == 3 { 64 } else { 8 };
        assert_eq!(latent.samples.dims(), [1, channels, cells, cells], "{name}");
    }
    assert_eq!(io["decoded"].dims()[2], io["latent"].dims()[2] * 8);
}

/// SD 1's UNet from one file after two steps, for a given prompt.
async fn unet(class: &str, name: &str, write: impl FnOnce(&Path)) -> Tensor {
    let prompt = outputs("sd1")["context"].narrow(0, 0, 1).unwrap().contiguous().unwrap();
    let bench = Bench::new(Conditioning::single(Entry::prompt(prompt, None)));
    let file = bench.models.join("unet").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    write(&file);
    let inputs = match class {
        "UNETLoader" => json!({"unet_name": name, "weight_dtype": "fp8_e4m3fn"}),
        _ => json!({"unet_name": name}),
    };
    let workflow = json!({
        "unet": node(class, inputs),
        "prompt": node("Given", json!({})),
        "latent": node("EmptyLatentImage", json!({"width": 64, "height": 64, "batch_size": 1})),
        "sample": node("KSampler", json!({"model": ["unet", 0], "seed": 42, "steps": 2, "cfg": 1.0,
            "sampler_name": "euler", "scheduler": "normal", "positive": ["prompt", 0], "negative": ["prompt", 0],
            "latent_image": ["latent", 0], "denoise": 1.0})),
        "catch": node("Catch", json!({"value": ["sample", 0]})),
    });
    bench.run(workflow).await.unwrap().downcast::<Latent>().unwrap().samples.clone()
}

/// SD 1's UNet with its values rounded to a type.
fn rounded(dtype: DType) -> HashMap<String, Tensor> {
    let listed = manifest("sd1");
    let names = listed["tensors"].as_object().unwrap().iter();
    let unet =
        names.filter_map(|(name, shape)| Some((name, name.strip_prefix("model.diffusion_model.")?, shape)));
    unet.map(|(name, short, shape)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let tensor = Tensor::from_vec(synth::tensor(name, &shape), shape, &Device::Cpu).unwrap();
        (short.to_owned(), tensor.to_dtype(dtype).unwrap())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_packing_computes_with_the_values_that_it_holds() {
    for dtype in [DType::F16, DType::BF16, DType::F8E4M3] {
        let packed = rounded(dtype);
        let widened: HashMap<String, Tensor> =
            packed.iter().map(|(name, t)| (name.clone(), t.to_dtype(DType::F32).unwrap())).collect();
        let save = |tensors: HashMap<String, Tensor>| {
            move |file: &Path| candle_core::safetensors::save(&tensors, file).unwrap()
        };
        let expected = unet("UNETLoader", "wide.safetensors", save(widened)).await;
        let found = unet("UNETLoader", "packed.safetensors", save(packed)).await;
        assert_latent(&format!("{dtype:?}"), &found, &expected);
        if dtype == DType::F16 {
            let found = unet("UnetLoaderGGUF", "packed.gguf", write_gguf).await;
            assert_latent("GGUF", &found, &expected);
        }
    }
}

/// SD 1's UNet as the GGUF files in circulation are: the original names without a prefix.
fn write_gguf(file: &Path) {
    let tensors = rounded(DType::F16);
    let specs: Vec<ebb_weights::TensorSpec> = tensors
        .iter()
        .map(|(name, tensor)| ebb_weights::TensorSpec {
            name: name.clone(),
            dtype: ebb_weights::DType::F16,
            shape: tensor.dims().to_vec(),
        })
        .collect();
    let metadata = [("general.architecture".to_owned(), "sd1".to_owned())].into_iter().collect();
    ebb_weights::write_gguf(file, &metadata, &specs, |spec, out| {
        let values = tensors[&spec.name].flatten_all().unwrap().to_vec1::<half::f16>().unwrap();
        let bytes: Vec<u8> = values.into_iter().flat_map(half::f16::to_le_bytes).collect();
        out.write_all(&bytes).unwrap();
        Ok(())
    })
    .unwrap();
}
