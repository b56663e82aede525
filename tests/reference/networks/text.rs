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
    Ok(Stack { composition, l, g, t5: None, layer })
}

/// The reference's own tokens of a prompt, so that this compares encoders and not tokenisers.
pub(super) fn tokens(folder: &Path, family: &str, prompt: &str) -> AnyResult<Tokens> {
    let text = std::fs::read_to_string(folder.join("math/tokens.json"))?;
    let all: serde_json::Value = serde_json::from_str(&text)?;
    let entry = all.as_array().and_then(|a| a.iter().find(|e| e["text"] == prompt));
    let entry = entry.ok_or_else(|| format!("math/tokens.json has no {prompt:?}"))?;
    let chunks = |key: &str| -> AnyResult<Chunks> {
        let chunks: Vec<Vec<(u32, f32)>> = serde_json::from_value(entry[key].clone())?;
        Ok(chunks.into_iter().map(|c| c.into_iter().map(|(id, w)| (Token::Id(id), w)).collect()).collect())
    };
    Ok(match family {
        "sd2" => Tokens { g: chunks("sd2_h")?, ..Tokens::default() },
        "sdxl" => Tokens { l: chunks("sd1")?, g: chunks("sdxl_g")?, ..Tokens::default() },
        _ => Tokens { l: chunks("sd1")?, ..Tokens::default() },
    })
}

/// Compares `PREFIX.N` and `PREFIX.N.pooled` for every prompt of the manifest.
pub(super) fn check(
    kit: &Kit,
    folder: &Path,
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
        let encoded = tokens(folder, family, prompt).and_then(|t| Ok(stack.encode(&t)?));
        let compare = |pick: &dyn Fn(&Encoded) -> Option<candle_core::Tensor>, key: &str| -> AnyResult<f64> {
            let encoded = encoded.as_ref().map_err(|e| e.to_string())?;
            relative_difference(&pick(encoded).ok_or("nothing was pooled")?, kit.input(key)?)
        };
        record(report, backend, &key, compare(&|e| Some(e.context.clone()), &key), BOUND);
        let pooled = format!("{key}.pooled");
        record(report, backend, &pooled, compare(&|e| e.pooled.clone(), &pooled), BOUND);
    }
}
