//! Taking a tree as it is, *inside the agent's confinement*: nothing in the tree or its `.git` is changed but
//! permissions that keep its owner from reading. The objects are made in a repository of their own in the outbox,
//! content is taken raw (no filter, no line ending is converted), and links are never followed. The format is
//! described in `salvage_state`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use mosaic_core::limits;

use super::error::{self, HarvestError};
use super::found::{Content, File};
use super::look::Look;
use super::program::Git;
use super::quoting::quoted;
use crate::git::bundle_spec::salvage_state::{
    Extra, RelPath, STATE_FILE, STATE_LINE, State, extra_place, is_odd,
};
use crate::git::bundle_spec::{ASIDE, BUNDLE, Report, Spec};
use crate::git::index_file;

/// Bundles the tree as it is. Without `all`, branches, stashes and what is under way are left out: one broken ref
/// must not cost the rest.
pub(crate) fn salvage(look: &Look<'_>, all: bool) -> Result<Report, HarvestError> {
    Salvage::new(look)?.run(BUNDLE, all)
}

/// Bundles it into a file beside the harvest's own, which does not hold everything; unless `whole`, only when there
/// are commits that neither HEAD nor the base reaches. A failure is told in the file.
pub(crate) fn aside(look: &Look<'_>, whole: bool) {
    let made = Salvage::new(look).and_then(|mut salvage| {
        salvage.state.aside = true;
        salvage.state.staged = look.has_staged();
        salvage.only_beside = !whole;
        salvage.run(ASIDE, true)
    });
    if let Err(why) = made {
        eprintln!("what lies beside HEAD could not be kept: {why}");
        // A full disk: then the harvest's own report cannot be written either.
        let _ = fs::write(look.spec.outbox.join(ASIDE), format!("{why}\n"));
    }
}

pub(crate) struct Salvage<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) look: &'a Look<'a>,
    /// The copy of the agent's repository, where objects are made, too.
    pub(crate) git: Git,
    pub(crate) state: State,
    /// Without branches and stashes of its own there is nothing to take.
    only_beside: bool,
}

/// One entry of a tree being made.
struct Entry {
    mode: u32,
    object: String,
    path: Vec<u8>,
}

impl<'a> Salvage<'a> {
    fn new(look: &'a Look<'a>) -> Result<Self, HarvestError> {
        let git = look.mirror.git.clone();
        fs::create_dir_all(git.dir.join("links")).map_err(error::io("making room for the salvage"))?;
        let state = State { version: 1, ..State::default() };
        Ok(Self { spec: look.spec, look, git, state, only_beside: false })
    }

    fn run(mut self, bundle: &str, all: bool) -> Result<Report, HarvestError> {
        let head = self.look.mirror.head.clone();
        self.state.head_ref.clone_from(&self.look.mirror.head_ref);
        self.state.head.clone_from(&head);
        let mut tips = Vec::new();
        if all {
            tips = self.tips()?;
        }
        if self.only_beside && self.state.branches.is_empty() && self.state.stashes.is_empty() {
            return Ok(Report::Nothing);
        }
        let index = self.index()?;
        let entries = self.work_tree()?;
        let tree = self.write_tree("work", &entries)?;
        self.note_modes(&entries);
        let base = head.clone().unwrap_or_else(|| self.spec.base.clone());
        let same = self.git.line(["rev-parse", &format!("{base}^{{tree}}")])?;
        let index_tree = index.clone().unwrap_or_else(|| same.clone());
        let nothing = head.as_deref() == Some(self.spec.base.as_str())
            && tree == same
            && index_tree == same
            && self.state.is_plain();
        if nothing {
            return Ok(Report::Nothing);
        }
        let mut parents: Vec<String> = head.into_iter().collect();
        if let Some(index) = index {
            let index = self.commit(&index, &parents.clone(), "Mosaic: the index of a salvaged tree\n")?;
            self.state.index = Some(index.clone());
            parents.push(index);
        }
        let described = self.describe()?;
        parents.push(described.clone());
        parents.extend(tips);
        // git refuses a commit that names a parent twice, and a stash or a branch may well be HEAD itself.
        let mut seen = BTreeSet::new();
        parents.retain(|parent| seen.insert(parent.clone()));
        let [task, agent] = &self.spec.trailers;
        let message =
            format!("Mosaic: a tree as its agent left it\n\n{STATE_LINE}{described}\n{task}\n{agent}\n");
        let commit = self.commit(&tree, &parents, &message)?;
        self.bundle(bundle, &commit)
    }

    /// Bundles the commit as HEAD, which it is for that time only.
    fn bundle(&self, name: &str, commit: &str) -> Result<Report, HarvestError> {
        let own = self.git.dir.join("HEAD");
        // `git bundle` takes names and not ids, and the server looks for HEAD. The old HEAD comes back even after a failure,
        // because the next attempt bundles something else.
        let before = fs::read(&own).map_err(error::io("naming the salvage"))?;
        fs::write(&own, commit).map_err(error::io("naming the salvage"))?;
        let made = self.bundle_head(name);
        fs::write(&own, before).map_err(error::io("naming the salvage"))?;
        made
    }

    fn bundle_head(&self, name: &str) -> Result<Report, HarvestError> {
        let file = self.spec.outbox.join(name);
        let not_base = format!("^{}", self.spec.base);
        let mut args: Vec<&OsStr> = ["bundle", "create", "--quiet"].map(OsStr::new).to_vec();
        args.extend([file.as_os_str(), OsStr::new(&not_base), OsStr::new("HEAD")]);
        let made = self.git.run(args)?;
        match made.ok {
            true => Ok(Report::Bundled),
            false => {
                let _ = fs::remove_file(&file);
                Err(HarvestError::Failed { verb: "bundle", said: made.stderr })
            }
        }
    }

    /// Hashes what is in the tree and returns its entries; what git would refuse becomes extra.
    fn work_tree(&mut self) -> Result<Vec<Entry>, HarvestError> {
        let (look, found) = (self.look, &self.look.found);
        let same_modules = self.same_modules();
        let (mut plain, mut entries) = (Vec::new(), Vec::new());
        let mut extra: Vec<(PathBuf, Extra)> = Vec::new();
        for (path, file) in found.files.iter().chain(&found.ignored) {
            let ours = path.as_slice() == b".gitmodules" && same_modules;
            let place = self.spec.tree.join(OsStr::from_bytes(path));
            // Beside commits that were received, only what is extra comes back.
            let is_beside = self.state.aside && found.ignored.contains_key(path);
            if is_odd(path, file.is_link()) && !ours || is_beside {
                let note = Extra { path: RelPath(path.clone()), mode: file.mode, link: file.is_link() };
                extra.push((self.source(&place, &file.content)?, note));
            } else if let Some(object) = self.known_object(path, file) {
                entries.push(Entry { mode: file.git_mode(), object, path: path.clone() });
            } else {
                plain.push((path, file, self.source(&place, &file.content)?));
            }
        }
        for one in &found.beside {
            let link = matches!(one.content, Content::Link(_));
            let note = Extra { path: one.path.clone(), mode: one.mode, link };
            extra.push((self.source(&one.source, &one.content)?, note));
        }
        let sources: Vec<&Path> = plain
            .iter()
            .map(|(.., source)| source.as_path())
            .chain(extra.iter().map(|(s, _)| s.as_path()))
            .collect();
        let objects = self.hash(&sources)?;
        let (of_plain, of_extra) = objects.split_at(plain.len());
        entries.extend(plain.iter().zip(of_plain).map(|((path, file, _), object)| Entry {
            mode: file.git_mode(),
            object: object.clone(),
            path: (*path).clone(),
        }));
        entries.extend(found.gitlinks.iter().map(|(path, object)| Entry {
            mode: index_file::GITLINK,
            object: object.clone(),
            path: path.clone(),
        }));
        self.state.extra = extra.into_iter().map(|(_, note)| note).collect();
        let kept_nowhere = look.found.left.iter().filter(|left| !left.why.is_salvaged());
        self.state.left_out = kept_nowhere.map(|left| RelPath(left.path.clone())).collect();
        self.state.empty = found.empty.iter().cloned().map(RelPath).collect();
        self.extra_objects(of_extra)?;
        Ok(entries)
    }

    /// Returns the object of a file that has not changed since the tree was made; where attributes may have converted
    /// it, what lies in the tree are other bytes.
    fn known_object(&self, path: &[u8], file: &File) -> Option<String> {
        let known = || self.look.checkout.unchanged(path, file).map(str::to_owned);
        if self.look.has_attributes { None } else { known() }
    }

    /// Remembers the objects of extra files in the index that becomes the description's tree.
    fn extra_objects(&self, objects: &[String]) -> Result<(), HarvestError> {
        let info: Vec<u8> = objects
            .iter()
            .enumerate()
            .flat_map(|(n, object)| info_line("100644", object, extra_place(n).as_bytes()))
            .collect();
        self.add_to("state", &info)
    }

    /// Tells whether `.gitmodules` is as HEAD has it, which was accepted already or is refused anyway.
    fn same_modules(&self) -> bool {
        let is_file = self.look.found.files.get(b".gitmodules".as_slice()).is_some_and(|f| !f.is_link());
        let here = || {
            let path = self.spec.tree.join(".gitmodules");
            self.hash(&[path.as_path()]).ok()?.pop()
        };
        let head = self.look.mirror.head.clone().unwrap_or_default();
        let named = format!("{head}:.gitmodules");
        let there = || self.git.line(["rev-parse", "--verify", "--quiet", &named]).ok();
        is_file && here().is_some_and(|object| Some(object) == there())
    }

    /// The file whose content is taken: for a link one that holds its target.
    fn source(&self, path: &Path, content: &Content) -> Result<PathBuf, HarvestError> {
        let target = match content {
            Content::InTree => return Ok(path.to_owned()),
            Content::Copied(copy) => return Ok(copy.clone()),
            Content::Link(target) => target,
        };
        let copy = self.git.dir.join("links").join(uuid::Uuid::new_v4().simple().to_string());
        fs::write(&copy, target).map_err(error::io("keeping a link"))?;
        Ok(copy)
    }

    /// Makes blobs of files, as they are.
    fn hash(&self, sources: &[&Path]) -> Result<Vec<String>, HarvestError> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let list: Vec<u8> = sources
            .iter()
            .flat_map(|path| (quoted(path.as_os_str().as_bytes()) + "\n").into_bytes())
            .collect();
        // Without filters: the content is kept byte for byte, and a filter is a program of the agent's choice.
        let out = self.git.ask(None, ["hash-object", "-w", "--no-filters", "--stdin-paths"], &list)?;
        let objects: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        match objects.len() == sources.len() {
            true => Ok(objects),
            false => Err(HarvestError::NoAnswer("hashed fewer files than there are".to_owned())),
        }
    }

    fn write_tree(&self, index: &str, entries: &[Entry]) -> Result<String, HarvestError> {
        let info: Vec<u8> =
            entries.iter().flat_map(|e| info_line(&format!("{:o}", e.mode), &e.object, &e.path)).collect();
        self.tree_of(index, &info)
    }

    pub(crate) fn tree_of(&self, index: &str, info: &[u8]) -> Result<String, HarvestError> {
        self.add_to(index, info)?;
        let out = self.git.ask(Some(&self.git.dir.join(index)), ["write-tree"], &[])?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }

    fn add_to(&self, index: &str, info: &[u8]) -> Result<(), HarvestError> {
        let args = ["update-index", "-z", "--index-info"];
        self.git.ask(Some(&self.git.dir.join(index)), args, info).map(drop)
    }

    fn note_modes(&mut self, entries: &[Entry]) {
        let usual = |mode: u32| matches!(mode, 0o644 | 0o755);
        let found = &self.look.found;
        for entry in entries {
            if let Some(file) = found.files.get(&entry.path).or_else(|| found.ignored.get(&entry.path))
                && !file.is_link()
                && !usual(file.mode)
            {
                self.state.modes.push((RelPath(entry.path.clone()), file.mode));
            }
        }
        let odd = found.directories.iter().filter(|(_, mode)| **mode != 0o755);
        self.state.modes.extend(odd.map(|(path, mode)| (RelPath(path.clone()), *mode)));
    }

    /// Commits the description.
    fn describe(&self) -> Result<String, HarvestError> {
        let text = serde_json::to_vec(&self.state)?;
        // The server refuses to read more, so that a longer one would be kept and never come back.
        if text.len() > limits::SALVAGE_STATE_BYTES {
            return Err(HarvestError::LongDescription);
        }
        let file = self.git.dir.join("description");
        fs::write(&file, &text).map_err(error::io("writing the description"))?;
        let object = self.hash(&[file.as_path()])?.pop().unwrap_or_default();
        let mut info = info_line("100644", &object, STATE_FILE.as_bytes());
        for (n, side) in self.state.unmerged.iter().enumerate() {
            if side.mode != "160000" {
                info.extend(info_line("100644", &side.object, format!("unmerged/{n}").as_bytes()));
            }
        }
        let tree = self.tree_of("state", &info)?;
        self.commit(&tree, &[], "Mosaic: what a salvaged tree is besides its files\n")
    }

    fn commit(&self, tree: &str, parents: &[String], message: &str) -> Result<String, HarvestError> {
        let mut args = vec!["commit-tree", "--no-gpg-sign", tree];
        for parent in parents {
            args.extend(["-p", parent]);
        }
        let out = self.git.ask(None, args, message.as_bytes())?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }
}

pub(crate) fn info_line(mode: &str, object: &str, path: &[u8]) -> Vec<u8> {
    let mut line = format!("{mode} {object}\t").into_bytes();
    line.extend_from_slice(path);
    line.push(0);
    line
}
