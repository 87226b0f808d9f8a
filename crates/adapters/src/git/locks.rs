//! Locks that a killed git leaves behind in a tree.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self as rfs, AtFlags, Mode, OFlags};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the locks that a killed git left in a tree whose agent is dead, without following any link.
pub(super) fn drop_stale_locks(tree: &Path) -> io::Result<()> {
    let tree = CString::new(tree.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let tree = rfs::open(tree.as_c_str(), DIRECTORY, Mode::empty())?;
    let git = rfs::openat(&tree, c".git", DIRECTORY, Mode::empty())?;
    for lock in [c"index.lock", c"HEAD.lock", c"config.lock", c"packed-refs.lock"] {
        match rfs::unlinkat(&git, lock, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
