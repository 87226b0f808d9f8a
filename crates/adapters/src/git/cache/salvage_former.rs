//! Former salvages of an agent: a later salvage replaces the one before it only when it holds the same. Otherwise the former
//! one stays under a name of its own, from which it is restored as a branch.

use mosaic_core::domain::ids::CommitId;
use mosaic_core::ports::repositories::TreeRequest;

use super::salvage::Salvage;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, ref_files, ref_names};

impl GitRepositories {
    /// Keeps what the agent's salvage ref points to, which is about to become this commit.
    pub(crate) async fn keep_former(&self, request: &TreeRequest, newest: &CommitId) -> Result<(), GitError> {
        let dir = self.layout.bare_repository(&request.repository);
        let Some(former) = ref_files::read_ref(&dir, &ref_names::salvage(request.agent)) else {
            return Ok(());
        };
        // A server that restarts several times salvages the same tree each time; equal ones would pile up until the agent is
        // removed.
        if former == *newest || self.same(&dir, &former, newest).await.unwrap_or(false) {
            return Ok(());
        }
        let name = format!("{}/{}", ref_names::former_salvages(request.agent), former.short());
        self.write_ref(&dir, &name, &former)
            .await
            .map_err(|e| errors::io("keeping the agent's former tree", e))
    }

    /// Tells whether two salvages hold the same tree, index, commits and description; only their time differs.
    async fn same(&self, dir: &std::path::Path, one: &CommitId, other: &CommitId) -> Result<bool, GitError> {
        let (one, other) =
            (self.read_salvage(dir, one.clone()).await?, self.read_salvage(dir, other.clone()).await?);
        if one.without_index() != other.without_index() {
            return Ok(false);
        }
        let trees = |salvage: &Salvage| {
            let index = salvage.index().unwrap_or_else(|| salvage.commit.clone());
            [&salvage.commit, &index].map(|commit| format!("{commit}^{{tree}}"))
        };
        let call = self.git.local(dir).args(["rev-parse"]).args(trees(&one)).args(trees(&other));
        let text = call.run(Input::Nothing, 4096).await?.success("comparing what was salvaged")?.text();
        let ids: Vec<&str> = text.lines().collect();
        Ok(matches!(ids.as_slice(), [tree, index, a, b] if tree == a && index == b))
    }
}
