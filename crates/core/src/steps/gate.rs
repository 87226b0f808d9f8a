//! Step 8, gate: paths that only a git filter may publish end it, every new commit is scanned for secrets, then the plan's gates judge a fresh checkout of exactly the
//! commit that would be pushed.

use std::path::PathBuf;

use super::context::{StepContext, StepState};
use super::secrets;
use crate::domain::agent::State;
use crate::domain::gates::{Finding, GateReport};
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::ports::gatekeeper::JudgeRequest;
use crate::ports::repositories::{JudgingCheckout, JudgingRequest};
use crate::ports::runtime::AgentEvent;
use crate::ports::transcripts::Mark;

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let agent = context.agent;
    let (State::Gating { head }, Some(base), Some(plan)) = (&agent.state, &agent.work.base, &agent.work.plan)
    else {
        return Err(Failure::new(FailureKind::Internal, "commit, base or plan is not known"));
    };
    step_state.push_over = agent.work.offered.is_empty();
    let filtered =
        context.orchestrator.ports.repositories.filtered(&agent.spec.context.repository, base, head).await?;
    if !filtered.is_empty() {
        return Ok(Event::Filtered { paths: filtered });
    }
    // Nothing would run when nothing is defined or trusted, so nothing is checked out; the verdict says "incomplete".
    let judged = !plan.gates.is_empty() && plan.trusted;
    let checkout = async { if judged { checkout(context, base, head).await.map(Some) } else { Ok(None) } };
    // Both only read the store; what was checked out for nothing goes with the tree.
    let (findings, checkout) = tokio::join!(secrets::look(context, base, head), checkout);
    let findings = findings?;
    if !findings.is_empty() {
        tell(context, &findings).await;
        return Ok(Event::SecretsFound { findings });
    }
    let (report, warnings) = match checkout? {
        Some(checkout) => (judge(context, step_state, head, checkout.path).await?, checkout.warnings),
        None => (GateReport::new(head.clone(), Vec::new(), plan), Vec::new()),
    };
    Ok(Event::Judged { report, warnings })
}

/// Writes findings into the transcript, so that they stand where a person looks for what happened.
async fn tell(context: &StepContext<'_>, findings: &[Finding]) {
    let (o, agent) = (context.orchestrator, context.agent);
    let entries = findings.iter().map(|finding| AgentEvent::Notice { text: notice(finding) }).collect();
    let told = o.ports.transcripts.told(agent.id, agent.runs).await.unwrap_or_default();
    let mark = Mark { run: agent.runs, bytes: told.bytes };
    if let Err(e) = o.ports.transcripts.append(agent.id, o.now(), agent.attempt, mark, entries).await {
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

async fn checkout(
    context: &StepContext<'_>,
    base: &CommitId,
    head: &CommitId,
) -> Result<JudgingCheckout, Failure> {
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
    o.ports.repositories.checkout_for_judging(&request).await
}

fn round(context: &StepContext<'_>) -> u32 {
    context.agent.runs.max(1)
}

async fn judge(
    context: &StepContext<'_>,
    step_state: &mut StepState,
    head: &CommitId,
    checkout: PathBuf,
) -> Result<GateReport, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    let confinement = context.confinement(step_state).await?;
    let plan = agent.work.plan.clone().unwrap_or_default();
    let (commit, round) = (head.clone(), round(context));
    o.ports
        .gatekeeper
        .judge(JudgeRequest { agent: agent.id, round, commit, checkout, confinement, plan })
        .await
}
