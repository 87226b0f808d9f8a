//! Restore: an ended agent's work comes back as a repository of its own, for a person to go on with. Nothing of what
//! is kept is changed by it, so it can be done as often as wanted.

use serde_json::json;
use thiserror::Error;

use crate::domain::agent::Agent;
use crate::domain::ids::AgentId;
use crate::domain::lifecycle::fact;
use crate::domain::outcome::Failure;
use crate::life::unwind::CleanUp;
use crate::orchestrator::Orchestrator;
use crate::ports::repositories::{RestoreRequest, Restored};
use crate::ports::store::StoreError;

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The agent has not ended.
    #[error("agent {0} has not ended yet, so its work is still in its own tree")]
    StillActive(AgentId),
    /// Nothing of it is kept.
    #[error("agent {0} left nothing that could be restored: it ended before it changed anything")]
    Nothing(AgentId),
    /// Its work could not be brought into the store yet.
    #[error("the work of agent {agent} is not in the repository store yet: {why}")]
    Pending {
        /// The agent.
        agent: AgentId,
        /// What stands in the way, and where the work is.
        why: String,
    },
    /// There is no room for it.
    #[error("{0}")]
    DiskLow(String),
    /// Git could not do it.
    #[error("{}", .0.message)]
    Git(Failure),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Orchestrator {
    /// Brings the work of an ended agent back: its branch at its HEAD, index and working tree as they were.
    pub async fn restore(&self, id: AgentId) -> Result<Restored, RestoreError> {
        let mut agent = self.ports.store.get(id).await?.agent;
        if !agent.is_terminal() {
            return Err(RestoreError::StillActive(id));
        }
        self.disk_room().await.map_err(RestoreError::DiskLow)?;
        if agent.work.dirty {
            match self.clean_up_again(id).await? {
                CleanUp::Active => return Err(RestoreError::StillActive(id)),
                CleanUp::Done | CleanUp::Pending(_) => agent = self.ports.store.get(id).await?.agent,
            }
            if let (true, Some(why)) = (agent.work.dirty, agent.work.cleanup_pending.clone()) {
                return Err(RestoreError::Pending { agent: id, why });
            }
        }
        let request = request(&agent).ok_or(RestoreError::Nothing(id))?;
        let restored = self.ports.repositories.restore(&request).await.map_err(RestoreError::Git)?;
        let restored = restored.ok_or(RestoreError::Nothing(id))?;
        let salvage = restored.salvage.as_ref().map(|saved| &saved.commit);
        let data = json!({"path": &restored.path, "head": &restored.head, "salvage": salvage});
        self.ports.store.log(vec![fact("git.restored", &agent, self.now(), data)]).await?;
        Ok(restored)
    }
}

/// `None` for an agent that never had a tree.
fn request(agent: &Agent) -> Option<RestoreRequest> {
    let context = &agent.spec.context;
    Some(RestoreRequest {
        agent: agent.id,
        name: agent.name.clone(),
        repository: context.repository.clone(),
        base_branch: context.branch.clone(),
        base: agent.work.base.clone()?,
        branch: agent.branch.clone(),
        head: agent.work.kept.clone(),
        salvage: agent.work.salvage.clone(),
    })
}
