//! The one error type of this crate.

/// What can go wrong when a model is built from a file or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file does not hold a tensor that this kind of model needs.
    #[error("{what}: the file has no tensor `{name}`; it is either another kind of model or incomplete")]
    MissingTensor {
        /// The block that was being built.
        what: &'static str,
        /// Full name of the tensor, as the file would spell it.
        name: String,
    },
    /// A tensor is there, with a shape that does not fit its neighbours.
    #[error("tensor `{name}` has shape {found:?}, expected {expected}")]
    Shape {
        /// Full name of the tensor.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// What would fit.
        expected: String,
    },
    /// A run-time input does not fit the model.
    #[error("{model}: {input} is {found}, expected {expected}")]
    Input {
        /// The model that was called.
        model: &'static str,
        /// Which of its inputs.
        input: &'static str,
        /// What was given.
        found: String,
        /// What fits.
        expected: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// Reading the file failed.
    #[error(transparent)]
    Read(#[from] ebb_weights::WeightError),
    /// A kernel refused its sizes, or memory ran out.
    #[error(transparent)]
    Kernel(#[from] ebb_kernels::KernelError),
    /// The tensor library refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;
