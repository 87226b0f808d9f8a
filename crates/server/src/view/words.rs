//! Closed lists of words: each word of the domain has its own in the API. An error of the compiler says which is missing.

use mosaic_core::domain::{agent, gates, kept_work, outcome, retry, spec, stall};
use mosaic_core::ports::repositories;
use mosaic_core::{orders, receipt};

use super::shown::Shown;

/// Shows each word as the one of the same name.
macro_rules! same_words {
    ($from:ty => $to:ty { $($word:ident),* $(,)? }) => {
        impl Shown for $from {
            type View = $to;

            fn shown(&self) -> $to {
                type From = $from;
                type To = $to;
                match self {
                    $(From::$word => To::$word,)*
                }
            }
        }
    };
}

same_words!(agent::Status => mosaic_api::Status { Spawning, Running, Completed, Failed, Killed });
same_words!(agent::Phase => mosaic_api::Phase { Queued, Checkout, Starting, Working, Waiting, Committing, Gating, Publishing, Backoff, Killing, Settled });
same_words!(agent::AttentionKind => mosaic_api::AttentionKind { Permission, Question, Plan, GateFailed, Stalled, Budget, Conflict, Secret, Auth, Lost, Quota });
same_words!(agent::AttentionAnswer => mosaic_api::AttentionAnswer { Wait, Kill });
same_words!(outcome::EndReason => mosaic_api::EndReason { Done, NoChanges, GatesFailed, GatesUndefined, FilteredPaths, Secret, Conflict, PushRejected, SetupFailed, AgentError, Auth, RateLimited, Timeout, Stalled, Budget, Disk, Operator, KillAll, NodeLost });
same_words!(outcome::FailureKind => mosaic_api::FailureKind { Stopped, Crash, NoResult, Network, RateLimited, ModelServer, RemoteBusy, Internal, Auth, RemoteAuth, Billing, ProgramMissing, BadInput, MissingBranch, MissingRepository, GatesUndefined, Setup, Diverged, Unpublishable, Denied, Timeout, Stalled, Budget, Disk, PushRejected, PushNotShown });
same_words!(spec::AgentType => mosaic_api::AgentType { Worker, Reviewer, Tester });
same_words!(spec::GateProfile => mosaic_api::GateProfile { Strict, Standard, Minimal, Custom });
same_words!(gates::GateFault => mosaic_api::GateFault { Base, Machine });
same_words!(gates::GateOutcome => mosaic_api::GateOutcome { Pass, Fail, Error, Flaky, Skip });
same_words!(gates::Isolation => mosaic_api::Isolation { Strong, Weak });
same_words!(gates::Verdict => mosaic_api::Verdict { Passed, Failed, Incomplete });
same_words!(retry::BackoffKind => mosaic_api::BackoffKind { Fixed, Exponential });
same_words!(kept_work::WorkState => mosaic_api::WorkState { Unreported, Kept, Published, Nothing, Lost });
same_words!(receipt::LeaseFate => mosaic_api::LeaseFate { Released, Held });
same_words!(receipt::SalvageState => mosaic_api::SalvageState { None, Pending, Done, Failed });
same_words!(receipt::TreeFate => mosaic_api::TreeFate { None, Removed, Kept, Pending });
same_words!(stall::Stage => mosaic_api::StallStage { None, Notice, Nudge, Interrupt, Kill });
same_words!(repositories::ChangeKind => mosaic_api::ChangeKind { Added, Deleted, Modified, Renamed, Copied, Typechanged });
same_words!(orders::Recorded => mosaic_api::Recorded { Durable, Memory });
