//! Facts that are logged: a closed list of kinds, each with the details that it has. `docs/events.md` is its page, and the
//! HTTP API has the same list as types; tests hold the three together.

mod agents;
mod server;
mod work;

use serde::Serialize;
use serde_json::Value;

pub use agents::{
    AgentAdopted, AgentAttention, AgentEnded, AgentFreeze, AgentMoved, AgentNodeLost, AgentPhase, AgentRan,
    AgentRemoved, AgentSpawning, AttentionCleared, FixRequested, RetryScheduled, WorkReported,
};
pub use server::{
    BreakerTurned, DataRefused, JobRefused, KillAllDone, KillSwitchEngaged, KillSwitchReleased, NodeCordoned,
    NodeDrained, NodeJoined, NodeLost, NodeRemoved, NodeUncordoned, QueuePaused, QueueResumed,
};
pub use work::{
    FilterRefused, GateFinished, GateWord, GitCommit, GitConflict, GitPushed, GitRestored, GitSalvaged,
    SecretFound,
};

use super::stop::ForcedStop;

/// Defines the closed list: variant, details and kind.
macro_rules! facts {
    ($($variant:ident($details:ty) = $kind:literal)*) => {
        /// A fact: its kind with its details.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the kinds are the documentation, and docs/events.md says when each is logged")]
        pub enum Fact {
            $($variant($details),)*
        }

        impl Fact {
            /// Every kind.
            pub const KINDS: &[&str] = &[$($kind),*];

            /// Returns the kind.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// Returns the details as they are logged.
            pub fn data(&self) -> Value {
                match self {
                    $(Self::$variant(details) => logged(details),)*
                }
            }
        }
    };
}

facts! {
    AgentSpawning(AgentSpawning) = "agent.spawning"
    AgentRunning(AgentRan) = "agent.running"
    AgentCompleted(AgentEnded) = "agent.completed"
    AgentFailed(AgentEnded) = "agent.failed"
    AgentKilled(AgentEnded) = "agent.killed"
    AgentPhase(AgentPhase) = "agent.phase"
    AgentAdopted(AgentAdopted) = "agent.adopted"
    AgentNodeLost(AgentNodeLost) = "agent.node_lost"
    AgentWorkReported(WorkReported) = "agent.work_reported"
    AgentFrozen(AgentFreeze) = "agent.frozen"
    AgentThawed(AgentFreeze) = "agent.thawed"
    AgentStopped(ForcedStop) = "agent.stopped"
    AgentAttention(AgentAttention) = "agent.attention"
    AgentAttentionCleared(AttentionCleared) = "agent.attention_cleared"
    AgentFixRequested(FixRequested) = "agent.fix_requested"
    AgentMoved(AgentMoved) = "agent.moved"
    AgentRemoved(AgentRemoved) = "agent.removed"
    TaskRetryScheduled(RetryScheduled) = "task.retry_scheduled"
    FilterRefused(FilterRefused) = "filter.refused"
    SecretFound(SecretFound) = "secret.found"
    GitCommit(GitCommit) = "git.commit"
    GitConflict(GitConflict) = "git.conflict"
    GitSalvaged(GitSalvaged) = "git.salvaged"
    GitRestored(GitRestored) = "git.restored"
    GitPushed(GitPushed) = "git.pushed"
    GateFinished(GateFinished) = "gate.finished"
    BreakerOpened(BreakerTurned) = "breaker.opened"
    BreakerClosed(BreakerTurned) = "breaker.closed"
    QueuePaused(QueuePaused) = "queue.paused"
    QueueResumed(QueueResumed) = "queue.resumed"
    QueueDataRefused(DataRefused) = "queue.data_refused"
    QueueJobRefused(JobRefused) = "queue.job_refused"
    KillSwitchEngaged(KillSwitchEngaged) = "killswitch.engaged"
    KillSwitchReleased(KillSwitchReleased) = "killswitch.released"
    NodeJoined(NodeJoined) = "node.joined"
    NodeLost(NodeLost) = "node.lost"
    NodeCordoned(NodeCordoned) = "node.cordoned"
    NodeUncordoned(NodeUncordoned) = "node.uncordoned"
    NodeRemoved(NodeRemoved) = "node.removed"
    NodeDrained(NodeDrained) = "node.drained"
    KillAllDone(KillAllDone) = "orchestrator.kill_all"
}

/// Kind of the facts that the history of gates is made of.
pub(crate) const GATE_FINISHED: &str = "gate.finished";

/// Returns details as JSON. They are words, numbers and lists of those, which JSON can always have.
fn logged(details: &impl Serialize) -> Value {
    serde_json::to_value(details).unwrap_or_default()
}
