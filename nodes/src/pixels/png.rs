//! PNG files with ComfyUI's text chunks, written whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Serializer, Value as Json};

/// Encodes 8-bit pixels (`channels` 1, 3 or 4) with text chunks.
///
/// # Errors
/// Where the sizes do not fit together.
pub fn encode(
    pixels: &[u8],
    (width, height, channels): (usize, usize, usize),
    texts: &[(String, String)],
) -> io::Result<Vec<u8>> {
    let invalid = |e: png::EncodingError| io::Error::new(io::ErrorKind::InvalidInput, e);
    let side = |n: usize| u32::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, side(width)?, side(height)?);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        4 => png::ColorType::Rgba,
        _ => png::ColorType::Rgb,
    });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    for (keyword, text) in texts {
        encoder.add_text_chunk(keyword.clone(), text.clone()).map_err(invalid)?;
    }
    let mut writer = encoder.write_header().map_err(invalid)?;
    writer.write_image_data(pixels).map_err(invalid)?;
    writer.finish().map_err(invalid)?;
    Ok(out)
}

/// Bytes of f32 values in 0..1: cut off, not rounded, as ComfyUI does it (0.5 becomes 127).
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|v| (255.0 * v).clamp(0.0, 255.0) as u8).collect()
}

/// JSON as ComfyUI puts it into text chunks: one line, everything beyond ASCII escaped, so that
/// any reader of the older, Latin-1 chunk type can take it.
pub fn ascii_json(json: &Json) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, Ascii);
    // Writing to a Vec cannot fail, and a `Value` has no key that is not a string.
    if json.serialize(&mut serializer).is_err() {
        return String::new();
    }
    String::from_utf8(out).unwrap_or_default()
}

struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut units = [0u16; 2];
        for c in text.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                out.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }
}

/// Writes a new file under the first free name that `names` gives: whole, or not at all, and never
/// over another one, even if two writers meet.
///
/// # Errors
/// Whatever the file system says; nothing is left behind then.
pub fn write_new(
    folder: &Path,
    bytes: &[u8],
    mut names: impl FnMut() -> String,
) -> io::Result<(PathBuf, String)> {
    let mut temporary = tempfile::Builder::new().prefix(".ebb-").suffix(".part").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_data()?;
    set_readable(temporary.as_file())?;
    loop {
        let name = names();
        let path = folder.join(&name);
        match temporary.persist_noclobber(&path) {
            Ok(_) => return Ok((path, name)),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => temporary = e.file,
            Err(e) => return Err(e.error),
        }
    }
}

/// Temporary files are private; a picture is as readable as any other file of the folder.
#[cfg(unix)]
fn set_readable(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_readable(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_is_ascii_json_that_reads_back() {
        let json = json!({"text": "Ünï \u{1F98A} \"q\"\n", "list": [1, 2.5, null]});
        let text = ascii_json(&json);
        assert!(text.is_ascii());
        assert!(text.starts_with("{\"text\": "), "{text}");
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), json);
    }

    #[test]
    fn a_new_file_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a_1"), "old").unwrap();
        let mut n = 0;
        let (path, name) = write_new(dir.path(), b"new", || {
            n += 1;
            format!("a_{n}")
        })
        .unwrap();
        assert_eq!(name, "a_2");
        assert_eq!(std::fs::read(path).unwrap(), b"new");
        assert_eq!(std::fs::read_to_string(dir.path().join("a_1")).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn half_is_127() {
        assert_eq!(to_bytes(&[0.5, 0.25, 0.1, -1.0, 2.0, f32::NAN]), [127, 63, 25, 0, 255, 0]);
    }
}
