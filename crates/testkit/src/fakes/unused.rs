//! Ports that a test never reaches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::{Gatekeeper, JudgeRequest, PlanRequest};
use mosaic_core::ports::processes::{Adopted, Job, JobSpec, ProcessError, Processes, StopReceipt, Usage};
use mosaic_core::ports::runtime::{Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, Runtime};
use mosaic_core::ports::sandbox::{Confinement, Sandbox};

/// Failure of a port that is not part of the test.
pub(super) fn unused() -> Failure {
    Failure::new(FailureKind::Internal, "not part of this test")
}

/// Ports that a test never reaches: they answer as little as they can.
pub struct Unused;

#[async_trait]
impl Sandbox for Unused {
    fn name(&self) -> &'static str {
        "none"
    }
    async fn confine(&self, _: AgentId) -> Result<Confinement, Failure> {
        Err(unused())
    }
    async fn staging(&self, _: AgentId) -> Result<PathBuf, Failure> {
        Err(unused())
    }
    async fn place(&self, _: AgentId, _: &Path, _: &str) -> Result<(), Failure> {
        Err(unused())
    }
    async fn release(&self, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
}

#[async_trait]
impl Processes for Unused {
    async fn start(&self, _: JobSpec) -> Result<Box<dyn Job>, ProcessError> {
        Err(ProcessError::Lost("no processes here".to_owned()))
    }
    async fn adopt(&self, _: AgentId, _: &Word) -> Result<Option<Adopted>, ProcessError> {
        Ok(None)
    }
    async fn stop(&self, _: AgentId, _: Duration) -> Result<StopReceipt, ProcessError> {
        Ok(StopReceipt::default())
    }
    async fn usage(&self, _: AgentId) -> Result<Usage, ProcessError> {
        Ok(Usage::default())
    }
    async fn unfinished(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
    async fn forget(&self, _: AgentId) -> Result<(), ProcessError> {
        Ok(())
    }
    async fn grouped(&self) -> Result<Vec<AgentId>, ProcessError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Runtime for Unused {
    fn name(&self) -> &'static str {
        "demo"
    }
    async fn probe(&self) -> Result<Probe, String> {
        Err("no runtime here".to_owned())
    }
    async fn plan(&self, _: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        Err(unused())
    }
    fn dialogue(&self, _: &Opening) -> Box<dyn Dialogue> {
        unreachable!("nothing is launched here")
    }
}

#[async_trait]
impl Gatekeeper for Unused {
    async fn plan(&self, _: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        Err(unused())
    }
    async fn judge(&self, _: JudgeRequest) -> Result<GateReport, Failure> {
        Err(unused())
    }
}
