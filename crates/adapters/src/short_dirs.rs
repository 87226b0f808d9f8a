//! Short private directories for temporary files. The path of a Unix socket has at most 107 bytes, and programs make
//! sockets below `TMPDIR`, so the directory of an agent deep below the data directory is of no use to them. A short data
//! directory has them in itself; for any other they lie in one directory of the system's temporary directory whose name
//! cannot be guessed, which belongs to this user alone and is noted in the data directory.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use uuid::Uuid;

use crate::fence;
use crate::private_place::{PrivatePlace, read_plain};
use crate::trash::Trash;

/// Name of the directory in a short data directory.
const INSIDE: &str = "t";
/// Beginning of the name of the directory elsewhere.
const OUTSIDE: &str = "mosaic-";
/// The file in the data directory that notes the one elsewhere.
const NOTE: &str = "short-dir";
/// Characters of an agent's id in the name of its directory: 40 bits keep those that exist at once apart.
const AGENT_CHARS: usize = 10;
/// Characters that tell the directories of one agent apart; a name that is taken is not used.
const FRESH_CHARS: usize = 4;
/// Number of tries for a name that others may have taken.
const ATTEMPTS: usize = 16;

/// The short directories of one data directory.
#[derive(Debug)]
pub struct ShortDirs {
    data: PathBuf,
    /// The trash of the data directory.
    inside: Arc<Trash>,
    outside: Mutex<Option<Root>>,
}

/// Where they lie, with a trash on the same file system.
#[derive(Debug, Clone)]
struct Root {
    path: PathBuf,
    trash: Arc<Trash>,
}

impl ShortDirs {
    /// Takes the data directory and its trash; touches nothing.
    pub fn new(data_dir: impl Into<PathBuf>, trash: Arc<Trash>) -> Self {
        Self { data: data_dir.into(), inside: trash, outside: Mutex::default() }
    }

    /// Returns the directory that holds all of them, made if needed.
    ///
    /// # Errors
    /// When no place for it can be found or written.
    pub fn root(&self) -> io::Result<PathBuf> {
        Ok(self.ready()?.path)
    }

    /// Makes the directory of an agent; one that exists is kept.
    ///
    /// # Errors
    /// When it cannot be made, or when something else has its name.
    pub fn of(&self, agent: AgentId) -> io::Result<PathBuf> {
        let path = self.ready()?.path.join(name(agent));
        match private(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => mended(&path).map(|()| path),
            made => made.map(|()| path),
        }
    }

    /// Makes a further directory of an agent, which did not exist before.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fresh(&self, agent: AgentId) -> io::Result<PathBuf> {
        let root = self.ready()?.path;
        first_free(|| root.join(format!("{}.{}", name(agent), random(FRESH_CHARS))), |_| Ok(()))
    }

    /// Takes one of them away; it is deleted in the background.
    ///
    /// # Errors
    /// When it cannot be moved out of its place.
    pub fn discard(&self, path: &Path) -> io::Result<()> {
        let root = self.existing().into_iter().find(|root| path.parent() == Some(&root.path));
        root.map_or(Ok(()), |root| root.trash.discard(path))
    }

    /// Takes all directories of an agent away. Idempotent.
    ///
    /// # Errors
    /// When one cannot be moved out of its place.
    pub fn release(&self, agent: AgentId) -> io::Result<()> {
        self.existing()
            .iter()
            .try_for_each(|root| root.trash.discard_in(&root.path, |entry| is_of(agent, entry)))
    }

    /// Returns the paths that an agent's directories have now.
    pub fn present(&self, agent: AgentId) -> Vec<PathBuf> {
        let entries = self.existing().into_iter().flat_map(|root| std::fs::read_dir(root.path));
        let paths = entries.flatten().flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| is_of(agent, n)))
            .collect()
    }

    /// Continues deleting what an earlier process had begun to delete. For the start; needs a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn sweep(&self) -> io::Result<()> {
        self.known_outside().map_or(Ok(()), |root| root.trash.empty())
    }

    /// Waits until every deletion is done, and removes the directory outside the data directory when nothing is
    /// left in it.
    pub async fn idle(&self) {
        let Some(root) = self.known_outside() else { return };
        root.trash.idle().await;
        // A directory that is not empty stays, and all of it is found again by its note.
        let _ = std::fs::remove_dir(root.path.join("trash"));
        let left = std::fs::read_dir(&root.path)
            .map_or(0, |all| all.flatten().filter(|e| e.file_name() != ".git").count());
        if left == 0 {
            fence::lower(&root.path);
            let _ = std::fs::remove_dir(&root.path);
        }
    }

    /// Tells whether the data directory's own path is short enough.
    fn is_short(&self) -> bool {
        let longest = 1 + INSIDE.len() + 1 + AGENT_CHARS + 1 + FRESH_CHARS;
        self.data.as_os_str().len() + longest <= limits::SOCKET_DIRECTORY_BYTES
    }

    fn inside(&self) -> Root {
        Root { path: self.data.join(INSIDE), trash: Arc::clone(&self.inside) }
    }

    /// Lists where they lie now.
    fn existing(&self) -> Vec<Root> {
        let inside = Some(self.inside()).filter(|root| mended(&root.path).is_ok());
        inside.into_iter().chain(self.known_outside()).collect()
    }

    /// Returns the directory elsewhere when there is one.
    fn known_outside(&self) -> Option<Root> {
        let mut known = self.outside.lock();
        if known.is_none() {
            *known = self.noted().map(at);
        }
        // It lies where others may make directories. So it is looked at for every use: the name may be gone by now, and
        // belong to another user.
        known.clone().filter(|root| ours(&root.path).is_ok())
    }

    /// Returns where they lie, made if needed. Long paths are better than none.
    fn ready(&self) -> io::Result<Root> {
        let outside =
            if self.is_short() { None } else { self.known_outside().or_else(|| self.make_outside()) };
        let root = outside.unwrap_or_else(|| self.inside());
        match private(&root.path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => mended(&root.path)?,
            made => made?,
        }
        fence::raise(&root.path)?;
        Ok(root)
    }

    /// Makes the directory elsewhere and notes it. The note comes first, so that what a crash leaves is found by it.
    fn make_outside(&self) -> Option<Root> {
        let mut known = self.outside.lock();
        let made = bases().into_iter().find_map(|base| self.make_in(&base).ok());
        *known = made.map(at);
        known.clone()
    }

    fn make_in(&self, base: &Path) -> io::Result<PathBuf> {
        first_free(
            || base.join(format!("{OUTSIDE}{}", random(8))),
            |path| PrivatePlace::open(&self.data.canonicalize()?)?.replace(NOTE, path.as_os_str().as_bytes()),
        )
    }

    /// Returns the directory that the note names; a note that names no directory of ours counts for nothing.
    fn noted(&self) -> Option<PathBuf> {
        let bytes = read_plain(&self.data.join(NOTE), limits::MARKER_BYTES).ok()?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&bytes));
        let named = path.file_name().is_some_and(|name| name.as_bytes().starts_with(OUTSIDE.as_bytes()));
        (path.is_absolute() && named && ours(&path).is_ok()).then_some(path)
    }
}

fn at(path: PathBuf) -> Root {
    Root { trash: Arc::new(Trash::new(path.clone())), path }
}

/// Lists temporary directories whose paths are short, where programs may be run from and no other user can replace what is ours.
fn bases() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let all = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()].into_iter().chain(runtime);
    all.filter(|base| usable(base)).collect()
}

fn usable(base: &Path) -> bool {
    let longest = 1 + OUTSIDE.len() + 8 + 1 + AGENT_CHARS + 1 + FRESH_CHARS;
    let short = base.is_absolute() && base.as_os_str().len() + longest <= limits::SOCKET_DIRECTORY_BYTES;
    let Ok(meta) = std::fs::metadata(base) else { return false };
    // Where others may write, only the sticky bit keeps them from replacing our directory.
    let safe = meta.is_dir() && (meta.mode() & 0o022 == 0 || meta.mode() & 0o1000 != 0);
    let runs = rustix::fs::statvfs(base)
        .is_ok_and(|fs| !fs.f_flag.intersects(StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY));
    short && safe && runs
}

/// Makes a directory for its owner only; its parent must exist and nothing may have its name.
fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Checks that a path is a directory of this user that no other can enter, and no link.
fn ours(path: &Path) -> io::Result<()> {
    let meta = path.symlink_metadata()?;
    let own = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o077 == 0;
    if own { Ok(()) } else { Err(io::Error::new(ErrorKind::NotADirectory, "something else has its name")) }
}

/// Checks that a directory of ours is there, and closes it to others again: a data directory that was copied, such as from a
/// backup, has lost what its directories allowed.
fn mended(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&directory)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    if stat.st_mode & 0o077 != 0 {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    Ok(())
}

/// Makes the first of these directories whose name is free; each is announced before it is made.
fn first_free(
    candidate: impl Fn() -> PathBuf,
    announce: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let mut last = io::Error::from(ErrorKind::AlreadyExists);
    for _ in 0..ATTEMPTS {
        let path = candidate();
        announce(&path)?;
        match private(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

fn name(agent: AgentId) -> String {
    agent.0.simple().to_string()[..AGENT_CHARS].to_owned()
}

/// Tells whether an entry is a directory of this agent.
fn is_of(agent: AgentId, entry: &str) -> bool {
    entry.strip_prefix(name(agent).as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn random(characters: usize) -> String {
    Uuid::new_v4().simple().to_string()[..characters].to_owned()
}

#[cfg(test)]
#[path = "short_dirs_tests.rs"]
mod tests;
