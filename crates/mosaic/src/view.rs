//! An agent as the API shows it, read tolerantly: a missing or odd field is empty, never an error, so that this
//! program works with a server that is a little older or newer.

use std::time::Duration;

use mosaic_core::domain::ids::Timestamp;
use serde_json::Value;

use crate::plain;

/// Reads fields of one agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    value: &'a Value,
}

impl<'a> View<'a> {
    /// Looks at a JSON object.
    pub(crate) fn new(value: &'a Value) -> Self {
        Self { value }
    }

    /// Returns the object.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// Returns a text field as it came, for comparing; empty when it is missing.
    pub(crate) fn text(&self, field: &str) -> &'a str {
        self.value.get(field).and_then(Value::as_str).unwrap_or("")
    }

    /// Returns a text field as one line that is safe to print; empty when it is missing.
    pub(crate) fn shown(&self, field: &str) -> String {
        plain::line(self.text(field))
    }

    /// Returns a number; 0 when it is missing.
    pub(crate) fn number(&self, field: &str) -> u64 {
        self.value.get(field).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Returns the place in the queue, 1 for the next one; `None` when it does not wait.
    pub(crate) fn place(&self) -> Option<u64> {
        // The API counts how many start before.
        self.value.get("queuePosition").and_then(Value::as_u64).map(|before| before + 1)
    }

    /// Returns a list; empty when it is missing.
    pub(crate) fn list(&self, field: &str) -> &'a [Value] {
        self.value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Returns a time.
    pub(crate) fn time(&self, field: &str) -> Option<Timestamp> {
        time_of(self.value.get(field)?)
    }

    /// Returns the short name, or the start of the id when there is none.
    pub(crate) fn name(&self) -> String {
        match self.text("name") {
            "" => plain::cut(&self.shown("agentId"), 9),
            name => plain::line(name),
        }
    }

    /// Returns the id.
    pub(crate) fn id(&self) -> &'a str {
        self.text("agentId")
    }

    /// Tells whether nothing can follow.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.text("status"), "completed" | "failed" | "killed")
    }

    /// Tells whether a person must decide something.
    pub(crate) fn needs_a_person(&self) -> bool {
        !self.is_terminal() && !self.list("attention").is_empty()
    }

    /// Returns how long it has been, or was, alive.
    pub(crate) fn elapsed(&self, now: Timestamp) -> Option<Duration> {
        let from = self.time("startedAt").or_else(|| self.time("spawnedAt"))?;
        Some(self.time("completedAt").unwrap_or(now).since(from))
    }

    /// Returns the warnings, each as one line.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.list("warnings").iter().filter_map(Value::as_str).map(plain::line).collect()
    }
}

/// Reads a time that is RFC 3339 text or milliseconds.
pub(crate) fn time_of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::from_rfc3339(text).ok(),
        Value::Number(n) => n.as_u64().map(Timestamp),
        _ => None,
    }
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
    use serde_json::json;

    #[test]
    fn odd_fields_are_empty() {
        let value = json!({"name": 7, "attempt": "x", "warnings": "no list", "status": "failed", "spawnedAt": "never"});
        let view = View::new(&value);
        assert_eq!((view.name().as_str(), view.number("attempt"), view.warnings().len()), ("", 0, 0));
        assert!(view.is_terminal() && view.elapsed(now()).is_none());
    }

    #[test]
    fn spans_are_short() {
        let shown: Vec<String> =
            [12, 252, 1080, 7500, 260_000].into_iter().map(|s| span(Duration::from_secs(s))).collect();
        assert_eq!(shown, ["12s", "4m12s", "18m", "2h05m", "3d"]);
        assert_eq!(clock(Timestamp::from_rfc3339("2026-11-22T10:04:11.112Z").unwrap()), "10:04:11");
    }
}
