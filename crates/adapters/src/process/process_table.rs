//! One look at the whole process table, shared by everybody who waits for one: fifty agents that are stopped together
//! must not read it a hundred times.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mosaic_core::domain::ids::AgentId;
use parking_lot::Mutex;

use super::layout;
use super::linux::{self, Seen};
use super::variables::{AGENT_VARIABLE, JOB_VARIABLE};

/// Every process that could be seen at one moment.
#[derive(Debug)]
pub(super) struct ProcessTable {
    begun: Instant,
    /// The processes.
    pub(super) all: Vec<Seen>,
    /// Those that were started with an agent's id in their environment.
    marked: HashMap<i32, Mark>,
}

/// The agent and the job that a process names in its environment.
#[derive(Debug)]
struct Mark {
    agent: AgentId,
    /// The job directory that its supervisor named.
    job: Option<PathBuf>,
}

impl Mark {
    fn read(seen: &Seen) -> Option<Self> {
        let [agent, job] = linux::variables(seen, [AGENT_VARIABLE, JOB_VARIABLE]);
        Some(Self { agent: agent?.parse().ok()?, job: job.map(PathBuf::from) })
    }

    /// Tells whether it was certainly started for another data directory that is there. A process that says nothing, or
    /// names what is gone, belongs to whoever looks for its agent.
    fn is_foreign(&self, data: &Path) -> bool {
        let Some(theirs) = self.job.as_deref().and_then(layout::data_of).filter(|theirs| *theirs != data)
        else {
            return false;
        };
        matches!((theirs.canonicalize(), data.canonicalize()), (Ok(theirs), Ok(ours)) if theirs != ours)
    }
}

static LAST: Mutex<Option<Arc<ProcessTable>>> = Mutex::new(None);

impl ProcessTable {
    /// Looks, or takes the look of somebody else that began after this call.
    pub(super) fn take() -> Arc<Self> {
        let asked = Instant::now();
        // The lock is held while the table is read, so that all who ask meanwhile share the next reading. The one under way
        // would not do for them: as a proof that nothing is left it could miss a process that was forked since it began.
        let mut last = LAST.lock();
        if let Some(table) = last.as_ref().filter(|table| table.begun > asked) {
            return Arc::clone(table);
        }
        let table = Arc::new(Self::look());
        *last = Some(Arc::clone(&table));
        table
    }

    fn look() -> Self {
        let begun = Instant::now();
        let all = linux::everything();
        let alive = all.iter().filter(|seen| !seen.zombie);
        let marked = alive.filter_map(|seen| Some((seen.process.pid, Mark::read(seen)?))).collect();
        Self { begun, all, marked }
    }

    /// Lists the agents of a data directory that have marked processes.
    pub(super) fn agents(&self, data: &Path) -> impl Iterator<Item = AgentId> {
        self.marked.values().filter(|mark| !mark.is_foreign(data)).map(|mark| mark.agent)
    }

    /// Tells whether a process is marked as this agent's, and not as another data directory's.
    pub(super) fn is_marked(&self, pid: i32, agent: AgentId, data: Option<&Path>) -> bool {
        let mark = self.marked.get(&pid).filter(|mark| mark.agent == agent);
        mark.is_some_and(|mark| data.is_none_or(|data| !mark.is_foreign(data)))
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
                        let table = ProcessTable::take();
                        assert!(table.begun >= asked && !table.all.is_empty());
                    }
                });
            }
        });
    }
}
