//! The names of what a model file can hold.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a component does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Predicts noise, velocity or flow from a noisy latent.
    Denoiser,
    /// Turns a prompt's tokens into conditioning.
    TextEncoder,
    /// Pictures to latents and back.
    Vae,
    /// Steers a denoiser by a picture.
    ControlNet,
    /// Changes to another model's weights.
    Lora,
    /// Vectors for words (textual inversion).
    Embedding,
    /// Enlarges pictures.
    Upscaler,
    /// Pictures to conditioning.
    ClipVision,
    /// Clip vision's output to conditioning.
    StyleModel,
    /// Places words in a picture.
    Gligen,
    /// Changes to a denoiser's cross-attention.
    Hypernetwork,
}

impl Part {
    /// The name in plans and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denoiser => "denoiser",
            Self::TextEncoder => "text_encoder",
            Self::Vae => "vae",
            Self::ControlNet => "control_net",
            Self::Lora => "lora",
            Self::Embedding => "embedding",
            Self::Upscaler => "upscaler",
            Self::ClipVision => "clip_vision",
            Self::StyleModel => "style_model",
            Self::Gligen => "gligen",
            Self::Hypernetwork => "hypernetwork",
        }
    }
}

/// How the tensors of a component are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// As in the model's first release: ldm, sgm, Flux's own, ESRGAN's own …
    Original,
    /// As the diffusers library calls them.
    Diffusers,
    /// As the transformers library calls them.
    Transformers,
    /// As OpenCLIP calls them.
    OpenClip,
    /// As llama.cpp calls them in GGUF files.
    LlamaCpp,
    /// A layout that came before or after the first release's.
    Alternative,
}

/// What a denoiser predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise.
    Eps,
    /// The velocity, v.
    V,
    /// The velocity, with a schedule that ends in pure noise (zero terminal SNR).
    VZeroSnr,
    /// The noise with EDM's preconditioning (Playground 2.5).
    Edm,
    /// The velocity with EDM's continuous schedule.
    VEdm,
    /// The flow from noise to picture.
    Flow,
    /// Another picture of what a picture shows.
    Picture,
}

/// What a model makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// Still pictures.
    Image,
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Shapes in space.
    ThreeD,
}

macro_rules! families {
    ($($variant:ident $id:literal $title:literal $medium:ident;)*) => {
        /// A kind of model: which blocks, under which names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "`title` says what each is")]
        pub enum Family { $($variant,)* }

        impl Family {
            /// A short name for scripts.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// The name for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What it makes.
            pub const fn medium(self) -> Medium {
                match self { $(Self::$variant => Medium::$medium,)* }
            }
        }
    };
}

families! {
    // Denoisers of pictures.
    Sd1 "sd1" "Stable Diffusion 1.x" Image;
    Sd1Inpaint "sd1-inpaint" "Stable Diffusion 1.x inpainting" Image;
    Sd1Edit "sd1-edit" "Stable Diffusion 1.x InstructPix2Pix" Image;
    Sd2 "sd2" "Stable Diffusion 2.x" Image;
    Sd2Inpaint "sd2-inpaint" "Stable Diffusion 2.x inpainting" Image;
    Sd2Depth "sd2-depth" "Stable Diffusion 2.x depth" Image;
    Sd2Unclip "sd2-unclip" "Stable Diffusion 2.x unCLIP" Image;
    Lotus "lotus" "Lotus" Image;
    SdUpscale4x "sd-x4-upscaler" "Stable Diffusion x4 upscaler" Image;
    Sdxl "sdxl" "Stable Diffusion XL" Image;
    SdxlInpaint "sdxl-inpaint" "Stable Diffusion XL inpainting" Image;
    SdxlEdit "sdxl-edit" "Stable Diffusion XL InstructPix2Pix" Image;
    SdxlRefiner "sdxl-refiner" "Stable Diffusion XL refiner" Image;
    Sd3 "sd3" "Stable Diffusion 3" Image;
    Sd35 "sd3.5" "Stable Diffusion 3.5" Image;
    FluxDev "flux-dev" "Flux dev" Image;
    FluxSchnell "flux-schnell" "Flux schnell" Image;
    FluxFill "flux-fill" "Flux Fill" Image;
    FluxControl "flux-control" "Flux Canny or Depth" Image;
    ZImage "z-image" "Z-Image" Image;
    Chroma "chroma" "Chroma" Image;
    Flux2 "flux2" "Flux 2" Image;
    Lumina2 "lumina2" "Lumina Image 2" Image;
    AuraFlow "auraflow" "AuraFlow" Image;
    PixArt "pixart" "PixArt" Image;
    HunyuanDit "hunyuan-dit" "Hunyuan-DiT" Image;
    HunyuanImage "hunyuan-image" "HunyuanImage" Image;
    QwenImage "qwen-image" "Qwen-Image" Image;
    HiDream "hidream" "HiDream" Image;
    OmniGen2 "omnigen2" "OmniGen 2" Image;
    StableCascade "stable-cascade" "Stable Cascade" Image;
    // Denoisers of other things.
    Svd "svd" "Stable Video Diffusion" Video;
    Wan "wan" "Wan" Video;
    HunyuanVideo "hunyuan-video" "HunyuanVideo" Video;
    Ltxv "ltxv" "LTX-Video" Video;
    Mochi "mochi" "Mochi" Video;
    Cosmos "cosmos" "Cosmos" Video;
    CogVideo "cogvideo" "CogVideoX" Video;
    AnimateDiff "animatediff" "AnimateDiff motion module" Video;
    StableAudio "stable-audio" "Stable Audio" Audio;
    AceStep "ace-step" "ACE-Step" Audio;
    Hunyuan3d "hunyuan3d" "Hunyuan3D" ThreeD;
    Zero123 "zero123" "Zero-1-to-3" ThreeD;
    // Autoencoders.
    VaeKl4 "vae-4ch" "4-channel KL autoencoder of SD 1, SD 2 and SDXL" Image;
    VaeKl16 "vae-16ch" "16-channel KL autoencoder of SD 3 and Flux" Image;
    Taesd "taesd" "TAESD, 4 channels" Image;
    Taesd16 "taesd-16ch" "TAESD, 16 channels (SD 3 or Flux)" Image;
    VaeVideo "vae-video" "video autoencoder" Video;
    VaeAudio "vae-audio" "audio autoencoder" Audio;
    // Text encoders.
    ClipL "clip-l" "CLIP-L" Image;
    ClipG "clip-g" "OpenCLIP bigG" Image;
    ClipH "clip-h" "OpenCLIP H" Image;
    T5 "t5" "T5 encoder" Image;
    Umt5 "umt5" "UMT5 encoder" Video;
    Qwen3 "qwen3" "Qwen 3" Image;
    Qwen25Vl "qwen2.5-vl" "Qwen 2.5 VL" Image;
    Llama "llama" "Llama" Image;
    Gemma "gemma" "Gemma" Image;
    // What stands on top of another model.
    ControlNetUnet "controlnet" "ControlNet" Image;
    ControlNetUnion "controlnet-union" "ControlNet Union" Image;
    ControlNetFlux "controlnet-flux" "ControlNet of Flux" Image;
    ControlNetSd3 "controlnet-sd3" "ControlNet of Stable Diffusion 3" Image;
    ControlNetSd35Large "controlnet-sd3.5-large" "ControlNet of Stable Diffusion 3.5 large" Image;
    ControlNetDit "controlnet-dit" "ControlNet of another transformer" Image;
    ControlLora "control-lora" "Control-LoRA" Image;
    T2iAdapter "t2i-adapter" "T2I adapter" Image;
    Lora "lora" "LoRA" Image;
    LoHa "loha" "LoHa" Image;
    LoKr "lokr" "LoKr" Image;
    Oft "oft" "OFT" Image;
    WeightDiff "weight-diff" "full differences of weights" Image;
    TextualInversion "textual-inversion" "textual inversion" Image;
    Redux "redux" "Flux Redux style model" Image;
    StyleAdapter "style-adapter" "T2I style adapter" Image;
    Gligen "gligen" "GLIGEN" Image;
    HypernetworkSd "hypernetwork" "hypernetwork" Image;
    ClipVision "clip-vision" "CLIP vision encoder" Image;
    SigLip "siglip" "SigLIP vision encoder" Image;
    // Enlarging.
    Esrgan "esrgan" "ESRGAN" Image;
    EsrganCompact "esrgan-compact" "Real-ESRGAN compact" Image;
    SwinIr "swinir" "SwinIR" Image;
    Hat "hat" "HAT" Image;
    Dat "dat" "DAT" Image;
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.id())
    }
}
