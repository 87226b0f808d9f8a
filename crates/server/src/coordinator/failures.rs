//! Reasons why a commit was not judged, as problems. None of them is an answer of the contract, so that no client can take one for
//! a verdict.

use mosaic_api::Code;
use mosaic_core::coordinator::CheckError;
use mosaic_core::domain::outcome::FailureKind;

use crate::problem::Problem;

impl From<CheckError> for Problem {
    fn from(error: CheckError) -> Self {
        let text = error.to_string();
        match error {
            CheckError::Full(_) => Self::new(Code::ChecksFull, text)
                .hint("try again in a moment, or give the coordinator more slots (MOSAIC_COORDINATOR_SLOTS)"),
            CheckError::NeedsBundle { whole } => Self::new(Code::BundleNeeded, text)
                .hint("POST a git bundle to /api/quality/bundles and name it as bundleId")
                .with("whole", whole),
            CheckError::Failed(failure) if failure.kind == FailureKind::Disk => {
                Self::new(Code::DiskLow, text).hint("free some space on the coordinator")
            }
            CheckError::Failed(failure) if failure.kind.is_retryable() => {
                Self::new(Code::CheckUnavailable, text).hint("try again; the coordinator's log says more")
            }
            CheckError::Failed(_) => {
                Self::new(Code::CheckFailed, text).hint("the coordinator's log says more")
            }
            CheckError::TooLong(_) => Self::new(Code::CheckFailed, text)
                .hint("give it more time with MOSAIC_COORDINATOR_TIMEOUT_MS of the coordinator"),
            CheckError::Abandoned => Self::new(Code::CheckUnavailable, text),
            CheckError::Ending => Self::new(Code::ShuttingDown, text),
        }
    }
}
