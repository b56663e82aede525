//! Files made by hand, so that each test says which byte is wrong.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use ebb_weights::{ModelFile, WeightError};

/// A safetensors file with this header text and this many bytes of data.
pub(crate) fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..data).map(|i| i as u8));
    bytes
}

/// A safetensors file of f32 tensors, one after the other.
pub(crate) fn safetensors_f32(tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, values) in tensors {
        let begin = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_string(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Opens bytes as a model file called `test.model`.
pub(crate) fn open(bytes: Vec<u8>) -> Result<Arc<ModelFile>, WeightError> {
    ModelFile::from_bytes("test.model", bytes)
}

/// The error that bytes give.
pub(crate) fn refused(bytes: Vec<u8>) -> WeightError {
    match open(bytes) {
        Err(e) => e,
        Ok(file) => panic!("accepted: {file:?}"),
    }
}
