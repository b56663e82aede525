//! Text encoders: prompts of the manifest through tokens, emphasis, encoders and pooling.

use std::path::Path;
use std::sync::Arc;

use candle_core::DType;
use ebb_models::LoadOptions;
use ebb_models::clip::{Clip, Kind};
use ebb_models::ops::Ops;
use ebb_models::source::Source;
use ebb_models::t5::T5;
use ebb_models::text::{Chunks, Composition, Encoded, Stack, Token, Tokens};
use ebb_text::{ChunkRules, ClipVocabulary};

use super::BOUND;
use super::manifest::{Kit, backends, record};
use crate::support::{AnyResult, Family, Report, relative_difference};

pub(crate) const T5_ENCODER: Family =
    Family { name: "models/t5", files: &["models/t5/manifest.json", "models/t5/io.safetensors"], check: t5 };

fn t5(folder: &Path, report: &mut Report) -> AnyResult {
    let kit = Kit::open(folder, "t5")?;
    let ids = kit.input("input_ids")?.to_dtype(DType::I64)?.to_vec2::<i64>()?;
    let chunks: Vec<Vec<Token>> =
        ids.iter().map(|c| c.iter().map(|id| Token::Id(*id as u32)).collect()).collect();
    for (backend, ops) in backends()? {
        let error = (|| {
            let t5 = T5::load(&ops, &kit.source("")?, LoadOptions::default())?;
            relative_difference(&t5.forward(&chunks)?, kit.input("output")?)
        })();
        record(report, backend, "output", error, BOUND);
    }
    kit.leave_none_out(report);
    Ok(())
}

/// The text encoders of a checkpoint, found by the prefixes of their tensors.
pub(super) fn stack(ops: &Ops, kit: &Kit, family: &str, layer: Option<i32>) -> AnyResult<Stack> {
    stack_of(ops, &kit.source("")?, family, layer)
}

/// As [`stack`], from any source of the whole checkpoint.
pub(super) fn stack_of(ops: &Ops, source: &dyn Source, family: &str, layer: Option<i32>) -> AnyResult<Stack> {
    let load = |prefix: &str, kind| -> AnyResult<Option<Arc<Clip>>> {
        let source = ebb_models::source::Prefixed::new(source, prefix);
        Ok(Some(Arc::new(Clip::load(ops, &source, kind, LoadOptions::default())?)))
    };
    let (composition, l, g) = match family {
        "sd1" => (Composition::Sd1, load("cond_stage_model.transformer.", Kind::L)?, None),
        "sd2" => (Composition::Sd2, None, load("cond_stage_model.model.", Kind::H)?),
        "sdxl" => {
            let l = load("conditioner.embedders.0.transformer.", Kind::L)?;
            (Composition::Sdxl, l, load("conditioner.embedders.1.model.", Kind::G)?)
        }
        other => return Err(format!("no text encoders are known of {other}").into()),
    };
    Ok(Stack { composition, l, g, t5: None, layer, unprojected: false })
}

/// A prompt in the tokens of a family's encoders.
pub(super) fn tokenize(family: &str, prompt: &str) -> AnyResult<Tokens> {
    let chunks = |rules: &ChunkRules| -> AnyResult<Chunks> {
        let chunks = ebb_text::tokenize(prompt, &ClipVocabulary, rules, None)?;
        Ok(chunks.into_iter().map(|c| c.into_iter().map(|t| (token(t.token), t.weight)).collect()).collect())
    };
    Ok(match family {
        "sd2" => Tokens { g: chunks(&ChunkRules::CLIP_H)?, ..Tokens::default() },
        "sdxl" => {
            Tokens { l: chunks(&ChunkRules::CLIP_L)?, g: chunks(&ChunkRules::CLIP_G)?, ..Tokens::default() }
        }
        _ => Tokens { l: chunks(&ChunkRules::CLIP_L)?, ..Tokens::default() },
    })
}

fn token(token: ebb_text::Token) -> Token {
    match token {
        ebb_text::Token::Id(id) => Token::Id(id),
        ebb_text::Token::Vector(v) => Token::Vector(v),
    }
}

/// Compares `PREFIX.N` and `PREFIX.N.pooled` for every prompt of the manifest.
pub(super) fn check(
    kit: &Kit,
    family: &str,
    stack: &Stack,
    prefix: &str,
    backend: &str,
    report: &mut Report,
) {
    for (i, prompt) in kit.prompts().iter().enumerate() {
        let key = format!("{prefix}.{i}");
        if !kit.io.contains_key(&key) {
            continue;
        }
        let encoded = tokenize(family, prompt).and_then(|t| Ok(stack.encode(&t)?));
        let compare = |pick: &dyn Fn(&Encoded) -> Option<candle_core::Tensor>, key: &str| -> AnyResult<f64> {
            let encoded = encoded.as_ref().map_err(|e| e.to_string())?;
            relative_difference(&pick(encoded).ok_or("nothing was pooled")?, kit.input(key)?)
        };
        record(report, backend, &key, compare(&|e| Some(e.context.clone()), &key), BOUND);
        let pooled = format!("{key}.pooled");
        record(report, backend, &pooled, compare(&|e| e.pooled.clone(), &pooled), BOUND);
    }
}
