//! What the edges ask the orchestrator besides orders: small questions and switches that are no step of a task.

use std::sync::atomic::Ordering;

use crate::orchestrator::Orchestrator;

impl Orchestrator {
    /// Takes no new agents from now on: spawns are refused and readiness is false at once. What runs goes on until
    /// the engine is told to stop. Idempotent; there is no way back but a restart.
    pub fn refuse_new(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}
