//! What can be wrong with a model file, said so that its owner knows what to do.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::DType;

/// A result of this crate.
pub type Result<T, E = WeightError> = std::result::Result<T, E>;

/// What went wrong with a model file, a model folder or a tensor.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The system refused to open or read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Not a format that is read here.
    #[error(
        "{}: not a model file: it begins with {found}; safetensors, GGUF and PyTorch files are read",
        file.display()
    )]
    UnknownFormat {
        /// The file.
        file: PathBuf,
        /// Its first bytes, in words.
        found: String,
    },
    /// Shorter than its own header says: an interrupted download, or a file that is still being written.
    #[error(
        "{}: the file is cut short: {what} needs {expected} bytes and there are {found}; download it again",
        file.display()
    )]
    CutShort {
        /// The file.
        file: PathBuf,
        /// What was being read.
        what: String,
        /// The bytes that this needs, from the start of the file.
        expected: u64,
        /// The bytes that the file has.
        found: u64,
    },
    /// Longer than its own header says.
    #[error(
        "{}: {extra} bytes follow the last tensor, which ends at byte {end}; the file is damaged",
        file.display()
    )]
    TrailingBytes {
        /// The file.
        file: PathBuf,
        /// Where the last tensor ends.
        end: u64,
        /// How many bytes follow it.
        extra: u64,
    },
    /// A header, or something in it, that is larger than any honest file needs.
    #[error("{}: {what} is {found}; at most {cap} is accepted", file.display())]
    OverLimit {
        /// The file.
        file: PathBuf,
        /// What is too large.
        what: String,
        /// How large it says that it is.
        found: u64,
        /// The limit.
        cap: u64,
    },
    /// A header that is not what its format prescribes.
    #[error("{}: broken {format} header: {detail}", file.display())]
    BrokenHeader {
        /// The file.
        file: PathBuf,
        /// The format that it claims to be.
        format: &'static str,
        /// What is wrong, and where.
        detail: String,
    },
    /// A tensor whose description cannot be true.
    #[error("{}: tensor '{tensor}': {defect}", file.display())]
    BadTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        defect: TensorDefect,
    },
    /// A pickle that asks for more than building tensors.
    #[error("{}: refused: {detail}", file.display())]
    UnsafePickle {
        /// The file.
        file: PathBuf,
        /// The class or instruction that is not allowed, and where it stands.
        detail: String,
    },
    /// The file changed after its header was read.
    #[error("{}: the file was changed while it was in use; run the workflow again", file.display())]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// A tensor that the model needs is not there.
    #[error("{}: there is no tensor '{tensor}'{}", file.display(), near(nearest))]
    Missing {
        /// The file.
        file: PathBuf,
        /// The tensor, by the name that was asked for.
        tensor: String,
        /// The most similar name that is there.
        nearest: Option<String>,
    },
    /// A checkpoint that lacks tensors of the family that it was taken for.
    #[error("{}: taken for {family}, but {detail}", file.display())]
    Incomplete {
        /// The file.
        file: PathBuf,
        /// The family that was detected.
        family: String,
        /// The first tensors that are missing or have a wrong shape.
        detail: String,
    },
    /// A tensor of another shape than the model needs.
    #[error("{}: tensor '{tensor}' has shape {found:?}; expected {expected}", file.display())]
    WrongShape {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape that the model needs.
        expected: String,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor whose values cannot be converted to what was asked for.
    #[error("{}: tensor '{tensor}' holds {found}, which cannot be read as {wanted}", file.display())]
    WrongDtype {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// What it holds.
        found: DType,
        /// What was asked for.
        wanted: &'static str,
    },
    /// A model that is known, and known not to run here.
    #[error("{}: this is {family}, which is not supported: {reason}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What it is.
        family: String,
        /// Why it does not run.
        reason: String,
    },
    /// A name that no model folder lists.
    #[error("'{name}' is not in the {kind} folder{}{}", because(why), near(nearest))]
    NotListed {
        /// The kind of folder: `checkpoints`, `vae` …
        kind: String,
        /// The name that was asked for.
        name: String,
        /// Why, where it is not simply absent.
        why: Option<String>,
        /// The most similar name that is there.
        nearest: Option<String>,
    },
    /// A configuration of model folders that cannot be read.
    #[error("{}: {detail}", file.display())]
    BadConfig {
        /// The configuration file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

/// What is wrong with a tensor's description.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorDefect {
    /// A type that is not known.
    #[error("unknown type {0}")]
    UnknownDtype(String),
    /// Dimensions whose product is beyond 64 bits.
    #[error("the shape {0:?} has more values than 64 bits can count")]
    SizeOverflow(Vec<u64>),
    /// Dimensions and type that do not give the stored bytes.
    #[error("{dtype} values of shape {shape:?} take {expected} bytes, but {found} are stored")]
    SizeMismatch {
        /// The type of its values.
        dtype: DType,
        /// Its shape.
        shape: Vec<u64>,
        /// The bytes that shape and type give.
        expected: u64,
        /// The bytes that its offsets give.
        found: u64,
    },
    /// A row that is not whole blocks of a quantised type.
    #[error("rows of {row} values are not whole {dtype} blocks of {block}")]
    PartialBlock {
        /// The type of its values.
        dtype: DType,
        /// Values in a row.
        row: u64,
        /// Values in a block.
        block: u64,
    },
    /// Offsets that end before they begin.
    #[error("its data ends at {end}, before it begins at {begin}")]
    Backwards {
        /// The first offset.
        begin: u64,
        /// The second.
        end: u64,
    },
    /// Data beyond the end of the file.
    #[error("its data ends at byte {end}, but the file has only {available} bytes of data")]
    OutOfRange {
        /// Where its data ends.
        end: u64,
        /// The bytes of data in the file.
        available: u64,
    },
    /// Data that another tensor has too.
    #[error("its data begins at {begin}, inside that of '{other}', which ends at {end}")]
    Overlap {
        /// Where it begins.
        begin: u64,
        /// The other tensor.
        other: String,
        /// Where that one ends.
        end: u64,
    },
    /// Bytes before its data that belong to no tensor.
    #[error("{bytes} bytes before its data belong to no tensor")]
    Gap {
        /// How many.
        bytes: u64,
    },
    /// Data that does not begin where its format's alignment puts it.
    #[error("its data begins at {begin}, which is not a multiple of the alignment {alignment}")]
    Misaligned {
        /// Where it begins.
        begin: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A name that stands twice in a header.
    #[error("the name stands twice in the header")]
    Duplicate,
    /// Anything else that its format forbids.
    #[error("{0}")]
    Other(String),
}

fn near(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("; did you mean '{n}'?")).unwrap_or_default()
}

fn because(why: &Option<String>) -> String {
    why.as_ref().map(|w| format!(": {w}")).unwrap_or_default()
}

impl WeightError {
    /// A stable name for scripts and for the HTTP interface.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "model_unreadable",
            Self::UnknownFormat { .. } => "model_unknown_format",
            Self::CutShort { .. } => "model_cut_short",
            Self::TrailingBytes { .. } => "model_trailing_bytes",
            Self::OverLimit { .. } => "model_over_limit",
            Self::BrokenHeader { .. } => "model_broken_header",
            Self::BadTensor { .. } => "model_bad_tensor",
            Self::UnsafePickle { .. } => "model_unsafe_pickle",
            Self::Changed { .. } => "model_changed",
            Self::Missing { .. } => "model_missing_tensor",
            Self::Incomplete { .. } => "model_incomplete",
            Self::WrongShape { .. } => "model_wrong_shape",
            Self::WrongDtype { .. } => "model_wrong_dtype",
            Self::Unsupported { .. } => "model_unsupported",
            Self::NotListed { .. } => "model_not_listed",
            Self::BadConfig { .. } => "model_folders_config",
        }
    }

    /// A file that could not be read or written.
    pub fn io(file: &Path, source: io::Error) -> Self {
        Self::Io { file: file.to_owned(), source }
    }

    pub(crate) fn broken(file: &Path, format: &'static str, detail: impl Into<String>) -> Self {
        Self::BrokenHeader { file: file.to_owned(), format, detail: detail.into() }
    }

    pub(crate) fn tensor(file: &Path, tensor: &str, defect: TensorDefect) -> Self {
        Self::BadTensor { file: file.to_owned(), tensor: tensor.to_owned(), defect }
    }
}
