//! Refs that bare repositories keep for agents, long after their trees are gone: lists them, tells which of their commits
//! are nowhere else, and deletes them. Refs are files of ours; only packed refs need git for their removal.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mosaic_core::domain::ids::{AgentId, CommitId, Timestamp};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{KeptRefs, RepoCache, UnmergedCommit};

use crate::bounded_file;
use crate::git::command::Input;
use crate::git::errors;
use crate::git::errors::GitError;
use crate::git::ref_names::{self, PLACES};
use crate::git::repositories::GitRepositories;

/// Longest part of a commit's first line that is shown, in bytes.
const SUBJECT_BYTES: usize = 200;

fn modified(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok()
}

impl GitRepositories {
    /// Returns a bare repository's directory. The name comes from a listing or a digest; anything else names nothing.
    pub(crate) fn cache_dir(&self, cache: &RepoCache) -> PathBuf {
        // The name becomes a part of a path that is deleted from, so that one with a slash or two dots must lead nowhere.
        let plain =
            cache.0.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') && !cache.0.starts_with('.');
        let name = if plain { cache.0.as_str() } else { "none" };
        self.layout.data.join("repos").join(name)
    }

    /// Lists the bare repositories by name.
    pub(crate) fn caches(&self) -> io::Result<Vec<RepoCache>> {
        let entries = match fs::read_dir(self.layout.data.join("repos")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".git") && !name.starts_with('.') {
                names.push(RepoCache(name));
            }
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn kept_refs_now(&self) -> io::Result<Vec<KeptRefs>> {
        let mut all = Vec::new();
        for cache in self.caches()? {
            for (agent, since) in agents_of(&self.cache_dir(&cache)) {
                all.push(KeptRefs { cache: cache.clone(), agent, since: Timestamp::from(since) });
            }
        }
        Ok(all)
    }

    /// Lists the refs of an agent: where its trees were salvaged first, then what was received of it.
    pub(crate) async fn refs_of_now(
        &self,
        cache: &RepoCache,
        agent: AgentId,
        most: usize,
    ) -> Result<Vec<KeptRef>, GitError> {
        let dir = self.cache_dir(cache);
        if !has_refs(&dir, agent) {
            return Ok(Vec::new());
        }
        let places = PLACES.map(|place| format!("{place}/{agent}"));
        let format = "--format=%(objectname) %(refname)";
        let call = self.git.local(&dir).args(["for-each-ref", format]).args(places.iter().rev());
        let done = call.run(Input::Nothing, limits::LISTING_BYTES).await?;
        let text = done.success("listing what is kept of the agent")?.text();
        let one = |line: &str| {
            let (commit, reference) = line.split_once(' ')?;
            Some(KeptRef { reference: reference.to_owned(), commit: commit.parse().ok()? })
        };
        let mut refs: Vec<KeptRef> = text.lines().filter_map(one).collect();
        refs.sort_by_key(|kept| !kept.reference.starts_with(PLACES[1]));
        refs.truncate(most);
        Ok(refs)
    }

    pub(crate) async fn unmerged_now(
        &self,
        cache: &RepoCache,
        agent: AgentId,
        safe: &[CommitId],
        most: usize,
    ) -> Result<Vec<UnmergedCommit>, GitError> {
        let dir = self.cache_dir(cache);
        if !has_refs(&dir, agent) {
            return Ok(Vec::new());
        }
        let places = PLACES.map(|place| format!("{place}/{agent}"));
        let call = self.git.local(&dir).args(["for-each-ref", "--format=%(objectname)"]).args(&places);
        let tips = call.run(Input::Nothing, limits::LISTING_BYTES).await?;
        let tips = tips.success("reading what is kept of the agent")?.text();
        if tips.trim().is_empty() {
            return Ok(Vec::new());
        }
        let mut ask = tips;
        ask.extend(safe.iter().map(|commit| format!("^{commit}\n")));
        // The branches of a bare repository are copies of the remote's.
        let call = self.git.local(&dir).args([
            "rev-list",
            "--no-commit-header",
            "--format=%H %s",
            // A commit that counts as safe may have been collected, and then it is safe because nobody can need it.
            "--ignore-missing",
            &format!("--max-count={most}"),
            "--stdin",
            "--not",
            "--branches",
        ]);
        let done = call.run(Input::Bytes(ask.into_bytes()), limits::LISTING_BYTES).await?;
        let done = done.success("looking for commits that are kept nowhere else")?;
        Ok(done.text().lines().filter_map(named).collect())
    }

    pub(crate) async fn forget_now(&self, cache: &RepoCache, agent: AgentId) -> Result<(), GitError> {
        let dir = self.cache_dir(cache);
        let failed = |e: io::Error| errors::io("removing the refs of the agent", e);
        // Neither a fetch nor a repack runs meanwhile: both read the refs that are deleted here.
        let lock = self.repository_lock(&dir);
        let _alone = lock.lock().await;
        let packed = packed(&dir).map_err(failed)?;
        let own: Vec<&str> = packed.lines().filter_map(|line| ref_of(line, agent)).collect();
        if !own.is_empty() {
            let orders: String = own.iter().map(|name| format!("delete {name}\n")).collect();
            let call = self.git.local(&dir).args(["update-ref", "--stdin"]);
            let done = call.run(Input::Bytes(orders.into_bytes()), limits::ERROR_BYTES).await?;
            done.success("removing the refs of the agent")?;
        }
        // Packed lines first: with the loose file gone a packed line of the same name would count again.
        let live = dir.join(ref_names::live(agent));
        for place in PLACES.map(|place| dir.join(place).join(agent.to_string())).into_iter().chain([live]) {
            let removed = match fs::symlink_metadata(&place) {
                Ok(meta) if meta.is_dir() => fs::remove_dir_all(&place),
                Ok(_) => fs::remove_file(&place),
                Err(e) => Err(e),
            };
            match removed {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads a line of the list of commits.
fn named(line: &str) -> Option<UnmergedCommit> {
    let (commit, subject) = line.split_once(' ').unwrap_or((line, ""));
    let subject = mosaic_core::domain::outcome::cut(errors::plain(subject), SUBJECT_BYTES);
    Some(UnmergedCommit { commit: commit.parse().ok()?, subject })
}

fn packed(dir: &Path) -> io::Result<String> {
    match bounded_file::read(&dir.join("packed-refs"), limits::PACKED_REFS_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e),
    }
}

/// Returns the name in a line of `packed-refs` if it is a ref of this agent.
fn ref_of(line: &str, agent: AgentId) -> Option<&str> {
    let (_, name) = line.split_once(' ')?;
    (agent_of(name) == Some(agent)).then_some(name)
}

/// Returns whose ref this is.
fn agent_of(name: &str) -> Option<AgentId> {
    let rest = PLACES.iter().find_map(|place| name.strip_prefix(place)?.strip_prefix('/'))?;
    rest.split('/').next()?.parse().ok()
}

fn has_refs(dir: &Path, agent: AgentId) -> bool {
    let loose = PLACES.iter().any(|place| dir.join(place).join(agent.to_string()).symlink_metadata().is_ok());
    loose || packed(dir).is_ok_and(|text| text.lines().any(|line| ref_of(line, agent).is_some()))
}

/// Lists the agents of which a bare repository has refs, with the time of the newest.
fn agents_of(dir: &Path) -> BTreeMap<AgentId, SystemTime> {
    let mut found: BTreeMap<AgentId, SystemTime> = BTreeMap::new();
    let mut note = |agent, at: Option<SystemTime>| {
        // What has no time was written just now: it is never taken for old.
        let at = at.unwrap_or_else(SystemTime::now);
        found.entry(agent).and_modify(|known| *known = at.max(*known)).or_insert(at);
    };
    for place in PLACES {
        for entry in fs::read_dir(dir.join(place)).into_iter().flatten().flatten() {
            if let Some(agent) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                note(agent, modified(&entry.path()));
            }
        }
    }
    let at = modified(&dir.join("packed-refs"));
    for agent in packed(dir).unwrap_or_default().lines().filter_map(|line| agent_of(line.split_once(' ')?.1))
    {
        note(agent, at);
    }
    found
}
