//! Deleting one entry of the trash with everything below it: by directory handles, never through a link, never into
//! another mount. A directory counts as inside only when the kernel says, of the handle that is used, that it is on
//! the trash's own mount: a bind mount of the same file system looks the same by its device.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, StatxFlags, fchmod, fstat, openat, renameat, statat, statx,
    unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

/// Opens a directory, never through a link.
pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Depth at which a subtree is moved up instead of entered: each level keeps a file open.
const DEPTH: u32 = 64;

/// Where something is, as far as not leaving it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mount {
    device: u64,
    id: u64,
}

/// One deletion, confined to the mount of the trash.
pub(super) struct Deletion {
    trash: OwnedFd,
    mount: Mount,
    moved_up: Vec<OsString>,
    /// The first thing that could not be deleted; everything else is deleted all the same.
    fault: Option<io::Error>,
}

impl Deletion {
    pub(super) fn of(trash: OwnedFd) -> io::Result<Self> {
        let mount = mount_of(trash.as_fd())?;
        Ok(Self { trash, mount, moved_up: Vec::new(), fault: None })
    }

    /// Deletes an entry of the trash with everything below it.
    pub(super) fn entry(mut self, name: &OsStr) -> io::Result<()> {
        self.moved_up.push(name.to_owned());
        while let Some(name) = self.moved_up.pop() {
            let trash = self.trash.try_clone()?;
            self.remove(&trash, &CString::new(name.as_bytes())?, 0);
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// Deletes one name in a directory; remembers the first fault.
    fn remove(&mut self, at: &OwnedFd, name: &CString, depth: u32) {
        if let Err(e) = self.try_remove(at, name, depth) {
            let text = format!("{}: {e}", name.to_string_lossy().escape_debug());
            self.fault.get_or_insert_with(|| io::Error::new(e.kind(), text));
        }
    }

    fn try_remove(&mut self, at: &OwnedFd, name: &CString, depth: u32) -> io::Result<()> {
        let found = match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            // A name that something is mounted on is busy; what is mounted is not touched.
            return Ok(unlinkat(at, name, AtFlags::empty())?);
        }
        let directory = self.open_owned(at, name)?;
        // What lies deeper is moved to the top of the trash and deleted from there. So neither the stack nor
        // the number of open handles grows with a tree that was made to be deep.
        if depth >= DEPTH {
            let place = OsString::from(Uuid::new_v4().simple().to_string());
            renameat(at, name, &self.trash, &place)?;
            self.moved_up.push(place);
            return Ok(());
        }
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                self.remove(&directory, &entry.file_name().to_owned(), depth + 1);
            }
        }
        drop(directory);
        match unlinkat(at, name, AtFlags::REMOVEDIR) {
            // Something below could not be deleted and has said so.
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.fault.is_some() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Opens a directory on the trash's own mount and gives its owner all rights on it, which agents withdraw now
    /// and then (and without which it cannot be moved up). Whatever is done is done to the handle that was looked at.
    fn open_owned(&self, at: &OwnedFd, name: &CString) -> io::Result<OwnedFd> {
        // A handle of this kind needs no right on the directory and changes nothing. It is looked at, and
        // what is opened for deletion is the handle and not the name, which may stand for something else by
        // now.
        let handle = openat(at, name, DIRECTORY | OFlags::PATH, Mode::empty())?;
        if mount_of(handle.as_fd())? != self.mount {
            let why = "something is mounted there, which is not ours to delete; unmount it";
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, why));
        }
        let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let reopen = || rustix::fs::open(&again, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = match reopen() {
            Err(Errno::ACCESS) => {
                // `fchmod` refuses a handle of this kind. Its name in /proc leads to the same directory, whatever has
                // the old name by now.
                std::fs::set_permissions(&again, std::fs::Permissions::from_mode(0o700))?;
                reopen()?
            }
            other => other?,
        };
        if fstat(&directory)?.st_mode & 0o700 != 0o700 {
            fchmod(&directory, Mode::RWXU)?;
        }
        Ok(directory)
    }
}

/// Asks the kernel on which mount an open file is.
fn mount_of(file: BorrowedFd<'_>) -> io::Result<Mount> {
    let device = fstat(file)?.st_dev;
    let asked = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    if let Ok(found) = asked
        && found.stx_mask & StatxFlags::MNT_ID.bits() != 0
    {
        return Ok(Mount { device, id: found.stx_mnt_id });
    }
    // Before Linux 5.8 only this file says it.
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    let id = id.ok_or_else(|| io::Error::other("the kernel does not say which mount a file is on"))?;
    Ok(Mount { device, id })
}
