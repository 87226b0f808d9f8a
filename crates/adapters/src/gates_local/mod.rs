//! The local gatekeeper: commands of the base commit, run on a fresh checkout.
//!
//! Always true: definitions come from the base commit, written down or detected, and never from the agent's work; a repository
//! adds gates to a profile and never removes one; a report counts only when it was written during the judgement; each gate
//! runs in a checkout and a home that nothing ever ran in, isolated from what judges it where the machine allows that;
//! its results are read after its last process is gone; and whatever cannot be judged is an error, never a pass.

mod base_files;
mod captured_output;
mod changed_coverage;
mod config;
mod detect;
mod effective;
mod explain;
mod findings;
mod judge;
mod judged;
mod judging;
mod log_window;
mod needs;
mod options;
mod place;
mod plan;
mod quarantine;
mod report_dir;
mod report_file;
mod report_paths;
mod reports;
mod rerun;
mod run;
mod tree_copy;
mod trust;

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::gatekeeper::{CommitForm, CommitSource, Gatekeeper, JudgeRequest, PlanRequest};

pub use base_files::{DirectoryFiles, KnownFiles};
pub use explain::{Explained, ExplainedGate, explain, initial_definition};
pub use options::{GateOptions, VariableLookup};
pub use trust::{Trust, config_digest, trust};

/// Judges commits on this machine, in the agent's kind of sandbox.
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
    fn reads(&self) -> CommitForm {
        CommitForm::Checkout
    }

    async fn plan(&self, request: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        plan::make(&request, &self.options.trust, self.options.clock.now()).await
    }

    async fn judge(
        &self,
        request: JudgeRequest,
        source: Arc<dyn CommitSource>,
    ) -> Result<GateReport, Failure> {
        let judging = judging::begin(&self.options, request, source.as_ref()).await?;
        let judged = judge::all(&self.options, &judging).await;
        judging.remove(&self.options);
        judged
    }
}
