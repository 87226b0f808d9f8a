//! Judging exactly one commit: a fresh checkout with a git directory of its own, and whether it fits onto the newest base.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::ports::repositories::{BundleExtent, JudgingCheckout, JudgingRequest};

use super::submodules::For;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{bare_repository, errors, private_files};

/// Refuses a label that could name anything but one directory beside the tree.
fn check_label(label: &str) -> Result<(), GitError> {
    let label_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if label.is_empty() || label.len() > 64 || !label.bytes().all(label_ok) {
        let why = "a checkout's label is made of letters, digits, dashes and underscores";
        return Err(GitError::refused(FailureKind::BadInput, why));
    }
    Ok(())
}

impl GitRepositories {
    pub(crate) async fn checkout_now(&self, request: &JudgingRequest) -> Result<JudgingCheckout, GitError> {
        let label = &request.label;
        check_label(label)?;
        self.ready().await;
        let io = |e: std::io::Error| errors::io("making a fresh checkout", e);
        let name = format!("judge-{label}");
        self.trash.discard_in(&self.layout.agent(request.agent), |entry| entry == name).map_err(io)?;
        let path = self.layout.agent(request.agent).join(&name);
        private_files::private_dir(&path).map_err(io)?;
        let git_dir = path.join(".git");
        let tags = self.tags(&self.layout.bare_repository(&request.repository), &request.commit).await;
        self.write_judging_git_dir(&git_dir, request, &tags).map_err(io)?;
        let call = self.git.local(&git_dir).work_tree(&path, None);
        let done =
            call.args(["read-tree", "--reset", "-u", request.commit.as_str()]).run(Input::Nothing, 0).await?;
        done.success("making a fresh checkout")?;
        let commits = (&request.base, &request.commit);
        let warnings = self.fill_submodules(&request.repository, commits, &path, For::Gates).await?;
        Ok(JudgingCheckout { path, warnings })
    }

    /// Makes a bundle of the judged commit from a git directory of its own, in which it is HEAD.
    pub(crate) async fn judging_bundle(
        &self,
        request: &JudgingRequest,
        extent: BundleExtent,
    ) -> Result<PathBuf, GitError> {
        check_label(&request.label)?;
        self.ready().await;
        let io = |e: std::io::Error| errors::io("making a bundle for judging", e);
        let kind = match extent {
            BundleExtent::AfterBase => "bundle",
            BundleExtent::Whole => "whole-bundle",
        };
        let name = format!("judge-{}-{kind}", request.label);
        self.trash.discard_in(&self.layout.agent(request.agent), |entry| entry == name).map_err(io)?;
        let place = self.layout.agent(request.agent).join(&name);
        private_files::private_dir(&place).map_err(io)?;
        let (git_dir, bundle) = (place.join("git"), place.join("bundle"));
        self.write_judging_git_dir(&git_dir, request, "").map_err(io)?;
        let call =
            self.git.local(&git_dir).args(["bundle", "create", "--quiet"]).args([&bundle]).args(["HEAD"]);
        let call = match extent {
            BundleExtent::AfterBase => call.args([&format!("^{}", request.base)]),
            BundleExtent::Whole => call,
        };
        let done = call.run(Input::Nothing, 0).await?;
        done.success("making a bundle for judging")?;
        Ok(bundle)
    }

    /// Writes a git directory whose HEAD is the judged commit. It reads the bare repository's objects and has neither a remote nor
    /// credentials, so that nothing a gate does with git leaves the checkout.
    fn write_judging_git_dir(&self, dir: &Path, request: &JudgingRequest, tags: &str) -> io::Result<()> {
        let config = format!("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n{}", self.author_config());
        bare_repository::skeleton(dir, false, bare_repository::is_sha256(&request.commit), &config)?;
        let shared = self.layout.bare_repository(&request.repository).join("objects");
        bare_repository::share_objects(dir, &[&shared])?;
        let packed = format!(
            "# pack-refs with: peeled fully-peeled sorted \n{} refs/remotes/origin/{}\n{tags}",
            request.base, request.base_branch
        );
        fs::write(dir.join("packed-refs"), packed)?;
        // Detached: with a branch a gate could commit, and a later gate would see another commit under the same name.
        fs::write(dir.join("HEAD"), format!("{}\n", request.commit))
    }
}
