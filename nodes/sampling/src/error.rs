//! What can go wrong while sampling.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation failed: shapes that do not fit, or a device without memory.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),

    /// The denoiser (or what feeds it) failed; the message is the model's own.
    #[error("{0}")]
    Model(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// The observer asked to stop.
    #[error("sampling was cancelled")]
    Cancelled,

    /// No sampler of that name.
    #[error("there is no sampler `{name}`; known ones are {known}")]
    UnknownSampler {
        /// The name that was asked for.
        name: String,
        /// Every name that exists, comma separated.
        known: String,
    },

    /// No scheduler of that name.
    #[error("there is no scheduler `{name}`; known ones are {known}")]
    UnknownScheduler {
        /// The name that was asked for.
        name: String,
        /// Every name that exists, comma separated.
        known: String,
    },

    /// A sampler's or scheduler's option has a value that it cannot work with.
    #[error("{what}: {option} is {found}, expected {expected}")]
    Option {
        /// The sampler, scheduler or step that has the option.
        what: &'static str,
        /// The option's name.
        option: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },

    /// A tensor has a shape that does not fit.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The tensor's role.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that was needed, in words.
        expected: String,
    },

    /// Brownian noise needs an interval of sigmas that is not empty.
    #[error(
        "Brownian noise needs two different finite sigmas, found {start} and {end}; \
         give the sampler a schedule of at least two different sigmas above zero"
    )]
    BrownianInterval {
        /// Where the interval begins.
        start: f64,
        /// Where the interval ends.
        end: f64,
    },

    /// A sampler with steps of its own size cannot go on.
    #[error(
        "{what}: the step size became {step:e}; the model's output is not finite, or rtol and atol are too small"
    )]
    Diverged {
        /// The sampler.
        what: &'static str,
        /// The step size.
        step: f64,
    },

    /// A linear system of a multistep method has no solution, because sigmas repeat.
    #[error("{what}: the schedule repeats sigmas, so the multistep coefficients are undefined")]
    Singular {
        /// The sampler.
        what: &'static str,
    },
}

impl Error {
    /// Wraps an error of a model.
    pub fn model(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Model(error.into())
    }
}

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;
