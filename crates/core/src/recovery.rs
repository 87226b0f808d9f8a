//! Recovery: what an earlier server left behind is taken over under a new epoch, stopped and verified empty, and its
//! attempt is repeated without counting. Nothing is trusted but the store and what the ports find.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::agent::{Agent, State};
use crate::domain::lifecycle::Event;
use crate::engine;
use crate::orchestrator::Orchestrator;
use crate::ports::store::StoreError;

/// Takes over every leased agent, and stops processes whose agent is not leased.
pub(crate) async fn take_over(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>) {
    let leased = loop {
        match o.ports.store.leased().await {
            Ok(leased) => break leased,
            Err(e) => {
                tracing::warn!(error = %e, "store could not be read at start; trying again");
                o.ports.clock.sleep(crate::limits::STORE_RETRY).await;
            }
        }
    };
    if !leased.is_empty() {
        tracing::info!(agents = leased.len(), "taking over agents of an earlier server");
    }
    for record in &leased {
        match o.ports.store.take_over(record.agent.id, &o.settings.node).await {
            Ok((lease, record)) => {
                let first = first_event(&record.agent);
                engine::start(o, drivers, lease, record, first);
            }
            Err(e) => tracing::error!(agent.id = %record.agent.id, error = %e, "agent could not be taken over"),
        }
    }
    stop_strays(o).await;
}

/// Returns what happened to an agent whose server was lost. One that was lost between taking the lease and writing that
/// down has not begun: it begins now, or nobody would ever take it again.
fn first_event(agent: &Agent) -> Event {
    if matches!(agent.state, State::Queued { .. }) { Event::Leased } else { Event::Interrupted }
}

/// Stops processes that belong to no leased agent: their record ended or vanished between two writes.
async fn stop_strays(o: &Arc<Orchestrator>) {
    let strays = match o.ports.processes.unfinished().await {
        Ok(agents) => agents,
        Err(e) => return tracing::error!(error = %e, "jobs of an earlier server could not be listed"),
    };
    for id in strays {
        if o.live().contains_key(&id) {
            continue;
        }
        match o.ports.store.get(id).await {
            Ok(record) if !record.agent.is_terminal() => {
                if let Err(e) = o.ports.processes.stop(id, Duration::ZERO).await {
                    tracing::error!(agent.id = %id, error = %e, "processes of a queued agent could not be stopped");
                }
            }
            Ok(_) | Err(StoreError::NotFound(_)) => o.clean_up(id).await,
            Err(e) => tracing::warn!(agent.id = %id, error = %e, "processes without a readable record are left for a person to look at"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Timestamp;
    use crate::domain::lifecycle::{Now, next};
    use crate::domain::spec::SpawnSpec;

    #[test]
    fn an_agent_lost_before_its_first_step_begins_and_a_begun_one_is_interrupted() {
        let context = serde_json::json!({"repository": "https://h.example/r.git", "branch": "main", "workItems": ["x"]});
        let body = serde_json::json!({"taskId": "T-1", "agentType": "worker", "context": context});
        let spec = SpawnSpec::parse(&body).expect("the body is right");
        let id = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a".parse().expect("an id");
        let queued = Agent::admitted(id, spec, "mosaic", None, Timestamp(1_000));
        let now = Now { at: Timestamp(2_000), dice: 0.5 };
        let begun = next(&queued, first_event(&queued), now).expect("it can begin").agent;
        assert_eq!(begun.attempt, 1);
        assert_eq!(first_event(&begun), Event::Interrupted);
        next(&begun, first_event(&begun), now).expect("it can be interrupted");
    }
}
