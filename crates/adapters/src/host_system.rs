//! This machine: free space, memory, load, what agents have on disk, and the git program.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mosaic_core::domain::capacity::HostLoad;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::host::{DiskUse, Host, HostError};
use tokio::task::spawn_blocking;

use crate::bounded_file;
use crate::disk::Lane;
use crate::short_dirs::ShortDirs;

/// The oldest git that has everything used here (`merge-tree --write-tree`).
const OLDEST_GIT: (u32, u32) = (2, 38);
/// Time for `git --version` to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Looks at file systems under way at once.
const LOOKS: usize = 4;

/// File in the state directory that takes room until the disk is full.
const RESERVE: &str = "reserve";

/// Makes the reserve unless it is there. Where the file system cannot set room aside there is none.
fn hold(file: &Path, bytes: u64) -> Result<(), HostError> {
    if std::fs::symlink_metadata(file).is_ok_and(|meta| meta.len() >= bytes) {
        return Ok(());
    }
    let made = bounded_file::open_own(file).and_then(|made| {
        // Only blocks that are really allotted can be given up later: a file that is merely long takes no
        // room on most file systems.
        rustix::fs::fallocate(&made, rustix::fs::FallocateFlags::empty(), 0, bytes).map_err(Into::into)
    });
    made.map_err(|cause| {
        // Half a reserve is none.
        let _ = std::fs::remove_file(file);
        HostError::Reserve { file: file.to_owned(), cause }
    })
}

/// Asks the operating system.
#[derive(Debug, Clone)]
pub struct SystemHost {
    dir: PathBuf,
    also: Vec<PathBuf>,
    short: Option<Arc<ShortDirs>>,
    /// Looks at file systems, which may not answer.
    looks: Lane,
}

impl SystemHost {
    /// Makes a host whose free space is that of the file system of this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), also: Vec::new(), short: None, looks: Lane::queued(LOOKS) }
    }

    /// Looks at these directories too, which may be other file systems; one that does not exist yet is left out.
    pub fn also(mut self, dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        self.also.extend(dirs);
        self
    }

    /// Counts an agent's short directories as its own.
    #[must_use]
    pub fn with_short_dirs(self, short: Arc<ShortDirs>) -> Self {
        Self { short: Some(short), ..self }
    }
}

#[async_trait]
impl Host for SystemHost {
    async fn free_bytes(&self) -> Result<u64, HostError> {
        let (dir, also) = (self.dir.clone(), self.also.clone());
        let look = self.looks.run(limits::DISK_ANSWER, move || free_bytes(&dir, &also));
        look.await.map_err(|cause| HostError::FreeSpace { place: self.dir.clone(), cause })?
    }

    async fn hold_reserve(&self, bytes: u64) -> Result<(), HostError> {
        let file = self.dir.join(RESERVE);
        self.looks.run(limits::STORE_ANSWER, move || hold(&file, bytes)).await?
    }

    async fn release_reserve(&self) -> bool {
        let file = self.dir.join(RESERVE);
        self.looks.run(limits::DISK_ANSWER, move || std::fs::remove_file(file).is_ok()).await.unwrap_or(false)
    }

    async fn load(&self) -> HostLoad {
        spawn_blocking(read_load).await.unwrap_or_default()
    }

    async fn disk_of(&self, agent: AgentId) -> Result<DiskUse, HostError> {
        let place = self.dir.join("agents").join(agent.to_string());
        let short = self.short.as_ref().map(Arc::clone);
        let places = move || {
            let further = short.map_or_else(Vec::new, |short| short.present(agent));
            std::iter::once(place).chain(further)
        };
        Ok(self.looks.run(limits::DISK_WALK * 2, move || walk(places())).await?)
    }

    async fn git_version(&self) -> Result<String, HostError> {
        let mut command = tokio::process::Command::new("git");
        command.arg("--version").env("LC_ALL", "C").kill_on_drop(true).stdin(std::process::Stdio::null());
        let out = match tokio::time::timeout(ANSWER, command.output()).await {
            Ok(Ok(out)) if out.status.success() => out,
            Ok(Ok(out)) => return Err(HostError::GitFailed(out.status.to_string())),
            Ok(Err(e)) => return Err(HostError::GitNotStarted(e)),
            Err(_) => return Err(HostError::GitSilent),
        };
        let text = String::from_utf8_lossy(&out.stdout);
        let version = text.trim().strip_prefix("git version ").unwrap_or(text.trim()).to_owned();
        if is_new_enough(&version) {
            return Ok(version);
        }
        Err(HostError::GitTooOld(version))
    }
}

/// Returns the room that is left where this is least.
fn free_bytes(dir: &Path, also: &[PathBuf]) -> Result<u64, HostError> {
    let failed = |e: rustix::io::Errno| HostError::FreeSpace { place: dir.to_owned(), cause: e.into() };
    let stat = rustix::fs::statvfs(dir).map_err(failed)?;
    let free = |stat: rustix::fs::StatVfs| stat.f_bavail.saturating_mul(stat.f_frsize);
    let others = also.iter().filter_map(|dir| rustix::fs::statvfs(dir).ok()).map(free);
    Ok(others.fold(free(stat), u64::min))
}

fn read_load() -> HostLoad {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    // Of free memory the kernel's own estimate is taken. It counts the caches that give way to programs,
    // which `MemFree` leaves out.
    let machine = read("/proc/meminfo").and_then(|text| available(&text));
    // In a container the limit of its own cgroup is what counts.
    let limit = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    let used = read("/sys/fs/cgroup/memory.current").and_then(|text| text.trim().parse::<u64>().ok());
    // Cached files give way to programs.
    let cached = read("/sys/fs/cgroup/memory.stat").map_or(0, |text| files(&text));
    let own = limit.zip(used).map(|(limit, used)| limit.saturating_sub(used.saturating_sub(cached)));
    let cores =
        std::thread::available_parallelism().map_or(1.0, |n| f64::from(u32::try_from(n.get()).unwrap_or(1)));
    let load = read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    HostLoad {
        memory_bytes: machine.into_iter().chain(own).min(),
        load_per_core: load.map(|load| load / cores),
    }
}

/// Reads `MemAvailable`, which the kernel gives in KiB.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}

/// Sums up the cached files of a cgroup, in bytes.
fn files(memory_stat: &str) -> u64 {
    let of = |line: &str| {
        line.strip_prefix("inactive_file ").or(line.strip_prefix("active_file "))?.parse::<u64>().ok()
    };
    memory_stat.lines().filter_map(of).sum()
}

/// Counts what lies below, at most so many entries and so long. Links are counted, not followed, and other file systems
/// are left out. What cannot be read counts as nothing: the agent may take its files away meanwhile.
fn walk(places: impl Iterator<Item = PathBuf>) -> DiskUse {
    let mut found = DiskUse::default();
    let end = Instant::now() + limits::DISK_WALK;
    let tops = places.filter_map(|place| Some((std::fs::symlink_metadata(&place).ok()?.dev(), place)));
    let mut open: Vec<(u64, PathBuf)> = tops.collect();
    while let Some((device, dir)) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.dev() != device {
                continue;
            }
            found.entries += 1;
            found.bytes += meta.blocks() * 512;
            if meta.is_dir() {
                open.push((device, entry.path()));
            }
            if found.entries >= limits::DISK_ENTRIES as u64 || Instant::now() > end {
                found.more = true;
                return found;
            }
        }
    }
    found
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST_GIT,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for good in ["2.38.0", "2.47.3", "3.0", "2.50.1.windows.1", "2.39.5 (Apple Git-154)"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["2.9.5", "1.99", "", "unknown"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn available_memory_is_read_in_bytes() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:    2048 kB\n"), Some(2048 * 1024));
        assert_eq!(available("MemTotal:  9 kB\n"), None);
        assert_eq!(files("anon 5\ninactive_file 7\nactive_file 11\n"), 18);
    }

    #[tokio::test]
    async fn a_walk_counts_what_is_there_and_follows_no_link() {
        let place = tempfile::tempdir().unwrap();
        let id = AgentId(uuid::Uuid::new_v4());
        let host = SystemHost::new(place.path());
        assert_eq!(host.disk_of(id).await.unwrap(), DiskUse::default());
        let tree = place.path().join("agents").join(id.to_string()).join("tree/deep");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("file"), vec![7; 300_000]).unwrap();
        std::os::unix::fs::symlink("/usr", tree.join("link")).unwrap();
        let found = host.disk_of(id).await.unwrap();
        assert_eq!((found.entries, found.more), (4, false));
        assert!((300_000..600_000).contains(&found.bytes), "{found:?}");
    }

    #[tokio::test]
    async fn this_machine_answers() {
        let load = SystemHost::new("/").load().await;
        assert!(load.memory_bytes.is_some_and(|bytes| bytes > 0) && load.load_per_core.is_some());
        let host = SystemHost::new(std::env::temp_dir());
        assert!(host.free_bytes().await.unwrap() > 0);
        assert!(host.git_version().await.is_ok());
        assert!(SystemHost::new("/does/not/exist").free_bytes().await.is_err());
    }
}
