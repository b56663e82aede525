//! ComfyUI's kinds of model folders.

/// A kind: its name, its folders under the models folder, and the endings of its files.
pub(super) type KnownKind = (&'static str, &'static [&'static str], &'static [&'static str]);

const MODELS: &[&str] = &[".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft", ".gguf"];

/// No file name ends so: a kind that is known and lists nothing.
const NOTHING: &[&str] = &["/"];

/// Folders that hold a model in several files.
pub(super) const DIFFUSERS: &str = "diffusers";

/// In the order in which ComfyUI lists them.
pub(super) const KINDS: &[KnownKind] = &[
    ("checkpoints", &["checkpoints"], MODELS),
    ("configs", &["configs"], &[".yaml"]),
    ("loras", &["loras"], MODELS),
    ("vae", &["vae"], MODELS),
    ("text_encoders", &["text_encoders", "clip"], MODELS),
    ("diffusion_models", &["unet", "diffusion_models"], MODELS),
    ("clip_vision", &["clip_vision"], MODELS),
    ("style_models", &["style_models"], MODELS),
    ("embeddings", &["embeddings"], MODELS),
    (DIFFUSERS, &["diffusers"], &[]),
    ("vae_approx", &["vae_approx"], MODELS),
    ("controlnet", &["controlnet", "t2i_adapter"], MODELS),
    ("gligen", &["gligen"], MODELS),
    ("upscale_models", &["upscale_models"], MODELS),
    // Code that another program would run.
    ("custom_nodes", &["custom_nodes"], NOTHING),
    ("hypernetworks", &["hypernetworks"], MODELS),
    ("photomaker", &["photomaker"], MODELS),
    ("classifiers", &["classifiers"], &[]),
    ("model_patches", &["model_patches"], MODELS),
    ("audio_encoders", &["audio_encoders"], MODELS),
    ("latent_upscale_models", &["latent_upscale_models"], MODELS),
];

/// Today's name of a kind that was called otherwise once.
pub(super) fn current_name(kind: &str) -> &str {
    match kind {
        "clip" => "text_encoders",
        "unet" => "diffusion_models",
        kind => kind,
    }
}
