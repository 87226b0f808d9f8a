//! Stop of everything that runs of an agent: its jobs, then what outlives them in the sandbox.

use std::time::Duration;

use crate::domain::ids::AgentId;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::{ProcessError, StopReceipt};

impl Orchestrator {
    /// Stops every job of an agent, then what its sandbox keeps running. Errors while anything may be left. Idempotent.
    pub(crate) async fn stop_jobs(
        &self,
        agent: AgentId,
        grace: Duration,
    ) -> Result<StopReceipt, ProcessError> {
        let receipt = self.ports.processes.stop(agent, grace).await?;
        match self.stop_sandbox(agent).await {
            None => Ok(receipt),
            Some(container) => Err(ProcessError::ContainerLeft { agent, container }),
        }
    }

    /// Stops what an agent's sandbox keeps running; returns the container that is left, or why it is not known that none is.
    /// Idempotent.
    pub(crate) async fn stop_sandbox(&self, agent: AgentId) -> Option<String> {
        tokio::select! {
            stopped = self.ports.sandbox.stop(agent) => match stopped {
                Ok(stopped) => stopped.container,
                Err(e) => Some(format!("unknown: {e}")),
            },
            () = self.clocks.sleep(limits::SANDBOX_STOP) => {
                Some(format!("unknown: the sandbox did not answer within {} s", limits::SANDBOX_STOP.as_secs()))
            }
        }
    }
}
