//! The wall between the server and an agent's confinement, as data: the instructions that go in, the names of the files
//! that come out, and the report beside the bundle. Whatever comes out is as untrusted as the agent: the types here say its
//! shape and nothing about its truth.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) mod salvage_state;

/// The subject of the commit that holds what an agent left uncommitted.
pub(crate) const SUBJECT: &str = "Mosaic: work left uncommitted";

/// The file that says how the harvest went; small, and as untrusted as the agent.
pub(crate) const REPORT: &str = "harvest.json";

/// The bundle's file.
pub(crate) const BUNDLE: &str = "bundle";

/// The bundle of a tree of which the harvest's own bundle does not hold everything. When it could not be made, it is
/// a file with the reason, which is no bundle: the server then keeps the tree.
pub(crate) const ASIDE: &str = "aside-bundle";

/// Instructions for the harvest, in a file outside the tree.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) tree: PathBuf,
    pub(crate) outbox: PathBuf,
    /// The number of the tree's directory, when it was noted: another one in its place is not looked at.
    #[serde(default)]
    pub(crate) inode: Option<u64>,
    /// The bare repository's object directory.
    pub(crate) shared: PathBuf,
    pub(crate) base: String,
    /// The branch that was made for the agent.
    pub(crate) branch: String,
    /// The server's copy of the index as it was when the tree was made, after a line with the commit.
    pub(crate) checked_out: PathBuf,
    /// The server's copy of the tags that the tree was made with, as lines of packed refs: as long as they stay so, they are
    /// not the agent's work.
    #[serde(default)]
    pub(crate) given_tags: PathBuf,
    /// Paths in the tree that its setup made: no work of the agent's, as long as it does not commit them itself.
    #[serde(default)]
    pub(crate) outputs: Vec<PathBuf>,
    pub(crate) trailers: [String; 2],
    pub(crate) author: (String, String),
    /// The git program and the `PATH` that it gets: the server's, not the agent's.
    pub(crate) git: PathBuf,
    pub(crate) path: String,
    pub(crate) purpose: Purpose,
    /// Some tree of the base has a name twice, so that none is taken over as it is.
    #[serde(default)]
    pub(crate) rewrite: bool,
}

/// The purpose of the harvest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Purpose {
    /// Commit what is left over on HEAD and bundle HEAD.
    Commit,
    /// Bundle the tree as it is, see `salvage`.
    Salvage,
    /// The same commit and bundle as for [`Purpose::Commit`] while the agent's program runs; nothing beside it is kept.
    Snapshot,
}

/// The outcome of a harvest, and a report on everything else that is in the tree.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Harvested {
    #[serde(flatten)]
    pub(crate) report: Report,
    #[serde(default)]
    pub(crate) left: LeftReport,
}

/// The outcome of a harvest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub(crate) enum Report {
    /// HEAD is the base.
    Nothing,
    /// HEAD is an ancestor of the base: commits were removed, none added.
    Behind,
    /// A bundle was written.
    Bundled,
    /// It went wrong.
    Failed {
        /// The message of the failure.
        message: String,
    },
}

/// The same for the report, which is small.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeftReport {
    /// The first ones: path and reason.
    pub(crate) named: Vec<(String, String)>,
    /// Number of further ones.
    pub(crate) more: u64,
    /// Some are kept nowhere but in the tree.
    pub(crate) only_there: bool,
    /// Some are in the index only.
    pub(crate) staged: bool,
    /// Repositories in the tree that the base does not know, the first ones.
    pub(crate) repositories: Vec<String>,
    /// The tree's own git directory could not be read, and is to be kept as it is.
    pub(crate) git_dir: bool,
    /// Further warnings.
    pub(crate) notes: Vec<String>,
}
