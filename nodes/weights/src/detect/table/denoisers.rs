//! Denoisers, and the models that are refused by name.

use super::super::family::Family::*;
use super::super::family::Naming::*;
use super::super::family::Part;
use super::super::sign::Sign::*;
use super::{Place, denoiser, row};

pub(in crate::detect) const DENOISERS: Place = Place {
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
