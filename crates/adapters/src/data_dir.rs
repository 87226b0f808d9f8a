//! The lock of a data directory: two servers never share one, whatever store they use.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use mosaic_core::ports::store::StoreError;
use rustix::fs::{FlockOperation, flock};

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
