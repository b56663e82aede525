//! What goes wrong inside a node.

use std::fmt;

/// What sort of failure it is; exit codes and HTTP answers follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An input has the wrong type or a value that makes no sense.
    Input,
    /// A model file is missing, broken or of a family that is not supported.
    Model,
    /// There is not enough memory, and nothing more can be given back.
    Memory,
    /// The user asked to stop.
    Cancelled,
    /// The node panicked: a defect of the node.
    Panicked,
    /// Anything else.
    Failed,
}

/// A node's failure. The message says what was found, what was expected and what to do; the
/// engine adds which node it was.
#[derive(Clone, Debug)]
pub struct NodeError {
    /// The sort of failure.
    pub kind: ErrorKind,
    /// In the user's words.
    pub message: String,
    /// The input that it is about, if one.
    pub input: Option<String>,
    /// The name that ComfyUI's clients see as `exception_type`.
    pub exception: String,
}

impl NodeError {
    fn new(kind: ErrorKind, exception: &str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), input: None, exception: exception.into() }
    }

    /// Any failure that is none of the others.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, "RuntimeError", message)
    }

    /// An input that is missing or wrong.
    pub fn input(name: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Input, "ValueError", message);
        error.input = Some(name.into());
        error
    }

    /// A model file that is missing, broken or not supported.
    pub fn model(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Model, "ModelError", message)
    }

    /// Not enough memory.
    pub fn memory(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Memory, "OutOfMemoryError", message)
    }

    /// The user asked to stop.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "InterruptProcessingException", "the run was cancelled")
    }

    /// The node panicked.
    pub fn panicked(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Panicked, "Panic", message)
    }

    /// Sets the name that ComfyUI's clients see as `exception_type`.
    pub fn exception(mut self, name: &str) -> Self {
        self.exception = name.into();
        self
    }

    /// Whether this is a cancellation rather than a failure.
    pub fn is_cancelled(&self) -> bool {
        self.kind == ErrorKind::Cancelled
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.input {
            Some(input) => write!(f, "input `{input}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for NodeError {}
