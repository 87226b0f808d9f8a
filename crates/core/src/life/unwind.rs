//! Unwind: the only way anything is given back, whether the agent finished, failed, was killed, timed out or its
//! server died. Every part is idempotent and found by the agent's id, so that it can be repeated by the next server.

use std::time::Duration;

use super::{Hands, Scene, commit};
use crate::domain::agent::{Ending, State, Status};
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::limits;

pub(super) async fn run(scene: &Scene<'_>, hands: &mut Hands) -> Event {
    let mut warnings = Vec::new();
    hands.running = None;
    stop(scene).await;
    let kept = salvage(scene, hands, &mut warnings).await;
    let (o, agent) = (scene.o, scene.agent.id);
    if let State::Unwinding { ending: Ending::Settle { .. } } = &scene.agent.state {
        let removed = match o.ports.repositories.remove(agent).await {
            Ok(()) => o.ports.sandbox.release(agent).await,
            failed => failed,
        };
        if let Err(e) = removed {
            warnings.push(format!("the working tree could not be removed yet: {}", e.message));
        }
        if let Err(e) = o.ports.processes.forget(agent).await {
            warnings.push(format!("job records could not be removed yet: {e}"));
        }
    }
    Event::Unwound { kept, warnings }
}

/// Stops every process of the agent, again and again until it is verified that none is left.
async fn stop(scene: &Scene<'_>) {
    let (o, agent) = (scene.o, scene.agent);
    let ended_by_itself = match &agent.state {
        State::Unwinding { ending: Ending::Settle { end } } => end.status != Status::Killed,
        _ => false,
    };
    // Whatever is left of an agent that ended by itself is not asked.
    let mut grace = if ended_by_itself { Duration::ZERO } else { o.settings.kill_grace };
    let mut pause = limits::STORE_RETRY;
    let mut hurry = o.hurry.subscribe();
    loop {
        let stopped = tokio::select! {
            stopped = o.ports.processes.stop(agent.id, grace) => stopped,
            // Errors never: the sender lives as long as the orchestrator. A second stop only makes the first faster.
            _ = hurry.wait_for(|now| *now), if !grace.is_zero() => {
                grace = Duration::ZERO;
                continue;
            }
        };
        match stopped {
            Ok(receipt) => {
                let mut slot = scene.driver.receipt.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                *slot = Some(receipt);
                return;
            }
            Err(e) => tracing::error!(agent.id = %agent.id, error = %e, "processes of the agent are still alive; stopping them again"),
        }
        o.ports.clock.sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

/// Keeps what the agent made and nobody received yet. A failure costs only that: it becomes a warning.
async fn salvage(scene: &Scene<'_>, hands: &mut Hands, warnings: &mut Vec<String>) -> Option<CommitId> {
    if !scene.agent.work.dirty {
        return None;
    }
    let patience = limits::HARVEST + Duration::from_secs(30);
    let harvested = tokio::select! {
        kept = commit::harvest(scene, hands) => kept.map_err(|e| e.message),
        () = scene.o.ports.clock.sleep(patience) => Err("it took too long".to_owned()),
    };
    match harvested {
        Ok(kept) => commit::head(kept),
        Err(why) => {
            warnings.push(format!("what the agent left could not be kept: {why}"));
            None
        }
    }
}
