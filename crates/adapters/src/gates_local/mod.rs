//! The local gatekeeper: commands of the base commit, run on a fresh checkout.
//!
//! What always holds: definitions come from the base commit and never from the agent's work; a repository adds
//! gates to a profile and never removes one; a report counts only when it was written during the judgement; commands
//! run in a home that no agent ever saw; and whatever cannot be judged is an error, never a pass.

mod config;
mod findings;
mod git_dir;
mod judge;
mod junit;
mod lcov;
mod log_window;
mod plan;
mod quarters;
mod report_file;
mod run;
mod trust;
mod xml;

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::gatekeeper::{Gatekeeper, JudgeRequest, PlanRequest};
use mosaic_core::ports::processes::Processes;
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::ports::transcripts::Transcripts;

use crate::git_identity::Identity;
use crate::short_dirs::ShortDirs;
use crate::trash::Trash;

pub use trust::{Trust, config_digest, trust};

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
    /// Makes temporary directories whose paths are short.
    pub short: Arc<ShortDirs>,
    /// The author of commits that gates make in scratch repositories.
    pub identity: Option<Identity>,
}

/// Judges commits on this machine, in the agent's kind of confinement.
pub struct LocalGatekeeper {
    options: GateOptions,
}

impl LocalGatekeeper {
    /// Makes a gatekeeper. Nothing is started or read yet.
    pub fn new(options: GateOptions) -> Self {
        Self { options }
    }
}

#[async_trait]
impl Gatekeeper for LocalGatekeeper {
    async fn plan(&self, request: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        plan::make(&request, &self.options.trust)
    }

    async fn judge(&self, mut request: JudgeRequest) -> Result<GateReport, Failure> {
        let quarters = quarters::move_in(&self.options, &mut request)?;
        let judged = judge::all(&self.options, &request, &quarters.own).await;
        quarters.leave(&self.options, &request);
        judged
    }
}
