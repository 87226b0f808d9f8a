//! The adapter itself: its parts, and what they share. The methods stand beside what they do, in `tree`, `cache` and `port`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::repository::{RepositoryUrl, Transport};
use mosaic_core::ports::repositories::NotAllowed;
use parking_lot::Mutex;

use super::cache::commit_cache::CommitCache;
use super::cache::last_fetch::RepositoryLock;
use super::cache::prefix_looks::{PrefixLook, PrefixOf};
use super::errors::GitError;
use super::layout::Layout;
use super::local_path::local_form;
use super::options::GitOptions;
use super::{command, private_files};
use crate::git_identity::Identity;
use crate::trash::Trash;

/// Remembered facts about ancestry; when they are more, they are simply asked of git again.
pub(super) const REMEMBERED: usize = 4096;

/// Repositories by the git program.
pub struct GitRepositories {
    pub(super) layout: Layout,
    pub(super) git: command::GitProgram,
    pub(super) trash: Arc<Trash>,
    pub(super) self_exe: PathBuf,
    pub(super) author: (String, String),
    pub(super) allow_local: bool,
    pub(super) submodules: bool,
    pub(super) allowed_local_paths: Vec<PathBuf>,
    pub(super) attribute_sources: Vec<PathBuf>,
    /// Attribute files of the operator that could not be read and were named in the log.
    pub(super) unreadable_attributes: Mutex<BTreeSet<PathBuf>>,
    pub(super) locks: Mutex<HashMap<PathBuf, RepositoryLock>>,
    pub(super) listings: CommitCache<Vec<String>>,
    pub(super) contents: CommitCache<Option<Vec<u8>>>,
    /// Object and path of every `.gitattributes` of a commit.
    pub(super) attribute_files: CommitCache<Vec<(String, Vec<u8>)>>,
    /// Commits of which some tree has a name twice.
    pub(super) duplicates: CommitCache<bool>,
    /// Tags that a commit descends from, as lines of packed refs.
    pub(super) tag_lists: CommitCache<String>,
    /// When tags of a remote were last looked for, by its bare repository.
    pub(super) tag_looks: Mutex<HashMap<PathBuf, Instant>>,
    /// When a remote was last seen to have no branch in the way of a prefix.
    pub(super) free_prefixes: Mutex<HashMap<PrefixOf, PrefixLook>>,
    /// Held while a ref is written into a file of a bare repository, or such files are packed; by its directory.
    pub(super) ref_files: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    /// Set once the processes and locks that earlier servers left were looked after.
    pub(super) looked_after: tokio::sync::OnceCell<()>,
    /// Which base a received head is known to descend from.
    pub(super) descents: Mutex<HashMap<CommitId, CommitId>>,
}

impl GitRepositories {
    /// Makes the adapter and the directories it needs; starts nothing.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub fn new(options: GitOptions) -> std::io::Result<Self> {
        private_files::private_dir(&options.data_dir)?;
        // git needs absolute paths, and the agents' alternates outlive this process's working directory.
        let options = GitOptions { data_dir: options.data_dir.canonicalize()?, ..options };
        let layout = Layout { data: options.data_dir.clone() };
        let git = command::GitProgram::new(&options);
        git.prepare()?;
        let Identity { name, email } = options.identity();
        Ok(Self {
            trash: options.trash.unwrap_or_else(|| Arc::new(Trash::new(layout.data.clone()))),
            layout,
            git,
            self_exe: options.self_exe,
            author: (name, email),
            allow_local: options.allow_local,
            submodules: options.submodules,
            allowed_local_paths: options.allowed_local_paths,
            attribute_sources: options.attribute_files,
            unreadable_attributes: Mutex::default(),
            locks: Mutex::default(),
            listings: CommitCache::new(),
            contents: CommitCache::new(),
            attribute_files: CommitCache::new(),
            duplicates: CommitCache::new(),
            tag_lists: CommitCache::new(),
            tag_looks: Mutex::default(),
            free_prefixes: Mutex::default(),
            ref_files: Mutex::default(),
            looked_after: tokio::sync::OnceCell::new(),
            descents: Mutex::default(),
        })
    }

    /// Starts deleting what an earlier server left in the trash. For the start of the server.
    ///
    /// # Errors
    /// When the trash cannot be read.
    pub fn empty_trash(&self) -> std::io::Result<()> {
        self.trash.empty()
    }

    /// Returns once every deletion is done. For shutdown and benchmarks.
    pub async fn idle(&self) {
        self.trash.idle().await;
    }

    pub(super) fn allow(&self, url: &RepositoryUrl) -> Result<(), GitError> {
        self.allows(url).map_err(|e| GitError::refused(FailureKind::BadInput, e.0))
    }

    pub(super) fn repository_lock(&self, bare: &Path) -> RepositoryLock {
        let mut locks = self.locks.lock();
        Arc::clone(locks.entry(bare.to_owned()).or_default())
    }

    /// Returns the lock of the ref files of a bare repository. Another one than [`GitRepositories::repository_lock`], which
    /// whoever fetches holds while it writes the ref.
    pub(super) fn ref_lock(&self, bare: &Path) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.ref_files.lock().entry(bare.to_owned()).or_default())
    }

    pub(super) fn remember_descent(&self, head: &CommitId, base: &CommitId) {
        let mut descents = self.descents.lock();
        if descents.len() >= REMEMBERED {
            descents.clear();
        }
        descents.insert(head.clone(), base.clone());
    }

    pub(super) fn descends(&self, head: &CommitId, base: &CommitId) -> bool {
        self.descents.lock().get(head) == Some(base)
    }

    /// Tells whether policy allows this repository.
    pub(super) fn allows(&self, repository: &RepositoryUrl) -> Result<(), NotAllowed> {
        if !repository.needs_local_permission() || self.allow_local {
            return Ok(());
        }
        if let Some(path) = repository.local_path() {
            let path = local_form(Path::new(path));
            if self.allowed_local_paths.iter().any(|allowed| local_form(allowed) == path) {
                return Ok(());
            }
        }
        let what = match repository.transport() {
            Transport::Local => "local paths",
            Transport::LoopbackHttp => "http addresses",
            Transport::Https | Transport::Ssh => "addresses of this machine and of its link",
        };
        Err(NotAllowed(format!(
            "{what} are not allowed as repositories; set MOSAIC_ALLOW_LOCAL_REPOSITORIES=true to allow them"
        )))
    }
}
