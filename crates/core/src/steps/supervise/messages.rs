//! Messages to a silent agent, and the texts of its events.

use crate::domain::outcome::cut;
use crate::domain::stall::Signals;
use crate::limits;
use crate::ports::runtime::{AgentEvent, Pending};

/// Names the background tasks that an end comes upon.
pub(super) fn under_way(pending: &Pending) -> String {
    match pending {
        Pending::Tasks(names) => {
            let text = format!("; in the background were still under way: {}", names.join(", "));
            cut(text, limits::ERROR_BYTES / 4)
        }
        Pending::Nothing | Pending::Turn => String::new(),
    }
}

/// Returns the message to a silent agent.
pub(super) fn nudge(signals: &Signals, pending: &Pending) -> String {
    if let Pending::Tasks(names) = pending {
        return format!(
            "Your background tasks have said nothing for {} seconds: {}. If one hangs, or is a server that you do not need \
             any more, stop it; if you wait for one to end, look at its output and end your turn. A task that you do neither with \
             is ended when your work is judged.",
            signals.silent.as_secs(),
            cut(names.join(", "), limits::ERROR_BYTES / 4)
        );
    }
    format!(
        "You have said nothing for {} seconds. If a command hangs, stop it and go on another way; if you are done, end \
         your turn with a short summary; else say in one line what you are doing.",
        signals.silent.as_secs()
    )
}

/// Returns how many bytes of text an event has.
pub(super) fn spoken(event: &AgentEvent) -> u64 {
    use AgentEvent as E;
    let text = match event {
        E::Text { text }
        | E::Thinking { text }
        | E::ToolResult { text, .. }
        | E::Output { text }
        | E::Notice { text } => text,
        E::Tool { title, .. } => title,
        E::Denied { reason, .. } => reason,
        E::Started { .. } | E::ApiRetry { .. } | E::Usage { .. } => return 0,
    };
    text.len() as u64
}

/// Masks and cuts the texts of an event.
pub(super) fn masked(event: AgentEvent, short: impl FnOnce(String) -> String) -> AgentEvent {
    use AgentEvent as E;
    match event {
        E::Text { text } => E::Text { text: short(text) },
        E::Thinking { text } => E::Thinking { text: short(text) },
        E::Tool { id, name, title } => E::Tool { id, name, title: short(title) },
        E::ToolResult { id, ok, text } => E::ToolResult { id, ok, text: short(text) },
        E::Denied { tool, reason } => E::Denied { tool, reason: short(reason) },
        E::Output { text } => E::Output { text: short(text) },
        E::Notice { text } => E::Notice { text: short(text) },
        other @ (E::Started { .. } | E::ApiRetry { .. } | E::Usage { .. }) => other,
    }
}
