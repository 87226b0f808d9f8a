//! Ports that a test never reaches.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::{
    CommitForm, CommitSource, Gatekeeper, JudgeRequest, PlanRequest, PrepareRequest, Prepared,
};
use mosaic_core::ports::processes::{Adopted, Job, JobSpec, ProcessError, Processes, StopReceipt, Usage};
use mosaic_core::ports::runtime::{
    Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, ProbeError, Runtime, RuntimeCapabilities,
};
use mosaic_core::ports::sandbox::{
    Capabilities, Command, Policy, Probe as SandboxProbe, Purpose, Sandbox, SandboxError, SandboxHandle,
    Stopped,
};

/// Failure of a port that is not part of the test.
pub(super) fn unused() -> Failure {
    Failure::new(FailureKind::Internal, "not part of this test")
}

/// Ports that a test never reaches: they answer as little as they can.
pub struct Unused;

fn unused_sandbox() -> SandboxError {
    SandboxError::Unavailable { sandbox: "none", why: "not part of this test".to_owned() }
}

#[async_trait]
impl Sandbox for Unused {
    fn name(&self) -> &'static str {
        "none"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn probe(&self) -> Result<SandboxProbe, SandboxError> {
        Err(unused_sandbox())
    }
    async fn prepare(&self, _: AgentId, _: Purpose, _: &Policy) -> Result<SandboxHandle, SandboxError> {
        Err(unused_sandbox())
    }
    fn command(&self, _: &SandboxHandle, command: Command) -> Command {
        command
    }
    async fn discard(&self, _: &SandboxHandle) -> Result<(), SandboxError> {
        Ok(())
    }
    async fn staging(&self, _: AgentId) -> Result<PathBuf, SandboxError> {
        Err(unused_sandbox())
    }
    async fn place(&self, _: AgentId, _: &Path, _: &str) -> Result<(), SandboxError> {
        Err(unused_sandbox())
    }
    async fn stop(&self, _: AgentId) -> Result<Stopped, SandboxError> {
        Ok(Stopped::default())
    }
    async fn leftovers(&self) -> Result<Vec<AgentId>, SandboxError> {
        Ok(Vec::new())
    }
    async fn release(&self, _: AgentId) -> Result<(), SandboxError> {
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

    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities {
            reports_cost: true,
            resumes: false,
            takes_messages: false,
            skills_directory: Some(".claude/skills"),
            instruction_files: &["AGENTS.md", "CLAUDE.md"],
            native_names: &[],
        }
    }
    async fn probe(&self) -> Result<Probe, ProbeError> {
        Err(ProbeError::new("no runtime here"))
    }
    async fn plan(&self, _: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        Err(unused())
    }
    fn dialogue(&self, _: &Opening) -> Box<dyn Dialogue> {
        unreachable!("nothing is launched here")
    }
}

/// A runtime that a test never reaches, and that reports no cost.
pub struct UnusedWithoutCost;

#[async_trait]
impl Runtime for UnusedWithoutCost {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities {
            reports_cost: false,
            resumes: false,
            takes_messages: false,
            skills_directory: Some(".claude/skills"),
            instruction_files: &["AGENTS.md", "CLAUDE.md"],
            native_names: &[],
        }
    }
    async fn probe(&self) -> Result<Probe, ProbeError> {
        Err(ProbeError::new("no runtime here"))
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
    fn reads(&self) -> CommitForm {
        CommitForm::Checkout
    }
    async fn plan(&self, _: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        Err(unused())
    }
    async fn prepare(&self, _: PrepareRequest, _: Arc<dyn CommitSource>) -> Result<Prepared, Failure> {
        Err(unused())
    }
    async fn judge(&self, _: JudgeRequest, _: Arc<dyn CommitSource>) -> Result<GateReport, Failure> {
        Err(unused())
    }
}
