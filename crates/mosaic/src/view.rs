//! Agents and times for people.

use std::fmt::Display;
use std::time::Duration;

use mosaic_api::{Spawned, StatusView};
use mosaic_core::domain::ids::Timestamp;

use crate::sanitize;

/// Parts of an agent's status that many commands show.
pub(crate) trait AgentStatus {
    /// Returns the short name, or the start of the id when there is none.
    fn short_name(&self) -> String;

    /// Tells whether nothing can follow.
    fn is_final(&self) -> bool;

    /// Tells whether a person must decide something.
    fn needs_a_person(&self) -> bool;

    /// Returns how long it has been, or was, alive.
    fn elapsed(&self, now: Timestamp) -> Option<Duration>;

    /// Returns the warnings, each as one line.
    fn shown_warnings(&self) -> Vec<String>;
}

impl AgentStatus for StatusView {
    fn short_name(&self) -> String {
        name_of(&self.name, &self.agent_id)
    }

    fn is_final(&self) -> bool {
        self.status.is_final()
    }

    fn needs_a_person(&self) -> bool {
        !self.is_final() && !self.attention.is_empty()
    }

    fn elapsed(&self, now: Timestamp) -> Option<Duration> {
        let from = self.started_at.as_deref().and_then(time).or_else(|| time(&self.spawned_at))?;
        Some(self.completed_at.as_deref().and_then(time).unwrap_or(now).since(from))
    }

    fn shown_warnings(&self) -> Vec<String> {
        self.warnings.iter().map(|warning| sanitize::line(warning)).collect()
    }
}

/// Returns the name of an agent that was admitted.
pub(crate) fn admitted_name(spawned: &Spawned) -> String {
    name_of(&spawned.name, &spawned.agent_id)
}

/// Returns a name as one line, or the start of the id when there is none.
pub(crate) fn name_of(name: &str, id: &str) -> String {
    match name {
        "" => sanitize::cut(&sanitize::line(id), 9),
        name => sanitize::line(name),
    }
}

/// Shows a text as one line that is safe to print; empty when there is none.
pub(crate) fn shown(text: &Option<String>) -> String {
    text.as_deref().map_or(String::new(), sanitize::line)
}

/// Shows a word; empty when there is none.
pub(crate) fn word(word: Option<impl Display>) -> String {
    word.map_or(String::new(), |word| word.to_string())
}

/// Reads a time.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    Timestamp::from_rfc3339(text).ok()
}

/// Returns the place in the queue, 1 for the next one: the API counts how many start before.
pub(crate) fn place(position: Option<u64>) -> Option<u64> {
    position.map(|before| before + 1)
}

/// Returns the current time.
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// Returns a span for people: `12s`, `4m12s`, `18m`, `2h05m`, `3d`.
pub(crate) fn span(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..600 => format!("{}m{:02}s", s / 60, s % 60),
        600..3600 => format!("{}m", s / 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d", s / 86_400),
    }
}

/// Returns the clock part of a time in UTC, `10:04:11`.
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_rfc3339().get(11..19).unwrap_or("--:--:--").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use serde_json::json;

    #[test]
    fn odd_texts_are_empty() {
        let agent = samples::agent(
            json!({"name": "", "agentId": "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a", "status": "failed", "spawnedAt": "never"}),
        );
        assert_eq!(
            (agent.status.short_name().as_str(), word(agent.status.end_reason)),
            ("7d0c6c1e…", String::new())
        );
        assert!(agent.status.is_final() && agent.status.elapsed(now()).is_none());
    }

    #[test]
    fn spans_are_short() {
        let shown: Vec<String> =
            [12, 252, 1080, 7500, 260_000].into_iter().map(|s| span(Duration::from_secs(s))).collect();
        assert_eq!(shown, ["12s", "4m12s", "18m", "2h05m", "3d"]);
        assert_eq!(clock(Timestamp::from_rfc3339("2026-11-22T10:04:11.112Z").unwrap()), "10:04:11");
    }
}
