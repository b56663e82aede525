//! Text and binary frames as ComfyUI's clients read them.

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use serde_json::{Value as Json, json};

use ebb_engine::events::PreviewFormat;
use ebb_engine::node::NodeRef;

/// `{"type": …, "data": …}`.
pub(crate) fn text(kind: &str, data: &impl Serialize) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Frame<'a, T> {
        r#type: &'a str,
        data: &'a T,
    }
    // What is sent are maps with text keys: they always print.
    Utf8Bytes::from(serde_json::to_string(&Frame { r#type: kind, data }).unwrap_or_default())
}

/// The queue's length, and the id of the client that it is told to first.
pub(crate) fn status(remaining: u64, sid: Option<&str>) -> Utf8Bytes {
    let status = json!({"exec_info": {"queue_remaining": remaining}});
    match sid {
        Some(sid) => text("status", &json!({"status": status, "sid": sid})),
        None => text("status", &json!({"status": status})),
    }
}

/// Event 1: kind of picture, then the picture.
pub(crate) fn preview(format: PreviewFormat, picture: &[u8]) -> Bytes {
    let kind: u32 = match format {
        PreviewFormat::Jpeg => 1,
        PreviewFormat::Png => 2,
    };
    Bytes::from([&1u32.to_be_bytes()[..], &kind.to_be_bytes(), picture].concat())
}

/// Event 4: where the picture comes from, then the picture.
pub(crate) fn preview_with_metadata(
    job: &str,
    node: &NodeRef,
    format: PreviewFormat,
    picture: &[u8],
) -> Bytes {
    let mime = match format {
        PreviewFormat::Jpeg => "image/jpeg",
        PreviewFormat::Png => "image/png",
    };
    // Written with the same blanks as ComfyUI's: the length of the header is the same too.
    let metadata = ebb_nodes::pixels::png::ascii_json(&json!({
        "node_id": node.id.as_str(),
        "prompt_id": job,
        "display_node_id": node.display.as_str(),
        "parent_node_id": node.parent.as_ref().map(|p| p.as_str()),
        "real_node_id": node.real.as_str(),
        "image_type": mime,
    }));
    let length = u32::try_from(metadata.len()).unwrap_or(u32::MAX);
    Bytes::from([&4u32.to_be_bytes()[..], &length.to_be_bytes(), metadata.as_bytes(), picture].concat())
}

/// Event 3: a node's id, then a text.
pub(crate) fn node_text(node: &str, text: &str) -> Bytes {
    let length = u32::try_from(node.len()).unwrap_or(u32::MAX);
    Bytes::from([&3u32.to_be_bytes()[..], &length.to_be_bytes(), node.as_bytes(), text.as_bytes()].concat())
}

/// A number as ComfyUI's nodes report it: whole ones without a point, which typed clients insist on.
pub(crate) fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 9e15 { json!(value as i64) } else { json!(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_binary_frames() {
        assert_eq!(&preview(PreviewFormat::Jpeg, b"x")[..], b"\0\0\0\x01\0\0\0\x01x");
        assert_eq!(&preview(PreviewFormat::Png, b"")[..], b"\0\0\0\x01\0\0\0\x02");
        assert_eq!(&node_text("2", "hello")[..], b"\0\0\0\x03\0\0\0\x012hello");
        let frame =
            preview_with_metadata("job", &NodeRef::top("2".into(), "KSampler"), PreviewFormat::Png, b"x");
        let length = u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
        assert_eq!(&frame[..4], b"\0\0\0\x04");
        assert_eq!(frame.len(), 8 + length + 1);
        let metadata: Json = serde_json::from_slice(&frame[8..8 + length]).expect("JSON");
        assert_eq!(metadata["image_type"], "image/png");
        assert_eq!(metadata["parent_node_id"], Json::Null);
    }

    #[test]
    fn numbers() {
        assert_eq!(number(3.0).to_string(), "3");
        assert_eq!(number(0.5).to_string(), "0.5");
        assert_eq!(number(f64::NAN), Json::Null);
    }
}
