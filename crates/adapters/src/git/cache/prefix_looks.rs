//! Memory of the looks at remotes for branches that stand in the way of a prefix of agents' branches.

use std::path::PathBuf;
use std::time::Instant;

/// Newest look at a remote that had no branch in the way of a prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrefixLook {
    pub(crate) at: Instant,
    /// Branches that the remote listed, as all below the prefix come along in the answer.
    pub(crate) listed: usize,
}

/// A bare repository, and the lowest part of a prefix.
pub(crate) type PrefixOf = (PathBuf, String);
