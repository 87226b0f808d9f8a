//! An agent's tree: a clone made by hand that shares the bare repository's objects and has a git directory of its own. One git
//! process writes the files, before the agent has ever touched the tree; afterwards no git of ours runs in it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{TreeRequest, Worktree};

use super::marker::{self, Marker};
use crate::bounded_file;
use crate::git::command::Input;
use crate::git::config_text::config_value;
use crate::git::credentials::shell_quote;
use crate::git::errors::GitError;
use crate::git::index_file::{self, GITLINK};
use crate::git::repositories::GitRepositories;
use crate::git::tree::submodules::For;
use crate::git::{bare_repository, errors, locks, private_files};

impl GitRepositories {
    pub(crate) async fn make_tree_now(&self, request: &TreeRequest) -> Result<Worktree, GitError> {
        self.ready().await;
        let path = self.layout.tree(request.agent);
        if request.reuse && self.is_whole(request) {
            locks::clear_dead(&path).map_err(|e| errors::io("clearing git's stale locks in the tree", e))?;
            self.advance(request).await?;
            return Ok(Worktree { agent: request.agent, path, reused: true, warnings: Vec::new() });
        }
        // While its marker is still there: without one it would be taken for a tree that was never whole.
        let spared = match request.unreceived {
            true => self.set_aside(request.agent),
            false => self.spare(request.agent),
        };
        spared.map_err(|e| errors::io("setting the old tree aside", e))?;
        let marker = self.layout.marker(request.agent);
        // The marker goes before the tree: whoever finds a tree without one knows that it is not whole, in whichever step the
        // server died.
        match fs::remove_file(&marker) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(errors::io("taking the old tree's marker away", e));
            }
            _ => {}
        }
        self.trash.discard(&path).map_err(|e| errors::io("taking the old tree away", e))?;
        let git_dir = path.join(".git");
        let shared = self.layout.bare_repository(&request.repository);
        let tags = self.tags(&shared, &request.base).await;
        let mut written = write_git_dir(&git_dir, &shared, request, &self.author_config(), &tags);
        if !tags.is_empty() {
            let note = self.layout.given_tags(request.agent);
            written = written.and_then(|()| private_files::write_atomic(&note, tags.as_bytes()));
        }
        written.map_err(|e| errors::io("making the agent's tree", e))?;
        // `read-tree` and not `checkout` or `clone`: it runs no hook and writes the index and the files in one pass.
        let call = self.git.local(&git_dir).work_tree(&path, None);
        let done =
            call.args(["read-tree", "--reset", "-u", request.start.as_str()]).run(Input::Nothing, 0).await?;
        done.success("writing the agent's tree")?;
        // A copy of the index outside the tree, while it is certainly true: by it the harvest tells unchanged files without
        // reading them, and the agent's own index may say anything.
        let index = bounded_file::read(&git_dir.join("index"), limits::GIT_FILE_BYTES);
        let links = index.as_ref().map_or_else(|_| Vec::new(), |index| links_of(index, &request.start));
        let index = index.map(|index| [format!("{}\n", request.start).as_bytes(), &index].concat());
        index
            .and_then(|index| private_files::write_atomic(&self.layout.checked_out(request.agent), &index))
            .map_err(|e| errors::io("noting what the agent's tree was made from", e))?;
        let commits = (&request.base, &request.start);
        let mut warnings = self.fill_submodules(&request.repository, commits, &path, For::Agent).await?;
        warnings.extend(self.undeclared(&request.repository, commits, links).await?);
        warnings.extend(self.attribute_warnings(&request.repository).await?);
        let inode = marker::inode(&path);
        let text = serde_json::to_vec(&Marker { inode, ..Marker::of(request) });
        let text = text.expect("strings and a number are always JSON");
        private_files::write_atomic(&marker, &text)
            .map_err(|e| errors::io("writing the tree's marker", e))?;
        Ok(Worktree { agent: request.agent, path, reused: false, warnings })
    }

    /// Returns the settings of a git directory that say who commits.
    pub(crate) fn author_config(&self) -> String {
        let (name, email) = (config_value(&self.author.0), config_value(&self.author.1));
        format!("[user]\n\tname = {name}\n\temail = {email}\n[commit]\n\tgpgSign = false\n")
    }
}

/// Lists the paths of an index at which another repository is pinned.
fn links_of(index: &[u8], commit: &CommitId) -> Vec<String> {
    let entries = index_file::parse(index, bare_repository::is_sha256(commit)).unwrap_or_default();
    let links = entries.into_iter().filter(|entry| entry.mode == GITLINK);
    links.map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

fn write_git_dir(
    git_dir: &Path,
    shared: &Path,
    request: &TreeRequest,
    author: &str,
    tags: &str,
) -> io::Result<()> {
    let base = &request.base_branch;
    let config = format!(
        // Garbage collection would start behind any of the agent's commands and hold locks after that command has ended.
        // Nothing can be pushed from here: the server alone pushes, and only the judged commit.
        "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n{author}[remote \"origin\"]\n\turl = {}\n\tfetch = {}\n\tpushurl = disabled://mosaic-pushes-the-judged-commit-itself\n\ttagOpt = --no-tags\n",
        config_value(&shared.to_string_lossy()),
        config_value(&format!("+refs/heads/{base}:refs/remotes/origin/{base}")),
    );
    bare_repository::skeleton(git_dir, false, bare_repository::is_sha256(&request.base), &config)?;
    bare_repository::share_objects(git_dir, &[&shared.join("objects")])?;
    // Packed, because one file is made much faster than two deep paths of directories. The names are in order.
    let packed = format!(
        "# pack-refs with: peeled fully-peeled sorted \n{} refs/heads/{}\n{} refs/remotes/origin/{base}\n{tags}",
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
pub(crate) fn trailers(task: &str, agent: &str) -> [String; 2] {
    let task: String = task.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    [format!("Mosaic-Task: {}", task.trim()), format!("Mosaic-Agent: {agent}")]
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
