//! Model files: safetensors, GGUF and pickles read without executing or copying them.
//!
//! [`ModelFile::open`] reads a file's header and nothing else: names, shapes, types, where each
//! tensor lies, and a [fingerprint](ModelFile::fingerprint). All that a hostile or damaged file can
//! say wrong is refused there, with an error that names file and tensor ([`WeightError`]).
//!
//! A [`WeightSource`] is a view over one or more files: which tensors a component is made of, and
//! under which names a model asks for them. It costs no bytes. A [`TensorView`] from it reads its
//! values piece by piece into memory that the caller owns, converted on the way; nothing is held
//! twice.
//!
//! - `file`: formats, headers, checks; reading by position
//! - `convert`: stored values to f32, bf16 and f16
//! - [`detect`]: which family, which components, and why
//! - [`diffusers`]: tensors in that library's naming, seen as those of single files
//! - `folders`: ComfyUI's model folders, and which names resolve to which files
//! - `source`: views with prefixes and other names
//! - `t5`: llama.cpp's tensor names, and where a vocabulary is looked for
//! - `write`: safetensors and GGUF files, whole or not at all

mod convert;
pub mod detect;
pub mod diffusers;
mod dtype;
mod error;
mod file;
mod folders;
mod source;
mod t5;
mod vocabulary;
mod write;

pub use convert::Element;
pub use dtype::DType;
pub use error::{Result, TensorDefect, WeightError};
pub use file::{Format, Identity, Metadata, ModelFile, TensorInfo, is_escape, open_beneath};
pub use folders::{ListedModel, ModelFolders};
pub use source::{TensorView, WeightSource};
pub use t5::{TokenizerData, language_names, t5_names, t5_tokenizer};
pub use vocabulary::{vocabularies, vocabulary_folders};
pub use write::{TensorSpec, write_gguf, write_safetensors};
