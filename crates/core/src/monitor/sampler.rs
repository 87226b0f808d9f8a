//! The sampler: one loop for all agents of the node. What it cannot learn in time is left out; it holds up nothing.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::vitals::Vitals;
use crate::domain::ids::AgentId;
use crate::limits;
use crate::orchestrator::Orchestrator;

/// Samples every live agent, again and again; never ends.
pub(crate) async fn run(o: &Orchestrator) {
    // With a short ceiling, as tests set it, the stall response needs more than one sample too.
    let period = limits::SAMPLE_PERIOD.min(o.settings.stall / 20);
    loop {
        o.ports.clock.sleep(period).await;
        let live: Vec<AgentId> = o.live().keys().copied().collect();
        let samples = live.into_iter().map(|agent| sample(o, agent));
        stream::iter(samples).buffer_unordered(limits::SAMPLES_AT_ONCE).collect::<()>().await;
    }
}

async fn sample(o: &Orchestrator, agent: AgentId) {
    let Some(vitals) = o.monitor.known(agent) else { return };
    tokio::select! {
        () = look(o, agent, &vitals) => {}
        () = o.ports.clock.sleep(limits::SAMPLE_ANSWER) => {
            tracing::debug!(agent.id = %agent, "no sample in time");
        }
    }
}

async fn look(o: &Orchestrator, agent: AgentId, vitals: &Arc<Vitals>) {
    let disk = async {
        if !vitals.wants_disk(o.elapsed()) {
            return None;
        }
        o.ports.host.disk_of(agent).await.ok()
    };
    let (usage, disk) = tokio::join!(o.ports.processes.usage(agent), disk);
    match usage {
        Ok(usage) => vitals.take(o.moment(), usage, disk),
        Err(e) => {
            tracing::debug!(agent.id = %agent, error = %e, "the agent's processes could not be measured")
        }
    }
}
