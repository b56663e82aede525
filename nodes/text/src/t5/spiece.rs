//! Sentencepiece's model file, as far as a unigram vocabulary needs it.
//!
//! It is a protocol buffer; the fields are those of
//! <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>.

use super::UnigramPieces;
use crate::{Result, TextError};

/// What a field of a message holds.
enum Field<'a> {
    Number(u64),
    Bits32(u32),
    Bytes(&'a [u8]),
    Other,
}

/// Walks through the fields of a message.
struct Fields<'a> {
    rest: &'a [u8],
}

fn broken(what: &str) -> TextError {
    TextError::Tokenizer(format!("not a sentencepiece model: {what}"))
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or_else(|| broken("it is cut short"))?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken("a number of more than 64 bits"))
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).ok().filter(|n| *n <= self.rest.len());
        let (found, rest) = self.rest.split_at(length.ok_or_else(|| broken("it is cut short"))?);
        self.rest = rest;
        Ok(found)
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let field = match tag & 7 {
            0 => Field::Number(self.number()?),
            1 => {
                self.bytes(8)?;
                Field::Other
            }
            2 => {
                let length = self.number()?;
                Field::Bytes(self.bytes(length)?)
            }
            5 => {
                let bytes = self.bytes(4)?;
                Field::Bits32(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            _ => return Err(broken("an unknown kind of field")),
        };
        Ok(Some((tag >> 3, field)))
    }
}

/// Kinds of pieces that are no pieces of a text.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;

pub(super) fn read(model: &[u8]) -> Result<UnigramPieces> {
    const UNIGRAM: u64 = 1;
    let mut parts = UnigramPieces::default();
    let mut fields = Fields { rest: model };
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(piece)) => {
                let (text, score, kind) = piece_of(piece)?;
                if kind == UNKNOWN {
                    parts.unknown = parts.pieces.len();
                }
                if kind == UNKNOWN || kind == CONTROL {
                    parts.special.push(text.clone());
                }
                parts.pieces.push((text, score));
            }
            (2, Field::Bytes(trainer)) => {
                let mut fields = Fields { rest: trainer };
                while let Some((number, field)) = fields.next()? {
                    if let (3, Field::Number(kind)) = (number, field)
                        && kind != UNIGRAM
                    {
                        return Err(TextError::Tokenizer(
                            "the sentencepiece model is not of the unigram kind".into(),
                        ));
                    }
                }
            }
            (3, Field::Bytes(normalizer)) => {
                let mut fields = Fields { rest: normalizer };
                while let Some((number, field)) = fields.next()? {
                    if let (2, Field::Bytes(rules)) = (number, field)
                        && !rules.is_empty()
                    {
                        parts.rules = Some(rules.to_vec());
                    }
                }
            }
            _ => {}
        }
    }
    if parts.pieces.is_empty() {
        return Err(broken("it has no pieces"));
    }
    Ok(parts)
}

fn piece_of(message: &[u8]) -> Result<(String, f64, u64)> {
    let (mut text, mut score, mut kind) = (String::new(), 0.0, 1);
    let mut fields = Fields { rest: message };
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => {
                text =
                    std::str::from_utf8(bytes).map_err(|_| broken("a piece that is not UTF-8"))?.to_owned();
            }
            (2, Field::Bits32(bits)) => score = f64::from(f32::from_bits(bits)),
            (3, Field::Number(number)) => kind = number,
            _ => {}
        }
    }
    Ok((text, score, kind))
}
