//! Bodies that trickle: a byte a second would hold a connection for days without ever stopping.

use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;

use crate::app::App;

/// Bytes a second that a body has to bring on the whole, once the patience is used up: slower than any line over which
/// somebody would send a picture.
const SLOWEST: u64 = 4 << 10;

#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
struct TooSlow;

/// Ends a body that comes slower than that: an error to whoever reads it.
pub(crate) async fn hold(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = if body.is_end_stream() { body } else { paced(body, app.config.limits.patience) };
    next.run(Request::from_parts(parts, body)).await
}

fn paced(body: Body, patience: Duration) -> Body {
    let (began, mut bytes) = (Instant::now(), 0);
    let chunks = body.into_data_stream().map(move |chunk| {
        let chunk = chunk?;
        bytes += chunk.len() as u64;
        let due = patience + Duration::from_secs(bytes / SLOWEST);
        if began.elapsed() > due { Err(axum::Error::new(TooSlow)) } else { Ok(chunk) }
    });
    Body::from_stream(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(every: Duration, chunks: usize, bytes: usize) -> Result<usize, axum::Error> {
        let slow = futures::stream::unfold(0, move |n| async move {
            tokio::time::sleep(every).await;
            (n < chunks).then(|| (Ok::<_, std::io::Error>(vec![b' '; bytes]), n + 1))
        });
        let body = paced(Body::from_stream(slow), Duration::from_secs(1));
        axum::body::to_bytes(body, usize::MAX).await.map(|all| all.len())
    }

    #[tokio::test]
    async fn what_trickles_is_ended_and_what_is_long_is_not() {
        let ten = Duration::from_millis(10);
        assert!(read(ten, 400, 1).await.is_err(), "a byte every ten milliseconds");
        assert_eq!(read(ten, 20, 8 << 10).await.expect("fast enough"), 20 * (8 << 10));
        assert_eq!(read(ten, 3, 1).await.expect("within the patience"), 3);
    }
}
