//! The report of a harvest, read from the outbox as untrusted data.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::git::bundle_spec::{Harvested, REPORT};

/// Reads the report from an outbox: a small regular file, not a link.
pub(crate) fn read_report(outbox: &Path) -> Option<Harvested> {
    const MOST: u64 = 64 * 1024;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(outbox.join(REPORT)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
