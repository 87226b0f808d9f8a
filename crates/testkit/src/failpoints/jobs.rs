//! Failpoints around processes and each of their jobs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::ports::processes::{
    Adopted, Job, JobEvent, JobSpec, ProcessError, Processes, StopReceipt, Usage,
};

use super::plan::Plan;
pub(super) use super::wrap::Breakable;
use super::wrap::wrap;

wrap! { Processes as "processes" {
    own ["processes.start", "processes.adopt", "job.next", "job.write", "job.close_stdin"] {
        async fn start(&self, spec: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
            let job = self.plan.ask("processes.start", false, || self.inner.start(spec.clone())).await?;
            Ok(Box::new(BreakableJob { plan: Arc::clone(&self.plan), inner: job }))
        }

        async fn adopt(&self, agent: AgentId, name: &Word) -> Result<Option<Adopted>, ProcessError> {
            let adopted = self.plan.ask("processes.adopt", true, || self.inner.adopt(agent, name)).await?;
            Ok(adopted.map(|adopted| {
                let job = Box::new(BreakableJob { plan: Arc::clone(&self.plan), inner: adopted.job });
                Adopted { job, ..adopted }
            }))
        }
    }
    last stop(agent: AgentId, grace: Duration) -> Result<StopReceipt, ProcessError>;
    last freeze(agent: AgentId) -> Result<u32, ProcessError>;
    last thaw(agent: AgentId) -> Result<u32, ProcessError>;
    last frozen_for(agent: AgentId) -> Result<Option<Duration>, ProcessError>;
    last extend(agent: AgentId, until: Option<Duration>) -> Result<(), ProcessError>;
    last usage(agent: AgentId) -> Result<Usage, ProcessError>;
    last unfinished() -> Result<Vec<AgentId>, ProcessError>;
    last grouped() -> Result<Vec<AgentId>, ProcessError>;
    last forget(agent: AgentId) -> Result<(), ProcessError>;
} }

/// A job with failpoints around it. What it does to its job happens once: its bytes are in order, and none comes twice.
struct BreakableJob {
    plan: Arc<Plan>,
    inner: Box<dyn Job>,
}

#[async_trait]
impl Job for BreakableJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        self.plan.ask_once("job.next", self.inner.next()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError> {
        self.plan.ask_once("job.write", self.inner.write(bytes)).await
    }

    async fn answer(&mut self, line_end: u64, bytes: &[u8]) -> Result<(), ProcessError> {
        self.plan.ask_once("job.write", self.inner.answer(line_end, bytes)).await
    }

    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        self.plan.ask_once("job.close_stdin", self.inner.close_stdin()).await
    }
}
