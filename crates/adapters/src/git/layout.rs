//! Where things lie on disk below the data directory.

use std::path::PathBuf;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::repository::RepositoryUrl;
use sha2::{Digest, Sha256};

/// Name of a tree's git directory where it is kept beside the tree.
pub(super) const TREE_GIT: &str = "tree.git";

/// Paths below the data directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) data: PathBuf,
}

impl Layout {
    /// The bare repository of a remote; its name is a digest, so no part of the URL meets the file system.
    pub(super) fn bare_repository(&self, url: &RepositoryUrl) -> PathBuf {
        let digest = Sha256::digest(url.as_str().trim_end_matches('/').as_bytes());
        let name: String = base16ct::lower::encode_string(&digest[..16]);
        self.data.join("repos").join(name + ".git")
    }

    pub(super) fn agent(&self, agent: AgentId) -> PathBuf {
        self.data.join("agents").join(agent.to_string())
    }

    pub(super) fn tree(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).join("tree")
    }

    /// The marker that says that the tree is whole; beside the tree, so that its content cannot forge it.
    pub(super) fn marker(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).join("tree.json")
    }

    /// The copy of the index as it was when the tree was made.
    pub(super) fn checked_out(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).join("tree.index")
    }

    /// The tags that the tree's git directory was made with.
    pub(super) fn given_tags(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).join("tree.tags")
    }

    /// A git directory that does not exist: for calls that need none.
    pub(super) fn nowhere(&self) -> PathBuf {
        self.data.join("git/home/none")
    }

    /// The directory of everything that is kept beside the trees of ended agents.
    pub(super) fn all_beside(&self) -> PathBuf {
        self.data.join("beside")
    }

    /// The directory of one ended agent's leftovers that no commit and no salvage holds.
    pub(super) fn beside(&self, agent: AgentId) -> PathBuf {
        self.all_beside().join(agent.to_string())
    }

    /// The git directory of an agent's tree where it is kept: under its own name git would obey it.
    pub(super) fn git_dir_beside(&self, agent: AgentId) -> PathBuf {
        self.beside(agent).join(TREE_GIT)
    }
}
