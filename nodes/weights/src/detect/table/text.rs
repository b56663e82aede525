//! Text encoders.

use super::super::family::Family::*;
use super::super::family::Naming::*;
use super::super::family::Part;
use super::super::sign::Sign::*;
use super::{Place, row};

/// Text encoders inside a checkpoint, where the place says which one it is.
pub(in crate::detect) const CLIP_L: Place = Place {
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

pub(in crate::detect) const CLIP_G: Place = Place {
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

pub(in crate::detect) const CLIP_H: Place = Place {
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

pub(in crate::detect) const LANGUAGE: Place = Place {
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
pub(in crate::detect) const LONE_CLIP: Place = Place {
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
