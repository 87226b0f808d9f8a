//! The agent's record: the truth about one agent. The data of a state sits in its variant; `status`, `phase` and
//! `endReason` are projections. Only [`super::lifecycle::next`] makes a new state out of an old one.

mod attention;
mod status;
mod work;

use serde::{Deserialize, Serialize};

pub use self::attention::{AnsweredAttention, Attention, AttentionAnswer, AttentionKind};
pub use self::status::{Phase, Status};
pub use self::work::{Salvaged, Work};

use super::gates::{Finding, Verdict};
use super::ids::{AgentId, BranchName, CommitId, NodeId, Timestamp};
use super::kept_work::LeftWork;
use super::outcome::{EndReason, Failure, FailureKind};
use super::spec::SpawnSpec;
use super::spent::Spent;
use super::stop::ForcedStop;

/// Why the agent's program is started (again).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "turn", rename_all = "camelCase")]
pub enum Turn {
    /// The task itself.
    First,
    /// The task again after a failed or interrupted attempt.
    Again,
    /// Findings to repair.
    Fix {
        /// The findings.
        findings: Vec<Finding>,
    },
}

/// Why an entry waits in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "camelCase")]
pub enum QueueCause {
    /// Newly admitted.
    Admitted,
    /// A failed attempt waits for its retry.
    Backoff {
        /// Not before this time.
        until: Timestamp,
        /// Failure of the attempt.
        failure: Failure,
    },
    /// The server stopped or was lost while it ran; does not count as an attempt.
    Interrupted,
    /// It was deferred: what it would meet is known to fail.
    Delayed {
        /// Not before this time.
        until: Timestamp,
        /// Why.
        why: String,
        /// Why it waited before.
        before: Box<QueueCause>,
        /// Mark of the credential whose limit it waits for, when that is why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
    },
}

impl QueueCause {
    /// Returns why it waits, whatever deferred it meanwhile.
    pub fn origin(&self) -> &Self {
        match self {
            Self::Delayed { before, .. } => before.origin(),
            other => other,
        }
    }

    /// Returns why it was deferred, when it was.
    pub fn delayed_because(&self) -> Option<&str> {
        match self {
            Self::Delayed { why, .. } => Some(why),
            other => other.quota().map(|(_, failure)| failure.message.as_str()),
        }
    }

    /// Returns what stands for the credential whose limit it waits for, its own attempt's or another agent's.
    pub fn limited_credential(&self) -> Option<&str> {
        match self {
            Self::Delayed { credential: Some(credential), .. } => Some(credential),
            other => other.quota().and_then(|(_, failure)| failure.credential.as_deref()),
        }
    }

    /// Returns until when and for which limit of the model service it waits, when it does.
    pub fn quota(&self) -> Option<(Timestamp, &Failure)> {
        match self.origin() {
            Self::Backoff { until, failure } if failure.reset.is_some() => Some((*until, failure)),
            _ => None,
        }
    }
}

/// Destination of an agent once everything that it held is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "camelCase")]
pub enum Ending {
    /// Back into the queue.
    Requeue {
        /// Why it waits.
        cause: QueueCause,
    },
    /// The end.
    Settle {
        /// End of the agent.
        end: End,
    },
}

/// End of an agent: its status, its reason, its error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// `completed`, `failed` or `killed`.
    pub status: Status,
    /// Why.
    pub reason: EndReason,
    /// The words for a person, when it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was settled; the time of the decision until then.
    pub at: Timestamp,
}

/// Where the agent is and what only matters there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum State {
    /// Waits for a slot.
    Queued {
        /// Why it waits.
        #[serde(flatten)]
        cause: QueueCause,
    },
    /// Its tree is being made.
    Checkout {
        /// The turn that the agent will begin with; decides its prompt.
        #[serde(flatten)]
        turn: Turn,
    },
    /// Its confinement is being made.
    Confining {
        /// The turn that the agent will begin with; decides its prompt.
        #[serde(flatten)]
        turn: Turn,
    },
    /// Its program is being started.
    Launching {
        /// The turn that the agent will begin with; decides its prompt.
        #[serde(flatten)]
        turn: Turn,
    },
    /// Its program runs.
    Working,
    /// Its work is being committed, harvested and received into the server's bare repository.
    Committing {
        /// The agent's last text.
        text: String,
    },
    /// Its commits are being judged.
    Gating {
        /// The commit under judgement.
        head: CommitId,
    },
    /// Its judged commit is being pushed.
    Publishing {
        /// The judged commit.
        head: CommitId,
    },
    /// Everything it holds is being released.
    Unwinding {
        /// Destination once everything is released.
        #[serde(flatten)]
        ending: Ending,
    },
    /// Nothing follows.
    Settled {
        /// End of the agent.
        #[serde(flatten)]
        end: End,
    },
}

/// A failure that lies on the node where it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFault {
    /// The node.
    pub node: NodeId,
    /// Its kind.
    pub kind: FailureKind,
    /// Its words.
    pub error: String,
    /// When.
    pub at: Timestamp,
}

/// The record of one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// A short name for people: the task's slug and four digits of the id.
    pub name: String,
    /// The spawn request that it was admitted with.
    pub spec: SpawnSpec,
    /// The branch it is pushed to.
    pub branch: BranchName,
    /// When it was admitted.
    pub spawned_at: Timestamp,
    /// When it ran for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The agent it repeats, for a manual retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<AgentId>,
    /// The running or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Fix rounds used so far.
    pub fix_round: u32,
    /// Number of starts of the agent's program; names its output files.
    pub runs: u32,
    /// The node of a fleet where its work lies; nothing before the first, after that one was lost, and where there is one
    /// node only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Budget that all runs that are over have used up, whatever became of them.
    #[serde(default, skip_serializing_if = "Spent::is_nothing")]
    pub spent: Spent,
    /// Budget that the running program has used up so far.
    #[serde(default, skip_serializing_if = "Spent::is_nothing")]
    pub spent_in_run: Spent,
    /// Number of its waits for a limit of the model service since its commits were last received.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quota_waits: u32,
    /// Number of nodes that were lost while they ran it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub node_losses: u32,
    /// Nodes on which it failed for a reason of theirs since its work last came to something, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_faults: Vec<NodeFault>,
    /// Number of those failures; one node may have several.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub node_tries: u32,
    /// Work of earlier attempts that other nodes have, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftWork>,
    /// Warnings that a person should read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Decisions that a person is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<Attention>,
    /// The last answer that let it continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Box<AnsweredAttention>>,
    /// Stop of its last run; nothing while that goes on, and when it ended by itself and well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Box<ForcedStop>>,
    /// State of its work.
    #[serde(default)]
    pub work: Work,
    /// Where it is.
    pub state: State,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Agent {
    /// Makes the record of a newly admitted agent. `prefix` is the branch prefix, normally `mosaic`.
    pub fn admitted(
        id: AgentId,
        spec: SpawnSpec,
        prefix: &str,
        previous: Option<AgentId>,
        now: Timestamp,
    ) -> Self {
        let slug = spec.task_id.slug();
        let branch = format!("{prefix}/{slug}/{}", id.short());
        let mut stem: &str = &slug[..slug.len().min(24)];
        stem = stem.trim_end_matches('-');
        Self {
            id,
            name: format!("{stem}-{}", &id.short()[..4]),
            spec,
            branch: branch.parse().expect("the prefix was checked and a slug is branch-safe"),
            spawned_at: now,
            started_at: None,
            previous,
            attempt: 0,
            fix_round: 0,
            runs: 0,
            node: None,
            spent: Spent::default(),
            spent_in_run: Spent::default(),
            quota_waits: 0,
            node_losses: 0,
            node_faults: Vec::new(),
            node_tries: 0,
            left: Vec::new(),
            warnings: Vec::new(),
            attention: Vec::new(),
            answered: None,
            stop: None,
            work: Work::default(),
            state: State::Queued { cause: QueueCause::Admitted },
        }
    }

    /// Returns the contract's word for the state.
    pub fn status(&self) -> Status {
        match &self.state {
            State::Settled { end } => end.status,
            _ if self.started_at.is_some() => Status::Running,
            _ => Status::Spawning,
        }
    }

    /// Returns the finer word for the state.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Queued { cause: QueueCause::Backoff { .. } } => Phase::Backoff,
            State::Queued { .. } => Phase::Queued,
            State::Checkout { .. } => Phase::Checkout,
            State::Confining { .. } | State::Launching { .. } => Phase::Starting,
            State::Working if !self.attention.is_empty() => Phase::Waiting,
            State::Working => Phase::Working,
            State::Committing { .. } => Phase::Committing,
            State::Gating { .. } => Phase::Gating,
            State::Publishing { .. } => Phase::Publishing,
            State::Unwinding { ending } => match ending {
                Ending::Requeue { cause: QueueCause::Backoff { .. } } => Phase::Backoff,
                Ending::Requeue { .. } => Phase::Queued,
                Ending::Settle { end } if end.status == Status::Killed => Phase::Killing,
                Ending::Settle { end } if end.status == Status::Completed => Phase::Publishing,
                Ending::Settle { .. } => Phase::Committing,
            },
            State::Settled { .. } => Phase::Settled,
        }
    }

    /// Returns how it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Settled { end } => Some(end),
            _ => None,
        }
    }

    /// Tells whether nothing can follow.
    pub fn is_terminal(&self) -> bool {
        self.end().is_some()
    }

    /// Returns the branch for people and programs: none once another worker of the queue has done the work, because nothing was
    /// pushed to it then.
    pub fn shown_branch(&self) -> Option<&BranchName> {
        let done_elsewhere = self.runs == 0 && self.status() == Status::Completed;
        (!done_elsewhere).then_some(&self.branch)
    }

    /// Returns the time before which a queued agent must not start, when there is one.
    pub fn not_before(&self) -> Option<Timestamp> {
        match &self.state {
            State::Queued {
                cause: QueueCause::Backoff { until, .. } | QueueCause::Delayed { until, .. },
            } => Some(*until),
            _ => None,
        }
    }

    /// Returns until when and for which limit of the model service it waits, or is about to wait, when it does.
    pub fn quota(&self) -> Option<(Timestamp, &Failure)> {
        match &self.state {
            State::Queued { cause } | State::Unwinding { ending: Ending::Requeue { cause } } => cause.quota(),
            _ => None,
        }
    }

    /// Returns what stands for the credential whose limit it waits for in the queue, when it does.
    pub fn limited_credential(&self) -> Option<&str> {
        match &self.state {
            State::Queued { cause } => cause.limited_credential(),
            _ => None,
        }
    }

    /// Returns what its runs have used up altogether.
    pub fn spent(&self) -> Spent {
        self.spent.and(self.spent_in_run)
    }

    /// Returns what the gates say so far.
    pub fn verdict(&self) -> Option<Verdict> {
        self.work.report.as_ref().map(|r| r.verdict)
    }

    /// Adds a warning once.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) && self.warnings.len() < crate::limits::FINDINGS {
            self.warnings.push(text);
        }
    }
}
