//! What T5 encoders need beside their tensors: the names that models ask for, and a vocabulary.

use crate::vocabulary::{vocabularies, vocabulary_folders};
use crate::{DType, ModelFolders, Result, WeightError, WeightSource};

/// Tensor names of a T5 encoder as the transformers library has them, from llama.cpp's in GGUF files.
/// Names that are neither stay as they are.
pub fn t5_names(source: &WeightSource) -> WeightSource {
    source.renamed(|name| Some(transformers_name(name).unwrap_or_else(|| name.to_owned())))
}

/// Tensor names of Qwen 3 as the transformers library has them, from llama.cpp's in GGUF files.
pub fn language_names(source: &WeightSource) -> WeightSource {
    source.renamed(|name| Some(language_name(name).unwrap_or_else(|| name.to_owned())))
}

fn language_name(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        _ => {}
    }
    let (block, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let inside = match rest {
        "attn_q.weight" => "self_attn.q_proj.weight",
        "attn_k.weight" => "self_attn.k_proj.weight",
        "attn_v.weight" => "self_attn.v_proj.weight",
        "attn_q_norm.weight" => "self_attn.q_norm.weight",
        "attn_k_norm.weight" => "self_attn.k_norm.weight",
        "attn_output.weight" => "self_attn.o_proj.weight",
        "attn_norm.weight" => "input_layernorm.weight",
        "ffn_norm.weight" => "post_attention_layernorm.weight",
        "ffn_gate.weight" => "mlp.gate_proj.weight",
        "ffn_up.weight" => "mlp.up_proj.weight",
        "ffn_down.weight" => "mlp.down_proj.weight",
        _ => return None,
    };
    Some(format!("model.layers.{block}.{inside}"))
}

fn transformers_name(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("shared.weight".to_owned()),
        "enc.output_norm.weight" => return Some("encoder.final_layer_norm.weight".to_owned()),
        _ => {}
    }
    let (block, rest) = name.strip_prefix("enc.blk.")?.split_once('.')?;
    let inside = match rest {
        "attn_q.weight" => "layer.0.SelfAttention.q.weight",
        "attn_k.weight" => "layer.0.SelfAttention.k.weight",
        "attn_v.weight" => "layer.0.SelfAttention.v.weight",
        "attn_o.weight" => "layer.0.SelfAttention.o.weight",
        "attn_norm.weight" => "layer.0.layer_norm.weight",
        "attn_rel_b.weight" => "layer.0.SelfAttention.relative_attention_bias.weight",
        "ffn_gate.weight" => "layer.1.DenseReluDense.wi_0.weight",
        "ffn_up.weight" => "layer.1.DenseReluDense.wi_1.weight",
        "ffn_down.weight" => "layer.1.DenseReluDense.wo.weight",
        "ffn_norm.weight" => "layer.1.layer_norm.weight",
        _ => return None,
    };
    Some(format!("encoder.block.{block}.{inside}"))
}

/// A vocabulary as it was found, for a tokenizer to read.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenizerData {
    /// A `tokenizer.json`.
    Json(Vec<u8>),
    /// A sentencepiece model.
    SentencePiece(Vec<u8>),
    /// The pieces in a GGUF file's metadata, each with the logarithm of its likeliness.
    Pieces {
        /// The pieces.
        pieces: Vec<(String, f64)>,
        /// The token of what is in no piece.
        unknown: usize,
        /// Tokens that are found by their spelling.
        special: Vec<String>,
        /// Sentencepiece's compiled rules for cleaning a text.
        rules: Option<Vec<u8>>,
    },
}

/// The names under which a vocabulary stands beside its encoder or in a text encoders' folder.
const FILES: [&str; 10] = [
    "tokenizer.json",
    "spiece.model",
    "t5_tokenizer/tokenizer.json",
    "t5_tokenizer/spiece.model",
    "t5xxl/tokenizer.json",
    "t5xxl/spiece.model",
    // Of folders in the diffusers library's layout: SD 3's, then Flux's.
    "tokenizer_3/tokenizer.json",
    "tokenizer_3/spiece.model",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/spiece.model",
];

/// Looks for a T5 encoder's vocabulary: inside its file, beside it, then in the folders of text encoders.
///
/// # Errors
/// [`WeightError::NotListed`], which says where it was looked for; what reading it says.
pub fn t5_tokenizer(source: &WeightSource, folders: &ModelFolders) -> Result<TokenizerData> {
    if let Some(found) = inside(source)? {
        return Ok(found);
    }
    let roots = vocabulary_folders(source, folders);
    if let Some(found) = vocabularies(&roots, &FILES).next() {
        let (path, bytes) = found?;
        let is_json = path.extension().is_some_and(|ending| ending == "json");
        return Ok(if is_json { TokenizerData::Json(bytes) } else { TokenizerData::SentencePiece(bytes) });
    }
    let places: Vec<String> = roots.iter().map(|r| r.display().to_string()).collect();
    Err(WeightError::NotListed {
        kind: "text_encoders".to_owned(),
        name: "tokenizer.json".to_owned(),
        why: Some(format!(
            "T5 needs its vocabulary, and {} holds none; put T5's tokenizer.json or spiece.model into one of: {}",
            source.label().display(),
            places.join(", ")
        )),
        nearest: None,
    })
}

/// A vocabulary in the encoder's own file: a tensor of bytes, or a GGUF's metadata.
fn inside(source: &WeightSource) -> Result<Option<TokenizerData>> {
    if let Some(view) = source.get("spiece_model").filter(|v| matches!(v.dtype(), DType::U8 | DType::I8)) {
        let mut bytes = vec![0; usize::try_from(view.stored_bytes()).unwrap_or(0)];
        view.read_stored(&mut bytes)?;
        return Ok(Some(TokenizerData::SentencePiece(bytes)));
    }
    let Some(file) = source.files().into_iter().next() else { return Ok(None) };
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let Some(texts) = file.strings(&key("tokens"))? else { return Ok(None) };
    let scores = file.numbers(&key("scores"))?.unwrap_or_else(|| vec![0.0; texts.len()]);
    let kinds = file.numbers(&key("token_type"))?.unwrap_or_default();
    if scores.len() != texts.len() {
        let said = format!("{} tokens and {} scores", texts.len(), scores.len());
        return Err(WeightError::broken(file.path(), "GGUF", said));
    }
    // llama.cpp's numbers: 2 for the unknown token, 3 for control tokens.
    let named = |wanted: f64| (0..texts.len()).filter(|i| kinds.get(*i) == Some(&wanted)).collect::<Vec<_>>();
    let unknown = file.metadata().get(&key("unknown_token_id")).and_then(|t| t.parse().ok());
    let unknown = unknown.or_else(|| named(2.0).first().copied()).unwrap_or(2);
    let special = named(3.0).into_iter().map(|i| texts[i].clone()).collect();
    let rules =
        file.numbers(&key("precompiled_charsmap"))?.map(|n| n.into_iter().map(|b| b as i64 as u8).collect());
    let pieces = texts.into_iter().zip(scores).collect();
    Ok(Some(TokenizerData::Pieces { pieces, unknown, special, rules }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::ModelFile;

    fn source(name: &Path, header: &str, data: usize) -> WeightSource {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend((0..data).map(|i| i as u8));
        WeightSource::of_file(&ModelFile::from_bytes(name, bytes).unwrap())
    }

    #[test]
    fn ggufs_names_become_transformers() {
        let renamed = |name| transformers_name(name);
        assert_eq!(renamed("token_embd.weight").unwrap(), "shared.weight");
        let bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        assert_eq!(renamed("enc.blk.0.attn_rel_b.weight").unwrap(), bias);
        assert_eq!(
            renamed("enc.blk.23.ffn_up.weight").unwrap(),
            "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"
        );
        assert_eq!(renamed("encoder.block.0.layer.0.layer_norm.weight"), None);
    }

    #[test]
    fn a_vocabulary_is_found_inside_beside_and_in_the_folders() {
        let base = tempfile::tempdir().unwrap();
        let folders = ModelFolders::under(base.path());
        let file = base.path().join("elsewhere/t5.safetensors");
        let without = source(&file, "{}", 0);
        let said = t5_tokenizer(&without, &folders).unwrap_err().to_string();
        assert!(said.contains("spiece.model") && said.contains("text_encoders"), "{said}");

        let header = r#"{"spiece_model":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#;
        let inside = source(&file, header, 3);
        assert_eq!(t5_tokenizer(&inside, &folders).unwrap(), TokenizerData::SentencePiece(vec![0, 1, 2]));

        // A source of a tensor knows its file, and so what stands beside it.
        let clip = base.path().join("clip");
        std::fs::create_dir_all(&clip).unwrap();
        std::fs::write(clip.join("tokenizer.json"), "{}").unwrap();
        assert_eq!(t5_tokenizer(&without, &folders).unwrap(), TokenizerData::Json(b"{}".to_vec()));
        let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file.with_file_name("spiece.model"), "x").unwrap();
        let beside = source(&file, header, 1);
        assert_eq!(t5_tokenizer(&beside, &folders).unwrap(), TokenizerData::SentencePiece(b"x".to_vec()));
    }
}
