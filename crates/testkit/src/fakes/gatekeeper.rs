//! A gatekeeper without gates, which passes every commit; with [`Broken::Gate`] one that fails every commit.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GateDefinition, GateOutcome, GatePlan, GateReport, GateResult};
use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::ports::gatekeeper::{
    CommitForm, CommitSource, Gatekeeper, JudgeRequest, PlanRequest, PrepareRequest, Prepared,
};
use mosaic_core::ports::repositories::JudgingCheckout;

use super::knobs::Broken;
use super::world::Part;

#[async_trait]
impl Gatekeeper for Part {
    fn reads(&self) -> CommitForm {
        CommitForm::Checkout
    }
    async fn plan(&self, _: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        let broken = self.0.knobs.works(self.1.as_str(), Broken::Gate).is_err();
        let tests = || GateDefinition::of_command("tests".parse().expect("a word"), "true".to_owned());
        let gates = broken.then(tests).into_iter().collect();
        Ok(GatePlan { gates, trusted: true, ..GatePlan::default() })
    }
    async fn prepare(&self, _: PrepareRequest, _: Arc<dyn CommitSource>) -> Result<Prepared, Failure> {
        Ok(Prepared::default())
    }
    async fn judge(&self, request: JudgeRequest, _: Arc<dyn CommitSource>) -> Result<GateReport, Failure> {
        let outcome = match self.0.knobs.works(self.1.as_str(), Broken::Gate) {
            _ if !request.plan.trusted => GateOutcome::Skip,
            Ok(()) => GateOutcome::Pass,
            Err(_) => GateOutcome::Fail,
        };
        let result = |gate: &GateDefinition| GateResult {
            command: gate.run.clone(),
            exit_code: request.plan.trusted.then_some(0),
            ..GateResult::new(gate.name.clone(), outcome, "not judged by a fake")
        };
        let results = request.plan.gates.iter().map(result).collect();
        Ok(GateReport::new(request.commit, results, &request.plan))
    }
}

/// A commit that was checked out before. What stands for its bundle is the same path, which a stub asks for and does not read.
pub struct CheckedOut(pub PathBuf);

#[async_trait]
impl CommitSource for CheckedOut {
    async fn checkout(&self) -> Result<JudgingCheckout, Failure> {
        Ok(JudgingCheckout { path: self.0.clone(), warnings: Vec::new() })
    }
    async fn bundle(&self) -> Result<PathBuf, Failure> {
        Ok(self.0.clone())
    }
    async fn whole_bundle(&self) -> Result<PathBuf, Failure> {
        self.bundle().await
    }
}

/// Returns a request to judge this commit by this plan, about a repository that is not there.
pub fn judge_request(agent: AgentId, commit: CommitId, plan: GatePlan) -> JudgeRequest {
    JudgeRequest {
        agent,
        round: 1,
        repository: "https://git.example.com/r.git".parse().expect("it is one"),
        base: "0".repeat(40).parse().expect("it is one"),
        commit,
        branch: "mosaic/t-1".parse().expect("it is one"),
        task: "T-1".parse().expect("it is one"),
        plan,
        changed: Some(Vec::new()),
        changed_lines: None,
        profile: GateProfile::Custom,
        base_branch: "main".parse().expect("it is one"),
        diff_summary: String::new(),
    }
}
