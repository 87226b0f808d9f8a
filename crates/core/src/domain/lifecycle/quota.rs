//! Limits of the model service that say when they end: the agent goes back into the queue until then. That is no attempt of
//! its own, however often it happens within reason, and a person is told.

use super::super::agent::{Attention, AttentionKind, QueueCause, State};
use super::super::facts::{AgentAttention, Fact};
use super::super::ids::Stamp;
use super::super::outcome::Failure;
use super::super::quota::Reset;
use super::decision::Decision;

impl Decision {
    /// The model service wants nothing more of this credential until the reset.
    pub(super) fn wait_for_quota(&mut self, reset: Reset, failure: Failure) -> QueueCause {
        let until = reset.at(self.now.at);
        self.agent.quota_waits += 1;
        let summary = format!("waits until {}: {}", until.to_rfc3339(), failure.message);
        self.note(Fact::AgentAttention(AgentAttention {
            kind: AttentionKind::Quota,
            stage: None,
            until: Some(Stamp(until)),
            summary: summary.clone(),
        }));
        self.agent.attention.retain(|one| one.kind != AttentionKind::Quota);
        self.agent.attention.push(Attention { kind: AttentionKind::Quota, summary, since: self.now.at });
        let failure = Failure { reset: Some(Reset::At(until)), ..failure };
        QueueCause::Backoff { until, failure }
    }
}

/// Returns the state of a waiting agent once the credential whose limit it waits for is not the one in force any more: as it
/// was before the limit, due at once where that was all it waited for. `None` when it waits for no limit.
pub(super) fn lifted(cause: &QueueCause) -> Option<State> {
    cause.limited_credential()?;
    let cause = match cause.origin() {
        limited if limited.quota().is_some() => QueueCause::Interrupted,
        before => before.clone(),
    };
    Some(State::Queued { cause })
}
