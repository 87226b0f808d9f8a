//! The life of an agent as one pure function: [`next`] turns (record, event, now) into (record, effect, facts).
//! The sequence of steps lives only here; a step performs one effect and returns one event.

mod moved;
mod node_fault;
mod quota;

use std::time::Duration;

use serde_json::json;
use thiserror::Error;

use super::agent::{
    Agent, Attention, AttentionKind, End, Ending, QueueCause, Salvaged, Spent, State, Status, Turn,
};
use super::blame::Part;
use super::gates::{FilteredPath, Finding, GatePlan, GateReport, Verdict};
use super::ids::{CommitId, NodeId, Timestamp};
use super::journal::Fact;
use super::outcome::{EndReason, Failure, FailureKind, Outcome, cut};
use super::publication::{Publication, RemoteLook};
use super::retry;
use super::spec::AgentType;
use super::stall::Stage;
use crate::limits;

pub use node_fault::Elsewhere;

/// Who gave a kill order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillCause {
    /// A person or program, for this agent.
    Operator,
    /// Kill-all.
    KillAll,
}

impl KillCause {
    fn reason(self) -> EndReason {
        match self {
            Self::Operator => EndReason::Operator,
            Self::KillAll => EndReason::KillAll,
        }
    }
}

/// What became of work that an agent left and nobody had received yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Salvage {
    /// There was none, or there was nothing new in it.
    Nothing,
    /// It was committed on HEAD and is kept in the repository store: the next attempt goes on from it.
    Kept(CommitId),
    /// The tree is kept in the repository store as it was, HEAD where it was.
    Saved(Salvaged),
    /// HEAD was received, and what lay beside it (other branches, stashes) is kept as it was found then.
    Beside(Salvaged),
    /// It could not be received; the tree stays.
    Failed,
}

/// Everything that can happen to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A slot took it.
    Leased,
    /// A slot took it, but what it would meet is known to fail: it waits again.
    PutOff {
        /// Not before this time.
        until: Timestamp,
        /// Why.
        why: String,
        /// Mark of the credential whose limit it waits for, when that is why.
        credential: Option<String>,
    },
    /// It waits for the limit of a credential, and another one is in force now.
    CredentialChanged,
    /// Another worker of the same queue finished its job while it waited.
    FinishedElsewhere {
        /// What that worker returned, or why it failed.
        result: Result<String, String>,
    },
    /// Its tree is there.
    TreeReady {
        /// The base commit.
        base: CommitId,
        /// The remote tip of its own branch.
        remote_tip: Option<CommitId>,
        /// What will judge it.
        plan: GatePlan,
        /// What a person should know.
        warnings: Vec<String>,
    },
    /// Its confinement is there.
    Confined,
    /// Its program runs.
    Launched {
        /// The session, when known beforehand.
        session: Option<String>,
        /// What a person should know.
        warnings: Vec<String>,
    },
    /// Its program is silent, and the answer to that went one stage further.
    Stalled {
        /// How far.
        stage: Stage,
        /// One line for people.
        summary: String,
    },
    /// Its program goes on after a silence.
    WentOn,
    /// Its program has used up this much since it was started.
    Spent(Spent),
    /// Its program ended.
    TurnEnded {
        /// How the turn went.
        outcome: Outcome,
        /// What is left of the attempt's time, as supervision measured it; by the wall clock when it does not know.
        left: Option<Duration>,
        /// The session, when known.
        session: Option<String>,
        /// What a person should know.
        warnings: Vec<String>,
    },
    /// What it made is in the repository store.
    Kept {
        /// The newest commit.
        head: CommitId,
        /// What a person should know.
        warnings: Vec<String>,
    },
    /// Its HEAD is where it was.
    Unchanged {
        /// Branches on which it did make something; they are kept.
        beside: Vec<String>,
        /// What a person should know.
        warnings: Vec<String>,
    },
    /// HEAD does not descend from the base.
    Diverged {
        /// The branches that were kept.
        branches: Vec<String>,
        /// What a person should know.
        warnings: Vec<String>,
    },
    /// A new commit changes paths that go through a git filter; nothing else was judged.
    Filtered {
        /// Which paths, and which filters.
        paths: Vec<FilteredPath>,
    },
    /// A new commit holds secrets; nothing else was judged.
    SecretsFound {
        /// What, masked.
        findings: Vec<Finding>,
    },
    /// The gates have spoken.
    Judged {
        /// What they found.
        report: GateReport,
        /// Parts of the commit that its gates did not see.
        warnings: Vec<String>,
    },
    /// The work does not fit onto the newest base.
    Conflicted {
        /// The newest base commit.
        base: CommitId,
        /// The files.
        files: Vec<String>,
    },
    /// The remote took the judged commit.
    Pushed {
        /// It was asked afterwards and shows the commit.
        shown: bool,
    },
    /// A step failed.
    Failed(Failure),
    /// It must end.
    Kill {
        /// By which order.
        cause: KillCause,
        /// Who and why, for people.
        note: String,
    },
    /// Its attempt cannot go on through no fault of its own: the server stops for good, or the machine was started again.
    Interrupted,
    /// Another server goes on with it. What its last step had begun is begun again, unless it goes on by itself.
    TakenOver,
    /// A node of a fleet took it out of the queue: before [`Event::Leased`], so that what only another node has is left
    /// behind.
    Placed {
        /// The node.
        node: NodeId,
    },
    /// The node that held it is lost: it waits again, unless that was decided otherwise before.
    NodeLost {
        /// The node.
        node: NodeId,
    },
    /// A step failed for a reason that lies on this node of a fleet.
    NodeFailed {
        /// The node.
        node: NodeId,
        /// The part of its work that failed.
        part: Part,
        /// What failed.
        failure: Failure,
        /// What a person should know.
        warnings: Vec<String>,
        /// The other nodes, as far as they could run it.
        elsewhere: Elsewhere,
    },
    /// Everything it held was given back.
    Unwound {
        /// What became of work that was not received before.
        salvage: Salvage,
        /// What could not be cleaned up yet and why.
        pending: Option<String>,
        /// The remote's answer about a push of which the end was not known.
        look: RemoteLook,
        /// What a person should know.
        warnings: Vec<String>,
    },
}

impl Event {
    /// Returns the event's name, as the transition table prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Leased => "Leased",
            Self::PutOff { .. } => "PutOff",
            Self::CredentialChanged => "CredentialChanged",
            Self::FinishedElsewhere { result: Ok(_) } => "FinishedElsewhere(ok)",
            Self::FinishedElsewhere { .. } => "FinishedElsewhere(failed)",
            Self::Stalled { .. } => "Stalled",
            Self::WentOn => "WentOn",
            Self::Spent(_) => "Spent",
            Self::TreeReady { .. } => "TreeReady",
            Self::Confined => "Confined",
            Self::Launched { .. } => "Launched",
            Self::TurnEnded { outcome: Outcome::Completed { .. }, .. } => "TurnEnded(ok)",
            Self::TurnEnded { .. } => "TurnEnded(failed)",
            Self::Kept { .. } => "Kept",
            Self::Unchanged { .. } => "Unchanged",
            Self::Diverged { .. } => "Diverged",
            Self::Filtered { .. } => "Filtered",
            Self::SecretsFound { .. } => "SecretsFound",
            Self::Judged { report, .. } if report.verdict == Verdict::Failed => "Judged(failed)",
            Self::Judged { .. } => "Judged(passed)",
            Self::Conflicted { .. } => "Conflicted",
            Self::Pushed { .. } => "Pushed",
            Self::Failed(_) => "Failed",
            Self::Kill { .. } => "Kill",
            Self::Interrupted => "Interrupted",
            Self::TakenOver => "TakenOver",
            Self::Placed { .. } => "Placed",
            Self::NodeLost { .. } => "NodeLost",
            Self::NodeFailed { .. } => "NodeFailed",
            Self::Unwound { .. } => "Unwound",
        }
    }
}

/// What must be done next; one per state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it waits in the queue.
    Wait,
    /// Step 3.
    Checkout,
    /// Step 4.
    Confine,
    /// Step 5.
    Launch,
    /// Step 6.
    Supervise,
    /// Step 7.
    Commit,
    /// Step 8.
    Gate,
    /// Step 9.
    Publish,
    /// Give everything back.
    Unwind,
    /// Nothing: it has ended.
    Rest,
}

/// The result of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The new record.
    pub agent: Agent,
    /// What must be done next.
    pub effect: Effect,
    /// What to log.
    pub facts: Vec<Fact>,
}

/// What a decision may depend on besides record and event.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time.
    pub at: Timestamp,
    /// A number uniform in 0..1, for jitter.
    pub dice: f64,
}

/// An event that cannot happen in the state. The record stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{event} cannot happen to an agent that is {state}")]
pub struct Illegal {
    /// The state's name.
    pub state: &'static str,
    /// The event's name.
    pub event: &'static str,
}

/// Returns the state's name, as the transition table prints it.
pub fn state_name(state: &State) -> &'static str {
    match state {
        State::Queued { .. } => "Queued",
        State::Checkout { .. } => "Checkout",
        State::Confining { .. } => "Confining",
        State::Launching { .. } => "Launching",
        State::Working => "Working",
        State::Committing { .. } => "Committing",
        State::Gating { .. } => "Gating",
        State::Publishing { .. } => "Publishing",
        State::Unwinding { .. } => "Unwinding",
        State::Settled { .. } => "Settled",
    }
}

/// Returns what must be done in a state.
pub fn effect(state: &State) -> Effect {
    match state {
        State::Queued { .. } => Effect::Wait,
        State::Checkout { .. } => Effect::Checkout,
        State::Confining { .. } => Effect::Confine,
        State::Launching { .. } => Effect::Launch,
        State::Working => Effect::Supervise,
        State::Committing { .. } => Effect::Commit,
        State::Gating { .. } => Effect::Gate,
        State::Publishing { .. } => Effect::Publish,
        State::Unwinding { .. } => Effect::Unwind,
        State::Settled { .. } => Effect::Rest,
    }
}

/// Decides what follows. Errors when the event cannot happen in the state; then nothing changes.
pub fn next(agent: &Agent, event: Event, now: Now) -> Result<Step, Illegal> {
    let mut decision = Decision { agent: agent.clone(), now, facts: Vec::new() };
    let illegal = Illegal { state: state_name(&agent.state), event: event.name() };
    let state = decision.decide(event).ok_or(illegal)?;
    decision.enter(state, agent);
    let effect = effect(&decision.agent.state);
    Ok(Step { agent: decision.agent, effect, facts: decision.facts })
}

struct Decision {
    agent: Agent,
    now: Now,
    facts: Vec<Fact>,
}

impl Decision {
    /// Returns the state that follows, or `None` when the event cannot happen.
    fn decide(&mut self, event: Event) -> Option<State> {
        match event {
            Event::Kill { cause, note } => return self.kill(cause, note),
            Event::Interrupted => return self.interrupt(),
            Event::TakenOver => return self.taken_over(),
            Event::Placed { node } => return self.placed(node),
            Event::NodeLost { node } => return self.node_lost(&node),
            _ => {}
        }
        match (self.agent.state.clone(), event) {
            (State::Queued { cause }, Event::Leased) => Some(self.leased(cause.origin())),
            (State::Queued { cause }, Event::PutOff { until, why, credential }) => {
                let before = Box::new(cause.origin().clone());
                Some(State::Queued { cause: QueueCause::Delayed { until, why, before, credential } })
            }
            (State::Queued { cause }, Event::CredentialChanged) => quota::lifted(&cause),
            (State::Queued { .. }, Event::FinishedElsewhere { result }) => {
                Some(self.finished_elsewhere(result))
            }
            (State::Working, Event::Stalled { stage, summary }) => Some(self.stalled(stage, summary)),
            (State::Working, Event::WentOn) => {
                self.agent.attention.retain(|one| one.kind != AttentionKind::Stalled);
                Some(State::Working)
            }
            (State::Working, Event::Spent(spent)) => {
                self.agent.spent_in_run = spent;
                Some(State::Working)
            }
            (State::Checkout { turn }, Event::TreeReady { base, remote_tip, plan, warnings }) => {
                let work = &mut self.agent.work;
                if work.base.is_none() {
                    // Recorded once: what others push to the branch afterwards is not ours to overwrite.
                    work.remote_tip = remote_tip;
                }
                (work.base, work.plan) = (Some(base), Some(plan));
                self.warn_all(warnings);
                Some(State::Confining { turn })
            }
            (State::Confining { turn }, Event::Confined) => {
                self.agent.runs += 1;
                // From here on its program may run, whether or not anybody learns that it was started.
                self.agent.work.dirty = true;
                Some(State::Launching { turn })
            }
            (State::Launching { .. }, Event::Launched { session, warnings }) => {
                self.warn_all(warnings);
                Some(self.launched(session))
            }
            (State::Working, Event::TurnEnded { outcome, left, session, warnings }) => {
                self.warn_all(warnings);
                if session.is_some() {
                    self.agent.work.session = session;
                }
                self.stop_clock(left);
                Some(match outcome {
                    Outcome::Completed { text } => {
                        self.agent.work.result = Some(text.clone()).filter(|text| !text.is_empty());
                        State::Committing { text }
                    }
                    Outcome::Failed(failure) => self.failed(failure, false),
                })
            }
            (State::Committing { .. }, Event::Kept { head, warnings }) => {
                self.warn_all(warnings);
                Some(self.kept(head))
            }
            (State::Committing { .. }, Event::Unchanged { beside, warnings }) => {
                self.warn_all(warnings);
                Some(self.unchanged(&beside))
            }
            (State::Committing { .. }, Event::Diverged { branches, warnings }) => {
                self.warn_all(warnings);
                self.agent.work.dirty = false;
                let kept = branches.join(", ");
                let text = format!(
                    "HEAD does not descend from the base commit, so it cannot be judged against it; kept branches: {kept}. \
                     Look at them in the repository store under refs/agents/{}/branches/.",
                    self.agent.id
                );
                Some(self.failed(Failure::new(FailureKind::Diverged, text), false))
            }
            (State::Gating { .. }, Event::Filtered { paths }) => Some(self.filtered(paths)),
            (State::Gating { .. }, Event::SecretsFound { findings }) => {
                self.note("secret.found", json!({"findings": &findings}));
                let text = format!(
                    "a new commit holds {}: {}; nothing was pushed",
                    count(findings.len(), "secret"),
                    secret_places(&findings)
                );
                Some(self.refused(findings, EndReason::Secret, text))
            }
            (State::Gating { head }, Event::Judged { report, warnings }) => {
                self.warn_all(warnings);
                Some(self.judged(head, report))
            }
            (State::Publishing { .. }, Event::Conflicted { base, files }) => {
                Some(self.conflicted(&base, &files))
            }
            (State::Publishing { head }, Event::Pushed { shown }) => {
                self.pushed(head, shown);
                Some(self.settle(Status::Completed, EndReason::Done, None))
            }
            (State::Publishing { head }, Event::Failed(failure)) => {
                if failure.kind == FailureKind::PushRejected {
                    self.agent.work.publication = Publication::NotThere { commit: head };
                }
                Some(self.failed(failure, false))
            }
            (
                state @ (State::Checkout { .. } | State::Confining { .. } | State::Launching { .. }),
                Event::Failed(failure),
            ) => {
                let in_setup = !matches!(state, State::Launching { .. });
                Some(self.failed(failure, in_setup))
            }
            (State::Working | State::Committing { .. } | State::Gating { .. }, Event::Failed(failure)) => {
                Some(self.failed(failure, false))
            }
            (
                state @ (State::Checkout { .. }
                | State::Confining { .. }
                | State::Launching { .. }
                | State::Working
                | State::Committing { .. }
                | State::Gating { .. }
                | State::Publishing { .. }),
                Event::NodeFailed { node, failure, warnings, elsewhere, .. },
            ) => {
                self.warn_all(warnings);
                self.stop_clock(None);
                let in_setup = matches!(state, State::Checkout { .. } | State::Confining { .. });
                Some(self.node_failed(node, failure, elsewhere, in_setup))
            }
            (State::Unwinding { ending }, Event::Unwound { salvage, pending, look, warnings }) => {
                self.warn_all(warnings);
                self.looked(&look);
                Some(self.unwound(ending, salvage, pending))
            }
            _ => None,
        }
    }

    fn leased(&mut self, cause: &QueueCause) -> State {
        // Neither an interruption nor a limit of the model service is the attempt's own end.
        let interrupted = matches!(cause, QueueCause::Interrupted) || cause.quota().is_some();
        if !interrupted || self.agent.attempt == 0 {
            self.agent.attempt += 1;
        }
        match (&self.agent.work.kept, self.agent.work.unjudged) {
            (Some(head), true) => State::Gating { head: head.clone() },
            _ if !self.agent.work.findings.is_empty() => {
                State::Checkout { turn: Turn::Fix { findings: self.agent.work.findings.clone() } }
            }
            _ if self.agent.attempt == 1 && !interrupted => State::Checkout { turn: Turn::First },
            _ => State::Checkout { turn: Turn::Again },
        }
    }

    fn launched(&mut self, session: Option<String>) -> State {
        let limit = self.agent.spec.timeout_seconds.saturating_mul(1000);
        let work = &mut self.agent.work;
        let left = Duration::from_millis(work.time_left_ms.unwrap_or(limit));
        work.deadline = Some(self.now.at.plus(left));
        if session.is_some() {
            work.session = session;
        }
        self.agent.started_at.get_or_insert(self.now.at);
        State::Working
    }

    /// Asks for a person while the silence lasts; the first stage says since when.
    fn stalled(&mut self, stage: Stage, summary: String) -> State {
        let data = json!({"kind": AttentionKind::Stalled, "stage": stage, "summary": &summary});
        self.note("agent.attention", data);
        let attention = &mut self.agent.attention;
        match attention.iter_mut().find(|one| one.kind == AttentionKind::Stalled) {
            Some(known) => known.summary = summary,
            None => {
                attention.push(Attention { kind: AttentionKind::Stalled, summary, since: self.now.at });
            }
        }
        State::Working
    }

    /// The attempt's time runs only while the agent's program does: gates have deadlines of their own.
    fn stop_clock(&mut self, left: Option<Duration>) {
        let work = &mut self.agent.work;
        if let Some(deadline) = work.deadline.take() {
            let left = left.unwrap_or_else(|| deadline.since(self.now.at)).as_millis();
            work.time_left_ms = Some(u64::try_from(left).unwrap_or(u64::MAX));
        }
    }

    fn kept(&mut self, head: CommitId) -> State {
        self.note("git.commit", json!({"commit": &head}));
        let work = &mut self.agent.work;
        work.kept = Some(head.clone());
        (work.dirty, work.unjudged) = (false, true);
        self.agent.quota_waits = 0;
        self.agent.node_faults.clear();
        self.agent.node_tries = 0;
        let work = &mut self.agent.work;
        work.findings.clear();
        State::Gating { head }
    }

    fn unchanged(&mut self, beside: &[String]) -> State {
        self.agent.work.dirty = false;
        let elsewhere = (!beside.is_empty()).then(|| {
            format!(
                "nothing is on the agent's own branch {}: what it committed is on {}, which nothing was published of. \
                 It is kept; `mosaic restore {}` brings it back",
                self.agent.branch,
                beside.join(", "),
                self.agent.name
            )
        });
        if self.agent.spec.agent_type == AgentType::Worker {
            let text = "the agent ended without changing anything; its last words are in `result`. \
                        Say more clearly what is wanted, or use agentType reviewer if no change is expected.";
            let text = elsewhere.unwrap_or_else(|| text.to_owned());
            self.settle(Status::Failed, EndReason::NoChanges, Some(text))
        } else {
            self.warn_all(elsewhere.into_iter().collect());
            self.settle(Status::Completed, EndReason::NoChanges, None)
        }
    }

    /// What the repository keeps encrypted or elsewhere would be published as it is. No fix round mends that.
    fn filtered(&mut self, mut paths: Vec<FilteredPath>) -> State {
        let named: Vec<String> = paths
            .iter()
            .take(limits::NAMED_COMMITS)
            .map(|one| format!("{} ({})", one.path, one.filter))
            .collect();
        let more = paths.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!(
            "changed paths go through a git filter, which does not run here, so they would be published as plain files: \
             {}{more}; nothing was pushed, the work is kept: get it with mosaic restore {} and commit it where the filter \
             is installed",
            named.join(", "),
            self.agent.name
        );
        paths.truncate(limits::FINDINGS);
        self.note("filter.refused", json!({"paths": &paths}));
        self.agent.work.unjudged = false;
        self.agent.work.filtered = paths;
        self.settle(Status::Failed, EndReason::FilteredPaths, Some(text))
    }

    fn judged(&mut self, head: CommitId, report: GateReport) -> State {
        let results: Vec<_> =
            report.results.iter().map(|r| json!({"name": r.name, "outcome": r.outcome})).collect();
        self.note("gate.finished", json!({"commit": &head, "verdict": report.verdict, "results": results}));
        let failed = report.verdict == Verdict::Failed;
        if report.verdict == Verdict::Incomplete {
            self.agent.warn("verdict incomplete: not every gate of the profile could be judged; see gates");
        }
        let findings = report.findings();
        let names: Vec<String> = report
            .results
            .iter()
            .filter(|r| !matches!(r.outcome, super::gates::GateOutcome::Pass))
            .map(|r| format!("{} ({})", r.name, r.summary))
            .collect();
        self.agent.work.report = Some(report);
        if failed {
            self.refused(findings, EndReason::GatesFailed, format!("gates not passed: {}", names.join(", ")))
        } else {
            if !self.agent.work.offered.contains(&head) {
                self.agent.work.offered.push(head.clone());
            }
            // Written before the push begins: whoever ends it in the middle knows what to ask the remote.
            self.agent.work.publication = Publication::MayBeThere { commit: head.clone() };
            State::Publishing { head }
        }
    }

    fn pushed(&mut self, head: CommitId, shown: bool) {
        self.facts.push(pushed(&self.agent, &head, shown, self.now.at));
        let work = &mut self.agent.work;
        if shown {
            work.publication = Publication::There { commit: head.clone() };
        }
        work.pushed = Some(head);
        work.unjudged = false;
    }

    /// The remote was asked about a push of which the end was not known.
    fn looked(&mut self, look: &RemoteLook) {
        if let Some(fact) = learn(&mut self.agent, look, self.now.at) {
            self.facts.push(fact);
        }
    }

    fn conflicted(&mut self, base: &CommitId, files: &[String]) -> State {
        self.note("git.conflict", json!({"base": base, "files": files}));
        let findings = files.iter().map(|path| Finding {
            source: "conflict".to_owned(),
            path: Some(path.clone()),
            line: None,
            secret: None,
            message: format!(
                "conflicts with the newest {} ({})",
                self.agent.spec.context.branch,
                base.short()
            ),
        });
        let text = format!(
            "the work conflicts with {} at {} in {}; nothing was pushed, the work is kept in the repository store",
            self.agent.spec.context.branch,
            base.short(),
            files.join(", ")
        );
        self.refused(findings.collect(), EndReason::Conflict, text)
    }

    /// The work was refused: back to the agent while a fix round is left.
    fn refused(&mut self, findings: Vec<Finding>, reason: EndReason, text: String) -> State {
        self.agent.work.unjudged = false;
        self.agent.work.findings.clone_from(&findings);
        if self.agent.fix_round < self.agent.spec.max_fix_rounds {
            self.agent.fix_round += 1;
            self.note(
                "agent.fix_requested",
                json!({"reason": reason, "fixRound": self.agent.fix_round, "findings": &findings}),
            );
            return State::Checkout { turn: Turn::Fix { findings } };
        }
        let rounds = count(self.agent.fix_round as usize, "fix round");
        self.settle(Status::Failed, reason, Some(format!("{text} (after {rounds})")))
    }

    fn failed(&mut self, failure: Failure, in_setup: bool) -> State {
        if failure.kind == FailureKind::Stopped {
            return self.settle(Status::Killed, failure.kind.end_reason(in_setup), Some(failure.message));
        }
        if let Some(reset) = failure.reset.filter(|_| self.agent.quota_waits < limits::QUOTA_WAITS) {
            let cause = self.wait_for_quota(reset, failure);
            return State::Unwinding { ending: Ending::Requeue { cause } };
        }
        if failure.kind.is_retryable() && self.agent.attempt <= self.agent.spec.max_retries {
            let until = self.now.at.plus(self.pause());
            self.note("task.retry_scheduled", json!({"until": until.to_rfc3339(), "error": &failure.message, "attempt": self.agent.attempt}));
            return State::Unwinding {
                ending: Ending::Requeue { cause: QueueCause::Backoff { until, failure } },
            };
        }
        let mut text = failure.message;
        if failure.kind.is_retryable() && self.agent.attempt > 1 {
            text = format!("{text} (attempt {} of {})", self.agent.attempt, 1 + self.agent.spec.max_retries);
        }
        self.settle(Status::Failed, failure.kind.end_reason(in_setup), Some(text))
    }

    fn pause(&self) -> Duration {
        let (attempt, dice) = (self.agent.attempt, self.now.dice);
        self.agent
            .spec
            .backoff
            .map_or_else(|| retry::backoff(attempt, dice), |asked| retry::asked(asked, attempt, dice))
    }

    /// Another worker of the same queue has done the work, or failed at it. The contract has no way from spawning to
    /// completed, so that it is said to have run first.
    fn finished_elsewhere(&mut self, result: Result<String, String>) -> State {
        self.agent.warn("finished by another worker of the queue: nothing was judged or pushed here");
        let (status, reason, error) = match result {
            Ok(value) => {
                if self.agent.started_at.is_none() {
                    let data =
                        json!({"from": self.agent.status(), "to": Status::Running, "name": &self.agent.name});
                    self.note("agent.running", data);
                    self.agent.started_at = Some(self.now.at);
                }
                self.agent.work.result =
                    Some(cut(value, limits::ERROR_BYTES)).filter(|text| !text.is_empty());
                (Status::Completed, EndReason::Done, None)
            }
            Err(why) => {
                let text = format!("another worker of the queue failed it: {why}");
                (Status::Failed, EndReason::AgentError, Some(cut(text, limits::ERROR_BYTES)))
            }
        };
        State::Settled { end: End { status, reason, error, at: self.now.at } }
    }

    fn kill(&mut self, cause: KillCause, note: String) -> Option<State> {
        let killed =
            End { status: Status::Killed, reason: cause.reason(), error: Some(note), at: self.now.at };
        match &self.agent.state {
            State::Settled { .. } | State::Unwinding { ending: Ending::Settle { .. } } => None,
            // Nothing of a queued agent runs; its work was received when its last attempt unwound, or its tree stays.
            State::Queued { .. } => Some(State::Settled { end: killed }),
            _ => Some(State::Unwinding { ending: Ending::Settle { end: killed } }),
        }
    }

    fn interrupt(&mut self) -> Option<State> {
        match &self.agent.state {
            State::Settled { .. } => None,
            // Leased, but nothing was done yet: writing the state as it is gives the lease back.
            same @ (State::Queued { .. } | State::Unwinding { .. }) => Some(same.clone()),
            _ => Some(State::Unwinding { ending: Ending::Requeue { cause: QueueCause::Interrupted } }),
        }
    }

    fn taken_over(&mut self) -> Option<State> {
        let state = match self.agent.state.clone() {
            State::Settled { .. } => return None,
            // Leased, but nothing was done yet: writing the state as it is gives the lease back.
            same @ State::Queued { .. } => return Some(same),
            // The tree is known to the server that made it only.
            State::Confining { turn } | State::Launching { turn } => State::Checkout { turn },
            same => same,
        };
        self.note("agent.adopted", json!({"phase": self.agent.phase(), "attempt": self.agent.attempt}));
        Some(state)
    }

    fn requeue(cause: QueueCause) -> State {
        State::Unwinding { ending: Ending::Requeue { cause } }
    }

    fn settle(&self, status: Status, reason: EndReason, error: Option<String>) -> State {
        State::Unwinding { ending: Ending::Settle { end: End { status, reason, error, at: self.now.at } } }
    }

    fn unwound(&mut self, ending: Ending, salvage: Salvage, pending: Option<String>) -> State {
        let work = &mut self.agent.work;
        work.dirty = salvage == Salvage::Failed;
        work.cleanup_pending = pending;
        match salvage {
            Salvage::Kept(head) => work.kept = Some(head),
            Salvage::Saved(ref saved) | Salvage::Beside(ref saved) => {
                work.salvage_beside = matches!(salvage, Salvage::Beside(_));
                work.salvage = Some(saved.clone());
                self.note("git.salvaged", json!({"reference": &saved.reference, "commit": &saved.commit}));
            }
            Salvage::Nothing | Salvage::Failed => {}
        }
        match ending {
            Ending::Requeue { cause } => {
                (self.agent.work.deadline, self.agent.work.time_left_ms) = (None, None);
                State::Queued { cause }
            }
            Ending::Settle { mut end } => {
                end.at = self.now.at;
                State::Settled { end }
            }
        }
    }

    fn warn_all(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            self.agent.warn(warning);
        }
    }

    /// Takes the new state and logs what changed on the outside.
    fn enter(&mut self, state: State, before: &Agent) {
        let ran_elsewhere =
            before.started_at != self.agent.started_at && matches!(state, State::Settled { .. });
        let status = if ran_elsewhere { Status::Running } else { before.status() };
        let phase = before.phase();
        if !matches!(state, State::Working) {
            let waits = quota::is_waited_for(&state);
            self.agent.attention.retain(|one| waits && one.kind == AttentionKind::Quota);
            // However the run ended: it counts.
            self.agent.spent = self.agent.spent();
            self.agent.spent_in_run = Spent::default();
        }
        let is_left = |one: &&Attention| self.agent.attention.iter().all(|left| left.kind != one.kind);
        let cleared: Vec<AttentionKind> =
            before.attention.iter().filter(is_left).map(|one| one.kind).collect();
        for kind in cleared {
            self.note("agent.attention_cleared", json!({"kind": kind}));
        }
        self.agent.state = state;
        let (new_status, new_phase) = (self.agent.status(), self.agent.phase());
        if new_phase != phase {
            let data = json!({"from": phase, "to": new_phase, "attempt": self.agent.attempt, "fixRound": self.agent.fix_round});
            self.note("agent.phase", data);
        }
        if new_status != status {
            let mut data = json!({"from": status, "to": new_status, "name": &self.agent.name});
            if let Some(end) = self.agent.end() {
                data["endReason"] = json!(end.reason);
                data["error"] = json!(end.error);
            }
            self.note(&format!("agent.{}", new_status.as_str()), data);
        }
    }

    fn note(&mut self, kind: &str, data: serde_json::Value) {
        self.facts.push(fact(kind, &self.agent, self.now.at, data));
    }
}

/// Makes a fact about an agent.
pub fn fact(kind: &str, agent: &Agent, at: Timestamp, data: serde_json::Value) -> Fact {
    Fact { kind: kind.to_owned(), agent: Some(agent.id), task: Some(agent.spec.task_id.clone()), at, data }
}

fn pushed(agent: &Agent, commit: &CommitId, shown: bool, at: Timestamp) -> Fact {
    let data = json!({"branch": &agent.branch, "commit": commit, "shown": shown});
    fact("git.pushed", agent, at, data)
}

/// Records the remote's answer about a push of which the end was not known; returns the fact when it arrived.
pub(crate) fn learn(agent: &mut Agent, look: &RemoteLook, at: Timestamp) -> Option<Fact> {
    let work = &mut agent.work;
    work.publication = std::mem::take(&mut work.publication).after(look);
    let RemoteLook::Shows(commit) = look else { return None };
    let known = work.pushed.replace(commit.clone()).is_some();
    (!known).then(|| pushed(agent, commit, true, at))
}

/// Names the first secrets by rule and place, for people.
fn secret_places(findings: &[Finding]) -> String {
    const SHOWN: usize = 3;
    let one = |finding: &Finding| {
        let rule = finding.secret.as_ref().map_or(finding.source.as_str(), |secret| secret.rule.as_str());
        let place = match (&finding.path, finding.line) {
            (Some(path), Some(line)) => format!("in {path}:{line}"),
            (Some(path), None) => format!("in {path}"),
            (None, _) => "in a commit message".to_owned(),
        };
        let commit = finding.secret.as_ref().map(|secret| format!(" (commit {})", secret.commit.short()));
        format!("{rule} {place}{}", commit.unwrap_or_default())
    };
    let shown: Vec<String> = findings.iter().take(SHOWN).map(one).collect();
    let more = findings.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn count(n: usize, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}
