//! The note beside a tree that says what it was made from. It is written last, so that its presence means that the tree is whole.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::limits;
use mosaic_core::ports::repositories::TreeRequest;
use serde::{Deserialize, Serialize};

use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::private_place::read_plain;

/// The origin of the tree; written last, so that its presence means that the tree is whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Marker {
    pub(crate) repository: String,
    pub(crate) base_branch: String,
    pub(crate) branch: String,
    pub(crate) base: String,
    /// The number of the tree's directory.
    #[serde(default)]
    pub(crate) inode: Option<u64>,
}

impl Marker {
    pub(crate) fn of(request: &TreeRequest) -> Self {
        Self {
            repository: request.repository.to_string(),
            base_branch: request.base_branch.to_string(),
            branch: request.branch.to_string(),
            base: request.base.to_string(),
            inode: None,
        }
    }
}

impl GitRepositories {
    pub(crate) fn is_whole(&self, request: &TreeRequest) -> bool {
        let is_dir = |p: &Path| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir());
        let is_file = |p: &Path| fs::symlink_metadata(p).is_ok_and(|m| m.is_file());
        let tree = self.layout.tree(request.agent);
        let Some(marker) = self.read_marker(request.agent) else { return false };
        let made = marker.inode;
        (Marker { inode: None, ..marker }) == Marker::of(request)
            && is_dir(&tree)
            && (made.is_none() || made == inode(&tree))
            && is_dir(&tree.join(".git"))
            && is_file(&tree.join(".git/HEAD"))
    }

    pub(crate) fn read_marker(&self, agent: AgentId) -> Option<Marker> {
        let marker = read_plain(&self.layout.marker(agent), limits::MARKER_BYTES).ok()?;
        serde_json::from_slice(&marker).ok()
    }

    /// Returns the number of the directory that was made as the agent's tree, when it was noted.
    pub(crate) fn tree_inode(&self, agent: AgentId) -> Option<u64> {
        self.read_marker(agent)?.inode
    }

    /// Checks that the agent's tree is one that was made here.
    pub(crate) fn has_tree(&self, request: &TreeRequest) -> Result<(), GitError> {
        if self.layout.marker(request.agent).is_file() {
            return Ok(());
        }
        Err(GitError::refused(FailureKind::Internal, "the agent has no working tree to harvest"))
    }
}

/// Returns the number of a directory, of a link its own.
pub(crate) fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}
