//! Stop of everything that runs of an agent: its jobs, then what outlives them in the sandbox.

use std::time::Duration;

use crate::domain::ids::AgentId;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::processes::{ProcessError, StopReceipt};

impl Orchestrator {
    /// Stops every job of an agent, then what its sandbox keeps running. The receipt names a container that is left, or says
    /// that none is known to be gone: a sandbox that hangs or fails takes nothing from what was verified of the jobs.
    /// Idempotent.
    pub(crate) async fn stop_jobs(
        &self,
        agent: AgentId,
        grace: Duration,
    ) -> Result<StopReceipt, ProcessError> {
        let mut receipt = self.ports.processes.stop(agent, grace).await?;
        receipt.container = tokio::select! {
            stopped = self.ports.sandbox.stop(agent) => match stopped {
                Ok(stopped) => stopped.container,
                Err(e) => Some(format!("unknown: {e}")),
            },
            () = self.clocks.sleep(limits::SANDBOX_STOP) => {
                Some(format!("unknown: the sandbox did not answer within {} s", limits::SANDBOX_STOP.as_secs()))
            }
        };
        Ok(receipt)
    }
}
