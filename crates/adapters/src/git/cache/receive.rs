//! Taking in a bundle: the one file of an outbox whose content enters the bare repository. Its header is read here; its pack
//! goes to git with every object checked; nothing gets a ref before its whole history is known to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{Kept, Received, TreeRequest};

use super::bundle::{hostile, open};
use super::harvest_report::read_report;
use super::salvage::Salvage;
use crate::git::bundle_spec::{ASIDE, BUNDLE, Harvested, LeftReport, Report};
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, ref_names};

impl GitRepositories {
    pub(crate) async fn receive_now(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Received, GitError> {
        // What lies beside comes first: if the server dies after HEAD was received, the tree may be removed, and nothing else
        // of it would exist.
        let beside = self.receive_bundle(request, outbox, ASIDE).await;
        if let Err(e) = &beside {
            tracing::warn!(agent.id = %request.agent, error = %e, "what lies in a tree beside its commit could not be kept, so the tree stays");
        }
        let harvested = read_report(outbox);
        let left = harvested.as_ref().map(|harvested| harvested.left.clone()).unwrap_or_default();
        // The report was written inside the confinement and may lie. A lie here can only keep a tree that could go, or lose
        // the agent its own work.
        let kept = beside.is_ok() && !left.only_there;
        self.mark_tree(request.agent, kept).map_err(|e| errors::io("keeping the agent's tree", e))?;
        self.note_repositories(request.agent, &left)
            .map_err(|e| errors::io("noting the repositories in the agent's tree", e))?;
        let saved = beside.unwrap_or_default();
        let bare = self.layout.bare_repository(&request.repository);
        let salvage = match &saved {
            Some(saved) => Some(self.read_salvage(&bare, saved.commit.clone()).await?),
            None => None,
        };
        let received = self.receive_head(request, outbox, harvested.map(|h| h.report)).await?;
        // Without this the attempt would end as "nothing changed", although the agent believes that it has delivered.
        if received == Kept::Nothing && left.staged {
            return Err(only_staged(&left));
        }
        if let Kept::Commits { head } = &received {
            self.refuse_new_links(request, head).await?;
        }
        let mut warnings = warnings(&left, saved.is_some());
        let mut branches = Vec::new();
        if let Some(salvage) = &salvage {
            branches = self.not_received(&bare, salvage, &received).await?;
            warnings.extend(self.broken_off(&bare, salvage, &received).await?);
        }
        if left.git_dir {
            let place = self.layout.git_dir_beside(request.agent);
            warnings.push(format!(
                "the git directory of its tree is kept at its end in {} until the agent is removed",
                errors::plain(&place.to_string_lossy())
            ));
        }
        Ok(Received { kept: received, beside: branches, warnings })
    }

    /// Returns the names of kept branches with commits that the received work does not have.
    async fn not_received(
        &self,
        bare: &Path,
        salvage: &Salvage,
        received: &Kept,
    ) -> Result<Vec<String>, GitError> {
        let mut names = Vec::new();
        for (name, tip) in salvage.tips() {
            let is_part = match received {
                Kept::Commits { head } => self.is_part(bare, &tip, head).await?,
                _ => false,
            };
            if !is_part {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Says that a rebase was under way, whose branch is published as it was before, and what of the tree is not in that.
    async fn broken_off(
        &self,
        bare: &Path,
        salvage: &Salvage,
        received: &Kept,
    ) -> Result<Option<String>, GitError> {
        let Kept::Commits { head } = received else { return Ok(None) };
        if !salvage.is_rebasing() {
            return Ok(None);
        }
        let args = ["diff-tree", "-r", "-z", "--name-only", head.as_str(), salvage.commit.as_str()];
        let done = self.git.local(bare).args(args).run(Input::Nothing, limits::LISTING_BYTES).await?;
        let done = done.success("comparing the tree with its branch")?;
        let paths: Vec<&[u8]> = done.stdout.split(|b| *b == 0).filter(|path| !path.is_empty()).collect();
        let plain = |path: &&[u8]| errors::plain(&String::from_utf8_lossy(path));
        let named: Vec<String> = paths.iter().take(limits::NAMED_LEFT).map(plain).collect();
        let more = paths.len().saturating_sub(limits::NAMED_LEFT);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let lies = match named.is_empty() {
            true => String::new(),
            false => format!("; as they lay in the tree, these are not in it: {}{more}", named.join(", ")),
        };
        Ok(Some(format!(
            "a rebase was under way: the branch counts as it was before{lies}; `mosaic restore` brings back where the rebase was"
        )))
    }

    /// Receives HEAD, or says why there is none.
    async fn receive_head(
        &self,
        request: &TreeRequest,
        outbox: &Path,
        report: Option<Report>,
    ) -> Result<Kept, GitError> {
        let Some(bundle) = open(outbox, BUNDLE)? else {
            return match report {
                Some(Report::Nothing) => Ok(Kept::Nothing),
                Some(Report::Behind) => Ok(Kept::Diverged { branches: Vec::new() }),
                other => Err(without_bundle(other)),
            };
        };
        let dir = self.layout.bare_repository(&request.repository);
        self.take_pack(&dir, &bundle, &request.base).await?;
        let refs = format!("refs/agents/{}", request.agent);
        let keep = async |name: &str, commit: &CommitId| {
            let written = self.write_ref(&dir, &format!("{refs}/{name}"), commit).await;
            written.map_err(|e| errors::io("keeping the agent's work", e))
        };
        if let Some(head) = &bundle.head {
            let seen = self.history(&dir, &request.base, &[head]).await?;
            if !seen.head {
                return Err(hostile("its HEAD is not a commit"));
            }
            if seen.descends {
                // The ref stands before anything else happens with the commit: from here on no repack removes its objects.
                keep("head", head).await?;
                if seen.same_tree {
                    return Ok(Kept::Nothing);
                }
                self.remember_descent(head, &request.base);
                return Ok(Kept::Commits { head: head.clone() });
            }
        }
        // HEAD does not descend from the base, so nothing of this is published. All branches are kept under the agent's own
        // refs, where a person can look for what happened.
        let mut tips: BTreeMap<String, CommitId> = bundle.branches;
        if let Some(head) = bundle.head
            && !tips.values().any(|tip| *tip == head)
        {
            tips.insert("HEAD".to_owned(), head);
        }
        // A ref to a commit with a missing parent would make every later walk of this repository fail, for all agents.
        self.history(&dir, &request.base, &tips.values().collect::<Vec<_>>()).await?;
        let old = dir.join(&refs).join("branches");
        if old.is_dir() {
            fs::remove_dir_all(&old).map_err(|e| errors::io("replacing the agent's kept branches", e))?;
        }
        let mut kept = Vec::new();
        for (name, tip) in &tips {
            // Names such as `a` and `a/b` together can only come from a forged header; the second is left out.
            if keep(&format!("branches/{name}"), tip).await.is_ok() {
                kept.push(name.clone());
            }
        }
        Ok(Kept::Diverged { branches: kept })
    }

    pub(crate) async fn receive_salvage_now(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<Salvaged>, GitError> {
        match self.receive_bundle(request, outbox, BUNDLE).await? {
            Some(saved) => {
                let left = read_report(outbox).map(|harvested| harvested.left).unwrap_or_default();
                let (kept, io) = (!left.only_there, |e: io::Error| errors::io("keeping the agent's tree", e));
                self.note_repositories(request.agent, &left).map_err(io)?;
                self.mark_tree(request.agent, kept).map_err(io)?;
                Ok(Some(saved))
            }
            None => match read_report(outbox) {
                Some(Harvested { report: Report::Nothing, left }) => {
                    let io = |e: io::Error| errors::io("keeping the agent's tree", e);
                    self.note_repositories(request.agent, &left).map_err(io)?;
                    self.mark_tree(request.agent, !left.only_there).map_err(io)?;
                    Ok(None)
                }
                other => Err(without_bundle(other.map(|harvested| harvested.report))),
            },
        }
    }

    pub(crate) async fn receive_snapshot_now(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<CommitId>, GitError> {
        let Some(bundle) = open(outbox, BUNDLE)? else {
            return match read_report(outbox).map(|harvested| harvested.report) {
                Some(Report::Nothing) => Ok(None),
                other => Err(without_bundle(other)),
            };
        };
        let dir = self.layout.bare_repository(&request.repository);
        self.take_pack(&dir, &bundle, &request.base).await?;
        let Some(head) = bundle.head else { return Err(hostile("it names no HEAD")) };
        let seen = self.history(&dir, &request.base, &[&head]).await?;
        // A snapshot is shown as a diff against the base; between histories without a common commit there is none.
        if !seen.head || !seen.descends {
            let why = "the tree's HEAD does not descend from the base, so there is no diff against it";
            return Err(GitError::refused(FailureKind::Diverged, why));
        }
        self.write_ref(&dir, &ref_names::live(request.agent), &head)
            .await
            .map_err(|e| errors::io("keeping a snapshot of the agent's tree", e))?;
        Ok((!seen.same_tree).then_some(head))
    }

    /// Refuses new commits that name commits of other repositories which neither the base nor a known remote has. One in
    /// between counts like the last: it is published, too.
    async fn refuse_new_links(&self, request: &TreeRequest, head: &CommitId) -> Result<(), GitError> {
        let new = self.new_entries(&request.repository, &request.base, head).await?;
        let named = new.into_iter().filter(|entry| entry.mode == "160000");
        let named: BTreeSet<(Vec<u8>, String)> = named.map(|entry| (entry.path, entry.object)).collect();
        if named.is_empty() {
            return Ok(());
        }
        let pinned = self.pinned_by(&self.layout.bare_repository(&request.repository), &request.base).await?;
        let mut links = Vec::new();
        for (path, commit) in named {
            let path = String::from_utf8_lossy(&path).into_owned();
            let commit: CommitId = commit.parse().map_err(hostile)?;
            // The first ones are asked about; with more of them something else is wrong.
            let is_known = pinned.contains(&commit)
                || links.len() < limits::NAMED_LEFT
                    && self.submodule_publishes(request, &path, &commit).await?;
            if !is_known {
                links.push(format!("{} (commit {})", errors::plain(&path), commit.short()));
            }
        }
        if links.is_empty() {
            return Ok(());
        }
        links.truncate(limits::NAMED_LEFT);
        let why = format!(
            "the work names commits of other repositories that no known remote has: {}; nothing was published, because whoever fetches the branch would find nothing there. \
             Push those commits to the submodule's own remote first, or leave the submodule as it was",
            links.join(", ")
        );
        Err(GitError::refused(FailureKind::Unpublishable, why))
    }

    /// Takes in a bundle of a salvaged tree; `None` when there is none.
    async fn receive_bundle(
        &self,
        request: &TreeRequest,
        outbox: &Path,
        name: &str,
    ) -> Result<Option<Salvaged>, GitError> {
        let Some(bundle) = open(outbox, name)? else { return Ok(None) };
        let Some(commit) = bundle.head.clone() else { return Err(hostile("it names no HEAD")) };
        let dir = self.layout.bare_repository(&request.repository);
        self.take_pack(&dir, &bundle, &request.base).await?;
        if !self.history(&dir, &request.base, &[&commit]).await?.head {
            return Err(hostile("its HEAD is not a commit"));
        }
        // Before the ref is overwritten: a salvage after a restart may hold less than the one before it.
        self.keep_former(request, &commit).await?;
        let reference = ref_names::salvage(request.agent);
        self.write_ref(&dir, &reference, &commit)
            .await
            .map_err(|e| errors::io("keeping the agent's tree", e))?;
        Ok(Some(Salvaged { reference, commit }))
    }
}

/// Says that all the work is in the index, of which nothing can be published: what is there is not what the tree holds.
fn only_staged(left: &LeftReport) -> GitError {
    let paths: Vec<String> = left.named.iter().map(|(path, _)| errors::plain(path)).collect();
    let why = format!(
        "the agent's changes are staged only, while the files in its tree are as they were, so nothing was committed or published: {}. \
         Whatever is to be published has to be in a commit or in the tree",
        paths.join(", ")
    );
    GitError::refused(FailureKind::Unpublishable, why)
}

/// Says what lies in the tree and is in no commit.
fn warnings(left: &LeftReport, saved: bool) -> Vec<String> {
    let mut all: Vec<String> = left.notes.iter().map(|note| errors::plain(note)).collect();
    if left.named.is_empty() {
        return all;
    }
    let plain = |(path, why): &(String, String)| format!("{} ({})", errors::plain(path), errors::plain(why));
    let named: Vec<String> = left.named.iter().take(limits::NAMED_LEFT).map(plain).collect();
    let more = if left.more > 0 { format!(" and {} more", left.more) } else { String::new() };
    let restored = if saved { "; what of it can be kept comes back with `mosaic restore`" } else { "" };
    let stays = match left.only_there {
        true => "; what cannot be read or handed over stays in the tree, which is set aside and not removed",
        false => "",
    };
    let named = named.join(", ");
    all.push(format!("not in the commit, though the agent left it: {named}{more}{restored}{stays}"));
    all
}

fn without_bundle(report: Option<Report>) -> GitError {
    let why = match report {
        Some(Report::Failed { message }) => {
            format!("keeping what the agent left failed: {}", errors::plain(&message))
        }
        _ => "keeping what the agent left ended without a bundle or a report".to_owned(),
    };
    GitError::refused(FailureKind::Internal, why)
}
