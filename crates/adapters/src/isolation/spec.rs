//! Parts of an isolation, as the server writes them into a file, and the outcome of the command, as the part outside writes it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bounded_file;

/// Largest specification or outcome that is read, in bytes: the longest command and a few hundred paths.
const BYTES: u64 = 1024 * 1024;

/// Specification of one isolation. The command's environment is that of the process that enters, so that no value of it is on
/// disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    /// Empty directory on this machine over which the new root directory is mounted.
    pub(crate) root: PathBuf,
    /// The user; the group has the same number, except in a user namespace.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
    /// The namespaces need a user namespace around them, because this user may not make them otherwise.
    pub(crate) own_users: bool,
    /// Directories and files that are visible besides the system's, each at a path of its own.
    pub(crate) binds: Vec<Bind>,
    /// Directories that are empty inside, wherever they would be visible.
    pub(crate) hidden: Vec<PathBuf>,
    /// Program and arguments. The program `sh` is a copy of the system's that only root can read.
    pub(crate) command: Vec<String>,
    /// Working directory inside.
    pub(crate) cwd: PathBuf,
    /// Most tasks of the user at once.
    pub(crate) tasks: u64,
    /// Free space of the disk below which everything is ended, in bytes.
    pub(crate) free_floor: u64,
    /// File outside for the outcome.
    pub(crate) outcome: PathBuf,
}

/// A path of this machine that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bind {
    /// The path on this machine.
    pub(crate) source: PathBuf,
    /// Its path inside.
    pub(crate) target: PathBuf,
    /// It may be written to.
    pub(crate) writable: bool,
}

/// Result of an isolated command, once no process of it is left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Outcome {
    /// The command's exit code.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// It was stopped by a signal, which no honest program does to the process whose end is the result.
    pub(crate) suspended: bool,
    /// It filled the disk and was ended for it.
    pub(crate) disk_full: bool,
    /// Processes that outlived it and were ended.
    pub(crate) leaked: u32,
    /// Why the isolation could not be made.
    pub(crate) fault: Option<String>,
}

impl Spec {
    /// Reads a specification.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&bounded_file::read(path, BYTES)?)?)
    }
}

impl Outcome {
    /// Returns the outcome of an isolation that could not be made.
    pub(super) fn broken(why: &impl ToString) -> Self {
        Self { fault: Some(why.to_string()), ..Self::default() }
    }

    /// Reads an outcome; `None` when none was written, because the part outside was ended itself.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&bounded_file::read(path, BYTES).ok()?).ok()
    }
}
