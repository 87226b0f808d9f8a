//! Taking trees away without ever deleting something that is not ours: a tree is renamed into the trash, then
//! deleted entry by entry through directory descriptors. Links are removed, never followed; another mount is refused.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mosaic_core::domain::ids::AgentId;
use rustix::fs::{self as rfs, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use tokio::sync::watch;

/// Deletions running at the same time: more would only make the running agents wait for the disk.
const WORKERS: usize = 1;
/// Open directories of one deletion; what lies deeper is first moved up.
const DEPTH: usize = 64;
/// Entries deleted between two looks at the directory, which bounds the names held in memory.
const BATCH: usize = 4096;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The trash directory and the work of emptying it.
pub(super) struct Trash {
    data: PathBuf,
    dir: PathBuf,
    queue: Arc<Mutex<Queue>>,
    pending: watch::Sender<usize>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<CString>,
    workers: usize,
}

impl Trash {
    pub(super) fn new(data: PathBuf, dir: PathBuf) -> Self {
        Self { data, dir, queue: Arc::default(), pending: watch::Sender::new(0) }
    }

    /// Renames the entries of the agent's directory that `wanted` names into the trash and deletes them in the
    /// background. No part of the way there may be a link. Must be called within a tokio runtime.
    pub(super) fn take(&self, agent: AgentId, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let data =
            rfs::open(&self.data, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let agent_dir = match open_dir(data.as_fd(), c"agents").and_then(|agents| {
            let name = CString::new(agent.to_string()).expect("a UUID has no NUL");
            open_dir(agents.as_fd(), &name)
        }) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        super::store::private_dir(&self.dir)?;
        let trash = rfs::open(&self.dir, DIRECTORY, Mode::empty())?;
        for name in names(agent_dir.as_fd(), usize::MAX)? {
            if name.to_str().is_ok_and(&wanted) {
                let new = fresh_name();
                rfs::renameat(&agent_dir, &name, &trash, &new)?;
                self.enqueue(new);
            }
        }
        Ok(())
    }

    /// Deletes what an earlier server left in the trash, in the background.
    pub(super) fn resume(&self) -> io::Result<()> {
        super::store::private_dir(&self.dir)?;
        let trash = rfs::open(&self.dir, DIRECTORY, Mode::empty())?;
        for name in names(trash.as_fd(), usize::MAX)? {
            self.enqueue(name);
        }
        Ok(())
    }

    /// Waits until nothing is left to delete.
    pub(super) async fn idle(&self) {
        let mut pending = self.pending.subscribe();
        // The sender lives as long as self, so this ends only by the condition.
        let _ = pending.wait_for(|n| *n == 0).await;
    }

    fn enqueue(&self, name: CString) {
        self.pending.send_modify(|n| *n += 1);
        let start = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push_back(name);
            let start = queue.workers < WORKERS;
            queue.workers += usize::from(start);
            start
        };
        if start {
            let (queue, pending, dir) = (Arc::clone(&self.queue), self.pending.clone(), self.dir.clone());
            tokio::task::spawn_blocking(move || work(&queue, &pending, &dir));
        }
    }
}

fn work(queue: &Mutex<Queue>, pending: &watch::Sender<usize>, dir: &Path) {
    loop {
        let next = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            let next = queue.waiting.pop_front();
            queue.workers -= usize::from(next.is_none());
            next
        };
        let Some(name) = next else { return };
        if let Err(error) = delete(dir, &name) {
            let entry = name.to_string_lossy();
            tracing::warn!(trash.entry = %entry, error = %error, "something could not be deleted and stays in the trash");
        }
        pending.send_modify(|n| *n -= 1);
    }
}

fn delete(dir: &Path, name: &CStr) -> io::Result<()> {
    let trash = rfs::open(dir, DIRECTORY, Mode::empty())?;
    let device = rfs::fstat(&trash)?.st_dev;
    let job = Deletion { trash: trash.as_fd(), device };
    let mut queue = VecDeque::from([name.to_owned()]);
    while let Some(name) = queue.pop_front() {
        job.entry(trash.as_fd(), &name, 0, &mut queue)?;
    }
    Ok(())
}

struct Deletion<'a> {
    trash: BorrowedFd<'a>,
    device: u64,
}

impl Deletion<'_> {
    fn entry(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
        moved: &mut VecDeque<CString>,
    ) -> io::Result<()> {
        let kind = match rfs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            other => FileType::from_raw_mode(other?.st_mode),
        };
        if kind != FileType::Directory {
            return Ok(rfs::unlinkat(parent, name, AtFlags::empty())?);
        }
        if depth >= DEPTH {
            let new = fresh_name();
            rfs::renameat(parent, name, self.trash, &new)?;
            moved.push_back(new);
            return Ok(());
        }
        let dir = open_dir_to_empty(parent, name)?;
        if rfs::fstat(&dir)?.st_dev != self.device {
            return Err(io::Error::other("another file system is mounted inside; unmount it first"));
        }
        loop {
            let batch = names(dir.as_fd(), BATCH)?;
            if batch.is_empty() {
                break;
            }
            for name in batch {
                self.entry(dir.as_fd(), &name, depth + 1, moved)?;
            }
        }
        drop(dir);
        Ok(rfs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}

/// Opens a directory below another: no link, no other mount (also no bind mount of the same file system).
fn open_dir(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rfs::openat2(parent, name, DIRECTORY, Mode::empty(), resolve) {
        // Kernels before 5.6 and some sandboxes have no openat2.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            Ok(rfs::openat(parent, name, DIRECTORY, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// Opens a directory and makes sure that its entries can be removed: tools leave read-only directories behind.
fn open_dir_to_empty(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let rwx = Mode::RWXU;
    let dir = match open_dir(parent, name) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let handle = rfs::openat(parent, name, path, Mode::empty())?;
            let through = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
            rfs::chmod(through.as_str(), rwx)?;
            open_dir(parent, name)?
        }
        other => other?,
    };
    if !Mode::from_raw_mode(rfs::fstat(&dir)?.st_mode).contains(rwx) {
        rfs::fchmod(&dir, rwx)?;
    }
    Ok(dir)
}

fn names(dir: BorrowedFd<'_>, most: usize) -> io::Result<Vec<CString>> {
    let mut all = Vec::new();
    for entry in rfs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            all.push(name.to_owned());
        }
        if all.len() >= most {
            break;
        }
    }
    Ok(all)
}

fn fresh_name() -> CString {
    CString::new(uuid::Uuid::new_v4().simple().to_string()).expect("a UUID has no NUL")
}

/// Removes the locks that a killed git left in a tree whose agent is dead, without following any link.
pub(super) fn drop_stale_locks(tree: &Path) -> io::Result<()> {
    let tree = CString::new(tree.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let tree = rfs::open(tree.as_c_str(), DIRECTORY, Mode::empty())?;
    let git = open_dir(tree.as_fd(), c".git")?;
    for lock in [c"index.lock", c"HEAD.lock", c"config.lock", c"packed-refs.lock"] {
        match rfs::unlinkat(&git, lock, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
