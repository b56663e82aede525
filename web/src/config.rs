//! What a server is told before it starts. The command line fills this in; nothing here reads the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ebb_engine::events::Previews;
use ebb_weights::ModelFolders;

/// Where files live.
#[derive(Debug, Clone)]
pub struct Folders {
    /// Pictures that workflows load.
    pub input: PathBuf,
    /// Pictures that workflows save.
    pub output: PathBuf,
    /// Pictures that are only shown.
    pub temp: PathBuf,
    /// Settings and whatever a browser stores, a folder a user.
    pub user: PathBuf,
    /// The job database.
    pub data: PathBuf,
}

impl Folders {
    /// All of them below one folder, as ComfyUI has them; jobs in `user/ebb`.
    pub fn below(base: &Path) -> Self {
        Self {
            input: base.join("input"),
            output: base.join("output"),
            temp: base.join("temp"),
            user: base.join("user"),
            data: base.join("user").join("ebb"),
        }
    }
}

/// Bounds on what a caller may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a body that is not an upload.
    pub body: usize,
    /// Bytes of an upload; announced in `/features`.
    pub upload: usize,
    /// Nodes of a workflow.
    pub nodes: usize,
    /// Pixels of an uploaded picture that the server decodes.
    pub pixels: u64,
    /// Connections at once, and websockets at once.
    pub connections: usize,
    /// Time a client has for its request head, and for each part of its body.
    pub patience: Duration,
    /// What the queue keeps.
    pub queue: ebb_queue::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            upload: 100 << 20,
            nodes: 10_000,
            pixels: 128 << 20,
            connections: 1024,
            patience: Duration::from_secs(30),
            queue: ebb_queue::Limits::default(),
        }
    }
}

/// Who may speak to the server.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The secret that every request must bring. Needed to listen beyond this machine.
    pub token: Option<String>,
    /// Names that may stand in `Host`, beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
    /// The foreign origin whose pages may speak to this server; `*` for all.
    pub cors: Option<String>,
    /// Several users, told apart by the `comfy-user` header, as ComfyUI's `--multi-user`.
    pub multi_user: bool,
}

/// All that a server is told.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where files live.
    pub folders: Folders,
    /// Where models live.
    pub models: Arc<ModelFolders>,
    /// The official front end's static files, served in place of Ebb's editor.
    pub front_end: Option<PathBuf>,
    /// Who may speak to the server.
    pub access: Access,
    /// Bounds.
    pub limits: Limits,
    /// Times a job may be passed over for one whose models are in memory; 0 keeps the plain order.
    pub prefer_resident: u32,
    /// What previews nodes make for jobs that don't say.
    pub previews: Previews,
    /// The program's arguments, shown in `/system_stats` without the token.
    pub argv: Vec<String>,
}

impl ServerConfig {
    /// ComfyUI's address and folders below `base`, everything else by default.
    pub fn below(base: &Path) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8188)),
            folders: Folders::below(base),
            models: Arc::new(ModelFolders::under(base.join("models")).absolute()),
            front_end: None,
            access: Access::default(),
            limits: Limits::default(),
            prefer_resident: 0,
            previews: Previews::default(),
            argv: Vec::new(),
        }
    }

    /// Refuses what would be unsafe.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.listen.ip().is_loopback() && self.access.token.is_none() {
            return Err(ConfigError::OpenToAll { listen: self.listen });
        }
        if let Some(token) = self.access.token.as_ref().filter(|t| t.len() < 16) {
            return Err(ConfigError::ShortToken { length: token.len() });
        }
        if let Some(front_end) = self.front_end.as_ref().filter(|f| !f.join("index.html").is_file()) {
            return Err(ConfigError::NotAFrontEnd { path: front_end.clone() });
        }
        Ok(())
    }
}

/// Why a server does not start as it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Listening beyond this machine without a token.
    #[error(
        "{listen} can be reached from other machines and there is no token: whoever reaches it could read your files \
         and use your computer. Set one (--token or EBB_TOKEN, 16 characters or more), or listen on 127.0.0.1"
    )]
    OpenToAll {
        /// The address.
        listen: SocketAddr,
    },
    /// A token that can be guessed.
    #[error(
        "the token has {length} characters; it needs 16 or more, for example from `openssl rand -hex 16`"
    )]
    ShortToken {
        /// Its length.
        length: usize,
    },
    /// A front-end folder without a front end.
    #[error("{} holds no index.html: --front-end wants the folder of static files of comfyui-frontend-package", path.display())]
    NotAFrontEnd {
        /// The folder.
        path: PathBuf,
    },
}
