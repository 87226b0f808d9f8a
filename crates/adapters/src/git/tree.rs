//! An agent's tree: a clone made by hand that shares the store's objects and has a git directory of its own. One git
//! process writes the files, before the agent has ever touched the tree; afterwards no git of ours runs in it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_core::ports::repositories::{TreeRequest, Worktree};
use serde::{Deserialize, Serialize};

use crate::bounded_file;
use crate::private_place::read_plain;

use super::command::Input;
use super::confined::{GITLINK, parse_index};
use super::credentials::shell_quote;
use super::submodules::For;
use super::{GitRepositories, errors, locks, store};

/// Beginning of the names of trees whose work could not be received.
const SET_ASIDE: &str = "unreceived-";
/// Says that a tree holds something that could not be received, though its HEAD was.
const NOT_KEPT: &str = "tree-not-kept";

/// Tells whether an entry of an agent's directory is about a tree that was set aside.
pub(super) fn is_of_set_aside(name: &std::ffi::OsStr) -> bool {
    name == NOT_KEPT || name.to_string_lossy().starts_with(SET_ASIDE)
}

/// The origin of the tree; written last, so that its presence means that the tree is whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    repository: String,
    base_branch: String,
    branch: String,
    base: String,
    /// The number of the tree's directory.
    #[serde(default)]
    inode: Option<u64>,
}

impl Marker {
    fn of(request: &TreeRequest) -> Self {
        Self {
            repository: request.repository.to_string(),
            base_branch: request.base_branch.to_string(),
            branch: request.branch.to_string(),
            base: request.base.to_string(),
            inode: None,
        }
    }
}

impl GitRepositories {
    pub(super) async fn make_tree_now(&self, request: &TreeRequest) -> Result<Worktree, Failure> {
        self.ready().await;
        let path = self.layout.tree(request.agent);
        if request.reuse && self.is_whole(request) {
            locks::clear_dead(&path).map_err(|e| errors::io("clearing git's stale locks in the tree", &e))?;
            self.advance(request).await?;
            return Ok(Worktree { agent: request.agent, path, reused: true, warnings: Vec::new() });
        }
        // While its marker is still there: without one it would be taken for a tree that was never whole.
        let spared = match request.unreceived {
            true => self.set_aside(request.agent),
            false => self.spare(request.agent),
        };
        spared.map_err(|e| errors::io("setting the old tree aside", &e))?;
        let marker = self.layout.marker(request.agent);
        match fs::remove_file(&marker) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(errors::io("taking the old tree's marker away", &e));
            }
            _ => {}
        }
        self.trash.discard(&path).map_err(|e| errors::io("taking the old tree away", &e))?;
        let git_dir = path.join(".git");
        let shared = self.layout.store(&request.repository);
        write_git_dir(&git_dir, &shared, request, &self.author_config())
            .map_err(|e| errors::io("making the agent's tree", &e))?;
        let call = self.git.local(&git_dir).work_tree(&path, None);
        let done =
            call.args(["read-tree", "--reset", "-u", request.start.as_str()]).run(Input::Nothing, 0).await?;
        done.success("writing the agent's tree")?;
        let index = bounded_file::read(&git_dir.join("index"), limits::GIT_FILE_BYTES);
        let links = index.as_ref().map_or_else(|_| Vec::new(), |index| links_of(index, &request.start));
        let index = index.map(|index| [format!("{}\n", request.start).as_bytes(), &index].concat());
        index
            .and_then(|index| store::write_atomic(&self.layout.checked_out(request.agent), &index))
            .map_err(|e| errors::io("noting what the agent's tree was made from", &e))?;
        let commits = (&request.base, &request.start);
        let mut warnings = self.fill_submodules(&request.repository, commits, &path, For::Agent).await?;
        warnings.extend(self.undeclared(&request.repository, commits, links).await?);
        let inode = inode(&path);
        let text = serde_json::to_vec(&Marker { inode, ..Marker::of(request) });
        let text = text.expect("strings and a number are always JSON");
        store::write_atomic(&marker, &text).map_err(|e| errors::io("writing the tree's marker", &e))?;
        Ok(Worktree { agent: request.agent, path, reused: false, warnings })
    }

    /// Returns the settings of a git directory that say who commits.
    pub(super) fn author_config(&self) -> String {
        let (name, email) = (config_value(&self.author.0), config_value(&self.author.1));
        format!("[user]\n\tname = {name}\n\temail = {email}\n[commit]\n\tgpgSign = false\n")
    }

    /// Keeps a tree whose work nobody received out of the way of the next one.
    fn set_aside(&self, agent: AgentId) -> io::Result<()> {
        let tree = self.layout.tree(agent);
        if fs::symlink_metadata(&tree).is_err() {
            return self.mark_tree(agent, true);
        }
        let name = format!("{SET_ASIDE}{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        tracing::warn!(agent.id = %agent, name, "a tree with work that could not be received is set aside");
        fs::rename(tree, self.layout.agent(agent).join(name))?;
        self.mark_tree(agent, true)
    }

    /// Writes down whether everything in the tree is kept; else it must not go, although its HEAD was received.
    pub(super) fn mark_tree(&self, agent: AgentId, kept: bool) -> io::Result<()> {
        let mark = self.layout.agent(agent).join(NOT_KEPT);
        if !kept {
            return store::write_atomic(&mark, b"");
        }
        match fs::remove_file(mark) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Sets a tree aside that must not go; every other is left where it is.
    pub(super) fn spare(&self, agent: AgentId) -> io::Result<()> {
        match self.layout.agent(agent).join(NOT_KEPT).exists() {
            true => self.set_aside(agent),
            false => Ok(()),
        }
    }

    /// Lists trees of the agent that were set aside.
    pub(super) fn set_aside_trees(&self, agent: AgentId) -> Vec<String> {
        let entries = fs::read_dir(self.layout.agent(agent)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(SET_ASIDE)).collect()
    }

    fn is_whole(&self, request: &TreeRequest) -> bool {
        let is_dir = |p: &Path| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir());
        let is_file = |p: &Path| fs::symlink_metadata(p).is_ok_and(|m| m.is_file());
        let tree = self.layout.tree(request.agent);
        let Some(marker) = self.read_marker(request.agent) else { return false };
        let inode = marker.inode;
        (Marker { inode: None, ..marker }) == Marker::of(request)
            && is_dir(&tree)
            && (inode.is_none() || inode == self::inode(&tree))
            && is_dir(&tree.join(".git"))
            && is_file(&tree.join(".git/HEAD"))
    }

    fn read_marker(&self, agent: AgentId) -> Option<Marker> {
        let marker = read_plain(&self.layout.marker(agent), limits::MARKER_BYTES).ok()?;
        serde_json::from_slice(&marker).ok()
    }

    /// Returns the number of the directory that was made as the agent's tree, when it was noted.
    pub(super) fn tree_inode(&self, agent: AgentId) -> Option<u64> {
        self.read_marker(agent)?.inode
    }

    /// Checks that the agent's tree is one that was made here.
    pub(super) fn has_tree(&self, request: &TreeRequest) -> Result<(), Failure> {
        if self.layout.marker(request.agent).is_file() {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Internal, "the agent has no working tree to harvest"))
    }
}

/// Lists the paths of an index at which another repository is pinned.
fn links_of(index: &[u8], commit: &CommitId) -> Vec<String> {
    let entries = parse_index(index, store::is_sha256(commit)).unwrap_or_default();
    let links = entries.into_iter().filter(|entry| entry.mode == GITLINK);
    links.map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

/// Returns the number of a directory, of a link its own.
fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}

fn write_git_dir(git_dir: &Path, shared: &Path, request: &TreeRequest, author: &str) -> io::Result<()> {
    let base = &request.base_branch;
    let config = format!(
        "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n{author}[remote \"origin\"]\n\turl = {}\n\tfetch = {}\n\tpushurl = disabled://mosaic-pushes-the-judged-commit-itself\n\ttagOpt = --no-tags\n",
        config_value(&shared.to_string_lossy()),
        config_value(&format!("+refs/heads/{base}:refs/remotes/origin/{base}")),
    );
    store::skeleton(git_dir, false, store::is_sha256(&request.base), &config)?;
    store::share_objects(git_dir, &[&shared.join("objects")])?;
    // Packed, because one file is made much faster than two deep paths of directories. The names are in order.
    let packed = format!(
        "# pack-refs with: peeled fully-peeled sorted \n{} refs/heads/{}\n{} refs/remotes/origin/{base}\n",
        request.start, request.branch, request.base
    );
    fs::write(git_dir.join("packed-refs"), packed)?;
    fs::write(git_dir.join("HEAD"), format!("ref: refs/heads/{}\n", request.branch))?;
    fs::create_dir(git_dir.join("hooks"))?;
    let hook = git_dir.join("hooks/commit-msg");
    fs::write(&hook, commit_msg_hook(request))?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))
}

fn commit_msg_hook(request: &TreeRequest) -> String {
    let [task, agent] = trailers(&request.task, &request.agent.to_string()).map(|t| shell_quote(&t));
    format!(
        "#!/bin/sh\n# Says which task and agent a commit belongs to.\n\
         exec git interpret-trailers --in-place --if-exists doNothing --trailer {task} --trailer {agent} \"$1\"\n"
    )
}

/// The two trailers that every commit of an agent carries, each on one line whatever the task is called.
pub(super) fn trailers(task: &str, agent: &str) -> [String; 2] {
    let task: String = task.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    [format!("Mosaic-Task: {}", task.trim()), format!("Mosaic-Agent: {agent}")]
}

/// Quotes a value for a git configuration file, on one line.
pub(crate) fn config_value(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {}
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_on_their_line() {
        assert_eq!(config_value("a\"]\n[core]\r\\"), "\"a\\\"]\\n[core]\\\\\"");
        let [task, agent] = trailers("x\nMosaic-Agent: other", "me");
        assert_eq!(task, "Mosaic-Task: x Mosaic-Agent: other");
        assert_eq!(agent, "Mosaic-Agent: me");
    }
}
