//! Reasons why a coordinator gave no verdict: what happened, why, and what to do. None of them says anything about the commit.

use std::time::Duration;

use mosaic_core::domain::outcome::{Failure, FailureKind};
use thiserror::Error;

use super::address::CoordinatorUrl;
use super::http::HttpError;
use super::tls::TlsError;

/// Reason why there is no verdict.
#[derive(Debug, Error)]
pub(super) enum CheckFault {
    /// The commit could not be read on this machine.
    #[error("{}", .0.message)]
    Source(Failure),
    /// Output of the gates could not be kept on this machine.
    #[error("what the gates printed could not be kept: {0}")]
    Output(#[source] std::io::Error),
    /// There was no answer.
    #[error("{0}")]
    Http(#[source] HttpError),
    /// It failed again and again and is left alone.
    #[error("it failed several times in a row, so it is not asked for another {} s", .0.as_secs() + 1)]
    BreakerOpen(Duration),
    /// It cannot answer now.
    #[error("it answers {status}{}", shown(.detail))]
    Busy {
        /// The status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
        /// Its words.
        detail: String,
    },
    /// It refuses.
    #[error("it answers {status}{}", shown(.detail))]
    Status {
        /// The status.
        status: u16,
        /// Its words.
        detail: String,
    },
    /// It sends somewhere else.
    #[error("it answers {0}, a redirect, which is not followed")]
    Redirect(u16),
    /// The answer is of another kind.
    #[error("its answer is `{0}` and not application/json")]
    ContentType(String),
    /// The answer is no JSON of the contract.
    #[error("its answer cannot be read: {0}")]
    NoJson(#[source] serde_json::Error),
    /// The answer is about something else.
    #[error("its answer is about the {what} {said}, and {asked} was asked for")]
    Stale {
        /// Part of the question.
        what: &'static str,
        /// The asked one.
        asked: String,
        /// The answered one.
        said: String,
    },
    /// The answer does not agree with itself.
    #[error("its answer contradicts itself: {0}")]
    Contradiction(String),
    /// A gate of a strict profile was not judged.
    #[error("it did not judge {0}, which profile strict needs")]
    NotJudged(String),
    /// It asks for bundles again and again.
    #[error("it got the commit as a bundle and asks for it again")]
    BundleRefused,
    /// The check cannot be written.
    #[error("the check cannot be written as JSON: {0}")]
    Unwritable(#[source] serde_json::Error),
    /// Time ran out.
    #[error("there is no verdict after {} s", .0.as_secs())]
    Deadline(Duration),
}

fn shown(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

impl CheckFault {
    /// Tells whether the same check may succeed in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Http(e) => !matches!(
                e,
                HttpError::TooLarge(_)
                    | HttpError::Request(_)
                    | HttpError::Tls(
                        TlsError::NoAuthorities
                            | TlsError::Setup(_)
                            | TlsError::Name(_)
                            | TlsError::Certificate(_)
                    )
            ),
            _ => false,
        }
    }

    /// Returns when the coordinator wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns the advice for people.
    fn advice(&self) -> &'static str {
        match self {
            Self::Http(_) | Self::BreakerOpen(_) => {
                "see whether it runs and whether COORDINATOR_URL is its address"
            }
            Self::Busy { .. } => "give it more slots, or try again later",
            Self::Status { status: 401 | 403, .. } => "set MOSAIC_COORDINATOR_TOKEN to its token",
            Self::Status { .. } => "look at its log",
            Self::Redirect(_) => "set COORDINATOR_URL to the address that it really has",
            Self::Deadline(_) => "look at its log, or raise MOSAIC_COORDINATOR_TIMEOUT_MS",
            Self::NotJudged(_) => "define it there or in the base commit, or choose another gateProfile",
            Self::Output(_) | Self::Source(_) => "look at the disk of this machine",
            _ => {
                "what answers there is no coordinator of this contract, or a faulty one: see docs/coordinator.md"
            }
        }
    }

    /// Turns it into a failure of the attempt. What may pass is tried again later, and only the judgement is repeated.
    pub(super) fn into_failure(self, url: &CoordinatorUrl) -> Failure {
        let kind = match &self {
            Self::Source(failure) => return failure.clone(),
            Self::Output(_) => FailureKind::Internal,
            Self::NotJudged(_) => FailureKind::GatesUndefined,
            Self::BreakerOpen(_) => FailureKind::Network,
            Self::Busy { .. } => FailureKind::RemoteBusy,
            Self::Http(_) if self.may_pass() => FailureKind::Network,
            _ => FailureKind::BadInput,
        };
        let advice = self.advice();
        let text = format!(
            "the coordinator {url} gave no verdict: {self}; nothing was pushed, the work is kept; {advice}"
        );
        Failure::new(kind, text)
    }
}
