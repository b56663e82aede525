//! What every node of a process shares.

use std::sync::Arc;

use ebb_weights::ModelFolders;

use crate::compute::Compute;
use crate::folders::Folders;

/// Folders, models and what computes. Handed to the nodes when they are registered.
#[derive(Clone)]
pub struct Environment {
    /// Where pictures are.
    pub folders: Arc<Folders>,
    /// Where models are.
    pub models: Arc<ModelFolders>,
    /// What computes.
    pub compute: Arc<Compute>,
}
