//! Reports inside a checkout. What a gate wrote is as hostile as what an agent wrote: a path is walked component
//! by component without following links, so that it can only ever name a regular file of the checkout.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use mosaic_core::domain::ids::Word;
use mosaic_core::limits;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use thiserror::Error;

use crate::gate_reports::{Malformed, check_path};

/// Reason why a report judges nothing, in words for people.
#[derive(Debug, Error)]
pub(super) enum ReportError {
    /// The gate did not write it.
    #[error("no report: {0} was not written during this judgement")]
    Missing(String),
    /// It cannot be read, or leaves the checkout.
    #[error("report {path} cannot be read: {source}")]
    Unreadable {
        /// Its path.
        path: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Something else has its name.
    #[error("report {0} is not a regular file")]
    NoFile(String),
    /// It was there before the command, or came out of a file that was.
    #[error("report {0} is older than the run that should have written it, so it is forged")]
    Predates(String),
    /// The output that it stands in was cut.
    #[error("the output has no report: a part of it is missing, or it is larger than {most} bytes (write the report to {{reports}} instead)", most = limits::PRINTED_REPORT_BYTES)]
    CutOutput,
    /// It is too large to be read.
    #[error("report {0} is larger than {bytes} bytes", bytes = limits::GATE_REPORT_BYTES)]
    TooLarge(String),
    /// One from before the judgement stays in its place.
    #[error("an earlier report {path} cannot be removed: {source}")]
    Stale {
        /// Its path.
        path: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Its content cannot be used.
    #[error("report {path} {source}")]
    Malformed {
        /// Its path.
        path: String,
        /// The fault.
        source: Malformed,
    },
    /// A plan of a newer build names a format that this one does not read.
    #[error("report {path} has the format {format}, which this build does not read")]
    UnknownFormat {
        /// Its path.
        path: String,
        /// The format.
        format: Word,
    },
    /// The thread that worked on it broke.
    #[error("its reports could not be read")]
    Broke,
}

/// The earliest time at which a report can have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Since(i64, i64);

impl Since {
    /// Returns this moment, by the clock that files are stamped with: the exact one is a little ahead of it.
    pub(super) fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        Self(now.tv_sec, now.tv_nsec)
    }

    /// Returns a time that is before all files.
    pub(super) fn ever() -> Self {
        Self(i64::MIN, 0)
    }
}

/// Opens a checkout, to look for reports in it.
fn open_checkout(checkout: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(checkout, flags, Mode::empty())?)
}

/// Opens the directory that holds the report, and returns the report's own name with it.
fn parent(root: BorrowedFd<'_>, path: &str) -> io::Result<(OwnedFd, String)> {
    check_path(path).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut directory = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        // Every component, not only the last: a directory on the way may be a link that the commit brought along.
        directory = rustix::fs::openat(&directory, part, flags, Mode::empty())?;
    }
    Ok((directory, name.to_owned()))
}

/// Reads a report of a checkout. Errors with words for people when it is missing, is not a regular file, leaves the checkout,
/// is too large or was not written since then.
pub(super) fn read(checkout: &Path, path: &str, since: Since) -> Result<Vec<u8>, ReportError> {
    let opened = open_checkout(checkout);
    let root = opened.map_err(|source| ReportError::Unreadable { path: path.to_owned(), source })?;
    read_in(&root, path, since)
}

/// Reads a report below an open directory.
pub(super) fn read_in(root: &OwnedFd, path: &str, since: Since) -> Result<Vec<u8>, ReportError> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ReportError::Missing(path.to_owned()),
        _ => ReportError::Unreadable { path: path.to_owned(), source: error },
    };
    let (directory, name) = parent(root.as_fd(), path).map_err(told)?;
    // NONBLOCK: opening a pipe that somebody planted must not wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(&directory, name.as_str(), flags, Mode::empty()).map_err(|e| told(e.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| told(e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReportError::NoFile(path.to_owned()));
    }
    // A committed file that the run links or moves to the report's place keeps its time.
    if Since(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)) < since {
        return Err(ReportError::Predates(path.to_owned()));
    }
    // Before a byte of it is read; below once more, because the file may still grow.
    if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > limits::GATE_REPORT_BYTES {
        return Err(ReportError::TooLarge(path.to_owned()));
    }
    let mut bytes = Vec::new();
    // The size in the metadata proves nothing, because the file may still grow while it is read.
    File::from(file).take(limits::GATE_REPORT_BYTES + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > limits::GATE_REPORT_BYTES {
        return Err(ReportError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// Removes a report that is there before the gate that writes it has run: a committed one must not count. Errors
/// when something stays in its place.
pub(super) fn remove(checkout: &Path, path: &str) -> Result<(), ReportError> {
    let told = |source: io::Error| ReportError::Stale { path: path.to_owned(), source };
    let (directory, name) = match open_checkout(checkout).and_then(|root| parent(root.as_fd(), path)) {
        Ok(found) => found,
        // Where no directory is there is no report. A link on the way is another error, and it is not passed over: the gate
        // would write through it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(told(error)),
    };
    match rustix::fs::unlinkat(&directory, name.as_str(), AtFlags::empty()) {
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
        assert_eq!(read(&tree, "dir/ok", Since::ever()).unwrap(), b"inside");
        for bad in ["link", "up/secret", "pipe", "dir", "missing", "../secret"] {
            assert!(read(&tree, bad, Since::ever()).is_err(), "{bad}");
        }
        assert!(
            read(&tree, "missing", Since::ever())
                .unwrap_err()
                .to_string()
                .contains("not written during this judgement")
        );
    }

    #[test]
    fn a_report_that_was_there_before_the_run_is_forged_and_a_huge_one_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("committed"), "old").unwrap();
        let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        std::fs::File::options()
            .write(true)
            .open(home.path().join("committed"))
            .unwrap()
            .set_modified(hour_ago)
            .unwrap();
        let since = Since::now();
        std::fs::hard_link(home.path().join("committed"), home.path().join("linked")).unwrap();
        std::fs::write(home.path().join("new"), "new").unwrap();
        assert!(matches!(read(home.path(), "linked", since), Err(ReportError::Predates(_))));
        assert_eq!(read(home.path(), "new", since).unwrap(), b"new");
        // Sparse: were it read, its gigabyte would be in memory.
        std::fs::File::create(home.path().join("huge")).unwrap().set_len(1 << 30).unwrap();
        assert!(matches!(read(home.path(), "huge", since), Err(ReportError::TooLarge(_))));
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
