//! Failpoints around the gatekeeper and the runtimes.

use std::path::Path;
use std::sync::Arc;

use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::gatekeeper::{
    CommitForm, CommitSource, Gatekeeper, GatekeeperHealth, JudgeRequest, PlanRequest, PrepareRequest,
    Prepared,
};
use mosaic_core::ports::runtime::{
    Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, ProbeError, Runtime, RuntimeCapabilities,
};

pub(super) use super::wrap::Breakable;
use super::wrap::wrap;

wrap! { Gatekeeper as "gatekeeper" {
    last plan(request: PlanRequest<'_>) -> Result<GatePlan, Failure>;
    first prepare(request: PrepareRequest, base: Arc<dyn CommitSource>) -> Result<Prepared, Failure>;
    plain reads() -> CommitForm;
    own [] {
        /// Asked by readiness, never by the life of a task.
        async fn health(&self) -> GatekeeperHealth {
            self.inner.health().await
        }
    }
    first judge(request: JudgeRequest, source: Arc<dyn CommitSource>) -> Result<GateReport, Failure>;
} }

wrap! { Runtime as "runtime" {
    plain name() -> &'static str;
    plain capabilities() -> RuntimeCapabilities;
    own [] {
        /// Asked by `doctor` and the start, never by the life of a task.
        async fn probe(&self) -> Result<Probe, ProbeError> {
            self.inner.probe().await
        }

        /// Looks only.
        async fn look_at_credential(&self) {
            self.inner.look_at_credential().await;
        }

        /// Asked again and again, whatever came of it before.
        async fn tend(&self, agent: AgentId, config: &Path, lent: Option<&str>) -> Result<Option<String>, Failure> {
            self.inner.tend(agent, config, lent).await
        }
    }
    plain credential() -> Option<String>;
    last plan(request: &LaunchRequest) -> Result<LaunchPlan, Failure>;
    plain dialogue(opening: &Opening) -> Box<dyn Dialogue>;
} }
