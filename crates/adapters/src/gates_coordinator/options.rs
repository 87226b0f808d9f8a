//! Options of the gatekeeper elsewhere: its address, and the ports that it works with.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::ports::clock::{Chance, Clock};
use mosaic_core::ports::gatekeeper::Gatekeeper;
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::ports::transcripts::Transcripts;

use super::address::CoordinatorUrl;

/// Options of the gatekeeper elsewhere.
#[derive(Clone)]
pub struct CoordinatorOptions {
    /// Address of the coordinator.
    pub url: CoordinatorUrl,
    /// Token that the coordinator wants.
    pub token: Option<String>,
    /// Longest time of one check with all its tries.
    pub deadline: Duration,
    /// A strict profile ends where the coordinator did not judge a gate.
    pub strict_needs_all: bool,
    /// Plans the gates.
    pub local: Arc<dyn Gatekeeper>,
    /// Times the checks.
    pub clock: Arc<dyn Clock>,
    /// Throws the dice of pauses.
    pub chance: Arc<dyn Chance>,
    /// Keeps what the gates printed.
    pub transcripts: Arc<dyn Transcripts>,
    /// Masks secrets in what the coordinator says.
    pub scanner: Arc<dyn SecretScanner>,
}
