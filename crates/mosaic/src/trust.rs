//! Trust in the gate commands of the repository one is in: asked for once per content of its definitions, written down or
//! detected, remembered by digest in the data directory.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use mosaic_adapters::gates_local::{explain, trust as remember};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::spec::GateProfile;

use crate::config::Trust;
use crate::head_files::HeadFiles;
use crate::local_audit::{self, local_entry};
use crate::local_git::LocalRepository;
use crate::problem::Problem;
use crate::sanitize;
use crate::serve::blocking;
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

/// Definitions of the commit of HEAD.
pub(crate) struct Definitions {
    /// The digest that trust is given to.
    pub(crate) digest: String,
    /// The commands that they would run, one line each.
    commands: Vec<String>,
}

/// Reads what the commit of HEAD would run; `None` when that is nothing.
pub(crate) fn definitions(repository: &LocalRepository) -> Result<Option<Definitions>, Problem> {
    let files = HeadFiles(repository.clone());
    let now = Timestamp::from(std::time::SystemTime::now());
    let explained = blocking(async { Ok(explain(&files, "HEAD", GateProfile::Strict, &[], now).await) })?;
    let explained = explained.map_err(|failure| Problem::usage(failure.message))?;
    let setup = explained.setup.iter().map(|(setup, reason)| ("setup", setup.run.as_str(), reason.as_str()));
    let gates = explained.gates.iter().filter_map(|gate| {
        let run = gate.definition.as_ref()?.run.as_deref()?;
        Some((gate.name.as_str(), run, gate.reason.as_str()))
    });
    let others = explained.other.iter().map(|(name, run)| (name.as_str(), run.as_str(), CONFIG));
    let line = |(name, run, reason): (&str, &str, &str)| {
        let run = sanitize::cut(&sanitize::line(run), 200);
        format!("  {:<12} {run}  ({})", sanitize::line(name), sanitize::line(reason))
    };
    let commands: Vec<String> = setup.chain(gates).chain(others).map(line).collect();
    Ok(Some(Definitions { digest: explained.digest, commands }).filter(|found| !found.commands.is_empty()))
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
    let Some(definitions) = definitions(repository)? else { return Ok(Trust::Ask) };
    if is_remembered(&file(data_dir), &definitions.digest) {
        return Ok(Trust::Ask);
    }
    if !session.terminal.asks {
        say(
            "note: this repository's gate commands were never approved, so none is run and the result is INCOMPLETE",
        );
        say("  approve them: mosaic trust, or set MOSAIC_TRUST=all");
        return Ok(Trust::Ask);
    }
    if !ask(session, data_dir, &definitions)? {
        say("Not trusted: no gate is run and the result is INCOMPLETE.");
    }
    Ok(Trust::Ask)
}

/// Shows the commands, asks, and remembers a yes.
pub(crate) fn ask(session: &Session, data_dir: &Path, definitions: &Definitions) -> Result<bool, Problem> {
    show(definitions);
    let agreed = confirm("Trust these? [y] yes  [n] no, run without gates (INCOMPLETE) > ")?;
    if agreed {
        accept(session, data_dir, definitions)?;
    }
    Ok(agreed)
}

/// Shows the commands.
pub(crate) fn show(definitions: &Definitions) {
    say(
        "This repository's gates are new to Mosaic. They would run, on a copy of the agent's commit, as you:",
    );
    definitions.commands.iter().for_each(|line| say(line));
}

/// Remembers that the definitions are trusted, with an audit entry.
pub(crate) fn accept(session: &Session, data_dir: &Path, definitions: &Definitions) -> Result<(), Problem> {
    let file = file(data_dir);
    let entry = local_entry(Action::Trust).subject(format!("{CONFIG} {}", definitions.digest));
    local_audit::record(session, data_dir, vec![entry.result("its gate commands may be run")]);
    let remembered = remember(&file, &definitions.digest);
    remembered
        .map_err(|e| anyhow::Error::new(e).context(format!("{} cannot be written", file.display())).into())
}

/// Tells whether the definitions are trusted already.
pub(crate) fn is_known(data_dir: &Path, definitions: &Definitions) -> bool {
    is_remembered(&file(data_dir), &definitions.digest)
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
    use mosaic_adapters::gates_local::config_digest;

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
}
