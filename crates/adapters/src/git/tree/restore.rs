//! Bringing an agent's work back: a repository of its own below `<data>/restored`, made aside and renamed into place,
//! with every object copied out of the bare repository. Its settings are ours; nothing that the agent configured comes along,
//! and what was under way is not resumed by itself (a rebase's plan may hold commands): its commits are branches, its
//! conflicts are in the index, its files as they were.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{RestoreRequest, Restored};
use tokio::io::BufReader;

use super::restore_files::{Item, Place};
use crate::git::bundle_spec::salvage_state::{self, RelPath, State, extra_place};
use crate::git::cache::salvage::Salvage;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{bare_repository, config_text, errors, loose_refs, private_files, ref_files, ref_names};

/// The branch for what was staged, where the index that is restored is the received commit's.
const STAGED: &str = "salvaged/staged";

impl GitRepositories {
    pub(crate) async fn restore_now(&self, request: &RestoreRequest) -> Result<Option<Restored>, GitError> {
        let bare = self.layout.bare_repository(&request.repository);
        // The record may not know of it yet: the ref is written first.
        let reference = ref_names::salvage(request.agent);
        let saved = ref_files::read_ref(&bare, &reference)
            .or_else(|| request.salvage.as_ref().map(|saved| saved.commit.clone()));
        let own = format!("refs/agents/{}", request.agent);
        let head = request.head.clone().or_else(|| ref_files::read_ref(&bare, &format!("{own}/head")));
        let mut diverged = branches_below(&bare, &format!("{own}/branches"));
        let former = branches_below(&bare, &ref_names::former_salvages(request.agent));
        diverged.extend(former.into_iter().map(|(name, tip)| (format!("salvaged/{name}"), tip)));
        let replaced = branches_below(&bare, &ref_names::replaced_tips(request.agent));
        diverged.extend(replaced.into_iter().map(|(name, tip)| (format!("replaced/{name}"), tip)));
        if saved.is_none() && head.is_none() && diverged.is_empty() {
            return Ok(None);
        }
        let salvage = match saved {
            Some(commit) => Some(self.read_salvage(&bare, commit).await?),
            None => None,
        };
        let io = |e: io::Error| errors::io("making a directory to restore into", e);
        let above = self.layout.data.join("restored");
        private_files::private_dir(&above).map_err(io)?;
        // Under a hidden name until it is whole: a person who looks into the directory never finds half a repository.
        let aside = above.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
        private_files::private_dir(&aside).map_err(io)?;
        let making =
            Making { git: self, bare: &bare, tree: aside.clone(), git_dir: aside.join(".git"), request };
        let made = making.all(salvage.as_ref(), head, &diverged).await;
        let head = match made {
            Ok(head) => head,
            Err(e) => {
                // What was begun is nobody's.
                let _ = self.trash.discard(&aside);
                return Err(e);
            }
        };
        let path = settle(&aside, &above, &request.name).map_err(io)?;
        let salvage = salvage.map(|s| Salvaged { reference, commit: s.commit });
        Ok(Some(Restored { path, branch: request.branch.clone(), head, salvage }))
    }
}

/// Branches that are kept under other names.
fn branches_below(bare: &Path, below: &str) -> Vec<(String, CommitId)> {
    let names = loose_refs::refs_below(bare, below);
    let tip = |name: String| {
        let short = name.strip_prefix(below)?.trim_start_matches('/').to_owned();
        Some((short, ref_files::read_ref(bare, &name)?))
    };
    names.into_iter().filter_map(tip).collect()
}

/// Renames what is whole to the first free name.
fn settle(aside: &Path, above: &Path, name: &str) -> io::Result<PathBuf> {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    for n in 1..=limits::RESTORED_COPIES {
        let path = above.join(format!("{name}-{n}"));
        // A look whether the name is free and a rename after it would overwrite the copy of another call that was faster.
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(rustix::fs::CWD, aside, rustix::fs::CWD, &path, flags) {
            Ok(()) => return Ok(path),
            Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(io::Error::other(format!("there are {} copies already; remove some", limits::RESTORED_COPIES)))
}

/// A restored repository being made.
struct Making<'a> {
    git: &'a GitRepositories,
    bare: &'a Path,
    tree: PathBuf,
    git_dir: PathBuf,
    request: &'a RestoreRequest,
}

impl Making<'_> {
    /// Returns the commit that is checked out.
    async fn all(
        &self,
        salvage: Option<&Salvage>,
        head: Option<CommitId>,
        diverged: &[(String, CommitId)],
    ) -> Result<Option<CommitId>, GitError> {
        let io = |e: io::Error| errors::io("making the restored repository", e);
        let config = format!(
            "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
            config_text::config_value(self.request.repository.as_str())
        );
        bare_repository::skeleton(
            &self.git_dir,
            false,
            bare_repository::is_sha256(&self.request.base),
            &config,
        )
        .map_err(io)?;
        let from_salvage = self.restores_tree(salvage, head.as_ref()).await?;
        let received = head;
        let head = match salvage {
            Some(salvage) if from_salvage => salvage.head(),
            _ => received.clone().or_else(|| Some(diverged.first()?.1.clone())),
        };
        let mut others = diverged.to_vec();
        if let (Some(received), Some(head)) = (received, &head)
            && !self.git.is_part(self.bare, &received, head).await?
        {
            others.push((format!("received/{}", received.short()), received));
        }
        if let (false, Some(index)) = (from_salvage, salvage.and_then(Salvage::staged)) {
            others.push((STAGED.to_owned(), index));
        }
        self.copy_objects(salvage, head.as_ref(), &others).await?;
        self.refs(salvage, head.as_ref(), &others).map_err(io)?;
        match salvage {
            Some(salvage) if from_salvage => {
                self.index(salvage, head.as_ref()).await?;
                self.files(salvage, true).await?;
                self.stashes(salvage).await?;
                self.finish(salvage).await?;
            }
            _ => {
                if let Some(head) = &head {
                    self.call(["read-tree", "--reset", "-u", head.as_str()], Vec::new()).await?;
                }
                if let Some(salvage) = salvage {
                    self.files(salvage, false).await?;
                    self.stashes(salvage).await?;
                }
            }
        }
        Ok(head)
    }

    /// Tells whether the files come from the salvage: unless it was made beside commits that were received and go on
    /// from where it stood.
    async fn restores_tree(
        &self,
        salvage: Option<&Salvage>,
        received: Option<&CommitId>,
    ) -> Result<bool, GitError> {
        let Some(salvage) = salvage else { return Ok(false) };
        let state = salvage.described.as_ref().map(|(_, state)| state);
        let beside = state.is_some_and(|state| state.aside && state.under_way.is_empty());
        let (true, Some(received), Some(head)) = (beside, received, salvage.head()) else { return Ok(true) };
        Ok(!self.git.is_part(self.bare, &head, received).await?)
    }

    /// Copies everything that the tips reach out of the bare repository, as one pack.
    async fn copy_objects(
        &self,
        salvage: Option<&Salvage>,
        head: Option<&CommitId>,
        diverged: &[(String, CommitId)],
    ) -> Result<(), GitError> {
        let tips =
            salvage.map(|s| &s.commit).into_iter().chain(head).chain(diverged.iter().map(|(_, tip)| tip));
        let revisions: String = tips.chain([&self.request.base]).map(|tip| format!("{tip}\n")).collect();
        // Copied and not shared by an alternate: the copy belongs to a person who may move it, and must outlive the server's
        // repository.
        let pack = self.git_dir.join("objects/pack/pack");
        let call =
            self.git.git.local(self.bare).args(["pack-objects", "--revs", "--delta-base-offset", "-q"]);
        let done = call.args([&pack]).run(Input::Bytes(revisions.into_bytes()), 4096).await?;
        done.success("copying the agent's work out of the bare repository").map(drop)
    }

    fn refs(
        &self,
        salvage: Option<&Salvage>,
        head: Option<&CommitId>,
        diverged: &[(String, CommitId)],
    ) -> io::Result<()> {
        let own = self.request.branch.as_str();
        let write = |name: &str, tip: &CommitId| ref_files::write_ref(&self.git_dir, name, tip);
        write(&format!("refs/remotes/origin/{}", self.request.base_branch), &self.request.base)?;
        if let Some(head) = head {
            write(&format!("refs/heads/{own}"), head)?;
        }
        fs::write(self.git_dir.join("HEAD"), format!("ref: refs/heads/{own}\n"))?;
        let mut branches: Vec<(String, CommitId)> = diverged.to_vec();
        if let Some(salvage) = salvage {
            write("refs/mosaic/salvage", &salvage.commit)?;
            let named = salvage.described.iter().flat_map(|(_, state)| &state.branches);
            branches.extend(named.filter_map(|tip| Some((tip.name.clone(), salvage.parent(&tip.commit)?))));
        }
        for (name, tip) in branches {
            // The agent's own branch is where its HEAD is; where it was before, as in a rebase, gets another name.
            let name = match name.parse::<BranchName>() {
                Ok(name) if name.as_str() != own => format!("refs/heads/{name}"),
                _ => format!("refs/heads/salvaged/{}", tip.short()),
            };
            if write(&name, &tip).is_err() {
                write(&format!("refs/heads/salvaged/{}", tip.short()), &tip)?;
            }
        }
        Ok(())
    }

    async fn index(&self, salvage: &Salvage, head: Option<&CommitId>) -> Result<(), GitError> {
        let index = salvage.index();
        if let Some(tree) = index.as_ref().or(head) {
            self.call(["read-tree", tree.as_str()], Vec::new()).await?;
        }
        let Some((_, state)) = salvage.described.as_ref().filter(|_| index.is_some()) else { return Ok(()) };
        let mut info = Vec::new();
        let paths: BTreeSet<_> = state.unmerged.iter().map(|side| &side.path).collect();
        let zero = "0".repeat(self.request.base.as_str().len());
        for path in paths {
            info.extend_from_slice(format!("0 {zero}\t").as_bytes());
            info.extend_from_slice(&path.0);
            info.push(0);
        }
        for side in &state.unmerged {
            let known = ["100644", "100755", "120000", "160000"].contains(&side.mode.as_str());
            let object: Result<CommitId, _> = side.object.parse();
            let (true, Ok(object), 0..=3) = (known, object, side.stage) else { continue };
            info.extend_from_slice(format!("{} {object} {}\t", side.mode, side.stage).as_bytes());
            info.extend_from_slice(&side.path.0);
            info.push(0);
        }
        if info.is_empty() {
            return Ok(());
        }
        self.call(["update-index", "-z", "--index-info"], info).await
    }

    /// Writes the files of a salvage; unless the `whole` tree comes from it, only those that no commit can hold.
    async fn files(&self, salvage: &Salvage, whole: bool) -> Result<(), GitError> {
        let io = |e: io::Error| errors::io("writing the restored files", e);
        let mut place = Place::open(&self.tree).map_err(io)?;
        let mut items = Vec::new();
        let entries = if whole { self.entries(salvage.commit.as_str()).await? } else { Vec::new() };
        for (mode, object, path) in entries {
            match mode.as_str() {
                "160000" => drop(place.directory(&path).map_err(io)?),
                "120000" => items.push(Item { object, path, mode: 0, link: true }),
                "100755" => items.push(Item { object, path, mode: 0o755, link: false }),
                _ => items.push(Item { object, path, mode: 0o644, link: false }),
            }
        }
        let nothing = State::default();
        let described = salvage.described.as_ref().map_or(&nothing, |(_, state)| state);
        let state = &match whole {
            true => described.clone(),
            false => {
                let inside = |path: &&RelPath| salvage_state::is_of_git_dir(&path.0);
                let empty = described.empty.iter().filter(inside).cloned().collect();
                State { extra: described.extra.clone(), empty, ..State::default() }
            }
        };
        if let Some((described, _)) = salvage.described.as_ref().filter(|(_, state)| !state.extra.is_empty())
        {
            self.extra(described, state, &mut items).await?;
        }
        let modes: std::collections::BTreeMap<&[u8], u32> =
            state.modes.iter().map(|(path, mode)| (path.0.as_slice(), *mode)).collect();
        for item in &mut items {
            item.mode = modes.get(item.path.as_slice()).copied().unwrap_or(item.mode);
        }
        items.sort_by(|a, b| a.path.cmp(&b.path));
        let asked: String = items.iter().map(|item| format!("{}\n", item.object)).collect();
        let call = self.git.git.local(self.bare).args(["cat-file", "--batch", "--buffer"]);
        let (done, ()) = call
            .stream(Input::Bytes(asked.into_bytes()), |out| async move {
                let mut out = BufReader::with_capacity(64 * 1024, out);
                place.write_all(&items, &mut out).await?;
                for path in &state.empty {
                    place.directory(&path.0)?;
                }
                for (path, mode) in &modes {
                    place.mode(path, *mode);
                }
                place.finish()
            })
            .await?;
        done.success("writing the restored files").map(drop)
    }

    /// Adds the files that stand under other names in the description's tree.
    async fn extra(&self, described: &str, state: &State, items: &mut Vec<Item>) -> Result<(), GitError> {
        let objects: std::collections::HashMap<Vec<u8>, String> =
            self.entries(described).await?.into_iter().map(|(_, object, path)| (path, object)).collect();
        for (n, extra) in state.extra.iter().enumerate() {
            if let Some(object) = objects.get(extra_place(n).as_bytes()) {
                let (object, path) = (object.clone(), extra.path.0.clone());
                items.push(Item { object, path, mode: extra.mode, link: extra.link });
            }
        }
        Ok(())
    }

    /// Lists a commit's files: mode, object, path.
    async fn entries(&self, commit: &str) -> Result<Vec<(String, String, Vec<u8>)>, GitError> {
        let call = self.git.git.local(self.bare).args(["ls-tree", "-r", "-z", "--full-tree", commit]);
        let done =
            call.run(Input::Nothing, limits::LISTING_BYTES).await?.success("listing what was salvaged")?;
        if done.cut {
            return Err(GitError::refused(
                FailureKind::BadInput,
                "the salvaged tree has too many files to list",
            ));
        }
        let entry = |line: &[u8]| {
            let tab = line.iter().position(|b| *b == b'\t')?;
            let head = String::from_utf8_lossy(&line[..tab]).into_owned();
            let mut words = head.split(' ');
            let (mode, _, object) = (words.next()?, words.next()?, words.next()?);
            Some((mode.to_owned(), object.to_owned(), line[tab + 1..].to_vec()))
        };
        Ok(done.stdout.split(|b| *b == 0).filter_map(entry).collect())
    }

    /// Restores the parts that need the files: announced entries, the index's knowledge of them, an unfinished merge.
    async fn finish(&self, salvage: &Salvage) -> Result<(), GitError> {
        let nothing = State::default();
        let state = salvage.described.as_ref().map_or(&nothing, |(_, state)| state);
        for path in &state.intent {
            let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&path.0);
            let call = self.git.git.local(&self.git_dir).work_tree(&self.tree, None);
            let call = call.args(["add", "--intent-to-add", "--force", "--"]).args([path]);
            // An announced file that was removed again cannot be announced any more.
            call.run(Input::Nothing, 0).await?;
        }
        let merging: String =
            state.merging.iter().filter_map(|id| salvage.parent(id)).map(|id| format!("{id}\n")).collect();
        if !merging.is_empty() {
            fs::write(self.git_dir.join("MERGE_HEAD"), merging)
                .map_err(|e| errors::io("writing the unfinished merge", e))?;
        }
        // It says no when files differ from the index, which is how they were left.
        let call = self.git.git.local(&self.git_dir).work_tree(&self.tree, None);
        call.args(["update-index", "-q", "--refresh"]).run(Input::Nothing, 0).await.map(drop)
    }

    async fn stashes(&self, salvage: &Salvage) -> Result<(), GitError> {
        let stashes = salvage.described.iter().flat_map(|(_, state)| state.stashes.iter().rev());
        for (commit, name) in stashes.filter_map(|s| Some((salvage.parent(&s.commit)?, &s.name))) {
            self.call(["stash", "store", "-m", name, commit.as_str()], Vec::new()).await?;
        }
        Ok(())
    }

    async fn call<const N: usize>(&self, args: [&str; N], input: Vec<u8>) -> Result<(), GitError> {
        let call = self.git.git.local(&self.git_dir).work_tree(&self.tree, None).args(args);
        let done = call.run(Input::Bytes(input), 0).await?;
        done.success("making the restored repository").map(drop)
    }
}
