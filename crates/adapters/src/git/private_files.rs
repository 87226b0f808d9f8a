//! Directories and files of this user alone, written whole or not at all.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::durable_write::WholeFile;

/// Makes a directory and its parents, readable by this user only.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file so that it is there whole or not at all.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::other("a file needs a directory"))?;
    private_dir(parent)?;
    let aside = parent.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
    WholeFile::at(path).through(aside).without_sync().write(bytes)
}
