//! The websocket: who is connected, who hears what, and the frames' form.
//!
//! - [`hub`]: the connected clients, by id. Everything that is said to anybody is said here.
//! - [`frames`]: text and binary frames as ComfyUI's clients read them.
//! - [`socket`]: one connection's life.

pub(crate) mod frames;
pub(crate) mod hub;
pub(crate) mod socket;
