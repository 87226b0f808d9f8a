//! Options of the local gatekeeper: the ports that it works with.

use std::sync::Arc;

use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::processes::Processes;
use mosaic_core::ports::sandbox::Sandbox;
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::ports::transcripts::Transcripts;

use super::trust::Trust;
use crate::trash::Trash;

/// Options of the local gatekeeper.
#[derive(Clone)]
pub struct GateOptions {
    /// Runs the commands.
    pub processes: Arc<dyn Processes>,
    /// Says where the logs go.
    pub transcripts: Arc<dyn Transcripts>,
    /// Times the gates.
    pub clock: Arc<dyn Clock>,
    /// Masks secrets in summaries and findings. The raw log file is not masked: whoever shows it masks it.
    pub scanner: Arc<dyn SecretScanner>,
    /// Which repositories' commands are run.
    pub trust: Trust,
    /// Takes a checkout away once it is judged; of the data directory below which checkouts lie.
    pub trash: Arc<Trash>,
    /// Prepares the places that commands run in.
    pub sandbox: Arc<dyn Sandbox>,
}
