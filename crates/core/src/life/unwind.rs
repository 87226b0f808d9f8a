//! Unwind: the only way anything is given back, whether the agent finished, failed, was killed, timed out or its
//! server died. Every part is idempotent and found by the agent's id, so that it can be repeated by the next server.

use std::time::Duration;

use super::{Hands, Scene, commit};
use crate::domain::agent::{Ending, State, Status};
use crate::domain::lifecycle::{Event, Salvage};
use crate::limits;
use crate::ports::repositories::Kept;

/// How the warning about a tree that could not be removed begins.
pub(crate) const TREE_LEFT: &str = "the working tree could not be removed yet";

/// Stops what runs of an agent that is killed, while the kill is still being written.
pub(super) async fn begin(scene: &Scene<'_>, hands: &mut Hands) {
    hands.running = None;
    stop(scene, scene.o.settings.kill_grace).await;
    scene.driver.empty.send_replace(true);
    // Keeping what it left takes time that others, who are still alive, need for their end.
    tokio::select! {
        () = scene.o.orders.no_rush() => {}
        () = scene.o.ports.clock.sleep(limits::STOP_PROOF) => {}
    }
}

pub(super) async fn run(scene: &Scene<'_>, hands: &mut Hands) -> Event {
    let mut warnings = Vec::new();
    hands.running = None;
    if !std::mem::take(&mut hands.stopped) {
        stop(scene, grace(scene)).await;
    }
    let salvage = salvage(scene, hands, &mut warnings).await;
    if salvage == Salvage::Failed {
        // Whatever the harvest left running must not meet the next attempt.
        stop(scene, Duration::ZERO).await;
    }
    let (o, agent) = (scene.o, scene.agent.id);
    if let State::Unwinding { ending: Ending::Settle { .. } } = &scene.agent.state
        && salvage != Salvage::Failed
    {
        let removed = match o.ports.repositories.remove(agent).await {
            Ok(()) => o.ports.sandbox.release(agent).await,
            failed => failed,
        };
        if let Err(e) = removed {
            warnings.push(format!("{TREE_LEFT}: {}", e.message));
        }
    }
    if let Err(e) = o.ports.processes.forget(agent).await {
        warnings.push(format!("job records could not be removed yet: {e}"));
    }
    Event::Unwound { salvage, warnings }
}

/// Whatever is left of an agent that ended by itself is not asked.
fn grace(scene: &Scene<'_>) -> Duration {
    match &scene.agent.state {
        State::Unwinding { ending: Ending::Settle { end } } if end.status != Status::Killed => Duration::ZERO,
        _ => scene.o.settings.kill_grace,
    }
}

/// Stops every process of the agent, again and again until it is verified that none is left. The first receipt that
/// found something stays.
async fn stop(scene: &Scene<'_>, mut grace: Duration) {
    let (o, agent) = (scene.o, scene.agent);
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
                if receipt.processes_before > 0 || slot.is_none() {
                    *slot = Some(receipt);
                }
                return;
            }
            Err(e) => {
                tracing::error!(agent.id = %agent.id, error = %e, "processes of the agent are still alive; stopping them again");
            }
        }
        o.ports.clock.sleep(pause).await;
        pause = (pause * 2).min(limits::STRAYS);
    }
}

/// Keeps what the agent made and nobody received yet. When that fails the tree stays, and a warning names it.
async fn salvage(scene: &Scene<'_>, hands: &mut Hands, warnings: &mut Vec<String>) -> Salvage {
    if !scene.agent.work.dirty {
        return Salvage::Nothing;
    }
    match commit::harvest(scene, hands).await {
        Ok(Kept::Commits { head }) => Salvage::Kept(head),
        Ok(Kept::Nothing) => Salvage::Nothing,
        Ok(Kept::Diverged { branches }) => {
            let id = scene.agent.id;
            warnings.push(format!(
                "kept in the repository store under refs/agents/{id}/branches/: {}",
                branches.join(", ")
            ));
            Salvage::Nothing
        }
        Err(e) => {
            let id = scene.agent.id;
            let why = scene.o.ports.scanner.mask(&e.message);
            warnings.push(format!(
                "what the agent left could not be kept, so its tree stays in agents/{id}/tree: {why}"
            ));
            Salvage::Failed
        }
    }
}
