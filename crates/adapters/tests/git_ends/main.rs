//! How things of git end: an agent's tree, what is kept of it and how it comes back, pushes whose lease is over, and the
//! locks that killed gits leave in trees and in the store.

#[path = "../git_world/mod.rs"]
mod git_world;

mod beside;
mod filters;
mod fuse;
mod ignored;
mod in_tree;
mod judging;
mod locks;
mod many_refs;
mod old_base;
mod replaced;
mod salvage;
mod submodules;

use git_world::World;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::repositories::{Repositories, RestoreRequest, Restored, TreeRequest};

impl World {
    /// Runs a salvage as the shim would and receives it.
    async fn salvage(&self, request: &TreeRequest) -> Result<Option<Salvaged>, Failure> {
        let job = self.git.salvage(request).await.expect("a salvage can be prepared");
        self.run_job(request, &job);
        self.git.receive_salvage(request, &job.outbox).await
    }

    /// Brings back what was salvaged, or what was received before.
    async fn restore(
        &self,
        request: &TreeRequest,
        salvage: Option<Salvaged>,
        head: Option<CommitId>,
    ) -> Option<Restored> {
        self.try_restore(request, salvage, head).await.expect("it can be restored")
    }

    async fn try_restore(
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
