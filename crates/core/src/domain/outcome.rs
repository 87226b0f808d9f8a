//! Ends of a model turn ([`Outcome`]), of a failed step ([`FailureKind`]) and of an agent ([`EndReason`]). One table here
//! decides which failure is tried again.

use serde::{Deserialize, Serialize};

use super::quota::Reset;

/// Why an agent ended. A closed list on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The work was judged and pushed.
    Done,
    /// The agent changed nothing.
    NoChanges,
    /// Gates failed and no fix round was left.
    GatesFailed,
    /// A strict profile names gates that nobody defines.
    GatesUndefined,
    /// A new commit changes paths that go through a git filter, which does not run here.
    FilteredPaths,
    /// A new commit holds a secret and no fix round was left.
    Secret,
    /// The work conflicts with the newest base and no fix round was left.
    Conflict,
    /// The remote refused the push.
    PushRejected,
    /// Repository, branch, tree or skill could not be set up.
    SetupFailed,
    /// The agent's program failed.
    AgentError,
    /// The model service refused the credentials or the account.
    Auth,
    /// The model service's rate limit outlasted the retries.
    RateLimited,
    /// The attempt ran past `timeoutSeconds`.
    Timeout,
    /// The agent was silent too long.
    Stalled,
    /// A cap on spending was reached.
    Budget,
    /// The disk was full.
    Disk,
    /// A person or program killed it.
    Operator,
    /// Kill-all ended it.
    KillAll,
    /// Its node was lost and no attempt was left.
    NodeLost,
}

/// Kind of the failure that ended a step or a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The stop file ended it: an order to everything, so it counts as a kill.
    Stopped,
    /// The agent's process ended abnormally.
    Crash,
    /// The agent's process ended without saying how its turn went.
    NoResult,
    /// The network failed on the way to the model or the remote.
    Network,
    /// The model service answered 429.
    RateLimited,
    /// The model service answered 5xx.
    ModelServer,
    /// The remote was busy or locked.
    RemoteBusy,
    /// A passing fault of ours: the store did not answer, a child could not be started.
    Internal,
    /// The model service refused the credentials, or there are none.
    Auth,
    /// The git remote refused the credentials, or there are none.
    RemoteAuth,
    /// The model service refused for the account's credit.
    Billing,
    /// The runtime's program is not there, or cannot be started.
    ProgramMissing,
    /// The request cannot be carried out as asked.
    BadInput,
    /// The base branch does not exist.
    MissingBranch,
    /// The repository does not exist or is not one.
    MissingRepository,
    /// A strict profile names gates that nobody defines.
    GatesUndefined,
    /// The repository's setup failed, or a program that it or a gate needs is not on this machine.
    Setup,
    /// HEAD does not descend from the base.
    Diverged,
    /// The agent's work cannot be published as it is.
    Unpublishable,
    /// The agent was denied what it needed.
    Denied,
    /// The attempt ran past its deadline.
    Timeout,
    /// No byte came for too long.
    Stalled,
    /// A cap on turns or spending was reached.
    Budget,
    /// The disk is full.
    Disk,
    /// The remote refused the push for good.
    PushRejected,
    /// The remote said that it took the push, but does not show the commit.
    PushNotShown,
}

impl FailureKind {
    /// Tells whether an automatic retry may help. Everything that would only fail the same way again is not.
    pub fn is_retryable(self) -> bool {
        use FailureKind as K;
        match self {
            K::Crash
            | K::NoResult
            | K::Network
            | K::RateLimited
            | K::ModelServer
            | K::RemoteBusy
            | K::Internal
            | K::Stalled => true,
            K::Auth
            | K::RemoteAuth
            | K::Billing
            | K::ProgramMissing
            | K::BadInput
            | K::MissingBranch
            | K::MissingRepository
            | K::GatesUndefined
            | K::Setup => false,
            K::Stopped
            | K::Diverged
            | K::Unpublishable
            | K::Denied
            | K::Timeout
            | K::Budget
            | K::Disk
            | K::PushRejected
            | K::PushNotShown => false,
        }
    }

    /// Returns the end reason when no retry is left or allowed. `in_setup` tells that no agent ran yet.
    pub fn end_reason(self, in_setup: bool) -> EndReason {
        use FailureKind as K;
        match self {
            K::Auth | K::Billing => EndReason::Auth,
            K::RateLimited => EndReason::RateLimited,
            K::GatesUndefined => EndReason::GatesUndefined,
            K::Stopped => EndReason::KillAll,
            K::Timeout => EndReason::Timeout,
            K::Stalled => EndReason::Stalled,
            K::Budget => EndReason::Budget,
            K::Disk => EndReason::Disk,
            K::PushRejected | K::PushNotShown => EndReason::PushRejected,
            K::RemoteAuth if !in_setup => EndReason::PushRejected,
            K::ProgramMissing
            | K::RemoteAuth
            | K::BadInput
            | K::MissingBranch
            | K::MissingRepository
            | K::Setup => EndReason::SetupFailed,
            _ if in_setup => EndReason::SetupFailed,
            K::Crash | K::NoResult | K::Network | K::ModelServer | K::RemoteBusy | K::Internal => {
                EndReason::AgentError
            }
            K::Diverged | K::Unpublishable | K::Denied => EndReason::AgentError,
        }
    }
}

/// A failure with its words: what happened, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, which decides about a retry.
    pub kind: FailureKind,
    /// The words, already free of secrets, at most [`crate::limits::ERROR_BYTES`].
    pub message: String,
    /// When the limit ends that the model service set, when it said so. Such a failure is waited for and counts as no attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// The credential that the limit is about: its runtime and a mark that tells nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl Failure {
    /// Makes a failure; the text is cut at the limit.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let message = cut(message.into(), crate::limits::ERROR_BYTES);
        Self { kind, message, reset: None, credential: None }
    }

    /// Returns the same failure in other words.
    #[must_use]
    pub fn reworded(self, words: impl FnOnce(String) -> String) -> Self {
        let Self { kind, message, reset, credential } = self;
        Self { reset, credential, ..Self::new(kind, words(message)) }
    }
}

/// Cuts a text at a character boundary so that it has at most this many bytes, with a mark where it was cut.
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most.saturating_sub('…'.len_utf8());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Outcome of an agent's turn, as its runtime understood it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The agent says it is done; its last text.
    Completed {
        /// The agent's last text.
        text: String,
    },
    /// The turn failed.
    Failed(Failure),
}
