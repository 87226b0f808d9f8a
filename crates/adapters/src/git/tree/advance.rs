//! Bringing a tree that is used again up to the commit that holds what its agent had left uncommitted: its branch and its
//! index move there, its files are that commit's already. Only data are written; no git of ours is shown the tree.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;
use mosaic_core::ports::repositories::TreeRequest;

use crate::git::bundle_spec::SUBJECT;
use crate::git::command::Input;
use crate::git::errors;
use crate::git::errors::GitError;
use crate::git::handles::open_directory;
use crate::git::head_file::head_at;
use crate::git::repositories::GitRepositories;
use crate::private_place::PrivatePlace;

impl GitRepositories {
    /// Moves the tree's HEAD to `start` when that is the commit which a harvest made on top of it. Every other HEAD is the
    /// agent's own and stays.
    pub(crate) async fn advance(&self, request: &TreeRequest) -> Result<(), GitError> {
        let git_dir = self.layout.tree(request.agent).join(".git");
        let Some((Some(branch), at)) = open_directory(&git_dir).ok().and_then(|dir| head_at(&dir)) else {
            return Ok(());
        };
        if at == request.start || !self.is_made_on(request, &at).await? {
            return Ok(());
        }
        let failed = |e: io::Error| errors::io("bringing the tree to its kept commit", e);
        let index = self.layout.agent(request.agent).join("tree.index-next");
        let mut call = self.git.local(&self.layout.bare_repository(&request.repository));
        call.env("GIT_INDEX_FILE", &index);
        let done = call.args(["read-tree", request.start.as_str()]).run(Input::Nothing, 0).await?;
        done.success("making the index of the tree's kept commit")?;
        self.move_head(&git_dir, &branch, &request.start, &index).map_err(failed)
    }

    /// Tells whether `start` is a harvest's commit on top of this one.
    async fn is_made_on(&self, request: &TreeRequest, at: &CommitId) -> Result<bool, GitError> {
        let call = self.git.local(&self.layout.bare_repository(&request.repository));
        let done = call
            .args(["cat-file", "commit", request.start.as_str()])
            .run(Input::Nothing, limits::BODY_BYTES)
            .await?;
        let text = done.success("reading the tree's kept commit")?.text();
        let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
        let parent = head.lines().find_map(|line| line.strip_prefix("parent "));
        Ok(parent == Some(at.as_str()) && message.lines().next() == Some(SUBJECT))
    }

    fn move_head(&self, git_dir: &Path, branch: &str, to: &CommitId, index: &Path) -> io::Result<()> {
        let place = || PrivatePlace::open(git_dir);
        let bytes = fs::read(index)?;
        fs::remove_file(index)?;
        let (above, last) = branch.rsplit_once('/').unwrap_or(("", branch));
        let below = above.split('/').try_fold(place()?, |at, part| at.make(OsStr::new(part)))?;
        // The files are the commit's either way: between the two git sees them as staged or not.
        below.replace(last, format!("{to}\n").as_bytes())?;
        place()?.replace("index", &bytes)?;
        // The merge that was under way is concluded by it.
        match fs::remove_file(git_dir.join("MERGE_HEAD")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}
