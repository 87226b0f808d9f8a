//! The judgement of a check: its plan from the base commit's own definitions, then the gatekeeper of this machine. Commands that a
//! caller sends are never run, because a check names gates and no commands.

use std::sync::Arc;

use super::{Check, CheckError, Checked, Coordinator, output};
use crate::domain::gates::{GateOutcome, GatePlan, GateReport, GateResult};
use crate::domain::ids::AgentId;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::spec::GateProfile;
use crate::ports::gatekeeper::{JudgeRequest, PlanRequest};
use crate::steps::base_files::CommitFiles;
use crate::steps::changed_lines;
use crate::steps::judged_commit::JudgedCommit;

impl Coordinator {
    /// Brings the commit, plans and judges.
    pub(super) async fn judge(&self, check: &Check, agent: AgentId) -> Result<Checked, CheckError> {
        let disk = self.orchestrator.monitor.disk_capacity().await;
        disk.map_err(|text| Failure::new(FailureKind::Disk, text))?;
        self.bring(check, agent).await?;
        let plan = self.plan(check).await?;
        let ports = self.orchestrator.ports();
        let stat = ports.commits.stat(&check.repository, &check.base, &check.commit).await?;
        let source = JudgedCommit::new(
            Arc::clone(&ports.trees),
            Arc::clone(&ports.commits),
            Self::judging(check, agent),
        );
        let commits = (&check.base, &check.commit);
        let lines = changed_lines(ports.commits.as_ref(), &check.repository, commits, &plan).await;
        let changed = stat.iter().flat_map(|file| file.changed_paths().map(<[u8]>::to_vec)).collect();
        let request = JudgeRequest {
            agent,
            round: check.attempt,
            repository: check.repository.clone(),
            profile: check.profile,
            base_branch: Self::judging(check, agent).base_branch,
            base: check.base.clone(),
            commit: check.commit.clone(),
            branch: check.branch.clone(),
            task: check.task.clone(),
            plan: plan.clone(),
            changed: Some(changed),
            changed_lines: lines,
            diff_summary: String::new(),
        };
        let report = match plan.gates.is_empty() || !plan.trusted {
            true => GateReport::new(check.commit.clone(), Vec::new(), &plan),
            false => ports.gatekeeper.judge(request, Arc::new(source)).await?,
        };
        let report = complete(check, &plan, report);
        let outputs = output::of(ports, agent, &report).await;
        Ok(Checked { report, outputs, defined_by: plan.defined_by })
    }

    /// Plans the gates that are asked for. What the repository adds to profiles, the caller has in its list already.
    async fn plan(&self, check: &Check) -> Result<GatePlan, CheckError> {
        let ports = self.orchestrator.ports();
        let files = CommitFiles::at(Arc::clone(&ports.commits), check.repository.clone(), check.base.clone());
        let request =
            PlanRequest { profile: GateProfile::Custom, custom: &check.gates, base: &check.base, files };
        let mut plan = ports.gatekeeper.plan(request).await?;
        plan.gates.retain(|gate| check.gates.contains(&gate.name));
        plan.undefined.retain(|name| check.gates.contains(name));
        Ok(plan)
    }
}

/// Gives every gate that was asked for a result, in the asked order: what was not run says why.
fn complete(check: &Check, plan: &GatePlan, report: GateReport) -> GateReport {
    let (isolation, warnings) = (report.isolation, report.warnings.clone());
    let results = check.gates.iter().map(|name| {
        let known = report.results.iter().find(|result| result.name == *name).cloned();
        known.unwrap_or_else(|| {
            let summary = match plan.gates.iter().any(|gate| gate.name == *name) {
                true => "not run: the repository's commands are not trusted by the coordinator".to_owned(),
                false => format!("not run: {} does not define it", check.base.short()),
            };
            GateResult::new(name.clone(), GateOutcome::Skip, summary)
        })
    });
    GateReport { isolation, warnings, ..GateReport::new(check.commit.clone(), results.collect(), plan) }
}
