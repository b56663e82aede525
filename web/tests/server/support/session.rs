//! A recorded exchange replayed: its requests sent, its websockets opened, what comes back in the recording's form.

use std::collections::{HashMap, VecDeque};
use std::io::Cursor;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use tungstenite::{Message, WebSocket};

use super::http::{self, Answer, Part};
use super::normal::Names;

/// Headers that the recordings keep.
const KEPT: [&str; 15] = [
    "content-type",
    "content-disposition",
    "cache-control",
    "pragma",
    "expires",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-credentials",
    "last-modified",
    "etag",
    "accept-ranges",
    "content-range",
    "content-encoding",
    "allow",
];

pub(crate) struct Session {
    to: SocketAddr,
    names: Names,
    sockets: HashMap<String, Socket>,
}

struct Socket {
    inbox: Arc<(Mutex<Inbox>, Condvar)>,
    stream: TcpStream,
}

#[derive(Default)]
struct Inbox {
    frames: VecDeque<Message>,
    closed: bool,
}

impl Session {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, names: Names::default(), sockets: HashMap::new() }
    }

    /// Does a step; what it gave, in the recording's form.
    pub(crate) fn run(&mut self, step: &Json) -> Json {
        match step["op"].as_str().expect("an op") {
            "http" => self.http(step),
            "ws_connect" => self.connect(step),
            "ws_wait" => self.wait(step),
            "ws_close" => self.close(step),
            "sleep" => {
                std::thread::sleep(Duration::from_secs_f64(step["seconds"].as_f64().expect("seconds")));
                Json::Null
            }
            "poll" => self.poll(step),
            other => panic!("unknown step {other}"),
        }
    }

    fn http(&mut self, step: &Json) -> Json {
        let request = self.names.to_live(&step["request"]);
        let method = request["method"].as_str().expect("a method");
        let mut path = request["path"].as_str().expect("a path").to_owned();
        if let Some(query) = request["query"].as_object() {
            let pairs: Vec<String> = query
                .iter()
                .map(|(k, v)| format!("{}={}", http::encoded(k), http::encoded(&as_text(v))))
                .collect();
            path = format!("{path}?{}", pairs.join("&"));
        }
        let mut headers: Vec<(String, String)> = request["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), as_text(v)))
            .collect();
        let mut content_type = |kind: &str| {
            if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-type")) {
                headers.push(("Content-Type".into(), kind.to_owned()));
            }
        };
        let body = if let Some(json) = request.get("json") {
            content_type("application/json");
            json.to_string().into_bytes()
        } else if let Some(raw) = request["raw"].as_str() {
            content_type("application/octet-stream");
            raw.as_bytes().to_vec()
        } else if let Some(parts) = request["multipart"].as_array() {
            let (kind, body) = form(parts);
            content_type(&kind);
            body
        } else {
            Vec::new()
        };
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = http::request(self.to, method, &path, &headers, &body);
        self.described(step, &answer)
    }

    fn described(&mut self, step: &Json, answer: &Answer) -> Json {
        let mut headers = Map::new();
        for (name, value) in answer.headers.iter().filter(|(n, _)| KEPT.contains(&n.as_str())) {
            let value = match name.as_str() {
                "last-modified" | "etag" => "<VOLATILE>".to_owned(),
                _ => self.names.text(value),
            };
            headers.insert(name.clone(), json!(value));
        }
        let kind = answer.header("content-type").unwrap_or_default();
        let mut out = json!({"status": answer.status, "headers": headers});
        match step["body"].as_str() {
            Some("ignore") => out["body"] = json!("<IGNORED>"),
            Some("shape") => out["shape"] = shape(&self.names.normal(&answer.json())),
            _ if kind.contains("json") && !answer.body.is_empty() => {
                out["json"] = self.names.normal(&answer.json())
            }
            _ if kind.starts_with("image/") => out["image"] = self.names.normal(&picture(&answer.body, true)),
            _ => out["text"] = json!(answer.text()),
        }
        out
    }

    fn connect(&mut self, step: &Json) -> Json {
        let path = step["path"].as_str().unwrap_or("/ws");
        let query = step["client_id"].as_str().map(|id| format!("?clientId={id}")).unwrap_or_default();
        let stream = TcpStream::connect(self.to).expect("a connection");
        let kept = stream.try_clone().expect("a second handle");
        let (mut socket, _) =
            tungstenite::client(format!("ws://{}{path}{query}", self.to), stream).expect("a websocket");
        for message in step["send"].as_array().into_iter().flatten() {
            socket.send(Message::text(message.to_string())).expect("sent");
        }
        let inbox = Arc::new((Mutex::new(Inbox::default()), Condvar::new()));
        let filled = Arc::clone(&inbox);
        std::thread::spawn(move || receive(socket, &filled));
        self.sockets.insert(step["ws"].as_str().expect("a name").to_owned(), Socket { inbox, stream: kept });
        Json::Null
    }

    fn close(&mut self, step: &Json) -> Json {
        if let Some(socket) = self.sockets.remove(step["ws"].as_str().expect("a name")) {
            let _ = socket.stream.shutdown(std::net::Shutdown::Both);
        }
        std::thread::sleep(Duration::from_millis(300));
        Json::Null
    }

    fn wait(&mut self, step: &Json) -> Json {
        let until = self.names.to_live(&step["until"]);
        let inbox = Arc::clone(&self.sockets[step["ws"].as_str().expect("a name")].inbox);
        let deadline = Instant::now() + Duration::from_secs_f64(step["timeout"].as_f64().unwrap_or(40.0));
        let (mut frames, mut done, mut last) = (Vec::new(), false, Instant::now());
        while !done && Instant::now() < deadline {
            let (lock, filled) = &*inbox;
            let mut state = lock.lock().expect("no panic");
            if state.frames.is_empty() {
                state = filled.wait_timeout(state, Duration::from_millis(50)).expect("no panic").0;
            }
            while let Some(frame) = state.frames.pop_front() {
                let frame = described_frame(&frame);
                last = Instant::now();
                done = meets(&frame, &until);
                frames.push(frame);
                if done {
                    break;
                }
            }
            let closed = state.closed && state.frames.is_empty();
            drop(state);
            done |= until["idle"].as_f64().is_some_and(|idle| last.elapsed().as_secs_f64() > idle);
            if closed {
                break;
            }
        }
        let mut frames: Vec<Json> = frames.iter().map(|f| self.names.normal(f)).collect();
        if let Some(kinds) = step["collapse"].as_array() {
            frames = collapsed(frames, kinds);
        }
        let mut out = json!({"messages": frames});
        if !done {
            out["timed_out"] = json!(true);
        }
        out
    }

    fn poll(&mut self, step: &Json) -> Json {
        let path = self.names.text_to_live(step["path"].as_str().expect("a path"));
        let deadline = Instant::now() + Duration::from_secs_f64(step["timeout"].as_f64().unwrap_or(30.0));
        while Instant::now() < deadline {
            let json = http::get(self.to, &path).json();
            let value = match step["key"].as_str() {
                Some(key) => key.split('.').fold(json, |v, k| v.get(k).cloned().unwrap_or_default()),
                None => json,
            };
            let length = value.as_array().map(Vec::len).or(value.as_object().map(Map::len));
            let long_enough = step["len"].as_u64().is_some_and(|n| length == Some(n as usize));
            let there = step["nonempty"].as_bool() == Some(true) && length.is_some_and(|n| n > 0);
            if long_enough || there {
                return Json::Null;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        json!({"timed_out": true})
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for socket in self.sockets.values() {
            let _ = socket.stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn receive(mut socket: WebSocket<TcpStream>, inbox: &(Mutex<Inbox>, Condvar)) {
    while let Ok(frame) = socket.read() {
        if frame.is_text() || frame.is_binary() {
            inbox.0.lock().expect("no panic").frames.push_back(frame);
            inbox.1.notify_all();
        }
    }
    inbox.0.lock().expect("no panic").closed = true;
    inbox.1.notify_all();
}

fn as_text(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

fn form(parts: &[Json]) -> (String, Vec<u8>) {
    let decoded: Vec<Vec<u8>> =
        parts.iter().map(|p| base64(p["base64"].as_str().unwrap_or_default())).collect();
    let text = |p: &'_ Json, key: &str| p[key].as_str().unwrap_or_default().to_owned();
    let owned: Vec<(String, String, String)> =
        parts.iter().map(|p| (text(p, "name"), text(p, "filename"), text(p, "value"))).collect();
    let parts: Vec<Part<'_>> = parts
        .iter()
        .zip(&owned)
        .zip(&decoded)
        .map(|((p, (name, filename, value)), bytes)| match p.get("filename") {
            Some(_) => Part::File(name, filename, bytes),
            None => Part::Field(name, value),
        })
        .collect();
    http::multipart(&parts)
}

/// RFC 4648, without line breaks.
fn base64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::new();
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'=').map(digit).collect();
    for group in digits.chunks(4) {
        let word = group.iter().enumerate().fold(0u32, |w, (i, d)| w | u32::from(*d) << (18 - 6 * i));
        out.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    out
}

fn described_frame(frame: &Message) -> Json {
    let bytes = match frame {
        Message::Text(text) => return serde_json::from_str(text).expect("JSON"),
        Message::Binary(bytes) => bytes,
        other => panic!("unexpected frame {other:?}"),
    };
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let head: String = bytes[..8].iter().map(|b| format!("{b:02x}")).collect();
    let mut out = json!({"binary_event": word(0), "head_hex": head});
    let length = word(4) as usize;
    match word(0) {
        1 => {
            out["image_type"] = json!(length);
            out["image"] = picture(&bytes[8..], false);
        }
        3 => {
            out["node_id"] = json!(String::from_utf8_lossy(&bytes[8..8 + length]));
            out["text"] = json!(String::from_utf8_lossy(&bytes[8 + length..]));
        }
        4 => {
            out["metadata"] = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
            out["image"] = picture(&bytes[8 + length..], false);
        }
        _ => out["length"] = json!(bytes.len()),
    }
    out
}

/// Format, size and, in full, the pixels' digest and the text chunks.
fn picture(bytes: &[u8], full: bool) -> Json {
    let format = image::guess_format(bytes).expect("a picture");
    let decoded = image::load_from_memory_with_format(bytes, format).expect("a picture");
    let name = match format {
        image::ImageFormat::Png => "PNG",
        image::ImageFormat::Jpeg => "JPEG",
        image::ImageFormat::WebP => "WEBP",
        _ => "other",
    };
    let mut out = json!({"format": name, "size": [decoded.width(), decoded.height()]});
    if !full {
        return out;
    }
    out["mode"] = json!(match decoded.color() {
        image::ColorType::Rgba8 => "RGBA",
        image::ColorType::Rgb8 => "RGB",
        image::ColorType::L8 => "L",
        _ => "other",
    });
    if name == "PNG" {
        let digest = Sha256::digest(decoded.as_bytes());
        out["pixels_sha256"] = json!(digest.iter().map(|b| format!("{b:02x}")).collect::<String>());
        let reader = png::Decoder::new(Cursor::new(bytes)).read_info().expect("a PNG");
        let info = reader.info();
        let latin = info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone()));
        let unicode = info.utf8_text.iter().map(|t| (t.keyword.clone(), t.get_text().expect("text")));
        let texts: Map<String, Json> = latin
            .chain(unicode)
            .map(|(k, v)| (k, serde_json::from_str::<Json>(&v).map_or(json!(v), |j| json!({"json": j}))))
            .collect();
        if !texts.is_empty() {
            out["text_chunks"] = Json::Object(texts);
        }
    }
    out
}

fn meets(frame: &Json, until: &Json) -> bool {
    if until.get("type").is_none() || frame["type"] != until["type"] {
        return false;
    }
    let wanted = until["match"].as_object();
    wanted.into_iter().flatten().all(|(path, value)| {
        let found = path.split('.').try_fold(&frame["data"], |v, k| v.get(k));
        found.unwrap_or(&Json::Null) == value
    })
}

fn shape(json: &Json) -> Json {
    match json {
        Json::Object(map) => map.iter().map(|(k, v)| (k.clone(), shape(v))).collect(),
        Json::Array(items) => items.first().map(shape).into_iter().collect(),
        Json::Bool(_) => json!("bool"),
        Json::Number(n) if n.is_f64() => json!("float"),
        Json::Number(_) => json!("int"),
        Json::String(_) => json!("str"),
        Json::Null => json!("null"),
    }
}

/// Runs of frames that come as often as time allows, as one of each kind without numbers.
fn collapsed(frames: Vec<Json>, kinds: &[Json]) -> Vec<Json> {
    let runs = |f: &Json| {
        kinds.contains(&f["type"]) || (f.get("binary_event").is_some() && kinds.contains(&json!("binary")))
    };
    let mut out: Vec<Json> = Vec::new();
    let mut rest = frames.into_iter().peekable();
    while let Some(frame) = rest.next() {
        if !runs(&frame) {
            out.push(frame);
            continue;
        }
        let mut seen: Vec<(String, Json)> = Vec::new();
        let mut next = Some(frame);
        while let Some(frame) = next {
            let kind =
                frame["type"].as_str().map_or(format!("binary_{}", frame["binary_event"]), str::to_owned);
            if !seen.iter().any(|(k, _)| *k == kind) {
                seen.push((kind, blanked(&frame)));
            }
            next = rest.next_if(runs);
        }
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let names: Vec<&str> = seen.iter().map(|(k, _)| k.as_str()).collect();
        let exemplars: Vec<&Json> = seen.iter().map(|(_, f)| f).collect();
        out.push(json!({"run_of": names, "exemplars": exemplars}));
    }
    out
}

fn blanked(json: &Json) -> Json {
    match json {
        Json::Object(map) => map
            .iter()
            .map(|(k, v)| match k.as_str() {
                "value" if v.is_number() => (k.clone(), json!("<NUM>")),
                "state" => (k.clone(), json!("<STATE>")),
                _ => (k.clone(), blanked(v)),
            })
            .collect(),
        Json::Array(items) => items.iter().map(blanked).collect(),
        other => other.clone(),
    }
}
