//! Users and their folders. One user, called `default`, unless the server was told otherwise.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value as Json};

use crate::files::{names, store};

/// Where the flat settings object of a user is.
const SETTINGS: &str = "comfy.settings.json";

/// All users of a server.
pub(crate) struct Users {
    root: PathBuf,
    multi: bool,
    /// Held over reading, changing and writing a file of settings or the list of users.
    writing: Mutex<()>,
}

/// The folder of a request's user.
#[derive(Debug, Clone)]
pub(crate) struct UserFolder(pub(crate) PathBuf);

/// The request's user is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unknown;

impl Unknown {
    pub(crate) const STATUS: StatusCode = StatusCode::UNAUTHORIZED;
}

impl Users {
    pub(crate) fn new(root: &Path, multi: bool) -> Self {
        Self { root: root.to_owned(), multi, writing: Mutex::new(()) }
    }

    pub(crate) fn multi(&self) -> bool {
        self.multi
    }

    /// Whether the single user's folder is there.
    pub(crate) fn migrated(&self) -> bool {
        self.root.join("default").is_dir()
    }

    /// The folder of the user that the request names; made if it is not there.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Result<UserFolder, Unknown> {
        let id = if self.multi {
            let named = headers.get("comfy-user").and_then(|v| v.to_str().ok()).unwrap_or("default");
            if !self.list().contains_key(named) || names::part(named).is_err() {
                return Err(Unknown);
            }
            named
        } else {
            "default"
        };
        let folder = self.root.join(id);
        if let Err(error) = std::fs::create_dir_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "the folder of a user cannot be made");
        }
        Ok(UserFolder(folder))
    }

    /// Names by id.
    pub(crate) fn list(&self) -> BTreeMap<String, String> {
        std::fs::read(self.list_file()).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
    }

    /// Adds a user; `None` when the name is taken.
    pub(crate) fn add(&self, name: &str) -> io::Result<Option<String>> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users = self.list();
        if users.values().any(|n| n == name) {
            return Ok(None);
        }
        let safe: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
            .collect();
        let id = format!("{}_{}", safe.get(..safe.len().min(100)).unwrap_or_default(), uuid::Uuid::new_v4());
        users.insert(id.clone(), name.to_owned());
        store::replace(&self.list_file(), &serde_json::to_vec_pretty(&users)?)?;
        Ok(Some(id))
    }

    /// A user's settings.
    pub(crate) fn settings(&self, user: &UserFolder) -> Map<String, Json> {
        match std::fs::read(user.0.join(SETTINGS)) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "the settings file is not a JSON object; it is read as empty");
                Map::new()
            }),
            Err(_) => Map::new(),
        }
    }

    /// Merges into a user's settings.
    pub(crate) fn merge(&self, user: &UserFolder, changes: Map<String, Json>) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settings = self.settings(user);
        settings.extend(changes);
        store::replace(&user.0.join(SETTINGS), &serde_json::to_vec_pretty(&settings)?)
    }

    fn list_file(&self) -> PathBuf {
        self.root.join("users.json")
    }
}
