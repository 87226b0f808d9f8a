//! Packing bare repositories again once loose objects or packs pile up.
//!
//! Trees are clones that share a bare repository's objects and have refs of their own, so what no ref of the bare repository reaches may
//! still be needed by a tree. That is why a bare repository is only touched while no agent of its repository runs and none has a
//! tree. Whatever begins meanwhile is safe too: what it starts from is reachable by refs (the fetched base, kept work),
//! and every object younger than two weeks stays, reachable or not, in a pack of its own.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{RepoCache, StrayTree};

use super::pack_refs;
use crate::git::command::Input;
use crate::git::errors;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;

impl GitRepositories {
    pub(crate) async fn tidy_now(&self, running: &[RepositoryUrl]) -> Result<Option<RepoCache>, GitError> {
        let failed = |e: io::Error| errors::io("looking at the bare repositories", e);
        // Refs may be packed at any time; only objects are shared with trees.
        for cache in self.caches().map_err(failed)? {
            let (least, age) = pack_refs::USUAL;
            match self.pack_refs(&self.cache_dir(&cache), least, age).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(cache = %cache.0, count, "refs of agents were packed"),
                Err(e) => {
                    tracing::warn!(cache = %cache.0, error = %e, "refs of agents could not be packed; it is tried again")
                }
            }
        }
        let Some(in_use) = self.in_use(running).map_err(failed)? else { return Ok(None) };
        for cache in self.caches().map_err(failed)? {
            if !in_use.contains(&cache) && is_untidy(&self.cache_dir(&cache)) {
                self.pack(&cache).await?;
                return Ok(Some(cache));
            }
        }
        Ok(None)
    }

    /// Returns the bare repositories that a running agent or a tree needs; `None` when that cannot be told.
    fn in_use(&self, running: &[RepositoryUrl]) -> io::Result<Option<HashSet<RepoCache>>> {
        let mut in_use: HashSet<RepoCache> = running.iter().map(|url| self.name_of(url)).collect();
        for agent in self.present_now()? {
            match self.stray_tree_now(agent)? {
                StrayTree::None => {}
                StrayTree::Handed(request) => {
                    in_use.insert(self.name_of(&request.repository));
                }
                // A tree of an unknown repository may borrow from any of them, so that none is packed.
                StrayTree::Unused | StrayTree::Unknown(_) => return Ok(None),
            }
        }
        Ok(Some(in_use))
    }

    /// Returns the bare repository's name for a repository.
    pub(crate) fn name_of(&self, url: &RepositoryUrl) -> RepoCache {
        let path = self.layout.bare_repository(url);
        RepoCache(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    async fn pack(&self, cache: &RepoCache) -> Result<(), GitError> {
        let dir = self.cache_dir(cache);
        let lock = self.repository_lock(&dir);
        let _alone = lock.lock().await;
        let age = format!("{}.seconds.ago", limits::UNREACHABLE.as_secs());
        // A cruft pack keeps unreachable objects with their ages. Without one `-a` would drop them at once, and `-A` would
        // write each into a file of its own.
        let expire = format!("--cruft-expiration={age}");
        let mut call = self.git.local(&dir).within(limits::REPACK);
        // Agents come first.
        call.config("pack.threads", "1");
        let call = call.args(["repack", "-a", "-d", "-l", "-q", "--cruft", &expire]);
        call.run(Input::Nothing, limits::ERROR_BYTES).await?.success("packing a bare repository")?;
        let call = self.git.local(&dir).within(limits::REPACK).args(["prune", &format!("--expire={age}")]);
        call.run(Input::Nothing, limits::ERROR_BYTES).await?.success("tidying a bare repository").map(drop)
    }
}

/// Tells whether a bare repository has too many loose objects or packs. Object names are spread evenly, so one of the 256
/// directories speaks for all, as in git itself.
fn is_untidy(dir: &Path) -> bool {
    let count = |path: &Path, wanted: &dyn Fn(&str) -> bool| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_str().is_some_and(wanted)).count()
    };
    let loose = count(&dir.join("objects/17"), &|name| name.len() >= 38) * 256;
    let packs = count(&dir.join("objects/pack"), &|name| name.ends_with(".pack"));
    loose > limits::LOOSE_OBJECTS || packs > limits::PACKS
}
