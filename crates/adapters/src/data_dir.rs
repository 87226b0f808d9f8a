//! The lock of a data directory: two servers never share one, whatever store they use.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use mosaic_core::ports::store::StoreError;
use rustix::fs::{FlockOperation, flock};

use crate::process::linux;

/// A data directory that is this process's alone, until this value is gone.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

impl DirLock {
    /// Makes the directory when missing and locks it. Errors: `InUse` when another server holds it, `Unusable` when it
    /// cannot be used.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        lock(dir).map(Self)
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |e: io::Error| {
        let hint = "use a directory that this user may write";
        StoreError::Unusable(format!("data directory {} cannot be used: {e}; {hint}", dir.display()))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let mut file = options.open(dir.join("lock")).map_err(unusable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(dir, &mut file)),
        Err(e) => return Err(unusable(e.into())),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(unusable)?;
    Ok(file)
}

/// Returns the start time of a process in clock ticks since boot: with the process id it names a process once per boot.
pub fn process_start(pid: u32) -> Option<u64> {
    linux::look(i32::try_from(pid).ok()?).map(|seen| seen.process.start)
}

/// Tells whether exactly this process holds the lock of a data directory now. The lock is looked up and never taken, so that
/// the question cannot keep a server from starting.
pub fn is_held_by(dir: &Path, pid: u32, start: u64) -> bool {
    let Ok(file) = std::fs::symlink_metadata(dir.join("lock")) else { return false };
    if !file.is_file() || process_start(pid) != Some(start) {
        return false;
    }
    match std::fs::read_to_string("/proc/locks") {
        Ok(table) => table.lines().any(|line| is_whole_lock(line, pid, file.ino())),
        Err(_) => false,
    }
}

/// Tells whether a line of `/proc/locks` is an exclusive flock of this process on this inode, as in
/// `7: FLOCK  ADVISORY  WRITE 4711 fd:01:1573021 0 EOF`. The device is not compared: some file systems show another one
/// there than `stat` does.
fn is_whole_lock(line: &str, pid: u32, inode: u64) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", holder, place, ..] = fields.as_slice() else { return false };
    holder.parse() == Ok(pid) && place.rsplit(':').next().and_then(|text| text.parse().ok()) == Some(inode)
}

fn held(dir: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
    let holder = match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("another server (process {pid})"),
        _ => "another server".to_owned(),
    };
    StoreError::InUse(format!(
        "data directory {} is in use by {holder}; stop it first, or choose another directory",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_counts_for_the_process_that_holds_it_and_while_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let (pid, start) = (std::process::id(), process_start(std::process::id()).unwrap());
        assert!(!is_held_by(dir.path(), pid, start), "there is no lock yet");
        let lock = DirLock::take(dir.path()).unwrap();
        assert!(is_held_by(dir.path(), pid, start));
        assert!(!is_held_by(dir.path(), pid, start + 1), "a process of the same number that began later");
        assert!(!is_held_by(dir.path(), 1, process_start(1).unwrap()), "another process");
        drop(lock);
        assert!(dir.path().join("lock").exists() && !is_held_by(dir.path(), pid, start));
    }

    #[test]
    fn lines_of_the_lock_table_are_read() {
        let line = "7: FLOCK  ADVISORY  WRITE 4711 fd:01:1573021 0 EOF";
        assert!(is_whole_lock(line, 4711, 1573021));
        assert!(!is_whole_lock(line, 4712, 1573021) && !is_whole_lock(line, 4711, 3021));
        for other in [
            "7: POSIX  ADVISORY  WRITE 4711 fd:01:1573021 0 EOF",
            "7: FLOCK  ADVISORY  READ 4711 fd:01:1573021 0 EOF",
            "7: -> FLOCK  ADVISORY  WRITE 4711 fd:01:1573021 0 EOF",
            "",
        ] {
            assert!(!is_whole_lock(other, 4711, 1573021), "{other}");
        }
    }
}
