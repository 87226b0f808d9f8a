//! Requests of the caretaker to the orchestrator: the steps of an agent's own end and of a removal, done once more. They need
//! what a task needs, a place in the sandbox, jobs and the scanner among it, which the caretaker itself does not have.

use async_trait::async_trait;

use crate::cleanup_error::CleanupError;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::AgentId;
use crate::ports::processes::ProcessError;
use crate::ports::repositories::TreeRequest;
use crate::ports::store::StoreError;
use crate::removal::prune::{PruneError, PruneRequest, Pruned};

/// Repairs of what crashes leave. Each is idempotent: a pass that was broken off asks for it again.
#[async_trait]
pub(crate) trait Repairs: Send + Sync {
    /// Releases what an ended agent still has on this machine, once its work is kept.
    async fn clean_up(&self, agent: AgentId);

    /// Stops everything that runs of an agent. Errors while anything may be left.
    async fn stop_jobs(&self, agent: AgentId) -> Result<(), ProcessError>;

    /// Keeps what is in a tree without a record in the server's bare repository; says what it was.
    async fn keep_stray(&self, tree: TreeRequest) -> Result<String, CleanupError>;

    /// Deletes what an agent whose record is gone still has besides refs; returns the bytes that were freed.
    async fn delete_leftovers(&self, agent: AgentId) -> Result<u64, CleanupError>;

    /// Reports what this node keeps of an agent that another node has now.
    async fn report_work(&self, agent: AgentId) -> Result<(), CleanupError>;

    /// Asks the remote how the push of an agent that has ended came out, and writes that down.
    async fn learn_of_push(&self, agent: AgentId) -> Result<(), StoreError>;

    /// Removes agents that ended long ago, one page of them.
    async fn prune(&self, request: &PruneRequest) -> Result<Pruned, PruneError>;

    /// Records an audit entry of what has happened already; never waits.
    fn note(&self, entry: AuditEntry);
}
