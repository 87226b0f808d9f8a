//! Ports whose calls each have a thread of their own, so that a disk that hangs holds up that call only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::{
    CommitForm, CommitSource, Gatekeeper, GatekeeperHealth, JudgeRequest, PlanRequest, PrepareRequest,
    Prepared,
};
use mosaic_core::ports::runtime::{
    Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, ProbeError, Runtime, RuntimeCapabilities,
};
use mosaic_core::ports::sandbox::{
    Capabilities, Command, Policy, Probe as SandboxProbe, Purpose, Sandbox, SandboxError, SandboxHandle,
    Stopped,
};

use super::threads::drive;

/// A port around another one.
pub struct OffThread<P: ?Sized> {
    pub(super) inner: Arc<P>,
}

impl<P: ?Sized> OffThread<P> {
    /// Puts a port's calls on threads of their own.
    pub fn new(inner: Arc<P>) -> Self {
        Self { inner }
    }
}

/// Returns the failure of a call that no thread could be had for.
pub(super) fn no_answer(error: io::Error) -> Failure {
    Failure::new(FailureKind::Internal, format!("the state directory does not answer: {error}"))
}

#[async_trait]
impl Sandbox for OffThread<dyn Sandbox> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn probe(&self) -> Result<SandboxProbe, SandboxError> {
        let inner = Arc::clone(&self.inner);
        drive(async move { inner.probe().await }).await.map_err(SandboxError::NoAnswer)?
    }

    async fn prepare(
        &self,
        agent: AgentId,
        purpose: Purpose,
        policy: &Policy,
    ) -> Result<SandboxHandle, SandboxError> {
        let (inner, policy) = (Arc::clone(&self.inner), policy.clone());
        let prepare = async move { inner.prepare(agent, purpose, &policy).await };
        drive(prepare).await.map_err(SandboxError::NoAnswer)?
    }

    fn command(&self, handle: &SandboxHandle, command: Command) -> Command {
        self.inner.command(handle, command)
    }

    async fn discard(&self, handle: &SandboxHandle) -> Result<(), SandboxError> {
        let (inner, handle) = (Arc::clone(&self.inner), handle.clone());
        drive(async move { inner.discard(&handle).await }).await.map_err(SandboxError::NoAnswer)?
    }

    async fn staging(&self, agent: AgentId) -> Result<PathBuf, SandboxError> {
        let inner = Arc::clone(&self.inner);
        drive(async move { inner.staging(agent).await }).await.map_err(SandboxError::NoAnswer)?
    }

    async fn place(&self, agent: AgentId, source: &Path, relative: &str) -> Result<(), SandboxError> {
        let (inner, source, relative) = (Arc::clone(&self.inner), source.to_owned(), relative.to_owned());
        let place = async move { inner.place(agent, &source, &relative).await };
        drive(place).await.map_err(SandboxError::NoAnswer)?
    }

    async fn stop(&self, agent: AgentId) -> Result<Stopped, SandboxError> {
        // Not on a thread of the disk: a kill must not wait for one.
        self.inner.stop(agent).await
    }

    async fn leftovers(&self) -> Result<Vec<AgentId>, SandboxError> {
        let inner = Arc::clone(&self.inner);
        drive(async move { inner.leftovers().await }).await.map_err(SandboxError::NoAnswer)?
    }

    async fn release(&self, agent: AgentId) -> Result<(), SandboxError> {
        let inner = Arc::clone(&self.inner);
        drive(async move { inner.release(agent).await }).await.map_err(SandboxError::NoAnswer)?
    }
}

#[async_trait]
impl Gatekeeper for OffThread<dyn Gatekeeper> {
    fn reads(&self) -> CommitForm {
        self.inner.reads()
    }

    async fn health(&self) -> GatekeeperHealth {
        self.inner.health().await
    }

    async fn plan(&self, request: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        let (inner, profile) = (Arc::clone(&self.inner), request.profile);
        let (custom, base) = (request.custom.to_owned(), request.base.clone());
        let files = request.files;
        let plan =
            async move { inner.plan(PlanRequest { profile, custom: &custom, base: &base, files }).await };
        drive(plan).await.map_err(no_answer)?
    }

    async fn prepare(
        &self,
        request: PrepareRequest,
        base: Arc<dyn CommitSource>,
    ) -> Result<Prepared, Failure> {
        let inner = Arc::clone(&self.inner);
        drive(async move { inner.prepare(request, base).await }).await.map_err(no_answer)?
    }

    async fn judge(
        &self,
        request: JudgeRequest,
        source: Arc<dyn CommitSource>,
    ) -> Result<GateReport, Failure> {
        let inner = Arc::clone(&self.inner);
        drive(async move { inner.judge(request, source).await }).await.map_err(no_answer)?
    }
}

#[async_trait]
impl Runtime for OffThread<dyn Runtime> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> RuntimeCapabilities {
        self.inner.capabilities()
    }

    async fn probe(&self) -> Result<Probe, ProbeError> {
        self.inner.probe().await
    }

    async fn plan(&self, request: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        let (inner, request) = (Arc::clone(&self.inner), request.clone());
        drive(async move { inner.plan(&request).await }).await.map_err(no_answer)?
    }

    fn credential(&self) -> Option<String> {
        self.inner.credential()
    }

    async fn look_at_credential(&self) {
        let inner = Arc::clone(&self.inner);
        // A disk that does not answer leaves it as it was known.
        let _ = drive(async move { inner.look_at_credential().await }).await;
    }

    async fn tend(
        &self,
        agent: AgentId,
        config: &Path,
        lent: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let (inner, config, lent) = (Arc::clone(&self.inner), config.to_owned(), lent.map(str::to_owned));
        drive(async move { inner.tend(agent, &config, lent.as_deref()).await }).await.map_err(no_answer)?
    }

    fn dialogue(&self, opening: &Opening) -> Box<dyn Dialogue> {
        self.inner.dialogue(opening)
    }
}
