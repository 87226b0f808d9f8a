//! Reports inside a checkout. What a gate wrote is as hostile as what an agent wrote: a path is walked component
//! by component without following links, so that it can only ever name a regular file of the checkout.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use mosaic_core::limits;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

/// Tells whether a path may name a report: relative, plain components only. Errors with a fragment.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > 1024 {
        return Err("must have 1 to 1024 bytes");
    }
    if path.starts_with('/') {
        return Err("must be relative to the repository");
    }
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err("must stay inside the repository");
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return Err("must not have empty parts or \".\"");
    }
    if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
        return Err("must not name .git");
    }
    Ok(())
}

/// Opens the directory that holds the report, and returns the report's own name with it.
fn parent<'p>(checkout: &Path, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
    check(path).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(checkout, flags, Mode::empty())?;
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        directory = rustix::fs::openat(&directory, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok((directory, name))
}

/// Reads a report. Errors with words for people when it is missing, is not a regular file, leaves the checkout or
/// is too large.
pub(super) fn read(checkout: &Path, path: &str) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("no report: {path} was not written during this judgement"),
        _ => format!("report {path} cannot be read: {error}"),
    };
    let (directory, name) = parent(checkout, path).map_err(told)?;
    // NONBLOCK: opening a pipe that somebody planted must not wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, name, flags, Mode::empty()).map_err(|e| told(e.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| told(e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(format!("report {path} is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(limits::GATE_REPORT_BYTES + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > limits::GATE_REPORT_BYTES {
        return Err(format!("report {path} is larger than {} bytes", limits::GATE_REPORT_BYTES));
    }
    Ok(bytes)
}

/// Removes a report that is there before the gate that writes it has run: a committed one must not count. Errors
/// when something stays in its place.
pub(super) fn remove(checkout: &Path, path: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("an earlier report {path} cannot be removed: {error}");
    let (directory, name) = match parent(checkout, path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(told(error)),
    };
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(error) if error == rustix::io::Errno::NOENT => Ok(()),
        Err(error) => Err(told(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["junit.xml", "coverage/lcov.info", "a/b/c.xml", "..a/b"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = "x".repeat(1025);
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\0b", ".git/x", &long] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_pipes_and_directories_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        std::fs::create_dir_all(tree.join("dir")).unwrap();
        std::fs::write(home.path().join("secret"), "outside").unwrap();
        std::fs::write(tree.join("dir/ok"), "inside").unwrap();
        symlink("../secret", tree.join("link")).unwrap();
        symlink("..", tree.join("up")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, tree.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        assert_eq!(read(&tree, "dir/ok").unwrap(), b"inside");
        for bad in ["link", "up/secret", "pipe", "dir", "missing", "../secret"] {
            assert!(read(&tree, bad).is_err(), "{bad}");
        }
        assert!(read(&tree, "missing").unwrap_err().contains("not written during this judgement"));
    }

    #[test]
    fn removal_takes_the_link_and_never_its_target() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        std::fs::create_dir_all(tree.join("dir")).unwrap();
        std::fs::write(home.path().join("kept"), "x").unwrap();
        symlink("../kept", tree.join("link")).unwrap();
        symlink("..", tree.join("up")).unwrap();
        remove(&tree, "link").unwrap();
        remove(&tree, "missing/deep").unwrap();
        assert!(remove(&tree, "up/kept").is_err());
        assert!(remove(&tree, "dir").is_err());
        assert!(home.path().join("kept").exists() && !tree.join("link").exists());
    }
}
