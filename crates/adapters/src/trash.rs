//! Removal of what agents made, trees that may be hostile: renamed into a directory of ours first, so that the name
//! is free at once and a crash leaves nothing half removed in place, then deleted in the background without ever
//! following a link or entering another file system.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, fstat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use tokio::sync::watch;
use uuid::Uuid;

/// Depth at which a subtree is moved up instead of entered: each level keeps a file open.
const DEPTH: u32 = 64;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory `<data>/trash` and the work of emptying it.
#[derive(Debug)]
pub struct Trash {
    data: PathBuf,
    work: Arc<Work>,
}

#[derive(Debug)]
struct Work {
    directory: PathBuf,
    queue: Mutex<Queue>,
    /// Entries that are not deleted yet.
    pending: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Queue {
    names: VecDeque<OsString>,
    running: bool,
}

impl Trash {
    /// Names the trash of a data directory; touches nothing.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data = data_dir.into();
        let work =
            Work { directory: data.join("trash"), queue: Mutex::default(), pending: watch::Sender::new(0) };
        Self { data, work: Arc::new(work) }
    }

    /// Takes a file or tree below the data directory out of its place; it is gone from there when this returns, and
    /// is deleted later. What does not exist is fine. Links on the way are refused, a link at the end is moved as a
    /// link. Must be called inside a tokio runtime.
    pub fn discard(&self, path: &Path) -> io::Result<()> {
        let inside =
            path.strip_prefix(&self.data).map_err(|_| refuse(path, "is not in the data directory"))?;
        let name = inside.file_name().ok_or_else(|| refuse(path, "has no name"))?;
        let Some(parent) = self.open_parent(path, inside.parent().unwrap_or(Path::new("")))? else {
            return Ok(());
        };
        let trash = self.work.open()?;
        let place = OsString::from(Uuid::new_v4().simple().to_string());
        match renameat(&parent, name, &trash, &place) {
            Ok(()) => self.work.add([place]),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Deletes what an earlier process left in the trash, in the background. For the start.
    pub fn empty(&self) -> io::Result<()> {
        self.work.open()?;
        let names: io::Result<Vec<OsString>> =
            std::fs::read_dir(&self.work.directory)?.map(|entry| Ok(entry?.file_name())).collect();
        self.work.add(names?);
        Ok(())
    }

    /// Waits until everything that was discarded is deleted or was given up.
    pub async fn idle(&self) {
        // The sender lives as long as we do.
        let _ = self.work.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    /// Opens the directory above, step by step so that no link is followed; `None` when it does not exist.
    fn open_parent(&self, path: &Path, parent: &Path) -> io::Result<Option<OwnedFd>> {
        let mut at = openat(CWD, &self.data, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for step in parent.components() {
            let Component::Normal(step) = step else { return Err(refuse(path, "is not a plain path")) };
            at = match openat(&at, step, DIRECTORY, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
        }
        Ok(Some(at))
    }
}

fn refuse(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} {why}", path.display()))
}

impl Work {
    /// Opens the trash, made if needed.
    fn open(&self) -> io::Result<OwnedFd> {
        match std::fs::DirBuilder::new().create(&self.directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            Ok(()) => std::fs::set_permissions(&self.directory, std::fs::Permissions::from_mode(0o700))?,
            Err(_) => {}
        }
        Ok(openat(CWD, &self.directory, DIRECTORY, Mode::empty())?)
    }

    /// Queues entries and sees to it that one worker runs.
    fn add(self: &Arc<Self>, names: impl IntoIterator<Item = OsString>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let before = queue.names.len();
        queue.names.extend(names);
        let added = queue.names.len() - before;
        self.pending.send_modify(|pending| *pending += added);
        if added > 0 && !queue.running {
            queue.running = true;
            let work = Arc::clone(self);
            tokio::task::spawn_blocking(move || work.run());
        }
    }

    /// Deletes until the queue is empty. What cannot be deleted stays for the next start.
    fn run(self: Arc<Self>) {
        loop {
            let name = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let next = queue.names.pop_front();
                queue.running = next.is_some();
                next
            };
            let Some(name) = name else { return };
            if let Err(e) = self.open().and_then(|trash| Deletion::of(trash)?.entry(&name)) {
                tracing::warn!(entry = %name.display(), error = %e, "something in the trash cannot be deleted; look at it and remove it by hand");
            }
            self.pending.send_modify(|pending| *pending -= 1);
        }
    }
}

/// One deletion, confined to the file system of the trash.
struct Deletion {
    trash: OwnedFd,
    device: u64,
    moved_up: Vec<OsString>,
}

impl Deletion {
    fn of(trash: OwnedFd) -> io::Result<Self> {
        let device = fstat(&trash)?.st_dev;
        Ok(Self { trash, device, moved_up: Vec::new() })
    }

    /// Deletes an entry of the trash with everything below it.
    fn entry(mut self, name: &OsStr) -> io::Result<()> {
        self.moved_up.push(name.to_owned());
        while let Some(name) = self.moved_up.pop() {
            let trash = self.trash.try_clone()?;
            self.remove(&trash, &CString::new(name.as_bytes())?, 0)?;
        }
        Ok(())
    }

    /// Deletes one name in a directory.
    fn remove(&mut self, at: &OwnedFd, name: &CString, depth: u32) -> io::Result<()> {
        let found = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return Ok(unlinkat(at, name, AtFlags::empty())?);
        }
        if found.st_dev != self.device {
            let why = format!("{} is a mount of another file system", name.to_string_lossy());
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, why));
        }
        if depth >= DEPTH {
            let place = OsString::from(Uuid::new_v4().simple().to_string());
            // Moving a directory rewrites its `..`, which needs the right to write to it.
            open_owned(at, name)?;
            renameat(at, name, &self.trash, &place)?;
            self.moved_up.push(place);
            return Ok(());
        }
        let directory = open_owned(at, name)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                self.remove(&directory, &entry.file_name().to_owned(), depth + 1)?;
            }
        }
        Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?)
    }
}

/// Opens a directory and gives its owner all rights on it, which agents take away now and then.
fn open_owned(at: &OwnedFd, name: &CString) -> io::Result<OwnedFd> {
    let directory = match openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let handle = openat(at, name, DIRECTORY | OFlags::PATH, Mode::empty())?;
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
            openat(at, name, DIRECTORY, Mode::empty())?
        }
        other => other?,
    };
    if fstat(directory.as_fd())?.st_mode & 0o700 != 0o700 {
        fchmod(&directory, Mode::RWXU)?;
    }
    Ok(File::from(directory).into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn a_hostile_tree_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        fs::create_dir_all(data.join("agents/a/home/sub")).unwrap();
        fs::create_dir(place.path().join("precious")).unwrap();
        fs::write(place.path().join("precious/file"), "keep").unwrap();
        let home = data.join("agents/a/home");
        symlink(place.path().join("precious"), home.join("link")).unwrap();
        symlink(place.path().join("precious"), home.join("sub/link")).unwrap();
        fs::write(home.join("sub/file"), "x").unwrap();
        fs::set_permissions(home.join("sub"), fs::Permissions::from_mode(0o000)).unwrap();
        let mut deep = home.join("deep");
        for _ in 0..300 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        let trash = Trash::new(&data);
        trash.discard(&home).unwrap();
        assert!(!home.exists());
        trash.discard(&home).unwrap();
        trash.idle().await;
        assert_eq!(fs::read_dir(data.join("trash")).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(place.path().join("precious/file")).unwrap(), "keep");
    }

    #[tokio::test]
    async fn links_on_the_way_and_paths_outside_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        fs::create_dir_all(data.join("agents")).unwrap();
        fs::create_dir_all(place.path().join("elsewhere/home")).unwrap();
        symlink(place.path().join("elsewhere"), data.join("agents/a")).unwrap();
        let trash = Trash::new(&data);
        assert!(trash.discard(&data.join("agents/a/home")).is_err());
        assert!(trash.discard(&place.path().join("elsewhere/home")).is_err());
        assert!(trash.discard(&data.join("agents/../agents/a")).is_err());
        assert!(trash.discard(&data).is_err());
        trash.discard(&data.join("agents/a")).unwrap();
        trash.idle().await;
        assert!(place.path().join("elsewhere/home").exists() && !data.join("agents/a").exists());
    }

    #[tokio::test]
    async fn what_an_earlier_process_left_is_deleted_at_the_start() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("trash/old/tree")).unwrap();
        fs::write(place.path().join("trash/file"), "x").unwrap();
        let trash = Trash::new(place.path());
        trash.empty().unwrap();
        trash.idle().await;
        assert_eq!(fs::read_dir(place.path().join("trash")).unwrap().count(), 0);
    }
}
