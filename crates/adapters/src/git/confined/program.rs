//! The one place where a git process is made inside an agent's confinement. It works in a git directory of our own
//! with an environment built from empty, so that nothing which the agent's tree, its `.git` or its HOME says can make
//! git run, ask or write anything; a working tree is only ever one that was made here.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mosaic_core::limits;

use super::error::HarvestError;
use crate::git::bundle_spec::Spec;
use crate::git::errors;
use crate::git::hardening::{SETTINGS, VARIABLES};

/// Hardened git calls in one git directory.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    pub(crate) dir: PathBuf,
    program: PathBuf,
    path: String,
    author: (String, String),
}

/// Result of a call.
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Git {
    pub(crate) fn new(spec: &Spec, dir: PathBuf) -> Self {
        Self { dir, program: spec.git.clone(), path: spec.path.clone(), author: spec.author.clone() }
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        // HOME, GIT_CONFIG, PAGER and their like belong to the agent: each of them can make git run a program.
        command.env_clear();
        // By these the processes of an agent are found.
        command.envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MOSAIC_")));
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        // In the mirror and never in the tree, where git would read `.gitattributes` and search for a repository.
        command.args(args).current_dir(&self.dir).stdin(Stdio::null());
        command.env("GIT_DIR", &self.dir).env("HOME", &self.dir).env("XDG_CONFIG_HOME", &self.dir);
        command.env("PATH", &self.path);
        command.envs(VARIABLES.iter().copied());
        // Nothing in a confinement has a remote to talk to.
        command.env("GIT_ALLOW_PROTOCOL", "");
        let (name, email) = &self.author;
        command.env("GIT_AUTHOR_NAME", name).env("GIT_COMMITTER_NAME", name);
        command.env("GIT_AUTHOR_EMAIL", email).env("GIT_COMMITTER_EMAIL", email);
        command
    }

    /// Runs to the end and keeps the beginning of its complaints.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Ran, HarvestError> {
        let mut command = self.command(args);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(HarvestError::NotRun)?;
        let stderr = beginning(child.stderr.take());
        let status = child.wait().map_err(HarvestError::NotRun)?;
        Ok(Ran { ok: status.success(), code: status.code(), stderr })
    }

    /// Runs with this input and returns its whole output; what it says besides goes to the log of the harvest.
    pub(crate) fn ask<S: AsRef<OsStr>>(
        &self,
        index: Option<&Path>,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Result<Vec<u8>, HarvestError> {
        let mut command = self.command(args);
        if let Some(index) = index {
            command.env("GIT_INDEX_FILE", index);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(HarvestError::NotRun)?;
        let done = fed(child, input).map_err(HarvestError::NotRun)?;
        match done.status.success() {
            true => Ok(done.stdout),
            false => Err(HarvestError::Ended {
                call: format!("{:?}", command.get_args().last()),
                status: done.status,
            }),
        }
    }

    /// The same for an answer of one line; an empty one is an error.
    pub(crate) fn line<const N: usize>(&self, args: [&str; N]) -> Result<String, HarvestError> {
        let out = self.ask(None, args, &[])?;
        let line = String::from_utf8_lossy(&out).trim().to_owned();
        if line.is_empty() { Err(HarvestError::NoAnswer(format!("{args:?} said nothing"))) } else { Ok(line) }
    }
}

/// Writes the input while the output is read.
pub(super) fn fed(mut child: Child, input: &[u8]) -> io::Result<std::process::Output> {
    let mut stdin = child.stdin.take();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(stdin) = stdin.as_mut() {
                // A child that ends without reading everything says why on its own.
                let _ = stdin.write_all(input);
            }
            drop(stdin);
        });
        child.wait_with_output()
    })
}

/// Reads to the end and keeps the beginning: the agent decides how much git has to say about its tree.
fn beginning(from: Option<impl Read>) -> String {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        // What was read before an error is still worth telling.
        let _ = from.by_ref().take(limits::ERROR_BYTES as u64).read_to_end(&mut kept);
        let _ = io::copy(&mut from, &mut io::sink());
    }
    errors::plain(&String::from_utf8_lossy(&kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_only_the_beginning_is_kept() {
        let mut flood = io::Cursor::new(vec![b'x'; 10 * limits::ERROR_BYTES]);
        assert_eq!(beginning(Some(&mut flood)).len(), limits::ERROR_BYTES);
        assert_eq!(flood.position(), 10 * limits::ERROR_BYTES as u64, "its writer is not left waiting");
    }
}
