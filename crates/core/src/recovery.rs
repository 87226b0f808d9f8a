//! Recovery: what an earlier server of this node left behind is adopted under a new epoch and continues; see
//! [`crate::steps`] for how each step finds its way back. What another node held goes back to the queue once its lease is
//! over: nothing of it is here to go on from. What belongs to nobody is stopped and verified empty. Nothing is trusted but the store
//! and what the ports find.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::agent::State;
use crate::domain::audit::Action;
use crate::domain::ids::{AgentId, NodeId};
use crate::domain::lifecycle::{self, Event};
use crate::drive;
use crate::driver::{Entry, Taken};
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Change, Lease, Safety, StoreError, Versioned};

/// Returns how often this node looks for unsupervised agents.
pub(crate) fn period(o: &Orchestrator) -> Duration {
    let term = o.ports.fleet.term();
    term.map_or(limits::UNWATCHED_PERIOD, |term| {
        (term / limits::HEARTBEATS_PER_LEASE).min(limits::UNWATCHED_PERIOD)
    })
}

/// Takes over every agent leased to this node that no driver watches: those of an earlier server at the start, and later those
/// whose driver broke. Returns whether they are known: while the store does not answer, nobody is a stray.
pub(crate) async fn take_over(o: &Arc<Orchestrator>, drivers: &mut JoinSet<()>) -> bool {
    let leased = match o.ports.store.leased().await {
        Ok(leased) => leased,
        Err(e) => {
            tracing::warn!(error = %e, "leased agents could not be listed; looking again in a moment");
            return false;
        }
    };
    let ours = |record: &Versioned| !o.is_elsewhere(record.node.as_ref());
    let unsupervised: Vec<_> =
        leased.into_iter().filter(ours).filter(|r| !o.live().contains_key(&r.agent.id)).collect();
    if !unsupervised.is_empty() {
        tracing::info!(agents = unsupervised.len(), "adopting unsupervised agents");
        let taken = format!("{} unsupervised agents are adopted", unsupervised.len());
        o.audit_soon(o.system_entry(Action::Recovery).result(taken));
    }
    let mut all = true;
    for record in unsupervised {
        // Measured before the store is asked: by this node's clock the new lease must never end later than by the
        // store's.
        let (id, asked) = (record.agent.id, o.elapsed());
        match o.ports.store.take_over(id, &o.settings.node).await {
            // This node took it over from a lost one, and was itself lost before it had returned it to the queue.
            Ok((lease, record)) if is_foreign(o, &record) => {
                let from = record.agent.node.clone().unwrap_or_else(|| o.settings.node.clone());
                give_back(o, &lease, record, from).await;
            }
            Ok((lease, record)) => drive::start(o, drivers, Taken { lease, record, asked }, Entry::TakenOver),
            // Its lease in the store is still this node's, so nothing is lost by asking again; stopping what runs of it
            // would throw its work away because of a short outage.
            Err(StoreError::Unavailable(why)) => {
                tracing::warn!(agent.id = %id, why, "agent could not be adopted yet; it runs on");
                all = false;
            }
            Err(e) => {
                tracing::error!(agent.id = %id, error = %e, "agent could not be adopted; it is stopped");
                // Without the lease nobody may write what it does, and a program that nobody supervises must not run.
                stop(o, id).await;
            }
        }
    }
    all
}

fn is_foreign(o: &Orchestrator, record: &Versioned) -> bool {
    o.is_elsewhere(record.agent.node.as_ref()) && !matches!(record.agent.state, State::Queued { .. })
}

/// Gives agents of other nodes whose leases are over back to the queue, a few at a time.
pub(crate) async fn take_lapsed(o: &Orchestrator) {
    if !o.is_fleet() {
        return;
    }
    let lapsed = match o.ports.fleet.lapsed(limits::LAPSED).await {
        Ok(lapsed) => lapsed,
        Err(e) => return tracing::debug!(error = %e, "leases that are over could not be listed"),
    };
    let mut given = 0;
    for id in lapsed.into_iter().filter(|id| !o.live().contains_key(id)) {
        // The list may be older than the record: another node may have taken the agent since.
        let Ok(record) = o.ports.store.get(id).await else { continue };
        // What this node holds itself goes on here.
        let Some(from) = record.node.filter(|node| *node != o.settings.node) else { continue };
        match o.ports.store.take_over(id, &o.settings.node).await {
            Ok((lease, record)) => {
                tracing::warn!(agent.id = %id, node = %from, "the agent's node is lost");
                given += 1;
                give_back(o, &lease, record, from).await;
            }
            // Another node was faster. Each of them looks at the same list.
            Err(StoreError::Conflict(_)) => {}
            Err(e) => {
                tracing::warn!(agent.id = %id, error = %e, "agent of a lost node could not be adopted yet")
            }
        }
    }
    if given > 0 {
        o.audit_soon(
            o.system_entry(Action::Recovery)
                .result(format!("{given} agents of lost nodes are returned to the queue")),
        );
    }
}

/// Gives an agent back to the queue whose node is lost, or ends it when that is what stands. An agent whose write fails is
/// found again among those that this node holds.
async fn give_back(o: &Orchestrator, lease: &Lease, record: Versioned, from: NodeId) {
    // What an order ends is not lost, whatever became of its node.
    let kill = o
        .orders
        .standing_event(&record.agent, record.seq)
        .filter(|event| matches!(event, Event::Kill { .. }));
    let killed = kill.and_then(|kill| lifecycle::next(&record.agent, kill, o.decide_now()).ok());
    let (agent, mut facts) = killed.map_or((record.agent, Vec::new()), |step| (step.agent, step.facts));
    let agent = match lifecycle::next(&agent, Event::NodeLost { node: from }, o.decide_now()) {
        Ok(step) => {
            facts.extend(step.facts);
            step.agent
        }
        // It waited in the queue, and the order ended it there.
        Err(_) if agent.is_terminal() => agent,
        Err(_) => return,
    };
    let change = Change { safety: Safety::Power, agent, facts };
    if let Err(e) = o.ports.store.advance(lease, change).await {
        tracing::warn!(agent.id = %lease.agent, error = %e, "agent of a lost node could not be returned to the queue yet");
    }
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
        // Bounded, because a process that cannot be killed (one in an uninterruptible call to a disk) must not keep
        // this node from starting anything else.
        _ = all => {}
        () = o.ports.clock.sleep(limits::STRAYS) => tracing::error!("processes of an earlier server are still alive; see the log above"),
    }
}

async fn stop_stray(o: &Orchestrator, id: AgentId) {
    match o.ports.store.glance(id).await {
        // It waits in the queue or is another node's by now. What lies here of its work is kept by the
        // caretaker, or before its next checkout on this node; only its processes are in the way.
        Ok(record) if !record.agent.is_terminal() => stop(o, id).await,
        Ok(_) | Err(StoreError::NotFound(_)) => o.clean_up(id).await,
        Err(e) => {
            tracing::warn!(agent.id = %id, error = %e, "agent without a readable record: stopped, its files are left");
            stop(o, id).await;
        }
    }
}

async fn stop(o: &Orchestrator, id: AgentId) {
    if let Err(e) = o.stop_jobs(id, Duration::ZERO).await {
        tracing::error!(agent.id = %id, error = %e, "could not stop processes of an unsupervised agent");
    }
}
