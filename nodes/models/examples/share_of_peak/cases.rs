//! The networks.

use candle_core::{DType, Device, Tensor};
use ebb_models::LoadOptions;
use ebb_models::denoiser::{Denoiser, Input, Session};
use ebb_models::dit::flux::Flux;
use ebb_models::dit::mmdit::Mmdit;
use ebb_models::ops::Ops;
use ebb_models::t5::T5;
use ebb_models::text::Token;
use ebb_models::unet::Unet;
use ebb_models::vae::Vae;

use crate::weights::Weights;

type Failed = Box<dyn std::error::Error>;
type Run = Box<dyn FnMut() -> Result<(), Failed>>;
type Load = Box<dyn Fn(&Ops) -> Result<Run, Failed>>;

/// A network at a size.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it never runs in bf16 by default and gains nothing there.
    pub(crate) f32_only: bool,
    /// How often the real network has what is timed.
    pub(crate) times: f64,
    pub(crate) load: Load,
}

fn case(name: &'static str, load: impl Fn(&Ops) -> Result<Run, Failed> + 'static) -> Case {
    Case { name, f32_only: false, times: 1.0, load: Box::new(load) }
}

fn noise(dims: &[usize]) -> Result<Tensor, Failed> {
    Ok(Tensor::randn(0f32, 1f32, dims, &Device::Cpu)?)
}

/// Calls with the same prompt, as steps are: the first one in a session prepares it.
fn steps(model: impl Denoiser + 'static, batch: usize, cells: usize, tokens: usize) -> Result<Run, Failed> {
    let x = noise(&[batch, model.input_channels(), cells, cells])?;
    let context = noise(&[batch, tokens, model.context_channels()])?;
    let y = match model.y_channels() {
        Some(channels) => Some(Tensor::zeros((batch, channels), DType::F32, &Device::Cpu)?),
        None => None,
    };
    let mut session = Session::new();
    let guidance = vec![3.5; batch];
    Ok(Box::new(move || {
        let timesteps = vec![0.5; batch];
        let input =
            Input { y: y.as_ref(), guidance: Some(&guidance), ..Input::new(&x, &timesteps, &context) };
        model.denoise(&mut session, input)?;
        Ok(())
    }))
}

fn unet(family: &'static str, size: usize) -> impl Fn(&Ops) -> Result<Run, Failed> {
    move |ops| {
        let weights = Weights::of_manifest(family, "model.diffusion_model.")?;
        steps(Unet::load(ops, &weights, LoadOptions::default())?, 2, size / 8, 77)
    }
}

fn decode(family: &'static str, size: usize) -> impl Fn(&Ops) -> Result<Run, Failed> {
    move |ops| {
        let weights = Weights::of_manifest(family, "first_stage_model.")?;
        let vae = Vae::load(ops, &weights, LoadOptions::default())?;
        let latent = noise(&[1, vae.latent_channels(), size / 8, size / 8])?;
        Ok(Box::new(move || {
            vae.decode(&latent)?;
            Ok(())
        }))
    }
}

/// SD 3's transformer with one block.
fn mmdit(width: usize, side: usize) -> Weights {
    let mut w = Weights::default();
    w.add("pos_embed", &[1, side * side, width]);
    w.add("x_embedder.proj.weight", &[width, 16, 2, 2]);
    w.add("x_embedder.proj.bias", &[width]);
    for (name, input) in [("t_embedder", 256), ("y_embedder", 2048)] {
        w.linear(&format!("{name}.mlp.0"), width, input);
        w.linear(&format!("{name}.mlp.2"), width, width);
    }
    w.linear("context_embedder", width, 4096);
    for half in ["context_block", "x_block"] {
        let name = format!("joint_blocks.0.{half}");
        w.linear(&format!("{name}.attn.qkv"), 3 * width, width);
        w.linear(&format!("{name}.attn.proj"), width, width);
        w.linear(&format!("{name}.mlp.fc1"), 4 * width, width);
        w.linear(&format!("{name}.mlp.fc2"), width, 4 * width);
        w.linear(&format!("{name}.adaLN_modulation.1"), 6 * width, width);
    }
    w.linear("final_layer.linear", 64, width);
    w.linear("final_layer.adaLN_modulation.1", 2 * width, width);
    w
}

/// Flux with one block of each kind.
fn flux(width: usize) -> Weights {
    let mut w = Weights::default();
    w.linear("img_in", width, 64);
    w.linear("txt_in", width, 4096);
    for (name, input) in [("time_in", 256), ("vector_in", 768), ("guidance_in", 256)] {
        w.linear(&format!("{name}.in_layer"), width, input);
        w.linear(&format!("{name}.out_layer"), width, width);
    }
    let norms = |w: &mut Weights, name: &str| {
        w.add(format!("{name}.query_norm.scale"), &[128]);
        w.add(format!("{name}.key_norm.scale"), &[128]);
    };
    for side in ["img", "txt"] {
        let name = format!("double_blocks.0.{side}");
        w.linear(&format!("{name}_mod.lin"), 6 * width, width);
        w.linear(&format!("{name}_attn.qkv"), 3 * width, width);
        w.linear(&format!("{name}_attn.proj"), width, width);
        w.linear(&format!("{name}_mlp.0"), 4 * width, width);
        w.linear(&format!("{name}_mlp.2"), width, 4 * width);
        norms(&mut w, &format!("{name}_attn.norm"));
    }
    w.linear("single_blocks.0.linear1", 7 * width, width);
    w.linear("single_blocks.0.linear2", width, 5 * width);
    w.linear("single_blocks.0.modulation.lin", 3 * width, width);
    norms(&mut w, "single_blocks.0.norm");
    w.linear("final_layer.linear", 64, width);
    w.linear("final_layer.adaLN_modulation.1", 2 * width, width);
    w
}

/// One layer of T5-XXL's encoder, and few words.
fn t5() -> Weights {
    let (width, wide) = (4096, 10240);
    let mut w = Weights::default();
    let block = "encoder.block.0.layer";
    for part in ["q", "k", "v", "o"] {
        w.add(format!("{block}.0.SelfAttention.{part}.weight"), &[width, width]);
    }
    w.add(format!("{block}.0.SelfAttention.relative_attention_bias.weight"), &[32, 64]);
    for (part, shape) in [("wi_0", [wide, width]), ("wi_1", [wide, width]), ("wo", [width, wide])] {
        w.add(format!("{block}.1.DenseReluDense.{part}.weight"), &shape);
    }
    w.add(format!("{block}.0.layer_norm.weight"), &[width]);
    w.add(format!("{block}.1.layer_norm.weight"), &[width]);
    w.add("encoder.final_layer_norm.weight", &[width]);
    w.add("shared.weight", &[64, width]);
    w
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    vec![
        case("sd1.5 step 256", unet("sd15-full", 256)),
        case("sd1.5 step 512", unet("sd15-full", 512)),
        Case { f32_only: true, ..case("sd1.5 vae decode 512", decode("sd15-full", 512)) },
        case("sdxl step 512", unet("sdxl-full", 512)),
        case("sdxl step 1024", unet("sdxl-full", 1024)),
        case("sd3 medium, one block, 1024, 154 tokens", |ops| {
            steps(Mmdit::load(ops, &mmdit(1536, 96), LoadOptions::default())?, 2, 128, 154)
        }),
        case("flux, one block of each kind, 1024, 512 tokens", |ops| {
            steps(Flux::load(ops, &flux(3072), LoadOptions::default())?, 1, 128, 512)
        }),
        Case {
            times: 24.0,
            ..case("t5-xxl, one layer x 24, 256 tokens", |ops| {
                let t5 = T5::load(ops, &t5(), LoadOptions::default())?;
                Ok(Box::new(move || {
                    t5.forward(&[(0..256).map(|i| Token::Id(i % 64)).collect()])?;
                    Ok(())
                }))
            })
        },
    ]
}
