//! Files that are written as a whole: each is there with all of its content or not at all, whenever the writer ends.
//!
//! The content goes into a file beside it, which then takes its name. POSIX promises that a rename replaces a name in one
//! step, but not that the content is on the disk by then, nor that the new name is. So the content is synced before the
//! rename and the directory after it; without the first a loss of power can leave an empty file under the right name, without
//! the second the old one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::private_place::ASIDE;

/// Writes a file that only its owner may read, whole or not at all, also when power is lost.
pub fn durable_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    WholeFile::at(path).write(bytes)
}

/// Gives a file that is complete its name, so that both survive a loss of power.
pub fn put_in_place(complete: &Path, path: &Path) -> io::Result<()> {
    File::open(complete)?.sync_all()?;
    std::fs::rename(complete, path)?;
    sync_directory_of(path)
}

/// A file about to be written as a whole, for its owner only.
#[derive(Debug)]
pub struct WholeFile<'a> {
    path: &'a Path,
    aside: PathBuf,
    synced: bool,
}

impl<'a> WholeFile<'a> {
    /// Begins with the file's path. What a crash leaves beside it has `.new-` in its name, by which the next start of a
    /// server knows it.
    pub fn at(path: &'a Path) -> Self {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!("{ASIDE}{}", uuid::Uuid::new_v4().simple()));
        Self { path, aside: path.with_file_name(name), synced: true }
    }

    /// Names the file that holds the content until it is complete. One that is left of this name is removed.
    #[must_use]
    pub fn through(self, aside: PathBuf) -> Self {
        Self { aside, ..self }
    }

    /// Leaves out the waiting for the disk, for files that mean nothing after a loss of power.
    #[must_use]
    pub fn without_sync(self) -> Self {
        Self { synced: false, ..self }
    }

    /// Writes it.
    pub fn write(self, bytes: &[u8]) -> io::Result<()> {
        self.fill(|file| file.write_all(bytes))
    }

    /// Lets the caller write it, and do whatever else must be done before it has its name.
    pub fn fill(self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        match std::fs::remove_file(&self.aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // `create_new` follows no link and opens no pipe: where others may write into the directory, a name that they were
        // faster to take is an error and never a way out of it.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.aside)?;
        let written = fill(&mut file).and_then(|()| self.finish(&file));
        if written.is_err() {
            // The first error is the one to report, and half a file is of no use.
            let _ = std::fs::remove_file(&self.aside);
        }
        written
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        if self.synced {
            file.sync_all()?;
        }
        std::fs::rename(&self.aside, self.path)?;
        if self.synced { sync_directory_of(self.path) } else { Ok(()) }
    }
}

/// Makes the names in a file's directory durable.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    // The parent of a bare file name is the empty path, which no system call takes.
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    where_it_can_be(
        File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all()),
    )
}

/// Takes the outcome of a directory's sync; that it cannot be synced at all is no error.
pub(crate) fn where_it_can_be(synced: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match synced {
        // Some file systems of other machines sync no directory, and one that may be written but not read cannot be opened. The
        // file is in its place then, and saying that it is not would cost more than a loss of power.
        Err(e) if matches!(e.kind(), PermissionDenied | InvalidInput | Unsupported) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_file_is_there_whole_for_its_owner_and_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        for text in ["first", "second"] {
            durable_write(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        durable_write(&path, b"first").unwrap();
        let failed = WholeFile::at(&path).fill(|file| {
            file.write_all(b"sec")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_left_or_planted_under_the_name_beside_it_is_replaced_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let (path, aside) = (place.path().join("file"), place.path().join("file.new"));
        let elsewhere = place.path().join("elsewhere");
        std::fs::write(&elsewhere, "untouched").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &aside).unwrap();
        WholeFile::at(&path).through(aside.clone()).without_sync().write(b"mine").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "untouched");
        assert!(!aside.exists());
    }
}
