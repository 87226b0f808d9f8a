//! Passing faults at each port: the error that the port's own contract has for one.

use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::audit::AuditError;
use mosaic_core::ports::processes::ProcessError;
use mosaic_core::ports::sandbox::SandboxError;
use mosaic_core::ports::store::StoreError;

/// An error that a backend could give for a fault that passes.
pub(super) trait Fault {
    /// Makes one that names the step it was planted at.
    fn passing(step: &str) -> Self;
}

fn message(step: &str) -> String {
    format!("failpoint at {step}")
}

impl Fault for StoreError {
    fn passing(step: &str) -> Self {
        Self::Unavailable(message(step))
    }
}

impl Fault for AuditError {
    fn passing(step: &str) -> Self {
        Self::Unavailable(message(step))
    }
}

impl Fault for Failure {
    fn passing(step: &str) -> Self {
        Self::new(FailureKind::Internal, message(step))
    }
}

impl Fault for SandboxError {
    fn passing(step: &str) -> Self {
        Self::NoAnswer(Fault::passing(step))
    }
}

impl Fault for ProcessError {
    fn passing(step: &str) -> Self {
        Self::Io(Fault::passing(step))
    }
}

impl Fault for std::io::Error {
    fn passing(step: &str) -> Self {
        Self::other(message(step))
    }
}
