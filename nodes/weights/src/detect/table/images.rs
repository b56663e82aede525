//! What turns pictures into something else or back: autoencoders, vision encoders, upscalers.

use super::super::family::Family::*;
use super::super::family::Naming::*;
use super::super::family::Part;
use super::super::sign::Sign::*;
use super::{Place, row};

pub(in crate::detect) const VAES: Place = Place {
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

pub(in crate::detect) const VISION: Place = Place {
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

pub(in crate::detect) const UPSCALERS: Place = Place {
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
