//! A look at the runtimes: their programs, and what these log in with.

use std::ffi::OsStr;
use std::process::Command;

use super::finding::{Finding, Level, finding, fine};
use super::programs::{CHECK, in_path};
use crate::config::Config;
use crate::config::runtimes::{RUNTIMES, RuntimeKind};
use crate::local_git::capture;
use crate::sanitize;

/// Looks at every runtime. What is missing for the one of agents that name none is a problem, else a note.
pub(super) fn look(config: &Config, path: &OsStr) -> Vec<Finding> {
    let of = |kind, wanted| match kind {
        RuntimeKind::Claude => claude(config, path, wanted),
        // Its program is a setting, and settings that are missing are named with the others.
        RuntimeKind::Command => Vec::new(),
        // A part of this program.
        RuntimeKind::Demo => Vec::new(),
    };
    RUNTIMES.iter().flat_map(|row| of(row.kind, row.name == config.runtime)).collect()
}

fn claude(config: &Config, path: &OsStr, wanted: bool) -> Vec<Finding> {
    let level = if wanted { Level::Fail } else { Level::Note };
    let missing = |text: String| {
        let fix = "npm install -g @anthropic-ai/claude-code, or set MOSAIC_CLAUDE_BIN";
        vec![finding(level, "Agents", "D-CLAUDE-1", text, "agents of the claude runtime fail", fix)]
    };
    let Some(program) = config.claude_bin.clone().or_else(|| in_path(path, "claude")) else {
        return missing("claude was not found".to_owned());
    };
    let first = match capture(Command::new(&program).arg("--version"), CHECK) {
        Ok(ran) if ran.ok => fine("Agents", format!("claude {} at {}", ran.line(), program.display())),
        Ok(ran) => {
            return missing(format!(
                "{} does not work: {}",
                program.display(),
                sanitize::first_line(&ran.err, 100)
            ));
        }
        Err(e) => return missing(format!("{} does not work: {e}", program.display())),
    };
    let login = config.claude_login.as_ref().is_some_and(|dir| dir.join(".credentials.json").is_file());
    let second = if config.claude_api_key.is_some() {
        fine("Agents", "CLAUDE_API_KEY is set")
    } else if login {
        fine("Agents", "a Claude login is passed on (MOSAIC_CLAUDE_LOGIN)")
    } else {
        let level = if wanted { Level::Warn } else { Level::Note };
        let fix = "set CLAUDE_API_KEY, or log in with claude and set MOSAIC_CLAUDE_LOGIN=~/.claude";
        finding(
            level,
            "Agents",
            "D-CLAUDE-2",
            "no key and no login",
            "agents of the claude runtime end with auth",
            fix,
        )
    };
    vec![first, second]
}
