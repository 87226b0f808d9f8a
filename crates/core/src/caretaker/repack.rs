//! Bare repositories in which loose objects or packs have piled up are packed again, one per round.

use super::report::CareReport;
use crate::orchestrator::Orchestrator;

/// Packs one store again, unless its repository has an agent that runs.
pub async fn pass(o: &Orchestrator, report: &mut CareReport) {
    let leased = match o.ports.store.leased().await {
        Ok(leased) => leased,
        Err(e) => return report.problem(format!("bare repositories: {e}")),
    };
    let running: Vec<_> = leased.into_iter().map(|r| r.agent.spec.context.repository).collect();
    match o.ports.kept_work.tidy(&running).await {
        Ok(None) => {}
        Ok(Some(store)) => tracing::info!(store = %store.0, "a bare repository was packed again"),
        Err(e) => report.problem(format!("bare repositories: {}", e.message)),
    }
}
