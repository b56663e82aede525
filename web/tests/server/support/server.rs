//! A server in this process, on a free port, with folders of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ebb_engine::execute::{Engine, EngineConfig};
use ebb_engine::registry::Registry;
use ebb_engine::residency::{Foresight, Residency};
use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};
use ebb_nodes::{Compute, Environment, Folders};
use ebb_web::{EngineWorkshop, LogBuffer, Server, ServerConfig, Workshop};
use ebb_weights::ModelFolders;

/// A running server; it ends when this is dropped.
pub(crate) struct Running {
    pub address: SocketAddr,
    pub folder: Arc<tempfile::TempDir>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// With every node, the testing nodes too, and the settings changed by `change`.
    pub(crate) fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        Self::start_in(folder, change)
    }

    /// In a folder that an earlier server may have used.
    pub(crate) fn start_in(folder: Arc<tempfile::TempDir>, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let workshop = workshop(folder.path());
        Self::start_with(folder, workshop, change)
    }

    /// With a workshop of the test's own.
    pub(crate) fn start_with(
        folder: Arc<tempfile::TempDir>,
        workshop: Arc<dyn Workshop>,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let mut config = ServerConfig::below(folder.path());
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.argv = vec!["ebb".into(), "serve".into()];
        change(&mut config);
        let logs = LogBuffer::new();
        std::io::Write::write_all(
            &mut tracing_subscriber::fmt::MakeWriter::make_writer(&logs),
            b"the log begins\n",
        )
        .expect("a line");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let server = Server::bind(config, workshop, logs).await.expect("a server");
                tell.send(server.address().expect("an address")).expect("the test waits");
                server
                    .run(async {
                        let _ = stopped.await;
                    })
                    .await;
            });
        });
        let address = told.recv().expect("the server started");
        Self { address, folder, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server ends without a panic");
            }
        }
    }
}

/// A workshop with every node.
pub(crate) fn workshop(base: &Path) -> Arc<dyn Workshop> {
    Arc::new(EngineWorkshop::new(engine(base, Residency::new(Foresight, None))))
}

/// The engine with every node.
pub(crate) fn engine(base: &Path, residency: Arc<Residency>) -> Arc<Engine> {
    let mut registry = Registry::new();
    let kernels = Kernels::new(Threads::new(2).expect("threads"), Pool::new()).expect("kernels");
    let environment = Environment {
        folders: Arc::new(Folders::under(base)),
        models: Arc::new(ModelFolders::under(base.join("models"))),
        compute: Compute::new(Ops::cpu(kernels, Precision::F32), Precision::F32),
    };
    ebb_nodes::register(&mut registry, &environment).expect("the nodes");
    ebb_testing_nodes::register(&mut registry).expect("the testing nodes");
    super::nodes::register(&mut registry);
    Arc::new(Engine::new(Arc::new(registry), residency, EngineConfig::default()))
}

/// The few files of a front end that the recorded exchanges ask for.
pub(crate) fn front_end(folder: &Path) -> std::path::PathBuf {
    let front_end = folder.join("front-end");
    for (path, content) in [
        ("index.html", "<!doctype html><title>front end</title>"),
        ("templates/index.json", "[]"),
        ("docs/KSampler/en.md", "# KSampler\n"),
        ("extensions/core/a.js", "export {};\n"),
    ] {
        let path = front_end.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
    front_end
}
