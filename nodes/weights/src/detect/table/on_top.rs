//! What stands on another model: control networks, adapters, LoRAs and the like.

use super::super::family::Family::*;
use super::super::family::Naming::*;
use super::super::family::Part;
use super::super::sign::Sign::*;
use super::{Place, row};

/// What stands on another model. Looked for before all else: its names contain the other's.
pub(in crate::detect) const ON_TOP: Place = Place {
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
pub(in crate::detect) const CONTROL: Place = Place {
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
