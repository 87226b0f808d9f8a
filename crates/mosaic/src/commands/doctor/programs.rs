//! Programs that checks look for and run.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// Longest time of one check.
pub(super) const CHECK: Duration = Duration::from_secs(3);

pub(super) fn in_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
