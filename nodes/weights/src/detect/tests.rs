use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;

/// A file of zero bytes a tensor would lie about shapes, so each tensor is U8 of its full shape,
/// which for these small manifests is little.
fn file(tensors: &[(String, Vec<usize>)]) -> Arc<ModelFile> {
    let mut at = 0;
    let mut entries = Vec::new();
    for (name, shape) in tensors {
        let end = at + shape.iter().product::<usize>();
        entries.push(format!(r#""{name}":{{"dtype":"U8","shape":{shape:?},"data_offsets":[{at},{end}]}}"#));
        at = end;
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + at, 0);
    ModelFile::from_bytes("test.safetensors", bytes).unwrap()
}

/// Tensors of a manifest of the reference kit, with large dimensions cut so that the file stays small.
fn manifest(family: &str, key: &str) -> Vec<(String, Vec<usize>)> {
    let path = format!("../../tests/reference/models/{family}/manifest.json");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let manifest: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let tensors: BTreeMap<String, Vec<usize>> = serde_json::from_value(manifest[key].clone()).unwrap();
    tensors.into_iter().map(|(n, s)| (n, s.into_iter().map(|d| d.min(4096)).collect())).collect()
}

fn found(family: &str, key: &str) -> Vec<(Part, Family, Option<Prediction>)> {
    let inspection = inspect(&file(&manifest(family, key))).unwrap();
    inspection.components.iter().map(|c| (c.part, c.family, c.prediction)).collect()
}

#[test]
fn the_reference_kits_models_are_told_apart() {
    use Family::*;
    use Part::*;
    let eps = Some(Prediction::Eps);
    let flow = Some(Prediction::Flow);
    let vae = (Vae, VaeKl4, None);
    assert_eq!(found("sd1", "tensors"), [(Denoiser, Sd1, eps), (TextEncoder, ClipL, None), vae]);
    assert_eq!(found("sd1-inpaint-unet", "tensors"), [(Denoiser, Sd1Inpaint, eps)]);
    assert_eq!(found("sd2", "tensors"), [(Denoiser, Sd2, eps), (TextEncoder, ClipH, None), vae]);
    let both = [(TextEncoder, ClipL, None), (TextEncoder, ClipG, None)];
    assert_eq!(found("sdxl", "tensors"), [&[(Denoiser, Sdxl, eps)][..], &both, &[vae]].concat());
    assert_eq!(found("sd3", "tensors"), [(Denoiser, Sd3, flow), (Vae, VaeKl16, None)]);
    assert_eq!(found("sd35", "tensors"), [(Denoiser, Sd35, flow)]);
    assert_eq!(found("flux-dev", "tensors"), [(Denoiser, FluxDev, flow)]);
    assert_eq!(found("flux-schnell", "tensors"), [(Denoiser, FluxSchnell, flow)]);
    assert_eq!(found("t5", "tensors"), [(TextEncoder, T5, None)]);
    assert_eq!(found("taesd", "tensors"), [(Vae, Taesd, None)]);
    assert_eq!(found("esrgan-x4", "tensors"), [(Upscaler, Esrgan, None)]);
    assert_eq!(found("sd1", "lora"), [(Part::Lora, Family::Lora, None)]);
    assert_eq!(found("sd1", "controlnet"), [(ControlNet, ControlNetUnet, None)]);
}

#[test]
fn the_demo_model_is_sd1_with_all_its_parts() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/checkpoints/tiny-emoji-sd1.safetensors");
    let file = ModelFile::open(path).unwrap();
    let inspection = inspect(&file).unwrap();
    let parts: Vec<(Part, Family)> = inspection.components.iter().map(|c| (c.part, c.family)).collect();
    use Part::*;
    assert_eq!(parts, [(Denoiser, Family::Sd1), (TextEncoder, Family::ClipL), (Vae, Family::VaeKl4)]);
    let denoiser = inspection.require(Denoiser).unwrap();
    assert_eq!(denoiser.dtypes[0].0, DType::F16);
    assert_eq!(denoiser.prefix, "model.diffusion_model.");
    assert!(denoiser.evidence.iter().any(|e| e.looked_at == "model.diffusion_model.input_blocks.0.0.weight"));
    assert_eq!(denoiser.source(&WeightSource::of_file(&file)).len(), denoiser.tensors);
    let total: usize = inspection.components.iter().map(|c| c.tensors).sum();
    assert_eq!(total + inspection.other.tensors, inspection.tensors);
    assert!(inspection.require(Upscaler).unwrap_err().to_string().contains("Stable Diffusion 1.x"));
}

fn family_of(tensors: &[(&str, &[usize])]) -> Result<Family> {
    let tensors: Vec<_> = tensors.iter().map(|(n, s)| ((*n).to_owned(), s.to_vec())).collect();
    let inspection = inspect(&file(&tensors))?;
    inspection.require(Part::Denoiser).map(|c| c.family)
}

#[test]
fn models_of_video_sound_and_shapes_are_refused_by_name() {
    let wan: &[(&str, &[usize])] = &[
        ("model.diffusion_model.head.modulation", &[1, 2]),
        ("model.diffusion_model.blocks.0.cross_attn.k.weight", &[1]),
    ];
    let said = family_of(wan).unwrap_err().to_string();
    assert!(said.contains("this is Wan") && said.contains("a video model"), "{said}");
    let ace = family_of(&[("genre_embedder.weight", &[1, 2])]).unwrap_err().to_string();
    assert!(ace.contains("ACE-Step") && ace.contains("audio"), "{ace}");
    let unknown = family_of(&[("x.weight", &[1])]).unwrap_err().to_string();
    assert!(unknown.contains("an unknown model") && unknown.contains("x.weight"), "{unknown}");
}

#[test]
fn markers_tell_what_sdxl_predicts() {
    let sdxl: Vec<(&str, &[usize])> = vec![
        ("model.diffusion_model.label_emb.0.0.weight", &[1, 2]),
        ("model.diffusion_model.input_blocks.0.0.weight", &[2, 4, 3, 3]),
    ];
    let predicts = |marks: &[&'static str]| {
        let marked = sdxl.iter().copied().chain(marks.iter().map(|m| (*m, &[][..])));
        let tensors: Vec<_> = marked.map(|(n, s): (&str, &[usize])| (n.to_owned(), s.to_vec())).collect();
        inspect(&file(&tensors)).unwrap().component(Part::Denoiser).unwrap().prediction.unwrap()
    };
    assert_eq!(predicts(&[]), Prediction::Eps);
    assert_eq!(predicts(&["v_pred"]), Prediction::V);
    assert_eq!(predicts(&["v_pred", "ztsnr"]), Prediction::VZeroSnr);
    assert_eq!(predicts(&["edm_mean", "edm_std"]), Prediction::Edm);
}

#[test]
fn inpainting_flux_and_diffusers_names() {
    let d = |n| format!("down_blocks.0.attentions.0.{n}");
    assert_eq!(
        family_of(&[(&d("proj_in.weight"), &[1, 1, 1, 1]), ("conv_in.weight", &[1, 9, 1, 1])]).unwrap(),
        Family::Sd1Inpaint
    );
    let flux = |channels: usize| {
        family_of(&[
            ("double_blocks.0.img_attn.norm.key_norm.scale", &[1]),
            ("guidance_in.in_layer.weight", &[1, 1]),
            ("img_in.weight", &[1, channels]),
        ])
        .unwrap()
    };
    assert_eq!((flux(64), flux(384), flux(128)), (Family::FluxDev, Family::FluxFill, Family::FluxControl));
}

/// Networks whose names and shapes the tests of the nodes have, with large dimensions cut.
fn listed(list: &str, network: &str) -> Vec<(String, Vec<usize>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(list);
    let all: BTreeMap<String, BTreeMap<String, Vec<usize>>> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    all[network].iter().map(|(n, s)| (n.clone(), s.iter().map(|d| *d.min(&64)).collect())).collect()
}

#[test]
fn control_networks_of_transformers_upscalers_and_lotus_are_told_apart() {
    use Family::*;
    use Naming::*;
    for (list, network, family, naming) in [
        ("transformers.json", "sd3c", ControlNetSd3, Diffusers),
        ("transformers.json", "sd3i", ControlNetSd3, Diffusers),
        ("transformers.json", "sd35c", ControlNetSd35Large, Original),
        ("transformers.json", "fluxi", ControlNetFlux, Diffusers),
        ("transformers.json", "fluxm", ControlNetFlux, Diffusers),
        ("transformers.json", "fluxx", ControlNetFlux, Original),
        ("transformers.json", "fluxy", ControlNetFlux, Alternative),
        ("pictured.json", "union", ControlNetUnion, Original),
        ("swinir.json", "nearest", SwinIr, Original),
    ] {
        let inspection = inspect(&file(&listed(list, network))).unwrap();
        let [found] = &inspection.components[..] else { panic!("{network}: {:?}", inspection.components) };
        assert_eq!((found.family, found.naming), (family, naming), "{network}");
        assert!(!found.evidence.is_empty());
    }
    let lotus: &[(&str, &[usize])] = &[
        ("class_embedding.linear_1.weight", &[8, 4]),
        ("down_blocks.0.attentions.0.proj_in.weight", &[8, 8]),
        ("conv_in.weight", &[8, 4, 3, 3]),
    ];
    assert_eq!(family_of(lotus).unwrap(), Lotus);
}
