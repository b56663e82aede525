//! Answers as clients get them: compressed where they ask for it, and a clean folder for previews.

use std::io::Read;
use std::sync::Arc;

use crate::support::http::{get, request};
use crate::support::server::{Running, front_end};

#[test]
fn text_is_compressed_for_who_asks_and_pictures_never() {
    let server = Running::start(|_| {});
    let gzip = [("Accept-Encoding", "gzip, deflate, br")];
    let plain = get(server.address, "/object_info");
    assert_eq!(plain.header("content-encoding"), None);
    let packed = request(server.address, "GET", "/api/object_info", &gzip, b"");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() * 4 < plain.body.len(), "{} of {}", packed.body.len(), plain.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain.body);

    // What would gain nothing stays as it is.
    assert_eq!(request(server.address, "GET", "/prompt", &gzip, b"").header("content-encoding"), None);
    let mut pixels = Vec::new();
    image::RgbImage::from_fn(96, 96, |x, y| {
        image::Rgb([(x * y) as u8, (x * 7 + y * 13) as u8, (x ^ y) as u8])
    })
    .write_to(&mut std::io::Cursor::new(&mut pixels), image::ImageFormat::Png)
    .expect("a picture");
    assert!(pixels.len() > 1024);
    std::fs::write(server.path().join("output/a.png"), &pixels).expect("written");
    let picture = request(server.address, "GET", "/view?filename=a.png", &gzip, b"");
    assert_eq!((picture.header("content-encoding"), picture.body == pixels), (None, true));
}

#[test]
fn the_official_front_end_finds_what_it_takes_for_granted() {
    let server = Running::start(|config| config.front_end = Some(front_end(&config.folders.data)));
    let all = get(server.address, "/object_info").json();
    // A loader of video models, which Ebb never has.
    assert_eq!(all["ImageOnlyCheckpointLoader"]["deprecated"], true);
    assert_eq!(get(server.address, "/object_info/ImageOnlyCheckpointLoader").json(), serde_json::json!({}));
    let style = get(server.address, "/user.css");
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    std::fs::remove_file(server.path().join("user/ebb/front-end/templates/index.json")).expect("removed");
    let templates = get(server.address, "/templates/index.json");
    assert_eq!((templates.status, templates.text().as_str()), (200, "[]"));
    let own = Running::start(|_| {});
    assert!(get(own.address, "/object_info").json().get("ImageOnlyCheckpointLoader").is_none());
}

#[test]
fn a_start_empties_the_folder_of_previews_and_nothing_else() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("temp/deep/er")).expect("folders");
    for name in ["temp/a.png", "temp/deep/er/b.png", "kept.png"] {
        std::fs::write(path(name), b"x").expect("a file");
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), path("temp/link")).expect("a link");
    let server = Running::start_in(folder.clone(), |_| {});
    assert_eq!(std::fs::read_dir(path("temp")).expect("the folder").count(), 0);
    assert!(path("kept.png").is_file(), "a link is removed and not followed");
    drop(server);

    #[cfg(unix)]
    {
        std::fs::remove_dir(path("temp")).expect("empty");
        std::fs::create_dir(path("elsewhere")).expect("a folder");
        std::fs::write(path("elsewhere/a.png"), b"x").expect("a file");
        std::os::unix::fs::symlink(path("elsewhere"), path("temp")).expect("a link");
        let _server = Running::start_in(folder.clone(), |_| {});
        assert!(path("elsewhere/a.png").is_file(), "a folder that is a link may be somebody else's");
    }
}
