//! What clients are told of model files: the lists, their pictures, their metadata, and nothing from outside of the
//! model folders.

use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value as Json, json};

use crate::support::http::get;
use crate::support::server::Running;

/// A model file of no tensors with this metadata.
fn model(path: &Path, metadata: &Json) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let header = json!({"__metadata__": metadata}).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    std::fs::write(path, bytes).expect("a file");
}

/// A picture of one colour as a PNG.
fn png(side: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(side, side).write_to(&mut bytes, image::ImageFormat::Png).expect("a picture");
    bytes.into_inner()
}

#[test]
fn a_models_picture_stands_beside_it_or_inside() {
    let server = Running::start(|_| {});
    let loras = server.path().join("models/loras");
    model(&loras.join("sub/beside.safetensors"), &json!({}));
    std::fs::write(loras.join("sub/beside.preview.png"), png(3)).expect("a file");
    let covers = json!([BASE64.encode("no picture"), BASE64.encode(png(5))]).to_string();
    model(&loras.join("inside.safetensors"), &json!({"ssmd_cover_images": covers}));
    model(&loras.join("none.safetensors"), &json!({"ssmd_cover_images": "[not a list"}));

    for (name, side) in [("sub/beside.safetensors", 3), ("inside.safetensors", 5)] {
        let answer = get(server.address, &format!("/experiment/models/preview/loras/0/{name}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/webp")), "{name}");
        let picture = image::load_from_memory(&answer.body).expect("a picture");
        assert_eq!((picture.width(), picture.height()), (side, side), "{name}");
    }
    for path in ["loras/0/none.safetensors", "loras/7/inside.safetensors", "nonsense/0/inside.safetensors"] {
        assert_eq!(get(server.address, &format!("/experiment/models/preview/{path}")).status, 404, "{path}");
    }
}

#[test]
fn case_12_nothing_from_outside_of_the_model_folders_is_told() {
    let server = Running::start(|_| {});
    let (models, outside) = (server.path().join("models"), server.path().join("elsewhere"));
    model(&outside.join("secret.safetensors"), &json!({"secret": "x"}));
    std::fs::write(outside.join("secret.png"), png(3)).expect("a file");
    model(&models.join("checkpoints/a.safetensors"), &json!({"kind": "mine"}));
    symlink(outside.join("secret.safetensors"), models.join("checkpoints/secret.safetensors"))
        .expect("a link");
    symlink(outside.join("secret.png"), models.join("checkpoints/a.png")).expect("a link");
    symlink(&outside, models.join("checkpoints/folder")).expect("a link");
    // A link from one model folder into another is how people share a file.
    std::fs::create_dir_all(models.join("loras")).expect("a folder");
    symlink(models.join("checkpoints/a.safetensors"), models.join("loras/a.safetensors")).expect("a link");

    let names = |kind: &str| get(server.address, &format!("/models/{kind}")).json();
    assert_eq!(names("checkpoints"), json!(["a.safetensors"]));
    assert_eq!(names("loras"), json!(["a.safetensors"]));
    let listed = get(server.address, "/experiment/models/checkpoints").json();
    assert_eq!(listed.as_array().expect("a list").len(), 1, "{listed}");
    let told = get(server.address, "/v1/models").text();
    assert!(!told.contains("secret"), "{told}");

    let metadata =
        |kind: &str, name: &str| get(server.address, &format!("/view_metadata/{kind}?filename={name}"));
    assert_eq!(metadata("checkpoints", "a.safetensors").json(), json!({"kind": "mine"}));
    assert_eq!(metadata("loras", "a.safetensors").json(), json!({"kind": "mine"}));
    for name in ["secret.safetensors", "folder/secret.safetensors"] {
        assert_eq!(metadata("checkpoints", name).status, 404, "{name}");
    }
    for name in ["a.safetensors", "secret.safetensors", "folder/secret.safetensors"] {
        let path = format!("/experiment/models/preview/checkpoints/0/{name}");
        assert_eq!(get(server.address, &path).status, 404, "{name}");
    }
}

#[test]
fn a_model_in_several_files_stands_once_with_what_its_denoiser_is() {
    let server = Running::start(|_| {});
    let folder = server.path().join("models/diffusers");
    for name in ["whole", "without"] {
        std::fs::create_dir_all(folder.join(name)).expect("a folder");
        std::fs::write(folder.join(name).join("model_index.json"), "{}").expect("a file");
    }
    model(&folder.join("whole/unet/diffusion_pytorch_model.safetensors"), &json!({}));
    let told = get(server.address, "/v1/models").json();
    let kinds = told["folders"].as_array().expect("folders");
    let files = &kinds.iter().find(|kind| kind["name"] == "diffusers").expect("the kind")["files"];
    let said: Vec<_> = files.as_array().expect("files").iter().map(|f| (&f["name"], &f["error"])).collect();
    assert_eq!(
        said,
        [(&json!("whole"), &Json::Null), (&json!("without"), &json!("it has no unet and no transformer")),]
    );
}
