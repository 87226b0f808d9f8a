//! How an agent ended, in two or three lines: what happened, why, what to do next. `run`, `wait` and `logs -f` end
//! with it.

use crate::paint::Paint;
use crate::plain;
use crate::view::{View, now, span};

/// Renders the end of an agent, with the commands that make sense now.
pub(super) fn render(agent: &View<'_>, paint: Paint) -> String {
    let next = next(agent, &agent.name());
    format!("{}  {}\n", told(agent, paint), paint.dim(&next))
}

/// Renders the end of an agent alone, for where no server goes on that could be asked more.
pub(super) fn told(agent: &View<'_>, paint: Paint) -> String {
    let name = agent.name();
    let status = agent.text("status");
    let reason = agent.shown("endReason");
    let reason = if reason.is_empty() || reason == "done" { String::new() } else { format!(" · {reason}") };
    let took = agent.elapsed(now()).map_or(String::new(), |t| format!(" in {}", span(t)));
    let verdict = agent.shown("verdict");
    let gates = if verdict.is_empty() {
        String::new()
    } else {
        format!("   gates {}", paint.by_word(&verdict, &verdict))
    };
    let mut out = format!("{name}  {}{reason}{took}{gates}\n", paint.by_word(status, &plain::line(status)));
    let error = plain::block(agent.text("error"));
    for line in error.lines() {
        out.push_str(&format!("  {line}\n"));
    }
    for warning in agent.warnings() {
        out.push_str(&format!("  {} {warning}\n", paint.warn("warning:")));
    }
    let pushed = agent.shown("pushedCommit");
    if !pushed.is_empty() {
        out.push_str(&format!("  pushed {} to {}\n", agent.shown("branch"), agent.shown("repository")));
    }
    out
}

/// Returns the commands that make sense now.
pub(super) fn next(agent: &View<'_>, name: &str) -> String {
    let commands: &[&str] = match (agent.text("status"), agent.text("endReason")) {
        ("completed", "no_changes") => &["logs"],
        ("completed", _) => &["diff", "gates", "logs"],
        ("failed", "filtered_paths") => &["restore", "diff"],
        ("failed", "gates_failed" | "gates_undefined") => &["gates", "diff", "retry"],
        ("failed", _) => &["logs", "retry"],
        ("killed", _) => &["diff", "retry"],
        _ => &["logs -f", "kill"],
    };
    let all: Vec<String> = commands.iter().map(|command| format!("mosaic {command} {name}")).collect();
    format!("next: {}", all.join(" · "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;
    use serde_json::json;

    #[test]
    fn an_end_says_what_why_and_what_next() {
        let agent = json!({
            "name": "fix-3f9a", "status": "failed", "endReason": "gates_failed", "verdict": "failed",
            "startedAt": "2026-11-22T10:00:00Z", "completedAt": "2026-11-22T10:04:12Z",
            "error": "coverage 60.0% < 85%\u{1b}[0m", "warnings": ["a skill was not found"],
        });
        assert_eq!(
            render(&View::new(&agent), Paint::choose(ColorChoice::Never, false, &|_| None)),
            "fix-3f9a  failed · gates_failed in 4m12s   gates failed\n  coverage 60.0% < 85%\\x1b[0m\n  warning: a skill was not found\n  next: mosaic gates fix-3f9a · mosaic diff fix-3f9a · mosaic retry fix-3f9a\n"
        );
    }
}
