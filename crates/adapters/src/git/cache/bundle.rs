//! A bundle from an outbox: the one file of it whose content enters a bare repository. Its header is read here; its pack goes
//! to git with every object checked, and its history is walked before anything gets a ref.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::limits;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::old_objects::{Known, SkipList};
use crate::git::command::{Finished, Input};
use crate::git::errors::GitError;
use crate::git::repositories::GitRepositories;
use crate::git::{errors, messages};

/// Largest bundle header: many long branch names.
const HEADER_BYTES: u64 = 1024 * 1024;
/// Objects from which a pack is kept as a pack; fewer become loose objects, as `git fetch` does it, so that
/// thousands of small harvests do not become thousands of packs.
const UNPACK_LIMIT: u32 = 100;

/// The header of a bundle, and its file.
pub(crate) struct Bundle {
    pub(crate) head: Option<CommitId>,
    pub(crate) branches: BTreeMap<String, CommitId>,
    pub(crate) objects: u32,
    pub(crate) pack: File,
    /// Where in the file the pack begins.
    pub(crate) pack_at: u64,
}

pub(crate) struct History {
    pub(crate) head: bool,
    /// The base is a parent of one of the commits beyond it, so the head descends from it.
    pub(crate) descends: bool,
    pub(crate) same_tree: bool,
}

pub(crate) fn hostile(why: impl std::fmt::Display) -> GitError {
    GitError::refused(FailureKind::BadInput, format!("what the agent's tree handed over was refused: {why}"))
}

impl GitRepositories {
    /// Lets git take the pack in, with every object checked that the remote does not have.
    pub(crate) async fn take_pack(
        &self,
        dir: &Path,
        bundle: &Bundle,
        base: &CommitId,
    ) -> Result<(), GitError> {
        let mut done = self.checked(dir, bundle, None).await?;
        for known in [Known::BaseSettings, Known::Remote] {
            // Another failure, such as a full disk, is not cured by a list of known objects, and making the list reads the
            // whole repository. The cheap list is tried first for the same reason.
            if done.status.success() || !messages::is_refused_object(&done.stderr) {
                break;
            }
            let list = self.skip_list(dir, base, known).await;
            let list = list.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "objects of the remote could not be told from the agent's");
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
        Err(if failure.kind() == FailureKind::Disk { failure } else { hostile(failure) })
    }

    async fn checked(
        &self,
        dir: &Path,
        bundle: &Bundle,
        known: Option<&SkipList>,
    ) -> Result<Finished, GitError> {
        let open = || {
            let mut pack = bundle.pack.try_clone()?;
            pack.seek(SeekFrom::Start(bundle.pack_at)).map(|_| pack)
        };
        let pack = open().map_err(|e| errors::io("reading the bundle", e))?;
        let strict = known.map_or("--strict".to_owned(), |list| format!("--strict=skiplist={}", list.name));
        let call = self.git.local(dir);
        let call = match bundle.objects < UNPACK_LIMIT {
            // Few objects are cheaper as loose files; many of them would make every later git slower than one pack does.
            true => call.args(["unpack-objects", "-q", &strict]),
            false => call.args(["index-pack", "--stdin", "--fix-thin", &strict]),
        };
        call.run(Input::File(pack), 64 * 1024).await
    }

    /// Walks everything that the tips have beyond the base; it fails when an object is missing.
    pub(crate) async fn history(
        &self,
        dir: &Path,
        base: &CommitId,
        tips: &[&CommitId],
    ) -> Result<History, GitError> {
        // Through the standard input: an agent decides how many tips there are, and arguments are bounded.
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
                // A path with a line break in it could forge a line that begins with `commit `, so only the start of a line
                // that git began counts.
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
        done.success("checking that the agent's commits are complete").map_err(hostile)?;
        Ok(History {
            head: head.is_some(),
            descends: head.is_some() && base.is_some(),
            same_tree: head.is_some() && head == base,
        })
    }
}

/// Opens the bundle: a regular file, not a link, of bounded size. `None` when there is none.
pub(crate) fn open(outbox: &Path, name: &str) -> Result<Option<Bundle>, GitError> {
    // The outbox belongs to the agent's user: a link would read a file of the server's, and a pipe would wait for its other
    // end.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags fit an int");
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(outbox.join(name)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(hostile(format_args!("the bundle could not be opened: {e}"))),
    };
    // The open file is asked and not the path, which may name something else by now.
    let meta = file.metadata().map_err(|e| errors::io("reading the bundle", e))?;
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

fn parse(mut file: File) -> Result<Bundle, GitError> {
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
    use crate::git::bundle_spec::BUNDLE;

    fn parsed(bytes: &[u8]) -> Result<Bundle, GitError> {
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
