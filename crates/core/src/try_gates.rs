//! Trial of gates: a commit is judged by its own definitions, without an agent, a record or a push.

use std::sync::Arc;

use crate::domain::gates::{GatePlan, GateReport};
use crate::domain::ids::{AgentId, BranchName, CommitId, Word};
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::repository::RepositoryUrl;
use crate::domain::spec::GateProfile;
use crate::orchestrator::Orchestrator;
use crate::ports::gatekeeper::{JudgeRequest, PlanRequest};
use crate::ports::repositories::JudgingRequest;
use crate::steps::base_files::CommitFiles;
use crate::steps::judged_commit::JudgedCommit;
use crate::steps::unwind;

/// Inputs of a trial.
#[derive(Debug, Clone)]
pub struct TrialRequest {
    /// Id under which its jobs run.
    pub id: AgentId,
    /// The repository.
    pub repository: RepositoryUrl,
    /// A branch that holds the commit.
    pub branch: BranchName,
    /// The commit.
    pub commit: CommitId,
    /// The profile.
    pub profile: GateProfile,
    /// The gates of a `custom` profile.
    pub custom: Vec<Word>,
}

/// Result of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Gates by which the commit was judged.
    pub plan: GatePlan,
    /// Their report.
    pub report: GateReport,
    /// Warnings that a person should read.
    pub warnings: Vec<String>,
}

impl Orchestrator {
    /// Judges a commit as a base would be judged. What it leaves is removed by [`Orchestrator::end_trial`].
    pub async fn try_gates(&self, request: &TrialRequest) -> Result<Trial, Failure> {
        let (ports, commit) = (&self.ports, &request.commit);
        ports.publisher.fetch(&request.repository, &request.branch, &request.branch).await?;
        let known = ports.commits.objects(&request.repository, commit, &[String::new()]).await?;
        if known.iter().all(Option::is_none) {
            let text =
                format!("{} is not on {}; name a commit that a branch holds", commit.short(), request.branch);
            return Err(Failure::new(FailureKind::BadInput, text));
        }
        let files = CommitFiles::at(Arc::clone(&ports.commits), request.repository.clone(), commit.clone());
        let wanted = PlanRequest { profile: request.profile, custom: &request.custom, base: commit, files };
        let plan = ports.gatekeeper.plan(wanted).await?;
        if plan.gates.is_empty() || !plan.trusted {
            let report = GateReport::new(commit.clone(), Vec::new(), &plan);
            return Ok(Trial { plan, report, warnings: Vec::new() });
        }
        let source = Arc::new(self.trial_source(request));
        let judge = JudgeRequest {
            agent: request.id,
            round: 1,
            repository: request.repository.clone(),
            profile: request.profile,
            base_branch: request.branch.clone(),
            base: commit.clone(),
            commit: commit.clone(),
            branch: request.branch.clone(),
            task: "trial".parse().expect("it is a task's name"),
            plan: plan.clone(),
            changed: Some(Vec::new()),
            changed_lines: Some(Vec::new()),
            diff_summary: String::new(),
        };
        let report = ports.gatekeeper.judge(judge, source.clone()).await;
        let report = report.map_err(|failure| failure.reworded(|text| ports.scanner.mask(&text)))?;
        Ok(Trial { plan, report, warnings: source.warnings() })
    }

    fn trial_source(&self, request: &TrialRequest) -> JudgedCommit {
        let of_commit = JudgingRequest {
            agent: request.id,
            repository: request.repository.clone(),
            base_branch: request.branch.clone(),
            base: request.commit.clone(),
            commit: request.commit.clone(),
            label: "trial".to_owned(),
        };
        JudgedCommit::new(Arc::clone(&self.ports.trees), Arc::clone(&self.ports.commits), of_commit)
    }

    /// Ends a trial: stops what runs of it and removes its checkouts. Logs stay.
    pub async fn end_trial(&self, id: AgentId) -> Result<(), Failure> {
        unwind::release_trial(self, id).await
    }
}
