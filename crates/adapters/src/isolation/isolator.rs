//! The server's side of an isolation: finds out once what this machine allows, and turns a command into the one that runs it
//! isolated.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mosaic_core::ports::sandbox::Command;
use rustix::process::{getegid, geteuid};
use tokio::sync::OnceCell;

use super::ENTER;
use super::spec::{Bind, Outcome, Spec};
use crate::uid_range::{UidLease, UidRange};

/// Path of the working tree inside.
pub(crate) const TREE: &str = "/src";
/// Path of the home inside.
pub(crate) const HOME: &str = "/home/user";
/// Path of the temporary directory inside; it is short enough for sockets.
pub(crate) const TMP: &str = "/tmp";
/// Longest time of the trial that finds out what this machine allows.
const TRIAL: Duration = Duration::from_secs(20);
/// Free space below which everything isolated is ended, in bytes: enough for the server to record what happened.
const FREE_FLOOR: u64 = 512 * 1024 * 1024;
/// Directories of a toolchain beside the one with its programs.
const BESIDE_PROGRAMS: [&str; 4] = ["lib", "lib64", "libexec", "include"];

/// Directories of the system, which are seen anyway or never.
const SEEN_ANYWAY: [&str; 12] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/opt", "/nix", "/dev", "/proc", "/sys", "/run"];
/// Entries of a directory of programs that are looked at: more than the system's own has on most machines.
const PROGRAMS: usize = 4096;

/// Means that separate isolated commands from their judge on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// A user of its own and namespaces.
    User,
    /// Namespaces alone: this server is not root.
    Namespaces,
    /// Nothing, for this reason.
    Nothing(String),
}

/// Makes commands isolated.
#[derive(Debug)]
pub struct Isolator {
    program: Vec<String>,
    uids: UidRange,
    hidden: Vec<PathBuf>,
    shown: Vec<PathBuf>,
    tasks: u64,
    means: OnceCell<Means>,
}

/// Directories of one isolated command on this machine.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Private directory of the server for this command.
    pub(crate) own: &'a Path,
    /// Working tree.
    pub(crate) tree: &'a Path,
    /// Home.
    pub(crate) home: &'a Path,
    /// Temporary directory.
    pub(crate) tmp: &'a Path,
    /// Further directories that are read there, each with its path inside.
    pub(crate) read: &'a [(PathBuf, PathBuf)],
}

/// User of an isolated command.
#[derive(Debug)]
pub(crate) enum Account {
    /// A leased one.
    Leased(UidLease),
    /// The server's own.
    Own,
}

/// A command that runs isolated.
#[derive(Debug)]
pub(crate) struct Isolated {
    /// The command that does it.
    pub(crate) command: Command,
    outcome: PathBuf,
}

impl Isolated {
    /// Returns what came of it. Asked once its job has ended; `None` when the job was ended from outside.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        Outcome::read(&self.outcome)
    }
}

impl Account {
    /// Returns the leased number.
    pub(crate) fn uid(&self) -> Option<u32> {
        match self {
            Self::Leased(lease) => Some(lease.uid()),
            Self::Own => None,
        }
    }
}

impl Isolator {
    /// Takes the words that start this program's shim, and the users that commands may get.
    pub fn new(program: Vec<String>, uids: UidRange) -> Self {
        let tasks = u64::from(mosaic_core::limits::JOB_PROCESSES * mosaic_core::limits::TASKS_PER_PROCESS);
        Self { program, uids, hidden: Vec::new(), shown: Vec::new(), tasks, means: OnceCell::new() }
    }

    /// Makes one that isolates nothing, for this reason.
    pub fn off(why: impl Into<String>) -> Self {
        let isolator = Self::new(Vec::new(), UidRange::default());
        Self { means: OnceCell::new_with(Some(Means::Nothing(why.into()))), ..isolator }
    }

    /// Hides these directories wherever a command would see them.
    #[must_use]
    pub fn hiding(self, directories: Vec<PathBuf>) -> Self {
        Self { hidden: directories, ..self }
    }

    /// Shows these paths, read-only.
    #[must_use]
    pub fn showing(self, paths: Vec<PathBuf>) -> Self {
        Self { shown: paths, ..self }
    }

    /// Allows so many tasks of one command at once.
    #[must_use]
    pub fn with_tasks(self, most: u64) -> Self {
        Self { tasks: most, ..self }
    }

    /// Returns what this machine allows, found out by a trial the first time.
    pub async fn means(&self) -> &Means {
        self.means.get_or_init(|| self.try_out()).await
    }

    async fn try_out(&self) -> Means {
        let means = if geteuid().is_root() { Means::User } else { Means::Namespaces };
        match self.trial(means == Means::Namespaces).await {
            Ok(()) => means,
            Err(why) => Means::Nothing(why.to_string()),
        }
    }

    /// Runs a command that does nothing.
    async fn trial(&self, own_users: bool) -> io::Result<()> {
        let place = std::env::temp_dir().join(format!("trial-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&place)?;
        let tried = self.trial_in(&place, own_users).await;
        // It holds nothing but empty directories and two small files.
        let _ = fs::remove_dir_all(&place);
        tried
    }

    async fn trial_in(&self, place: &Path, own_users: bool) -> io::Result<()> {
        let account = if own_users { Account::Own } else { Account::Leased(self.uids.lease()?) };
        let [tree, home, tmp] = ["tree", "home", "tmp"].map(|name| place.join(name));
        for directory in [&tree, &home, &tmp] {
            fs::create_dir(directory)?;
            give(directory, &account)?;
        }
        let own = Place { own: place, tree: &tree, home: &home, tmp: &tmp, read: &[] };
        let nothing = Command { argv: ["sh", "-c", ":"].map(str::to_owned).to_vec(), ..Command::default() };
        let isolated = self.isolate(&own, &account, nothing)?;
        let (program, arguments) = isolated.command.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_clear().kill_on_drop(true).stdin(std::process::Stdio::null());
        let output = tokio::time::timeout(TRIAL, command.output()).await??;
        match isolated.outcome() {
            Some(Outcome { code: Some(0), .. }) => Ok(()),
            Some(Outcome { fault: Some(why), .. }) => Err(io::Error::other(why)),
            _ => Err(io::Error::other(format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ))),
        }
    }

    /// Leases a user for a command, where commands get one of their own. May block.
    pub(crate) fn account(&self) -> io::Result<Account> {
        match self.means.get() {
            Some(Means::User) => Ok(Account::Leased(self.uids.lease()?)),
            _ => Ok(Account::Own),
        }
    }

    /// Turns a command into the one that runs it isolated. Its working directory is the tree; directories of this machine in its
    /// environment are replaced by the ones inside.
    pub(crate) fn isolate(
        &self,
        place: &Place<'_>,
        account: &Account,
        command: Command,
    ) -> io::Result<Isolated> {
        let (root, outcome) = (place.own.join("root"), place.own.join("outcome.json"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        let bind = |source: &Path, target: &str| Bind {
            source: source.to_owned(),
            target: target.into(),
            writable: true,
        };
        let mut binds = vec![bind(place.home, HOME), bind(place.tmp, TMP), bind(place.tree, TREE)];
        let read = place.read.iter().cloned();
        binds.extend(read.map(|(source, target)| Bind { source, target, writable: false }));
        binds.extend(self.tools(&command.env));
        let env = inside(command.env);
        let (uid, gid) = match account {
            Account::Leased(lease) => (lease.uid(), lease.uid()),
            Account::Own => (geteuid().as_raw(), getegid().as_raw()),
        };
        let spec = Spec {
            root,
            uid,
            gid,
            own_users: matches!(account, Account::Own),
            binds,
            hidden: self.hidden.clone(),
            command: command.argv,
            cwd: TREE.into(),
            tasks: self.tasks,
            free_floor: free_floor(place.own),
            outcome: outcome.clone(),
        };
        let path = place.own.join("spec.json");
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&serde_json::to_vec(&spec)?)?;
        let words = [ENTER.to_owned(), path.to_string_lossy().into_owned()];
        let argv = self.program.iter().cloned().chain(words).collect();
        Ok(Isolated { command: Command { argv, env, cwd: place.own.to_owned() }, outcome })
    }

    /// Lists the toolchains that an environment names and the system's directories do not hold: the programs of `PATH`, and what
    /// other variables point at.
    fn tools(&self, env: &[(String, String)]) -> Vec<Bind> {
        let mut paths: Vec<PathBuf> = self.shown.iter().filter(|path| self.is_free(path)).cloned().collect();
        let mut named = Vec::new();
        for (name, value) in env {
            match name.as_str() {
                "HOME" | "TMPDIR" | "GIT_CEILING_DIRECTORIES" => {}
                "PATH" => {
                    let directories = std::env::split_paths(value).filter(|path| self.is_tool(path));
                    named.extend(directories.flat_map(programs));
                }
                // A whole directory of the root is never meant, as in a variable that says `/work`.
                _ => named.extend(Some(PathBuf::from(value)).filter(|path| path.components().count() > 2)),
            }
        }
        paths.extend(named.into_iter().filter(|path| self.is_tool(path)));
        // One that lies in another one is visible with it.
        paths.sort();
        paths.dedup_by(|later, earlier| later.starts_with(earlier));
        let bind = |path: PathBuf| {
            let source = path.canonicalize().ok()?;
            Some(Bind { source, target: path, writable: false })
        };
        paths.into_iter().filter_map(bind).collect()
    }

    /// Tells whether a path names something that is there, is not the system's, and does not hold the operator's home.
    fn is_tool(&self, path: &Path) -> bool {
        let is_system = SEEN_ANYWAY.iter().any(|system| path.starts_with(system));
        let is_home = std::env::var_os("HOME").is_some_and(|home| Path::new(&home).starts_with(path));
        !is_system && !is_home && self.is_free(path)
    }

    /// Tells whether a path is there and holds nothing that is hidden.
    fn is_free(&self, path: &Path) -> bool {
        let is_plain = path.is_absolute() && path.parent().is_some() && path.exists();
        is_plain && !self.hidden.iter().any(|hidden| hidden.starts_with(path))
    }
}

/// Returns a directory of programs with what belongs to it.
fn programs(directory: PathBuf) -> Vec<PathBuf> {
    let of_toolchain = directory.file_name().is_some_and(|name| name == "bin");
    let above = directory.parent().filter(|_| of_toolchain).map(Path::to_owned);
    let beside = above.into_iter().flat_map(|above| BESIDE_PROGRAMS.map(|name| above.join(name)));
    let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten().take(PROGRAMS);
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    // Managers of toolchains put links into a directory of programs, to where each one really lies.
    let linked: Vec<PathBuf> = links.filter_map(|entry| entry.path().canonicalize().ok()).collect();
    std::iter::once(directory.clone()).chain(beside).chain(linked).collect()
}

/// Replaces directories of this machine by those inside.
fn inside(env: Vec<(String, String)>) -> Vec<(String, String)> {
    let replaced = |(name, value): (String, String)| match name.as_str() {
        "HOME" => Some((name, HOME.to_owned())),
        "TMPDIR" => Some((name, TMP.to_owned())),
        // Above the tree there is no repository, and the list would name the data directory.
        "GIT_CEILING_DIRECTORIES" => None,
        _ => Some((name, value)),
    };
    env.into_iter().filter_map(replaced).collect()
}

/// Returns the free space that must stay: a fixed one, or half of what is free now on a small disk.
fn free_floor(place: &Path) -> u64 {
    let free = rustix::fs::statvfs(place).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    FREE_FLOOR.min(free / 2)
}

/// Gives a file or directory to the user of a command.
pub(crate) fn give(path: &Path, account: &Account) -> io::Result<()> {
    match account.uid() {
        Some(uid) => std::os::unix::fs::lchown(path, Some(uid), Some(uid)),
        None => Ok(()),
    }
}
