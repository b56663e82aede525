//! What the comparisons with reference numbers share: where the files are, and how a comparison is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

/// Any error; a comparison that cannot be made is a failure with this text.
pub(crate) type AnyResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The folder of reference files: `EBB_REFERENCE` where that is set, else the project's own copy.
pub(crate) fn folder() -> PathBuf {
    match std::env::var_os("EBB_REFERENCE") {
        Some(folder) => folder.into(),
        None => own_folder(),
    }
}

/// `tests/reference` of this repository, from whichever crate's tests run.
fn own_folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("tests/reference"))
        .find(|folder| folder.is_dir())
        .unwrap_or_default()
}

/// The comparison of one file of reference numbers.
pub(crate) struct Family {
    /// The file's name in the report.
    pub(crate) name: &'static str,
    /// The files, relative to [`folder`], that it cannot do without.
    pub(crate) files: &'static [&'static str],
    /// Compares every key.
    pub(crate) check: fn(&Path, &mut Report) -> AnyResult,
}

/// What a comparison found.
#[derive(Default)]
pub(crate) struct Report {
    keys: usize,
    compared: BTreeSet<String>,
    worst: Option<Worst>,
    failures: Vec<String>,
}

struct Worst {
    key: String,
    error: f64,
    bound: f64,
}

impl Report {
    /// Counts a key whose result is `error` away from the reference, where `bound` is allowed.
    pub(crate) fn record(&mut self, key: &str, error: f64, bound: f64) {
        self.keys += 1;
        self.compared.insert(key.to_owned());
        let passes = error <= bound; // NaN does not
        if !passes {
            self.failures.push(format!("{key}: error {error:.3e} is above the bound {bound:.1e}"));
        }
        let share = if error.is_nan() { f64::INFINITY } else { error / bound };
        if self.worst.as_ref().is_none_or(|worst| share > worst.error / worst.bound || worst.error.is_nan()) {
            self.worst = Some(Worst { key: key.to_owned(), error, bound });
        }
    }

    /// Counts a key for which no result could be computed.
    pub(crate) fn fail(&mut self, key: &str, why: impl fmt::Display) {
        self.keys += 1;
        self.compared.insert(key.to_owned());
        self.failures.push(format!("{key}: {why}"));
    }

    /// Counts the key of a comparison that may itself fail.
    pub(crate) fn record_result(&mut self, key: &str, error: AnyResult<f64>, bound: f64) {
        match error {
            Ok(error) => self.record(key, error, bound),
            Err(why) => self.fail(key, why),
        }
    }

    /// Fails for every key of a file that was neither compared nor is one of `inputs`: a comparison that
    /// overlooks keys would pass whatever they hold. `compared` is the key under which a result was recorded.
    #[allow(dead_code, reason = "tests of `ebb-sampling` include this file as well, and walk their keys")]
    pub(crate) fn leave_none_out<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a String>,
        inputs: &[&str],
        compared: impl Fn(&str) -> String,
    ) {
        for key in keys {
            if !inputs.contains(&key.as_str()) && !self.compared.contains(&compared(key)) {
                self.fail(key, "nothing is compared with it");
            }
        }
    }

    /// Whether every key passed, and there was one.
    pub(crate) fn passed(&self) -> bool {
        self.failures.is_empty() && self.keys > 0
    }

    /// What failed, a line each.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys)?;
        if let Some(Worst { key, error, bound }) = &self.worst {
            write!(f, ", worst {key} error {error:.3e} (bound {bound:.1e})")?;
        }
        Ok(())
    }
}

/// Runs the comparisons, prints a line for each, and tells whether all passed.
pub(crate) fn run(families: &[Family], unsupported: &[String]) -> bool {
    let folder = folder();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for family in families {
        let missing: Vec<_> = family.files.iter().filter(|file| !folder.join(file).is_file()).collect();
        if !missing.is_empty() {
            println!("{}: not found in {}: {missing:?}", family.name, folder.display());
            skipped += 1;
            continue;
        }
        let mut report = Report::default();
        if let Err(why) = (family.check)(&folder, &mut report) {
            report.fail(family.name, why);
        }
        println!("{}: {report}", family.name);
        for failure in report.failures() {
            println!("  FAILED {failure}");
        }
        if report.passed() { passed += 1 } else { failed += 1 }
    }
    for name in unsupported {
        println!("{name}: not supported yet");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    // Nothing found at all is not a pass: the folder is wrong.
    failed == 0 && passed > 0
}

/// Every tensor of a safetensors file, in the order of their names.
pub(crate) fn tensors(path: &Path) -> AnyResult<BTreeMap<String, Tensor>> {
    Ok(candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect())
}

/// The values of a tensor as f32.
pub(crate) fn values(tensor: &Tensor) -> AnyResult<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// The largest absolute difference.
pub(crate) fn max_difference(found: &Tensor, expected: &Tensor) -> AnyResult<f64> {
    if found.dims() != expected.dims() {
        return Err(format!("shape {:?}, expected {:?}", found.dims(), expected.dims()).into());
    }
    let pairs = values(found)?.into_iter().zip(values(expected)?);
    Ok(pairs
        .map(|(a, b)| f64::from(a - b).abs())
        .fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst }))
}

/// The largest absolute difference as a share of the reference's standard deviation.
pub(crate) fn relative_difference(found: &Tensor, expected: &Tensor) -> AnyResult<f64> {
    let values = values(expected)?;
    let count = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
    Ok(max_difference(found, expected)? / variance.sqrt().max(1e-12))
}
