//! Writing into directories where an agent may have planted links. A path is walked part by part through handles, and
//! no part of it may be a link, so what is written lands where it was meant to or nowhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Prefix of the names of files that are written aside and then put in place.
pub(crate) const ASIDE: &str = ".new-";

/// A handle that only leads on; it needs no right to list the directory.
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a file for reading where an agent may have planted a pipe, which would hold whoever opens it.
pub(crate) fn open_unheld(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
}

/// Reads a plain file where an agent may have planted something else: neither a link nor a pipe nor a device is read, and
/// at most `most` bytes.
pub(crate) fn read_plain(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is no plain file", path.display())));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, most), &mut bytes)?;
    Ok(bytes)
}

/// An open directory that was reached without a link.
#[derive(Debug)]
pub(crate) struct PrivatePlace(OwnedFd);

impl PrivatePlace {
    /// Opens an absolute path, none of whose parts may be a link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let inside = path.strip_prefix("/").map_err(|_| refuse(path))?;
        Self(openat(CWD, "/", STEP, Mode::empty())?).walk(inside)
    }

    /// Opens a directory below this one.
    pub(crate) fn walk(self, relative: &Path) -> io::Result<Self> {
        relative.components().try_fold(self, |at, part| at.enter(normal(relative, part)?))
    }

    /// Opens a directory in this one.
    pub(crate) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, STEP, Mode::empty())?))
    }

    /// Reads a plain file in this one: neither a link nor a pipe nor a device, and at most `most` bytes.
    pub(crate) fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!("{name} is no plain file")));
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, most), &mut bytes)?;
        Ok(bytes)
    }

    /// Makes a directory in this one, for its owner only, unless it is there.
    pub(crate) fn make(&self, name: &OsStr) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::RWXU) {
            // What has the name already may be planted; entering it refuses a link and everything else that is no
            // directory.
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(e) => Err(e.into()),
        }
    }

    /// Makes a file that was not there and writes it.
    pub(crate) fn create(&self, name: &OsStr, mode: u32, content: &mut impl io::Read) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::from_raw_mode(mode))?);
        io::copy(content, &mut file)?;
        file.flush()
    }

    /// Writes a file that only its owner can read, in the place of whatever has the name.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // A rename replaces a link that an agent planted under the name. Opening that name for writing would follow the
        // link out of the directory.
        let aside = format!("{ASIDE}{}", uuid::Uuid::new_v4().simple());
        let written = self
            .create(OsStr::new(&aside), 0o600, &mut &bytes[..])
            .and_then(|()| Ok(renameat(&self.0, &aside, &self.0, name)?));
        written.inspect_err(|_| {
            // The first error is the one to report.
            let _ = unlinkat(&self.0, &aside, AtFlags::empty());
        })
    }

    /// Moves an entry of another directory here. An entry of this name that is no empty directory stays and is an error.
    pub(crate) fn take(&self, from: &Self, old: &OsStr, new: &OsStr) -> io::Result<()> {
        Ok(renameat(&from.0, old, &self.0, new)?)
    }

    /// Copies regular files and directories into this one; links and everything else are left out.
    pub(crate) fn copy(&self, from: &Path) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt as _;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            if kind.is_dir() {
                self.make(&name)?.copy(&entry.path())?;
            } else if kind.is_file() {
                // Only the right to execute is taken along: neither setuid bits nor rights of other users belong into a
                // private directory.
                let mode = 0o600 | entry.metadata()?.mode() & 0o100;
                self.create(&name, mode, &mut File::open(entry.path())?)?;
            }
        }
        Ok(())
    }
}

/// Takes one part of a path; nothing that leads up or elsewhere.
pub(crate) fn normal<'a>(path: &Path, part: Component<'a>) -> io::Result<&'a OsStr> {
    match part {
        Component::Normal(name) => Ok(name),
        _ => Err(refuse(path)),
    }
}

fn refuse(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a plain path", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_part_of_a_path_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("outside/config")).unwrap();
        std::fs::create_dir(root.join("agent")).unwrap();
        symlink(root.join("outside"), root.join("agent/link")).unwrap();
        assert!(PrivatePlace::open(&root.join("agent")).is_ok());
        assert!(PrivatePlace::open(&root.join("agent/link")).is_err());
        assert!(PrivatePlace::open(&root.join("agent/link/config")).is_err());
        assert!(PrivatePlace::open(&root.join("agent/../agent")).is_err());
        assert!(PrivatePlace::open(Path::new("agent")).is_err());
    }

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let config = place.path().canonicalize().unwrap();
        std::fs::write(config.join("outside"), "untouched").unwrap();
        symlink(config.join("outside"), config.join("settings.json")).unwrap();
        PrivatePlace::open(&config).unwrap().replace("settings.json", b"{}").unwrap();
        assert_eq!(std::fs::read_to_string(config.join("outside")).unwrap(), "untouched");
        assert_eq!(std::fs::read_to_string(config.join("settings.json")).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(&config).unwrap().count(), 2);
    }
}
