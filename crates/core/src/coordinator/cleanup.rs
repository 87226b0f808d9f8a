//! Removal of everything that a check leaves on this machine: processes first, then files, then refs.

use super::{Check, Coordinator};
use crate::domain::ids::AgentId;

impl Coordinator {
    /// Ends and removes everything of a check. What cannot be removed now is removed at the next start.
    pub(super) async fn clean_up(&self, check: &Check, agent: AgentId) {
        let (ports, settings) = (self.orchestrator.ports(), self.orchestrator.settings());
        let warn = |what: &str, error: &dyn std::fmt::Display| {
            tracing::warn!(agent.id = %agent, error = %error, "{what} of a check could not be removed");
        };
        match ports.processes.stop(agent, settings.kill_grace).await {
            // Its files stay with its processes: something may still write there.
            Err(e) => return warn("processes", &e),
            Ok(_) => {
                if let Err(e) = ports.processes.forget(agent).await {
                    warn("the records of processes", &e);
                }
            }
        }
        if let Err(e) = ports.trees.remove(agent).await {
            warn("the checkout", &e.message);
        }
        if let Err(e) = ports.transcripts.discard(agent).await {
            warn("the logs", &e);
        }
        let cache = ports.kept_work.cache_of(&check.repository);
        if let Err(e) = ports.kept_work.forget(&cache, agent).await {
            warn("the refs", &e.message);
        }
        if let Some(bundle) = &check.bundle {
            self.bundles.discard(bundle).await;
        }
    }

    /// Removes what checks of an earlier coordinator left; their processes are ended already. For the start.
    pub async fn clear(&self) {
        let ports = self.orchestrator.ports();
        self.bundles.sweep(std::time::Duration::ZERO).await;
        let left = ports.trees.present().await.unwrap_or_default();
        for agent in left {
            if let Err(e) = ports.trees.remove(agent).await {
                tracing::warn!(agent.id = %agent, error = %e.message, "the checkout of an earlier check could not be removed");
            }
            // Logs and refs go with it; a failure is found again at the next start.
            let _ = ports.transcripts.discard(agent).await;
        }
        for kept in ports.kept_work.kept_refs().await.unwrap_or_default() {
            let _ = ports.kept_work.forget(&kept.cache, kept.agent).await;
        }
    }
}
