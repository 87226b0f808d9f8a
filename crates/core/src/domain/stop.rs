//! Receipts of stops: every run that did not end by itself has one in its agent's record, whether a person, a limit or
//! a supervisor ended it.

use serde::{Deserialize, Serialize};

/// Findings of a stop, and its measures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopReceipt {
    /// Live processes of the agent before.
    pub processes_before: u32,
    /// Live processes after; 0 is what a stop promises.
    pub processes_after: u32,
    /// The furthest rung of the ladder: `none`, `interrupt`, `term`, `kill`, `sweep`.
    pub rung: String,
    /// Milliseconds until it was verified that nothing is left.
    pub took_ms: u64,
    /// Confinement of the processes: `cgroup`, `pid namespace` or `subreaper`, the weakest of several jobs; empty
    /// when there were none.
    #[serde(default)]
    pub confinement: String,
    /// Name of the container that its sandbox could not end; `None` when nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Of `took_ms`, the part after the grace was over; 0 when the processes went before that.
    #[serde(default)]
    pub past_grace_ms: u64,
}

/// Cause of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopCause {
    /// An order to kill the agent.
    Order,
    /// The end of its time.
    Deadline,
    /// Its silence.
    Silence,
    /// Its program went on after the last result.
    AfterResult,
    /// A conversation that cannot be continued: a limit of the budget, or words that the runtime does not know.
    Conversation,
    /// Its supervisor: too many processes, the stop file, time or lease over while no server watched, processes that
    /// outlived the program.
    Supervisor,
    /// Its end for any other reason, or the end of its server.
    CleanUp,
}

/// Stop of a run, as it stands in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForcedStop {
    /// The run that was stopped.
    pub run: u32,
    /// Its cause.
    pub cause: StopCause,
    /// The receipt.
    #[serde(flatten)]
    pub receipt: StopReceipt,
}
