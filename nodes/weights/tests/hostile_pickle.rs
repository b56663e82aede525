//! Case 21 of the list of hostile inputs: pickles are read and never executed. And that honest ones are read.

mod support;

use std::path::{Path, PathBuf};

use ebb_weights::{DType, Format, ModelFile, TensorDefect, TensorView, WeightError};
use proptest::prelude::*;
use support::{open, refused};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pickles").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn values(file: &std::sync::Arc<ModelFile>, name: &str) -> Vec<f32> {
    TensorView::open(file, name).unwrap().to_vec().unwrap()
}

#[test]
fn a_checkpoint_of_a_training_program_is_read() {
    let file = ModelFile::open(path("checkpoint.ckpt")).unwrap();
    assert_eq!(file.format(), Format::Pytorch);
    let names: Vec<&str> = file.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["model.weight", "model.transposed", "model.slice", "model.half", "model.empty"]);
    assert_eq!(values(&file, "model.weight"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&file, "model.transposed"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(values(&file, "model.slice"), [2.0, 3.0]);
    assert_eq!(values(&file, "model.half"), [0.5, -1.5, 2.5]);
    assert_eq!(file.tensor("model.half").unwrap().dtype, DType::F16);
    assert_eq!(file.tensor("model.empty").unwrap().shape, [0, 4]);
    let expected = [("epoch", "3"), ("global_step", "1099511627776"), ("lr", "0.25"), ("note", "grüße")];
    for (key, value) in expected {
        assert_eq!(file.metadata()[key], value);
    }
    let mut stored = vec![0; 24];
    TensorView::open(&file, "model.transposed").unwrap().read_stored(&mut stored).unwrap();
    assert_eq!(stored[4..8], 3f32.to_le_bytes());
}

#[test]
fn other_layouts_are_read() {
    let protocol4 = ModelFile::open(path("protocol4.pt")).unwrap();
    assert_eq!(values(&protocol4, "model.slice"), [2.0, 3.0]);
    let embedding = ModelFile::open(path("embedding.pt")).unwrap();
    assert_eq!(embedding.tensor("string_to_param.*").unwrap().shape, [2, 3]);
    assert_eq!(embedding.metadata()["name"], "style");
    let nested = ModelFile::open(path("nested.pth")).unwrap();
    assert_eq!(values(&nested, "conv.weight").len(), 6);
    let legacy = ModelFile::open(path("legacy.pt")).unwrap();
    assert_eq!(values(&legacy, "w"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&legacy, "h"), [-1.5, 2.5]);
}

#[test]
fn case_21_a_pickle_that_calls_is_refused_by_the_name_of_what_it_calls() {
    for (name, called) in [
        ("evil-system.pt", "posix.system"),
        ("evil-eval.pt", "__builtin__.eval"),
        ("evil-popen.pt", "commands.Popen"),
        ("evil-getattr.pt", "__builtin__.getattr"),
    ] {
        let error = ModelFile::open(path(name)).unwrap_err();
        assert!(matches!(error, WeightError::UnsafePickle { .. }), "{error}");
        assert!(error.to_string().contains(called), "{error}");
    }
    assert!(!Path::new("ebb-was-here").exists());
}

/// A bare pickle in the old layout, its weights given.
fn legacy(weights: &[u8]) -> Vec<u8> {
    let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    [head, weights, b"\x80\x02]."].concat()
}

#[test]
fn case_21_instructions_that_make_objects_are_refused() {
    // INST, OBJ, EXT1, PERSID.
    for code in [&b"\x80\x02(ios\nsystem\n."[..], b"\x80\x02(o.", b"\x80\x02\x82\x01.", b"\x80\x02Pid\n."] {
        assert!(matches!(refused(legacy(code)), WeightError::UnsafePickle { .. }), "{code:?}");
    }
    for code in [&b"\x80\x02cos\nsystem\n."[..], b"\x80\x04\x8c\x02os\x8c\x06system\x93."] {
        assert!(refused(legacy(code)).to_string().contains("os.system"));
    }
}

#[test]
fn case_21_containers_that_hold_themselves_or_each_other_many_times() {
    // d = {}; d["x"] = d
    let own = b"\x80\x02}q\x00U\x01xh\x00s.";
    assert_eq!(open(legacy(own)).unwrap().tensors().len(), 0);
    // Forty lists, each holding the one before it twice.
    let mut doubling = b"\x80\x02]q\x00".to_vec();
    for i in 0..40u8 {
        doubling.extend([b']', b'q', i + 1, b'(', b'h', i, b'h', i, b'e']);
    }
    doubling.push(b'.');
    assert_eq!(open(legacy(&doubling)).unwrap().tensors().len(), 0);
    // A million tuples in one another, and a memo entry far beyond the end.
    let mut deep = b"\x80\x02)".to_vec();
    deep.extend(vec![0x85; 1_000_000]);
    deep.push(b'.');
    assert!(open(legacy(&deep)).is_ok());
    assert!(matches!(refused(legacy(b"\x80\x02Nr\xff\xff\xff\x7f.")), WeightError::BrokenHeader { .. }));
}

#[test]
fn case_21_a_stack_that_runs_dry() {
    for code in [
        &b"."[..],
        b"0.",
        b"\x80\x02(0.",
        b"t.",
        b"e.",
        b"Ns.",
        b"\x85.",
        b"R.",
        b"b.",
        b"h\x05.",
        b"X\xff\xff\xff\xff.",
        b"\xff.",
    ] {
        assert!(matches!(refused(legacy(code)), WeightError::BrokenHeader { .. }), "{code:?}");
    }
}

#[test]
fn compressed_archives_are_refused() {
    assert!(refused(bytes("compressed.pt")).to_string().contains("compressed"));
}

#[test]
fn pickles_of_something_else_are_refused() {
    let error = refused(b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s.\x80\x02K\x01.".to_vec());
    assert!(error.to_string().contains("torch.save did not write"), "{error}");
    assert!(matches!(refused(b"PK\x03\x04 and nothing more".to_vec()), WeightError::BrokenHeader { .. }));
}

/// Replaces the only occurrence of some bytes.
fn replaced(mut file: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at: Vec<usize> = (0..file.len() - old.len()).filter(|i| file[*i..].starts_with(old)).collect();
    assert_eq!(at.len(), 1, "{old:?} stands {} times", at.len());
    file[at[0]..][..old.len()].copy_from_slice(new);
    file
}

#[test]
fn tensors_beyond_their_storage_are_refused() {
    // The shape (2, 3) with strides (3, 1) of the tensor `w`.
    let shape = b"K\x02K\x03\x86q\x09K\x03K\x01\x86";
    let whole = bytes("legacy.pt");
    let at = whole.windows(4).position(|w| w == b"K\x02K\x03").unwrap();
    let found = &whole[at..at + shape.len()];
    let with = |rows: u8, strides: [u8; 2]| {
        let mut new = found.to_vec();
        new[1] = rows;
        let end = new.len();
        new[end - 4] = strides[0];
        new[end - 2] = strides[1];
        replaced(whole.clone(), found, &new)
    };
    assert!(open(with(2, [3, 1])).is_ok());
    let defect = |bytes| match refused(bytes) {
        WeightError::BadTensor { tensor, defect, .. } if tensor == "w" => defect,
        other => panic!("another error: {other}"),
    };
    assert!(matches!(defect(with(200, [3, 1])), TensorDefect::OutOfRange { .. }));
    assert!(matches!(defect(with(2, [200, 1])), TensorDefect::OutOfRange { .. }));
    assert!(defect(with(200, [0, 0])).to_string().contains("repeat values"));
}

#[test]
fn every_prefix_is_refused() {
    for name in ["checkpoint.ckpt", "legacy.pt"] {
        let whole = bytes(name);
        for n in 0..whole.len() {
            refused(whole[..n].to_vec());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn case_21_no_changed_bytes_panic(
        name in prop::sample::select(vec!["checkpoint.ckpt", "protocol4.pt", "legacy.pt"]),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = bytes(name);
        for (at, with) in changes {
            let at = at % bytes.len();
            bytes[at] = with;
        }
        if let Ok(file) = open(bytes) {
            for (name, _) in file.tensors() {
                let _ = TensorView::open(&file, name).unwrap().to_vec::<f32>();
            }
        }
    }

    #[test]
    fn case_21_no_pickle_panics(code in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = open(legacy(&code));
    }
}
