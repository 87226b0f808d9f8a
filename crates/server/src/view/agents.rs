//! Agents. [`status`] is the contract's answer with more fields beside it, [`full`] is everything.

use mosaic_api::{AgentView, Detail, Links, StatusView};
use mosaic_core::Orchestrator;
use mosaic_core::domain::agent::{Agent, Ending, QueueCause, State};
use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::domain::kept_work::KeptWork;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::publication::Publication;
use mosaic_core::domain::retry::Backoff;
use mosaic_core::domain::spec::{Budget, Context};
use mosaic_core::domain::spent::Spent;
use mosaic_core::domain::status::{AttentionProjection, StatusProjection};
use mosaic_core::ports::store::Versioned;
use mosaic_core::receipt::KillReceipt;

use super::shown::Shown;

/// Returns the address of an agent.
pub(crate) fn agent_path(id: AgentId) -> String {
    format!("/v1/agents/{id}")
}

/// Returns the addresses of an agent's parts.
pub(crate) fn links(id: AgentId) -> Links {
    let own = agent_path(id);
    let part = |name: &str| format!("{own}/{name}");
    Links {
        status: format!("/agents/{id}/status"),
        transcript: part("transcript"),
        diff: part("diff"),
        gates: part("gates"),
        resources: part("resources"),
        kill: part("kill"),
        own,
    }
}

impl Shown for AttentionProjection<'_> {
    type View = mosaic_api::Attention;

    fn shown(&self) -> Self::View {
        let Self { kind, summary, since } = self;
        mosaic_api::Attention { kind: kind.shown(), summary: (*summary).to_owned(), since: since.to_string() }
    }
}

impl Shown for Backoff {
    type View = mosaic_api::Backoff;

    fn shown(&self) -> Self::View {
        mosaic_api::Backoff { kind: self.kind.shown(), delay: self.delay, jitter: self.jitter }
    }
}

impl Shown for Budget {
    type View = mosaic_api::Budget;

    fn shown(&self) -> Self::View {
        mosaic_api::Budget { usd: self.usd, turns: self.turns }
    }
}

impl Shown for Spent {
    type View = mosaic_api::Spent;

    fn shown(&self) -> Self::View {
        mosaic_api::Spent { usd: self.usd, turns: self.turns }
    }
}

impl Shown for Failure {
    type View = mosaic_api::Failure;

    fn shown(&self) -> Self::View {
        let Self { kind, message, reset, credential } = self;
        mosaic_api::Failure {
            kind: kind.shown(),
            message: message.clone(),
            reset: reset.as_ref().and_then(|reset| serde_json::to_value(reset).ok()),
            credential: credential.clone(),
        }
    }
}

impl Shown for Context {
    type View = mosaic_api::Context;

    fn shown(&self) -> Self::View {
        let Self { repository, branch, work_items, skills, instructions } = self;
        mosaic_api::Context {
            repository: repository.to_string(),
            branch: branch.to_string(),
            work_items: work_items.clone(),
            skills: skills.shown(),
            instructions: instructions.clone(),
        }
    }
}

/// Returns the status of an agent. Whether it is frozen, what nodes reported of its work and where its record lies are not
/// part of its record: the caller sets them.
pub(crate) fn status(agent: &Agent) -> StatusView {
    let projection = StatusProjection::of(agent);
    StatusView {
        agent_id: projection.agent_id.to_string(),
        task_id: projection.task_id.to_string(),
        status: projection.status.shown(),
        spawned_at: projection.spawned_at.to_string(),
        started_at: projection.started_at.map(|at| at.to_string()),
        completed_at: projection.completed_at.map(|at| at.to_string()),
        error: projection.error.map(str::to_owned),
        phase: projection.phase.shown(),
        attention: projection.attention.shown(),
        end_reason: projection.end_reason.shown(),
        attempt: projection.attempt,
        fix_round: projection.fix_round,
        verdict: projection.verdict.shown(),
        warnings: warnings(agent, &agent.left_work()),
        branch: projection.branch.map(ToString::to_string),
        name: projection.name.to_owned(),
        previous_agent_id: projection.previous_agent_id.shown(),
        links: links(agent.id),
        frozen: false,
        archive: None,
    }
}

/// Returns the status of a record, which may be a short form.
fn retained(record: &Versioned) -> StatusView {
    let archive = record.short.is_some().then(|| "unreachable".to_owned());
    StatusView { archive, ..status(&record.agent) }
}

/// Returns why the archive that has the whole of a record cannot be read; nothing of a whole record.
pub(crate) fn archive_fault(o: &Orchestrator, record: &Versioned) -> Option<String> {
    let node = record.short.as_ref()?;
    Some(if o.is_known_lost(node) { "lost" } else { "unreachable" }.to_owned())
}

/// Sets what nodes reported of an agent's work.
pub(crate) fn with_kept(view: AgentView, agent: &Agent, work: &[KeptWork]) -> AgentView {
    let status = StatusView { warnings: warnings(agent, work), ..view.status };
    AgentView { status, kept_work: work.to_vec().shown(), ..view }
}

/// Returns an agent without what can be large.
pub(crate) fn brief(record: &Versioned) -> AgentView {
    let agent = &record.agent;
    let (spec, work) = (&agent.spec, &agent.work);
    let commit = |commit: &Option<_>| commit.as_ref().map(ToString::to_string);
    // While the tree of a failed attempt is released the wait has begun already.
    let cause = match &agent.state {
        State::Queued { cause } | State::Unwinding { ending: Ending::Requeue { cause } } => Some(cause),
        _ => None,
    };
    let (last_failure, until) = match cause.map(QueueCause::origin) {
        Some(QueueCause::Backoff { failure, until }) => (Some(failure), Some(*until)),
        _ => (None, None),
    };
    AgentView {
        status: retained(record),
        version: record.version,
        agent_type: spec.agent_type.shown(),
        gate_profile: spec.gate_profile.shown(),
        repository: spec.context.repository.to_string(),
        base_branch: spec.context.branch.to_string(),
        priority: spec.priority.get(),
        labels: spec.labels.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        node: node(record).shown(),
        runtime: spec.runtime.shown(),
        model: spec.model.clone(),
        max_retries: spec.max_retries,
        backoff: spec.backoff.shown(),
        max_fix_rounds: spec.max_fix_rounds,
        timeout_seconds: spec.timeout_seconds,
        budget: spec.budget.shown(),
        spent: agent.spent().shown(),
        base_commit: commit(&work.base),
        head_commit: commit(&work.kept),
        pushed_commit: commit(&work.pushed),
        publication: work.publication.shown(),
        salvage: work.salvage.shown(),
        receipt: KillReceipt::of_record(record).shown(),
        kept_work: agent.left_work().shown(),
        deadline: work.deadline.shown(),
        not_before: agent.not_before().or(until).shown(),
        last_failure: last_failure.map(Shown::shown),
        cleanup_pending: pending(agent),
        queue_position: None,
        delayed_because: cause.and_then(QueueCause::delayed_because).map(str::to_owned),
        last_event_at: None,
        detail: None,
        waited: false,
    }
}

/// Returns one agent with everything. `position` is the number of entries that start before it.
pub(crate) fn full(record: &Versioned, position: Option<u64>) -> AgentView {
    let (spec, work) = (&record.agent.spec, &record.agent.work);
    let detail = Detail {
        context: spec.context.shown(),
        gates: spec.gates.shown(),
        gate_plan: work.plan.shown(),
        gate_report: work.report.shown(),
        filtered_paths: work.filtered.shown(),
        findings: work.findings.shown(),
        result: work.result.clone(),
        session: work.session.clone(),
    };
    AgentView { queue_position: position, detail: Some(detail), ..brief(record) }
}

/// Returns the node that runs it, or ran it last when it has ended.
fn node(record: &Versioned) -> Option<Word> {
    let agent = &record.agent;
    let ran_on = || {
        let left = agent.left.last().filter(|left| left.run == agent.runs).map(|left| &left.node);
        agent.node.as_ref().or(left).or(record.home.as_ref()).cloned()
    };
    record.node.clone().or_else(|| agent.is_terminal().then(ran_on).flatten())
}

/// The record's warnings, one for each attempt that left work on another node, and one about a push of an ended agent of which the end is not known (yet).
pub(crate) fn warnings(agent: &Agent, work: &[KeptWork]) -> Vec<String> {
    let mut warnings = agent.warnings.clone();
    warnings.extend(work.iter().filter(|work| work.earlier).filter_map(|work| work.sentence(agent.id)));
    if let (true, Publication::MayBeThere { commit }) = (agent.is_terminal(), &agent.work.publication) {
        warnings.push(format!(
            "the branch {} may be on the remote at {}: a push of it was begun, and the remote has not shown yet how it ended; \
             look with git ls-remote",
            agent.branch,
            commit.short()
        ));
    }
    warnings
}

/// An ended agent whose work could not be received still has its tree, whether or not its record says more.
fn pending(agent: &Agent) -> Option<String> {
    let unsaid = || "its tree holds work that could not be received yet".to_owned();
    let left = agent.work.cleanup_pending.clone();
    left.or_else(|| (agent.is_terminal() && agent.work.dirty).then(unsaid))
}
