//! Paths that lead out: cases 11 to 15 of the list, over HTTP.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::support::http::{Part, encoded, get, multipart, request};
use crate::support::server::Running;

/// Ways out, each as it is and percent-encoded once and twice.
fn ways_out() -> Vec<String> {
    let long = "x".repeat(5000);
    let plain = [
        "../secret.txt",
        "../../secret.txt",
        "a/../../secret.txt",
        "/etc/passwd",
        "..\\secret.txt",
        "\\..\\secret.txt",
        "C:\\secret.txt",
        "C:secret.txt",
        "secret.txt\0.png",
        "..",
        ".",
        "...",
        "secret.txt.",
        "%2e%2e/secret.txt",
        "%252e%252e%252fsecret.txt",
        &long,
    ];
    plain.iter().flat_map(|p| [encoded(p), encoded(&encoded(p))]).collect()
}

fn server() -> Running {
    let server = Running::start(|_| {});
    std::fs::write(server.path().join("secret.txt"), "secret").expect("a file");
    server
}

#[test]
fn nothing_is_read_outside() {
    let server = server();
    let to = server.address;
    symlink(server.path().join("secret.txt"), server.path().join("output/link.txt")).expect("a link");
    symlink(server.path(), server.path().join("output/folder")).expect("a link");
    let mut paths: Vec<String> = Vec::new();
    for way in ways_out() {
        for kind in ["input", "output", "temp"] {
            paths.push(format!("/view?filename={way}&type={kind}"));
            paths.push(format!("/view?filename=secret.txt&subfolder={way}&type={kind}"));
        }
        paths.push(format!("/userdata/{way}"));
        paths.push(format!("/userdata?dir={way}"));
        paths.push(format!("/v2/userdata?path={way}"));
        paths.push(format!("/view_metadata/checkpoints?filename={way}"));
        paths.push(format!("/models/{way}"));
        paths.push(format!("/v1/results/{way}"));
        paths.push(format!("/{way}"));
    }
    paths.push("/view?filename=link.txt".into());
    paths.push("/view?filename=secret.txt&subfolder=folder".into());
    for path in paths {
        let answer = get(to, &path);
        assert!(answer.status >= 400 || !answer.text().contains("secret"), "{path} gave {}", answer.text());
        assert!(answer.status < 500, "{path} gave {}", answer.status);
    }
}

#[test]
fn nothing_is_written_outside() {
    let server = server();
    let to = server.address;
    let base = server.path().to_owned();
    symlink(&base, base.join("input/folder")).expect("a link");
    symlink(base.join("made-by-link.txt"), base.join("input/dangling.txt")).expect("a link");
    let before = everything(&base);
    for way in ways_out() {
        request(to, "POST", &format!("/userdata/{way}"), &[], b"hostile");
        request(to, "DELETE", &format!("/userdata/{way}"), &[], b"");
        request(to, "POST", &format!("/userdata/a.txt/move/{way}"), &[], b"");
    }
    let names =
        ["../x.png", "/tmp/x.png", "a/../../x.png", "..\\x.png", "folder/x.png", "dangling.txt", "C:x.png"];
    for name in names {
        let (kind, body) =
            multipart(&[Part::File("image", name, b"hostile"), Part::Field("overwrite", "true")]);
        let answer = request(to, "POST", "/upload/image", &[("Content-Type", &kind)], &body);
        assert_eq!(answer.status, 400, "{name}");
    }
    for subfolder in ["..", "../..", "/tmp", "folder", "a/../.."] {
        let (kind, body) =
            multipart(&[Part::File("image", "x.png", b"hostile"), Part::Field("subfolder", subfolder)]);
        let answer = request(to, "POST", "/upload/image", &[("Content-Type", &kind)], &body);
        assert_eq!(answer.status, 400, "{subfolder}");
        let reference =
            json!({"filename": "secret.txt", "subfolder": subfolder, "type": "input"}).to_string();
        let (kind, body) =
            multipart(&[Part::File("image", "m.png", b"hostile"), Part::Field("original_ref", &reference)]);
        request(to, "POST", "/upload/mask", &[("Content-Type", &kind)], &body);
    }
    // Names like `...` and `%2e%2e` are odd and harmless: they may be made, inside the user's folder.
    let inside = base.join("user");
    let after: Vec<_> = everything(&base).into_iter().filter(|p| !p.starts_with(&inside)).collect();
    let before: Vec<_> = before.into_iter().filter(|p| !p.starts_with(&inside)).collect();
    assert_eq!(after, before);
    assert_eq!(std::fs::read_to_string(base.join("secret.txt")).expect("there"), "secret");
}

fn everything(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        found.push(entry.path());
        if entry.file_type().expect("a type").is_dir() {
            found.extend(everything(&entry.path()));
        }
    }
    found.sort();
    found
}
