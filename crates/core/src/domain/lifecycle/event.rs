//! The events of an agent's life: everything that can happen to it.

use std::time::Duration;

use super::super::agent::{AnsweredAttention, Salvaged};
use super::super::blame::Part;
use super::super::gates::{FilteredPath, Finding, GatePlan, GateReport, Verdict};
use super::super::ids::{CommitId, NodeId, Timestamp};
use super::super::job::WorkerResult;
use super::super::outcome::{EndReason, Failure, Outcome};
use super::super::publication::RemoteLook;
use super::super::spent::Spent;
use super::super::stall::Stage;

/// The other nodes of the fleet, as far as they could run what failed on this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// One of them can, now.
    Able,
    /// None of them can now; one may be able to later.
    Away,
    /// There is none that could.
    Nobody,
}

/// Origin of a kill order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillCause {
    /// A person or program, for this agent.
    Operator,
    /// Kill-all.
    KillAll,
}

impl KillCause {
    pub(super) fn reason(self) -> EndReason {
        match self {
            Self::Operator => EndReason::Operator,
            Self::KillAll => EndReason::KillAll,
        }
    }
}

/// Fate of work that an agent left and that was not received yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Salvage {
    /// There was none, or there was nothing new in it.
    Nothing,
    /// It was committed on HEAD and is kept in the server's bare repository: the next attempt goes on from it.
    Kept(CommitId),
    /// The tree is kept in the server's bare repository as it was, HEAD where it was.
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
        /// Result of that worker, or the reason of its failure.
        result: WorkerResult,
    },
    /// Its tree is there.
    TreeReady {
        /// The base commit.
        base: CommitId,
        /// The remote tip of its own branch.
        remote_tip: Option<CommitId>,
        /// The gate plan by which its work will be judged.
        plan: GatePlan,
        /// Warnings that a person should read.
        warnings: Vec<String>,
    },
    /// Its confinement is there.
    Confined,
    /// Its program runs.
    Launched {
        /// The session, when known beforehand.
        session: Option<String>,
        /// Warnings that a person should read.
        warnings: Vec<String>,
    },
    /// Its program is silent, and the answer to that went one stage further.
    Stalled {
        /// Stage that the answer has reached.
        stage: Stage,
        /// One line for people.
        summary: String,
    },
    /// Its program goes on after a silence.
    WentOn,
    /// A person answered that it is to be waited for.
    Answered(AnsweredAttention),
    /// Its program has used up this much since it was started.
    Spent(Spent),
    /// Its program ended.
    TurnEnded {
        /// Outcome of the turn.
        outcome: Outcome,
        /// Time left of the attempt, as supervision measured it; `None` when it does not know, and the wall clock decides.
        left: Option<Duration>,
        /// The session, when known.
        session: Option<String>,
        /// Warnings that a person should read.
        warnings: Vec<String>,
    },
    /// Its commits were received into the server's bare repository.
    Kept {
        /// The newest commit.
        head: CommitId,
        /// Warnings that a person should read.
        warnings: Vec<String>,
    },
    /// Its HEAD is where it was.
    Unchanged {
        /// Branches on which it did make something; they are kept.
        beside: Vec<String>,
        /// Warnings that a person should read.
        warnings: Vec<String>,
    },
    /// HEAD does not descend from the base.
    Diverged {
        /// The branches that were kept.
        branches: Vec<String>,
        /// Warnings that a person should read.
        warnings: Vec<String>,
    },
    /// A new commit changes paths that go through a git filter; nothing else was judged.
    Filtered {
        /// Which paths, and which filters.
        paths: Vec<FilteredPath>,
    },
    /// A new commit holds secrets; nothing else was judged.
    SecretsFound {
        /// The secrets that were found, masked.
        findings: Vec<Finding>,
    },
    /// The gates have spoken.
    Judged {
        /// Report of the gates.
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
        /// Origin and reason of the order, for people.
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
        /// The failure.
        failure: Failure,
        /// Warnings that a person should read.
        warnings: Vec<String>,
        /// The other nodes, as far as they could run it.
        elsewhere: Elsewhere,
    },
    /// Everything it held was released.
    Unwound {
        /// Fate of work that was not received before.
        salvage: Salvage,
        /// Leftovers that could not be cleaned up yet, and the reason.
        pending: Option<String>,
        /// The remote's answer about a push of which the end was not known.
        look: RemoteLook,
        /// Warnings that a person should read.
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
            Self::FinishedElsewhere { result: WorkerResult::Completed(_) } => "FinishedElsewhere(ok)",
            Self::FinishedElsewhere { .. } => "FinishedElsewhere(failed)",
            Self::Stalled { .. } => "Stalled",
            Self::WentOn => "WentOn",
            Self::Answered(_) => "Answered",
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
