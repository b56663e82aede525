//! Case 22 of the list of hostile inputs: safetensors files that lie.

mod support;

use ebb_weights::{ModelFile, TensorDefect, TensorView, WeightError};
use proptest::prelude::*;
use support::{open, refused, safetensors, safetensors_f32};

fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"weight":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

fn defect(bytes: Vec<u8>) -> TensorDefect {
    match refused(bytes) {
        WeightError::BadTensor { file, tensor, defect } => {
            assert_eq!(file.to_str(), Some("test.model"));
            assert!(tensor == "weight" || tensor == "other", "{tensor}");
            defect
        }
        other => panic!("another error: {other}"),
    }
}

#[test]
fn case_22_header_length_past_the_end() {
    let mut bytes = safetensors("{}", 0);
    bytes[0] = 200;
    let error = refused(bytes);
    assert!(matches!(error, WeightError::CutShort { expected: 208, found: 10, .. }), "{error}");
    assert!(error.to_string().contains("download it again"));
}

#[test]
fn case_22_header_length_past_the_cap() {
    for length in [100_000_001u64, 1 << 31, u64::MAX] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        let error = refused(bytes);
        assert!(
            matches!(error, WeightError::OverLimit { found, cap: 100_000_000, .. } if found == length),
            "{error}"
        );
    }
}

#[test]
fn case_22_overlapping_offsets() {
    let header = r#"{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "other":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    assert_eq!(
        defect(safetensors(header, 12)),
        TensorDefect::Overlap { begin: 4, other: "weight".into(), end: 8 }
    );
}

#[test]
fn case_22_gapped_offsets() {
    assert_eq!(defect(safetensors(&one("F32", "[1]", "[4,8]"), 8)), TensorDefect::Gap { bytes: 4 });
}

#[test]
fn case_22_out_of_range_and_backward_offsets() {
    let bytes = safetensors(&one("F32", "[2]", "[0,8]"), 7);
    assert_eq!(defect(bytes), TensorDefect::OutOfRange { end: 8, available: 7 });
    let bytes = safetensors(&one("F32", "[2]", "[8,0]"), 8);
    assert_eq!(defect(bytes), TensorDefect::Backwards { begin: 8, end: 0 });
    let bytes = safetensors(&one("F32", "[2]", "[18446744073709551608,18446744073709551615]"), 8);
    assert!(matches!(defect(bytes), TensorDefect::OutOfRange { .. }));
}

#[test]
fn case_22_dtype_times_shape_is_not_the_bytes() {
    let bytes = safetensors(&one("F16", "[2]", "[0,8]"), 8);
    assert!(matches!(defect(bytes), TensorDefect::SizeMismatch { expected: 4, found: 8, .. }));
}

#[test]
fn case_22_product_overflow() {
    for shape in ["[4294967296,4294967296]", "[4611686018427387904,1]", "[4294967296,4294967296,0]"] {
        let found = defect(safetensors(&one("F32", shape, "[0,0]"), 0));
        assert!(
            matches!(found, TensorDefect::SizeOverflow(_) | TensorDefect::SizeMismatch { .. }),
            "{shape}: {found}"
        );
    }
}

#[test]
fn case_22_trailing_bytes() {
    let error = refused(safetensors(&one("F32", "[1]", "[0,4]"), 7));
    assert!(matches!(error, WeightError::TrailingBytes { extra: 3, .. }), "{error}");
}

#[test]
fn case_22_broken_json_and_broken_utf8() {
    for header in ["{", "[]", r#"{"weight":1}"#, r#"{"weight":{"dtype":"F32"}}"#, "{}x"] {
        let error = refused(safetensors(header, 0));
        assert!(
            matches!(error, WeightError::BrokenHeader { format: "safetensors", .. }),
            "{header}: {error}"
        );
    }
    let mut bytes = safetensors(r#"{"__metadata__":{"a":"b"}}"#, 0);
    bytes[8 + 19] = 0xff;
    assert!(matches!(refused(bytes), WeightError::BrokenHeader { .. }));
    let deep = format!(r#"{{"weight":{}"#, "[".repeat(100_000));
    assert!(matches!(refused(safetensors(&deep, 0)), WeightError::BrokenHeader { .. }));
}

#[test]
fn case_22_unknown_types_and_names_that_stand_twice() {
    let bytes = safetensors(&one("F12", "[1]", "[0,4]"), 4);
    assert_eq!(defect(bytes), TensorDefect::UnknownDtype("F12".into()));
    let header = r#"{"weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
        "weight":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    assert_eq!(defect(safetensors(header, 2)), TensorDefect::Duplicate);
}

#[test]
fn case_22_a_file_cut_short_while_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, safetensors_f32(&[("weight", &[64, 64], vec![1.0; 4096])])).unwrap();
    let file = ModelFile::open(&path).unwrap();
    let view = TensorView::open(&file, "weight").unwrap();
    assert_eq!(view.to_vec::<f32>().unwrap(), vec![1.0; 4096]);

    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let error = view.to_vec::<f32>().unwrap_err();
    assert!(matches!(error, WeightError::CutShort { found: 1000, .. }), "{error}");
    assert!(error.to_string().contains("tensor 'weight'"), "{error}");
    assert!(matches!(file.check_unchanged(), Err(WeightError::Changed { .. })));
}

#[test]
fn case_22_every_prefix_of_a_file_is_refused() {
    let whole = safetensors_f32(&[("a", &[2, 2], vec![1.0; 4]), ("b", &[], vec![2.0])]);
    assert!(open(whole.clone()).is_ok());
    for n in 0..whole.len() {
        refused(whole[..n].to_vec());
    }
}

#[test]
fn files_that_are_no_models_are_called_by_their_names() {
    let said = |bytes: &[u8]| refused(bytes.to_vec()).to_string();
    assert!(said(b"").contains("it is empty"));
    assert!(said(b"version https://git-lfs.github.com/spec/v1\n").contains("Git LFS"));
    assert!(said(b"<!DOCTYPE html><html>").contains("web page"));
    assert!(said(b"\x89PNG\r\n\x1a\n0123456789").contains("PNG"));
}

#[test]
fn a_folder_is_not_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let error = ModelFile::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("folder"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn case_22_no_header_panics(header in "\\PC{0,80}", data in 0usize..16) {
        let _ = open(safetensors(&header, data));
    }

    #[test]
    fn case_22_no_changed_byte_panics(at in 0usize..200, with: u8) {
        let mut bytes = safetensors_f32(&[("a", &[2, 3], vec![1.0; 6]), ("b.weight", &[4], vec![2.0; 4])]);
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(file) = open(bytes) {
            for (name, _) in file.tensors() {
                let _ = TensorView::open(&file, name).unwrap().to_vec::<f32>();
            }
        }
    }

    #[test]
    fn what_the_reference_writer_writes_is_read(
        values in prop::collection::vec(prop::num::f32::NORMAL, 0..50),
        name in "[a-z.]{1,20}",
        note in "\\PC{0,20}",
    ) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![values.len()], &bytes).unwrap();
        let metadata = [("note".to_owned(), note.clone())].into();
        let written = safetensors::serialize([(&name, view)], Some(metadata)).unwrap();
        let file = open(written).unwrap();
        prop_assert_eq!(file.metadata().get("note"), Some(&note));
        prop_assert_eq!(TensorView::open(&file, &name).unwrap().to_vec::<f32>().unwrap(), values);
    }
}
