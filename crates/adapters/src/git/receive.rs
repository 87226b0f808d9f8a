//! Taking in a bundle: the one file of an outbox whose content enters the store. Its header is read here; its pack
//! goes to git with every object checked; nothing gets a ref before its whole history is known to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::ids::{AgentId, BranchName, CommitId};
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_core::ports::repositories::{Kept, Received, TreeRequest};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::command::{Finished, Input};
use super::confined::LeftReport;
use super::harvest::{ASIDE, BUNDLE, Harvested, Report, read_report};
use super::old_objects::{Known, SkipList};
use super::restore::Salvage;
use super::{GitRepositories, errors, left_beside};

/// Largest bundle header: many long branch names.
const HEADER_BYTES: u64 = 1024 * 1024;
/// Objects from which a pack is kept as a pack; fewer become loose objects, as `git fetch` does it, so that
/// thousands of small harvests do not become thousands of packs.
const UNPACK_LIMIT: u32 = 100;

/// The header of a bundle, and its file.
struct Bundle {
    head: Option<CommitId>,
    branches: BTreeMap<String, CommitId>,
    objects: u32,
    pack: File,
    /// Where in the file the pack begins.
    pack_at: u64,
}

fn hostile(why: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::BadInput, format!("what the agent's tree handed over was refused: {why}"))
}

impl GitRepositories {
    pub(super) async fn receive_now(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Received, Failure> {
        let beside = self.receive_bundle(request, outbox, ASIDE).await;
        if let Err(e) = &beside {
            tracing::warn!(agent.id = %request.agent, error = %e.message, "what lies in a tree beside its commit could not be kept, so the tree stays");
        }
        let harvested = read_report(outbox);
        let left = harvested.as_ref().map(|harvested| harvested.left.clone()).unwrap_or_default();
        let kept = beside.is_ok() && !left.only_there;
        self.mark_tree(request.agent, kept).map_err(|e| errors::io("keeping the agent's tree", &e))?;
        self.note_repositories(request.agent, &left)
            .map_err(|e| errors::io("noting the repositories in the agent's tree", &e))?;
        let saved = beside.unwrap_or_default();
        let store = self.layout.store(&request.repository);
        let salvage = match &saved {
            Some(saved) => Some(self.read_salvage(&store, saved.commit.clone()).await?),
            None => None,
        };
        let received = self.receive_head(request, outbox, harvested.map(|h| h.report)).await?;
        if received == Kept::Nothing && left.staged {
            return Err(only_staged(&left));
        }
        if let Kept::Commits { head } = &received {
            self.refuse_new_links(request, head).await?;
        }
        let mut warnings = warnings(&left, saved.is_some());
        let mut branches = Vec::new();
        if let Some(salvage) = &salvage {
            branches = self.not_received(&store, salvage, &received).await?;
            warnings.extend(self.broken_off(&store, salvage, &received).await?);
        }
        if left.git_dir {
            let place = self.beside(request.agent).join(left_beside::TREE_GIT);
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
        store: &Path,
        salvage: &Salvage,
        received: &Kept,
    ) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for (name, tip) in salvage.tips() {
            let is_part = match received {
                Kept::Commits { head } => self.is_part(store, &tip, head).await?,
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
        store: &Path,
        salvage: &Salvage,
        received: &Kept,
    ) -> Result<Option<String>, Failure> {
        let Kept::Commits { head } = received else { return Ok(None) };
        if !salvage.is_rebasing() {
            return Ok(None);
        }
        let args = ["diff-tree", "-r", "-z", "--name-only", head.as_str(), salvage.commit.as_str()];
        let done = self.git.local(store).args(args).run(Input::Nothing, limits::LISTING_BYTES).await?;
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
    ) -> Result<Kept, Failure> {
        let Some(bundle) = open(outbox, BUNDLE)? else {
            return match report {
                Some(Report::Nothing) => Ok(Kept::Nothing),
                Some(Report::Behind) => Ok(Kept::Diverged { branches: Vec::new() }),
                other => Err(without_bundle(other)),
            };
        };
        let dir = self.layout.store(&request.repository);
        self.take_pack(&dir, &bundle, &request.base).await?;
        let refs = format!("refs/agents/{}", request.agent);
        let keep = |name: &str, commit: &CommitId| {
            self.write_ref(&dir, &format!("{refs}/{name}"), commit)
                .map_err(|e| errors::io("keeping the agent's work", &e))
        };
        if let Some(head) = &bundle.head {
            let seen = self.history(&dir, &request.base, &[head]).await?;
            if !seen.head {
                return Err(hostile("its HEAD is not a commit"));
            }
            if seen.descends {
                keep("head", head)?;
                if seen.same_tree {
                    return Ok(Kept::Nothing);
                }
                self.remember_descent(head, &request.base);
                return Ok(Kept::Commits { head: head.clone() });
            }
        }
        let mut tips: BTreeMap<String, CommitId> = bundle.branches;
        if let Some(head) = bundle.head
            && !tips.values().any(|tip| *tip == head)
        {
            tips.insert("HEAD".to_owned(), head);
        }
        self.history(&dir, &request.base, &tips.values().collect::<Vec<_>>()).await?;
        let old = dir.join(&refs).join("branches");
        if old.is_dir() {
            fs::remove_dir_all(&old).map_err(|e| errors::io("replacing the agent's kept branches", &e))?;
        }
        let mut kept = Vec::new();
        for (name, tip) in &tips {
            // Names such as `a` and `a/b` together can only come from a forged header; the second is left out.
            if keep(&format!("branches/{name}"), tip).is_ok() {
                kept.push(name.clone());
            }
        }
        Ok(Kept::Diverged { branches: kept })
    }

    pub(super) async fn receive_salvage_now(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<Salvaged>, Failure> {
        match self.receive_bundle(request, outbox, BUNDLE).await? {
            Some(saved) => {
                let left = read_report(outbox).map(|harvested| harvested.left).unwrap_or_default();
                let (kept, io) =
                    (!left.only_there, |e: io::Error| errors::io("keeping the agent's tree", &e));
                self.note_repositories(request.agent, &left).map_err(io)?;
                self.mark_tree(request.agent, kept).map_err(io)?;
                Ok(Some(saved))
            }
            None => match read_report(outbox) {
                Some(Harvested { report: Report::Nothing, left }) => {
                    let io = |e: io::Error| errors::io("keeping the agent's tree", &e);
                    self.note_repositories(request.agent, &left).map_err(io)?;
                    self.mark_tree(request.agent, !left.only_there).map_err(io)?;
                    Ok(None)
                }
                other => Err(without_bundle(other.map(|harvested| harvested.report))),
            },
        }
    }

    pub(super) async fn receive_snapshot_now(
        &self,
        request: &TreeRequest,
        outbox: &Path,
    ) -> Result<Option<CommitId>, Failure> {
        let Some(bundle) = open(outbox, BUNDLE)? else {
            return match read_report(outbox).map(|harvested| harvested.report) {
                Some(Report::Nothing) => Ok(None),
                other => Err(without_bundle(other)),
            };
        };
        let dir = self.layout.store(&request.repository);
        self.take_pack(&dir, &bundle, &request.base).await?;
        let Some(head) = bundle.head else { return Err(hostile("it names no HEAD")) };
        let seen = self.history(&dir, &request.base, &[&head]).await?;
        if !seen.head || !seen.descends {
            let why = "the tree's HEAD does not descend from the base, so there is no diff against it";
            return Err(Failure::new(FailureKind::Diverged, why));
        }
        self.write_ref(&dir, &live(request.agent), &head)
            .map_err(|e| errors::io("keeping a snapshot of the agent's tree", &e))?;
        Ok((!seen.same_tree).then_some(head))
    }

    /// Refuses new commits that name commits of other repositories which neither the base nor a known remote has. One in
    /// between counts like the last: it is published, too.
    async fn refuse_new_links(&self, request: &TreeRequest, head: &CommitId) -> Result<(), Failure> {
        let new = self.new_entries(&request.repository, &request.base, head).await?;
        let named = new.into_iter().filter(|entry| entry.mode == "160000");
        let named: BTreeSet<(Vec<u8>, String)> = named.map(|entry| (entry.path, entry.object)).collect();
        if named.is_empty() {
            return Ok(());
        }
        let pinned = self.pinned_by(&self.layout.store(&request.repository), &request.base).await?;
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
        Err(Failure::new(FailureKind::Unpublishable, why))
    }

    /// Takes in a bundle of a salvaged tree; `None` when there is none.
    async fn receive_bundle(
        &self,
        request: &TreeRequest,
        outbox: &Path,
        name: &str,
    ) -> Result<Option<Salvaged>, Failure> {
        let Some(bundle) = open(outbox, name)? else { return Ok(None) };
        let Some(commit) = bundle.head.clone() else { return Err(hostile("it names no HEAD")) };
        let dir = self.layout.store(&request.repository);
        self.take_pack(&dir, &bundle, &request.base).await?;
        if !self.history(&dir, &request.base, &[&commit]).await?.head {
            return Err(hostile("its HEAD is not a commit"));
        }
        self.keep_former(request, &commit).await?;
        let reference = reference(request.agent);
        self.write_ref(&dir, &reference, &commit).map_err(|e| errors::io("keeping the agent's tree", &e))?;
        Ok(Some(Salvaged { reference, commit }))
    }

    /// Lets git take the pack in, with every object checked that the remote does not have.
    async fn take_pack(&self, dir: &Path, bundle: &Bundle, base: &CommitId) -> Result<(), Failure> {
        let mut done = self.checked(dir, bundle, None).await?;
        for known in [Known::BaseSettings, Known::Remote] {
            if done.status.success() || !done.stderr.contains("fsck error") {
                break;
            }
            let list = self.skip_list(dir, base, known).await;
            let list = list.unwrap_or_else(|e| {
                tracing::warn!(error = %e.message, "objects of the remote could not be told from the agent's");
                None
            });
            if let Some(list) = list {
                done = self.checked(dir, bundle, Some(&list)).await?;
            }
        }
        if done.status.success() {
            return Ok(());
        }
        let failure = errors::local("checking the agent's commits", done.status, &done.stderr);
        Err(if failure.kind == FailureKind::Disk { failure } else { hostile(failure.message) })
    }

    async fn checked(
        &self,
        dir: &Path,
        bundle: &Bundle,
        known: Option<&SkipList>,
    ) -> Result<Finished, Failure> {
        let open = || {
            let mut pack = bundle.pack.try_clone()?;
            pack.seek(SeekFrom::Start(bundle.pack_at)).map(|_| pack)
        };
        let pack = open().map_err(|e| errors::io("reading the bundle", &e))?;
        let strict = known.map_or("--strict".to_owned(), |list| format!("--strict=skiplist={}", list.name));
        let call = self.git.local(dir);
        let call = match bundle.objects < UNPACK_LIMIT {
            true => call.args(["unpack-objects", "-q", &strict]),
            false => call.args(["index-pack", "--stdin", "--fix-thin", &strict]),
        };
        call.run(Input::File(pack), 64 * 1024).await
    }

    /// Walks everything that the tips have beyond the base; it fails when an object is missing.
    async fn history(&self, dir: &Path, base: &CommitId, tips: &[&CommitId]) -> Result<History, Failure> {
        let mut revisions: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
        revisions.push_str(&format!("^{base}\n"));
        let call =
            self.git.local(dir).args(["rev-list", "--objects", "--boundary", "--format=%T", "--stdin"]);
        let head = tips.first().map(|tip| tip.to_string()).unwrap_or_default();
        let boundary = format!("-{base}");
        let read = |out| async move {
            let mut lines = tokio::io::BufReader::new(out);
            let mut line = Vec::new();
            let mut trees = (None, None);
            let mut whole = true;
            loop {
                let starts = whole;
                line.clear();
                // Object lines end with a path of the agent's choosing, so a line is read with a bound.
                if (&mut lines).take(64 * 1024).read_until(b'\n', &mut line).await? == 0 {
                    return Ok(trees);
                }
                whole = line.ends_with(b"\n");
                let text = String::from_utf8_lossy(&line);
                let Some(commit) = text.trim_end().strip_prefix("commit ").filter(|_| starts) else {
                    continue;
                };
                let (is_head, is_base) = (commit == head, commit == boundary);
                line.clear();
                (&mut lines).take(128).read_until(b'\n', &mut line).await?;
                let tree = String::from_utf8_lossy(&line).trim_end().to_owned();
                if is_head {
                    trees.0 = Some(tree);
                } else if is_base {
                    trees.1 = Some(tree);
                }
            }
        };
        let (done, (head, base)) = call.stream(Input::Bytes(revisions.into_bytes()), read).await?;
        done.success("checking that the agent's commits are complete").map_err(|f| hostile(f.message))?;
        Ok(History {
            head: head.is_some(),
            descends: head.is_some() && base.is_some(),
            same_tree: head.is_some() && head == base,
        })
    }
}

/// Says that all the work is in the index, of which nothing can be published: what is there is not what the tree holds.
fn only_staged(left: &LeftReport) -> Failure {
    let paths: Vec<String> = left.named.iter().map(|(path, _)| errors::plain(path)).collect();
    let why = format!(
        "the agent's changes are staged only, while the files in its tree are as they were, so nothing was committed or published: {}. \
         Whatever is to be published has to be in a commit or in the tree",
        paths.join(", ")
    );
    Failure::new(FailureKind::Unpublishable, why)
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

/// The ref that holds the newest snapshot of a tree whose agent works.
pub(super) fn live(agent: AgentId) -> String {
    format!("refs/mosaic/live/{agent}")
}

/// The ref that holds an agent's salvaged tree.
pub(super) fn reference(agent: AgentId) -> String {
    format!("refs/mosaic/salvage/{agent}")
}

fn without_bundle(report: Option<Report>) -> Failure {
    let why = match report {
        Some(Report::Failed { message }) => {
            format!("keeping what the agent left failed: {}", errors::plain(&message))
        }
        _ => "keeping what the agent left ended without a bundle or a report".to_owned(),
    };
    Failure::new(FailureKind::Internal, why)
}

struct History {
    head: bool,
    /// The base is a parent of one of the commits beyond it, so the head descends from it.
    descends: bool,
    same_tree: bool,
}

/// Opens the bundle: a regular file, not a link, of bounded size. `None` when there is none.
fn open(outbox: &Path, name: &str) -> Result<Option<Bundle>, Failure> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags fit an int");
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(outbox.join(name)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(hostile(format_args!("the bundle could not be opened: {e}"))),
    };
    let meta = file.metadata().map_err(|e| errors::io("reading the bundle", &e))?;
    if !meta.is_file() {
        return Err(hostile("the bundle is not a regular file"));
    }
    if meta.len() > limits::BUNDLE_BYTES {
        return Err(hostile(format_args!(
            "the bundle has {} bytes; {} are allowed",
            meta.len(),
            limits::BUNDLE_BYTES
        )));
    }
    parse(file).map(Some)
}

fn parse(mut file: File) -> Result<Bundle, Failure> {
    let unreadable = |e: io::Error| hostile(format_args!("the bundle's header: {e}"));
    let mut reader = BufReader::new(Read::by_ref(&mut file).take(HEADER_BYTES));
    let mut at = 0u64;
    let (mut head, mut branches) = (None, BTreeMap::new());
    let mut line = Vec::new();
    for number in 0u32.. {
        line.clear();
        at += reader.read_until(b'\n', &mut line).map_err(unreadable)? as u64;
        let Some(text) = line.strip_suffix(b"\n") else {
            return Err(hostile("the bundle's header does not end"));
        };
        let text = String::from_utf8_lossy(text);
        match text.as_ref() {
            "# v2 git bundle" | "# v3 git bundle" if number == 0 => {}
            _ if number == 0 => return Err(hostile("the bundle has no known header")),
            "" => break,
            other if other.starts_with('-') || other.starts_with("@object-format=") => {}
            other if other.starts_with('@') => return Err(hostile("the bundle has an unknown capability")),
            other => {
                let Some((id, name)) = other.split_once(' ') else {
                    return Err(hostile("the bundle's header is malformed"));
                };
                let id: CommitId = id.parse().map_err(hostile)?;
                let branch = name.strip_prefix("refs/heads/").and_then(|n| n.parse::<BranchName>().ok());
                match branch {
                    _ if name == "HEAD" => head = Some(id),
                    Some(branch) if branches.len() < limits::KEPT_BRANCHES => {
                        branches.insert(branch.to_string(), id);
                    }
                    _ => {}
                }
            }
        }
    }
    let mut start = [0u8; 12];
    drop(reader);
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut start)).map_err(unreadable)?;
    if &start[..4] != b"PACK" {
        return Err(hostile("the bundle has no pack"));
    }
    file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
    let objects = u32::from_be_bytes([start[8], start[9], start[10], start[11]]);
    Ok(Bundle { head, branches, objects, pack: file, pack_at: at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Bundle, Failure> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(BUNDLE), bytes).unwrap();
        open(dir.path(), BUNDLE).map(Option::unwrap)
    }

    #[test]
    fn a_header_is_read_and_hostile_names_are_left_out() {
        let id = "b".repeat(40);
        let text = format!(
            "# v2 git bundle\n-{id} base\n{id} HEAD\n{id} refs/heads/x\n{id} refs/heads/../../y\n\nPACK\0\0\0\x02\0\0\0\x07"
        );
        let bundle = parsed(text.as_bytes()).unwrap();
        assert_eq!(bundle.objects, 7);
        assert_eq!(bundle.branches.keys().collect::<Vec<_>>(), ["x"]);
        assert_eq!(bundle.head.unwrap().as_str(), id);
    }

    #[test]
    fn what_is_not_a_bundle_is_refused() {
        for bad in [
            "",
            "x\n",
            "# v2 git bundle\n",
            "# v3 git bundle\n@filter=blob:none\n\nPACK",
            "# v2 git bundle\nzz HEAD\n\nPACK",
            "# v2 git bundle\n\nNOPE12345678",
        ] {
            assert!(parsed(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path(), BUNDLE).unwrap().is_none());
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join(BUNDLE)).unwrap();
        assert!(open(dir.path(), BUNDLE).is_err(), "a link is not opened");
    }
}
