//! Step 8, gate: paths that only a git filter may publish end it, every new commit is scanned for secrets, then the plan's gates judge a fresh checkout of exactly the
//! commit that would be pushed.

use std::sync::Arc;

use super::context::{StepContext, StepState};
use super::judged_commit::JudgedCommit;
use super::secrets;
use crate::domain::agent::State;
use crate::domain::changed_lines::{self, ChangedLines};
use crate::domain::gate_log;
use crate::domain::gates::{Finding, GatePlan, GateReport};
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::repository::RepositoryUrl;
use crate::limits;
use crate::ports::gatekeeper::JudgeRequest;
use crate::ports::repositories::{Commits, DiffForm, FileStat, JudgingRequest};
use crate::ports::runtime::AgentEvent;
use crate::ports::transcripts::Checkpoint;

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let agent = context.agent;
    let (State::Gating { head }, Some(base), Some(plan)) = (&agent.state, &agent.work.base, &agent.work.plan)
    else {
        return Err(Failure::new(FailureKind::Internal, "commit, base or plan is not known"));
    };
    // Where no commit was ever offered to the remote, no push can be on its way.
    step_state.push_over = agent.work.offered.is_empty();
    let filtered =
        context.orchestrator.ports.commits.filtered(&agent.spec.context.repository, base, head).await?;
    if !filtered.is_empty() {
        return Ok(Event::Filtered { paths: filtered });
    }
    // Nothing would run when nothing is defined or trusted, so nothing is checked out; the verdict says "incomplete".
    let judged = !plan.gates.is_empty() && plan.trusted;
    let source = Arc::new(source(context, base, head));
    let form = context.orchestrator.ports.gatekeeper.reads();
    let ready = async { if judged { source.prepare(form).await } else { Ok(()) } };
    // Both only read the store; what was checked out for nothing goes with the tree.
    let (findings, ready) = tokio::join!(secrets::look(context, base, head), ready);
    let findings = findings?;
    if !findings.is_empty() {
        tell(context, &findings).await;
        return Ok(Event::SecretsFound { findings });
    }
    ready?;
    let report = match judged {
        true => judge(context, base, head, plan, Arc::clone(&source)).await?,
        false => GateReport::new(head.clone(), Vec::new(), plan),
    };
    Ok(Event::Judged { report, warnings: source.warnings() })
}

/// Writes findings into the transcript, so that they stand where a person looks for what happened.
async fn tell(context: &StepContext<'_>, findings: &[Finding]) {
    let (o, agent) = (context.orchestrator, context.agent);
    let entries = findings.iter().map(|finding| AgentEvent::Notice { text: notice(finding) }).collect();
    let cursor = o.ports.transcripts.cursor(agent.id, agent.runs).await.unwrap_or_default();
    let checkpoint = Checkpoint { run: agent.runs, bytes: cursor.bytes };
    if let Err(e) = o.ports.transcripts.append(agent.id, o.now(), agent.attempt, checkpoint, entries).await {
        tracing::warn!(agent.id = %agent.id, error = %e, "the findings could not be written into the transcript");
    }
}

fn notice(finding: &Finding) -> String {
    let place = finding.path.as_deref().map_or(String::new(), |path| {
        finding.line.map_or_else(|| format!(" {path}"), |line| format!(" {path}:{line}"))
    });
    let fingerprint = finding
        .secret
        .as_ref()
        .map_or(String::new(), |secret| format!("; fingerprint {}", secret.fingerprint.as_str()));
    format!("{}:{place} {}{fingerprint}", finding.source, finding.message)
}

fn source(context: &StepContext<'_>, base: &CommitId, head: &CommitId) -> JudgedCommit {
    let (o, agent) = (context.orchestrator, context.agent);
    let task = &agent.spec.context;
    let request = JudgingRequest {
        agent: agent.id,
        repository: task.repository.clone(),
        base_branch: task.branch.clone(),
        base: base.clone(),
        commit: head.clone(),
        label: format!("{}-{}", round(context), o.ports.chance.agent_id().short()),
    };
    JudgedCommit::new(Arc::clone(&o.ports.trees), Arc::clone(&o.ports.commits), request)
}

fn round(context: &StepContext<'_>) -> u32 {
    gate_log::round(context.agent)
}

async fn judge(
    context: &StepContext<'_>,
    base: &CommitId,
    head: &CommitId,
    plan: &GatePlan,
    source: Arc<JudgedCommit>,
) -> Result<GateReport, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    let repository = agent.spec.context.repository.clone();
    let stat = o.ports.commits.stat(&repository, base, head).await;
    let diff_summary = stat.as_ref().map_or(String::new(), |files| FileStat::summary(files));
    let changed = stat.map(|files| {
        files.iter().flat_map(|file| file.changed_paths().map(<[u8]>::to_vec)).collect::<Vec<_>>()
    });
    if let Err(e) = &changed {
        tracing::warn!(agent.id = %agent.id, error = e.message, "the changed paths are not known to the gatekeeper");
    }
    let request = JudgeRequest {
        agent: agent.id,
        round: round(context),
        repository: repository.clone(),
        profile: agent.spec.gate_profile,
        base_branch: agent.spec.context.branch.clone(),
        base: base.clone(),
        commit: head.clone(),
        branch: agent.branch.clone(),
        task: agent.spec.task_id.clone(),
        plan: plan.clone(),
        changed: changed.ok(),
        changed_lines: changed_lines(o.ports.commits.as_ref(), &repository, (base, head), plan).await,
        diff_summary,
    };
    o.ports.gatekeeper.judge(request, source).await
}

/// Returns the lines that the commit changes, where a report could be asked about them. `None` when they are not known, which no
/// floor for changed lines passes.
pub(crate) async fn changed_lines(
    commits: &dyn Commits,
    repository: &RepositoryUrl,
    (base, head): (&CommitId, &CommitId),
    plan: &GatePlan,
) -> Option<Vec<ChangedLines>> {
    if plan.gates.iter().all(|gate| gate.reports.is_empty()) {
        return None;
    }
    match commits.diff(repository, base, head, DiffForm::Readable, limits::CHANGED_DIFF_BYTES).await {
        Ok((diff, false)) => Some(changed_lines::of_diff(&diff)),
        // A part of the diff would pass for the whole.
        Ok((_, true)) => None,
        Err(e) => {
            tracing::warn!(commit = %head, error = e.message, "the changed lines are not known to the gatekeeper");
            None
        }
    }
}
