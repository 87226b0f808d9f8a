//! Taking a tree as it is, *inside the agent's confinement*: nothing in the tree or its `.git` is changed but
//! permissions that keep its owner from reading. The objects are made in a repository of their own in the outbox,
//! content is taken raw (no filter, no line ending is converted), and links are never followed. The format is
//! described in `salvage_state`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mosaic_core::limits;

use super::harvest::{ASIDE, BUNDLE, Git, Report, Spec};
use super::salvage_files::{self as files, Found, Kind};
use super::salvage_state::{Extra, RelPath, STATE_FILE, STATE_LINE, State, extra_place, is_odd};
use super::store;
use super::walker::quoted;

/// Bundles the tree as it is. Without `all`, branches, stashes and what is under way are left out: one broken ref
/// must not cost the rest.
pub(super) fn salvage(spec: &Spec, all: bool) -> Result<Report, String> {
    Salvage::new(spec)?.run(BUNDLE, all)
}

/// Bundles it into a file beside the harvest's own, which does not hold everything; unless `whole`, only when there
/// are commits that neither HEAD nor the base reaches. A failure is told in the file.
pub(super) fn aside(spec: &Spec, whole: bool) {
    let made = Salvage::new(spec).and_then(|mut salvage| {
        salvage.state.aside = true;
        salvage.only_beside = !whole;
        salvage.run(ASIDE, true)
    });
    if let Err(why) = made {
        eprintln!("what lies beside HEAD could not be kept: {why}");
        // A full disk: then the harvest's own report cannot be written either.
        let _ = fs::write(spec.outbox.join(ASIDE), format!("{why}\n"));
    }
}

pub(super) struct Salvage<'a> {
    pub(super) spec: &'a Spec,
    /// The agent's repository: only asked.
    pub(super) git: Git,
    /// Where objects are made.
    pub(super) side: Git,
    pub(super) state: State,
    /// Without branches and stashes of its own there is nothing to take.
    only_beside: bool,
}

/// One entry of a tree being made.
struct Entry {
    mode: &'static str,
    object: String,
    path: Vec<u8>,
}

impl<'a> Salvage<'a> {
    fn new(spec: &'a Spec) -> Result<Self, String> {
        let dir = spec.outbox.join(format!("salvage-{}.git", uuid::Uuid::new_v4().simple()));
        let say = |e: std::io::Error| format!("making a repository for the salvage: {e}");
        store::skeleton(
            &dir,
            false,
            spec.base.len() == 64,
            "[core]\n\tprotectNTFS = false\n\tprotectHFS = false\n",
        )
        .map_err(say)?;
        let own = spec.tree.join(".git/objects");
        store::share_objects(&dir, &[&own, &spec.shared]).map_err(say)?;
        fs::create_dir(dir.join("links")).map_err(say)?;
        let state = State { version: 1, ..State::default() };
        Ok(Self { spec, git: Git::in_tree(spec), side: Git::at(spec, dir), state, only_beside: false })
    }

    fn run(mut self, bundle: &str, all: bool) -> Result<Report, String> {
        let head = self.ask_line(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
        self.state.head_ref = self.ask_line(["symbolic-ref", "--quiet", "HEAD"]);
        self.state.head.clone_from(&head);
        let mut tips = Vec::new();
        if all {
            tips = self.tips()?;
        }
        if self.only_beside && self.state.branches.is_empty() && self.state.stashes.is_empty() {
            return Ok(Report::Nothing);
        }
        let found = files::find(&self.spec.tree, &self.git)?;
        let index = self.index()?;
        let entries = self.work_tree(&found)?;
        let tree = self.write_tree("work", &entries)?;
        self.note_modes(&found, &entries);
        let base = head.clone().unwrap_or_else(|| self.spec.base.clone());
        let same = self.side_line(["rev-parse", &format!("{base}^{{tree}}")])?;
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
        let mut seen = BTreeSet::new();
        parents.retain(|parent| seen.insert(parent.clone()));
        let [task, agent] = &self.spec.trailers;
        let message =
            format!("Mosaic: a tree as its agent left it\n\n{STATE_LINE}{described}\n{task}\n{agent}\n");
        let commit = self.commit(&tree, &parents, &message)?;
        store::write_ref(&self.side.dir, "refs/heads/salvage", &commit.parse().map_err(|e| format!("{e}"))?)
            .and_then(|()| fs::write(self.side.dir.join("HEAD"), "ref: refs/heads/salvage\n"))
            .map_err(|e| format!("naming the salvage: {e}"))?;
        self.bundle(bundle)
    }

    fn bundle(&self, name: &str) -> Result<Report, String> {
        let file = self.spec.outbox.join(name);
        let not_base = format!("^{}", self.spec.base);
        let mut args: Vec<&OsStr> = ["bundle", "create", "--quiet"].map(OsStr::new).to_vec();
        args.extend([file.as_os_str(), OsStr::new(&not_base), OsStr::new("HEAD")]);
        let made = self.side.run(args)?;
        match made.ok {
            true => Ok(Report::Bundled),
            false => {
                let _ = fs::remove_file(&file);
                Err(format!("git bundle failed: {}", made.stderr))
            }
        }
    }

    /// Hashes what is in the tree and returns its entries; what git would refuse becomes extra.
    fn work_tree(&mut self, found: &Found) -> Result<Vec<Entry>, String> {
        let same_modules = self.same_modules(found);
        let mut plain: Vec<(&Vec<u8>, &files::File)> = Vec::new();
        let mut extra: Vec<(PathBuf, Extra)> = Vec::new();
        for (path, file) in &found.files {
            let link = file.kind == Kind::Link;
            let ours = path.as_slice() == b".gitmodules" && same_modules;
            if is_odd(path, link) && !ours {
                let note = Extra { path: RelPath(path.clone()), mode: file.mode, link };
                extra.push((self.spec.tree.join(OsStr::from_bytes(path)), note));
            } else {
                plain.push((path, file));
            }
        }
        for nested in &found.nested {
            let note =
                Extra { path: nested.path.clone(), mode: nested.mode, link: nested.kind == Kind::Link };
            extra.push((nested.source.clone(), note));
        }
        let mut sources = Vec::new();
        for (path, file) in &plain {
            sources.push(self.source(&self.spec.tree.join(OsStr::from_bytes(path)), file.kind)?);
        }
        for (source, note) in &extra {
            sources.push(self.source(source, if note.link { Kind::Link } else { Kind::File })?);
        }
        let objects = self.hash(&sources)?;
        let (of_plain, of_extra) = objects.split_at(plain.len());
        let mut entries: Vec<Entry> = plain
            .iter()
            .zip(of_plain)
            .map(|((path, file), object)| Entry {
                mode: match file.kind {
                    Kind::Link => "120000",
                    Kind::File if file.mode & 0o100 != 0 => "100755",
                    Kind::File => "100644",
                },
                object: object.clone(),
                path: (*path).clone(),
            })
            .collect();
        entries.extend(found.gitlinks.iter().map(|(path, object)| Entry {
            mode: "160000",
            object: object.clone(),
            path: path.clone(),
        }));
        self.state.extra = extra.into_iter().map(|(_, note)| note).collect();
        self.state.left_out = found.left_out.iter().cloned().map(RelPath).collect();
        self.state.empty = found.empty.iter().cloned().map(RelPath).collect();
        self.extra_objects(of_extra)?;
        Ok(entries)
    }

    /// Remembers the objects of extra files in the index that becomes the description's tree.
    fn extra_objects(&self, objects: &[String]) -> Result<(), String> {
        let info: Vec<u8> = objects
            .iter()
            .enumerate()
            .flat_map(|(n, object)| info_line("100644", object, extra_place(n).as_bytes()))
            .collect();
        self.add_to("state", &info)
    }

    /// Tells whether `.gitmodules` is as HEAD has it, which was accepted already or is refused anyway.
    fn same_modules(&self, found: &Found) -> bool {
        let is_file = found.files.get(b".gitmodules".as_slice()).is_some_and(|f| f.kind == Kind::File);
        let here = || {
            let path = self.spec.tree.join(".gitmodules");
            self.hash(&[path]).ok()?.pop()
        };
        let there = || self.ask_line(["rev-parse", "--verify", "--quiet", "HEAD:.gitmodules"]);
        is_file && here().is_some() && here() == there()
    }

    /// The file whose content is taken: for a link one that holds its target.
    fn source(&self, path: &Path, kind: Kind) -> Result<PathBuf, String> {
        if kind == Kind::File {
            return Ok(path.to_owned());
        }
        let target = fs::read_link(path).map_err(|e| format!("reading a link: {e}"))?;
        let copy = self.side.dir.join("links").join(uuid::Uuid::new_v4().simple().to_string());
        fs::write(&copy, target.as_os_str().as_bytes()).map_err(|e| format!("keeping a link: {e}"))?;
        Ok(copy)
    }

    /// Makes blobs of files, as they are.
    fn hash(&self, sources: &[PathBuf]) -> Result<Vec<String>, String> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let list: Vec<u8> = sources
            .iter()
            .flat_map(|path| (quoted(path.as_os_str().as_bytes()) + "\n").into_bytes())
            .collect();
        let out = ask(&self.side, None, ["hash-object", "-w", "--no-filters", "--stdin-paths"], &list)?;
        let objects: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        match objects.len() == sources.len() {
            true => Ok(objects),
            false => Err("git hashed fewer files than there are".to_owned()),
        }
    }

    fn write_tree(&self, index: &str, entries: &[Entry]) -> Result<String, String> {
        let info: Vec<u8> = entries.iter().flat_map(|e| info_line(e.mode, &e.object, &e.path)).collect();
        self.tree_of(index, &info)
    }

    pub(super) fn tree_of(&self, index: &str, info: &[u8]) -> Result<String, String> {
        self.add_to(index, info)?;
        let out = ask(&self.side, Some(&self.side.dir.join(index)), ["write-tree"], &[])?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }

    fn add_to(&self, index: &str, info: &[u8]) -> Result<(), String> {
        let args = ["update-index", "-z", "--index-info"];
        ask(&self.side, Some(&self.side.dir.join(index)), args, info).map(drop)
    }

    fn note_modes(&mut self, found: &Found, entries: &[Entry]) {
        let usual = |mode: u32| matches!(mode, 0o644 | 0o755);
        for entry in entries {
            if let Some(file) = found.files.get(&entry.path)
                && file.kind == Kind::File
                && !usual(file.mode)
            {
                self.state.modes.push((RelPath(entry.path.clone()), file.mode));
            }
        }
        let odd = found.directories.iter().filter(|(_, mode)| **mode != 0o755);
        self.state.modes.extend(odd.map(|(path, mode)| (RelPath(path.clone()), *mode)));
    }

    /// Commits the description.
    fn describe(&self) -> Result<String, String> {
        let text = serde_json::to_vec(&self.state).map_err(|e| e.to_string())?;
        if text.len() > limits::SALVAGE_STATE_BYTES {
            return Err("the description of the tree is too long".to_owned());
        }
        let file = self.side.dir.join("description");
        fs::write(&file, &text).map_err(|e| format!("writing the description: {e}"))?;
        let object = self.hash(&[file])?.pop().unwrap_or_default();
        let mut info = info_line("100644", &object, STATE_FILE.as_bytes());
        for (n, side) in self.state.unmerged.iter().enumerate() {
            if side.mode != "160000" {
                info.extend(info_line("100644", &side.object, format!("unmerged/{n}").as_bytes()));
            }
        }
        let tree = self.tree_of("state", &info)?;
        self.commit(&tree, &[], "Mosaic: what a salvaged tree is besides its files\n")
    }

    fn commit(&self, tree: &str, parents: &[String], message: &str) -> Result<String, String> {
        let mut args = vec!["commit-tree", "--no-gpg-sign", tree];
        for parent in parents {
            args.extend(["-p", parent]);
        }
        let out = ask(&self.side, None, args, message.as_bytes())?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }

    fn ask_line<const N: usize>(&self, args: [&str; N]) -> Option<String> {
        let out = ask(&self.git, None, args, &[]).ok()?;
        Some(String::from_utf8_lossy(&out).trim().to_owned()).filter(|line| !line.is_empty())
    }

    fn side_line<const N: usize>(&self, args: [&str; N]) -> Result<String, String> {
        let out = ask(&self.side, None, args, &[])?;
        Ok(String::from_utf8_lossy(&out).trim().to_owned())
    }
}

pub(super) fn info_line(mode: &str, object: &str, path: &[u8]) -> Vec<u8> {
    let mut line = format!("{mode} {object}\t").into_bytes();
    line.extend_from_slice(path);
    line.push(0);
    line
}

/// Runs git with this input and returns its whole output; what it says goes to the log of the harvest.
pub(super) fn ask<S: AsRef<OsStr>>(
    git: &Git,
    index: Option<&Path>,
    args: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Result<Vec<u8>, String> {
    let mut command = git.command(args);
    if let Some(index) = index {
        command.env("GIT_INDEX_FILE", index);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let failed = |e: std::io::Error| format!("git could not be run: {e}");
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take();
    let done = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(stdin) = stdin.as_mut() {
                // A child that ends without reading everything says why on its own.
                let _ = stdin.write_all(input);
            }
            drop(stdin);
        });
        child.wait_with_output()
    });
    let done = done.map_err(failed)?;
    match done.status.success() {
        true => Ok(done.stdout),
        false => Err(format!("git {:?} ended with {}", command.get_args().last(), done.status)),
    }
}
