//! Step 2, lease: a free slot takes the best entry under a lease with an epoch.

use std::time::Duration;

use crate::domain::lifecycle::{self, Event};
use crate::engine::Taken;
use crate::limits;
use crate::orchestrator::Orchestrator;
use crate::ports::store::{Change, Lease, Safety, Versioned};

/// Takes the best entry that may start, when there is one, the machine has room, and the store answers. Entries whose
/// breaker is open, or whose credential has reached a limit, are put off on the way, so that they hold up nobody behind them.
pub(crate) async fn take(o: &Orchestrator) -> Option<Taken> {
    if o.held_up().await.is_some() {
        return None;
    }
    loop {
        let asked = o.elapsed();
        let taken = o.ports.store.lease(&o.settings.node, o.now()).await;
        let (lease, record) = taken.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "queue could not be read; looking again in a moment");
            None
        })?;
        // Asked first: a breaker lets one agent through to see how it fares.
        let held = o.quota_of(&record.agent).map(|held| {
            let why = format!(
                "the model service's limit is reached until {}: {}",
                held.until.to_rfc3339(),
                held.why
            );
            (why, held.until.since(o.now()))
        });
        let refused = held.or_else(|| o.monitor.may_start(&record.agent, o.elapsed()).err());
        let Some((why, wait)) = refused else {
            return Some(Taken { lease, record, asked });
        };
        put_off(o, &lease, &record, why, wait).await?;
    }
}

/// Puts a leased entry back into the queue until it is worth asking again. `None` when the store did not take it: then
/// it is found again as one that nobody drives.
async fn put_off(
    o: &Orchestrator,
    lease: &Lease,
    record: &Versioned,
    why: String,
    wait: Duration,
) -> Option<()> {
    let now = o.decide_now();
    // Spread over a little time, so that those put off together do not come back together.
    let until = now.at.plus(wait).plus(limits::DISPATCH_PERIOD.mul_f64(now.dice * 5.0));
    let step = lifecycle::next(&record.agent, Event::PutOff { until, why }, now).ok()?;
    let change = Change { safety: Safety::Process, agent: step.agent, facts: step.facts };
    match o.ports.store.advance(lease, change).await {
        Ok(_) => Some(()),
        Err(e) => {
            tracing::warn!(agent.id = %lease.agent, error = %e, "agent could not be put off");
            None
        }
    }
}
