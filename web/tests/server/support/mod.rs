//! What the tests of the server share: a server in this process, a plain HTTP client, a recorded exchange replayed.

pub mod compare;
pub mod http;
pub mod nodes;
pub mod normal;
pub mod server;
pub mod session;
