//! The sampler: one loop for all agents of the node. What it cannot learn in time is left out; it holds up nothing.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::vitals::Vitals;
use crate::domain::ids::AgentId;
use crate::limits;
use crate::monitor::Monitor;

/// Samples every live agent, again and again; never ends.
pub(crate) async fn run(monitor: &Monitor) {
    // With a short ceiling, as tests set it, the stall response needs more than one sample too.
    let period = limits::SAMPLE_PERIOD.min(monitor.stall / 20);
    loop {
        monitor.clocks.sleep(period).await;
        let live: Vec<AgentId> = monitor.drivers.lock().keys().copied().collect();
        let samples = live.into_iter().map(|agent| sample(monitor, agent));
        stream::iter(samples).buffer_unordered(limits::SAMPLES_AT_ONCE).collect::<()>().await;
    }
}

async fn sample(monitor: &Monitor, agent: AgentId) {
    let Some(vitals) = monitor.known(agent) else { return };
    tokio::select! {
        () = look(monitor, agent, &vitals) => {}
        () = monitor.clocks.sleep(limits::SAMPLE_ANSWER) => {
            tracing::debug!(agent.id = %agent, "no sample in time");
        }
    }
}

async fn look(monitor: &Monitor, agent: AgentId, vitals: &Arc<Vitals>) {
    let disk = async {
        if !vitals.wants_disk(monitor.clocks.elapsed()) {
            return None;
        }
        monitor.host.disk_of(agent).await.ok()
    };
    let (usage, disk) = tokio::join!(monitor.processes.usage(agent), disk);
    match usage {
        Ok(usage) => vitals.take(monitor.moment(), usage, disk),
        Err(e) => {
            tracing::debug!(agent.id = %agent, error = %e, "the agent's processes could not be measured")
        }
    }
}
