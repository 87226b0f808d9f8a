//! Trust in the gate commands of the repository one is in: asked for once per content of its
//! `.mosaic/config.toml`, remembered by digest in the data directory.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use mosaic_adapters::gates_local::{config_digest, trust as remember};
use mosaic_core::domain::audit::Action;

use crate::config::Trust;
use crate::local_audit::{self, local_entry};
use crate::local_git::LocalRepository;
use crate::problem::Problem;
use crate::sanitize;
use crate::session::{Session, say};

/// The file that defines gates.
const CONFIG: &str = ".mosaic/config.toml";
/// Largest list of digests that is read, in bytes.
const TRUSTED_BYTES: u64 = 1024 * 1024;

fn is_remembered(file: &Path, digest: &str) -> bool {
    use std::io::Read;
    let mut text = String::new();
    let read = mosaic_adapters::bounded_file::open_linked(file)
        .and_then(|f| f.take(TRUSTED_BYTES).read_to_string(&mut text));
    read.is_ok() && text.lines().any(|line| line.trim() == digest)
}

/// Lists the commands that a configuration would run, one line each; a file that cannot be read has none.
fn commands(bytes: &[u8]) -> Vec<String> {
    let parsed = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<toml::Table>().ok());
    let Some(table) = parsed else { return Vec::new() };
    let mut found = Vec::new();
    for section in ["hooks", "gates"] {
        let Some(entries) = table.get(section).and_then(toml::Value::as_table) else { continue };
        for (name, value) in entries {
            let command = value.as_str().or_else(|| value.get("run").and_then(toml::Value::as_str));
            if let Some(command) = command {
                found.push(format!(
                    "  {:<12} {}",
                    sanitize::line(name),
                    sanitize::cut(&sanitize::line(command), 200)
                ));
            }
        }
    }
    found
}

/// Returns the file of the approved digests.
pub(crate) fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("trusted")
}

/// Decides whose commands the server in this process runs. Asks when it can; when it cannot, nothing is trusted,
/// and it says what that means.
pub(crate) fn settle(
    session: &Session,
    trust: Option<Trust>,
    data_dir: &Path,
    repository: &LocalRepository,
) -> Result<Trust, Problem> {
    if trust == Some(Trust::All) {
        return Ok(Trust::All);
    }
    // From the commit and not from the working tree: the gates that would run are those of the commit to start from.
    let Some(bytes) = repository.file_at_head(CONFIG)? else { return Ok(Trust::Ask) };
    let digest = config_digest(&bytes);
    let file = file(data_dir);
    if is_remembered(&file, &digest) {
        return Ok(Trust::Ask);
    }
    if !session.terminal.asks {
        say(
            "note: this repository's gate commands were never approved, so none is run and the result is INCOMPLETE",
        );
        say("  approve them by running this on a terminal, or set MOSAIC_TRUST=all");
        return Ok(Trust::Ask);
    }
    say(
        "This repository's gates are new to Mosaic. They would run, on a copy of the agent's commit, as you:",
    );
    let commands = commands(&bytes);
    if commands.is_empty() {
        say(&format!("  (no command could be read from {CONFIG})"));
    }
    commands.iter().for_each(|line| say(line));
    if confirm("Trust these? [y] yes  [n] no, run without gates (INCOMPLETE) > ")? {
        let entry = local_entry(Action::Trust).subject(format!("{CONFIG} {digest}"));
        local_audit::record(session, data_dir, vec![entry.result("its gate commands may be run")]);
        remember(&file, &digest)
            .map_err(|e| anyhow::Error::new(e).context(format!("{} cannot be written", file.display())))?;
    } else {
        say("Not trusted: no gate is run and the result is INCOMPLETE.");
    }
    Ok(Trust::Ask)
}

/// Asks a question on standard error; only `y` and `yes` are a yes.
fn confirm(question: &str) -> Result<bool, Problem> {
    Ok(matches!(ask_line(question)?.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a line of text on standard error.
pub(crate) fn ask_line(question: &str) -> Result<String, Problem> {
    let mut err = std::io::stderr();
    let asked = err.write_all(question.as_bytes()).and_then(|()| err.flush());
    let mut line = String::new();
    let read = asked.and_then(|()| {
        use std::io::Read;
        std::io::stdin().lock().take(1024).read_line(&mut line)
    });
    read.map_err(|e| anyhow::Error::new(e).context("the question could not be asked"))?;
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_remembered_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state/trusted");
        let digest = config_digest(b"abc");
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(!is_remembered(&file, &digest));
        remember(&file, &digest).unwrap();
        assert!(is_remembered(&file, &digest) && !is_remembered(&file, &config_digest(b"abd")));
    }

    #[test]
    fn commands_are_listed_without_control_characters() {
        let text = b"[gates]\nlint = \"x\\u001b[2J\"\ntests = { run = \"npm test\", timeout = \"10m\" }\n[gates.profiles]\nstandard = [\"lint\"]\n";
        assert_eq!(commands(text), ["  lint         x\\x1b[2J", "  tests        npm test"]);
        assert!(commands(b"not toml").is_empty());
    }
}
