//! Submodules of a checkout. Each has a bare repository of its own in the cache, whose objects its checkout shares, as the
//! repository itself does. Always true: which submodules there are and where they come from is read from the base
//! commit alone, so that no agent can have the server fetch another repository with the operator's credentials; a commit
//! that the base does not pin counts only when a branch or tag of that remote has it; and git's own `submodule`, which
//! obeys the tree it runs in, is never used. What cannot be had is a warning that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{NotAllowed, TreeRequest};

use super::fetch::Tags;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::gitmodules::{self, Declared};
use crate::git::local_path::local_form;
use crate::git::output::field;
use crate::git::repositories::GitRepositories;
use crate::git::{bare_repository, errors, ref_files};

/// The file that declares submodules.
const FILE: &str = ".gitmodules";
const MOST: usize = limits::GITMODULES_BYTES;
/// Where a bare repository keeps copies of all branches and tags of its remote.
const PUBLISHED: &str = "refs/mosaic/published";

/// A checkout that may have submodules.
pub(crate) struct Superproject {
    /// Its bare repository's address.
    pub(crate) repository: RepositoryUrl,
    /// Addresses that relative ones start from, the likeliest first.
    pub(crate) addresses: Vec<RepositoryUrl>,
    /// Where the operator's own clone has its submodules, when the repository is one.
    pub(crate) clones: Option<PathBuf>,
    /// The commit whose declarations count.
    pub(crate) base: CommitId,
    /// The commit that is checked out.
    pub(crate) commit: CommitId,
    /// Its working tree and git directory.
    pub(crate) tree: PathBuf,
    pub(crate) git_dir: PathBuf,
    /// Beginning of its path, for messages.
    pub(crate) prefix: String,
    pub(crate) depth: usize,
}

/// Address of a submodule that is not asked.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// It cannot be one.
    #[error(transparent)]
    Address(#[from] gitmodules::AddressError),
    /// Policy forbids it.
    #[error(transparent)]
    Policy(#[from] NotAllowed),
}

/// One submodule of a checkout.
pub(crate) struct Wanted {
    pub(crate) declared: Declared,
    pub(crate) pin: CommitId,
    /// The base pins the same commit.
    pub(crate) of_base: bool,
}

impl GitRepositories {
    /// Returns the commits of other repositories that a commit names.
    pub(crate) async fn pinned_by(
        &self,
        dir: &Path,
        commit: &CommitId,
    ) -> Result<BTreeSet<CommitId>, GitError> {
        let call = self.git.local(dir).args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]);
        let read = |out| async move {
            let (mut out, mut found) = (tokio::io::BufReader::new(out), BTreeSet::new());
            while let Some(entry) = field(&mut out).await? {
                found.extend(pin(&entry).map(|(_, commit)| commit));
            }
            Ok(found)
        };
        let (done, found) = call.stream(Input::Nothing, read).await?;
        done.success("listing the submodules of a commit")?;
        Ok(found)
    }

    /// Tells whether the remote of a submodule, as the base declares it, has a commit on a branch or tag; of a path that the
    /// base does not declare, any of them: the submodule may have been moved. Asks the remotes.
    pub(crate) async fn submodule_publishes(
        &self,
        request: &TreeRequest,
        path: &str,
        commit: &CommitId,
    ) -> Result<bool, GitError> {
        let nowhere = self.layout.nowhere();
        let project = self.superproject(&request.repository, &request.base, &request.base, &nowhere).await?;
        let (all, _) = self.wanted(&project).await?;
        let mut asked: Vec<&Wanted> = all.iter().filter(|one| one.declared.path == path).collect();
        if asked.is_empty() {
            asked = all.iter().take(limits::NAMED_LEFT).collect();
        }
        for known in asked {
            for source in self.sources(&project, &known.declared)? {
                if self.publishes(&source, commit).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Warns of pinned repositories that no `.gitmodules` says anything of: they are empty everywhere.
    pub(crate) async fn undeclared(
        &self,
        repository: &RepositoryUrl,
        (base, commit): (&CommitId, &CommitId),
        links: Vec<String>,
    ) -> Result<Vec<String>, GitError> {
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let (mut declared, faults) = self.declared_by(repository, base).await?;
        declared.extend(self.declared_by(repository, commit).await?.0);
        // One with an odd entry was named for that.
        let is_named = |path: &String| {
            declared.iter().any(|one| one.path == *path)
                || faults.iter().any(|fault| fault.starts_with(&format!("{}: ", errors::plain(path))))
        };
        let unknown = links.into_iter().filter(|path| !is_named(path)).take(limits::NAMED_LEFT);
        Ok(unknown
            .map(|path| warning("", &format!("{}: {FILE} has no entry for it", errors::plain(&path))))
            .collect())
    }

    pub(crate) async fn superproject(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        commit: &CommitId,
        tree: &Path,
    ) -> Result<Superproject, GitError> {
        let mut addresses = vec![repository.clone()];
        let mut clones = None;
        // Most repositories have no submodules, and nothing more is asked for their sake; the file is remembered.
        let declares = self.read_file_now(repository, base, FILE, MOST + 1).await?.is_some();
        if let Some(path) = repository.local_path().filter(|_| declares) {
            let path = local_form(Path::new(path));
            let inner = path.join(".git");
            let git_dir = if inner.is_dir() { inner } else { path };
            clones = Some(git_dir.join("modules"));
            // A clone's submodules are relative to where it came from.
            let call = self.git.local(&git_dir).args(["config", "--get", "remote.origin.url"]);
            let origin = call.run(Input::Nothing, limits::URL_BYTES).await?;
            addresses.splice(0..0, origin.text().trim().parse().ok());
        }
        Ok(Superproject {
            repository: repository.clone(),
            addresses,
            clones,
            base: base.clone(),
            commit: commit.clone(),
            tree: tree.to_owned(),
            git_dir: tree.join(".git"),
            prefix: String::new(),
            depth: 0,
        })
    }

    /// Lists the submodules of a checkout, and in words what is wrong with the others.
    pub(crate) async fn wanted(
        &self,
        project: &Superproject,
    ) -> Result<(Vec<Wanted>, Vec<String>), GitError> {
        let dir = self.layout.bare_repository(&project.repository);
        let (mut declared, mut faults) = self.declared_by(&project.repository, &project.base).await?;
        let of_base = self.pins(&dir, &project.base, &declared).await?;
        if project.base != project.commit && !declared.is_empty() {
            // Where one was moved the commit says, where it comes from the base alone.
            let (moved, _) = self.declared_by(&project.repository, &project.commit).await?;
            let paths: BTreeMap<String, String> = moved.into_iter().map(|one| (one.name, one.path)).collect();
            let pins = self.pins(&dir, &project.commit, &declared).await?;
            for one in declared.iter_mut().filter(|one| !pins.contains_key(&one.path)) {
                one.path = paths.get(&one.name).cloned().unwrap_or(std::mem::take(&mut one.path));
            }
        }
        let pins = self.pins(&dir, &project.commit, &declared).await?;
        let mut wanted = Vec::new();
        for declared in declared {
            let Some(pin) = pins.get(&declared.path).cloned() else { continue };
            if declared.never {
                faults.push(format!("{}: {FILE} says update = none", declared.path));
                continue;
            }
            let of_base = of_base.values().any(|of_base| *of_base == pin);
            wanted.push(Wanted { declared, pin, of_base });
        }
        Ok((wanted, faults))
    }

    /// Reads what a commit declares, and in words what is wrong with it.
    pub(crate) async fn declared_by(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
    ) -> Result<(Vec<Declared>, Vec<String>), GitError> {
        let file = self.read_file_now(repository, commit, FILE, MOST + 1).await?;
        let Some(file) = file else { return Ok((Vec::new(), Vec::new())) };
        if file.len() > MOST {
            return Ok((Vec::new(), vec![format!("{FILE} is larger than {MOST} bytes")]));
        }
        let args = ["config", "--no-includes", "-z", "--file", "-", "--get-regexp", r"^submodule\."];
        let call = self.git.local(&self.layout.bare_repository(repository)).args(args);
        let read = call.run(Input::Bytes(file), limits::LISTING_BYTES).await?;
        if !matches!(read.code(), Some(0 | 1)) {
            return Ok((Vec::new(), vec![format!("{FILE} cannot be read: {}", read.stderr.trim())]));
        }
        Ok(gitmodules::declared(&read.stdout))
    }

    /// Returns the commits that a commit pins at these paths.
    pub(crate) async fn pins(
        &self,
        dir: &Path,
        commit: &CommitId,
        declared: &[Declared],
    ) -> Result<BTreeMap<String, CommitId>, GitError> {
        if declared.is_empty() {
            return Ok(BTreeMap::new());
        }
        let call = self.git.local(dir).args(["ls-tree", "-z", "--full-tree", commit.as_str(), "--"]);
        let call = call.args(declared.iter().map(|one| &one.path));
        let done = call.run(Input::Nothing, limits::LISTING_BYTES).await?;
        let done = done.success("listing the submodules of a commit")?;
        Ok(done.stdout.split(|b| *b == 0).filter_map(pin).collect())
    }

    /// Lists where a submodule can be had: the operator's own clone of it first, which needs no network. Errors when policy
    /// allows none.
    pub(crate) fn sources(
        &self,
        project: &Superproject,
        declared: &Declared,
    ) -> Result<Vec<RepositoryUrl>, GitError> {
        let mut sources: Vec<RepositoryUrl> = Vec::new();
        let clone = project.clones.as_ref().map(|clones| clones.join(&declared.name));
        if let Some(clone) = clone.filter(|clone| clone.join("HEAD").is_file()) {
            sources.extend(clone.to_string_lossy().parse::<RepositoryUrl>());
        }
        let mut refused = None;
        for base in &project.addresses {
            let found = gitmodules::address(base, &declared.url).map_err(Refused::from);
            let found = found.and_then(|url| Ok(self.allows(&url).map(|()| url)?));
            match found {
                Ok(url) if !sources.contains(&url) => sources.push(url),
                Ok(_) => {}
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if sources.is_empty() => Err(GitError::refused(FailureKind::BadInput, why.to_string())),
            _ => Ok(sources),
        }
    }

    /// Makes sure that the bare repository of a submodule has its commit.
    pub(crate) async fn bring_pin(&self, url: &RepositoryUrl, one: &Wanted) -> Result<(), GitError> {
        let (dir, pin) = (self.layout.bare_repository(url), &one.pin);
        let name = format!("refs/mosaic/pinned/{pin}");
        if ref_files::read_ref(&dir, &name).is_some() {
            return Ok(());
        }
        bare_repository::ensure(&dir, bare_repository::is_sha256(pin))
            .map_err(|e| errors::io("making a bare repository", e))?;
        if one.of_base {
            let lock = self.repository_lock(&dir);
            let _alone = lock.lock().await;
            let view = self.view(&dir).map_err(|e| errors::io("fetching a submodule", e))?;
            let done = self.fetch_refspec(url, &dir, &view, pin.as_str(), Tags::None).await?;
            if done.status.success() {
                return self.keep_pin(&dir, &name, pin).await;
            }
        }
        // Some servers hand out tips only; and what the base does not pin must stand on one.
        if !self.publishes(url, pin).await? {
            let why = format!("no branch or tag of {} has its commit {pin}", errors::plain(url.as_str()));
            return Err(GitError::refused(FailureKind::MissingRepository, why));
        }
        self.keep_pin(&dir, &name, pin).await
    }

    pub(crate) async fn keep_pin(&self, dir: &Path, name: &str, pin: &CommitId) -> Result<(), GitError> {
        self.write_ref(dir, name, pin).await.map_err(|e| errors::io("keeping a submodule's commit", e))
    }

    /// Tells whether a branch or tag of a remote has a commit. Asks the remote.
    pub(crate) async fn publishes(&self, url: &RepositoryUrl, commit: &CommitId) -> Result<bool, GitError> {
        let dir = self.layout.bare_repository(url);
        bare_repository::ensure(&dir, bare_repository::is_sha256(commit))
            .map_err(|e| errors::io("making a bare repository", e))?;
        let lock = self.repository_lock(&dir);
        let _alone = lock.lock().await;
        let copies = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:{PUBLISHED}/{kind}/*"));
        let call = self.git.network(&dir, url)?.args([
            "fetch",
            "--quiet",
            "--no-tags",
            "--prune",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--end-of-options",
            url.as_str(),
        ]);
        let done = call.args(&copies).run(Input::Nothing, limits::ERROR_BYTES).await?;
        if !done.status.success() {
            return Err(errors::remote("fetching a submodule", url, done.status, &done.stderr));
        }
        let call = self.git.local(&dir).args([
            "for-each-ref",
            "--count=1",
            &format!("--contains={commit}"),
            PUBLISHED,
        ]);
        // A commit that is not there at all is an error of git's.
        let done = call.run(Input::Nothing, limits::ERROR_BYTES).await?;
        Ok(done.status.success() && !done.stdout.is_empty())
    }
}

/// Reads the path and the commit of a submodule in a listing of `ls-tree`.
fn pin(entry: &[u8]) -> Option<(String, CommitId)> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let object = std::str::from_utf8(&entry[..tab]).ok()?.strip_prefix("160000 commit ")?;
    Some((String::from_utf8_lossy(&entry[tab + 1..]).into_owned(), object.parse().ok()?))
}

pub(crate) fn warning(prefix: &str, fault: &str) -> String {
    format!("submodule {prefix}{fault}; it stays empty for the agent and its gates")
}
