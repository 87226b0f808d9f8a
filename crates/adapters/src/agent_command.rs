//! Any program as an agent: prompt on standard input, exit status out. What it prints is its transcript and, at the
//! end, its result. There is no protocol, so there is nothing to resume, to interrupt politely or to deny.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mosaic_core::domain::outcome::{Failure, FailureKind, Outcome, cut};
use mosaic_core::limits;
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{
    AgentEvent, Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, ProbeError, Reaction, Runtime,
    RuntimeCapabilities,
};
use thiserror::Error;

/// Advice for a setting that names no program.
const FIX: &str = "set MOSAIC_COMMAND to a program and its arguments, such as \"my-agent --unattended\"";

/// Reasons why the program line names nothing that can be run.
#[derive(Debug, Error)]
enum CommandError {
    #[error("the command runtime has no program; {FIX}")]
    NoProgram,
    #[error("MOSAIC_COMMAND cannot be read: {0}; {FIX}")]
    Unreadable(#[source] QuoteError),
    #[error("MOSAIC_COMMAND names {0:?}, which is no program that can be run; correct it")]
    NotRunnable(String),
}

/// Reasons why a line cannot be split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum QuoteError {
    #[error("it ends with a backslash")]
    Backslash,
    #[error("a single quote is not closed")]
    Single,
    #[error("a double quote is not closed")]
    Double,
}

/// The `command` runtime.
#[derive(Debug, Clone)]
pub struct CommandRuntime {
    program_line: String,
    env: Vec<(String, String)>,
}

impl CommandRuntime {
    /// Makes the runtime for a program line (`MOSAIC_COMMAND`), split into words as a shell splits them, without
    /// expansions. `env` is added to every agent's environment; its `PATH` is where [`Runtime::probe`] looks.
    pub fn new(program_line: String, env: Vec<(String, String)>) -> Self {
        Self { program_line, env }
    }

    fn arguments(&self) -> Result<Vec<String>, CommandError> {
        match split_words(&self.program_line) {
            Ok(words) if words.first().is_some_and(|word| !word.is_empty()) => Ok(words),
            Ok(_) => Err(CommandError::NoProgram),
            Err(e) => Err(CommandError::Unreadable(e)),
        }
    }

    /// Looks a bare name up in the `PATH` we know of; `None` when it is nowhere.
    fn locate(&self, program: &str) -> Option<PathBuf> {
        let runs =
            |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
        if program.contains('/') {
            return Some(PathBuf::from(program)).filter(|path| runs(path));
        }
        let ours = std::env::var("PATH").unwrap_or_default();
        let path = self.env.iter().find(|(name, _)| name == "PATH").map_or(ours.as_str(), |(_, value)| value);
        std::env::split_paths(path).map(|dir| dir.join(program)).find(|path| runs(path))
    }
}

#[async_trait]
impl Runtime for CommandRuntime {
    fn name(&self) -> &'static str {
        "command"
    }

    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities {
            reports_cost: false,
            resumes: false,
            takes_messages: false,
            skills_directory: Some(".claude/skills"),
            instruction_files: &["AGENTS.md", "CLAUDE.md"],
            native_names: &[],
        }
    }

    async fn probe(&self) -> Result<Probe, ProbeError> {
        let words = self.arguments().map_err(ProbeError::new)?;
        let missing = || ProbeError::new(CommandError::NotRunnable(words[0].clone()));
        let program = self.locate(&words[0]).ok_or_else(missing)?;
        Ok(Probe { program: program.display().to_string(), version: None })
    }

    async fn plan(&self, request: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        let command =
            self.arguments().map_err(|e| Failure::new(FailureKind::ProgramMissing, e.to_string()))?;
        let stdin = if request.system.trim().is_empty() {
            request.prompt.clone()
        } else {
            format!("{}\n\n{}", request.system.trim_end(), request.prompt)
        };
        Ok(LaunchPlan {
            command,
            env: self.env.clone(),
            stdin: Some(stdin),
            interrupt: None,
            session: None,
            lent: None,
        })
    }

    fn dialogue(&self, _opening: &Opening) -> Box<dyn Dialogue> {
        Box::new(CommandDialogue::default())
    }
}

/// Keeps the last lines for the result.
#[derive(Debug, Default)]
struct CommandDialogue {
    last: VecDeque<String>,
}

impl Dialogue for CommandDialogue {
    fn start(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn line(&mut self, line: &[u8]) -> Reaction {
        let text = cut(String::from_utf8_lossy(line).into_owned(), limits::ENTRY_BYTES);
        if !text.trim().is_empty() {
            if self.last.len() == limits::RESULT_LINES {
                self.last.pop_front();
            }
            self.last.push_back(text.trim_end().to_owned());
        }
        Reaction { events: vec![AgentEvent::Output { text }], ..Reaction::default() }
    }

    fn interrupt(&mut self) -> Option<String> {
        None
    }

    fn session(&self) -> Option<String> {
        None
    }

    fn outcome(&mut self, exit: &Exit) -> Outcome {
        if exit.code == Some(0) && !exit.timed_out && exit.start_error.is_none() {
            let text = self.last.make_contiguous().join("\n");
            return Outcome::Completed { text: cut(text, limits::ENTRY_BYTES) };
        }
        Outcome::Failed(failure(exit))
    }
}

fn failure(exit: &Exit) -> Failure {
    if let Some(why) = &exit.start_error {
        let message =
            format!("the program of MOSAIC_COMMAND could not be started: {why}; correct MOSAIC_COMMAND");
        return Failure::new(FailureKind::ProgramMissing, message);
    }
    if exit.timed_out {
        return Failure::new(
            FailureKind::Timeout,
            "the agent's program ran past its time limit and was stopped",
        );
    }
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    };
    let tail = exit.stderr_tail.trim();
    let said = if tail.is_empty() { String::new() } else { format!("; it said: {tail}") };
    Failure::new(FailureKind::Crash, format!("the agent's program {how}{said}"))
}

/// Splits a line into words as a POSIX shell does: blanks separate, quotes and backslashes protect. Nothing is
/// expanded. Errors at a quote that is not closed.
//
// Ours and not `shell-words`, whose only error is "missing closing quote": it cannot say which quote is open, nor that the
// line ends with a backslash, and a person looks for exactly that in a long command line.
fn split_words(line: &str) -> Result<Vec<String>, QuoteError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\'' => single_quoted(&mut rest, word.get_or_insert_default())?,
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(QuoteError::Backslash),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Inside single quotes nothing is special.
fn single_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), QuoteError> {
    for c in rest {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err(QuoteError::Single)
}

/// Inside double quotes a backslash protects only what would be special there.
fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), QuoteError> {
    while let Some(c) = rest.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match rest.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some('\n') => {}
                Some(c) => word.extend(['\\', c]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(QuoteError::Double)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  a  b\tc\n", &["a", "b", "c"]),
            ("a 'b c' \"d e\"", &["a", "b c", "d e"]),
            ("a''b \"\" ''", &["ab", "", ""]),
            (r"a\ b \'", &["a b", "'"]),
            (r#""a\"b\\c\d$x""#, &[r#"a"b\c\d$x"#]),
            (r"'a\b'", &[r"a\b"]),
            ("sh -c 'cat; echo \"$HOME\"'", &["sh", "-c", "cat; echo \"$HOME\""]),
            ("a;b|c", &["a;b|c"]),
        ];
        for (line, words) in cases {
            assert_eq!(
                split_words(line).as_deref(),
                Ok(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>().as_slice()),
                "{line:?}"
            );
        }
        for line in ["'a", "\"a", "\"a\\", "a\\"] {
            assert!(split_words(line).is_err(), "{line:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_quoted_comes_back(words in proptest::collection::vec("[^\0]*", 0..8)) {
            let line: Vec<_> = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
            proptest::prop_assert_eq!(split_words(&line.join(" ")), Ok(words));
        }
    }
}
