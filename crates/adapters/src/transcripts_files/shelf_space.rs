//! Measures the disk space of transcripts, and frees it. The folders are ours: agents cannot write here, so plain paths do.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::ports::transcripts::Shelved;

use crate::bounded_file;

/// The size of a folder in bytes, and the time of its last change.
pub(super) struct Measured {
    pub(super) bytes: u64,
    touched: SystemTime,
}

/// Measures one folder; one that does not exist holds nothing. Files that go meanwhile are left out.
pub(super) fn measure(folder: &Path) -> io::Result<Measured> {
    let mut found = Measured { bytes: 0, touched: SystemTime::UNIX_EPOCH };
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    // A folder in which nothing was written yet is as old as it is.
    if let Ok(at) = fs::metadata(folder).and_then(|meta| meta.modified()) {
        found.touched = at;
    }
    for entry in entries {
        let Ok(meta) = entry?.metadata() else { continue };
        found.bytes += meta.len();
        found.touched = found.touched.max(meta.modified().unwrap_or(found.touched));
    }
    Ok(found)
}

/// Measures the folders of all agents; one that cannot be read is left out.
pub(super) fn shelved(dir: &Path) -> io::Result<Vec<Shelved>> {
    let (agents, _) = bounded_file::agents(dir)?;
    let mut all = Vec::new();
    for agent in agents {
        match measure(&dir.join(agent.to_string())) {
            Ok(found) => {
                all.push(Shelved { agent, bytes: found.bytes, touched: Timestamp::from(found.touched) })
            }
            Err(e) => tracing::warn!(agent.id = %agent, error = %e, "a transcript could not be measured"),
        }
    }
    Ok(all)
}

/// Removes a folder with everything in it; returns what it held.
pub(super) fn discard(folder: &Path) -> io::Result<u64> {
    let held = measure(folder)?;
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(held.bytes),
    }
}
