//! Tips of agents' branches on the remote that no attempt on record pushed: they are kept before a push replaces them.

use std::path::Path;

use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;

use super::fetch::Tags;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, ref_names};

impl GitRepositories {
    pub(crate) async fn keep_remote_tip_now(
        &self,
        url: &RepositoryUrl,
        branch: &BranchName,
        tip: &CommitId,
        agent: AgentId,
    ) -> Result<KeptRef, GitError> {
        let dir = self.layout.bare_repository(url);
        // What is found there stays until the ref is written: nothing is repacked meanwhile.
        let lock = self.repository_lock(&dir);
        let _alone = lock.lock().await;
        if !self.has_whole(&dir, tip).await? {
            let view = self.view(&dir).map_err(|e| errors::io("fetching the agent's branch", e))?;
            let refspec = format!("refs/heads/{branch}");
            let done = self.fetch_refspec(url, &dir, &view, &refspec, Tags::None).await?;
            if !done.status.success() {
                return Err(errors::remote("fetching the agent's branch", url, done.status, &done.stderr));
            }
            if !self.has_whole(&dir, tip).await? {
                let why =
                    format!("{branch} was moved on the remote while its tip {} was fetched", tip.short());
                return Err(GitError::refused(FailureKind::Network, why));
            }
        }
        let reference = format!("{}/{}", ref_names::replaced_tips(agent), tip);
        self.write_ref(&dir, &reference, tip)
            .await
            .map_err(|e| errors::io("keeping the agent's branch", e))?;
        Ok(KeptRef { reference, commit: tip.clone() })
    }

    /// Tells whether the bare repository has a commit with everything that it reaches and no fetched branch does. A commit alone may be
    /// what a broken-off fetch left.
    async fn has_whole(&self, dir: &Path, commit: &CommitId) -> Result<bool, GitError> {
        let call = self.git.local(dir).args(["rev-list", "--objects", "--quiet", commit.as_str()]);
        Ok(call.args(["--not", "--branches"]).run(Input::Nothing, 0).await?.status.success())
    }
}
