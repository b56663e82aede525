use std::sync::Arc;

use half::bf16;

use super::{TensorView, WeightSource};
use crate::{ModelFile, WeightError};

/// A file of tensors of one type, their bytes given.
fn file(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Arc<ModelFile> {
    let mut data: Vec<u8> = Vec::new();
    let mut entries = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let begin = data.len();
        data.extend(bytes);
        let end = data.len();
        let entry =
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#);
        entries.push(entry);
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    ModelFile::from_bytes("test.safetensors", bytes).unwrap()
}

fn f32s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn counting(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

#[test]
fn a_prefix_is_cut_off_and_names_are_changed() {
    let file = file(&[
        ("model.a.weight", "F32", &[2], f32s([1.0, 2.0])),
        ("model.b.weight", "F32", &[1], f32s([3.0])),
        ("vae.a.weight", "F32", &[1], f32s([4.0])),
    ]);
    let all = WeightSource::of_file(&file);
    let model = all.under("model.");
    assert_eq!(model.names().collect::<Vec<_>>(), ["a.weight", "b.weight"]);
    assert_eq!(model.bytes(), 12);
    assert_eq!(model.largest(), 8);
    let renamed = model.renamed(|n| n.strip_suffix(".weight").map(|n| format!("{n}.w")));
    assert_eq!(renamed.tensor("b.w").unwrap().scalar().unwrap(), 3.0);
    let joined = all.under("vae.").joined(&model);
    assert_eq!(joined.tensor("a.weight").unwrap().scalar().unwrap(), 4.0, "the first source's name stays");
    assert_eq!(joined.len(), 2);
}

#[test]
fn a_missing_tensor_is_named_with_its_nearest() {
    let all = WeightSource::of_file(&file(&[("model.block.0.weight", "U8", &[1], vec![0])]));
    let error = all.tensor("model.block.0.wieght").unwrap_err();
    assert!(matches!(&error, WeightError::Missing { nearest: Some(n), .. } if n == "model.block.0.weight"));
    assert!(error.to_string().starts_with("test.safetensors: there is no tensor"));
}

#[test]
fn case_24_an_incomplete_checkpoint_names_family_and_first_tensors() {
    let all = WeightSource::of_file(&file(&[("a", "U8", &[3], vec![0; 3])]));
    let error = all.check("SD 1.x", [("a", &[4usize][..]), ("b", &[1]), ("c", &[1])]).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("SD 1.x") && said.contains("'a' has shape [3] instead of [4]"), "{said}");
    assert!(said.contains("'b' is missing"), "{said}");
    assert!(all.check("SD 1.x", [("a", &[3usize][..])]).is_ok());
}

#[test]
fn rows_and_concatenations_are_views() {
    let file =
        file(&[("qkv", "F32", &[6, 2], f32s(counting(12))), ("k", "F32", &[1, 2], f32s([100.0, 101.0]))]);
    let all = WeightSource::of_file(&file);
    let rows = all.tensor("qkv").unwrap().rows(2..4).unwrap();
    assert_eq!(rows.to_vec::<f32>().unwrap(), [4.0, 5.0, 6.0, 7.0]);
    let both =
        TensorView::concat("both", &[rows.clone(), all.tensor("k").unwrap().clone()]).unwrap().unwrap();
    assert_eq!(both.shape(), [3, 2]);
    assert_eq!(both.to_vec::<f32>().unwrap(), [4.0, 5.0, 6.0, 7.0, 100.0, 101.0]);
    let mut middle = [0.0f32; 3];
    both.read_range(3, &mut middle).unwrap();
    assert_eq!(middle, [7.0, 100.0, 101.0]);
    assert!(all.tensor("qkv").unwrap().rows(5..7).is_err());
    assert!(all.tensor("qkv").unwrap().clone().reshaped(&[3, 4, 1]).is_ok());
    assert!(all.tensor("qkv").unwrap().clone().reshaped(&[13]).is_err());
    assert!(all.tensor("qkv").unwrap().expect_shape(&[6, 3]).is_err());
}

#[test]
fn conversions_over_many_chunks_agree_with_single_ones() {
    let n = 100_003;
    let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
    let file = file(&[("w", "F32", &[n], f32s(values.iter().copied()))]);
    let all = WeightSource::of_file(&file);
    let expected: Vec<bf16> = values.iter().map(|v| bf16::from_f32(*v)).collect();
    assert_eq!(all.tensor("w").unwrap().to_vec::<bf16>().unwrap(), expected);
    let mut some = vec![bf16::ZERO; 40_000];
    all.tensor("w").unwrap().read_range(33_333, &mut some).unwrap();
    assert_eq!(some, expected[33_333..73_333]);
}

#[test]
fn fp8_weights_take_their_scale_from_beside_them() {
    let bytes = vec![0x38, 0x40, 0xb8, 0x30]; // 1, 2, -1, 0.5
    let file = file(&[
        ("plain.weight", "F8_E4M3", &[4], bytes.clone()),
        ("one.weight", "F8_E4M3", &[2, 2], bytes.clone()),
        ("one.scale_weight", "F32", &[], f32s([3.0])),
        ("one.scale_input", "F32", &[], f32s([9.0])),
        ("rows.weight", "F8_E4M3", &[2, 2], bytes),
        ("rows.weight_scale", "F32", &[2, 1], f32s([2.0, 10.0])),
        ("scaled_fp8", "F8_E4M3", &[0], vec![]),
    ]);
    let all = WeightSource::of_file(&file);
    assert_eq!(all.names().collect::<Vec<_>>(), ["plain.weight", "one.weight", "rows.weight"]);
    let read = |name: &str| all.tensor(name).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(read("plain.weight"), [1.0, 2.0, -1.0, 0.5]);
    assert_eq!(read("one.weight"), [3.0, 6.0, -3.0, 1.5]);
    assert_eq!(read("rows.weight"), [2.0, 4.0, -10.0, 5.0]);
}

#[test]
fn fingerprints_tell_files_names_and_parts_apart() {
    let a = file(&[("x.a", "U8", &[1], vec![1]), ("y.a", "U8", &[1], vec![2])]);
    let same = file(&[("x.a", "U8", &[1], vec![1]), ("y.a", "U8", &[1], vec![2])]);
    let other = file(&[("x.a", "U8", &[1], vec![1]), ("y.a", "U8", &[1], vec![3])]);
    assert_eq!(a.fingerprint(), same.fingerprint());
    assert_ne!(a.fingerprint(), other.fingerprint());
    let all = WeightSource::of_file(&a);
    assert_eq!(all.under("x.").fingerprint(), WeightSource::of_file(&same).under("x.").fingerprint());
    assert_ne!(all.under("x.").fingerprint(), all.under("y.").fingerprint());
    assert_eq!(a.content_hash().unwrap().len(), 64);
}
