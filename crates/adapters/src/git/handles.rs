//! Reading what an agent left as mere data: by handles, no link followed, nothing but plain files opened, every read
//! bounded. A pipe or a device under a name that git would open cannot hold up anything here.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as rfs, AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PLAIN: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens a directory by its path; a link at the end is refused.
pub(super) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rfs::openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// Opens a directory in another one; a link is refused.
pub(super) fn enter(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rfs::openat(dir, name, DIRECTORY, Mode::empty())?)
}

/// The same, and what is mounted there is refused, see [`is_mount`].
pub(super) fn enter_here(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    match rfs::openat2(&dir, name, DIRECTORY, Mode::empty(), ResolveFlags::NO_XDEV) {
        // Kernels and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => enter(dir, name),
        entered => Ok(entered?),
    }
}

/// Tells whether [`enter_here`] failed because something is mounted there.
pub(super) fn is_mount(e: &io::Error) -> bool {
    e.raw_os_error() == Some(Errno::XDEV.raw_os_error())
}

/// Opens a directory some levels further down.
pub(super) fn descend(dir: impl AsFd, parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let mut at = enter(dir, parts[0])?;
    for part in &parts[1..] {
        at = enter(&at, part)?;
    }
    Ok(at)
}

/// Opens a plain file; a link, a pipe, a socket or a device is refused.
pub(super) fn open_plain(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let file = File::from(rfs::openat(dir, name, PLAIN, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no plain file")),
    }
}

/// Reads a plain file whole; one of more than `most` bytes is an error.
pub(super) fn read_plain(dir: impl AsFd, name: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_plain(dir, name)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// Returns the metadata of a name itself.
pub(super) fn look(dir: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    Ok(rfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Returns the kind of what has these metadata.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Lists the names in a directory, in order, each with its kind as far as the directory says it.
pub(super) fn names(dir: impl AsFd) -> io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut all = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            all.push((name.to_vec(), entry.file_type()));
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_file_is_neither_opened_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "12345").unwrap();
        std::os::unix::fs::symlink("plain", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
        assert!(pipe.success());
        let at = open_directory(dir.path()).unwrap();
        assert_eq!(read_plain(&at, b"plain", 5).unwrap(), b"12345");
        assert!(read_plain(&at, b"plain", 4).is_err(), "too long");
        for other in [&b"link"[..], b"pipe", b"missing", b"loop"] {
            assert!(read_plain(&at, other, 9).is_err(), "{}", String::from_utf8_lossy(other));
        }
        assert!(enter(&at, b"loop").is_err() && open_directory(&dir.path().join("loop")).is_err());
        assert_eq!(names(&at).unwrap().len(), 4);
    }
}
