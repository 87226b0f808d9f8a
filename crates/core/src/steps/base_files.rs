//! The files of a base commit, read from the server's bare repository for the gate plan.

use std::sync::Arc;

use async_trait::async_trait;

use super::context::StepContext;
use crate::domain::ids::CommitId;
use crate::domain::outcome::Failure;
use crate::domain::repository::RepositoryUrl;
use crate::limits;
use crate::ports::gatekeeper::BaseFiles;
use crate::ports::repositories::Commits;

/// The files of one commit.
pub(crate) struct CommitFiles {
    commits: Arc<dyn Commits>,
    repository: RepositoryUrl,
    commit: CommitId,
}

impl CommitFiles {
    /// Returns the files of the agent's base commit.
    pub(super) fn of(context: &StepContext<'_>, base: &CommitId) -> Arc<dyn BaseFiles> {
        let commits = Arc::clone(&context.orchestrator.ports.commits);
        Self::at(commits, context.agent.spec.context.repository.clone(), base.clone())
    }

    /// Returns the files of a commit.
    pub(crate) fn at(
        commits: Arc<dyn Commits>,
        repository: RepositoryUrl,
        commit: CommitId,
    ) -> Arc<dyn BaseFiles> {
        Arc::new(Self { commits, repository, commit })
    }
}

#[async_trait]
impl BaseFiles for CommitFiles {
    async fn paths(&self) -> Result<Vec<String>, Failure> {
        self.commits.list_files(&self.repository, &self.commit, "").await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.commits.read_file(&self.repository, &self.commit, path, limits::GATE_CONFIG_BYTES + 1).await
    }
}
