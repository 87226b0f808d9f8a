//! The commit that holds what an agent left uncommitted. It is made from what was found in the tree, so that nothing
//! which lies there can be missing from it without being named; the agent's own branch and index stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Stdio;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;

use super::super::harvest::{Purpose, SUBJECT, Spec};
use super::super::store;
use super::ignored::{self, Tree};
use super::index::{Entry, GITLINK};
use super::left::{Left, LeftReport, Why};
use super::links::Links;
use super::listing::{self, Checkout, Listing};
use super::mirror::Mirror;
use super::program::{Git, not_run};
use super::walk::{Content, File, Found, Walk, place};
use super::{data, quoted};

/// The ref under which the commit is made.
const MADE: &str = "refs/mosaic/leftovers";
/// Largest file that is read into memory at once; a larger one is copied as it is read.
const WHOLE_FILE: u64 = 1024 * 1024;

/// A tree that was looked at.
pub(in crate::git) struct Look<'a> {
    pub(in crate::git) spec: &'a Spec,
    pub(in crate::git) mirror: Mirror,
    pub(in crate::git) found: Found,
    pub(in crate::git) checkout: Checkout,
    /// Some file of attributes stands in the tree.
    pub(in crate::git) has_attributes: bool,
    /// The tree made here with the files of rules.
    rules: PathBuf,
    /// Files of HEAD.
    listing: Listing,
    links: Links,
    /// The commit that [`Look::commit`] returned.
    made: Option<String>,
    /// The tree's own git directory is there, and could not be read.
    is_unreadable: bool,
    /// Why the commits were given up.
    forsaken: Option<String>,
}

/// Content of a path of the new commit.
enum Put {
    Object(u32, String),
    Content(u32, Content),
}

impl<'a> Look<'a> {
    /// Looks at the tree: its git directory as data, then everything that lies in it.
    pub(in crate::git) fn at(spec: &'a Spec) -> Result<Self, String> {
        let tree = own_tree(spec)?;
        let mut mirror = Mirror::of(spec, &tree)?;
        let checkout = Checkout::read(spec);
        let listing = head_listing(spec, &mut mirror, &checkout)?;
        let of_base = match checkout.is_of(&spec.base) {
            true => checkout.listing(),
            false => listing::of_commit(&mirror.git, &spec.base)?,
        };
        let base_rules = ignored::rules_of(&of_base);
        let links = Links::new(of_base, &listing, &mirror, &tree);
        let tracked: BTreeSet<Vec<u8>> = match &mirror.index {
            Some(index) => index.iter().map(|entry| entry.path.clone()).collect(),
            None => listing.keys().cloned().collect(),
        };
        let mut walk = Walk::new(spec, &mirror, tracked, &links)?;
        walk.visit(&tree, &[], 0)?;
        let (mut found, rules, out) = (walk.found, walk.rules, walk.ignored);
        if spec.purpose != Purpose::Snapshot {
            let tree = Tree { spec, dir: &tree, git: &mirror.git, rules: &rules, checkout: &checkout };
            ignored::find(&tree, out, &base_rules, &mut found);
        }
        let (has_attributes, rules) = (rules.has_attributes, rules.tree.clone());
        leave_too_large(&mut found, &checkout);
        if mirror.unusable.is_some() {
            leave_links(spec, &mut found, &listing);
        }
        found.prune_directories();
        let made = mirror.head.clone();
        let is_unreadable = mirror.unusable.is_some() && data::look(&tree, b".git").is_ok();
        let forsaken = None;
        Ok(Self {
            spec,
            mirror,
            found,
            checkout,
            has_attributes,
            rules,
            listing,
            links,
            made,
            is_unreadable,
            forsaken,
        })
    }

    /// Says what lies in the tree and is not in the commit.
    pub(in crate::git) fn left(&self) -> LeftReport {
        let mut report = LeftReport::of(&self.found.left);
        report.git_dir = self.is_unreadable;
        let note = match (&self.forsaken, &self.mirror.unusable) {
            (Some(why), _) => format!(
                "its own commits are not published as they are ({why}): its files were committed as they lie in the tree; its commits come back with `mosaic restore`"
            ),
            (_, Some(why)) => format!(
                "the git directory of its tree could not be used ({why}): its files were taken as they are, commits in it may be missing"
            ),
            _ => return report,
        };
        report.notes.push(note);
        report
    }

    /// Tells whether [`Look::note_staged`] found anything.
    pub(in crate::git) fn has_staged(&self) -> bool {
        self.found.left.iter().any(|one| one.why == Why::Staged)
    }

    /// Gives up what its git directory says: from here on the files alone count, on top of the base.
    pub(in crate::git) fn forsake(&mut self, why: String) {
        let git = self.mirror.git.clone();
        self.mirror.unusable = Some(why.clone());
        self.forsaken.get_or_insert(why);
        self.mirror.head = Some(self.spec.base.clone());
        self.mirror.index = None;
        self.listing = listing::of_commit(&git, &self.spec.base).unwrap_or_default();
        for note in ["MERGE_HEAD", "rebase-merge", "rebase-apply"] {
            // Of a directory of our own: what is not there need not go.
            let _ = fs::remove_file(git.dir.join(note)).or_else(|_| fs::remove_dir_all(git.dir.join(note)));
        }
    }

    /// Names what only the index holds, compared with HEAD and with the commit that was made; tells whether there is
    /// anything. An ordinary commit would have taken it. The sides of a merge that is concluded are in its history.
    pub(in crate::git) fn note_staged(&mut self) -> bool {
        let is_merging = !merge_heads(&self.mirror.git).is_empty();
        let is_content = |e: &&Entry| e.mode != GITLINK && !e.intent && (e.stage == 0 || !is_merging);
        let is_new = |e: &&Entry, listing: &Listing| {
            listing.get(&e.path).is_none_or(|(mode, object)| *mode != e.mode || *object != e.object)
        };
        let index = self.mirror.index.iter().flatten().filter(is_content);
        let mut staged: Vec<&Entry> = index.filter(|e| is_new(e, &self.listing)).collect();
        if !staged.is_empty() && self.made != self.mirror.head {
            let made = self.made.as_deref().map(|made| listing::of_commit(&self.mirror.git, made));
            let made = made.and_then(Result::ok).unwrap_or_default();
            staged.retain(|e| is_new(e, &made));
        }
        let mut paths: Vec<Vec<u8>> = staged.into_iter().map(|e| e.path.clone()).collect();
        paths.dedup();
        self.found.left.extend(paths.into_iter().map(|path| Left { path, why: Why::Staged }));
        self.has_staged()
    }

    /// Makes the commit, unless everything is committed; returns what HEAD is then, none without any commit.
    pub(in crate::git) fn commit(&mut self) -> Result<Option<String>, String> {
        let git = self.mirror.git.clone();
        if self.spec.purpose == Purpose::Commit && self.forsaken.is_none() {
            self.refuse_stray_links()?;
        }
        let origin = rebase_origin(&git);
        let is_snapshot = self.spec.purpose == Purpose::Snapshot;
        let aborted = origin.clone().filter(|_| !is_snapshot);
        if let Some(origin) = &aborted {
            self.listing = listing::of_commit(&git, origin)?;
        }
        let (puts, removed) = self.changes(aborted.is_some());
        let head = aborted.or_else(|| self.mirror.head.clone());
        let merging = merge_heads(&git);
        let made = match puts.is_empty() && removed.is_empty() && merging.is_empty() {
            true => head.clone(),
            false => Some(self.import(head.as_deref(), &merging, &removed, &puts)?),
        };
        let same = merging.is_empty() && self.is_same(head.as_deref(), made.as_deref())?;
        let head = if same { head } else { made };
        let head = match (origin.filter(|_| is_snapshot), head) {
            (Some(origin), Some(now)) => Some(rebased_so_far(&git, &origin, &now).unwrap_or(now)),
            (_, head) => head,
        };
        if let Some(head) = &head {
            self.name(head).map_err(|e| format!("naming the commit: {e}"))?;
        }
        self.made.clone_from(&head);
        Ok(head)
    }

    /// Fails when a commit of the agent's links to a repository in the tree, which nobody could fetch: the commit on top of
    /// it may hold its files, but the one with the link would be published too.
    fn refuse_stray_links(&self) -> Result<(), String> {
        let Some(head) = self.mirror.head.as_deref().filter(|head| *head != self.spec.base) else {
            return Ok(());
        };
        let range = format!("{}..{head}", self.spec.base);
        let args = ["log", "--format=", "--raw", "-z", "--no-abbrev", "--no-renames", "--root"];
        let args =
            args.iter().copied().chain(["--diff-merges=combined", range.as_str(), "--not", "--remotes"]);
        let listed = self.mirror.git.ask(None, args, &[])?;
        let mut fields = listed.split(|byte| *byte == 0);
        while let Some(entry) = fields.next() {
            let Some(start) = entry.iter().position(|byte| *byte == b':') else { continue };
            let (change, path) = (&entry[start..], fields.next().unwrap_or_default());
            let parents = change.iter().take_while(|byte| **byte == b':').count();
            let mode = change[parents..].split(|byte| *byte == b' ').nth(parents);
            if mode == Some(b"160000") && !self.links.is_submodule(path) {
                let path = super::super::errors::plain(&String::from_utf8_lossy(path));
                return Err(format!("they link to the repository in {path}, which nobody else has"));
            }
        }
        Ok(())
    }

    /// Lets HEAD of the mirror be at a commit; the first one of a branch is that branch's.
    fn name(&mut self, head: &str) -> io::Result<()> {
        let dir = &self.mirror.git.dir;
        match (&self.mirror.head, &self.mirror.head_ref) {
            (None, Some(branch)) => {
                fs::create_dir_all(dir.join(branch).parent().unwrap_or(dir))?;
                fs::write(dir.join(branch), format!("{head}\n"))?;
                self.mirror.head = Some(head.to_owned());
                Ok(())
            }
            _ => fs::write(dir.join("HEAD"), head),
        }
    }

    fn is_same(&self, head: Option<&str>, made: Option<&str>) -> Result<bool, String> {
        let (Some(head), Some(made)) = (head, made) else { return Ok(false) };
        let args = ["diff-tree", "--quiet", head, made];
        Ok(head == made || self.mirror.git.run(args)?.code == Some(0))
    }

    /// Compares what was found with what HEAD holds.
    fn changes(&self, only_new: bool) -> (BTreeMap<Vec<u8>, Put>, Vec<Vec<u8>>) {
        let mut puts = BTreeMap::new();
        let mut kept: BTreeSet<&[u8]> = BTreeSet::new();
        let index = || self.mirror.index.iter().flatten();
        let tracked: BTreeSet<&[u8]> = match only_new {
            // What was being rebased goes back to where it was; only what git does not know is taken.
            true => index().map(|e| e.path.as_slice()).collect(),
            false => BTreeSet::new(),
        };
        for (path, file) in &self.found.files {
            kept.insert(path);
            if tracked.contains(path.as_slice()) || only_new && self.listing.contains_key(path) {
                continue;
            }
            let known = self.listing.get(path);
            match self.checkout.unchanged(path, file) {
                Some(object) if known == Some(&(file.git_mode(), object.to_owned())) => {}
                Some(object) => drop(puts.insert(path.clone(), put_object(file, object))),
                None => drop(puts.insert(path.clone(), Put::Content(file.git_mode(), file.content.clone()))),
            }
        }
        if only_new {
            return (puts, Vec::new());
        }
        kept.extend(self.kept_as_committed());
        for (path, object) in &self.found.gitlinks {
            kept.insert(path);
            if self.listing.get(path) != Some(&(GITLINK, object.clone())) {
                puts.insert(path.clone(), Put::Object(GITLINK, object.clone()));
            }
        }
        // What a sparse checkout left out on purpose is as the index has it.
        for entry in index().filter(|e| e.skipped && e.stage == 0 && !self.found.files.contains_key(&e.path))
        {
            let is_new_link = entry.mode == GITLINK && !self.links.is_submodule(&entry.path);
            if is_new_link || self.is_covered(&entry.path) {
                continue;
            }
            kept.insert(&entry.path);
            if self.listing.get(&entry.path) != Some(&(entry.mode, entry.object.clone())) {
                puts.insert(entry.path.clone(), Put::Object(entry.mode, entry.object.clone()));
            }
        }
        let removed = self.listing.keys().filter(|path| !kept.contains(path.as_slice())).cloned().collect();
        (puts, removed)
    }

    /// Lists what HEAD has where something lies that cannot be taken: nothing that may be there is deleted.
    fn kept_as_committed(&self) -> Vec<&[u8]> {
        let left = self.found.left.iter().filter(|one| one.why.keeps_committed());
        let listed = left.flat_map(|one| {
            let below = [one.path.as_slice(), b"/"].concat();
            let same = self.listing.get_key_value(&one.path).map(|(path, _)| path);
            let all = self.listing.range(below.clone()..).map(|(path, _)| path);
            same.into_iter().chain(all.take_while(move |path| path.starts_with(&below)))
        });
        listed.map(Vec::as_slice).collect()
    }

    /// Tells whether a directory lies where this file would be, or a file where one of its directories would be.
    fn is_covered(&self, path: &[u8]) -> bool {
        let above = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at]);
        let below = [path, b"/"].concat();
        let next = self.found.files.range(below.clone()..).next();
        above.into_iter().any(|part| self.found.files.contains_key(part))
            || next.is_some_and(|(path, _)| path.starts_with(&below))
    }

    /// Makes a commit on top of HEAD; concludes a merge.
    fn import(
        &self,
        head: Option<&str>,
        merging: &[String],
        removed: &[Vec<u8>],
        puts: &BTreeMap<Vec<u8>, Put>,
    ) -> Result<String, String> {
        let converted = self.convert(puts);
        let git = &self.mirror.git;
        let mut command = git.command(["fast-import", "--quiet", "--date-format=now", "--done", "--force"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_run)?;
        let mut out = BufWriter::new(child.stdin.take().expect("stdin was piped"));
        let written = self
            .begin(&mut out, head, merging)
            .and_then(|()| self.write_changes(&mut out, removed, puts, &converted))
            .and_then(|()| out.write_all(b"done\n"))
            .and_then(|()| out.flush());
        drop(out);
        let done = child.wait_with_output().map_err(not_run)?;
        match (done.status.success(), written) {
            (true, Ok(())) => {}
            (_, Err(e)) if e.kind() != io::ErrorKind::BrokenPipe => {
                return Err(format!("committing what is left over: {e}"));
            }
            _ => {
                let said = String::from_utf8_lossy(&done.stderr);
                return Err(format!("git fast-import failed: {}", super::super::errors::plain(&said)));
            }
        }
        let made = store::read_ref(&git.dir, MADE);
        // It is no branch of the agent's.
        let _ = fs::remove_file(git.dir.join(MADE));
        made.map(String::from).ok_or_else(|| "git fast-import made no commit".to_owned())
    }

    fn begin(&self, out: &mut impl Write, head: Option<&str>, merging: &[String]) -> io::Result<()> {
        let [task, agent] = &self.spec.trailers;
        let message = format!("{SUBJECT}\n\n{task}\n{agent}\n");
        let [name, email] =
            [&self.spec.author.0, &self.spec.author.1].map(|text| text.replace(['<', '>', '\n', '\0'], ""));
        writeln!(out, "commit {MADE}\ncommitter {name} <{email}> now\ndata {}\n{message}", message.len())?;
        if let Some(head) = head {
            writeln!(out, "from {head}")?;
        }
        merging.iter().try_for_each(|other| writeln!(out, "merge {other}"))
    }

    fn write_changes(
        &self,
        out: &mut impl Write,
        removed: &[Vec<u8>],
        puts: &BTreeMap<Vec<u8>, Put>,
        converted: &BTreeMap<Vec<u8>, String>,
    ) -> io::Result<()> {
        match self.spec.rewrite {
            true => self.rewrite(out, removed, puts)?,
            false => removed.iter().try_for_each(|path| writeln!(out, "D {}", quoted(path)))?,
        }
        let mut room = limits::BUNDLE_BYTES;
        for (path, put) in puts {
            let path_text = quoted(path);
            match (put, converted.get(path)) {
                (Put::Object(mode, object), _) => writeln!(out, "M {mode:o} {object} {path_text}")?,
                (Put::Content(mode, _), Some(object)) => writeln!(out, "M {mode:o} {object} {path_text}")?,
                (Put::Content(mode, content), None) => {
                    let before = format!("M {mode:o} inline {path_text}\n");
                    self.write_content(out, path, content, &before, &mut room)?;
                }
            }
        }
        Ok(())
    }

    /// Begins with an empty tree and takes over what stays: of a name that stands twice in a tree, a change would leave one.
    fn rewrite(
        &self,
        out: &mut impl Write,
        removed: &[Vec<u8>],
        puts: &BTreeMap<Vec<u8>, Put>,
    ) -> io::Result<()> {
        let removed: BTreeSet<&Vec<u8>> = removed.iter().collect();
        writeln!(out, "deleteall")?;
        for (path, (mode, object)) in &self.listing {
            if !removed.contains(path) && !puts.contains_key(path) {
                // Old trees have modes that git does not write any more.
                let mode = match (mode & 0o170_000, mode & 0o100) {
                    (0o100_000, 0) => 0o100_644,
                    (0o100_000, _) => 0o100_755,
                    _ => *mode,
                };
                writeln!(out, "M {mode:o} {object} {}", quoted(path))?;
            }
        }
        Ok(())
    }

    fn write_content(
        &self,
        out: &mut impl Write,
        path: &[u8],
        content: &Content,
        before: &str,
        room: &mut u64,
    ) -> io::Result<()> {
        let source = match content {
            Content::Link(target) => {
                writeln!(out, "{before}data {}", target.len())?;
                out.write_all(target)?;
                return out.write_all(b"\n");
            }
            Content::Copied(copy) => copy.clone(),
            Content::InTree => place(self.spec, path),
        };
        let (Some(dir), Some(name)) = (source.parent(), source.file_name()) else { return Ok(()) };
        // Of a tree that lives on, a file may be gone by now.
        let Ok(file) = data::open_directory(dir).and_then(|dir| data::open_plain(dir, name.as_bytes()))
        else {
            eprintln!("gone or unreadable: {}", source.display());
            return Ok(());
        };
        let mut length = file.metadata()?.len();
        *room = room.checked_sub(length).ok_or_else(too_large)?;
        if length <= WHOLE_FILE {
            let mut bytes = Vec::new();
            file.take(WHOLE_FILE * 2).read_to_end(&mut bytes)?;
            writeln!(out, "{before}data {}", bytes.len())?;
            out.write_all(&bytes)?;
            return out.write_all(b"\n");
        }
        writeln!(out, "{before}data {length}")?;
        length -= io::copy(&mut file.take(length), out)?;
        if length > 0 {
            return Err(io::Error::other("a file shrank while it was read"));
        }
        out.write_all(b"\n")
    }

    /// Makes the objects of files whose line endings or encoding the tree's attributes convert. No filter is known to the
    /// git that does it. On an error files are taken as they are.
    fn convert(&self, puts: &BTreeMap<Vec<u8>, Put>) -> BTreeMap<Vec<u8>, String> {
        let in_tree = |put: &Put| matches!(put, Put::Content(_, Content::InTree));
        let paths: Vec<&Vec<u8>> = puts
            .iter()
            .filter(|(path, put)| in_tree(put) && path.len() < 2000)
            .map(|(path, _)| path)
            .collect();
        if !self.has_attributes || paths.is_empty() {
            return BTreeMap::new();
        }
        let hashed = self.hash_converted(&paths).unwrap_or_else(|why| {
            eprintln!("nothing is converted as the attributes say: {why}");
            Vec::new()
        });
        match hashed.len() == paths.len() {
            true => paths.into_iter().cloned().zip(hashed).collect(),
            false => BTreeMap::new(),
        }
    }

    fn hash_converted(&self, paths: &[&Vec<u8>]) -> Result<Vec<String>, String> {
        let mut list = Vec::new();
        for path in paths {
            let at = self.rules.join(std::ffi::OsStr::from_bytes(path));
            let linked = at.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
                // The files of rules were copied already.
                if at.exists() { Ok(()) } else { std::os::unix::fs::symlink(place(self.spec, path), &at) }
            });
            linked.map_err(|e| e.to_string())?;
            list.extend((quoted(path) + "\n").into_bytes());
        }
        let mut command = self.mirror.git.command(["hash-object", "-w", "--stdin-paths"]);
        command.env("GIT_WORK_TREE", &self.rules).current_dir(&self.rules);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(not_run)?;
        let done = super::program::fed(child, &list).map_err(not_run)?;
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()),
            false => Err(format!("git hash-object ended with {}", done.status)),
        }
    }
}

fn put_object(file: &File, object: &str) -> Put {
    Put::Object(file.git_mode(), object.to_owned())
}

fn too_large() -> io::Error {
    io::Error::other(format!("the tree's files are larger than {} bytes", limits::BUNDLE_BYTES))
}

/// Lists what HEAD holds. A HEAD that cannot be listed makes the git directory unusable: the base takes its place.
fn head_listing(spec: &Spec, mirror: &mut Mirror, checkout: &Checkout) -> Result<Listing, String> {
    if mirror.unusable.is_some() && mirror.head.is_none() {
        mirror.head = Some(spec.base.clone());
    }
    let Some(head) = mirror.head.clone() else { return Ok(Listing::new()) };
    if checkout.is_of(&head) {
        return Ok(checkout.listing());
    }
    listing::of_commit(&mirror.git, &head).or_else(|why| {
        if head == spec.base {
            return Err(why);
        }
        mirror.unusable = Some(format!("its HEAD cannot be read: {why}"));
        mirror.head = Some(spec.base.clone());
        listing::of_commit(&mirror.git, &spec.base)
    })
}

/// Opens the tree, as long as it is the directory that was made: neither a link, nor another directory, nor one over which
/// something is mounted.
fn own_tree(spec: &Spec) -> Result<OwnedFd, String> {
    let replaced = |what: &str| format!("{what}; something was put in its place, and nothing of it is taken");
    let above = spec.tree.parent().ok_or("the working tree has no place")?;
    let name = spec.tree.file_name().unwrap_or_default();
    let above = data::open_directory(above).map_err(|e| format!("looking for the working tree: {e}"))?;
    let tree = data::enter_here(&above, name.as_bytes()).map_err(|e| match data::is_mount(&e) {
        true => replaced("another file system is mounted over the working tree"),
        false => replaced(&format!("the working tree is no directory any more ({e})")),
    })?;
    let inode = rustix::fs::fstat(&tree).map_err(|e| format!("looking for the working tree: {e}"))?.st_ino;
    match spec.inode.is_none_or(|made| made == inode) {
        true => Ok(tree),
        false => Err(replaced("the working tree is another directory than the one that was made")),
    }
}

/// Leaves the largest files that are not as they were made, until the rest can be handed over: no file is read for that.
fn leave_too_large(found: &mut Found, checkout: &Checkout) {
    let size = |file: &File| if file.is_link() { 0 } else { file.size };
    let is_new = |path: &Vec<u8>, file: &File| checkout.unchanged(path, file).is_none();
    let new = found.files.iter().filter(|(path, file)| is_new(path, file));
    let mut total: u64 = new.clone().map(|(_, file)| size(file)).fold(0, u64::saturating_add);
    if total <= limits::BUNDLE_BYTES {
        return;
    }
    let mut largest: Vec<(u64, Vec<u8>)> = new.map(|(path, file)| (size(file), path.clone())).collect();
    largest.sort();
    while let Some((size, path)) = largest.pop().filter(|_| total > limits::BUNDLE_BYTES) {
        total = total.saturating_sub(size);
        found.files.remove(&path);
        found.left.push(Left { path, why: Why::TooLarge });
    }
}

/// Without a git directory that can be relied on no link is taken anew.
fn leave_links(spec: &Spec, found: &mut Found, listing: &Listing) {
    let is_new = |path: &Vec<u8>, file: &File| {
        file.is_link() && listing.get(path).is_none_or(|(mode, _)| *mode != 0o120_000)
    };
    let new: Vec<Vec<u8>> =
        found.files.iter().filter(|(path, file)| is_new(path, file)).map(|(path, _)| path.clone()).collect();
    for path in new {
        if let Some(file) = found.files.remove(&path) {
            found.left.push(Left { path: path.clone(), why: Why::Link });
            found.keep_beside(place(spec, &path), path, file);
        }
    }
}

/// Returns the commits that were being merged.
fn merge_heads(git: &Git) -> Vec<String> {
    let text = fs::read_to_string(git.dir.join("MERGE_HEAD")).unwrap_or_default();
    text.lines().map(str::trim).filter(|id| id.parse::<CommitId>().is_ok()).map(str::to_owned).collect()
}

/// Returns a commit with all that was committed before a rebase and what the rebase and the agent have changed since, of
/// which the files as they lie there, in the commit `now`, know only the part that was applied so far; none when it
/// cannot be told.
fn rebased_so_far(git: &Git, origin: &str, now: &str) -> Option<String> {
    let notes = ["rebase-merge/onto", "rebase-apply/onto"].into_iter();
    let onto = notes.filter_map(|name| fs::read_to_string(git.dir.join(name)).ok()).next()?;
    let base = format!("--merge-base={}", onto.trim().parse::<CommitId>().ok()?);
    // Where both sides changed the same lines, those that lie there now are the newer ones.
    let args = ["merge-tree", "--write-tree", "-X", "theirs", "--no-messages", &base, origin, now];
    let merged = git.command(args).output().ok()?;
    // What neither side wins, such as a file that one of them removed, ends it with 1 and stands in the tree all the same.
    let text =
        matches!(merged.status.code(), Some(0 | 1)).then(|| String::from_utf8_lossy(&merged.stdout))?;
    let tree: CommitId = text.lines().next()?.trim().parse().ok()?;
    let tree = tree.to_string();
    let made = git.ask(None, ["commit-tree", "-m", SUBJECT, "-p", origin, &tree], &[]).ok()?;
    let made: CommitId = String::from_utf8_lossy(&made).trim().parse().ok()?;
    Some(made.to_string())
}

/// Returns the commit to which a rebase that is under way would go back.
fn rebase_origin(git: &Git) -> Option<String> {
    let dir = &git.dir;
    let note = match (dir.join("rebase-merge").is_dir(), dir.join("rebase-apply/rebasing").exists()) {
        (true, _) => "rebase-merge/orig-head",
        (_, true) => "rebase-apply/orig-head",
        _ => return None,
    };
    let id = fs::read_to_string(dir.join(note)).ok()?.trim().to_owned();
    id.parse::<CommitId>().ok()?;
    git.run(["cat-file", "-e", &format!("{id}^{{commit}}")]).is_ok_and(|ran| ran.ok).then_some(id)
}
