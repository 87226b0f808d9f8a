//! Removal of what agents made, trees that may be hostile: renamed into a directory of ours first, so that the name
//! is free at once and a crash leaves nothing half removed in place, then deleted in the background without ever
//! following a link or entering another mount. The directory is the journal: what is in it at the start is deleted
//! then. What cannot be deleted stays in it, is tried again after growing pauses, and stands in [`Trash::stuck`].

mod deletion;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mosaic_core::limits;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{CWD, Mode, OFlags, openat, renameat};
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use self::deletion::{DIRECTORY, Deletion};
use crate::private_place::ASIDE;

/// Something in the trash that could not be deleted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Where it is.
    pub path: PathBuf,
    /// The obstacle to its deletion.
    pub reason: String,
    /// Since when.
    pub since: SystemTime,
    /// Number of attempts to delete it.
    pub attempts: u32,
}

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
    /// Entries that are neither deleted nor stuck yet.
    pending: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Queue {
    names: VecDeque<OsString>,
    running: bool,
    /// Entries that could not be deleted, each with the time of the next attempt.
    stuck: BTreeMap<OsString, (Stuck, Instant)>,
    /// The task that waits for that time.
    retries: Option<AbortHandle>,
}

impl Drop for Trash {
    fn drop(&mut self) {
        if let Some(retries) = self.work.lock().retries.take() {
            retries.abort();
        }
    }
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
        // The old name could be taken: an entry of the same name may be stuck in the trash since an earlier removal.
        let place = OsString::from(Uuid::new_v4().simple().to_string());
        match renameat(&parent, name, &trash, &place) {
            Ok(()) => self.work.add([place]),
            Err(Errno::NOENT) => {}
            Err(e @ (Errno::BUSY | Errno::XDEV)) => {
                let why = format!("{}: something is mounted there; unmount it ({e})", path.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
            }
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Does the same with every entry of a directory below the data directory whose name is wanted.
    pub fn discard_in(&self, directory: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let entries = match std::fs::read_dir(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut fault = Ok(());
        for entry in entries {
            let name = entry?.file_name();
            if name.to_str().is_some_and(&wanted) {
                // What stands in the way of one does not keep the others.
                let done = self.discard(&directory.join(name));
                fault = fault.and(done);
            }
        }
        fault
    }

    /// Deletes what an earlier process left in the trash, in the background. For the start.
    pub fn empty(&self) -> io::Result<()> {
        self.work.open()?;
        let names: io::Result<Vec<OsString>> =
            std::fs::read_dir(&self.work.directory)?.map(|entry| Ok(entry?.file_name())).collect();
        self.work.add(names?);
        Ok(())
    }

    /// Takes what is made aside and was not put in its place, of a server that is gone: restored copies, bare repositories and
    /// the server's own files. Only whoever holds the data directory's lock may call this.
    pub fn discard_half_made(&self) -> io::Result<()> {
        // What stands in the way in one place does not keep the others.
        let discard = |place: PathBuf| self.discard_in(&place, |name| name.contains(ASIDE));
        let places = [self.data.clone(), self.data.join("restored"), self.data.join("repos")];
        places.map(discard).into_iter().collect()
    }

    /// Lists what could not be deleted yet, oldest first. It is tried again by itself.
    pub fn stuck(&self) -> Vec<Stuck> {
        let mut all: Vec<Stuck> = self.work.lock().stuck.values().map(|(stuck, _)| stuck.clone()).collect();
        all.sort_by_key(|stuck| stuck.since);
        all
    }

    /// Tries everything that could not be deleted once more, now. Must be called inside a tokio runtime.
    pub fn retry_stuck(&self) {
        let names: Vec<OsString> = self.work.lock().stuck.keys().cloned().collect();
        self.work.add(names);
    }

    /// Waits until everything that was discarded is deleted or stuck.
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

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Queues entries and sees to it that one worker runs.
    fn add(self: &Arc<Self>, names: impl IntoIterator<Item = OsString>) {
        let mut queue = self.lock();
        let before = queue.names.len();
        queue.names.extend(names);
        let added = queue.names.len() - before;
        // Under the queue's lock no worker can take one of the new names yet. Counted later, `idle` could see nothing
        // pending while an entry is being deleted.
        self.pending.send_modify(|pending| *pending += added);
        // One worker deletes for all. Several would only compete for the disk on which agents work, and the
        // end of the last one is what `idle` waits for.
        if added > 0 && !queue.running {
            queue.running = true;
            let (work, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
            tokio::task::spawn_blocking(move || work.run(&runtime));
        }
    }

    /// Deletes until the queue is empty.
    fn run(self: Arc<Self>, runtime: &tokio::runtime::Handle) {
        loop {
            let name = {
                let mut queue = self.lock();
                let next = queue.names.pop_front();
                // The worker gives up in the same step in which it finds the queue empty. An entry that is added a
                // moment later finds no worker and starts one.
                queue.running = next.is_some();
                next
            };
            let Some(name) = name else { return };
            let deleted = self.open().and_then(|trash| Deletion::of(trash)?.entry(&name));
            // It is noted before it stops being counted, so that a caller which waited in `idle` finds it among what is
            // stuck.
            self.note(name, deleted, runtime);
            self.pending.send_modify(|pending| *pending -= 1);
        }
    }

    /// Remembers what could not be deleted, and sees to it that it is tried again.
    fn note(self: &Arc<Self>, name: OsString, deleted: io::Result<()>, runtime: &tokio::runtime::Handle) {
        let mut queue = self.lock();
        let Err(e) = deleted else {
            queue.stuck.remove(&name);
            return;
        };
        let path = self.directory.join(&name);
        let first = Stuck { path, reason: String::new(), since: SystemTime::now(), attempts: 0 };
        let mut stuck = queue.stuck.remove(&name).map_or(first, |(stuck, _)| stuck);
        stuck.attempts = stuck.attempts.saturating_add(1);
        stuck.reason = e.to_string();
        if stuck.attempts == 1 {
            tracing::warn!(path = %stuck.path.display(), error = %e, "something in the trash cannot be deleted; it is tried again");
        }
        let due = Instant::now() + pause(stuck.attempts);
        queue.stuck.insert(name, (stuck, due));
        let idle = queue.retries.as_ref().is_none_or(AbortHandle::is_finished);
        if idle {
            queue.retries = Some(runtime.spawn(retry(Arc::downgrade(self))).abort_handle());
        }
    }

    /// Takes what is due, and says when the next is; `None` when nothing is stuck.
    fn due(self: &Arc<Self>) -> Option<Instant> {
        let (names, next) = {
            let mut queue = self.lock();
            let (now, later) = (Instant::now(), Instant::now() + limits::TRASH_RETRY_CAP);
            let mut names = Vec::new();
            for (name, (_, due)) in queue.stuck.iter_mut().filter(|(_, (_, due))| *due <= now) {
                // Set anew when it fails again.
                *due = later;
                names.push(name.clone());
            }
            let next = queue.stuck.values().map(|(_, due)| *due).min();
            if next.is_none() {
                // Under the lock, so that whatever gets stuck next starts a task of its own.
                queue.retries = None;
            }
            (names, next)
        };
        self.add(names);
        next
    }
}

fn pause(attempts: u32) -> Duration {
    let doubled = limits::TRASH_RETRY.saturating_mul(2u32.saturating_pow(attempts.saturating_sub(1)));
    doubled.min(limits::TRASH_RETRY_CAP)
}

/// Tries again what is stuck until nothing is. Ends with the trash.
async fn retry(work: std::sync::Weak<Work>) {
    let mut sleep = limits::TRASH_RETRY;
    loop {
        tokio::time::sleep(sleep).await;
        let Some(next) = work.upgrade().and_then(|work| work.due()) else { return };
        sleep = next
            .saturating_duration_since(Instant::now())
            .clamp(limits::TRASH_RETRY, limits::TRASH_RETRY_CAP);
    }
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
    async fn what_a_server_was_making_when_it_ended_is_removed_and_what_is_whole_stays() {
        let place = tempfile::tempdir().unwrap();
        let half = [".new-1", "restored/.new-2", "repos/.new-3", "token.new-4"];
        let whole = ["restored/copy-1", "repos/r.git", "token"];
        for path in half.iter().chain(&whole) {
            fs::create_dir_all(place.path().join(path).join("objects")).unwrap();
        }
        let trash = Trash::new(place.path());
        trash.discard_half_made().unwrap();
        trash.idle().await;
        for path in half {
            assert!(!place.path().join(path).exists(), "{path}");
        }
        for path in whole {
            assert!(place.path().join(path).exists(), "{path}");
        }
        assert_eq!(fs::read_dir(place.path().join("trash")).unwrap().count(), 0);
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
