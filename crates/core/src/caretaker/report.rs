//! The findings of the caretaker, and its memory of what to try again.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::domain::ids::{AgentId, Timestamp};
use crate::limits;

/// Report of the caretaker's last round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CareReport {
    /// When the last round ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Ended agents of which something could not be cleaned up yet.
    pub cleanup_pending: u64,
    /// Directories without a record that could not be dealt with yet.
    pub orphans: u64,
    /// Agents without a record of which a bare repository keeps work.
    pub orphan_refs: u64,
    /// Ended agents that are old enough to go and stay because of their unmerged work, as far as the last round looked.
    pub unmerged_kept: u64,
    /// Bytes of transcripts and logs when they were last measured.
    pub transcript_bytes: u64,
    /// Problems of the last round, one line for each piece of work that it could not do; at most [`limits::FINDINGS`].
    pub problems: Vec<String>,
}

impl CareReport {
    /// Notes what could not be done.
    pub(super) fn problem(&mut self, text: impl Into<String>) {
        let text = text.into();
        tracing::warn!(why = %text, "the caretaker could not do something; it tries again");
        if self.problems.len() < limits::FINDINGS {
            self.problems.push(text);
        }
    }
}

/// When what could not be done is tried again: later and later, per agent.
#[derive(Debug, Default)]
pub struct Again {
    next: HashMap<AgentId, (u32, Timestamp)>,
}

impl Again {
    /// Tells whether it is time to try.
    pub fn is_due(&self, agent: AgentId, now: Timestamp) -> bool {
        self.next.get(&agent).is_none_or(|(_, at)| *at <= now)
    }

    /// Notes that a try failed.
    pub fn failed(&mut self, agent: AgentId, now: Timestamp) {
        let (tries, at) = self.next.entry(agent).or_insert((0, now));
        let pause =
            limits::CARE_RETRY.saturating_mul(2u32.saturating_pow(*tries)).min(limits::CARE_RETRY_CAP);
        (*tries, *at) = (tries.saturating_add(1), now.plus(pause));
    }

    /// Forgets everybody who is not in the list any more.
    pub fn keep(&mut self, agents: &[AgentId]) {
        self.next.retain(|agent, _| agents.contains(agent));
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
