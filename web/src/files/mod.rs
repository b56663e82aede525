//! Files that requests name: found inside their folder and nowhere else, sent whole or in part, drawn anew.
//!
//! - [`names`]: which words may be part of a path at all.
//! - [`roots`]: a name below a folder, opened; links that lead out are refused by the system itself where it can.
//! - [`send`]: a file as an answer: type, range, conditions.
//! - [`picture`]: previews and channels of `/view`, and the header check before anything is decoded.
//! - [`store`]: new files, written beside their place and renamed into it.

pub(crate) mod names;
pub(crate) mod picture;
pub(crate) mod roots;
pub(crate) mod send;
pub(crate) mod store;

pub(crate) use names::PathError;

/// Runs file work away from the async threads. A panic in it is an I/O error to the caller.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(std::io::Error::other(panic)),
    }
}
