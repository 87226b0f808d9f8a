//! One cgroup v2 per job: the only name under which a job's processes can be found and killed at once, whatever
//! they do. Where no cgroup can be made, jobs run without and the shim's own tree is walked instead.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use rustix::process::Signal;

use crate::bounded_file;

use super::layout::JobDir;
use super::linux;
use super::v1_freezer;

/// Name of the cgroup that holds the cgroups of all jobs.
pub(super) const PARENT: &str = "mosaic";
/// Separator between a job's name and the mark of its data directory; no job has it in its name.
const TAG: char = '@';

/// The operator's choice of cgroups for jobs, and of the place for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupChoice {
    /// Below the server's own cgroup when it may be written, else below the root of the hierarchy, else none.
    #[default]
    Auto,
    /// Never: jobs get a pid namespace where one can be made.
    PidNamespace,
    /// Neither: a job is held together by its shim alone.
    Off,
    /// Below this directory of a cgroup v2 hierarchy.
    Under(PathBuf),
}

impl CgroupChoice {
    /// Returns the directory below which jobs get their cgroups, made and seen to work; `None` when there is none.
    pub(crate) fn parent(&self) -> Option<PathBuf> {
        match self {
            Self::Off | Self::PidNamespace => None,
            Self::Under(directory) => usable(directory),
            Self::Auto => {
                let mount = mount()?;
                // Below the own group the limits that a service manager sets for the service hold for its
                // jobs as well, and only that part of the hierarchy may be delegated to this user.
                let own = linux::own_cgroup().and_then(|own| usable(&mount.join(own)));
                own.or_else(|| usable(&mount))
            }
        }
    }
}

/// Returns where the cgroup v2 hierarchy is mounted.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    linux::cgroup2_mount(&mounts).map(Path::to_owned)
}

/// Returns the directory of the cgroup in which the calling process is.
pub(crate) fn home() -> Option<PathBuf> {
    Some(mount()?.join(linux::own_cgroup()?))
}

/// Makes `<directory>/mosaic` and checks what a job needs: that it can be killed at once, and that processes may
/// be moved between it and the directory.
fn usable(directory: &Path) -> Option<PathBuf> {
    let parent = directory.join(PARENT);
    let known = parent.is_dir();
    if !known {
        fs::create_dir(&parent).ok()?;
    }
    let may_move = |place: &Path| fs::OpenOptions::new().write(true).open(place.join("cgroup.procs")).is_ok();
    // The kernel has `cgroup.kill` since Linux 5.14. Without it a group could only be killed by the numbers
    // in its list, which a fork bomb outruns. To move a process, the kernel asks for the right to write
    // `cgroup.procs` of the common ancestor too, so both are tried.
    if parent.join("cgroup.kill").exists() && may_move(directory) && may_move(&parent) {
        count_tasks(directory, &parent);
        return Some(parent);
    }
    if !known {
        // Best effort: an empty cgroup that stays behind costs nothing.
        let _ = fs::remove_dir(&parent);
    }
    None
}

/// Lets the kernel count the processes of each job, where it can: not every host hands the controller down.
fn count_tasks(directory: &Path, parent: &Path) {
    for place in [directory, parent] {
        // The pids controller is one of those that a group may hand down although it has processes of its
        // own, so the server need not move itself out of the way first. It may not while jobs run below; the
        // next start tries again.
        let _ = fs::write(place.join("cgroup.subtree_control"), "+pids");
    }
}

/// Returns the cgroup of a job: the recorded one, when it can be nobody else's, or else the one that the job has below
/// `parent`. The record lies where the agent can write, and another path there must not be killed or removed. A server
/// that was started elsewhere used another parent, so any is right that lies in the hierarchy and is named as ours are.
pub(crate) fn of_job(
    dir: &JobDir,
    agent: AgentId,
    recorded: Option<&Path>,
    parent: Option<&Path>,
) -> Option<Cgroup> {
    let job = dir.path().file_name()?.to_string_lossy().into_owned();
    let (plain_name, name) = (format!("{agent}-{job}"), name_of(dir.data(), agent, &job));
    let own = parent.map(|parent| parent.join(&name));
    let plain =
        |path: &Path| path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let ours = |path: &Path| {
        [&name, &plain_name].iter().any(|name| path.file_name() == Some(OsStr::new(name)))
            && path.parent().and_then(Path::file_name) == Some(OsStr::new(PARENT))
            && plain(path)
            && mount().is_some_and(|mount| path.starts_with(mount))
    };
    let recorded = recorded.filter(|path| Some(*path) == own.as_deref() || ours(path));
    recorded.or(own.as_deref()).map(Cgroup::at)
}

/// Returns the name of a job's cgroup. Its end tells data directories apart: two nodes on one machine may have run the
/// same agent.
pub(crate) fn name_of(data: Option<&Path>, agent: AgentId, job: &str) -> String {
    let tag = data.map(|data| format!("{TAG}{:08x}", tag(data)));
    format!("{agent}-{job}{}", tag.unwrap_or_default())
}

/// Returns a number that data directories hardly share: FNV-1a of the path, folded to 32 bits.
fn tag(data: &Path) -> u64 {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = data.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
    (hash >> 32) ^ (hash & 0xffff_ffff)
}

/// Tells whether a cgroup's name is not another data directory's.
fn is_of(name: &str, data: &Path) -> bool {
    name.rsplit_once(TAG).is_none_or(|(_, end)| end == format!("{:08x}", tag(data)))
}

/// Lists the cgroups below `parent` that jobs of the agent have in this data directory.
pub(crate) fn of_agent(parent: &Path, data: &Path, agent: AgentId) -> Vec<Cgroup> {
    names_of(parent, data, agent).iter().map(|path| Cgroup::at(path)).collect()
}

/// Lists the groups below `parent`, of whatever controller, that are named after jobs of the agent in this data directory.
pub(super) fn names_of(parent: &Path, data: &Path, agent: AgentId) -> Vec<PathBuf> {
    let beginning = format!("{agent}-");
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().map(OsStr::to_string_lossy);
        name.is_some_and(|name| name.starts_with(&beginning) && is_of(&name, data))
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_ours).collect()
}

/// Lists the agents that have cgroups below `parent`, those of other data directories left out.
pub(crate) fn agents(parent: &Path, data: &Path) -> Vec<AgentId> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let id = |name: &str| name.get(..limits::UUID_CHARS).filter(|_| is_of(name, data))?.parse().ok();
    entries.filter_map(|entry| id(entry.file_name().to_str()?)).collect()
}

/// A job's cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Names a cgroup that may or may not exist.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes it, for at most so many tasks where the kernel counts them; tells whether it does.
    pub(crate) fn make(&self, tasks: u32) -> io::Result<bool> {
        match fs::create_dir(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let most = self.0.join("pids.max");
        let counts = most.exists();
        if counts {
            fs::write(most, tasks.to_string())?;
        }
        Ok(counts)
    }

    /// Moves the calling process into it: what it starts from now on is born inside.
    pub(crate) fn enter(&self) -> io::Result<()> {
        // The kernel takes 0 for the writer itself. The shim goes in and starts the program from there,
        // because a program that is moved afterwards has left whatever it forked by then outside.
        fs::write(self.0.join("cgroup.procs"), "0")
    }

    /// Moves the calling process out again: to where it came from, or else above all jobs.
    pub(crate) fn leave(&self, home: Option<&Path>) -> io::Result<()> {
        // The place it came from comes first: that is where a service manager looks for the processes of the
        // service and applies its limits.
        let back = home.map(|home| fs::write(home.join("cgroup.procs"), "0"));
        if let Some(Ok(())) = back {
            return Ok(());
        }
        let above = self.0.parent().and_then(Path::parent).unwrap_or(&self.0);
        fs::write(above.join("cgroup.procs"), "0")
    }

    /// Kills everything inside, forks under way included. It is frozen first: a fork bomb that stands still leaves the
    /// processor to those who end it, and what is frozen can be killed.
    pub(crate) fn kill(&self) -> io::Result<()> {
        // Best effort, the kill needs nothing of it.
        let _ = self.freeze(true);
        fs::write(self.0.join("cgroup.kill"), "1")
    }

    /// Ends what [`Cgroup::kill`] does not reach: by number those whose first thread has ended, because the kernel signals first
    /// threads only, and those that stand still in a freezer of cgroup v1.
    pub(crate) fn kill_unreached(&self) {
        // This reads a file of `/proc` for each member. Of a fork bomb that would take longer than the group
        // takes to die, and hardly any of it has lost its first thread.
        let members = self.members();
        if members.len() > limits::LEADERLESS_AMONG {
            return;
        }
        for seen in members.into_iter().filter_map(linux::look) {
            if seen.leaderless {
                linux::signal(seen.process, Signal::KILL);
            }
            v1_freezer::release(seen.process.pid);
        }
    }

    /// Kills everything inside and returns how many that were. What fits the first piece of the kernel's list is counted
    /// while it stands still; of more than that, the kill comes first, and who is still dying then is counted.
    pub(crate) fn kill_counted(&self) -> usize {
        // Best effort, the kill needs nothing of it.
        let _ = self.freeze(true);
        let first = bounded_file::read_prefix(&self.0.join("cgroup.procs"), limits::GROUP_GLANCE_BYTES);
        let first = first.unwrap_or_default();
        // Whoever looks for survivors finds them when this fails.
        let _ = self.kill();
        if first.len() as u64 == limits::GROUP_GLANCE_BYTES {
            return self.members().len().max(first.iter().filter(|byte| **byte == b'\n').count());
        }
        first.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Stops everything inside from running, or lets it run on. Frozen processes can be killed.
    pub(crate) fn freeze(&self, frozen: bool) -> io::Result<()> {
        fs::write(self.0.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    /// Tells whether everything inside has stopped.
    pub(crate) fn is_frozen(&self) -> bool {
        self.says("frozen 1")
    }

    /// Tells whether a process is inside (or in a cgroup below). One that does not exist is empty.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.events"))
            .map_or(true, |events| events.lines().any(|line| line == "populated 0"))
    }

    fn says(&self, what: &str) -> bool {
        let events = fs::read_to_string(self.0.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == what)
    }

    /// Reads one of its files, when it is there.
    pub(crate) fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.0.join(file)).ok()
    }

    /// Lists the processes inside, those in cgroups below included.
    pub(crate) fn members(&self) -> Vec<i32> {
        let mut members = Vec::new();
        list_below(&self.0, 0, &mut members);
        members
    }

    /// Removes it with the cgroups that the job made inside. Fails while something is alive there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_below(&self.0, 0)
    }
}

/// Lists the processes of a group, also those that the kernel leaves out of its list because their first thread has ended.
/// These are looked for once the others are few: reading all threads of a fork bomb would take longer than its end.
pub(super) fn processes(list: &Path, threads: &Path) -> Vec<i32> {
    let numbers = |path: &Path| -> Vec<i32> {
        let text = bounded_file::read_prefix(path, limits::GROUP_LIST_BYTES).unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        lines.filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
    };
    let mut found = numbers(list);
    if found.len() <= limits::LEADERLESS_AMONG {
        let known: HashSet<i32> = found.iter().copied().collect();
        found.extend(linux::processes_of(&numbers(threads), &known));
    }
    found
}

/// Adds the processes of a cgroup and of those below it, at most 16 levels deep.
fn list_below(path: &Path, depth: u32, members: &mut Vec<i32>) {
    members.extend(processes(&path.join("cgroup.procs"), &path.join("cgroup.threads")));
    if depth < 16 {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            list_below(&entry.path(), depth + 1, members);
        }
    }
}

/// Removes a cgroup from the leaves up, at most 16 levels deep.
fn remove_below(path: &Path, depth: u32) -> io::Result<()> {
    // Most groups have none below them, so the group itself is tried first. A group that a job made inside
    // its own keeps this from working, and the kernel removes no group with others below it.
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) if depth < 16 => {}
        other => return other,
    }
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path(), depth + 1)?;
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_record_names_no_foreign_cgroup() {
        let agent = AgentId(uuid::Uuid::new_v4());
        let dir = JobDir::at(format!("/data/agents/{agent}/runs/run-1"));
        let parent = Path::new("/sys/fs/cgroup/x/mosaic");
        let found = |recorded: &str| of_job(&dir, agent, Some(Path::new(recorded)), Some(parent)).unwrap().0;
        let own = parent.join(name_of(Some(Path::new("/data")), agent, "run-1"));
        assert_eq!(found(own.to_str().unwrap()), own);
        for forged in ["/sys/fs/cgroup", "/sys/fs/cgroup/x/mosaic/other-run-1", "/etc", "relative"] {
            assert_eq!(found(forged), own, "{forged}");
        }
        let outside = format!("/tmp/mosaic/{agent}-run-1");
        assert_eq!(found(&outside), own);
        assert!(of_job(&dir, agent, Some(Path::new(&outside)), None).is_none());
        // Another data directory's, or one of before they were told apart.
        let other = parent.join(name_of(Some(Path::new("/other")), agent, "run-1"));
        assert_eq!((found(other.to_str().unwrap()), own == other), (own.clone(), false));
        if let Some(mount) = mount() {
            let earlier = mount.join(format!("elsewhere/mosaic/{agent}-run-1"));
            assert_eq!(found(earlier.to_str().unwrap()), earlier);
            let up = mount.join(format!("a/../../mosaic/{agent}-run-1"));
            assert_eq!(found(up.to_str().unwrap()), own);
        }
    }
}
