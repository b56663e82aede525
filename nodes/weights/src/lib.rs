//! Model files: safetensors, GGUF and pickles read without executing or copying them.
