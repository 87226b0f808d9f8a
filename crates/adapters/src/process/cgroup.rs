//! One cgroup v2 per job: the only name under which a job's processes can be found and killed at once, whatever
//! they do. Where no cgroup can be made, jobs run without and the shim's own tree is walked instead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::linux;

/// Whether jobs get cgroups, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupChoice {
    /// Below the server's own cgroup when it may be written, else below the root of the hierarchy, else none.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Below this directory of a cgroup v2 hierarchy.
    Under(PathBuf),
}

impl CgroupChoice {
    /// Returns the directory below which jobs get their cgroups, made and seen to work; `None` when there is none.
    pub(crate) fn parent(&self) -> Option<PathBuf> {
        match self {
            Self::Off => None,
            Self::Under(directory) => usable(directory),
            Self::Auto => {
                let mount = mount()?;
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
    let parent = directory.join("mosaic");
    let known = parent.is_dir();
    if !known {
        fs::create_dir(&parent).ok()?;
    }
    let may_move = |place: &Path| fs::OpenOptions::new().write(true).open(place.join("cgroup.procs")).is_ok();
    if parent.join("cgroup.kill").exists() && may_move(directory) && may_move(&parent) {
        return Some(parent);
    }
    if !known {
        // Best effort: an empty cgroup that stays behind costs nothing.
        let _ = fs::remove_dir(&parent);
    }
    None
}

/// A job's cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Names a cgroup that may or may not exist.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes it.
    pub(crate) fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Moves the calling process into it: what it starts from now on is born inside.
    pub(crate) fn enter(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), "0")
    }

    /// Moves the calling process out again: to where it came from, or else above all jobs.
    pub(crate) fn leave(&self, home: Option<&Path>) -> io::Result<()> {
        let back = home.map(|home| fs::write(home.join("cgroup.procs"), "0"));
        if let Some(Ok(())) = back {
            return Ok(());
        }
        let above = self.0.parent().and_then(Path::parent).unwrap_or(&self.0);
        fs::write(above.join("cgroup.procs"), "0")
    }

    /// Kills everything inside, forks under way included.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")
    }

    /// Stops everything inside from running until it is killed.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.freeze"), "1")
    }

    /// Tells whether a process is inside (or in a cgroup below). One that does not exist is empty.
    pub(crate) fn is_empty(&self) -> bool {
        match fs::read_to_string(self.0.join("cgroup.events")) {
            Ok(events) => events.lines().any(|line| line == "populated 0"),
            Err(_) => true,
        }
    }

    /// Lists the processes directly inside.
    pub(crate) fn members(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Removes it with the cgroups that the job made inside. Fails while something is alive there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_below(&self.0, 0)
    }
}

/// Removes a cgroup from the leaves up, at most 16 levels deep.
fn remove_below(path: &Path, depth: u32) -> io::Result<()> {
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
