//! The commits of a check: found in the bare repository, taken from the bundle that came with it, or their base fetched.

use super::{Check, CheckError, Coordinator};
use crate::domain::ids::{AgentId, CommitId};
use crate::domain::outcome::FailureKind;
use crate::ports::repositories::JudgingRequest;

/// Branch that is named where the caller names none: only the checkout's `origin/…` carries it.
const UNNAMED: &str = "main";

impl Coordinator {
    /// Returns what is checked out for a check.
    pub(super) fn judging(check: &Check, agent: AgentId) -> JudgingRequest {
        let unnamed = || UNNAMED.parse().expect("it is a branch name");
        JudgingRequest {
            agent,
            repository: check.repository.clone(),
            base_branch: check.base_branch.clone().unwrap_or_else(unnamed),
            base: check.base.clone(),
            commit: check.commit.clone(),
            label: "check".to_owned(),
        }
    }

    /// Makes sure that commit and base are in the bare repository.
    pub(super) async fn bring(&self, check: &Check, agent: AgentId) -> Result<(), CheckError> {
        let ports = self.orchestrator.ports();
        // A bundle that is not there any more was used by this check before, or must be sent again, which is found out below.
        if let Some(name) = &check.bundle
            && let Some(directory) = self.bundles.find(name).await
        {
            if !self.has(check, &check.base).await {
                // Fetched for a bundle that stands on the base; one that holds everything needs no access.
                self.fetch(check).await;
            }
            ports.intake.receive_for_judging(&Self::judging(check, agent), &directory).await?;
            return Ok(());
        }
        let mut has_base = self.has(check, &check.base).await;
        if !has_base {
            self.fetch(check).await;
            has_base = self.has(check, &check.base).await;
        }
        if !has_base || !self.has(check, &check.commit).await {
            return Err(CheckError::NeedsBundle { whole: !has_base });
        }
        Ok(())
    }

    async fn has(&self, check: &Check, commit: &CommitId) -> bool {
        self.orchestrator.ports().commits.list_files(&check.repository, commit, "").await.is_ok()
    }

    /// Fetches the base branch where policy and network allow it. That it cannot be fetched is no error: the commits then come in a
    /// bundle.
    async fn fetch(&self, check: &Check) {
        let Some(base_branch) = &check.base_branch else { return };
        let publisher = &self.orchestrator.ports().publisher;
        if publisher.allowed(&check.repository).is_err() {
            return;
        }
        if let Err(e) = publisher.fetch(&check.repository, base_branch, &check.branch).await
            && e.kind != FailureKind::MissingBranch
        {
            tracing::info!(task.id = %check.task, error = %e.message, "the repository could not be fetched; the commit must come in a bundle");
        }
    }
}
