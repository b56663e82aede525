//! The texts that ComfyUI writes into PNGs: `prompt` (API format), `workflow` (UI format), and
//! whatever else a node adds.
//!
//! Only the chunk list is walked; no pixel is decoded. All three kinds of text chunk are read (PNG
//! specification, third edition, 11.3.3). Metadata of an uploaded file is data: sizes are capped,
//! broken UTF-8 is replaced, and a damaged text chunk is passed over.

use indexmap::IndexMap;

/// The most that one text may take once it is decompressed.
pub const MAX_TEXT: usize = 64 << 20;
/// The most that all texts of a file may take.
pub const MAX_TEXTS: usize = 128 << 20;
/// How many texts are kept.
const MAX_COUNT: usize = 1024;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Why a file's texts cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PngError {
    /// The first eight bytes are not a PNG's.
    #[error("not a PNG file")]
    NotPng,
    /// The file ends inside a chunk.
    #[error("the PNG is cut short: chunk {chunk} at byte {at} needs {needs} bytes, {left} are left")]
    Truncated {
        /// The chunk's type.
        chunk: String,
        /// Where it begins.
        at: usize,
        /// What it declares.
        needs: u64,
        /// What there is.
        left: usize,
    },
    /// A text is larger than the cap.
    #[error("the PNG's text `{key}` is larger than {cap} bytes")]
    TooLarge {
        /// Its keyword.
        key: String,
        /// The cap.
        cap: usize,
    },
}

/// Whether bytes begin as a PNG does.
pub fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE)
}

/// The texts of a PNG by keyword, in the order of the file; where a keyword repeats, the last one.
///
/// # Errors
/// Where the bytes are no PNG, end inside a chunk, or hold a text beyond the caps.
pub fn texts(bytes: &[u8]) -> Result<IndexMap<String, String>, PngError> {
    let mut rest = bytes.strip_prefix(SIGNATURE).ok_or(PngError::NotPng)?;
    let mut texts = IndexMap::new();
    let mut room = MAX_TEXTS;
    while let Some((length, kind, data)) = header(rest) {
        let at = bytes.len() - rest.len();
        let needs = u64::from(length) + 4;
        let body =
            usize::try_from(needs).ok().and_then(|n| data.get(..n)).ok_or_else(|| PngError::Truncated {
                chunk: String::from_utf8_lossy(&kind).into_owned(),
                at,
                needs,
                left: data.len(),
            })?;
        let content = &body[..body.len() - 4];
        if &kind == b"IEND" {
            break;
        }
        if let Some((key, text)) = text_chunk(&kind, content, MAX_TEXT.min(room))? {
            room = room.saturating_sub(text.len());
            if texts.len() < MAX_COUNT || texts.contains_key(&key) {
                texts.insert(key, text);
            }
        }
        rest = &data[body.len()..];
    }
    Ok(texts)
}

/// A chunk's length and type, and what follows them. Fewer than eight bytes are no chunk.
fn header(bytes: &[u8]) -> Option<(u32, [u8; 4], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*length), *kind, rest))
}

/// Keyword and text of a chunk; none where it is no text chunk or a damaged one.
fn text_chunk(kind: &[u8; 4], content: &[u8], cap: usize) -> Result<Option<(String, String)>, PngError> {
    if !matches!(kind, b"tEXt" | b"zTXt" | b"iTXt") {
        return Ok(None);
    }
    let Some((key, rest)) = split_nul(content) else { return Ok(None) };
    let key = latin1(&key[..key.len().min(79)]);
    let too_large = || PngError::TooLarge { key: key.clone(), cap };
    let text = match kind {
        b"tEXt" if rest.len() > cap => return Err(too_large()),
        // The standard says Latin-1; writers put UTF-8 there all the same.
        b"tEXt" => Some(match std::str::from_utf8(rest) {
            Ok(text) => text.to_owned(),
            Err(_) => latin1(rest),
        }),
        b"zTXt" => match rest.split_first() {
            Some((0, packed)) => {
                inflate(packed, cap).map_err(|_| too_large())?.map(|text| match String::from_utf8(text) {
                    Ok(text) => text,
                    Err(broken) => latin1(broken.as_bytes()),
                })
            }
            _ => None,
        },
        _ => match international(rest) {
            Some((false, text)) if text.len() > cap => return Err(too_large()),
            Some((false, text)) => Some(String::from_utf8_lossy(text).into_owned()),
            Some((true, packed)) => {
                let text = inflate(packed, cap).map_err(|_| too_large())?;
                text.map(|text| String::from_utf8_lossy(&text).into_owned())
            }
            None => None,
        },
    };
    Ok(text.map(|text| (key, text)))
}

/// What follows an iTXt's keyword: whether the text is compressed, and its bytes.
fn international(rest: &[u8]) -> Option<(bool, &[u8])> {
    let [compressed, method, rest @ ..] = rest else { return None };
    let (_language, rest) = split_nul(rest)?;
    let (_translated, text) = split_nul(rest)?;
    match (compressed, method) {
        (0, _) => Some((false, text)),
        (1, 0) => Some((true, text)),
        _ => None,
    }
}

/// More bytes than the cap.
struct OverCap;

/// Decompresses a zlib stream; none where it is damaged.
fn inflate(packed: &[u8], cap: usize) -> Result<Option<Vec<u8>>, OverCap> {
    use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
    match decompress_to_vec_zlib_with_limit(packed, cap) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.status == TINFLStatus::HasMoreOutput => Err(OverCap),
        Err(_) => Ok(None),
    }
}

fn split_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Latin-1's 256 characters are Unicode's first 256.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[..], kind, content, &[0; 4]].concat()
    }

    fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
        [SIGNATURE.to_vec(), chunks.concat(), chunk(b"IEND", b"")].concat()
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        miniz_oxide::deflate::compress_to_vec_zlib(text, 6)
    }

    #[test]
    fn every_kind_of_text_chunk_is_read() {
        let file = png(&[
            chunk(b"IHDR", &[0; 13]),
            chunk(b"tEXt", b"prompt\0{\"1\": {}}"),
            chunk(b"zTXt", &[b"workflow\0\0".to_vec(), packed(b"{}")].concat()),
            chunk(b"iTXt", "plain\0\0\0de\0\0gr\u{fc}n".as_bytes()),
            chunk(b"iTXt", &[b"small\0\x01\0\0\0".to_vec(), packed("\u{fc}".as_bytes())].concat()),
            chunk(b"IDAT", b"not looked at"),
            chunk(b"tEXt", b"late\0\xfc"),
        ]);
        let texts = texts(&file).unwrap();
        let pairs: Vec<_> = texts.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let expected = [
            ("prompt", "{\"1\": {}}"),
            ("workflow", "{}"),
            ("plain", "gr\u{fc}n"),
            ("small", "\u{fc}"),
            ("late", "\u{fc}"),
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn damaged_texts_are_passed_over() {
        let file = png(&[
            chunk(b"tEXt", b"no end of keyword"),
            chunk(b"zTXt", b"k\0\0not zlib"),
            chunk(b"zTXt", b"k\0\x07unknown method"),
            chunk(b"iTXt", b"k\0\0"),
            chunk(b"iTXt", b"broken\0\0\0\0\0a\xffb"),
        ]);
        let texts = texts(&file).unwrap();
        assert_eq!(texts.len(), 1);
        assert_eq!(texts["broken"], "a\u{fffd}b");
    }

    #[test]
    fn a_text_that_swells_is_refused() {
        let bomb = packed(&vec![b' '; MAX_TEXT + 1]);
        let file = png(&[chunk(b"zTXt", &[b"prompt\0\0".to_vec(), bomb].concat())]);
        assert_eq!(texts(&file), Err(PngError::TooLarge { key: "prompt".into(), cap: MAX_TEXT }));
    }

    #[test]
    fn any_cut_is_an_error_or_fewer_texts() {
        let file = png(&[chunk(b"IHDR", &[0; 13]), chunk(b"tEXt", b"prompt\0{}")]);
        for length in 0..file.len() {
            match texts(&file[..length]) {
                Ok(texts) => assert!(texts.len() <= 1),
                Err(PngError::NotPng) => assert!(length < SIGNATURE.len()),
                Err(error) => assert!(matches!(error, PngError::Truncated { .. }), "{error}"),
            }
        }
        let huge = [SIGNATURE, &[0xff; 4], b"tEXt"].concat();
        assert!(matches!(texts(&huge), Err(PngError::Truncated { needs: 0x1_0000_0003, .. })));
    }
}
