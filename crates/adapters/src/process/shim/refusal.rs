//! Reasons why a shim does not do what a server asks. They travel to the server as text.

use thiserror::Error;

/// Reasons for a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("it does not run")]
    NotRunning,
    #[error("it is ending")]
    Ending,
    #[error("its lease is over")]
    LeaseOver,
    #[error("its processes slip away faster than they can be stopped; kill it instead")]
    SlipsAway,
    #[error("its standard input is closed")]
    InputClosed,
    #[error("it does not read: {waiting} bytes are waiting for it")]
    InputFull { waiting: usize },
}
