//! Findings of checks.

use std::borrow::Cow;

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Ok,
    Note,
    Warn,
    Fail,
}

/// Result of a check: its outcome, and the text that explains it.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) group: &'static str,
    pub(super) id: &'static str,
    pub(super) text: String,
    pub(super) consequence: &'static str,
    pub(super) fix: Cow<'static, str>,
}

/// Makes the finding that all is well.
pub(super) fn fine(group: &'static str, text: impl Into<String>) -> Finding {
    Finding { level: Level::Ok, group, id: "", text: text.into(), consequence: "", fix: "".into() }
}

/// Makes any other finding.
pub(super) fn finding(
    level: Level,
    group: &'static str,
    id: &'static str,
    text: impl Into<String>,
    consequence: &'static str,
    fix: impl Into<Cow<'static, str>>,
) -> Finding {
    Finding { level, group, id, text: text.into(), consequence, fix: fix.into() }
}
