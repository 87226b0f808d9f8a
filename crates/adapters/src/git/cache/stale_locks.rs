//! Stale locks in our own bare repositories: removed only when nobody can hold them. No git of ours works on the bare repository and none
//! may start meanwhile, what a server that is gone left running is ended, no other process has to do with the bare repository,
//! and all that is seen twice, of the very same file. Its age proves nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use crate::git::lock_holders::HeldLock;
use crate::git::repositories::GitRepositories;
use crate::git::{lock_holders, locks, messages};

/// A lock file as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lock {
    path: PathBuf,
    file: (u64, u64),
    changed: (i64, i64),
}

impl GitRepositories {
    /// Removes the locks in a bare repository that nobody holds; returns how many. Errors with words about who may
    /// hold one: then none was touched.
    ///
    /// # Errors
    /// When a process may hold one of them, or they cannot be read or removed.
    pub async fn remove_stale_locks(&self, repository: &RepositoryUrl) -> Result<usize, HeldLock> {
        self.remove_stale_locks_in(&self.layout.bare_repository(repository)).await
    }

    pub(crate) async fn remove_stale_locks_in(&self, bare: &Path) -> Result<usize, HeldLock> {
        if find(bare).is_empty() {
            return Ok(0);
        }
        // Not our own children hold the lock then, and none can start between the look and the removal.
        let turn = self.git.alone(bare);
        let Ok(_alone) = tokio::time::timeout(limits::GIT_ORPHANS, turn).await else {
            return Err(HeldLock::InUse);
        };
        look(bare.to_owned()).await?;
        // Two looks with a pause: a program that is only just being started shows in neither the process table nor the locks
        // at one of them.
        let first = find(bare);
        tokio::time::sleep(limits::LOCK_SECOND_LOOK).await;
        look(bare.to_owned()).await?;
        let second = find(bare);
        let mut removed = 0;
        for lock in first.iter().filter(|lock| second.contains(lock)) {
            // Inode and change time are compared and not the name: a lock that was released and taken again is another file.
            if seen(&lock.path).as_ref() == Some(lock) {
                fs::remove_file(&lock.path)
                    .map_err(|source| HeldLock::Remove { path: lock.path.clone(), source })?;
                tracing::info!(path = %lock.path.display(), "a git lock whose holder is gone was removed");
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Once per server, before git is first used on what earlier ones left: ends the git processes of servers that
    /// are gone and removes stale locks from all bare repositories.
    pub(crate) async fn ready(&self) {
        self.looked_after.get_or_init(|| self.look_after()).await;
    }

    async fn look_after(&self) {
        let data = self.layout.data.clone();
        let ended = tokio::task::spawn_blocking(move || lock_holders::end_orphans(&data)).await;
        match ended {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "git processes of an earlier server were ended"),
            Ok(Err(why)) => tracing::warn!(%why, "git processes of an earlier server are still running"),
            Err(e) => tracing::error!(error = %e, "looking for git processes of an earlier server broke"),
        }
        self.clear_views();
        let repositories = fs::read_dir(self.layout.data.join("repos")).into_iter().flatten().flatten();
        for bare in repositories {
            if let Err(why) = self.remove_stale_locks_in(&bare.path()).await {
                tracing::warn!(path = %bare.path().display(), %why, "locks in a bare repository are left alone");
            }
        }
    }

    /// Tells whether git failed on a lock that nobody held and that is gone now.
    pub(crate) async fn removed_stale_locks(&self, bare: &Path, stderr: &str) -> bool {
        if !messages::is_lock_in_the_way(stderr) {
            return false;
        }
        match self.remove_stale_locks_in(bare).await {
            Ok(count) => count > 0,
            Err(why) => {
                tracing::warn!(path = %bare.display(), %why, "a lock in a bare repository is left alone");
                false
            }
        }
    }
}

/// Ends orphans, and errors when anybody is left who may hold a lock.
async fn look(bare: PathBuf) -> Result<(), HeldLock> {
    let looked = tokio::task::spawn_blocking(move || {
        lock_holders::end_orphans(&bare)?;
        lock_holders::holder(&bare).map_or(Ok(()), |who| Err(HeldLock::Holder(who)))
    });
    looked.await.map_err(HeldLock::Broke)?
}

fn find(bare: &Path) -> Vec<Lock> {
    locks::find(bare).iter().filter_map(|path| seen(path)).collect()
}

fn seen(path: &Path) -> Option<Lock> {
    let meta = fs::symlink_metadata(path).ok()?;
    let (file, changed) = ((meta.dev(), meta.ino()), (meta.ctime(), meta.ctime_nsec()));
    Some(Lock { path: path.to_owned(), file, changed })
}
