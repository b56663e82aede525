use std::io::Write;

use super::*;
use crate::{Metadata, ModelFile, TensorView};

fn spec(name: &str, dtype: DType, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

fn metadata() -> Metadata {
    [("made.by".to_owned(), "a test".to_owned())].into()
}

/// Bytes that count from 0, as many as a tensor has.
fn counting(spec: &TensorSpec, out: &mut dyn Write) -> Result<()> {
    let bytes: Vec<u8> = (0..spec.bytes(Path::new("")).unwrap()).map(|i| i as u8).collect();
    out.write_all(&bytes).unwrap();
    Ok(())
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = [spec("a", DType::F16, &[3, 5]), spec("b", DType::F32, &[]), spec("c", DType::I8, &[7])];
    for (name, write) in [("x.safetensors", true), ("x.gguf", false)] {
        let path = folder.path().join(name);
        if write {
            write_safetensors(&path, &metadata(), &tensors, counting).unwrap();
        } else {
            write_gguf(&path, &metadata(), &tensors, counting).unwrap();
        }
        let file = ModelFile::open(&path).unwrap();
        assert_eq!(file.metadata()["made.by"], "a test");
        for spec in &tensors {
            let view = TensorView::open(&file, &spec.name).unwrap();
            assert_eq!((view.dtype(), view.shape()), (spec.dtype, &spec.shape[..]));
            let mut bytes = vec![0; view.stored_bytes() as usize];
            view.read_stored(&mut bytes).unwrap();
            assert!(bytes.iter().enumerate().all(|(i, b)| *b == i as u8), "{name} {}", spec.name);
        }
    }
    assert_eq!(files(folder.path()), 2, "no temporary file stays");
}

#[test]
fn quantised_blocks_go_into_gguf_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let tensors = [spec("q", DType::Q4K, &[2, 256]), spec("r", DType::BF16, &[1, 2, 3, 4])];
    write_gguf(&path, &Metadata::new(), &tensors, counting).unwrap();
    let file = ModelFile::open(&path).unwrap();
    assert_eq!(TensorView::open(&file, "q").unwrap().to_vec::<f32>().unwrap().len(), 512);
    assert!(write_safetensors(&path, &Metadata::new(), &tensors, counting).is_err());
    assert!(write_gguf(&path, &Metadata::new(), &[spec("q", DType::Q4K, &[512, 1])], counting).is_err());
    assert!(write_gguf(&path, &Metadata::new(), &[spec("f", DType::F8E4M3, &[1])], counting).is_err());
    assert!(ModelFile::open(&path).is_ok(), "the file that was there stays");
}

#[test]
fn a_write_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let tensors = [spec("a", DType::F32, &[4])];
    let short = |_: &TensorSpec, out: &mut dyn Write| {
        out.write_all(&[1, 2, 3]).unwrap();
        Ok(())
    };
    let error = write_safetensors(&path, &metadata(), &tensors, short).unwrap_err();
    assert!(error.to_string().contains("'a'") && error.to_string().contains("16 bytes, but 3"), "{error}");
    let fails = |_: &TensorSpec, _: &mut dyn Write| Err(WeightError::Changed { file: "base".into() });
    assert!(write_gguf(&path, &metadata(), &tensors, fails).is_err());
    let twice = [tensors[0].clone(), tensors[0].clone()];
    assert!(write_safetensors(&path, &metadata(), &twice, counting).is_err());
    assert!(write_gguf(&path, &metadata(), &twice, counting).is_err());
    assert_eq!(files(folder.path()), 0);
}
