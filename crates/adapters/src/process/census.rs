//! One look at the whole process table, shared by everybody who waits for one: fifty agents that are stopped together
//! must not read it a hundred times.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mosaic_core::domain::ids::AgentId;

use super::linux::{self, Seen};
use super::shim::AGENT_VARIABLE;

/// Every process that could be seen at one moment.
#[derive(Debug)]
pub(super) struct Census {
    begun: Instant,
    /// The processes.
    pub(super) all: Vec<Seen>,
    /// Those that were started with an agent's id in their environment.
    marked: Vec<(i32, AgentId)>,
}

static LAST: Mutex<Option<Arc<Census>>> = Mutex::new(None);

impl Census {
    /// Looks, or takes the look of somebody else that began after this call.
    pub(super) fn take() -> Arc<Self> {
        let asked = Instant::now();
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(census) = last.as_ref().filter(|census| census.begun > asked) {
            return Arc::clone(census);
        }
        let census = Arc::new(Self::look());
        *last = Some(Arc::clone(&census));
        census
    }

    fn look() -> Self {
        let begun = Instant::now();
        let all = linux::everything();
        let alive = all.iter().filter(|seen| !seen.zombie).map(|seen| seen.process.pid);
        let marked = alive.filter_map(|pid| Some((pid, linux::variable(pid, AGENT_VARIABLE)?.parse().ok()?)));
        let marked = marked.collect();
        Self { begun, all, marked }
    }

    /// Lists the agents that have marked processes.
    pub(super) fn agents(&self) -> impl Iterator<Item = AgentId> {
        self.marked.iter().map(|(_, agent)| *agent)
    }

    /// Tells whether a process is marked as this agent's.
    pub(super) fn is_marked(&self, pid: i32, agent: AgentId) -> bool {
        self.marked.contains(&(pid, agent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_a_look_that_began_before_they_asked() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let asked = Instant::now();
                        let census = Census::take();
                        assert!(census.begun >= asked && !census.all.is_empty());
                    }
                });
            }
        });
    }
}
