//! A gate's own copy of the checkout that is judged: every gate finds exactly the judged commit, whatever the gates before it did.
//!
//! The copy belongs to the gate's user. Its git directory borrows the objects of the server's bare repository; an isolated gate
//! sees them at a path that tells nothing.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use mosaic_core::limits;

use crate::bounded_file;
use crate::isolation::{Account, give};

/// Directory inside an isolation below which borrowed objects lie.
const BORROWED: &str = "/var/lib/objects";
/// Where a git directory says which objects it borrows.
const ALTERNATES: &str = "objects/info/alternates";
/// Most bytes of such a list that are read: it has one line.
const ALTERNATES_BYTES: u64 = 64 * 1024;
/// Settings of the copy's git directory. The index describes the checkout that was copied, so git must not compare what no copy can
/// keep: inode, user and time of the last change of state.
const COPIED: &str = "[core]\n\ttrustCTime = false\n\tcheckStat = minimal\n";
/// Rights to a directory and to a file that everybody gets, so that another user can read objects.
const READABLE: (u32, u32) = (0o055, 0o044);

/// Copies a checkout for a user. Returns the object directories that it borrows, each with its path inside an isolation; without
/// one they keep their own.
pub(super) fn make(
    from: &Path,
    to: &Path,
    account: &Account,
    isolated: bool,
) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut borrowed = Vec::new();
    copy_directory(from, to, account, 0)?;
    let git_dir = to.join(".git");
    if git_dir.is_dir() {
        let mut config = File::options().append(true).open(git_dir.join("config"))?;
        config.write_all(COPIED.as_bytes())?;
        if isolated {
            borrow(&git_dir, 0, &mut borrowed)?;
        }
    }
    Ok(borrowed)
}

fn copy_directory(from: &Path, to: &Path, account: &Account, depth: usize) -> io::Result<()> {
    // A commit cannot be deeper: git itself refuses longer paths long before.
    if depth > limits::TREE_DEPTH {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the checkout is nested too deep"));
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, source, target) = (entry.file_type()?, entry.path(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_directory(&source, &target, account, depth + 1)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
            give(&target, account)?;
        } else if kind.is_file() {
            copy_file(&source, &target)?;
            give(&target, account)?;
        }
    }
    fs::set_permissions(to, Permissions::from_mode(0o755))?;
    give(to, account)
}

/// Copies a file with its rights and the time of its last change, by which git knows that it is the one in the index.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let meta = source.metadata()?;
    let target = File::options().write(true).create_new(true).open(to)?;
    // Where the file system can share blocks nothing is copied.
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        io::copy(&mut &source, &mut &target)?;
    }
    // Rights of others do not matter in a private directory; a bit that runs as another user does not belong there.
    target.set_permissions(Permissions::from_mode(meta.mode() & 0o777))?;
    target.set_modified(meta.modified()?)
}

/// Lets a git directory and those of its submodules read their objects at paths of an isolation.
fn borrow(git_dir: &Path, depth: usize, borrowed: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    let list = git_dir.join(ALTERNATES);
    if list.is_file() {
        let mut inside = Vec::new();
        for line in bounded_file::read(&list, ALTERNATES_BYTES)?.split(|b| *b == b'\n') {
            let Some(objects) = object_directory(line) else { continue };
            let known =
                borrowed.iter().find(|(source, _)| *source == objects).map(|(_, target)| target.clone());
            let target = known.unwrap_or_else(|| {
                let target = Path::new(BORROWED).join(borrowed.len().to_string());
                borrowed.push((objects.clone(), target.clone()));
                target
            });
            open_to_others(&objects)?;
            inside.extend_from_slice(target.as_os_str().as_bytes());
            inside.push(b'\n');
        }
        fs::write(&list, inside)?;
    }
    if depth > limits::SUBMODULE_DEPTH {
        return Ok(());
    }
    for entry in fs::read_dir(git_dir.join("modules")).into_iter().flatten().flatten() {
        let path = entry.path();
        // A submodule's name may have slashes.
        if path.is_dir() && path.join("HEAD").is_file() {
            borrow(&path, depth + 1, borrowed)?;
        } else if path.is_dir() {
            borrow_below(&path, depth + 1, borrowed)?;
        }
    }
    Ok(())
}

fn borrow_below(directory: &Path, depth: usize, borrowed: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    if depth > limits::TREE_DEPTH {
        return Ok(());
    }
    for entry in fs::read_dir(directory)?.flatten().filter(|entry| entry.path().is_dir()) {
        match entry.path().join("HEAD").is_file() {
            true => borrow(&entry.path(), depth + 1, borrowed)?,
            false => borrow_below(&entry.path(), depth + 1, borrowed)?,
        }
    }
    Ok(())
}

/// Reads one line of the list. A quoted one names a path that only git can read, and is left out.
fn object_directory(line: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(line.to_vec()));
    (path.is_absolute() && path.is_dir()).then_some(path)
}

/// Lets other users read an object directory of ours. The directories above it stay closed, so that only those whom it is shown to
/// reach it.
fn open_to_others(objects: &Path) -> io::Result<()> {
    let (directory, file) = READABLE;
    allow(objects, directory)?;
    for entry in fs::read_dir(objects)?.flatten().filter(|entry| entry.path().is_dir()) {
        allow(&entry.path(), directory)?;
        for one in fs::read_dir(entry.path())?.flatten() {
            let is_file = one.file_type()?.is_file();
            // All files of a directory were made under one umask, so the first tells whether there is anything to do.
            if is_file && !allow(&one.path(), file)? {
                break;
            }
        }
    }
    Ok(())
}

/// Adds rights; false when they were there.
fn allow(path: &Path, rights: u32) -> io::Result<bool> {
    let mode = match fs::symlink_metadata(path) {
        Ok(meta) => meta.mode(),
        // git replaces packs while others look.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(e),
    };
    if mode & rights == rights {
        return Ok(false);
    }
    fs::set_permissions(path, Permissions::from_mode(mode | rights))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_clean_for_git_and_borrows_at_a_path_that_tells_nothing() {
        let place = tempfile::tempdir().unwrap();
        let git = |at: &Path, args: &[&str]| {
            let done = std::process::Command::new("git").args(args).current_dir(at).output().unwrap();
            assert!(done.status.success(), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        let (from, store) = (place.path().join("from"), place.path().join("store/objects"));
        fs::create_dir_all(&store).unwrap();
        fs::set_permissions(&store, Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(&from).unwrap();
        git(&from, &["init", "-q"]);
        fs::write(from.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("run.sh"), Permissions::from_mode(0o755)).unwrap();
        symlink("run.sh", from.join("link")).unwrap();
        git(&from, &["add", "-A"]);
        git(&from, &["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one"]);
        fs::write(from.join(".git").join(ALTERNATES), format!("{}\n", store.display())).unwrap();
        let borrowed = make(&from, &place.path().join("to"), &Account::Own, true).unwrap();
        let inside = Path::new(BORROWED).join("0");
        assert_eq!(borrowed, [(store.clone(), inside.clone())]);
        assert_eq!(store.metadata().unwrap().mode() & 0o055, 0o055);
        let to = place.path().join("to");
        let list = fs::read_to_string(to.join(".git").join(ALTERNATES)).unwrap();
        assert_eq!(list, format!("{}\n", inside.display()));
        // Plumbing refreshes nothing: it believes the index.
        assert_eq!(git(&to, &["diff-files", "--name-only"]), "");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("run.sh"));
        assert_eq!(to.join("run.sh").metadata().unwrap().mode() & 0o777, 0o755);
    }
}
