//! The lock of a data directory: two servers never share one, whatever store they use.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use mosaic_core::ports::store::StoreError;
use rustix::fs::{FlockOperation, flock};

use crate::bounded_file;
use crate::data_kinds;
use crate::durable_write::WholeFile;
use crate::process::linux;

/// Longest note of which store is used: a word and a digest.
const STORE_NOTE_BYTES: u64 = 256;

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

/// Notes which store the server of this directory uses, in one line. Call under the lock.
pub fn note_store(dir: &Path, store: &str) -> io::Result<()> {
    if store_of(dir).as_deref() == Some(store) {
        return Ok(());
    }
    WholeFile::at(&dir.join("store")).through(dir.join("store.new")).write(format!("{store}\n").as_bytes())
}

/// Returns which store the newest server of this directory used, when that was noted.
pub fn store_of(dir: &Path) -> Option<String> {
    let text = bounded_file::read_linked_text(&dir.join("store"), STORE_NOTE_BYTES).ok()?;
    Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |e: io::Error| {
        let hint = "use a directory that this user may write";
        StoreError::Unusable(format!("data directory {} cannot be used: {e}; {hint}", dir.display()))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    // A link in its place would have a file made, or a lock taken, wherever it leads; a pipe or a directory can be no lock.
    let path = dir.join("lock");
    let opened = bounded_file::put_aside_unless_plain(&path).and_then(|()| bounded_file::open_own(&path));
    let mut file = opened.map_err(unusable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(dir, &mut file)),
        Err(e) => return Err(unusable(e.into())),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(unusable)?;
    Ok(file)
}

/// Directories and files of a data directory that nobody else may write, and those among them that nobody else may read.
const OURS: [&str; 16] = [
    "store",
    "mosaic.db",
    "mosaic.db-wal",
    "lock",
    "instance",
    "trusted",
    "orders",
    "audit",
    "agents",
    "repos",
    "git",
    "transcripts",
    "archive",
    "trash",
    "restored",
    "run",
];
const SECRETS: [&str; 2] = ["token", "agent-secret"];

/// Revokes what others may write of a data directory that is there, and of what a server keeps in it. Returns a
/// warning for each. Errors when that cannot be revoked, or belongs to somebody who could restore it himself; `node` is the
/// server's name.
pub fn keep_private(dir: &Path, node: &str) -> Result<Vec<String>, StoreError> {
    let mut warnings = Vec::new();
    let Ok(found) = std::fs::metadata(dir) else { return Ok(warnings) };
    if !found.is_dir() {
        let hint = "name a directory, or a place where one can be made";
        return Err(StoreError::Unusable(format!(
            "data directory {} is no directory; {hint}",
            dir.display()
        )));
    }
    warnings.extend(data_kinds::check(dir, node)?);
    // Nothing of anybody else's is changed: a directory with other things in it is no data directory yet.
    if found.mode() & 0o022 != 0 && is_somebody_elses(dir) {
        let why = "is open to others and holds files, but none of a server's; use a directory of its own";
        return Err(StoreError::Unusable(format!("data directory {} {why}", dir.display())));
    }
    if found.mode() & 0o1000 != 0 && found.mode() & 0o022 != 0 {
        let why = "is a directory that others put their files into too; use one of its own below it";
        return Err(StoreError::Unusable(format!("data directory {} {why}", dir.display())));
    }
    close(dir, &found, 0o022, &mut warnings)?;
    let names = OURS.iter().map(|name| (name, 0o022)).chain(SECRETS.iter().map(|name| (name, 0o077)));
    for (name, most) in names {
        let path = dir.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() || found.is_dir() => close(&path, &found, most, &mut warnings)?,
            // What else has the name is told by whoever needs the file.
            _ => {}
        }
    }
    warnings.extend(others_may_swap(dir).map(|above| swap_warning(dir, &above)));
    Ok(warnings)
}

/// Names the nearest directory above a data directory in which others may rename what is there, and so put another data
/// directory in the place of this one. A sticky one, as `/tmp` is, does not let them.
pub fn others_may_swap(dir: &Path) -> Option<std::path::PathBuf> {
    let dir = dir.canonicalize().ok()?;
    let is_open = |above: &&Path| {
        std::fs::metadata(above).is_ok_and(|found| found.mode() & 0o002 != 0 && found.mode() & 0o1000 == 0)
    };
    dir.ancestors().skip(1).find(is_open).map(Path::to_owned)
}

/// Says that others can put another data directory in the place of this one.
pub fn swap_warning(dir: &Path, above: &Path) -> String {
    format!(
        "everybody may write {}, and so put another directory in the place of the data directory {}; take that right away (chmod o-w {}), or use another place",
        above.display(),
        dir.display(),
        above.display()
    )
}

/// Tells whether a directory holds something, and nothing that a server made.
fn is_somebody_elses(dir: &Path) -> bool {
    let is_ours = |name: &str| std::fs::symlink_metadata(dir.join(name)).is_ok();
    let is_empty = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    !is_empty && !OURS.iter().chain(&SECRETS).any(|name| is_ours(name))
}

/// Closes one file or directory for others.
fn close(path: &Path, found: &Metadata, most: u32, warnings: &mut Vec<String>) -> Result<(), StoreError> {
    let (own, root) = (rustix::process::geteuid().as_raw(), 0);
    if found.uid() != own && found.uid() != root {
        let text = format!("{} belongs to another user ({})", path.display(), found.uid());
        if own != root {
            return Err(StoreError::Unusable(format!("{text}; use a data directory of your own")));
        }
        warnings.push(format!("{text}, who can read and change it"));
    }
    if found.mode() & most == 0 {
        return Ok(());
    }
    let mode = found.mode() & 0o7777 & !most;
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| {
        let text = format!("others may write or read {}, and that cannot be revoked: {e}", path.display());
        StoreError::Unusable(format!("{text}; use a data directory of your own"))
    })?;
    let what = if found.mode() & 0o022 != 0 { "write" } else { "read" };
    warnings.push(format!(
        "others could {what} {}, and cannot any more; if anybody may have, stop, remove it and start again",
        path.display()
    ));
    Ok(())
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
    // The kernel gives the table out a page at a time, and a lock that goes away between two pages moves the later ones up:
    // a line can be left out of one reading, never be there without its lock.
    (0..LOCK_LOOKS).any(|_| {
        let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        table.lines().any(|line| is_whole_lock(line, pid, file.ino()))
    })
}

/// Readings of the table of locks before a lock that none of them shows counts as free.
const LOCK_LOOKS: usize = 8;

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
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::durable_write::durable_write;

    #[test]
    fn a_lock_is_seen_while_others_come_and_go() {
        let place = tempfile::tempdir().unwrap();
        let open = |name: &str| File::create(place.path().join(name)).unwrap();
        let take = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive).unwrap();
        // Two pages of other locks, half of them taken before ours and half after it.
        let others: Vec<File> = (0..160).map(|n| open(&n.to_string())).collect();
        others[..80].iter().for_each(take);
        let own = open("lock");
        take(&own);
        others[80..].iter().for_each(take);
        let (pid, over) = (std::process::id(), AtomicBool::new(false));
        let start = process_start(pid).unwrap();
        let missed = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    others.iter().for_each(|file| flock(file, FlockOperation::Unlock).unwrap());
                    others.iter().for_each(take);
                }
            });
            let missed = (0..2000).filter(|_| !is_held_by(place.path(), pid, start)).count();
            over.store(true, Ordering::Relaxed);
            missed
        });
        assert_eq!(missed, 0, "of 2000 questions");
    }

    #[test]
    fn what_others_may_write_is_closed_and_told_and_a_shared_directory_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("data");
        assert_eq!(keep_private(&dir, "node").unwrap(), [""; 0], "it is made later");
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
        assert_eq!(keep_private(&dir, "node").unwrap(), [""; 0]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        let open = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        for (name, given, left) in
            [("", 0o777, 0o755), ("", 0o770, 0o750), ("agent-secret", 0o620, 0o600), ("token", 0o644, 0o600)]
        {
            let path = if name.is_empty() { dir.clone() } else { dir.join(name) };
            if !name.is_empty() {
                durable_write(&path, b"secret").unwrap();
            }
            open(&path, given);
            let warnings = keep_private(&dir, "node").unwrap();
            assert!(warnings.len() == 1 && warnings[0].contains(path.to_str().unwrap()), "{warnings:?}");
            assert_eq!((mode(&path), keep_private(&dir, "node").unwrap().len()), (left, 0), "{name}");
        }
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        open(&file, 0o666);
        assert!(keep_private(&file, "node").unwrap_err().to_string().contains("is no directory"));
        let shared = place.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("report.txt"), "").unwrap();
        open(&shared, 0o777);
        assert!(keep_private(&shared, "node").unwrap_err().to_string().contains("none of a server's"));
        assert_eq!((mode(&file), mode(&shared)), (0o666, 0o777), "nothing is changed there");
        open(&dir, 0o1777);
        assert!(keep_private(&dir, "node").unwrap_err().to_string().contains("one of its own"));
        assert_eq!(mode(&dir), 0o1777, "nothing is changed there");
    }

    #[test]
    fn a_directory_above_that_everybody_may_write_is_told_unless_it_is_sticky() {
        let place = tempfile::tempdir().unwrap();
        let (above, dir) = (place.path().join("above"), place.path().join("above/deep/data"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
        let open = |mode| std::fs::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
        for (mode, told) in [(0o755, 0), (0o777, 1), (0o757, 1), (0o1777, 0)] {
            open(mode);
            let warnings = keep_private(&dir, "node").unwrap();
            assert_eq!(warnings.len(), told, "{mode:o}: {warnings:?}");
            assert!(warnings.iter().all(|text| text.contains(above.to_str().unwrap())), "{warnings:?}");
        }
    }

    #[test]
    fn a_lock_is_not_taken_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("lock")).unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        assert!(!elsewhere.exists());
        assert!(matches!(DirLock::take(dir.path()), Err(StoreError::InUse(_))), "it is a lock");
        drop(lock);
    }

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
