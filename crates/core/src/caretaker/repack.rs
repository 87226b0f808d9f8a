//! Bare repositories in which loose objects or packs have piled up are packed again, one per round.

use super::parts::Caretaker;
use super::report::CareReport;

/// Packs one store again, unless its repository has an agent that runs.
pub(super) async fn pass(c: &Caretaker, report: &mut CareReport) {
    let leased = match c.store.leased().await {
        Ok(leased) => leased,
        Err(e) => return report.problem(format!("bare repositories: {e}")),
    };
    let running: Vec<_> = leased.into_iter().map(|r| r.agent.spec.context.repository).collect();
    match c.kept_work.tidy(&running).await {
        Ok(None) => {}
        Ok(Some(store)) => tracing::info!(store = %store.0, "a bare repository was packed again"),
        Err(e) => report.problem(format!("bare repositories: {}", e.message)),
    }
}
