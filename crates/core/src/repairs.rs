//! The orchestrator's side of its caretaker: the repairs that it asks for, and what other parts ask of it.

use async_trait::async_trait;

use crate::caretaker::repairs::Repairs;
use crate::caretaker::{Rounds, moved_agents, round};
use crate::cleanup_error::CleanupError;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::AgentId;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::ProcessError;
use crate::ports::repositories::TreeRequest;
use crate::ports::store::StoreError;
use crate::removal::prune::{PruneError, PruneRequest, Pruned};
use crate::steps::stray;

#[async_trait]
impl Repairs for Orchestrator {
    async fn clean_up(&self, agent: AgentId) {
        self.clean_up(agent).await;
    }

    async fn stop_jobs(&self, agent: AgentId) -> Result<(), ProcessError> {
        self.stop_jobs(agent, std::time::Duration::ZERO).await.map(drop)
    }

    async fn keep_stray(&self, tree: TreeRequest) -> Result<String, CleanupError> {
        let kept = stray::keep_stray(self, tree).await;
        kept.map_err(|e| CleanupError::Git(self.ports.scanner.mask(&e.message)))
    }

    async fn delete_leftovers(&self, agent: AgentId) -> Result<u64, CleanupError> {
        self.delete_leftovers(agent).await
    }

    async fn report_work(&self, agent: AgentId) -> Result<(), CleanupError> {
        self.report_work(agent).await
    }

    async fn learn_of_push(&self, agent: AgentId) -> Result<(), StoreError> {
        self.learn_of_push(agent).await.map(drop)
    }

    async fn prune(&self, request: &PruneRequest) -> Result<Pruned, PruneError> {
        self.prune(request).await
    }

    fn note(&self, entry: AuditEntry) {
        self.audit_soon(entry);
    }
}

impl Orchestrator {
    /// Does one round of the caretaker, now; see [`round`].
    pub async fn care_round(&self, rounds: &mut Rounds) {
        round(&self.caretaker, self, rounds).await;
    }

    /// Keeps what an agent left here that another node has now; see [`moved_agents::keep`].
    pub(crate) async fn keep_moved(&self, agent: AgentId, is_driven: impl Fn() -> bool + Send) -> bool {
        moved_agents::keep(&self.caretaker, self, agent, is_driven).await
    }

    /// The same for who knows that nobody else does; see [`moved_agents::keep_now`].
    pub(crate) async fn keep_moved_now(&self, agent: AgentId) -> Result<(), CleanupError> {
        moved_agents::keep_now(&self.caretaker, self, agent).await
    }
}
