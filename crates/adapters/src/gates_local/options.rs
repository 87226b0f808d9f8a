//! Options of the local gatekeeper: the ports that it works with.

use std::sync::Arc;

use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::processes::Processes;
use mosaic_core::ports::sandbox::Sandbox;
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::ports::transcripts::Transcripts;

use super::trust::Trust;
use crate::isolation::Isolator;
use crate::trash::Trash;

/// Look-up of a variable in the operator's environment.
pub type VariableLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

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
    /// Keeps the judged code away from what judges it.
    pub isolator: Arc<Isolator>,
    /// Most gates of one judgement that run at once, at least 1.
    pub at_once: usize,
    /// Looks up a variable of the operator's environment that a gate asks for; `None` for one that no gate gets.
    pub variable: VariableLookup,
}
