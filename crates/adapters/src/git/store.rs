//! Where things lie on disk, and the repository store: one bare repository per remote, written by hand so that no
//! template and no hook gets in. Loose refs are read and written here without a process.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use sha2::{Digest, Sha256};

use crate::bounded_file;

/// Paths below the data directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) data: PathBuf,
}

impl Layout {
    /// The bare store of a remote; its name is a digest, so no part of the URL meets the file system.
    pub(super) fn store(&self, url: &RepositoryUrl) -> PathBuf {
        let digest = Sha256::digest(url.as_str().trim_end_matches('/').as_bytes());
        let name: String = base16ct::lower::encode_string(&digest[..16]);
        self.data.join("repos").join(name + ".git")
    }

    pub(super) fn agent(&self, agent: AgentId) -> PathBuf {
        self.data.join("agents").join(agent.to_string())
    }

    pub(super) fn tree(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).join("tree")
    }

    /// The marker that says that the tree is whole; beside the tree, so that its content cannot forge it.
    pub(super) fn marker(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).join("tree.json")
    }

    /// The copy of the index as it was when the tree was made.
    pub(super) fn checked_out(&self, agent: AgentId) -> PathBuf {
        self.agent(agent).join("tree.index")
    }

    /// A git directory that does not exist: for calls that need none.
    pub(super) fn nowhere(&self) -> PathBuf {
        self.data.join("git/home/none")
    }
}

/// Makes a directory and its parents, readable by this user only.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the store when it is missing. Safe against itself: it is put together aside and renamed into place.
pub(super) fn ensure(store: &Path, sha256: bool) -> io::Result<()> {
    if store.join("HEAD").exists() {
        return Ok(());
    }
    let parent = store.parent().ok_or_else(|| io::Error::other("the store has no parent directory"))?;
    private_dir(parent)?;
    let aside = parent.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
    let config = "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n\
        [transfer]\n\thideRefs = refs/agents\n\thideRefs = refs/mosaic\n\
        [receive]\n\thideRefs = refs\n\tautogc = false\n";
    skeleton(&aside, true, sha256, config)?;
    match fs::rename(&aside, store) {
        Err(_) if store.join("HEAD").exists() => fs::remove_dir_all(&aside),
        other => other,
    }
}

/// Files that git opens before it does anything else.
const OPENED: [&str; 6] =
    ["HEAD", "config", "packed-refs", "shallow", "objects/info/alternates", "objects/info/commit-graph"];

/// Files that are never made here and would change what git says of every commit: which content is shown as binary or goes
/// through a filter, and what a commit descends from.
const NEVER_OURS: [&str; 2] = ["info/attributes", "info/grafts"];

/// HEAD of a git directory that has no branch of its own.
const NOWHERE: &str = "ref: refs/heads/none/yet\n";

/// Removes what others put into a git directory of ours: files that are [`NEVER_OURS`], and pipes, sockets and devices that have the name of a file which git opens: it would wait for them, and every agent of
/// the repository with it. An agent without a sandbox can put them there.
pub(super) fn remove_pipes(git_dir: &Path) {
    for name in OPENED {
        let path = git_dir.join(name);
        let waits = fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        if !waits {
            continue;
        }
        tracing::warn!(path = %path.display(), "what stood in the place of a file of git was no file and was removed");
        // One that cannot be removed lets the call wait until its deadline, as before.
        if fs::remove_file(&path).is_ok() && name == "HEAD" {
            let _ = fs::write(&path, NOWHERE);
        }
    }
    for name in NEVER_OURS {
        let path = git_dir.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) && fs::remove_file(&path).is_ok() {
            tracing::warn!(path = %path.display(), "a file that only others write into a git directory was removed");
        }
    }
}

/// Writes an empty git directory. Its HEAD names a branch that never exists.
pub(super) fn skeleton(dir: &Path, bare: bool, sha256: bool, config: &str) -> io::Result<()> {
    for sub in ["objects/info", "objects/pack", "refs/heads", "info"] {
        private_dir(&dir.join(sub))?;
    }
    let version = if sha256 { 1 } else { 0 };
    let format = if sha256 { "[extensions]\n\tobjectFormat = sha256\n" } else { "" };
    let head = format!(
        "[core]\n\trepositoryFormatVersion = {version}\n\tfileMode = true\n\tbare = {bare}\n{format}"
    );
    fs::write(dir.join("config"), head + config)?;
    fs::write(dir.join("HEAD"), NOWHERE)
}

/// Lets a git directory of ours read the objects of these directories, too.
pub(super) fn share_objects(git_dir: &Path, objects: &[&Path]) -> io::Result<()> {
    let lines: Vec<u8> = objects.iter().flat_map(|path| alternate(path)).collect();
    fs::write(git_dir.join("objects/info/alternates"), lines)
}

/// Returns the line that names an object directory; git takes one that begins with a quote as a quoted string.
fn alternate(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let plain = !bytes.iter().any(|b| b.is_ascii_control() || *b == b'"');
    let mut line = Vec::with_capacity(bytes.len() + 1);
    if plain {
        line.extend_from_slice(bytes);
    } else {
        line.push(b'"');
        for byte in bytes {
            match byte {
                b'"' | b'\\' => line.extend([b'\\', *byte]),
                byte if byte.is_ascii_control() => line.extend(format!("\\{byte:03o}").into_bytes()),
                byte => line.push(*byte),
            }
        }
        line.push(b'"');
    }
    line.push(b'\n');
    line
}

/// Tells whether a commit id is a SHA-256 one.
pub(super) fn is_sha256(commit: &CommitId) -> bool {
    commit.as_str().len() == 64
}

/// Tells whether a git directory of ours has a tag.
pub(super) fn has_tags(git_dir: &Path) -> bool {
    let loose = fs::read_dir(git_dir.join("refs/tags")).is_ok_and(|mut entries| entries.next().is_some());
    loose || packed_refs(git_dir).is_ok_and(|text| text.contains(" refs/tags/"))
}

fn packed_refs(git_dir: &Path) -> io::Result<String> {
    bounded_file::read_text(&git_dir.join("packed-refs"), limits::PACKED_REFS_BYTES)
}

/// Reads a ref of a git directory of ours; `None` when it does not exist.
pub(super) fn read_ref(git_dir: &Path, name: &str) -> Option<CommitId> {
    if let Ok(text) = bounded_file::read_text(&git_dir.join(name), limits::REF_BYTES) {
        return text.trim_end().parse().ok();
    }
    packed_ref(packed_refs(git_dir).ok()?.as_bytes(), name)
}

/// Finds a ref in the content of `packed-refs`: by halves where the file says that it is in order, as every writer of
/// today does; it may have a line for each of many thousand agents.
fn packed_ref(packed: &[u8], name: &str) -> Option<CommitId> {
    let value =
        |line: &[u8]| -> Option<CommitId> { std::str::from_utf8(line).ok()?.split_once(' ')?.0.parse().ok() };
    let name_of = |line: &[u8]| {
        line.iter()
            .position(|byte| *byte == b' ')
            .map_or(Vec::new(), |at| line[at + 1..].trim_ascii_end().to_vec())
    };
    let head =
        packed.split(|byte| *byte == b'\n').next().filter(|line| line.starts_with(b"#")).unwrap_or_default();
    if !head.windows(7).any(|word| word == b"sorted ") && !head.ends_with(b"sorted") {
        return packed
            .split(|byte| *byte == b'\n')
            .find(|line| name_of(line) == name.as_bytes())
            .and_then(value);
    }
    let (mut low, mut high) = ((head.len() + 1).min(packed.len()), packed.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut start =
            packed[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        // The line of what a tag points to belongs to the one before.
        while packed[start] == b'^' && start > low {
            start =
                packed[low..start - 1].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        }
        let end = packed[start..high].iter().position(|byte| *byte == b'\n').map_or(high, |at| start + at);
        match name_of(&packed[start..end]).as_slice().cmp(name.as_bytes()) {
            std::cmp::Ordering::Equal => return value(&packed[start..end]),
            std::cmp::Ordering::Greater => high = start,
            std::cmp::Ordering::Less => {
                low = (end + 1).min(high);
                while low < high && packed[low] == b'^' {
                    low = packed[low..high]
                        .iter()
                        .position(|byte| *byte == b'\n')
                        .map_or(high, |at| low + at + 1);
                }
            }
        }
    }
    None
}

/// Writes a ref of a git directory of ours, atomically. The object must be known to be whole.
pub(super) fn write_ref(git_dir: &Path, name: &str, commit: &CommitId) -> io::Result<()> {
    write_atomic(&git_dir.join(name), format!("{commit}\n").as_bytes())
}

/// Writes a file so that it is there whole or not at all.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::other("a file needs a directory"))?;
    private_dir(parent)?;
    let aside = parent.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let done = file.write_all(bytes).and_then(|()| fs::rename(&aside, path));
    if done.is_err() {
        let _ = fs::remove_file(&aside);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_in_the_place_of_files_that_git_opens_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("s.git");
        ensure(&store, false).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        for name in OPENED {
            let path = store.join(name);
            // Some are there and some are not.
            let before = fs::read(&path);
            let _ = fs::remove_file(&path);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RUSR, 0).unwrap();
            remove_pipes(&store);
            if name == "HEAD" {
                assert_eq!(fs::read(&path).unwrap(), before.unwrap());
            } else {
                assert!(!path.exists(), "{name}");
            }
        }
        ensure(&dir.path().join("other.git"), false).unwrap();
        remove_pipes(&dir.path().join("other.git"));
        assert!(dir.path().join("other.git/config").is_file());
    }

    #[test]
    fn attributes_and_grafts_in_a_store_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("s.git");
        ensure(&store, false).unwrap();
        fs::write(store.join("info/attributes"), "* binary filter=planted\n").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", store.join("info/grafts")).unwrap();
        remove_pipes(&store);
        assert_eq!(fs::read_dir(store.join("info")).unwrap().count(), 0);
        assert!(Path::new("/etc/hostname").exists());
    }

    #[test]
    fn every_ref_of_a_packed_file_is_found_and_no_other() {
        for header in ["# pack-refs with: peeled fully-peeled sorted \n", ""] {
            for count in [0, 1, 2, 3, 10, 257] {
                let mut text = header.to_owned();
                for n in 0..count {
                    text.push_str(&format!("{:040x} refs/agents/{n:04}/head\n", n + 1));
                    if n % 3 == 0 {
                        text.push_str(&format!("^{:040x}\n", n + 100_000));
                    }
                }
                for n in 0..count {
                    let found = packed_ref(text.as_bytes(), &format!("refs/agents/{n:04}/head"));
                    assert_eq!(found.unwrap().as_str(), format!("{:040x}", n + 1), "{n} of {count}");
                }
                for missing in ["refs/agents", "refs/agents/0000/heae", "refs/zzz", "a"] {
                    assert_eq!(packed_ref(text.as_bytes(), missing), None, "{missing} of {count}");
                }
            }
        }
    }

    #[test]
    fn an_object_directory_is_named_on_one_line() {
        assert_eq!(alternate(Path::new("/a b/ü")), "/a b/ü\n".as_bytes());
        assert_eq!(alternate(Path::new("/a\nb\"\\")), b"\"/a\\012b\\\"\\\\\"\n");
    }

    #[test]
    fn a_store_is_made_once_and_refs_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("repos/x.git");
        ensure(&store, false).unwrap();
        ensure(&store, false).unwrap();
        assert_eq!(fs::read_dir(store.parent().unwrap()).unwrap().count(), 1);
        let commit: CommitId = "a".repeat(40).parse().unwrap();
        write_ref(&store, "refs/agents/x/head", &commit).unwrap();
        assert_eq!(read_ref(&store, "refs/agents/x/head"), Some(commit.clone()));
        assert_eq!(read_ref(&store, "refs/agents/y/head"), None);
        fs::write(store.join("packed-refs"), format!("# pack-refs\n{commit} refs/heads/p\n")).unwrap();
        assert_eq!(read_ref(&store, "refs/heads/p"), Some(commit));
    }
}
