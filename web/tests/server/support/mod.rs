//! What the tests of the server share: a server in this process, a plain HTTP client, a recorded exchange replayed.

pub(crate) mod compare;
pub(crate) mod http;
pub(crate) mod nodes;
pub(crate) mod normal;
pub(crate) mod server;
pub(crate) mod session;
