//! Case 23 of the list of hostile inputs: GGUF files that lie. And that honest ones are read.

mod support;

use ebb_weights::{DType, TensorDefect, TensorView, WeightError};
use proptest::prelude::*;
use support::{open, refused};

/// A GGUF file put together piece by piece.
#[derive(Clone, Default)]
struct Gguf {
    pairs: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: Vec<u8>,
    counts: Option<(u64, u64)>,
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl Gguf {
    fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.pairs.push([&string(key)[..], &kind.to_le_bytes(), value].concat());
        self
    }

    fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let mut bytes = string(name);
        bytes.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    fn data(mut self, bytes: Vec<u8>) -> Self {
        self.data = bytes;
        self
    }

    fn counts(mut self, tensors: u64, pairs: u64) -> Self {
        self.counts = Some((tensors, pairs));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let (tensors, pairs) = self.counts.unwrap_or((self.tensors.len() as u64, self.pairs.len() as u64));
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(pairs.to_le_bytes());
        bytes.extend(self.pairs.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}

const F32: u32 = 0;
const Q8_0: u32 = 8;

fn defect(file: &Gguf) -> TensorDefect {
    match refused(file.bytes()) {
        WeightError::BadTensor { defect, .. } => defect,
        other => panic!("another error: {other}"),
    }
}

fn array(kind: u32, len: u64, items: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &len.to_le_bytes(), items].concat()
}

fn honest() -> Gguf {
    let strings = [string("a"), string("▁word")].concat();
    let values: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let mut data = values;
    data.resize(32, 0);
    data.extend(half::f16::from_f32(0.5).to_le_bytes());
    data.extend((0..32).map(|i| i as u8));
    Gguf::default()
        .pair("general.architecture", 8, &string("t5encoder"))
        .pair("count", 4, &7u32.to_le_bytes())
        .pair("tokens", 9, &array(8, 2, &strings))
        .pair("scores", 9, &array(6, 2, &[1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()))
        .pair("comfy.gguf.orig_shape.plain", 9, &array(5, 3, &[3i32, 1, 2].map(i32::to_le_bytes).concat()))
        .tensor("plain", &[2, 3], F32, 0)
        .tensor("quantised", &[32], Q8_0, 32)
        .data(data)
}

#[test]
fn an_honest_file_is_read() {
    let file = open(honest().bytes()).unwrap();
    assert_eq!(file.metadata()["general.architecture"], "t5encoder");
    assert_eq!(file.metadata()["count"], "7");
    assert_eq!(file.strings("tokens").unwrap().unwrap(), ["a", "▁word"]);
    assert_eq!(file.numbers("scores").unwrap().unwrap(), [1.5, -2.0]);
    assert!(file.numbers("tokens").is_err() && file.strings("none").unwrap().is_none());
    let plain = TensorView::open(&file, "plain").unwrap();
    assert_eq!(plain.shape(), [3, 1, 2], "the shape that the converter noted");
    assert_eq!(plain.to_vec::<f32>().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let quantised = TensorView::open(&file, "quantised").unwrap();
    assert_eq!((quantised.dtype(), quantised.stored_bytes()), (DType::Q8_0, 34));
    let mut some = [0.0f32; 3];
    quantised.read_range(5, &mut some).unwrap();
    assert_eq!(some, [2.5, 3.0, 3.5]);
}

#[test]
fn case_23_alignment_zero_or_huge() {
    for alignment in [0u32, 3, 48, 1 << 31, u32::MAX] {
        let file = honest().pair("general.alignment", 4, &alignment.to_le_bytes());
        let error = refused(file.bytes());
        assert!(error.to_string().contains("general.alignment"), "{error}");
    }
    let file = honest().pair("general.alignment", 8, &string("x"));
    assert!(matches!(refused(file.bytes()), WeightError::BrokenHeader { .. }));
}

#[test]
fn case_23_dimension_products_that_overflow() {
    for dims in [&[1u64 << 32, 1 << 32][..], &[1 << 62, 8], &[u64::MAX, 1, 1, 2], &[1 << 40, 1 << 40, 0]] {
        let found = defect(&Gguf::default().tensor("t", dims, F32, 0));
        assert!(matches!(found, TensorDefect::SizeOverflow(_)), "{dims:?}: {found}");
    }
    let found = defect(&Gguf::default().tensor("t", &[1 << 61, 1], F32, 0));
    assert!(matches!(found, TensorDefect::OutOfRange { .. } | TensorDefect::SizeOverflow(_)), "{found}");
}

#[test]
fn case_23_metadata_arrays_of_2_to_the_30() {
    for (kind, len) in [(6u32, 1u64 << 30), (8, 1 << 30), (0, u64::MAX), (12, u64::MAX / 8 + 1)] {
        let error = refused(Gguf::default().pair("big", 9, &array(kind, len, &[0; 64])).bytes());
        assert!(matches!(error, WeightError::OverLimit { found, .. } if found == len), "{error}");
        assert!(error.to_string().contains("'big'"), "{error}");
    }
    let nested = array(9, 1, &array(9, 1, &[]));
    assert!(matches!(
        refused(Gguf::default().pair("n", 9, &nested).bytes()),
        WeightError::BrokenHeader { .. }
    ));
}

#[test]
fn case_23_counts_beyond_the_file() {
    for counts in [(1u64 << 40, 0), (u64::MAX, 0), (0, 1 << 40), (0, u64::MAX)] {
        let error = refused(Gguf::default().counts(counts.0, counts.1).data(vec![0; 64]).bytes());
        assert!(matches!(error, WeightError::OverLimit { .. }), "{error}");
    }
}

#[test]
fn case_23_strings_past_the_end() {
    let long = [&1000u64.to_le_bytes()[..], b"short"].concat();
    let error = refused(Gguf::default().pair("text", 8, &long).bytes());
    assert!(matches!(error, WeightError::CutShort { .. }), "{error}");
    let longer = [&u64::MAX.to_le_bytes()[..], b"short"].concat();
    let error = refused(Gguf::default().pair("text", 8, &longer).bytes());
    assert!(matches!(error, WeightError::OverLimit { .. }), "{error}");
    let error = refused(Gguf::default().pair("list", 9, &array(8, 1, &longer)).bytes());
    assert!(matches!(error, WeightError::CutShort { .. } | WeightError::OverLimit { .. }), "{error}");
}

#[test]
fn case_23_unknown_types() {
    let found = defect(&Gguf::default().tensor("t", &[256], 19, 0).data(vec![0; 256]));
    assert!(found.to_string().contains("IQ"), "{found}");
    let found = defect(&Gguf::default().tensor("t", &[32], 9999, 0).data(vec![0; 256]));
    assert_eq!(found, TensorDefect::UnknownDtype("number 9999".into()));
    let error = refused(Gguf::default().pair("x", 77, &[0; 8]).bytes());
    assert!(error.to_string().contains("unknown kind 77"), "{error}");
}

#[test]
fn case_23_offsets_and_blocks() {
    let at = |offset| Gguf::default().tensor("t", &[8], F32, offset).data(vec![0; 64]);
    assert!(open(at(32).bytes()).is_ok());
    assert_eq!(defect(&at(8)), TensorDefect::Misaligned { begin: 8, alignment: 32 });
    assert_eq!(defect(&at(64)), TensorDefect::OutOfRange { end: 96, available: 64 });
    assert!(matches!(defect(&at(u64::MAX - 31)), TensorDefect::OutOfRange { .. }));
    let both = Gguf::default().tensor("a", &[16], F32, 0).tensor("b", &[8], F32, 32).data(vec![0; 64]);
    assert_eq!(defect(&both), TensorDefect::Overlap { begin: 32, other: "a".into(), end: 64 });
    let twice = Gguf::default().tensor("a", &[8], F32, 0).tensor("a", &[8], F32, 32).data(vec![0; 64]);
    assert_eq!(defect(&twice), TensorDefect::Duplicate);
    let part = Gguf::default().tensor("a", &[16, 2], Q8_0, 0).data(vec![0; 64]);
    assert_eq!(defect(&part), TensorDefect::PartialBlock { dtype: DType::Q8_0, row: 16, block: 32 });
    let dims = refused(Gguf::default().tensor("a", &[1; 5], F32, 0).data(vec![0; 64]).bytes());
    assert!(matches!(dims, WeightError::OverLimit { found: 5, cap: 4, .. }), "{dims}");
}

#[test]
fn case_23_truncation_at_every_byte() {
    let whole = honest().bytes();
    for n in 0..whole.len() {
        refused(whole[..n].to_vec());
    }
}

#[test]
fn other_versions_are_named() {
    let mut bytes = honest().bytes();
    bytes[4] = 9;
    assert!(refused(bytes.clone()).to_string().contains("version 9"));
    bytes[4..8].copy_from_slice(&[0, 0, 0, 3]);
    assert!(refused(bytes).to_string().contains("big-endian"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn case_23_no_changed_bytes_panic(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..4)) {
        let mut bytes = honest().bytes();
        for (at, with) in changes {
            let at = at % bytes.len();
            bytes[at] = with;
        }
        if let Ok(file) = open(bytes) {
            for (name, _) in file.tensors() {
                let _ = TensorView::open(&file, name).unwrap().to_vec::<f32>();
            }
            let _ = (file.strings("tokens"), file.numbers("scores"));
        }
    }

    #[test]
    fn case_23_no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = open([b"GGUF\x03\0\0\0".to_vec(), bytes].concat());
    }
}
