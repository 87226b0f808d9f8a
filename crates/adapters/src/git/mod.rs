//! The git program behind the repositories port: stores, trees, bundles, judging checkouts, pushes. What always
//! holds: no git of ours runs on a tree that an agent has had; only [`harvest_main`] does, inside the agent's own
//! confinement, and what it hands over is taken as hostile (see `receive`).
//!
//! In the order of a task's life: `fetch` asks the remote, `tree` makes the agent's clone, `harvest` (with `walker`
//! as its last resort) commits and bundles, or `salvage` bundles the tree as it is for `restore`, `receive` takes the bundle in, `additions` and `read` show what is in it,
//! `judge` checks it out and tries the merge, `push` publishes it, the trash takes the tree away. `command` makes
//! every git process of the server, `credentials` and `errors` serve it.

mod additions;
mod advance;
mod ask;
mod attributes;
mod command;
mod confined;
mod credentials;
mod diff;
mod environment;
mod errors;
mod fetch;
mod filters;
mod fuse;
mod gitmodules;
mod grep;
mod harvest;
mod heal;
mod holders;
mod judge;
mod keeping;
mod left_beside;
mod locks;
mod loose_refs;
mod memory;
mod new_entries;
mod old_objects;
mod operator_attributes;
mod pack_refs;
mod push;
mod read;
mod receive;
mod remote_tips;
mod repack;
mod resolve;
mod restore;
mod restore_files;
mod salvage;
mod salvage_files;
mod salvage_former;
mod salvage_index;
mod salvage_state;
mod salvage_tips;
mod store;
mod stray;
mod submodules;
mod tree;
mod view;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::gates::FilteredPath;
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::kept_work::KeptRef;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::domain::repository::{RepositoryUrl, Transport};
use mosaic_core::limits;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{
    Added, DiffForm, FileStat, FilterUse, Fit, HarvestJob, JudgingCheckout, JudgingRequest, KeptRefs, Pushed,
    Received, RemoteState, Repositories, RestoreRequest, Restored, StoreName, StrayTree, TreeRequest,
    UnmergedCommit, Worktree,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::git_identity::Identity;
use crate::trash::Trash;

pub use self::credentials::Credentials;
pub use self::environment::{chooses_repository, forget_repository};
pub use self::fuse::{FUSE, fuse_main};
pub use self::harvest::harvest_main;
pub use self::left_beside::holds_work;
pub(crate) use self::tree::config_value;

/// Author of agents' commits when the operator named none.
const AUTHOR: (&str, &str) = ("Mosaic Agent", "agent@mosaic.invalid");
/// Remembered facts about ancestry; when they are more, they are simply asked of git again.
const REMEMBERED: usize = 4096;

/// Options of the git adapter.
#[derive(Debug, Clone)]
pub struct GitOptions {
    /// The state directory; stores, trees and trash lie below it, on one file system.
    pub data_dir: PathBuf,
    /// This program, for the harvest inside the agent's confinement.
    pub self_exe: PathBuf,
    /// Allow local paths and http on loopback.
    pub allow_local: bool,
    /// Check submodules out.
    pub submodules: bool,
    /// Local repositories allowed even so: the one in which `mosaic run` was typed.
    pub allowed_local_paths: Vec<PathBuf>,
    /// Attribute files of this machine and of the operator's account, the weaker first; they need not be there.
    pub attribute_files: Vec<PathBuf>,
    /// Name of the author of agents' commits.
    pub author_name: Option<String>,
    /// Email of the author of agents' commits.
    pub author_email: Option<String>,
    /// Credentials for remotes.
    pub credentials: Credentials,
    /// Further environment of calls to remotes: proxies, certificate files.
    pub network_env: Vec<(String, String)>,
    /// The ssh program.
    pub ssh_program: String,
    /// The trash of the data directory, when others use it too.
    pub trash: Option<Arc<Trash>>,
    /// Deadline of one call to a remote.
    pub network_deadline: Duration,
    /// Deadline of one local call.
    pub local_deadline: Duration,
}

impl GitOptions {
    /// Returns the options with everything at its default.
    pub fn new(data_dir: impl Into<PathBuf>, self_exe: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            self_exe: self_exe.into(),
            allow_local: false,
            submodules: true,
            allowed_local_paths: Vec::new(),
            attribute_files: Vec::new(),
            author_name: None,
            author_email: None,
            credentials: Credentials::default(),
            network_env: Vec::new(),
            ssh_program: "ssh".to_owned(),
            trash: None,
            network_deadline: limits::GIT_NETWORK,
            local_deadline: limits::GIT_LOCAL,
        }
    }
}

impl GitOptions {
    /// Returns the author of agents' commits.
    pub fn identity(&self) -> Identity {
        Identity {
            name: self.author_name.clone().unwrap_or_else(|| AUTHOR.0.to_owned()),
            email: self.author_email.clone().unwrap_or_else(|| AUTHOR.1.to_owned()),
        }
    }
}

type StoreLock = Arc<tokio::sync::Mutex<HashMap<String, fetch::LastFetch>>>;

/// Repositories by the git program.
pub struct GitRepositories {
    layout: store::Layout,
    git: command::GitProgram,
    trash: Arc<Trash>,
    self_exe: PathBuf,
    author: (String, String),
    allow_local: bool,
    submodules: bool,
    allowed_local_paths: Vec<PathBuf>,
    attribute_sources: Vec<PathBuf>,
    locks: Mutex<HashMap<PathBuf, StoreLock>>,
    listings: memory::Memory<Vec<String>>,
    contents: memory::Memory<Option<Vec<u8>>>,
    /// Object and path of every `.gitattributes` of a commit.
    attribute_files: memory::Memory<Vec<(String, Vec<u8>)>>,
    /// Commits of which some tree has a name twice.
    duplicates: memory::Memory<bool>,
    /// Held while a ref is written into a file of a bare repository, or such files are packed.
    ref_files: Mutex<()>,
    /// Set once the processes and locks that earlier servers left were looked after.
    looked_after: tokio::sync::OnceCell<()>,
    /// Which base a received head is known to descend from.
    descents: Mutex<HashMap<CommitId, CommitId>>,
}

impl GitRepositories {
    /// Makes the adapter and the directories it needs; starts nothing.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub fn new(options: GitOptions) -> std::io::Result<Self> {
        store::private_dir(&options.data_dir)?;
        // git needs absolute paths, and the agents' alternates outlive this process's working directory.
        let options = GitOptions { data_dir: options.data_dir.canonicalize()?, ..options };
        let layout = store::Layout { data: options.data_dir.clone() };
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
            locks: Mutex::default(),
            listings: memory::Memory::new(),
            contents: memory::Memory::new(),
            attribute_files: memory::Memory::new(),
            duplicates: memory::Memory::new(),
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

    /// Returns once everything that was taken away is deleted. For shutdown and benchmarks.
    pub async fn idle(&self) {
        self.trash.idle().await;
    }

    fn allow(&self, url: &RepositoryUrl) -> Result<(), Failure> {
        self.allowed(url).map_err(|why| Failure::new(FailureKind::BadInput, why))
    }

    fn store_lock(&self, store: &Path) -> StoreLock {
        let mut locks = self.locks.lock();
        Arc::clone(locks.entry(store.to_owned()).or_default())
    }

    fn remember_descent(&self, head: &CommitId, base: &CommitId) {
        let mut descents = self.descents.lock();
        if descents.len() >= REMEMBERED {
            descents.clear();
        }
        descents.insert(head.clone(), base.clone());
    }

    fn descends(&self, head: &CommitId, base: &CommitId) -> bool {
        self.descents.lock().get(head) == Some(base)
    }
}

/// The path of a local repository in one form, so that `x`, `x/` and `x/.git` are the same.
fn local_form(path: &Path) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match path.file_name() {
        Some(name) if name == ".git" => path.parent().unwrap_or(&path).to_owned(),
        _ => path,
    }
}

#[async_trait]
impl Repositories for GitRepositories {
    fn allowed(&self, repository: &RepositoryUrl) -> Result<(), String> {
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
        Err(format!(
            "{what} are not allowed as repositories; set MOSAIC_ALLOW_LOCAL_REPOSITORIES=true to allow them"
        ))
    }

    async fn fetch(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        own: &BranchName,
    ) -> Result<RemoteState, Failure> {
        self.fetch_now(repository, base, Some(own)).await
    }

    async fn make_tree(&self, request: &TreeRequest) -> Result<Worktree, Failure> {
        self.make_tree_now(request).await
    }

    async fn harvest(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.prepare_harvest(request, harvest::Purpose::Commit).await
    }

    async fn receive(&self, request: &TreeRequest, outbox: &Path) -> Result<Received, Failure> {
        self.receive_now(request, outbox).await
    }

    async fn snapshot(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.prepare_harvest(request, harvest::Purpose::Snapshot).await
    }

    async fn receive_snapshot(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<CommitId>, Failure> {
        self.receive_snapshot_now(request, outbox).await
    }

    async fn has_tree(&self, agent: AgentId) -> Result<bool, Failure> {
        let is_dir = std::fs::symlink_metadata(self.layout.tree(agent)).is_ok_and(|meta| meta.is_dir());
        Ok(is_dir && self.layout.marker(agent).is_file())
    }

    async fn salvage(&self, request: &TreeRequest) -> Result<HarvestJob, Failure> {
        self.prepare_harvest(request, harvest::Purpose::Salvage).await
    }

    async fn receive_salvage(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<Salvaged>, Failure> {
        self.receive_salvage_now(request, outbox).await
    }

    async fn salvaged(
        &self,
        repository: &RepositoryUrl,
        agent: AgentId,
    ) -> Result<Option<Salvaged>, Failure> {
        let reference = receive::reference(agent);
        let commit = store::read_ref(&self.layout.store(repository), &reference);
        Ok(commit.map(|commit| Salvaged { reference, commit }))
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<Option<Restored>, Failure> {
        self.restore_now(request).await
    }

    async fn files_with(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        lines: &[String],
    ) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        self.files_with_now(repository, commit, lines).await
    }

    async fn additions(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        into: mpsc::Sender<Added>,
    ) -> Result<(), Failure> {
        self.additions_now(repository, base, head, into).await
    }

    async fn fit(
        &self,
        repository: &RepositoryUrl,
        base: &BranchName,
        head: &CommitId,
    ) -> Result<Fit, Failure> {
        self.fit_now(repository, base, head).await
    }

    async fn checkout_for_judging(&self, request: &JudgingRequest) -> Result<JudgingCheckout, Failure> {
        self.checkout_now(request).await
    }

    async fn push(
        &self,
        repository: &RepositoryUrl,
        head: &CommitId,
        branch: &BranchName,
        expected: Option<&CommitId>,
        hold: &Hold,
    ) -> Result<Pushed, Failure> {
        self.push_now(repository, head, branch, expected, hold).await
    }

    async fn filtered(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FilteredPath>, Failure> {
        self.filtered_now(repository, base, head).await
    }

    async fn filters(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
    ) -> Result<Vec<FilterUse>, Failure> {
        self.filters_now(repository, commit).await
    }

    async fn shown(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        base: &BranchName,
        commits: &[CommitId],
    ) -> Result<Option<CommitId>, Failure> {
        self.shown_now(repository, branch, base, commits).await
    }

    async fn keep_remote_tip(
        &self,
        repository: &RepositoryUrl,
        branch: &BranchName,
        tip: &CommitId,
        agent: AgentId,
    ) -> Result<KeptRef, Failure> {
        self.keep_remote_tip_now(repository, branch, tip, agent).await
    }

    async fn read_file(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        self.read_file_now(repository, commit, path, most).await
    }

    async fn list_files(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        below: &str,
    ) -> Result<Vec<String>, Failure> {
        self.list_files_now(repository, commit, below).await
    }

    async fn export(
        &self,
        repository: &RepositoryUrl,
        commit: &CommitId,
        directory: &str,
        into: &Path,
    ) -> Result<(), Failure> {
        self.export_now(repository, commit, directory, into).await
    }

    async fn diff(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
        form: DiffForm,
        most: usize,
    ) -> Result<(Vec<u8>, bool), Failure> {
        self.diff_now(repository, base, head, form, most).await
    }

    async fn stat(
        &self,
        repository: &RepositoryUrl,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<FileStat>, Failure> {
        self.stat_now(repository, base, head).await
    }

    async fn remove(&self, agent: AgentId) -> Result<(), Failure> {
        let ours = |name: &str| {
            name == "tree"
                || name == "tree.json"
                || name.starts_with("tree.index")
                || name.starts_with("harvest-")
                || name.starts_with("snapshot-")
                || name.starts_with("judge-")
        };
        self.spare(agent).map_err(|e| errors::io("setting the agent's tree aside", &e))?;
        self.keep_repositories(agent)
            .map_err(|e| errors::io("keeping the repositories in the agent's tree", &e))?;
        self.trash
            .discard_in(&self.layout.agent(agent), ours)
            .map_err(|e| errors::io("taking the agent's trees away", &e))?;
        let aside = self.set_aside_trees(agent);
        if aside.is_empty() {
            return Ok(());
        }
        let names = aside.join(", ");
        let why = format!(
            "work that could not be received is in agents/{agent}/: {names}; look at it, then remove it by hand"
        );
        Err(Failure::new(FailureKind::Internal, why))
    }

    async fn abandon(&self, agent: AgentId) -> Result<u64, Failure> {
        let aside = self.set_aside_trees(agent);
        let given_up = |name: &str| {
            aside.iter().any(|one| one == name)
                || tree::is_of_set_aside(name.as_ref())
                || name == left_beside::REPOSITORIES
        };
        let failed = |e: std::io::Error| errors::io("taking the agent's set-aside trees away", &e);
        self.trash.discard_in(&self.layout.agent(agent), given_up).map_err(failed)?;
        self.remove(agent).await?;
        self.discard_beside(agent).map_err(failed)
    }

    async fn keep_beside(&self, agent: AgentId) -> Result<Vec<String>, Failure> {
        self.keep_beside_now(agent).map_err(|e| errors::io("keeping what lies beside the agent's tree", &e))
    }

    async fn beside_bytes(&self, agent: AgentId) -> Result<u64, Failure> {
        Ok(self.beside_bytes_now(agent))
    }

    async fn kept_beside(&self) -> Result<Vec<AgentId>, Failure> {
        Ok(self.kept_beside())
    }

    fn store_of(&self, repository: &RepositoryUrl) -> StoreName {
        self.name_of(repository)
    }

    async fn present(&self) -> Result<Vec<AgentId>, Failure> {
        self.present_now().map_err(|e| errors::io("listing the directories of agents", &e))
    }

    async fn stray_tree(&self, agent: AgentId) -> Result<StrayTree, Failure> {
        self.stray_tree_now(agent).map_err(|e| errors::io("looking at a tree without a record", &e))
    }

    async fn kept_refs(&self) -> Result<Vec<KeptRefs>, Failure> {
        self.ready().await;
        self.kept_refs_now().map_err(|e| errors::io("listing what is kept of agents", &e))
    }

    async fn refs_of(&self, store: &StoreName, agent: AgentId, most: usize) -> Result<Vec<KeptRef>, Failure> {
        self.refs_of_now(store, agent, most).await
    }

    async fn unmerged(
        &self,
        store: &StoreName,
        agent: AgentId,
        safe: &[CommitId],
        most: usize,
    ) -> Result<Vec<UnmergedCommit>, Failure> {
        self.unmerged_now(store, agent, safe, most).await
    }

    async fn forget(&self, store: &StoreName, agent: AgentId) -> Result<(), Failure> {
        self.forget_now(store, agent).await
    }

    async fn tidy(&self, running: &[RepositoryUrl]) -> Result<Option<StoreName>, Failure> {
        self.tidy_now(running).await
    }
}
