//! Closed lists of words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Status of an agent: the five words of the contract. The last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Status {
    Spawning,
    Running,
    Completed,
    Failed,
    Killed,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Phase of an agent inside its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Phase {
    Queued,
    Checkout,
    Starting,
    Working,
    Waiting,
    Committing,
    Gating,
    Publishing,
    Backoff,
    Killing,
    Settled,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Kind of a decision that a person is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum AttentionKind {
    Permission,
    Question,
    Plan,
    GateFailed,
    Stalled,
    Budget,
    Conflict,
    Secret,
    Auth,
    Lost,
    Quota,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Answer to a decision that a person was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum AttentionAnswer {
    Wait,
    Kill,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Reason for an agent's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum EndReason {
    Done,
    NoChanges,
    GatesFailed,
    GatesUndefined,
    FilteredPaths,
    Secret,
    Conflict,
    PushRejected,
    SetupFailed,
    AgentError,
    Auth,
    RateLimited,
    Timeout,
    Stalled,
    Budget,
    Disk,
    Operator,
    KillAll,
    NodeLost,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Kind of the failure of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum FailureKind {
    Stopped,
    Crash,
    NoResult,
    Network,
    RateLimited,
    ModelServer,
    RemoteBusy,
    Internal,
    Auth,
    RemoteAuth,
    Billing,
    ProgramMissing,
    BadInput,
    MissingBranch,
    MissingRepository,
    GatesUndefined,
    Setup,
    Diverged,
    Unpublishable,
    Denied,
    Timeout,
    Stalled,
    Budget,
    Disk,
    PushRejected,
    PushNotShown,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Purpose of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum AgentType {
    Worker,
    Reviewer,
    Tester,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Profile of gates that judge an agent's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum GateProfile {
    Strict,
    Standard,
    Minimal,
    Custom,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Outcome of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum GateOutcome {
    Pass,
    Fail,
    Error,
    Flaky,
    Skip,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Cause of a gate's red result other than the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum GateFault {
    /// The base commit is red in the same way.
    Base,
    /// The base commit cannot be judged either.
    Machine,
    /// A word of a newer server.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Separation of judged code from its judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Isolation {
    Strong,
    Weak,
    /// A word of a newer server, or none of an older one.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Verdict of all gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Verdict {
    Passed,
    Failed,
    Incomplete,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Growth of the pauses before retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum BackoffKind {
    Fixed,
    Exponential,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// State of work that an attempt left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum WorkState {
    Unreported,
    Kept,
    Published,
    Nothing,
    Lost,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Knowledge of a commit on the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum PublicationState {
    None,
    MayBeThere,
    There,
    NotThere,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Fate of the lease of a killed agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum LeaseFate {
    Released,
    Held,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Fate of the working tree of a killed agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum TreeFate {
    None,
    Removed,
    Kept,
    Pending,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// State of the work of a killed agent that was not received before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum SalvageState {
    None,
    Pending,
    Done,
    Failed,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Stage of the response to a silent agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum StallStage {
    None,
    Notice,
    Nudge,
    Interrupt,
    Kill,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Cause of the end of a run by force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum StopCause {
    Order,
    Deadline,
    Silence,
    AfterResult,
    Conversation,
    Supervisor,
    CleanUp,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Part of a node's work that a breaker watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum BreakerPart {
    Fetch,
    Push,
    Run,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Place where an order is written down: `durable` outlives the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Recorded {
    Durable,
    Memory,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Kind of the change of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum ChangeKind {
    Added,
    Deleted,
    Modified,
    Renamed,
    Copied,
    Typechanged,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

/// Encoding of a text that is no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum TextEncoding {
    Base64,
    /// A word of a newer server.
    #[serde(other)]
    Unknown,
}

impl Status {
    /// Tells whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Killed)
    }
}

/// Shows words as they are on the wire.
macro_rules! shown_as_on_the_wire {
    ($($word:ident)*) => {
        $(impl fmt::Display for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        })*
    };
}

shown_as_on_the_wire!(
    Status Phase AttentionKind EndReason FailureKind AgentType GateProfile GateFault GateOutcome Isolation Verdict BackoffKind WorkState PublicationState LeaseFate TreeFate SalvageState StallStage Recorded TextEncoding ChangeKind AttentionAnswer
    StopCause BreakerPart
);

#[cfg(test)]
mod tests {
    use super::{EndReason, PublicationState, Status};

    #[test]
    fn words_are_shown_as_they_are_on_the_wire() {
        assert_eq!(Status::Spawning.to_string(), "spawning");
        assert_eq!(EndReason::NoChanges.to_string(), "no_changes");
        assert_eq!(PublicationState::MayBeThere.to_string(), "mayBeThere");
    }
}
