//! The means that hold a job's processes together so that none can escape: a cgroup where one can be made, else a pid
//! namespace, else only that the shim inherits every process that loses its parent.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_core::limits;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Means of holding a job together, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) enum Containment {
    /// The shim is a subreaper: the tree is walked until no child is left.
    #[default]
    #[serde(rename = "subreaper")]
    Subreaper,
    /// The kernel ends the namespace with its first process.
    #[serde(rename = "pid namespace")]
    PidNamespace,
    /// The kernel kills the cgroup as a whole.
    #[serde(rename = "cgroup")]
    Cgroup,
}

impl Containment {
    /// Returns the word of receipts.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Subreaper => "subreaper",
            Self::PidNamespace => "pid namespace",
            Self::Cgroup => "cgroup",
        }
    }
}

/// The way to make a pid namespace on this host: by the `unshare` program of util-linux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamespaceMaker {
    /// The program.
    pub(crate) unshare: PathBuf,
    /// A user namespace is needed around it, because this user may not make one otherwise.
    pub(crate) user: bool,
}

/// Reasons why a host offers no pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NoNamespace {
    #[error("the program unshare (util-linux) was not found")]
    NoProgram,
    #[error("this user may make no pid namespace")]
    Forbidden,
}

/// Directories in which the program is looked for, whatever `PATH` says: what it runs must be the system's own.
const PLACES: [&str; 3] = ["/usr/bin", "/bin", "/usr/sbin"];

impl NamespaceMaker {
    /// Tries whether one can be made.
    pub(super) fn find() -> Result<Self, NoNamespace> {
        let unshare = PLACES.iter().map(|place| Path::new(place).join("unshare")).find(|path| path.is_file());
        let unshare = unshare.ok_or(NoNamespace::NoProgram)?;
        let plain = Self { unshare: unshare.clone(), user: false };
        let within = Self { unshare, user: true };
        match (plain.try_out(), within.try_out()) {
            (true, _) => Ok(plain),
            (false, true) => Ok(within),
            (false, false) => Err(NoNamespace::Forbidden),
        }
    }

    /// Returns the program with the words that make a namespace, whose first process follows.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.unshare);
        // A user namespace gives an ordinary user the right to make the others. Mapping the current user
        // keeps the owner of the files that the job writes.
        if self.user {
            command.args(["--user", "--map-current-user"]);
        }
        // `--fork` is needed because a pid namespace takes in only children of the process that made it.
        // `--kill-child` ties the first process to `unshare`, which the shim can kill without looking
        // anything up, and a fresh `/proc` keeps the numbers of other processes out of sight.
        command.args(["--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"]);
        command
    }

    fn try_out(&self) -> bool {
        let mut command = self.command();
        command.args(["/bin/sh", "-c", "exit 0"]).env_clear();
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().is_ok_and(|child| succeeds(child, limits::NAMESPACE_TRIAL))
    }
}

/// Waits for a child, not indefinitely.
fn succeeds(mut child: Child, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                // It ends with its parent's order or was gone already.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
