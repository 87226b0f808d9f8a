//! Step 8, gate: paths that only a git filter may publish end it, every new commit is scanned for secrets, then the plan's gates judge a fresh checkout of exactly the
//! commit that would be pushed.

use std::path::PathBuf;

use super::{Hands, Scene, secrets};
use crate::domain::agent::State;
use crate::domain::gates::{Finding, GateReport};
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::ports::gatekeeper::JudgeRequest;
use crate::ports::repositories::{JudgingCheckout, JudgingRequest};
use crate::ports::runtime::AgentEvent;
use crate::ports::transcripts::Mark;

pub(super) async fn run(scene: &Scene<'_>, hands: &mut Hands) -> Result<Event, Failure> {
    let agent = scene.agent;
    let (State::Gating { head }, Some(base), Some(plan)) = (&agent.state, &agent.work.base, &agent.work.plan)
    else {
        return Err(Failure::new(FailureKind::Internal, "commit, base or plan is not known"));
    };
    hands.push_over = agent.work.offered.is_empty();
    let filtered = scene.o.ports.repositories.filtered(&agent.spec.context.repository, base, head).await?;
    if !filtered.is_empty() {
        return Ok(Event::Filtered { paths: filtered });
    }
    // Nothing would run when nothing is defined or trusted, so nothing is checked out; the verdict says "incomplete".
    let judged = !plan.gates.is_empty() && plan.trusted;
    let checkout = async { if judged { checkout(scene, base, head).await.map(Some) } else { Ok(None) } };
    // Both only read the store; what was checked out for nothing goes with the tree.
    let (findings, checkout) = tokio::join!(secrets::look(scene, base, head), checkout);
    let findings = findings?;
    if !findings.is_empty() {
        tell(scene, &findings).await;
        return Ok(Event::SecretsFound { findings });
    }
    let (report, warnings) = match checkout? {
        Some(checkout) => (judge(scene, hands, head, checkout.path).await?, checkout.warnings),
        None => (GateReport::new(head.clone(), Vec::new(), plan), Vec::new()),
    };
    Ok(Event::Judged { report, warnings })
}

/// Writes findings into the transcript, so that they stand where a person looks for what happened.
async fn tell(scene: &Scene<'_>, findings: &[Finding]) {
    let (o, agent) = (scene.o, scene.agent);
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

async fn checkout(scene: &Scene<'_>, base: &CommitId, head: &CommitId) -> Result<JudgingCheckout, Failure> {
    let (o, agent) = (scene.o, scene.agent);
    let context = &agent.spec.context;
    let request = JudgingRequest {
        agent: agent.id,
        repository: context.repository.clone(),
        base_branch: context.branch.clone(),
        base: base.clone(),
        commit: head.clone(),
        label: format!("{}-{}", round(scene), o.ports.chance.agent_id().short()),
    };
    o.ports.repositories.checkout_for_judging(&request).await
}

fn round(scene: &Scene<'_>) -> u32 {
    scene.agent.runs.max(1)
}

async fn judge(
    scene: &Scene<'_>,
    hands: &mut Hands,
    head: &CommitId,
    checkout: PathBuf,
) -> Result<GateReport, Failure> {
    let (o, agent) = (scene.o, scene.agent);
    let confinement = scene.confinement(hands).await?;
    let plan = agent.work.plan.clone().unwrap_or_default();
    let (commit, round) = (head.clone(), round(scene));
    o.ports
        .gatekeeper
        .judge(JudgeRequest { agent: agent.id, round, commit, checkout, confinement, plan })
        .await
}
