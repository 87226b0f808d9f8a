//! Writing the commit of what an agent left: `git fast-import` gets the content file by file, as it lies in the tree or as the
//! tree's attributes convert it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use mosaic_core::limits;

use super::error::{self, HarvestError};
use super::found::{Content, place};
use super::look::Look;
use super::program;
use super::quoting::quoted;
use crate::git::bundle_spec::SUBJECT;
use crate::git::{errors, handles, ref_files};

/// The ref under which the commit is made.
const MADE: &str = "refs/mosaic/leftovers";
/// Largest file that is read into memory at once; a larger one is copied as it is read.
const WHOLE_FILE: u64 = 1024 * 1024;

/// Content of a path of the new commit.
pub(super) enum Put {
    Object(u32, String),
    Content(u32, Content),
}

impl Look<'_> {
    /// Makes a commit on top of HEAD; concludes a merge.
    pub(super) fn import(
        &self,
        head: Option<&str>,
        merging: &[String],
        removed: &[Vec<u8>],
        puts: &BTreeMap<Vec<u8>, Put>,
    ) -> Result<String, HarvestError> {
        let converted = self.convert(puts);
        let git = &self.mirror.git;
        let mut command = git.command(["fast-import", "--quiet", "--date-format=now", "--done", "--force"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(HarvestError::NotRun)?;
        let mut out = BufWriter::new(child.stdin.take().expect("stdin was piped"));
        let written = self
            .begin(&mut out, head, merging)
            .and_then(|()| self.write_changes(&mut out, removed, puts, &converted))
            .and_then(|()| out.write_all(b"done\n"))
            .and_then(|()| out.flush());
        drop(out);
        let done = child.wait_with_output().map_err(HarvestError::NotRun)?;
        match (done.status.success(), written) {
            (true, Ok(())) => {}
            // A broken pipe means that git ended first, and its own message says why.
            (_, Err(e)) if e.kind() != io::ErrorKind::BrokenPipe => {
                return Err(error::io("committing what is left over")(e));
            }
            _ => {
                let said = String::from_utf8_lossy(&done.stderr);
                return Err(HarvestError::Failed { verb: "fast-import", said: errors::plain(&said) });
            }
        }
        let made = ref_files::read_ref(&git.dir, MADE);
        // It is no branch of the agent's.
        let _ = fs::remove_file(git.dir.join(MADE));
        made.map(String::from).ok_or_else(|| HarvestError::NoAnswer("fast-import made no commit".to_owned()))
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
        let Ok(file) = handles::open_directory(dir).and_then(|dir| handles::open_plain(dir, name.as_bytes()))
        else {
            eprintln!("gone or unreadable: {}", source.display());
            return Ok(());
        };
        let mut length = file.metadata()?.len();
        // The bound counts what is really written and not what the listing promised: a file may grow while it is copied.
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

    fn hash_converted(&self, paths: &[&Vec<u8>]) -> Result<Vec<String>, HarvestError> {
        let mut list = Vec::new();
        for path in paths {
            let at = self.rules.join(std::ffi::OsStr::from_bytes(path));
            let linked = at.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
                // The files of rules were copied already.
                if at.exists() { Ok(()) } else { std::os::unix::fs::symlink(place(self.spec, path), &at) }
            });
            linked.map_err(error::io("placing files for the attributes"))?;
            list.extend((quoted(path) + "\n").into_bytes());
        }
        let mut command = self.mirror.git.command(["hash-object", "-w", "--stdin-paths"]);
        command.env("GIT_WORK_TREE", &self.rules).current_dir(&self.rules);
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(HarvestError::NotRun)?;
        let done = program::fed(child, &list).map_err(HarvestError::NotRun)?;
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()),
            false => Err(HarvestError::Ended { call: "hash-object".to_owned(), status: done.status }),
        }
    }
}

fn too_large() -> io::Error {
    io::Error::other(format!("the tree's files are larger than {} bytes", limits::BUNDLE_BYTES))
}
