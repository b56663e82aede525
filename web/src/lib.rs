//! The server: ComfyUI's protocol, /v1, and the editor.

pub mod editor;
