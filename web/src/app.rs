//! What all routes share, and the routes put together.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ebb_queue::JobStore;
use ebb_queue::pick::Preference;
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::ops::logs::LogBuffer;
use crate::ops::metrics::Metrics;
use crate::security::token::Token;
use crate::users::Users;
use crate::work::dispatcher::{self, Bench, Dispatcher};
use crate::work::feed::Feed;
use crate::work::workshop::Workshop;
use crate::ws::hub::Hub;

/// What all routes share. Clones are the same.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: ServerConfig,
    pub(crate) token: Option<Token>,
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) workshop: Arc<dyn Workshop>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) logs: LogBuffer,
    pub(crate) users: Users,
    pub(crate) dispatcher: Dispatcher,
    /// The next count for jobs without a number. Counts refused ones too, as ComfyUI does.
    pub(crate) counter: AtomicI64,
    /// Places for websockets, which are no connections to the HTTP side any more.
    pub(crate) sockets: Arc<Semaphore>,
    /// Cancelled when the server stops: websockets and event streams end.
    pub(crate) stopping: CancellationToken,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Takes up the queue that was left and starts the dispatcher. Needs a runtime around it.
    pub(crate) fn new(
        config: ServerConfig,
        store: Arc<dyn JobStore>,
        workshop: Arc<dyn Workshop>,
        logs: LogBuffer,
    ) -> Result<Self, StartError> {
        let recovered = store.recover()?;
        if recovered != Default::default() {
            tracing::info!(
                requeued = recovered.requeued.len(),
                failed = recovered.failed.len(),
                cancelled = recovered.cancelled.len(),
                "took up jobs that ran when the last server ended"
            );
        }
        let (hub, feed, metrics) =
            (Arc::new(Hub::default()), Arc::new(Feed::default()), Arc::new(Metrics::default()));
        hub.status(store.counts()?.remaining());
        let dispatcher = Dispatcher::start(Bench {
            store: Arc::clone(&store),
            workshop: Arc::clone(&workshop),
            hub: Arc::clone(&hub),
            feed: Arc::clone(&feed),
            metrics: Arc::clone(&metrics),
            folders: config.folders.clone(),
            preference: Preference { max_passes: config.prefer_resident },
            previews: config.previews,
        })?;
        Ok(Self(Arc::new(Inner {
            token: config.access.token.as_deref().map(Token::new),
            users: Users::new(&config.folders.user, config.access.multi_user),
            counter: AtomicI64::new(store.next_number()?),
            sockets: Arc::new(Semaphore::new(config.limits.connections)),
            config,
            store,
            workshop,
            hub,
            feed,
            metrics,
            logs,
            dispatcher,
            stopping: CancellationToken::new(),
        })))
    }

    /// The folder that `type` names.
    pub(crate) fn folder(&self, kind: &str) -> Option<PathBuf> {
        dispatcher::folder(&self.config.folders, kind)
    }

    /// What the server can, as `/features` and the websocket tell it.
    pub(crate) fn features(&self) -> Json {
        json!({"supports_preview_metadata": true, "max_upload_size": self.config.limits.upload})
    }

    /// Runs work on the store away from the async threads, and answers with what it gave or with its error.
    pub(crate) async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn JobStore) -> Result<T, ebb_queue::QueueError> + Send + 'static,
    ) -> Result<T, Response> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&*store)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(crate::v1::error::from_queue(&error)),
            Err(panic) => Err(crate::answer::failed(panic)),
        }
    }

    /// Tells everybody how long the queue is.
    pub(crate) async fn tell_status(&self) {
        if let Ok(counts) = self.on_store(|s| s.counts()).await {
            self.hub.status(counts.remaining());
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was told something unsafe.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The job store does not open.
    #[error(transparent)]
    Queue(#[from] ebb_queue::QueueError),
    /// A folder, a socket or a thread.
    #[error("the server cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// The address.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Every route behind every check.
pub(crate) fn router(app: &App) -> Router {
    use axum::extract::DefaultBodyLimit;
    use axum::middleware::from_fn_with_state;
    use tower_http::compression::predicate::{
        DefaultPredicate, NotForContentType, Predicate as _, SizeAbove,
    };
    use tower_http::compression::{CompressionLayer, CompressionLevel};
    use tower_http::timeout::RequestBodyTimeoutLayer;

    // Descriptions of nodes are a megabyte of text. Pictures, films and event streams are left alone.
    let worth_it = DefaultPredicate::new()
        .and(SizeAbove::new(1024))
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("audio/"));
    let compressed = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it);

    Router::new()
        .merge(crate::comfy::routes(app))
        .merge(crate::v1::routes())
        .merge(crate::ops::routes())
        .fallback(crate::comfy::static_files::serve)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(app.config.limits.body))
        .layer(compressed)
        // A body that stops coming, or only trickles, is an error to whoever reads it.
        .layer(RequestBodyTimeoutLayer::new(app.config.limits.patience))
        .layer(from_fn_with_state(app.clone(), crate::security::pace::hold))
        .layer(from_fn_with_state(app.clone(), crate::security::guard))
        .layer(axum::middleware::from_fn(crate::ops::request::trace))
        .with_state(app.clone())
}

async fn wrong_method() -> Response {
    let text = "405: Method Not Allowed";
    (StatusCode::METHOD_NOT_ALLOWED, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
        .into_response()
}
