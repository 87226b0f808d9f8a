//! A salvage that was received: its commit, its parents and the description of the tree, read back.

use std::path::Path;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::limits;

use crate::git::bundle_spec::salvage_state::{STATE_FILE, STATE_LINE, State};
use crate::git::command::Input;
use crate::git::errors;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;

/// A salvage commit, its parents and its description.
pub(crate) struct Salvage {
    pub(crate) commit: CommitId,
    pub(crate) parents: Vec<String>,
    /// The commit of the description, and the description.
    pub(crate) described: Option<(String, State)>,
}

impl Salvage {
    /// A commit that the description names, when it is one of the salvage's own parents.
    pub(crate) fn parent(&self, named: &str) -> Option<CommitId> {
        self.parents.iter().find(|parent| *parent == named)?.parse().ok()
    }

    pub(crate) fn head(&self) -> Option<CommitId> {
        match &self.described {
            Some((_, state)) => self.parent(state.head.as_deref()?),
            // The file walker's commit stands on the base.
            None => self.parents.first()?.parse().ok(),
        }
    }

    /// The description but for the commit of the index, which is another one every time.
    pub(crate) fn without_index(&self) -> Option<State> {
        let (_, state) = self.described.as_ref()?;
        Some(State { index: None, ..state.clone() })
    }

    /// Lists branches and heads whose commits are kept with it, by name.
    pub(crate) fn tips(&self) -> Vec<(String, CommitId)> {
        let branches = self.described.iter().flat_map(|(_, state)| &state.branches);
        branches.filter_map(|tip| Some((errors::plain(&tip.name), self.parent(&tip.commit)?))).collect()
    }

    /// Tells whether a rebase was under way in the tree.
    pub(crate) fn is_rebasing(&self) -> bool {
        self.described.as_ref().is_some_and(|(_, state)| state.under_way.iter().any(|what| what == "rebase"))
    }

    /// Returns the commit of an index with content that is nowhere else.
    pub(crate) fn staged(&self) -> Option<CommitId> {
        self.index().filter(|_| self.described.as_ref().is_some_and(|(_, state)| state.staged))
    }

    pub(crate) fn index(&self) -> Option<CommitId> {
        self.described.as_ref().and_then(|(_, state)| self.parent(state.index.as_deref()?))
    }
}

impl GitRepositories {
    pub(crate) async fn read_salvage(&self, bare: &Path, commit: CommitId) -> Result<Salvage, GitError> {
        let call = self.git.local(bare).args(["cat-file", "commit", commit.as_str()]);
        let done =
            call.run(Input::Nothing, limits::BODY_BYTES).await?.success("reading what was salvaged")?;
        let text = done.text();
        let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
        let parents: Vec<String> =
            head.lines().filter_map(|l| l.strip_prefix("parent ")).map(str::to_owned).collect();
        let named = message.lines().find_map(|line| line.strip_prefix(STATE_LINE));
        let described = match named.filter(|id| parents.iter().any(|parent| parent == id)) {
            Some(id) => Some((id.to_owned(), self.read_state(bare, id).await?)),
            None => None,
        };
        Ok(Salvage { commit, parents, described })
    }

    /// Tells whether a commit is another one or in its history.
    pub(crate) async fn is_part(&self, bare: &Path, one: &CommitId, of: &CommitId) -> Result<bool, GitError> {
        if one == of {
            return Ok(true);
        }
        let args = ["merge-base", "--is-ancestor", one.as_str(), of.as_str()];
        let done = self.git.local(bare).args(args).run(Input::Nothing, 0).await?;
        Ok(done.status.success())
    }

    async fn read_state(&self, bare: &Path, commit: &str) -> Result<State, GitError> {
        let file = format!("{commit}:{STATE_FILE}");
        let call = self.git.local(bare).args(["cat-file", "blob", &file]);
        let done = call.run(Input::Nothing, limits::SALVAGE_STATE_BYTES).await?;
        let done = done.success("reading the description of a salvaged tree")?;
        serde_json::from_slice(&done.stdout).map_err(|e| {
            let why = format!("the description of a salvaged tree cannot be read: {e}");
            GitError::refused(FailureKind::BadInput, why)
        })
    }
}
