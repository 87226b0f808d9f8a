//! Recovery: what an earlier server left behind is taken over under a new epoch and goes on; see [`crate::life`] for how
//! each step finds its way back. What belongs to nobody is stopped and verified empty. Nothing is trusted but the store
//! and what the ports find.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::audit::Action;
use crate::domain::ids::AgentId;
use crate::engine::{self, Entry};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::StoreError;

/// Takes over every leased agent that no driver watches: those of an earlier server at the start, and later those
/// whose driver broke. Returns whether they are known: while the store does not answer, nobody is a stray.
pub(crate) async fn take_over(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>) -> bool {
    let leased = match o.ports.store.leased().await {
        Ok(leased) => leased,
        Err(e) => {
            tracing::warn!(error = %e, "leased agents could not be listed; looking again in a moment");
            return false;
        }
    };
    let unwatched: Vec<_> = leased.into_iter().filter(|r| !o.live().contains_key(&r.agent.id)).collect();
    if !unwatched.is_empty() {
        tracing::info!(agents = unwatched.len(), "taking over agents that nobody watches");
        let taken = format!("{} agents that nobody watches are taken over", unwatched.len());
        o.audit_soon(o.own_deed(Action::Recovery).result(taken));
    }
    let mut all = true;
    for record in unwatched {
        let id = record.agent.id;
        match o.ports.store.take_over(id, &o.settings.node).await {
            Ok((lease, record)) => engine::start(o, drivers, lease, record, Entry::TakenOver),
            Err(StoreError::Unavailable(why)) => {
                tracing::warn!(agent.id = %id, why, "agent could not be taken over yet; it runs on");
                all = false;
            }
            Err(e) => {
                tracing::error!(agent.id = %id, error = %e, "agent could not be taken over; it is stopped");
                stop(o, id).await;
            }
        }
    }
    all
}

/// Stops processes that belong to no leased agent: their record ended or vanished between two writes. Before
/// anything new starts, so that nothing new is taken for a stray.
pub(crate) async fn stop_strays(o: &Arc<Orchestrator>) {
    let strays = match o.ports.processes.unfinished().await {
        Ok(agents) => agents,
        Err(e) => return tracing::error!(error = %e, "jobs of an earlier server could not be listed"),
    };
    let strays = strays.into_iter().filter(|id| !o.live().contains_key(id));
    let all = futures_util::future::join_all(strays.map(|id| stop_stray(o, id)));
    tokio::select! {
        _ = all => {}
        () = o.ports.clock.sleep(limits::STRAYS) => tracing::error!("processes of an earlier server are still alive; see the log above"),
    }
}

async fn stop_stray(o: &Orchestrator, id: AgentId) {
    match o.ports.store.get(id).await {
        Ok(record) if !record.agent.is_terminal() => stop(o, id).await,
        Ok(_) | Err(StoreError::NotFound(_)) => o.clean_up(id).await,
        Err(e) => {
            tracing::warn!(agent.id = %id, error = %e, "agent without a readable record: stopped, its files are left");
            stop(o, id).await;
        }
    }
}

async fn stop(o: &Orchestrator, id: AgentId) {
    if let Err(e) = o.ports.processes.stop(id, Duration::ZERO).await {
        tracing::error!(agent.id = %id, error = %e, "processes of an agent that nobody watches could not be stopped");
    }
}
