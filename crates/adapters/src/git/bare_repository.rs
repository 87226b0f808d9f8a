//! Where things lie on disk, and the bare repositories of the server: one per remote, written by hand so that no
//! template and no hook gets in. Loose refs are read and written here without a process.

use std::fs;
use std::io::{self};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mosaic_core::domain::ids::CommitId;

use super::private_files;

/// Makes the bare repository when it is missing. Safe against itself: it is put together aside and renamed into place.
pub(super) fn ensure(bare: &Path, sha256: bool) -> io::Result<()> {
    if bare.join("HEAD").exists() {
        return Ok(());
    }
    let parent =
        bare.parent().ok_or_else(|| io::Error::other("the bare repository has no parent directory"))?;
    private_files::private_dir(parent)?;
    // A server that dies in the middle leaves a directory whose name no lookup gives, and never half a repository.
    let aside = parent.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
    // Nothing may collect garbage here on its own: trees borrow objects that no ref of this repository reaches. The refs of
    // agents are hidden because trees fetch from it, and one agent must not see the work of another.
    let config = "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n\
        [transfer]\n\thideRefs = refs/agents\n\thideRefs = refs/mosaic\n\
        [receive]\n\thideRefs = refs\n\tautogc = false\n";
    skeleton(&aside, true, sha256, config)?;
    match fs::rename(&aside, bare) {
        // Another task was faster; its repository is as good.
        Err(_) if bare.join("HEAD").exists() => fs::remove_dir_all(&aside),
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
        private_files::private_dir(&dir.join(sub))?;
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

/// Returns the line that names an object directory; git takes one that begins with a quote as a quoted string. It is quoted
/// only where it must be: `git clone` copies these lines and takes a quoted one for a relative path.
fn alternate(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let plain = !bytes.starts_with(b"\"") && !bytes.iter().any(u8::is_ascii_control);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_in_the_place_of_files_that_git_opens_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("s.git");
        ensure(&bare, false).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        for name in OPENED {
            let path = bare.join(name);
            // Some are there and some are not.
            let before = fs::read(&path);
            let _ = fs::remove_file(&path);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RUSR, 0).unwrap();
            remove_pipes(&bare);
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
    fn attributes_and_grafts_in_a_bare_repository_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("s.git");
        ensure(&bare, false).unwrap();
        fs::write(bare.join("info/attributes"), "* binary filter=planted\n").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", bare.join("info/grafts")).unwrap();
        remove_pipes(&bare);
        assert_eq!(fs::read_dir(bare.join("info")).unwrap().count(), 0);
        assert!(Path::new("/etc/hostname").exists());
    }

    #[test]
    fn an_object_directory_is_named_on_one_line() {
        assert_eq!(alternate(Path::new("/a b/ü")), "/a b/ü\n".as_bytes());
        assert_eq!(alternate(Path::new("/a \"b\"")), b"/a \"b\"\n");
        assert_eq!(alternate(Path::new("/a\nb\"\\")), b"\"/a\\012b\\\"\\\\\"\n");
    }
}
