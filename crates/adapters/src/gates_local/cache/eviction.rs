//! Eviction: entries that were not used for too long, and the least recently used ones of a cache that is too large.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mosaic_core::limits;

use super::{EntryNote, GateCache, Kind, NOTE};
use crate::bounded_file;
use crate::private_place::ASIDE;

/// Time after which a directory that nobody finished belongs to a process that is gone: far longer than a setup may take.
const HALF_MADE: Duration = Duration::from_secs(24 * 3600);

/// An entry as the eviction sees it.
struct Candidate {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

impl GateCache {
    /// Removes what is too old or too much. What cannot be removed stays until the next time.
    pub(super) fn evict(&self) {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for kind in Kind::ALL {
            let Ok(found) = fs::read_dir(self.root.join(kind.directory())) else { continue };
            for path in found.take(limits::GATE_CACHE_ENTRIES).flatten().map(|entry| entry.path()) {
                match candidate(path.clone()) {
                    Some(entry) => entries.push(entry),
                    None if is_given_up(&path, now) => self.remove(&path),
                    None => {}
                }
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut bytes: u64 = 0;
        for entry in entries {
            bytes = bytes.saturating_add(entry.bytes);
            let unused = now.duration_since(entry.used).unwrap_or_default();
            if bytes > self.bounds.bytes || unused > self.bounds.age {
                self.remove(&entry.path);
            }
        }
    }

    fn remove(&self, path: &std::path::Path) {
        if let Err(e) = self.discard(path) {
            tracing::warn!(path = %path.display(), error = %e, "an entry of the cache of gates cannot be removed");
        }
    }
}

fn candidate(path: PathBuf) -> Option<Candidate> {
    let file = path.join(NOTE);
    let used = fs::metadata(&file).and_then(|meta| meta.modified()).ok()?;
    let text = bounded_file::read_text(&file, limits::GATE_CACHE_NOTE_BYTES).ok()?;
    let note: EntryNote = serde_json::from_str(&text).ok()?;
    let is_half_made = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE));
    (!is_half_made).then_some(Candidate { path, used, bytes: note.bytes })
}

/// Tells whether nobody can still be working on a directory that is no entry.
fn is_given_up(path: &std::path::Path, now: SystemTime) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    changed.is_ok_and(|changed| now.duration_since(changed).unwrap_or_default() > HALF_MADE)
}

#[cfg(test)]
mod tests {
    use super::super::CacheBounds;
    use super::*;

    fn entry(cache: &GateCache, key: &str, bytes: u64, used: u64) {
        let staged = cache.stage(Kind::Setup).unwrap();
        let note = EntryNote { bytes, ..EntryNote::default() };
        cache.keep(Kind::Setup, key, &staged, note).unwrap();
        let file = cache.file("setup", key).join(NOTE);
        let file = fs::OpenOptions::new().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(used)).unwrap();
    }

    fn is_there(cache: &GateCache, key: &str) -> bool {
        cache.file("setup", key).is_dir()
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first_and_the_old_goes_always() {
        let home = tempfile::tempdir().unwrap();
        let cache = GateCache::new(home.path(), CacheBounds { bytes: 100, age: Duration::from_secs(1000) });
        entry(&cache, "aa", 40, 300);
        entry(&cache, "bb", 40, 200);
        entry(&cache, "cc", 40, 100);
        cache.evict();
        assert_eq!(["aa", "bb", "cc"].map(|key| is_there(&cache, key)), [false, true, true]);
        // A use makes it the newest.
        assert!(cache.find(Kind::Setup, "bb").is_some());
        entry(&cache, "dd", 40, 50);
        cache.evict();
        assert_eq!(["bb", "cc", "dd"].map(|key| is_there(&cache, key)), [true, false, true]);
        entry(&cache, "ee", 1, 2000);
        cache.evict();
        assert!(!is_there(&cache, "ee"));
    }
}
