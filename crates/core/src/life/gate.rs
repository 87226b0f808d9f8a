//! Step 8, gate: paths that only a git filter may publish end it, every new commit is scanned for secrets, then the plan's gates judge a fresh checkout of exactly the
//! commit that would be pushed.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::{Hands, Scene};
use crate::domain::agent::State;
use crate::domain::gates::{Finding, GateReport};
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::limits;
use crate::ports::gatekeeper::JudgeRequest;
use crate::ports::repositories::{Added, JudgingCheckout, JudgingRequest};

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
    let (findings, checkout) = tokio::join!(secrets(scene, base, head), checkout);
    let findings = findings?;
    if !findings.is_empty() {
        return Ok(Event::SecretsFound { findings });
    }
    let (report, warnings) = match checkout? {
        Some(checkout) => (judge(scene, hands, head, checkout.path).await?, checkout.warnings),
        None => (GateReport::new(head.clone(), Vec::new(), plan), Vec::new()),
    };
    Ok(Event::Judged { report, warnings })
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

/// Scans what every new commit adds, not only the tip: a secret that was added and removed again is still pushed.
async fn secrets(scene: &Scene<'_>, base: &CommitId, head: &CommitId) -> Result<Vec<Finding>, Failure> {
    let o = scene.o;
    // A few hunks in flight are enough to keep reader and scanner both busy.
    let (send, mut receive) = mpsc::channel::<Added>(8);
    let read = o.ports.repositories.additions(&scene.agent.spec.context.repository, base, head, send);
    let scan = async {
        let mut findings = Vec::new();
        while let Some(added) = receive.recv().await {
            for secret in o.ports.scanner.scan(added.path.as_deref(), &added.text) {
                if findings.len() < limits::FINDINGS {
                    findings.push(finding(&added, &secret.rule, secret.line, &secret.masked));
                }
            }
        }
        findings
    };
    let (read, findings) = tokio::join!(read, scan);
    read.map(|()| findings)
}

fn finding(added: &Added, rule: &str, line: u64, masked: &str) -> Finding {
    let place = if added.path.is_some() { "" } else { " in the commit message" };
    Finding {
        source: "secret-scan".to_owned(),
        path: added.path.clone(),
        line: added.path.as_ref().map(|_| added.line + line - 1),
        message: format!(
            "{rule}: {masked}{place} (commit {}); remove it from every commit",
            added.commit.short()
        ),
    }
}
