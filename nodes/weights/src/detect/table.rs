//! The table: for each place in a file where a component may lie, the rows that can match there.
//! The first row that matches decides, so what is special stands before what is general.

use super::family::Family::*;
use super::family::Naming::*;
use super::family::{Family, Naming, Part};
use super::sign::Rule;
use super::sign::Sign::*;

/// Where components lie in files that hold several, and in files that hold one (the empty prefix).
pub(super) struct Place {
    pub(super) prefixes: &'static [&'static str],
    pub(super) rules: &'static [Rule],
}

const fn row(part: Part, family: Family, naming: Naming, signs: &'static [super::sign::Sign]) -> Rule {
    Rule { part, family, naming, signs }
}

const fn denoiser(family: Family, signs: &'static [super::sign::Sign]) -> Rule {
    row(Part::Denoiser, family, Original, signs)
}

/// What stands on another model. Looked for before all else: its names contain the other's.
pub(super) const ON_TOP: Place = Place {
    prefixes: &[""],
    rules: &[
        row(Part::ControlNet, ControlLora, Original, &[Has("lora_controlnet")]),
        row(Part::Lora, LoHa, Original, &[Ends(".hada_w1_a")]),
        row(Part::Lora, LoKr, Original, &[Ends(".lokr_w2")]),
        row(Part::Lora, LoKr, Original, &[Ends(".lokr_w2_a")]),
        row(Part::Lora, Oft, Original, &[Ends(".oft_blocks")]),
        row(Part::Lora, Oft, Original, &[Ends(".oft_diag")]),
        row(Part::Lora, Lora, Original, &[Ends(".lora_down.weight")]),
        row(Part::Lora, Lora, Diffusers, &[Ends(".lora_A.weight")]),
        row(Part::Lora, Lora, Diffusers, &[Ends("_lora.down.weight")]),
        row(Part::Lora, Lora, Alternative, &[Ends(".lora.down.weight")]),
        row(Part::Lora, Lora, Alternative, &[Ends(".lora_linear_layer.down.weight")]),
        row(Part::Lora, WeightDiff, Original, &[Ends(".diff")]),
        row(Part::Embedding, TextualInversion, Original, &[Begins("string_to_param.")]),
        row(Part::Embedding, TextualInversion, Alternative, &[Has("emb_params")]),
        row(Part::Embedding, TextualInversion, Alternative, &[Rank("clip_l", 2)]),
        row(Part::Embedding, TextualInversion, Alternative, &[Rank("clip_g", 2)]),
        row(Part::StyleModel, Redux, Original, &[Has("redux_up.weight")]),
        row(Part::StyleModel, StyleAdapter, Original, &[Has("style_embedding")]),
        row(
            Part::ControlNet,
            ControlNetUnion,
            Diffusers,
            &[Has("task_embedding"), Ends("controlnet_cond_embedding.conv_in.weight")],
        ),
        row(Part::ControlNet, ControlNetUnet, Diffusers, &[Has("controlnet_cond_embedding.conv_in.weight")]),
        // MistoLine's, XLabs', then InstantX's, which the diffusers library reads.
        row(
            Part::ControlNet,
            ControlNetFlux,
            Alternative,
            &[Has("controlnet_blocks.0.linear.weight"), Has("input_cond_block.encoder.0.weight")],
        ),
        row(
            Part::ControlNet,
            ControlNetFlux,
            Original,
            &[Has("controlnet_blocks.0.weight"), Has("double_blocks.0.img_attn.norm.key_norm.scale")],
        ),
        row(
            Part::ControlNet,
            ControlNetFlux,
            Diffusers,
            &[
                Has("controlnet_blocks.0.weight"),
                Has("controlnet_x_embedder.weight"),
                Has("transformer_blocks.0.attn.norm_added_q.weight"),
                Has("time_text_embed.text_embedder.linear_1.weight"),
            ],
        ),
        row(
            Part::ControlNet,
            ControlNetSd35Large,
            Original,
            &[
                Has("controlnet_blocks.0.weight"),
                Has("pos_embed_input.proj.weight"),
                Has("transformer_blocks.0.adaLN_modulation.1.weight"),
            ],
        ),
        row(
            Part::ControlNet,
            ControlNetSd3,
            Diffusers,
            &[
                Has("controlnet_blocks.0.weight"),
                Has("pos_embed_input.proj.weight"),
                Has("transformer_blocks.0.attn.add_q_proj.weight"),
            ],
        ),
        row(Part::ControlNet, ControlNetDit, Diffusers, &[Has("controlnet_blocks.0.weight")]),
        row(Part::ControlNet, ControlNetDit, Original, &[Has("controlnet_blocks.0.bias")]),
        row(Part::ControlNet, T2iAdapter, Original, &[Has("body.0.in_conv.weight")]),
        row(Part::ControlNet, T2iAdapter, Original, &[Ends("body.0.block1.weight"), Ends("conv_in.weight")]),
        row(Part::ControlNet, T2iAdapter, Diffusers, &[Begins("adapter.body.0.resnets.")]),
        row(Part::Gligen, Gligen, Original, &[Ends("position_net.null_positive_feature")]),
        row(
            Part::Denoiser,
            AnimateDiff,
            Original,
            &[Ends("motion_modules.0.temporal_transformer.norm.weight")],
        ),
        row(Part::Hypernetwork, HypernetworkSd, Original, &[Begins("768.0.linear.")]),
        row(Part::Hypernetwork, HypernetworkSd, Original, &[Begins("320.0.linear.")]),
    ],
};

/// ControlNets in the single-file layout.
pub(super) const CONTROL: Place = Place {
    prefixes: &["control_model.", ""],
    rules: &[
        row(
            Part::ControlNet,
            ControlNetUnion,
            Original,
            &[Has("input_hint_block.0.weight"), Has("task_embedding")],
        ),
        row(Part::ControlNet, ControlNetUnet, Original, &[Has("input_hint_block.0.weight")]),
    ],
};

pub(super) const DENOISERS: Place = Place {
    prefixes: &[
        "model.diffusion_model.",
        "model.model.",
        "diffusion_model.",
        "net.",
        "transformer.",
        "unet.",
        "",
    ],
    rules: &[
        // UNets in ldm's layout, from the number of channels that go in.
        denoiser(Svd, &[Has("input_blocks.1.0.time_stack.emb_layers.1.weight")]),
        denoiser(StableCascade, &[Has("clip_txt_mapper.weight")]),
        denoiser(StableCascade, &[Has("clf.1.weight"), Has("down_blocks.0.0.channelwise.0.weight")]),
        denoiser(
            SdxlRefiner,
            &[
                Has("label_emb.0.0.weight"),
                Lacks("input_blocks.1.1.norm.weight"),
                Has("input_blocks.9.0.op.weight"),
            ],
        ),
        denoiser(
            SdxlInpaint,
            &[
                Has("label_emb.0.0.weight"),
                Lacks("input_blocks.1.1.norm.weight"),
                Dim("input_blocks.0.0.weight", 1, 9),
            ],
        ),
        denoiser(
            SdxlEdit,
            &[
                Has("label_emb.0.0.weight"),
                Lacks("input_blocks.1.1.norm.weight"),
                Dim("input_blocks.0.0.weight", 1, 8),
            ],
        ),
        denoiser(
            Sdxl,
            &[
                Has("label_emb.0.0.weight"),
                Lacks("input_blocks.1.1.norm.weight"),
                Dim("input_blocks.0.0.weight", 1, 4),
            ],
        ),
        denoiser(SdUpscale4x, &[Has("label_emb.weight"), Dim("input_blocks.0.0.weight", 1, 7)]),
        denoiser(
            Lotus,
            &[
                Has("label_emb.0.0.weight"),
                Rank("input_blocks.1.1.proj_in.weight", 2),
                Dim("label_emb.0.0.weight", 1, 4),
            ],
        ),
        denoiser(Sd2Unclip, &[Has("label_emb.0.0.weight"), Rank("input_blocks.1.1.proj_in.weight", 2)]),
        denoiser(
            Sd2Inpaint,
            &[Rank("input_blocks.1.1.proj_in.weight", 2), Dim("input_blocks.0.0.weight", 1, 9)],
        ),
        denoiser(
            Sd2Depth,
            &[Rank("input_blocks.1.1.proj_in.weight", 2), Dim("input_blocks.0.0.weight", 1, 5)],
        ),
        denoiser(Sd2, &[Rank("input_blocks.1.1.proj_in.weight", 2), Dim("input_blocks.0.0.weight", 1, 4)]),
        denoiser(
            Sd1Inpaint,
            &[Rank("input_blocks.1.1.proj_in.weight", 4), Dim("input_blocks.0.0.weight", 1, 9)],
        ),
        denoiser(
            Sd1Edit,
            &[Rank("input_blocks.1.1.proj_in.weight", 4), Dim("input_blocks.0.0.weight", 1, 8)],
        ),
        denoiser(Sd1, &[Rank("input_blocks.1.1.proj_in.weight", 4), Dim("input_blocks.0.0.weight", 1, 4)]),
        // UNets in diffusers' layout.
        row(
            Part::Denoiser,
            SdxlRefiner,
            Diffusers,
            &[Has("add_embedding.linear_1.weight"), Has("down_blocks.3.resnets.0.conv1.weight")],
        ),
        row(
            Part::Denoiser,
            SdxlInpaint,
            Diffusers,
            &[Has("add_embedding.linear_1.weight"), Dim("conv_in.weight", 1, 9)],
        ),
        row(
            Part::Denoiser,
            SdxlEdit,
            Diffusers,
            &[Has("add_embedding.linear_1.weight"), Dim("conv_in.weight", 1, 8)],
        ),
        row(
            Part::Denoiser,
            Sdxl,
            Diffusers,
            &[Has("add_embedding.linear_1.weight"), Dim("conv_in.weight", 1, 4)],
        ),
        row(
            Part::Denoiser,
            Lotus,
            Diffusers,
            &[
                Has("class_embedding.linear_1.weight"),
                Rank("down_blocks.0.attentions.0.proj_in.weight", 2),
                Dim("class_embedding.linear_1.weight", 1, 4),
            ],
        ),
        row(
            Part::Denoiser,
            Sd2Unclip,
            Diffusers,
            &[
                Has("class_embedding.linear_1.weight"),
                Rank("down_blocks.0.attentions.0.proj_in.weight", 2),
                Dim("conv_in.weight", 1, 4),
            ],
        ),
        row(
            Part::Denoiser,
            Sd2Inpaint,
            Diffusers,
            &[Rank("down_blocks.0.attentions.0.proj_in.weight", 2), Dim("conv_in.weight", 1, 9)],
        ),
        row(
            Part::Denoiser,
            Sd2,
            Diffusers,
            &[Rank("down_blocks.0.attentions.0.proj_in.weight", 2), Dim("conv_in.weight", 1, 4)],
        ),
        row(
            Part::Denoiser,
            Sd1Inpaint,
            Diffusers,
            &[Rank("down_blocks.0.attentions.0.proj_in.weight", 4), Dim("conv_in.weight", 1, 9)],
        ),
        row(
            Part::Denoiser,
            Sd1Edit,
            Diffusers,
            &[Rank("down_blocks.0.attentions.0.proj_in.weight", 4), Dim("conv_in.weight", 1, 8)],
        ),
        row(
            Part::Denoiser,
            Sd1,
            Diffusers,
            &[Rank("down_blocks.0.attentions.0.proj_in.weight", 4), Dim("conv_in.weight", 1, 4)],
        ),
        // Stable Diffusion 3: from 3.5 on, queries and keys are normed.
        denoiser(Sd35, &[Has("joint_blocks.0.x_block.attn.ln_q.weight")]),
        denoiser(Sd3, &[Has("joint_blocks.0.x_block.attn.qkv.weight")]),
        row(
            Part::Denoiser,
            Sd35,
            Diffusers,
            &[
                Has("pos_embed.proj.weight"),
                Has("transformer_blocks.0.attn.add_q_proj.weight"),
                Has("transformer_blocks.0.attn.norm_q.weight"),
            ],
        ),
        row(
            Part::Denoiser,
            Sd3,
            Diffusers,
            &[Has("pos_embed.proj.weight"), Has("transformer_blocks.0.attn.add_q_proj.weight")],
        ),
        // What is built from Flux's blocks.
        denoiser(
            HunyuanVideo,
            &[Has("txt_in.individual_token_refiner.blocks.0.norm1.weight"), Rank("img_in.proj.weight", 5)],
        ),
        denoiser(HunyuanImage, &[Has("txt_in.individual_token_refiner.blocks.0.norm1.weight")]),
        denoiser(Hunyuan3d, &[Has("latent_in.weight"), Has("cond_in.weight")]),
        denoiser(Flux2, &[Has("double_stream_modulation_img.lin.weight")]),
        denoiser(Chroma, &[Has("distilled_guidance_layer.in_proj.weight")]),
        denoiser(
            FluxFill,
            &[
                Has("double_blocks.0.img_attn.norm.key_norm.scale"),
                Has("guidance_in.in_layer.weight"),
                Dim("img_in.weight", 1, 384),
            ],
        ),
        denoiser(
            FluxControl,
            &[
                Has("double_blocks.0.img_attn.norm.key_norm.scale"),
                Has("guidance_in.in_layer.weight"),
                Dim("img_in.weight", 1, 128),
            ],
        ),
        denoiser(
            FluxDev,
            &[Has("double_blocks.0.img_attn.norm.key_norm.scale"), Has("guidance_in.in_layer.weight")],
        ),
        denoiser(
            FluxSchnell,
            &[Has("double_blocks.0.img_attn.norm.key_norm.scale"), Has("single_blocks.0.linear1.weight")],
        ),
        row(
            Part::Denoiser,
            FluxFill,
            Diffusers,
            &[
                Has("single_transformer_blocks.0.proj_mlp.weight"),
                Has("time_text_embed.guidance_embedder.linear_1.weight"),
                Dim("x_embedder.weight", 1, 384),
            ],
        ),
        row(
            Part::Denoiser,
            FluxControl,
            Diffusers,
            &[
                Has("single_transformer_blocks.0.proj_mlp.weight"),
                Has("time_text_embed.guidance_embedder.linear_1.weight"),
                Dim("x_embedder.weight", 1, 128),
            ],
        ),
        row(
            Part::Denoiser,
            FluxDev,
            Diffusers,
            &[
                Has("single_transformer_blocks.0.proj_mlp.weight"),
                Has("time_text_embed.guidance_embedder.linear_1.weight"),
            ],
        ),
        row(
            Part::Denoiser,
            FluxSchnell,
            Diffusers,
            &[
                Has("single_transformer_blocks.0.proj_mlp.weight"),
                Has("time_text_embed.timestep_embedder.linear_1.weight"),
            ],
        ),
        // Z-Image has a refiner for its noise and learned padding, Lumina 2 only the refiner.
        denoiser(ZImage, &[Has("noise_refiner.0.attention.q_norm.weight"), Has("x_pad_token")]),
        row(Part::Denoiser, ZImage, Diffusers, &[Has("all_x_embedder.2-1.weight")]),
        denoiser(OmniGen2, &[Has("time_caption_embed.timestep_embedder.linear_1.bias")]),
        denoiser(Lumina2, &[Has("noise_refiner.0.attention.q_norm.weight")]),
        denoiser(QwenImage, &[Has("txt_norm.weight"), Has("transformer_blocks.0.img_mlp.net.0.proj.weight")]),
        denoiser(HiDream, &[Has("caption_projection.0.linear.weight")]),
        denoiser(AuraFlow, &[Has("cond_seq_linear.weight")]),
        denoiser(HunyuanDit, &[Has("mlp_t5.0.weight")]),
        denoiser(PixArt, &[Has("t_block.1.weight"), Has("blocks.0.scale_shift_table")]),
        // Of other things than pictures.
        denoiser(Mochi, &[Has("t5_yproj.weight")]),
        denoiser(Wan, &[Has("head.modulation"), Has("blocks.0.cross_attn.k.weight")]),
        denoiser(Cosmos, &[Has("blocks.block0.blocks.0.block.attn.to_q.0.weight")]),
        denoiser(Cosmos, &[Has("blocks.0.mlp.layer1.weight"), Begins("x_embedder.proj.")]),
        denoiser(
            Ltxv,
            &[Has("patchify_proj.weight"), Has("adaln_single.emb.timestep_embedder.linear_1.bias")],
        ),
        denoiser(CogVideo, &[Has("patch_embed.text_proj.weight")]),
        denoiser(AceStep, &[Has("genre_embedder.weight")]),
        denoiser(StableAudio, &[Has("transformer.rotary_pos_emb.inv_freq")]),
    ],
};

pub(super) const VAES: Place = Place {
    prefixes: &["first_stage_model.", "vae.", "pretransform.model.", ""],
    rules: &[
        row(Part::Vae, Taesd, Alternative, &[Dim("taesd_decoder.1.weight", 1, 4)]),
        row(Part::Vae, Taesd16, Alternative, &[Dim("taesd_decoder.1.weight", 1, 16)]),
        row(
            Part::Vae,
            Taesd,
            Diffusers,
            &[Dim("decoder.layers.0.weight", 1, 4), Rank("decoder.layers.0.weight", 4)],
        ),
        row(
            Part::Vae,
            Taesd16,
            Diffusers,
            &[Dim("decoder.layers.0.weight", 1, 16), Rank("decoder.layers.0.weight", 4)],
        ),
        // The decoder and the encoder as files of their own.
        row(Part::Vae, Taesd, Original, &[Dim("1.weight", 1, 4), Has("3.conv.0.weight"), Has("19.weight")]),
        row(
            Part::Vae,
            Taesd16,
            Original,
            &[Dim("1.weight", 1, 16), Has("3.conv.0.weight"), Has("19.weight")],
        ),
        row(
            Part::Vae,
            Taesd,
            Original,
            &[Dim("0.weight", 1, 3), Dim("14.weight", 0, 4), Has("1.conv.0.weight")],
        ),
        row(
            Part::Vae,
            Taesd16,
            Original,
            &[Dim("0.weight", 1, 3), Dim("14.weight", 0, 16), Has("1.conv.0.weight")],
        ),
        row(Part::Vae, VaeVideo, Original, &[Has("decoder.middle.0.residual.0.gamma")]),
        row(Part::Vae, VaeVideo, Original, &[Has("decoder.conv_in.conv.weight")]),
        row(Part::Vae, VaeVideo, Original, &[Rank("decoder.conv_in.weight", 5)]),
        row(Part::Vae, VaeVideo, Original, &[Ends("decoder.up.0.block.0.time_mix_conv.weight")]),
        row(Part::Vae, VaeVideo, Original, &[Has("decoder.up.0.block.0.time_stack.in_layers.0.weight")]),
        row(Part::Vae, VaeAudio, Original, &[Has("decoder.layers.1.layers.0.beta")]),
        row(
            Part::Vae,
            VaeKl4,
            Original,
            &[Has("decoder.up.0.block.0.norm1.weight"), Dim("decoder.conv_in.weight", 1, 4)],
        ),
        row(
            Part::Vae,
            VaeKl16,
            Original,
            &[Has("decoder.up.0.block.0.norm1.weight"), Dim("decoder.conv_in.weight", 1, 16)],
        ),
        row(
            Part::Vae,
            VaeKl4,
            Diffusers,
            &[Has("decoder.up_blocks.0.resnets.0.norm1.weight"), Dim("decoder.conv_in.weight", 1, 4)],
        ),
        row(
            Part::Vae,
            VaeKl16,
            Diffusers,
            &[Has("decoder.up_blocks.0.resnets.0.norm1.weight"), Dim("decoder.conv_in.weight", 1, 16)],
        ),
    ],
};

/// Text encoders inside a checkpoint, where the place says which one it is.
pub(super) const CLIP_L: Place = Place {
    prefixes: &[
        "cond_stage_model.transformer.",
        "conditioner.embedders.0.transformer.",
        "text_encoders.clip_l.transformer.",
        "text_encoders.clip_l.",
        "cond_stage_model.clip_l.transformer.",
    ],
    rules: &[
        row(Part::TextEncoder, ClipL, Transformers, &[Has("text_model.embeddings.token_embedding.weight")]),
        // Files from before transformers 4.31 lack a step of the name.
        row(Part::TextEncoder, ClipL, Alternative, &[Has("embeddings.token_embedding.weight")]),
    ],
};

pub(super) const CLIP_G: Place = Place {
    prefixes: &[
        "conditioner.embedders.1.model.",
        "conditioner.embedders.0.model.",
        "text_encoders.clip_g.transformer.",
        "text_encoders.clip_g.",
        "cond_stage_model.clip_g.transformer.",
    ],
    rules: &[
        row(Part::TextEncoder, ClipG, OpenClip, &[Has("transformer.resblocks.0.attn.in_proj_weight")]),
        row(Part::TextEncoder, ClipG, Transformers, &[Has("text_model.embeddings.token_embedding.weight")]),
    ],
};

pub(super) const CLIP_H: Place = Place {
    prefixes: &[
        "cond_stage_model.model.",
        "text_encoders.clip_h.transformer.",
        "cond_stage_model.clip_h.transformer.",
    ],
    rules: &[
        row(Part::TextEncoder, ClipH, OpenClip, &[Has("transformer.resblocks.0.attn.in_proj_weight")]),
        row(Part::TextEncoder, ClipH, Transformers, &[Has("text_model.embeddings.token_embedding.weight")]),
    ],
};

pub(super) const LANGUAGE: Place = Place {
    prefixes: &[
        "text_encoders.t5xxl.transformer.",
        "text_encoders.t5xxl.",
        "cond_stage_model.t5xxl.transformer.",
        "text_encoders.umt5xxl.transformer.",
        "text_encoders.qwen3_4b.transformer.",
        "text_encoders.qwen25_7b.transformer.",
        "text_encoders.gemma2_2b.transformer.",
        "text_encoders.llama.transformer.",
        "",
    ],
    rules: &[
        row(Part::TextEncoder, Umt5, Transformers, &[Dim("shared.weight", 0, 256_384)]),
        row(Part::TextEncoder, T5, Transformers, &[Has("encoder.block.0.layer.0.SelfAttention.k.weight")]),
        row(Part::TextEncoder, T5, LlamaCpp, &[Has("enc.blk.0.attn_k.weight")]),
        row(
            Part::TextEncoder,
            Qwen25Vl,
            Transformers,
            &[Begins("visual.blocks.0."), Has("model.layers.0.self_attn.q_proj.bias")],
        ),
        row(Part::TextEncoder, Qwen25Vl, Transformers, &[Has("model.layers.0.self_attn.q_proj.bias")]),
        row(
            Part::TextEncoder,
            Qwen3,
            Transformers,
            &[
                Has("model.layers.0.self_attn.q_norm.weight"),
                Lacks("model.layers.0.post_feedforward_layernorm.weight"),
            ],
        ),
        row(
            Part::TextEncoder,
            Gemma,
            Transformers,
            &[Has("model.layers.0.post_feedforward_layernorm.weight")],
        ),
        row(Part::TextEncoder, Llama, Transformers, &[Has("model.layers.0.self_attn.k_proj.weight")]),
        row(
            Part::TextEncoder,
            Qwen3,
            LlamaCpp,
            &[Has("blk.0.attn_q_norm.weight"), Lacks("blk.0.post_ffw_norm.weight")],
        ),
        row(Part::TextEncoder, Llama, LlamaCpp, &[Has("blk.0.attn_q.weight"), Has("token_embd.weight")]),
    ],
};

/// Text encoders as files of their own, where width and depth must tell.
pub(super) const LONE_CLIP: Place = Place {
    prefixes: &["", "transformer.", "clip_l.", "clip_g.", "text_encoder."],
    rules: &[
        row(Part::TextEncoder, ClipG, Transformers, &[Has("text_model.encoder.layers.24.mlp.fc1.weight")]),
        row(Part::TextEncoder, ClipH, Transformers, &[Has("text_model.encoder.layers.12.mlp.fc1.weight")]),
        row(Part::TextEncoder, ClipL, Transformers, &[Has("text_model.embeddings.token_embedding.weight")]),
        row(
            Part::TextEncoder,
            ClipG,
            OpenClip,
            &[Has("transformer.resblocks.24.attn.in_proj_weight"), Has("token_embedding.weight")],
        ),
        row(
            Part::TextEncoder,
            ClipH,
            OpenClip,
            &[Has("transformer.resblocks.0.attn.in_proj_weight"), Has("token_embedding.weight")],
        ),
    ],
};

pub(super) const VISION: Place = Place {
    prefixes: &["", "clip_vision_model.", "embedder.model."],
    rules: &[
        row(Part::ClipVision, SigLip, Transformers, &[Has("vision_model.embeddings.patch_embedding.bias")]),
        row(
            Part::ClipVision,
            ClipVision,
            Transformers,
            &[Has("vision_model.encoder.layers.0.mlp.fc1.weight")],
        ),
        row(
            Part::ClipVision,
            ClipVision,
            OpenClip,
            &[Has("visual.transformer.resblocks.0.attn.in_proj_weight")],
        ),
    ],
};

pub(super) const UPSCALERS: Place = Place {
    prefixes: &["params_ema.", "params.", "model_state_dict.", "module.", ""],
    rules: &[
        row(Part::Upscaler, Esrgan, Original, &[Has("model.1.sub.0.RDB1.conv1.0.weight")]),
        row(
            Part::Upscaler,
            Esrgan,
            Alternative,
            &[Has("body.0.rdb1.conv1.weight"), Has("conv_first.weight")],
        ),
        row(Part::Upscaler, Esrgan, Alternative, &[Has("RRDB_trunk.0.RDB1.conv1.weight")]),
        row(
            Part::Upscaler,
            EsrganCompact,
            Original,
            &[Rank("body.0.weight", 4), Rank("body.1.weight", 1), Dim("body.0.weight", 1, 3)],
        ),
        row(Part::Upscaler, Hat, Original, &[Has("layers.0.residual_group.overlap_attn.qkv.weight")]),
        row(Part::Upscaler, Dat, Original, &[Has("before_RG.1.weight"), Has("conv_first.weight")]),
        row(
            Part::Upscaler,
            SwinIr,
            Original,
            &[
                Has("layers.0.residual_group.blocks.0.attn.relative_position_bias_table"),
                Has("conv_first.weight"),
            ],
        ),
        // Squares of pixels become channels first.
        row(
            Part::Upscaler,
            SwinIr,
            Alternative,
            &[
                Has("layers.0.residual_group.blocks.0.attn.relative_position_bias_table"),
                Has("conv_first.1.weight"),
            ],
        ),
    ],
};
