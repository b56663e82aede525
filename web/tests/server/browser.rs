//! Hostile pages and callers: cases 1 to 10 of the list, against the whole server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::{self, Part, get, multipart, post, request};
use crate::support::nodes::{prompt, slow};
use crate::support::server::Running;

/// Every route of ComfyUI's that changes something; those of `/v1` are taken from its description.
const CHANGING: [(&str, &str); 16] = [
    ("POST", "/prompt"),
    ("POST", "/queue"),
    ("POST", "/interrupt"),
    ("POST", "/free"),
    ("POST", "/history"),
    ("POST", "/upload/image"),
    ("POST", "/settings"),
    ("POST", "/users"),
    ("POST", "/userdata/a.json"),
    ("DELETE", "/userdata/a.json"),
    ("PATCH", "/internal/logs/subscribe"),
    ("POST", "/upload/mask"),
    ("POST", "/settings/Comfy.Setting"),
    ("POST", "/userdata/a.json/move/b.json"),
    ("POST", "/jobs/cancel"),
    ("POST", "/login"),
];

#[test]
fn foreign_pages_change_nothing() {
    let server = Running::start(|_| {});
    let foreign = [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://localhost.evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Mode", "no-cors"),
        ("Referer", "http://evil.example/"),
    ];
    let document = get(server.address, "/v1/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths").iter();
    let described = paths.flat_map(|(path, methods)| {
        methods.as_object().expect("methods").keys().map(|method| (method.to_uppercase(), path.clone()))
    });
    let comfy = CHANGING.iter().flat_map(|(method, path)| {
        ["", "/api"].map(|prefix| ((*method).to_owned(), format!("{prefix}{path}")))
    });
    let routes: Vec<(String, String)> =
        described.filter(|(method, _)| method != "GET").chain(comfy).collect();
    assert!(routes.iter().filter(|(_, path)| path.starts_with("/v1")).count() >= 10, "{routes:?}");
    for (method, path) in &routes {
        for header in foreign {
            let answer =
                request(server.address, method, path, &[header, ("Content-Type", "text/plain")], b"{}");
            assert_eq!(answer.status, 403, "{method} {path} with {header:?}");
        }
    }
    assert_eq!(get(server.address, "/v1/queue").json()["paused"], false);
}

#[test]
fn names_that_are_not_ours_are_refused() {
    let server = Running::start(|config| config.access.hosts = vec!["box.lan".into()]);
    for (host, status) in
        [("evil.example", 403), ("evil.example:8188", 403), ("box.lan:8188", 200), ("192.168.1.2:8188", 200)]
    {
        assert_eq!(
            request(server.address, "GET", "/prompt", &[("Host", host)], b"").status,
            status,
            "{host}"
        );
    }
}

/// Asks for a websocket: the answer's status, and the connection.
fn upgrade(server: &Running, header: (&str, &str)) -> (String, TcpStream) {
    let headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        header,
    ];
    let mut head = format!("GET /ws HTTP/1.1\r\nHost: {}\r\n", server.address);
    headers.iter().for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    stream.write_all(format!("{head}\r\n").as_bytes()).expect("sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("a status");
    (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
}

#[test]
fn websockets_are_checked_too() {
    let server = Running::start(|_| {});
    let status = |header| upgrade(&server, header).0;
    let own = format!("http://{}", server.address);
    assert_eq!(status(("Origin", &own)), "101");
    assert_eq!(status(("User-Agent", "a script")), "101");
    assert_eq!(status(("Origin", "http://evil.example")), "403");
    assert_eq!(status(("Origin", "null")), "403");
    assert_eq!(status(("Sec-Fetch-Site", "cross-site")), "403");
}

#[test]
fn websockets_have_a_limit_of_their_own() {
    let server = Running::start(|config| config.limits.connections = 2);
    let script = ("User-Agent", "a script");
    let open: Vec<_> = (0..2).map(|_| upgrade(&server, script)).collect();
    assert!(open.iter().all(|(status, _)| status == "101"));
    assert_eq!(upgrade(&server, script).0, "503");
    drop(open);
    let deadline = Instant::now() + Duration::from_secs(10);
    while upgrade(&server, script).0 != "101" {
        assert!(Instant::now() < deadline, "their places become free");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_token_guards_everything_but_health_and_the_form() {
    let token = "0123456789abcdef";
    let server = Running::start(|config| config.access.token = Some(token.into()));
    for path in
        ["/", "/prompt", "/api/queue", "/view?filename=a.png", "/v1/jobs", "/metrics", "/ws", "/assets/x.js"]
    {
        assert_eq!(get(server.address, path).status, 401, "{path}");
    }
    assert_eq!(get(server.address, "/health").status, 200);
    assert_eq!(get(server.address, "/login").status, 200);
    let bearer = format!("Bearer {token}");
    assert_eq!(request(server.address, "GET", "/prompt", &[("Authorization", &bearer)], b"").status, 200);
    assert_eq!(
        request(server.address, "GET", "/prompt", &[("Authorization", "Bearer wrong")], b"").status,
        401
    );
    // Never in an address.
    assert_eq!(get(server.address, &format!("/prompt?token={token}")).status, 401);
    let page = request(server.address, "GET", "/", &[("Accept", "text/html")], b"");
    assert_eq!((page.status, page.header("location")), (303, Some("/login")));

    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let refused = request(server.address, "POST", "/login", &form, b"token=wrong-wrong-wrong");
    assert_eq!(refused.status, 401);
    let entered = request(server.address, "POST", "/login", &form, format!("token={token}").as_bytes());
    let cookie = entered.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(token),
        "{cookie}"
    );
    let pair = cookie.split(';').next().expect("a pair");
    assert_eq!(request(server.address, "GET", "/prompt", &[("Cookie", pair)], b"").status, 200);
}

#[test]
fn beyond_this_machine_only_with_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = ebb_web::ServerConfig::below(folder.path());
    config.listen = ([0, 0, 0, 0], 8188).into();
    let refusal = config.check().expect_err("refused").to_string();
    assert!(refusal.contains("--token"), "{refusal}");
    config.access.token = Some("short".into());
    assert!(config.check().is_err(), "a token that can be guessed");
    config.access.token = Some("0123456789abcdef".into());
    config.check().expect("with a token it may");
}

#[test]
fn no_cors_unless_asked_for() {
    let server = Running::start(|_| {});
    let answer = get(server.address, "/prompt");
    assert!(!answer.headers.iter().any(|(n, _)| n.starts_with("access-control")));
    let server = Running::start(|config| config.access.cors = Some("https://studio.example".into()));
    let from = |origin| request(server.address, "POST", "/interrupt", &[("Origin", origin)], b"");
    let answer = from("https://studio.example");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, Some("https://studio.example"))
    );
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(from("https://evil.example").status, 403);
    let server = Running::start(|config| config.access.cors = Some("*".into()));
    let answer = request(server.address, "GET", "/prompt", &[("Origin", "https://evil.example")], b"");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[test]
fn answers_tell_the_browser_what_not_to_do() {
    let server = Running::start(|_| {});
    for path in ["/", "/prompt", "/no/such/thing"] {
        let answer = get(server.address, path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src") && !policy.contains("unsafe-eval"), "{path}: {policy}");
    }
}

#[test]
fn uploaded_pages_never_run() {
    let server = Running::start(|_| {});
    let hostile: [(&str, &[u8]); 5] = [
        ("a.html", b"<script>alert(1)</script>"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("a.js", b"alert(1)"),
        ("a.xhtml", b"<html xmlns='http://www.w3.org/1999/xhtml'/>"),
        ("a.png.html", b"\x89PNG"),
    ];
    for (name, bytes) in hostile {
        let (kind, body) = multipart(&[Part::File("image", name, bytes)]);
        assert_eq!(
            request(server.address, "POST", "/upload/image", &[("Content-Type", &kind)], &body).status,
            200
        );
        let answer = get(server.address, &format!("/view?filename={name}&type=input"));
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "{name}");
        assert!(answer.header("content-disposition").expect("one").starts_with("attachment"), "{name}");
        assert!(answer.header("content-security-policy").expect("one").contains("sandbox"), "{name}");
        let path = format!("/userdata/{name}");
        request(server.address, "POST", &path, &[], bytes);
        assert_eq!(
            get(server.address, &path).header("content-type"),
            Some("application/octet-stream"),
            "{name}"
        );
    }
}

#[test]
fn limits() {
    let server = Running::start(|config| {
        config.limits.body = 4096;
        config.limits.upload = 8192;
        config.limits.nodes = 5;
        config.limits.queue.max_queued = 1;
    });
    let long = vec![b' '; 5000];
    assert_eq!(request(server.address, "POST", "/prompt", &[], &long).status, 413);
    let (kind, body) = multipart(&[Part::File("image", "a.png", &[0; 6000])]);
    assert_eq!(
        request(server.address, "POST", "/upload/image", &[("Content-Type", &kind)], &body).status,
        200
    );
    let (kind, body) = multipart(&[Part::File("image", "a.png", &[0; 9000])]);
    assert_eq!(
        request(server.address, "POST", "/upload/image", &[("Content-Type", &kind)], &body).status,
        413
    );

    let deep = format!("{{\"prompt\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    let answer = request(server.address, "POST", "/prompt", &[], deep.as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.text());

    let nodes: serde_json::Map<String, serde_json::Value> =
        (0..6).map(|i| (i.to_string(), json!({"class_type": "EbbTestSlow", "inputs": {}}))).collect();
    let answer = post(server.address, "/prompt", &json!({"prompt": nodes}));
    assert_eq!((answer.status, answer.json()["error"]["type"].clone()), (400, json!("too_many_nodes")));

    let hand_in = |text| post(server.address, "/prompt", &json!({"prompt": slow(20.0, text)})).status;
    assert_eq!(hand_in("runs"), 200);
    let deadline = Instant::now() + Duration::from_secs(10);
    while get(server.address, "/v1/queue").json()["running"] == 0 {
        assert!(Instant::now() < deadline, "it starts");
    }
    assert_eq!((hand_in("waits"), hand_in("one too many")), (200, 429));
}

#[test]
fn broken_bodies_are_errors_and_nothing_else() {
    let server = Running::start(|_| {});
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"prompt\": 5}",
        "{\"prompt\": [1]}",
        "{\"prompt\": {\"1\": 5}}",
        "\u{0}",
    ] {
        let answer = request(server.address, "POST", "/prompt", &[], body.as_bytes());
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{body:?}: {}", answer.text());
    }
    let kinds = [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=x",
        "text/plain",
    ];
    for kind in kinds {
        for body in [
            &b""[..],
            b"--x",
            b"--x\r\n\r\n",
            b"--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nabc",
            &[0xff; 100],
        ] {
            let answer = request(server.address, "POST", "/upload/image", &[("Content-Type", kind)], body);
            assert!((400..500).contains(&answer.status), "{kind} {body:?}: {}", answer.status);
        }
    }
    for number in [json!("x"), json!(null), json!([]), json!("inf"), json!("nan")] {
        let body = json!({"prompt": prompt("EbbTestSlow", json!({})), "number": number});
        assert_eq!(post(server.address, "/prompt", &body).status, 400, "{number}");
    }
    assert_eq!(get(server.address, "/history?max_items=x").status, 400);
    assert_eq!(get(server.address, "/health").status, 200);
}

#[test]
fn slow_clients_are_let_go() {
    let server = Running::start(|config| config.limits.patience = Duration::from_millis(300));
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    stream.write_all(b"GET /prompt HTTP/1.1\r\nHost: 127").expect("sent");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let began = Instant::now();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(8), "the connection was closed by the server");

    let mut stream = TcpStream::connect(server.address).expect("a connection");
    stream
        .write_all(b"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        .expect("sent");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it ends");
    assert!(rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));

    let mut stream = TcpStream::connect(server.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    assert_eq!(stream.read(&mut [0]).expect("closed, and no error"), 0, "who says nothing is let go");

    // A byte now and then: never silent for long, and never done.
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    stream
        .write_all(b"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n")
        .expect("sent");
    let began = Instant::now();
    while stream.write_all(b" ").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "a body that trickles is ended");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Megabytes are asked for and never read: the connection is closed, and its place is free for others.
#[test]
fn who_does_not_read_is_let_go() {
    let server = Running::start(|config| {
        config.limits.patience = Duration::from_millis(300);
        config.limits.connections = 2;
    });
    let mut deaf: Vec<TcpStream> = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).expect("a connection");
        let ask = b"GET /object_info HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(40);
        stream.write_all(&ask).expect("sent");
        deaf.push(stream);
    }
    let mut third = TcpStream::connect(server.address).expect("the system takes it");
    third.write_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("sent");
    third.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut status = [0; 12];
    third.read_exact(&mut status).expect("a place became free");
    assert_eq!(&status, b"HTTP/1.1 200");
}

#[test]
fn log_and_metrics_hold_no_prompt() {
    let server = Running::start(|_| {});
    let secret = "a very private wish";
    post(server.address, "/prompt", &json!({"prompt": slow(0.0, secret)}));
    post(server.address, "/prompt", &json!({"prompt": prompt("EbbTestPanics", json!({"text": "quiet"}))}));
    let deadline = Instant::now() + Duration::from_secs(10);
    while get(server.address, "/history").json().as_object().map_or(0, serde_json::Map::len) < 2 {
        assert!(Instant::now() < deadline, "both end");
    }
    for path in ["/metrics", "/internal/logs", "/internal/logs/raw"] {
        assert!(!get(server.address, path).text().contains(secret), "{path}");
    }
    assert!(
        http::get(server.address, "/metrics").text().contains("ebb_jobs_ended_total{end=\"succeeded\"} 1")
    );
}
