//! Packing the refs of agents. Each agent leaves a few, and a file with its directories for each costs inodes and makes
//! every listing slow; in `packed-refs` they are lines. Written by hand under git's own lock: refs of ours are written by
//! this process only, so one lock here for each bare repository keeps a ref that is rewritten meanwhile from being lost.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;

use crate::bounded_file;
use crate::git::ref_files;
use crate::git::ref_names::PLACES;
use crate::git::repositories::GitRepositories;

const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted \n";

/// A ref in a file of its own.
struct Loose {
    name: String,
    path: PathBuf,
    commit: CommitId,
}

impl GitRepositories {
    /// Writes a ref into a bare repository; see [`ref_files::write_ref`].
    pub(crate) async fn write_ref(&self, dir: &Path, name: &str, commit: &CommitId) -> io::Result<()> {
        let lock = self.ref_lock(dir);
        let _alone = lock.lock().await;
        ref_files::write_ref(dir, name, commit)
    }

    /// Packs the refs of agents that were written longer ago than `age`, when there are many; returns how many.
    pub(crate) async fn pack_refs(&self, dir: &Path, least: usize, age: Duration) -> io::Result<usize> {
        if PLACES.iter().map(|place| entries(&dir.join(place))).sum::<usize>() < least {
            return Ok(0);
        }
        let mut loose = Vec::new();
        for place in PLACES {
            collect(&dir.join(place), place, age, &mut loose);
        }
        if loose.len() < least {
            return Ok(0);
        }
        let files = self.ref_lock(dir);
        let _alone = files.lock().await;
        let lock = dir.join("packed-refs.lock");
        // The lock of git itself, under its name: a git of ours that deletes packed refs at the same time waits or fails, and
        // loses nothing.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock)?;
        // On the disk before the loose files go: after a loss of power either the files or the lines are there.
        let written =
            merged(dir, &loose).and_then(|text| file.write_all(&text)).and_then(|()| file.sync_all());
        if let Err(e) = written.and_then(|()| fs::rename(&lock, dir.join("packed-refs"))) {
            let _ = fs::remove_file(&lock);
            return Err(e);
        }
        for one in &loose {
            // Written again since it was read: its file is newer than its line, and stays.
            if read(&one.path).as_ref() == Some(&one.commit) {
                fs::remove_file(&one.path)?;
            }
            // Fails, as it should, for a directory that is not empty.
            for above in one
                .path
                .ancestors()
                .skip(1)
                .take_while(|above| !PLACES.iter().any(|p| dir.join(p) == **above))
            {
                if fs::remove_dir(above).is_err() {
                    break;
                }
            }
        }
        Ok(loose.len())
    }
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

fn read(path: &Path) -> Option<CommitId> {
    bounded_file::read_text(path, limits::MARKER_BYTES).ok()?.trim_end().parse().ok()
}

fn collect(dir: &Path, name: &str, age: Duration, all: &mut Vec<Loose>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (Ok(meta), Ok(part)) = (entry.metadata(), entry.file_name().into_string()) else { continue };
        let (name, path) = (format!("{name}/{part}"), entry.path());
        if meta.is_dir() {
            collect(&path, &name, age, all);
        } else if meta.is_file()
            && !part.starts_with('.')
            && !part.ends_with(".lock")
            && meta.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|old| old >= age)
            && let Some(commit) = read(&path)
        {
            all.push(Loose { name, path, commit });
        }
    }
}

/// Returns the file's new content: every line of before, and a line for each of these refs, in the order of names.
fn merged(dir: &Path, loose: &[Loose]) -> io::Result<Vec<u8>> {
    let before = match bounded_file::read(&dir.join("packed-refs"), limits::GIT_FILE_BYTES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let mut lines: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut last: Option<Vec<u8>> = None;
    for line in before.split_inclusive(|byte| *byte == b'\n') {
        let name =
            line.iter().position(|byte| *byte == b' ').map(|at| line[at + 1..].trim_ascii_end().to_vec());
        match (line.first(), name) {
            (Some(b'#'), _) => {}
            // What an annotated tag points to.
            (Some(b'^'), _) => {
                if let Some(entry) = last.as_ref().and_then(|name| lines.get_mut(name)) {
                    entry.extend(line);
                }
            }
            (_, Some(name)) => {
                lines.insert(name.clone(), line.to_vec());
                last = Some(name);
            }
            _ => {}
        }
    }
    for one in loose {
        lines.insert(one.name.clone().into_bytes(), format!("{} {}\n", one.commit, one.name).into_bytes());
    }
    Ok([HEADER.as_bytes().to_vec()].into_iter().chain(lines.into_values()).collect::<Vec<_>>().concat())
}

/// When refs are packed by themselves.
pub(crate) const USUAL: (usize, Duration) = (limits::LOOSE_REFS, limits::LOOSE_REF_AGE);
