//! A fence around a job where its cgroup does not count processes: a control group of the v1 pids controller. It bounds
//! how many there are, keeps a list of them that no double fork leaves, and can be closed, so that what is being killed
//! starts nothing new.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use mosaic_core::domain::ids::AgentId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroup::{self, PARENT};
use super::layout::JobDir;
use super::linux;
use super::v1_groups::{group, mount};

/// The controller that counts processes.
const CONTROLLER: &str = "pids";

/// One job's fence.
#[derive(Debug, Clone)]
pub(crate) struct Fence(PathBuf);

/// Returns the directory below which jobs get their fences, made and seen to work; `None` when there is none.
pub(crate) fn parent() -> Option<PathBuf> {
    let own = home()?;
    let parent = own.join(PARENT);
    match fs::create_dir(&parent) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return None,
        _ => {}
    }
    let may_move = |place: &Path| fs::OpenOptions::new().write(true).open(place.join("cgroup.procs")).is_ok();
    (parent.join("pids.max").exists() && may_move(&parent) && may_move(&own)).then_some(parent)
}

/// Returns the directory of the v1 pids group in which the calling process is.
fn home() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    Some(mount(&mounts, CONTROLLER)?.join(group(&own, CONTROLLER)?))
}

impl Fence {
    /// Names one that may or may not exist.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Names a recorded one, when it can be nobody else's: the record lies where the agent can write.
    pub(crate) fn recorded(path: &Path, name: &str) -> Option<Self> {
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let ours = path.file_name() == Some(OsStr::new(name))
            && path.parent().and_then(Path::file_name) == Some(OsStr::new(PARENT))
            && mount(&mounts, CONTROLLER).is_some_and(|mount| path.starts_with(mount));
        (plain && ours).then(|| Self::at(path))
    }

    /// Names the fence of a job: the recorded one, when it can be nobody else's.
    pub(crate) fn of_job(dir: &JobDir, agent: AgentId, recorded: Option<&Path>) -> Option<Self> {
        let job = dir.path().file_name()?.to_string_lossy().into_owned();
        Self::recorded(recorded?, &cgroup::name_of(dir.data(), agent, &job))
    }

    /// Lists the fences below `parent` that jobs of the agent have in this data directory.
    pub(crate) fn of_agent(parent: &Path, data: &Path, agent: AgentId) -> Vec<Self> {
        cgroup::names_of(parent, data, agent).iter().map(|path| Self::at(path)).collect()
    }

    /// Makes it for at most so many tasks and moves the calling process into it: what it starts is born inside.
    pub(crate) fn enter(&self, tasks: u32) -> io::Result<()> {
        match fs::create_dir(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        fs::write(self.0.join("pids.max"), tasks.to_string())?;
        fs::write(self.0.join("cgroup.procs"), "0")
    }

    /// Moves the calling process out again, above all fences.
    pub(crate) fn leave(&self) -> io::Result<()> {
        // The parent holds fences only. Two levels up is the group in which the server was started, and with it the shim.
        let above = self.0.parent().and_then(Path::parent).unwrap_or(&self.0);
        fs::write(above.join("cgroup.procs"), "0")
    }

    /// Lets nothing inside start another process from now on.
    pub(crate) fn close(&self) {
        // The bound applies to forks and leaves alone what is there already. So it can be set before anything
        // is killed, and the list below only gets shorter from then on.
        // Fails only where the fence is gone, and everybody with it.
        let _ = fs::write(self.0.join("pids.max"), "0");
    }

    /// Lists the processes inside; none when it does not exist.
    pub(crate) fn members(&self) -> Vec<i32> {
        cgroup::processes(&self.0.join("cgroup.procs"), &self.0.join("tasks"))
    }

    /// Kills everything inside, without looking at any other process. A number counts for the process that has it while
    /// its handle is open and the kernel says that it is in here.
    pub(crate) fn kill(&self) {
        self.close();
        let Some(name) = self.0.file_name().and_then(OsStr::to_str) else { return };
        // A v1 group has no `cgroup.kill`. Each member is held by a handle while the kernel is asked whether
        // it is still inside: the number may have been given to another process since the list was read.
        for pid in self.members() {
            let Some(number) = Pid::from_raw(pid) else { continue };
            let Ok(handle) = pidfd_open(number, PidfdFlags::empty()) else { continue };
            if is_in(name, &format!("/proc/{pid}/cgroup")) || is_in_leaderless(name, pid) {
                // One that has ended meanwhile is as gone.
                let _ = pidfd_send_signal(&handle, Signal::KILL);
            }
        }
    }

    /// Removes it. Fails while something is alive inside.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Tells whether a `cgroup` file of `/proc` names this group.
fn is_in(name: &str, file: &str) -> bool {
    let groups = fs::read_to_string(file).unwrap_or_default();
    group(&groups, CONTROLLER).is_some_and(|path| path.ends_with(name))
}

/// The same for a process whose first thread has ended and so left its groups.
fn is_in_leaderless(name: &str, pid: i32) -> bool {
    linux::look(pid).is_some_and(|seen| seen.leaderless)
        && linux::threads(pid).any(|thread| is_in(name, &format!("/proc/{pid}/task/{thread}/cgroup")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_record_names_no_foreign_fence() {
        for forged in ["/sys/fs/cgroup/pids", "/tmp/mosaic/x-run-1", "/sys/fs/cgroup/pids/../mosaic/x-run-1"]
        {
            assert!(Fence::recorded(Path::new(forged), "x-run-1").is_none(), "{forged}");
        }
    }
}
