//! A git directory of our own that stands for the agent's: its HEAD, refs, index and what is under way are copied as
//! data, its objects are read through an alternate, its settings, attributes and hooks do not come along. Every git of a
//! harvest or a salvage works here and never in the agent's `.git`.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;
use rustix::fs::FileType;

use super::error::{self, HarvestError};
use super::program::Git;
use crate::bounded_file;
use crate::git::bundle_spec::Spec;
use crate::git::head_file::{NAMES_BYTES, is_ref_name, read_below};
use crate::git::index_file::{self, Entry};
use crate::git::{bare_repository, handles, ref_files};

/// Longest log of stashes that is read, in bytes.
const STASH_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// Deepest nesting of directories of refs.
const DEPTH: usize = 32;

/// Files of a git directory that say what is under way or name commits that are still needed.
const NOTES: &[&str] = &[
    "MERGE_HEAD",
    "MERGE_AUTOSTASH",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "BISECT_START",
    "rebase-merge/head-name",
    "rebase-merge/orig-head",
    "rebase-merge/onto",
    "rebase-merge/autostash",
    "rebase-apply/rebasing",
    "rebase-apply/applying",
    "rebase-apply/orig-head",
    "rebase-apply/onto",
    "rebase-apply/autostash",
];

/// The copy.
pub(crate) struct Mirror {
    pub(crate) git: Git,
    /// HEAD's commit; none on a branch without commits.
    pub(crate) head: Option<String>,
    /// The branch that HEAD is on; none when it is detached.
    pub(crate) head_ref: Option<String>,
    /// Entries of the index; none when it cannot be read.
    pub(crate) index: Option<Vec<Entry>>,
    /// Why the agent's git directory cannot be relied on; then only files are taken.
    pub(crate) unusable: Option<String>,
    /// The objects of the server's bare repository, which are always read.
    shared: PathBuf,
}

impl Mirror {
    /// Copies the git directory of the tree. One that is missing, or no directory, leaves the mirror empty.
    pub(crate) fn of(spec: &Spec, tree: &OwnedFd) -> Result<Self, HarvestError> {
        let dir = spec.outbox.join(format!("mirror-{}.git", uuid::Uuid::new_v4().simple()));
        let mut mirror = Self::empty(spec, dir)?;
        let git_dir = match handles::enter(tree, b".git") {
            Ok(git_dir) => git_dir,
            Err(e) => {
                mirror.unusable = Some(format!("its .git is no directory ({e})"));
                return Ok(mirror);
            }
        };
        // An alternate that the agent wrote could lend objects of another repository on this machine, which would then be
        // published.
        let known = |lender: &Path| lender == spec.shared;
        if let Err(e) = mirror.copy(spec, &git_dir, &spec.tree.join(".git"), &known) {
            mirror.unusable = Some(e.to_string());
        }
        Ok(mirror)
    }

    /// Copies a git directory that lies in the tree, of another repository.
    pub(super) fn of_nested(spec: &Spec, git_dir: &OwnedFd, path: &Path) -> Result<Self, HarvestError> {
        let dir = spec.outbox.join(format!("nested-{}.git", uuid::Uuid::new_v4().simple()));
        let mut mirror = Self::empty(spec, dir)?;
        // It is only read here, so that it may share the objects of any repository that the server keeps.
        let all = spec.shared.parent().and_then(Path::parent);
        let known =
            |lender: &Path| lender.parent().and_then(Path::parent) == all && lender.ends_with("objects");
        mirror.copy(spec, git_dir, path, &known)?;
        Ok(mirror)
    }

    fn empty(spec: &Spec, dir: PathBuf) -> Result<Self, HarvestError> {
        // What a planted file of these kinds would say about history is not looked at.
        let settings = "[core]\n\tcommitGraph = false\n\tmultiPackIndex = false\n";
        bare_repository::skeleton(&dir, true, spec.base.len() == 64, settings).map_err(copying)?;
        let git = Git::new(spec, dir);
        let mirror = Self {
            git,
            head: None,
            head_ref: None,
            index: None,
            unusable: None,
            shared: spec.shared.clone(),
        };
        mirror.share(&[]).map_err(copying)?;
        Ok(mirror)
    }

    fn copy(
        &mut self,
        spec: &Spec,
        from: &OwnedFd,
        path: &Path,
        known: &dyn Fn(&Path) -> bool,
    ) -> Result<(), HarvestError> {
        self.objects(from, path, known).map_err(error::io("its objects"))?;
        let mut budget = limits::MIRRORED_REFS;
        if let Ok(refs) = handles::enter(from, b"refs") {
            self.refs(&refs, "refs", 0, &mut budget).map_err(copying)?;
        }
        self.packed(spec, from).map_err(copying)?;
        self.notes(from).map_err(copying)?;
        self.worktrees(from).map_err(copying)?;
        self.index = self.read_index(spec, from);
        self.head(from, &spec.branch).inspect_err(|_| {
            // What was committed on the branch that was made for the agent is there all the same.
            let own = format!("refs/heads/{}", spec.branch);
            self.head = ref_files::read_ref(&self.git.dir, &own).map(String::from);
            self.head_ref = self.head.is_some().then_some(own);
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.git.dir.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&self.git.dir))?;
        fs::write(path, bytes)
    }

    /// Reads what HEAD is at.
    fn head(&mut self, from: &OwnedFd, own: &str) -> Result<(), HarvestError> {
        let text = handles::read_plain(from, b"HEAD", NAMES_BYTES).map_err(error::io("its HEAD"))?;
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        match text.strip_prefix("ref: ").map(str::trim) {
            Some(name) if is_ref_name(name) => {
                self.head_ref = Some(name.to_owned());
                self.head = ref_files::read_ref(&self.git.dir, name).map(String::from);
                let is_own = name.strip_prefix("refs/heads/") == Some(own);
                if self.head.is_none() && (is_own || handles::look(from, name.as_bytes()).is_ok()) {
                    return Err(HarvestError::NoHead(format!("{name}, which HEAD is on, cannot be read")));
                }
                self.write("HEAD", format!("ref: {name}\n").as_bytes()).map_err(copying)
            }
            None if text.parse::<CommitId>().is_ok() => {
                self.write("HEAD", text.as_bytes()).map_err(copying)?;
                self.head = Some(text);
                Ok(())
            }
            _ => Err(HarvestError::NoHead("its HEAD names nothing".to_owned())),
        }
    }

    /// Copies loose refs that name a commit; what is no plain file is left.
    fn refs(&self, from: &OwnedFd, name: &str, depth: usize, budget: &mut usize) -> io::Result<()> {
        for (part, _) in handles::names(from)? {
            let Ok(part) = std::str::from_utf8(&part) else { continue };
            let name = format!("{name}/{part}");
            if *budget == 0 || !is_ref_name(&name) {
                continue;
            }
            // An agent can make millions of refs; each of them would be a file here.
            *budget -= 1;
            if let Ok(below) = handles::enter(from, part.as_bytes()) {
                if depth < DEPTH {
                    self.refs(&below, &name, depth + 1, budget)?;
                }
            } else if let Ok(text) = handles::read_plain(from, part.as_bytes(), NAMES_BYTES)
                && let Ok(commit) = String::from_utf8_lossy(&text).trim_end().parse::<CommitId>()
            {
                self.write(&name, format!("{commit}\n").as_bytes())?;
            }
        }
        Ok(())
    }

    /// Copies the lines of `packed-refs` that are well formed, but not the tags that the tree was given: they are in the
    /// bare repository already, and each would be looked at as if it were the agent's.
    fn packed(&self, spec: &Spec, from: &OwnedFd) -> io::Result<()> {
        let Ok(text) = handles::read_plain(from, b"packed-refs", limits::LISTING_BYTES as u64) else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&text);
        let given = bounded_file::read_text(&spec.given_tags, limits::PACKED_REFS_BYTES).unwrap_or_default();
        let given: HashSet<&str> = given.lines().collect();
        let is_whole = |line: &&str| {
            line.split_once(' ').is_some_and(|(id, name)| id.parse::<CommitId>().is_ok() && is_ref_name(name))
        };
        let kept: String = text
            .lines()
            .filter(is_whole)
            .filter(|line| !given.contains(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        self.write("packed-refs", kept.as_bytes())
    }

    fn notes(&self, from: &OwnedFd) -> io::Result<()> {
        for dir in ["rebase-merge", "rebase-apply"] {
            if handles::enter(from, dir.as_bytes()).is_ok() {
                fs::create_dir_all(self.git.dir.join(dir))?;
            }
        }
        // By name, from a list of our own: the plan of a rebase (`git-rebase-todo`) holds commands, and settings name
        // programs.
        for note in NOTES {
            if let Some(text) = read_below(from, note, NAMES_BYTES) {
                self.write(note, &text)?;
            }
        }
        let further = [("logs/refs/stash", STASH_LOG_BYTES), ("info/exclude", limits::RULES_BYTES)];
        for (name, most) in further {
            if let Some(text) = read_below(from, name, most) {
                self.write(name, &text)?;
            }
        }
        Ok(())
    }

    /// Copies the heads of other worktrees.
    fn worktrees(&self, from: &OwnedFd) -> io::Result<()> {
        let Ok(all) = handles::enter(from, b"worktrees") else { return Ok(()) };
        for (name, _) in handles::names(&all)?.into_iter().take(limits::KEPT_BRANCHES) {
            let Ok(name) = String::from_utf8(name) else { continue };
            let Ok(one) = handles::enter(&all, name.as_bytes()) else { continue };
            if let Ok(head) = handles::read_plain(&one, b"HEAD", NAMES_BYTES) {
                self.write(&format!("worktrees/{name}/HEAD"), &head)?;
            }
        }
        Ok(())
    }

    fn read_index(&self, spec: &Spec, from: &OwnedFd) -> Option<Vec<Entry>> {
        let bytes = handles::read_plain(from, b"index", limits::INDEX_BYTES).ok()?;
        self.entries(spec, from, &bytes)
    }

    /// Reads entries, with git's help where they do not all stand in one file.
    fn entries(&self, spec: &Spec, from: &OwnedFd, bytes: &[u8]) -> Option<Vec<Entry>> {
        if let Some(entries) = index_file::parse(bytes, spec.base.len() == 64) {
            return Some(entries);
        }
        self.write("agent-index", bytes).ok()?;
        for (name, _) in handles::names(from).ok()? {
            let Ok(text) = std::str::from_utf8(&name) else { continue };
            if text.starts_with("sharedindex.") && is_ref_name(&format!("refs/{text}")) {
                let part = handles::read_plain(from, &name, limits::INDEX_BYTES).ok()?;
                self.write(text, &part).ok()?;
            }
        }
        let index = self.git.dir.join("agent-index");
        let listed = self.git.ask(Some(&index), ["ls-files", "-s", "-t", "-z"], &[]).ok()?;
        Some(index_file::parse_listing(&listed))
    }

    fn share(&self, lenders: &[&Path]) -> io::Result<()> {
        let others = lenders.iter().filter(|dir| **dir != self.shared);
        let all: Vec<&Path> = others.copied().chain([self.shared.as_path()]).collect();
        bare_repository::share_objects(&self.git.dir, &all)
    }

    /// Lets the objects of a git directory be read, and those of further directories that it names, as far as they are known.
    /// Where its directory holds anything but plain files, or names other directories, each plain file is linked by itself:
    /// neither can a pipe hold up git, nor another repository come in.
    fn objects(&self, from: &OwnedFd, path: &Path, known: &dyn Fn(&Path) -> bool) -> io::Result<()> {
        let objects = handles::enter(from, b"objects")?;
        let path = path.join("objects");
        let mut plain = Vec::new();
        let only_plain = list_objects(&objects, &mut plain)?;
        let info = handles::enter(&objects, b"info");
        let names_some = info.is_ok_and(|info| handles::look(&info, b"alternates").is_ok());
        let named = read_below(&objects, "info/alternates", NAMES_BYTES);
        let named = named.map(|text| String::from_utf8_lossy(&text).into_owned());
        let lines: Vec<&Path> = named.iter().flat_map(|text| text.lines()).map(Path::new).collect();
        let is_known = |lender: &&&Path| known(lender) && lender.is_dir();
        let mut lenders: Vec<&Path> = lines.iter().filter(is_known).copied().collect();
        // The whole directory is borrowed only where nothing in it can surprise git: it follows links, opens pipes and reads
        // alternates of alternates.
        if only_plain && lenders.len() == lines.len() && names_some == named.is_some() {
            lenders.insert(0, &path);
            return self.share(&lenders);
        }
        for file in plain {
            let link = self.git.dir.join("objects").join(&file);
            fs::create_dir_all(link.parent().unwrap_or(&self.git.dir))?;
            std::os::unix::fs::symlink(path.join(&file), link)?;
        }
        self.share(&lenders)
    }
}

/// Lists the files of an object directory that are loose objects or packs; tells whether there is nothing but plain
/// files and directories.
fn list_objects(objects: &OwnedFd, plain: &mut Vec<PathBuf>) -> io::Result<bool> {
    let mut only_plain = true;
    for (dir, kind) in handles::names(objects)? {
        let wanted = dir == b"pack" || dir.len() == 2 && dir.iter().all(u8::is_ascii_hexdigit);
        let below = match handles::enter(objects, &dir) {
            Ok(below) => below,
            Err(_) => {
                only_plain &= kind == FileType::RegularFile;
                continue;
            }
        };
        for (name, kind) in handles::names(&below)? {
            // Some file systems do not say it in the listing.
            let kind =
                if kind == FileType::Unknown { handles::kind(&handles::look(&below, &name)?) } else { kind };
            only_plain &= matches!(kind, FileType::RegularFile | FileType::Directory);
            let name = String::from_utf8_lossy(&name).into_owned();
            if wanted && kind == FileType::RegularFile && name.is_ascii() {
                plain.push(PathBuf::from(String::from_utf8_lossy(&dir).into_owned()).join(name));
            }
        }
    }
    Ok(only_plain)
}

fn copying(e: io::Error) -> HarvestError {
    error::io("copying its git directory")(e)
}
