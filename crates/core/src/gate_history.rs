//! The history of gates: pass rates, times and flaky tests by repository and gate. It is made of the facts `gate.finished` of
//! the event log, which has one for every judgement, whatever became of the agent's record since; where nodes share a store it
//! covers the whole fleet.

mod summary;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::Mutex;

use crate::Orchestrator;
use crate::domain::facts::GATE_FINISHED;
use crate::domain::gates::GateOutcome;
use crate::domain::ids::{AgentId, TaskId, Timestamp};
use crate::domain::journal::Entry;
use crate::limits;
use crate::ports::store::{Store, StoreError};

pub use summary::{FlakyTest, GateHistory, GateHistoryPage, HistoryQuery};

/// One gate's result in one judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRun {
    /// The repository.
    pub repository: Arc<str>,
    /// The gate.
    pub gate: String,
    /// The agent.
    pub agent: Option<AgentId>,
    /// Its task.
    pub task: Option<TaskId>,
    /// The commit.
    pub commit: String,
    /// When the judgement ended.
    pub at: Timestamp,
    /// The gate's outcome.
    pub outcome: GateOutcome,
    /// Its time, in milliseconds.
    pub duration_ms: u64,
    /// The verdict was known, so that nothing ran.
    pub cached: bool,
    /// Tests that failed and then passed.
    pub flaky_tests: Vec<String>,
}

/// Details of a judgement, read tolerantly: an older build told less.
#[derive(Deserialize)]
struct Judged {
    commit: String,
    repository: String,
    results: Vec<JudgedGate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JudgedGate {
    name: String,
    outcome: GateOutcome,
    #[serde(default)]
    duration_ms: u64,
    #[serde(default)]
    cached: bool,
    #[serde(default)]
    flaky_tests: Vec<String>,
}

/// The judgements that were read from the log so far. Each question reads only the facts that came since the last one.
#[derive(Default)]
pub(crate) struct KnownJudgements(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The last fact that was read.
    seq: u64,
    /// Time of the oldest fact that counts.
    since: Option<Timestamp>,
    /// The results, oldest first.
    runs: VecDeque<GateRun>,
}

impl Known {
    /// Reads what was logged since the last time.
    async fn refresh(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let newest = *store.newest().borrow();
        // The number may lag behind what was read. But a log that has lost its end, as after a failover, gives its numbers anew.
        if newest < self.seq && !self.is_log_of(store).await? {
            *self = Self::default();
        }
        self.seq = self.seq.max(newest.saturating_sub(limits::HISTORY_FACTS));
        loop {
            let entries = store.entries(self.seq, limits::STORE_PAGE).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            self.seq = last.seq;
            entries.iter().for_each(|entry| self.note(entry));
        }
    }

    /// Tells whether the last fact that was read is still in the log.
    async fn is_log_of(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let last = store.entries(self.seq - 1, 1).await?;
        Ok(last.first().is_some_and(|entry| entry.seq == self.seq))
    }

    fn note(&mut self, entry: &Entry) {
        let fact = &entry.fact;
        self.since.get_or_insert(fact.at);
        if fact.kind() != GATE_FINISHED {
            return;
        }
        let Ok(judged) = Judged::deserialize(fact.data()) else { return };
        let repository: Arc<str> = judged.repository.into();
        self.runs.extend(judged.results.into_iter().map(|gate| GateRun {
            repository: Arc::clone(&repository),
            gate: gate.name,
            agent: fact.agent,
            task: fact.task.clone(),
            commit: judged.commit.clone(),
            at: fact.at,
            outcome: gate.outcome,
            duration_ms: gate.duration_ms,
            cached: gate.cached,
            flaky_tests: gate.flaky_tests,
        }));
        let over = self.runs.len().saturating_sub(limits::HISTORY_RESULTS);
        if over > 0 {
            self.runs.drain(..over);
            self.since = self.runs.front().map(|run| run.at);
        }
    }
}

impl Orchestrator {
    /// Returns the history of the gates that a query wants, one entry per repository and gate.
    pub async fn gate_history(&self, query: &HistoryQuery) -> Result<GateHistoryPage, StoreError> {
        let mut known = self.gate_history.0.lock().await;
        known.refresh(&*self.ports.store).await?;
        Ok(summary::page(known.runs.iter(), known.since, query))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::facts::Fact;

    #[test]
    fn the_facts_of_the_history_are_logged() {
        assert!(Fact::KINDS.contains(&GATE_FINISHED));
    }
}
