//! The means that hold a job's processes together so that none can escape: a cgroup where one can be made, else a pid
//! namespace, else only that the shim inherits every process that loses its parent. The choice is the host's; it is reported.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_core::limits;
use serde::{Deserialize, Serialize};

use super::cgroup::CgroupChoice;
use super::fence;

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

/// Directories in which the program is looked for, whatever `PATH` says: what it runs must be the system's own.
const PLACES: [&str; 3] = ["/usr/bin", "/bin", "/usr/sbin"];

impl NamespaceMaker {
    /// Tries whether one can be made; says why not.
    fn find() -> Result<Self, String> {
        let unshare = PLACES.iter().map(|place| Path::new(place).join("unshare")).find(|path| path.is_file());
        let unshare = unshare.ok_or("the program unshare (util-linux) was not found")?;
        let plain = Self { unshare: unshare.clone(), user: false };
        let within = Self { unshare, user: true };
        match (plain.try_out(), within.try_out()) {
            (true, _) => Ok(plain),
            (false, true) => Ok(within),
            (false, false) => Err("this user may make no pid namespace".to_owned()),
        }
    }

    /// Returns the program with the words that make a namespace, whose first process follows.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.unshare);
        if self.user {
            command.args(["--user", "--map-current-user"]);
        }
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

/// Waits for a child, not for ever.
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

/// The containment that the jobs of a server get, and the reason for the choice.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) cgroups: Option<PathBuf>,
    pub(crate) namespace: Option<NamespaceMaker>,
    /// Where jobs get fences, for want of a cgroup that counts.
    pub(crate) fences: Option<PathBuf>,
    why: String,
}

impl Chosen {
    /// Looks at the host.
    pub(crate) fn look(choice: &CgroupChoice) -> Self {
        let mut chosen = Self::best(choice);
        // `pids.max` is there where the parent hands the controller down.
        let counts = chosen.cgroups.as_ref().is_some_and(|parent| {
            let handed = std::fs::read_to_string(parent.join("cgroup.subtree_control"));
            handed.is_ok_and(|handed| handed.split_ascii_whitespace().any(|one| one == "pids"))
        });
        chosen.fences = if counts { None } else { fence::parent() };
        chosen
    }

    /// Says how processes of a job are counted and bounded.
    pub(crate) fn bounded_by(&self) -> &'static str {
        match (&self.cgroups, &self.fences) {
            (_, Some(_)) => "the kernel (v1 pids controller)",
            (Some(_), None) => "the kernel (pids controller)",
            (None, None) => "its supervisor",
        }
    }

    fn best(choice: &CgroupChoice) -> Self {
        let fences = None;
        if let Some(parent) = choice.parent() {
            let why = format!("each job has its own below {}", parent.display());
            return Self { cgroups: Some(parent), namespace: None, fences, why };
        }
        let none = match choice {
            CgroupChoice::Auto | CgroupChoice::Under(_) => "no cgroup v2 that this user may write to",
            CgroupChoice::PidNamespace | CgroupChoice::Off => "cgroups are switched off",
        };
        if *choice == CgroupChoice::Off {
            let why = format!("{none}, and so are pid namespaces");
            return Self { cgroups: None, namespace: None, fences, why };
        }
        match NamespaceMaker::find() {
            Ok(maker) => Self { cgroups: None, namespace: Some(maker), fences, why: none.to_owned() },
            Err(e) => Self { cgroups: None, namespace: None, fences, why: format!("{none}, and {e}") },
        }
    }

    /// Returns what a job gets and why.
    pub(crate) fn said(&self) -> (&'static str, String) {
        let kind = match (&self.cgroups, &self.namespace) {
            (Some(_), _) => Containment::Cgroup,
            (None, Some(_)) => Containment::PidNamespace,
            (None, None) => Containment::Subreaper,
        };
        (kind.word(), self.why.clone())
    }
}
