//! Controls of a world and looks at it, for the test that made it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::orders::Filed;
use parking_lot::MutexGuard;

use super::world::{Behaviour, FakeWorld, RemoteMood, Stuck};

impl FakeWorld {
    /// Moves the clock forward.
    pub fn skip(&self, time: Duration) {
        self.skipped.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Returns the orders that stand in the state directory, to look at and to change.
    pub fn filed(&self) -> MutexGuard<'_, Filed> {
        self.filed.lock()
    }

    /// Makes every write into the state directory fail, or work again.
    pub fn break_files(&self, broken: bool) {
        self.no_files.store(broken, Ordering::SeqCst);
    }

    /// Makes every call about standing orders in the state directory hang, as on a disk that is gone, or return again.
    pub fn hang_files(&self, hang: bool) {
        self.files_hang.store(hang, Ordering::SeqCst);
    }

    pub(super) async fn disk(&self) {
        if self.files_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Lets every program end well, those that run and those that will.
    pub fn release(&self) {
        self.behaviour.send_replace(Behaviour::EndAtOnce);
    }

    /// Sets how programs behave from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Returns the agents whose program runs.
    pub fn alive(&self) -> Vec<AgentId> {
        self.alive.lock().keys().map(|(_, agent)| *agent).collect()
    }

    /// Returns the agents whose program runs on this node.
    pub fn alive_on(&self, node: &str) -> Vec<AgentId> {
        let alive = self.alive.lock();
        alive.keys().filter(|(there, _)| there.as_str() == node).map(|(_, agent)| *agent).collect()
    }

    /// Returns the agents that have a tree on this node.
    pub fn trees_on(&self, node: &str) -> Vec<AgentId> {
        let trees = self.trees.lock();
        trees.iter().filter(|(there, _)| there.as_str() == node).map(|(_, agent)| *agent).collect()
    }

    /// Returns who pushed which branch, in order.
    pub fn pushed_by(&self) -> Vec<(String, String)> {
        self.pushed.lock().iter().map(|(branch, node)| (branch.clone(), node.to_string())).collect()
    }

    /// Makes the remote hang in the middle of every push, or go on.
    pub fn hang_pushes(&self, hang: bool) {
        self.hangs.send_replace(hang);
    }

    /// Waits until a push was begun; what the remote takes at once has arrived by then.
    pub async fn push_begun(&self) {
        // Errors never: the sender lives as long as the world.
        let _ = self.begun.subscribe().wait_for(|begun| *begun > 0).await;
    }

    /// Sets how the remote answers from now on.
    pub fn remote_is(&self, mood: RemoteMood) {
        *self.remote.lock() = mood;
    }

    /// Returns how many pushes were given up because their lease was over.
    pub fn given_up(&self) -> usize {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Holds every freeze of a program, or lets them go on.
    pub fn hold_freezes(&self, held: bool) {
        self.freezes_held.send_replace(held);
    }

    /// Waits until so many freezes were begun.
    pub async fn freezes(&self, count: usize) {
        let _ = self.freezes.subscribe().wait_for(|begun| *begun >= count).await;
    }

    /// Returns the agents whose program is frozen.
    pub fn frozen(&self) -> Vec<AgentId> {
        self.frozen.lock().iter().copied().collect()
    }

    /// Returns how often a second program of an agent was started beside the first.
    pub fn double_runs(&self) -> usize {
        self.double_runs.load(Ordering::SeqCst)
    }

    /// Returns the branches that were pushed, in order.
    pub fn pushed(&self) -> Vec<String> {
        self.pushed_by().into_iter().map(|(branch, _)| branch).collect()
    }

    /// Says what does not work from now on.
    pub fn stick(&self, what: Stuck) {
        *self.stuck.lock() = what;
    }

    /// From now on agents leave work beside their HEAD too.
    pub fn leave_beside(&self) {
        self.leaves_beside.store(true, Ordering::Relaxed);
    }

    /// Returns how often the agent's processes were ordered to stop.
    pub fn stops(&self, agent: AgentId) -> usize {
        self.stops.lock().iter().filter(|id| **id == agent).count()
    }

    /// Tells whether the agent's tree was deleted.
    pub fn is_cleaned(&self, agent: AgentId) -> bool {
        self.cleaned.lock().contains(&agent)
    }
}
