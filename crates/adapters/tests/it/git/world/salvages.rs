//! Salvages and what is brought back from them.

use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::repositories::{Intake, KeptWork, RestoreRequest, Restored, TreeRequest};

use super::World;

impl World {
    /// Runs a salvage as the shim would and receives it.
    pub(crate) async fn salvage(&self, request: &TreeRequest) -> Result<Option<Salvaged>, Failure> {
        let job = self.git.salvage(request).await.expect("a salvage can be prepared");
        self.run_job(request, &job);
        self.git.receive_salvage(request, &job.outbox).await
    }

    /// Brings back what was salvaged, or what was received before.
    pub(crate) async fn restore(
        &self,
        request: &TreeRequest,
        salvage: Option<Salvaged>,
        head: Option<CommitId>,
    ) -> Option<Restored> {
        self.try_restore(request, salvage, head).await.expect("it can be restored")
    }

    pub(crate) async fn try_restore(
        &self,
        request: &TreeRequest,
        salvage: Option<Salvaged>,
        head: Option<CommitId>,
    ) -> Result<Option<Restored>, Failure> {
        let wanted = RestoreRequest {
            agent: request.agent,
            name: "task-0e31".to_owned(),
            repository: request.repository.clone(),
            base_branch: request.base_branch.clone(),
            base: request.base.clone(),
            branch: request.branch.clone(),
            head,
            salvage,
        };
        self.git.restore(&wanted).await
    }
}
