//! Stop of everything that runs of an agent: its jobs, then what outlives them in the sandbox.

use std::time::Duration;

use crate::domain::ids::AgentId;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::{ProcessError, StopReceipt};

impl Orchestrator {
    /// Stops every job of an agent, then what its sandbox keeps running. The receipt names a container that is left.
    /// Idempotent.
    pub(crate) async fn stop_jobs(
        &self,
        agent: AgentId,
        grace: Duration,
    ) -> Result<StopReceipt, ProcessError> {
        let mut receipt = self.ports.processes.stop(agent, grace).await?;
        receipt.container = self.ports.sandbox.stop(agent).await?.container;
        Ok(receipt)
    }
}
