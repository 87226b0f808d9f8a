//! The local gatekeeper: commands of the base commit, run on a fresh checkout.
//!
//! Always true: definitions come from the base commit, written down or detected, and never from the agent's work; a repository
//! adds gates to a profile and never removes one; a report counts only when it was written during the judgement; each gate
//! runs in a checkout and a home that nothing ever ran in, isolated from what judges it where the machine allows that;
//! its results are read after its last process is gone; and whatever cannot be judged is an error, never a pass.

mod absent_tools;
mod base_fault;
mod base_files;
mod cache;
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
mod missing_tool;
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
mod setup;
mod toolchain;
mod tree_copy;
mod trust;
mod verdict_cache;

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::gates::{GatePlan, GateReport};
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::gatekeeper::{
    CommitForm, CommitSource, Gatekeeper, JudgeRequest, PlanRequest, PrepareRequest, Prepared,
};

pub use base_files::{KnownFiles, files_below};
pub use cache::{CacheBounds, GateCache};
pub use explain::{Explained, ExplainedGate, explain, initial_definition};
pub use options::{GateOptions, VariableLookup};
pub use toolchain::Toolchain;
pub use trust::{Trust, config_digest, trust};

/// Judges commits on this machine, in the agent's kind of sandbox.
pub struct LocalGatekeeper {
    options: GateOptions,
    /// Setups and verdicts of earlier runs. Without it, trees are not made ready and everything is judged anew.
    cache: Option<Arc<GateCache>>,
    tools: Toolchain,
}

impl LocalGatekeeper {
    /// Makes a gatekeeper. Nothing is started or read yet.
    pub fn new(options: GateOptions) -> Self {
        Self { options, cache: None, tools: Toolchain::default() }
    }

    /// Uses a cache, and these tools to tell what is in it.
    #[must_use]
    pub fn with_cache(self, cache: Arc<GateCache>, tools: Toolchain) -> Self {
        Self { cache: Some(cache), tools, ..self }
    }
}

#[async_trait]
impl Gatekeeper for LocalGatekeeper {
    fn reads(&self) -> CommitForm {
        CommitForm::Checkout
    }

    async fn plan(&self, request: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        // Without a cache nobody said where programs are looked for.
        let is_known = self.cache.is_some();
        let absent = |run: &str| is_known.then(|| missing_tool::of_command(run, &self.tools)).flatten();
        plan::make(&request, &self.options.trust, self.options.clock.now(), &absent).await
    }

    async fn judge(
        &self,
        request: JudgeRequest,
        source: Arc<dyn CommitSource>,
    ) -> Result<GateReport, Failure> {
        let report = self.recalled_or_judged(&request, &source).await?;
        Ok(base_fault::mark(self, &request, &source, report).await)
    }

    async fn prepare(
        &self,
        request: PrepareRequest,
        base: Arc<dyn CommitSource>,
    ) -> Result<Prepared, Failure> {
        setup::prepare(self, &request, &base).await
    }
}

impl LocalGatekeeper {
    /// Returns the verdict on a commit: the one that is known, or a new one.
    async fn recalled_or_judged(
        &self,
        request: &JudgeRequest,
        source: &Arc<dyn CommitSource>,
    ) -> Result<GateReport, Failure> {
        let key = self.verdict_key(&request.plan, &request.base, source.as_ref()).await;
        let remembered = self.cache.as_ref().zip(key.as_ref());
        let known = remembered.and_then(|(cache, key)| verdict_cache::find(cache, key, &request.commit));
        if let Some(report) = known {
            tracing::info!(agent.id = %request.agent, commit = %request.commit, "verdict is known");
            return Ok(report);
        }
        let report = self.judge_anew(request, source).await?;
        if let Some((cache, key)) = remembered
            && let Err(e) = verdict_cache::keep(cache, key, &report)
        {
            tracing::warn!(error = %e, "a verdict could not be remembered");
        }
        Ok(report)
    }

    /// Judges a commit in a checkout of its own.
    async fn judge_anew(
        &self,
        request: &JudgeRequest,
        source: &Arc<dyn CommitSource>,
    ) -> Result<GateReport, Failure> {
        let mut judging = judging::begin(&self.options, request.clone(), source.as_ref()).await?;
        let judged = match setup::for_gates(self, request, source, &mut judging).await {
            Ok(()) => judge::all(&self.options, &judging).await,
            Err(failure) => Err(failure),
        };
        judging.remove(&self.options);
        judged
    }

    /// Returns the verdict on a commit when it is known.
    async fn known(&self, plan: &GatePlan, base: &CommitId, source: &dyn CommitSource) -> Option<GateReport> {
        let key = self.verdict_key(plan, base, source).await?;
        verdict_cache::find(self.cache.as_ref()?, &key, base)
    }

    async fn verdict_key(
        &self,
        plan: &GatePlan,
        base: &CommitId,
        source: &dyn CommitSource,
    ) -> Option<verdict_cache::VerdictKey> {
        self.cache.as_ref()?;
        let tree = source.objects(&[String::new()]).await.ok()?.into_iter().next().flatten()?;
        let variable = |name: &str| (self.options.variable)(name);
        verdict_cache::VerdictKey::of(&tree, base, plan, &self.tools.fingerprint(), &variable)
    }
}
