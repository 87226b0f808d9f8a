//! Summary of an agent's end, in two or three lines: what happened, why, what to do next. `run`, `wait` and `logs -f`
//! end with it.

use mosaic_api::{AgentView, EndReason, Status};

use crate::color::Paint;
use crate::sanitize;
use crate::view::{AgentStatus, now, shown, span, word};

/// Renders the end of an agent, with the commands that make sense now.
pub(super) fn render(agent: &AgentView, paint: Paint) -> String {
    let next = next(agent, &agent.status.short_name());
    format!("{}  {}\n", told(agent, paint), paint.dim(&next))
}

/// Renders the end of an agent alone, for where no server goes on that could be asked more.
pub(super) fn told(agent: &AgentView, paint: Paint) -> String {
    let state = &agent.status;
    let name = state.short_name();
    let status = state.status.to_string();
    let reason = word(state.end_reason);
    let reason = if reason.is_empty() || reason == "done" { String::new() } else { format!(" · {reason}") };
    let took = state.elapsed(now()).map_or(String::new(), |t| format!(" in {}", span(t)));
    let verdict = word(state.verdict);
    let gates = if verdict.is_empty() {
        String::new()
    } else {
        format!("   gates {}", paint.by_word(&verdict, &verdict))
    };
    let mut out = format!("{name}  {}{reason}{took}{gates}\n", paint.by_word(&status, &status));
    let error = sanitize::block(state.error.as_deref().unwrap_or_default());
    for line in error.lines() {
        out.push_str(&format!("  {line}\n"));
    }
    for warning in state.shown_warnings() {
        out.push_str(&format!("  {} {warning}\n", paint.warn("warning:")));
    }
    if agent.pushed_commit.is_some() {
        let (branch, repository) = (shown(&state.branch), sanitize::line(&agent.repository));
        out.push_str(&format!("  pushed {branch} to {repository}\n"));
    }
    out
}

/// Returns the commands that make sense now.
pub(super) fn next(agent: &AgentView, name: &str) -> String {
    let commands: &[&str] = match (agent.status.status, agent.status.end_reason) {
        (Status::Completed, Some(EndReason::NoChanges)) => &["logs"],
        (Status::Completed, _) => &["diff", "gates", "logs"],
        (Status::Failed, Some(EndReason::FilteredPaths)) => &["restore", "diff"],
        (Status::Failed, Some(EndReason::GatesFailed | EndReason::GatesUndefined)) => {
            &["gates", "diff", "retry"]
        }
        (Status::Failed, _) => &["logs", "retry"],
        (Status::Killed, _) => &["diff", "retry"],
        _ => &["logs -f", "kill"],
    };
    let all: Vec<String> = commands.iter().map(|command| format!("mosaic {command} {name}")).collect();
    format!("next: {}", all.join(" · "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;
    use serde_json::json;

    #[test]
    fn an_end_says_what_why_and_what_next() {
        let agent = crate::samples::agent(json!({
            "name": "fix-3f9a", "status": "failed", "endReason": "gates_failed", "verdict": "failed",
            "startedAt": "2026-11-22T10:00:00Z", "completedAt": "2026-11-22T10:04:12Z",
            "error": "coverage 60.0% < 85%\u{1b}[0m", "warnings": ["a skill was not found"],
        }));
        assert_eq!(
            render(&agent, Paint::choose(ColorChoice::Never, false, &|_| None)),
            "fix-3f9a  failed · gates_failed in 4m12s   gates failed\n  coverage 60.0% < 85%\\x1b[0m\n  warning: a skill was not found\n  next: mosaic gates fix-3f9a · mosaic diff fix-3f9a · mosaic retry fix-3f9a\n"
        );
    }
}
