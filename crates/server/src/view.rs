//! How an agent looks from outside. [`StatusView`] is the contract's answer with our words beside it;
//! [`AgentView`] is everything. Times are RFC 3339 here and numbers in the store, so no record goes out as it is.

use std::collections::BTreeMap;

use mosaic_core::domain::agent::{
    Agent, AttentionKind, Ending, Phase, QueueCause, Salvaged, Spent, State, Status,
};
use mosaic_core::domain::gates::{FilteredPath, Finding, GatePlan, GateReport, Verdict};
use mosaic_core::domain::ids::{AgentId, Timestamp, Word};
use mosaic_core::domain::kept_work::KeptWork;
use mosaic_core::domain::outcome::{EndReason, Failure};
use mosaic_core::domain::publication::Publication;
use mosaic_core::domain::retry::Backoff;
use mosaic_core::domain::spec::{AgentType, Budget, Context, GateProfile};
use mosaic_core::ports::store::{Pause, Versioned};
use serde::Serialize;

/// What a person must decide.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttentionView {
    kind: AttentionKind,
    summary: String,
    since: String,
}

/// Where the parts of an agent are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Links {
    #[serde(rename = "self")]
    own: String,
    status: String,
    transcript: String,
    diff: String,
    gates: String,
    resources: String,
    kill: String,
}

impl Links {
    pub(crate) fn of(id: AgentId) -> Self {
        let own = agent_path(id);
        let part = |name: &str| format!("{own}/{name}");
        Self {
            status: format!("/agents/{id}/status"),
            transcript: part("transcript"),
            diff: part("diff"),
            gates: part("gates"),
            resources: part("resources"),
            kill: part("kill"),
            own,
        }
    }
}

/// Returns the address of an agent.
pub(crate) fn agent_path(id: AgentId) -> String {
    format!("/v1/agents/{id}")
}

/// The contract's status answer, with our fields beside it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusView {
    agent_id: AgentId,
    task_id: String,
    status: Status,
    spawned_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    phase: Phase,
    attention: Vec<AttentionView>,
    end_reason: Option<EndReason>,
    attempt: u32,
    fix_round: u32,
    verdict: Option<Verdict>,
    warnings: Vec<String>,
    branch: Option<String>,
    name: String,
    previous_agent_id: Option<AgentId>,
    links: Links,
    /// Only shown when it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    frozen: bool,
    /// Only shown when the record lies in an archive that cannot be reached: what is not known is then as of a new agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<&'static str>,
}

impl StatusView {
    pub(crate) fn of(agent: &Agent) -> Self {
        let end = agent.end();
        let attention = agent.attention.iter().map(|a| AttentionView {
            kind: a.kind,
            summary: a.summary.clone(),
            since: a.since.to_rfc3339(),
        });
        Self {
            agent_id: agent.id,
            task_id: agent.spec.task_id.to_string(),
            status: agent.status(),
            spawned_at: agent.spawned_at.to_rfc3339(),
            started_at: agent.started_at.map(Timestamp::to_rfc3339),
            completed_at: end.map(|end| end.at.to_rfc3339()),
            error: end.and_then(|end| end.error.clone()),
            phase: agent.phase(),
            attention: attention.collect(),
            end_reason: end.map(|end| end.reason),
            attempt: agent.attempt,
            fix_round: agent.fix_round,
            verdict: agent.verdict(),
            warnings: warnings(agent, &agent.left_work()),
            branch: agent.shown_branch().map(ToString::to_string),
            name: agent.name.clone(),
            previous_agent_id: agent.previous,
            links: Links::of(agent.id),
            frozen: false,
            archive: None,
        }
    }

    /// Says whether this is a short form.
    pub(crate) fn short(self, short: bool) -> Self {
        Self { archive: short.then_some("unreachable"), ..self }
    }

    /// Says whether the agent is frozen, which is not part of its record.
    pub(crate) fn frozen(self, frozen: bool) -> Self {
        Self { frozen, ..self }
    }

    /// Says what nodes reported of its work, which is not part of its record.
    pub(crate) fn kept(self, agent: &Agent, work: &[KeptWork]) -> Self {
        Self { warnings: warnings(agent, work), ..self }
    }
}

/// Everything about an agent. Lists leave out what can be large.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentView {
    #[serde(flatten)]
    status: StatusView,
    version: u64,
    agent_type: AgentType,
    gate_profile: GateProfile,
    repository: String,
    base_branch: String,
    priority: u8,
    labels: BTreeMap<Word, String>,
    node: Option<Word>,
    runtime: Option<Word>,
    model: Option<String>,
    max_retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    max_fix_rounds: u32,
    timeout_seconds: u64,
    budget: Budget,
    /// What its runs have used up altogether.
    spent: Spent,
    base_commit: Option<String>,
    head_commit: Option<String>,
    pushed_commit: Option<String>,
    publication: Publication,
    #[serde(skip_serializing_if = "Option::is_none")]
    salvage: Option<Salvaged>,
    /// Work of its attempts and where it lies, oldest first; empty until one is over.
    kept_work: Vec<KeptWork>,
    deadline: Option<String>,
    not_before: Option<String>,
    last_failure: Option<Failure>,
    /// What of it could not be cleaned up yet, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup_pending: Option<String>,
    queue_position: Option<u64>,
    delayed_because: Option<String>,
    last_event_at: Option<String>,
    #[serde(flatten)]
    detail: Option<Detail>,
}

/// What can be large.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    context: Context,
    gates: Vec<Word>,
    gate_plan: Option<GatePlan>,
    gate_report: Option<GateReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filtered_paths: Vec<FilteredPath>,
    findings: Vec<Finding>,
    result: Option<String>,
    session: Option<String>,
}

impl AgentView {
    /// One entry of a list.
    pub(crate) fn brief(record: &Versioned) -> Self {
        let agent = &record.agent;
        let (spec, work) = (&agent.spec, &agent.work);
        let commit = |commit: &Option<_>| commit.as_ref().map(ToString::to_string);
        // While the tree of a failed attempt is given back the wait has begun already.
        let cause = match &agent.state {
            State::Queued { cause } | State::Unwinding { ending: Ending::Requeue { cause } } => Some(cause),
            _ => None,
        };
        let (last_failure, until) = match cause.map(QueueCause::origin) {
            Some(QueueCause::Backoff { failure, until }) => (Some(failure.clone()), Some(*until)),
            _ => (None, None),
        };
        let until = agent.not_before().or(until);
        Self {
            status: StatusView::of(agent).short(record.short.is_some()),
            version: record.version,
            agent_type: spec.agent_type,
            gate_profile: spec.gate_profile,
            repository: spec.context.repository.to_string(),
            base_branch: spec.context.branch.to_string(),
            priority: spec.priority.get(),
            labels: spec.labels.clone(),
            node: node(record),
            runtime: spec.runtime.clone(),
            model: spec.model.clone(),
            max_retries: spec.max_retries,
            backoff: spec.backoff,
            max_fix_rounds: spec.max_fix_rounds,
            timeout_seconds: spec.timeout_seconds,
            budget: spec.budget,
            spent: agent.spent(),
            base_commit: commit(&work.base),
            head_commit: commit(&work.kept),
            pushed_commit: commit(&work.pushed),
            publication: work.publication.clone(),
            salvage: work.salvage.clone(),
            kept_work: agent.left_work(),
            deadline: work.deadline.map(Timestamp::to_rfc3339),
            not_before: until.map(Timestamp::to_rfc3339),
            last_failure,
            cleanup_pending: pending(agent),
            queue_position: None,
            delayed_because: cause.and_then(QueueCause::delayed_because).map(str::to_owned),
            last_event_at: None,
            detail: None,
        }
    }

    /// Says whether the agent is frozen, which is not part of its record.
    pub(crate) fn frozen(self, frozen: bool) -> Self {
        Self { status: self.status.frozen(frozen), ..self }
    }

    /// Says what nodes reported of its work, which is not part of its record.
    pub(crate) fn kept(self, agent: &Agent, work: Vec<KeptWork>) -> Self {
        Self { status: self.status.kept(agent, &work), kept_work: work, ..self }
    }

    /// The same with the time at which it was heard of last.
    pub(crate) fn heard(self, at: Option<Timestamp>) -> Self {
        Self { last_event_at: at.map(Timestamp::to_rfc3339), ..self }
    }

    /// One agent with everything. `position` is how many entries start before it.
    pub(crate) fn full(record: &Versioned, position: Option<u64>) -> Self {
        let (spec, work) = (&record.agent.spec, &record.agent.work);
        let detail = Detail {
            context: spec.context.clone(),
            gates: spec.gates.clone(),
            gate_plan: work.plan.clone(),
            gate_report: work.report.clone(),
            filtered_paths: work.filtered.clone(),
            findings: work.findings.clone(),
            result: work.result.clone(),
            session: work.session.clone(),
        };
        Self { queue_position: position, detail: Some(detail), ..Self::brief(record) }
    }
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
fn warnings(agent: &Agent, work: &[KeptWork]) -> Vec<String> {
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

/// Why dispatch is paused.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PauseView {
    by: String,
    reason: Option<String>,
    since: String,
}

impl From<Pause> for PauseView {
    fn from(pause: Pause) -> Self {
        Self { by: pause.by, reason: pause.reason, since: pause.at.to_rfc3339() }
    }
}
