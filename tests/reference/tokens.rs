//! `math/tokens.json`: prompts to chunks of weighted tokens, for each CLIP encoder.

use std::path::Path;

use ebb_text::{Chunk, ChunkRules, ClipVocabulary, Token, tokenize};
use serde_json::Value;

use crate::support::{AnyResult, Family, Report};

pub(crate) const FAMILY: Family = Family { name: "math/tokens", files: &["math/tokens.json"], check };

/// On weights; token numbers must be equal.
const BOUND: f64 = 1e-6;

fn check(folder: &Path, report: &mut Report) -> AnyResult {
    let cases: Vec<serde_json::Map<String, Value>> =
        serde_json::from_slice(&std::fs::read(folder.join("math/tokens.json"))?)?;
    for case in &cases {
        let prompt = case.get("text").and_then(Value::as_str).ok_or("a case has no text")?;
        for (encoder, expected) in case.iter().filter(|(key, _)| *key != "text") {
            let start: String = prompt.chars().take(40).collect();
            let key = format!("{encoder}/{start}");
            let rules = match encoder.as_str() {
                "sd1" => ChunkRules::CLIP_L,
                "sdxl_g" => ChunkRules::CLIP_G,
                "sd2_h" => ChunkRules::CLIP_H,
                _ => {
                    report.fail(&key, "unknown encoder");
                    continue;
                }
            };
            let expected: Vec<Vec<(u32, f64)>> = serde_json::from_value(expected.clone())?;
            let found = tokenize(prompt, &ClipVocabulary, &rules, None)?;
            report.record_result(&key, compare(&found, &expected), BOUND);
        }
    }
    Ok(())
}

/// The largest difference between weights, if the tokens are the same.
fn compare(found: &[Chunk], expected: &[Vec<(u32, f64)>]) -> AnyResult<f64> {
    let found_lengths: Vec<usize> = found.iter().map(Vec::len).collect();
    let expected_lengths: Vec<usize> = expected.iter().map(Vec::len).collect();
    if found_lengths != expected_lengths {
        return Err(format!("chunks of {found_lengths:?}, expected {expected_lengths:?}").into());
    }
    let mut worst = 0.0f64;
    for (at, (found, (id, weight))) in found.iter().flatten().zip(expected.iter().flatten()).enumerate() {
        if found.token != Token::Id(*id) {
            return Err(format!("token {at} is {:?}, expected {id}", found.token).into());
        }
        worst = worst.max((f64::from(found.weight) - weight).abs());
    }
    Ok(worst)
}
