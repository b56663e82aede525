//! Listening, connections, and the end.
//!
//! Connections are counted, a request's head has to come within the patience of the limits and its answer has to be
//! read, and a stop lets answers finish before the process goes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ebb_queue::{JobStore, SqliteStore};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use crate::app::{self, App, StartError};
use crate::config::ServerConfig;
use crate::ops::logs::LogBuffer;
use crate::work::workshop::Workshop;

/// How long open answers may take to finish once the server stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// A server that listens and does not answer yet.
pub struct Server {
    app: App,
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Checks the configuration, opens the job store, takes up what a server before left, and listens.
    pub async fn bind(
        config: ServerConfig,
        workshop: Arc<dyn Workshop>,
        logs: LogBuffer,
    ) -> Result<Self, StartError> {
        config.check()?;
        let (folder, limits) = (config.folders.data.clone(), config.limits.queue);
        let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&folder, limits)).await;
        let store = opened.map_err(std::io::Error::other)??;
        Self::bind_with(config, workshop, logs, Arc::new(store)).await
    }

    /// As [`Server::bind`] with a store of the caller's.
    pub async fn bind_with(
        config: ServerConfig,
        workshop: Arc<dyn Workshop>,
        logs: LogBuffer,
        store: Arc<dyn JobStore>,
    ) -> Result<Self, StartError> {
        config.check()?;
        let folders = &config.folders;
        for folder in [&folders.input, &folders.output, &folders.temp, &folders.user] {
            std::fs::create_dir_all(folder)?;
        }
        // The store is open: no other server of these folders runs.
        empty(&folders.temp);
        let listen = config.listen;
        let listener =
            TcpListener::bind(listen).await.map_err(|source| StartError::Listen { listen, source })?;
        let app = App::new(config, store, workshop, logs)?;
        let router = app::router(&app);
        Ok(Self { app, listener, router })
    }

    /// The address, with the port that was taken for port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` comes, then puts the running job back and says goodbye to everyone.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let Self { app, listener, router } = self;
        let logs = tokio::spawn(crate::comfy::internal::send_logs(app.clone()));
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(app.config.limits.connections));
        tokio::pin!(stop);
        loop {
            tokio::select! {
                accepted = accept(&listener, &places) => {
                    let (stream, place) = accepted;
                    let patience = app.config.limits.patience;
                    let stopping = app.stopping.clone();
                    let (builder, service, watcher) = (builder(&app), service(&router), graceful.watcher());
                    tokio::spawn(async move {
                        // The time for a request's head is counted from its first byte on; this is the time until then.
                        let mut first = [0];
                        let spoke = tokio::select! {
                            // A look at the first byte: a socket may be called readable without one.
                            spoke = tokio::time::timeout(patience, stream.peek(&mut first)) => matches!(spoke, Ok(Ok(1..))),
                            () = stopping.cancelled() => false,
                        };
                        if !spoke {
                            return;
                        }
                        // Who asks and does not read the answer is let go as well.
                        let mut stream = TimeoutStream::new(stream);
                        stream.set_write_timeout(Some(patience));
                        let stream = TokioIo::new(Box::pin(stream));
                        let connection = builder.serve_connection_with_upgrades(stream, service).into_owned();
                        if let Err(error) = watcher.watch(connection).await {
                            tracing::debug!(%error, "a connection ended badly");
                        }
                        drop(place);
                    });
                }
                () = &mut stop => break,
            }
        }
        tracing::info!("stopping: no new requests, the running job goes back into the queue");
        drop(listener);
        app.stopping.cancel();
        let dispatcher = app.clone();
        let stopped = tokio::task::spawn_blocking(move || dispatcher.dispatcher.stop());
        let _ = tokio::join!(tokio::time::timeout(FAREWELL, graceful.shutdown()), stopped, logs);
        if let Err(error) = app.store.flush() {
            tracing::error!(%error, "the last events could not be stored");
        }
    }
}

/// Removes what an earlier server left to be shown. A link is removed, never followed; what cannot be removed stays.
fn empty(temp: &Path) {
    let is_folder = std::fs::symlink_metadata(temp).is_ok_and(|meta| meta.is_dir());
    let Ok(entries) = std::fs::read_dir(temp) else { return };
    if !is_folder {
        tracing::warn!(path = %temp.display(), "the folder for previews is a link and is not emptied");
        return;
    }
    for entry in entries.flatten() {
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(entry.path()),
            _ => std::fs::remove_file(entry.path()),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, path = %entry.path().display(), "an old preview could not be removed");
        }
    }
}

fn builder(app: &App) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(app.config.limits.patience);
    builder
}

fn service(router: &Router) -> TowerToHyperService<axum::routing::RouterIntoService<hyper::body::Incoming>> {
    TowerToHyperService::new(router.clone().into_service())
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => {
                // Frames are small and each one is awaited by somebody.
                let _ = stream.set_nodelay(true);
                return (stream, place);
            }
            Err(error) => {
                // Out of file descriptors, most likely: they come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
