//! Tags of a remote in its bare repository. They come along with the commits that a fetch brings, are looked for again now
//! and then while the base does not move, and are handed to trees and to gates: versions are told by them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mosaic_core::domain::ids::{BranchName, CommitId};
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;

use super::fetch::Tags;
use crate::git::command::Input;
use crate::git::errors::GitError;
use crate::git::ref_files;
use crate::git::repositories::GitRepositories;

/// Tags in files of their own from which on they are packed.
const LOOSE_TAGS: usize = 32;

impl GitRepositories {
    /// Looks for tags that were made on commits which are there already. A fetch that brings the base brings them along, so
    /// this is for a base that does not move; whatever goes wrong costs nobody more than a newer version's name.
    pub(crate) async fn look_for_tags(&self, url: &RepositoryUrl, dir: &Path, branch: &BranchName) {
        let lock = self.repository_lock(dir);
        // While another task fetches, it brings the tags along.
        let Ok(last) = lock.try_lock() else { return };
        let is_young = |at: &Instant| at.elapsed() < limits::TAGS_AGE;
        let looked = self.tag_looks.lock().get(dir).is_some_and(is_young);
        if looked || last.values().any(|fetch| is_young(&fetch.began)) {
            return;
        }
        // Not noted as a fetch of the branch: a caller that waits for one would take what was seen before it for the newest.
        self.tag_looks.lock().insert(dir.to_owned(), Instant::now());
        let refspec = format!("+refs/heads/{branch}:refs/heads/{branch}");
        let looked = async {
            let view = self.view(dir).map_err(|e| e.to_string())?;
            let done = self.fetch_refspec(url, dir, &view, &refspec, Tags::Follow).await;
            let done = done.map_err(|failure| failure.to_string())?;
            if done.status.success() { Ok(()) } else { Err(done.stderr) }
        };
        let looked = tokio::time::timeout(limits::TAGS_LOOK, looked).await;
        if let Err(why) = looked.unwrap_or_else(|_| Err("the remote takes too long".to_owned())) {
            tracing::debug!(why, "new tags of a repository could not be looked for");
        }
        if let Err(e) = self.pack_tags(dir).await {
            tracing::debug!(why = %e, "new tags of a repository could not be packed");
        }
    }

    /// Packs tags that a fetch wrote one file each: what every later call reads is one file again.
    pub(crate) async fn pack_tags(&self, dir: &Path) -> Result<(), GitError> {
        if places(dir).1 < LOOSE_TAGS {
            return Ok(());
        }
        // git packs again what is packed already and deletes the files of that. A ref of an agent that is written meanwhile
        // would be deleted with them: it is written without git's own lock of the ref.
        let lock = self.ref_lock(dir);
        let _alone = lock.lock().await;
        let call = self.git.local(dir).args(["pack-refs"]);
        let done = call.run(Input::Nothing, 0).await?;
        if !done.status.success() {
            tracing::warn!(stderr = done.stderr, "the tags of a bare repository cannot be packed");
        }
        Ok(())
    }

    /// Returns the newest tags that a commit descends from, as lines of a list of packed refs: `git describe` and what is
    /// built on it tell versions by them.
    pub(crate) async fn tags(&self, dir: &Path, commit: &CommitId) -> Arc<String> {
        if !ref_files::has_tags(dir) {
            return Arc::default();
        }
        let question =
            (dir.to_owned(), commit.to_string(), format!("tags at {}", written(dir)), limits::TAGS);
        if let Some(known) = self.tag_lists.recall(&question) {
            return known;
        }
        let call = self.git.local(dir).args([
            "for-each-ref",
            &format!("--merged={commit}"),
            "--sort=-creatordate",
            &format!("--count={}", limits::TAGS),
            "--format=%(objectname) %(refname)%(if)%(*objectname)%(then)%0a^%(*objectname)%(end)",
            "refs/tags",
        ]);
        let done = match call.run(Input::Nothing, limits::LISTING_BYTES).await {
            Ok(done) => done,
            Err(failure) => {
                tracing::warn!(why = %failure, "the tags of a commit cannot be listed");
                return Arc::default();
            }
        };
        // Without tags a version is not known, which is what a gate then says; a list that was cut has no whole last line.
        if !done.status.success() || done.cut {
            tracing::warn!(stderr = done.stderr, "the tags of a commit cannot be listed");
            return Arc::default();
        }
        let lines = in_order(&done.text());
        let bytes = lines.len();
        self.tag_lists.keep(question, lines, bytes)
    }
}

/// Returns the moments at which the places of the tags were last written.
fn written(dir: &Path) -> String {
    format!("{:?} {:?}", places(dir).0, modified(&dir.join("packed-refs")))
}

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Looks at the directories below `refs/tags`: when the last of them was written, and how many tags are files there. Names such as
/// `pkg/v1` are directories of their own, whose changes those above do not show.
fn places(dir: &Path) -> (SystemTime, usize) {
    let (mut newest, mut files) = (SystemTime::UNIX_EPOCH, 0);
    let mut open = vec![dir.join("refs/tags")];
    while let Some(place) = open.pop() {
        newest = newest.max(modified(&place));
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => files += 1,
            }
        }
    }
    (newest, files)
}

/// Puts the lines into the order of the names, as packed refs stand, each with what it points to.
fn in_order(text: &str) -> String {
    let mut entries: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        match (line.starts_with('^'), entries.last_mut()) {
            (true, Some((_, entry))) => entry.push_str(&format!("{line}\n")),
            _ => entries.push((line.split_once(' ').map_or("", |(_, name)| name), format!("{line}\n"))),
        }
    }
    entries.sort();
    entries.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::GitOptions;
    use crate::git::bare_repository::ensure;

    /// Makes a bare repository with many tags in files of their own.
    fn with_tags(dir: &Path) -> std::path::PathBuf {
        let bare = dir.to_owned();
        ensure(&bare, false).unwrap();
        let git = |args: &[&str]| {
            let mut command = std::process::Command::new("git");
            command.args(["-c", "user.name=a", "-c", "user.email=a@example.invalid"]).args(args);
            let out = command.current_dir(&bare).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap().trim().to_owned()
        };
        let tree = git(&["hash-object", "-w", "-t", "tree", "/dev/null"]);
        let commit = git(&["commit-tree", &tree, "-m", "x"]);
        std::fs::create_dir_all(bare.join("refs/tags")).unwrap();
        for n in 0..LOOSE_TAGS {
            std::fs::write(bare.join(format!("refs/tags/v{n}")), format!("{commit}\n")).unwrap();
        }
        bare
    }

    #[tokio::test]
    async fn tags_are_not_packed_while_a_ref_of_the_repository_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let git = GitRepositories::new(GitOptions::new(dir.path().join("data"), "/no/program")).unwrap();
        let (one, other) = (with_tags(&dir.path().join("one.git")), with_tags(&dir.path().join("other.git")));
        let lock = git.ref_lock(&one);
        let written = lock.lock().await;
        let mut packing = Box::pin(git.pack_tags(&one));
        // The other repository's are packed three times over, while this one's wait.
        for _ in 0..3 {
            tokio::select! {
                biased;
                _ = &mut packing => panic!("packed while a ref was being written"),
                packed = git.pack_tags(&other) => packed.unwrap(),
            }
            assert_eq!(places(&other).1, 0);
            with_tags(&other);
        }
        assert_eq!(places(&one).1, LOOSE_TAGS);
        drop(written);
        packing.await.unwrap();
        assert_eq!(places(&one).1, 0, "all stand in one file");
    }

    #[test]
    fn a_tag_in_a_directory_of_tags_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let tags = dir.path().join("refs/tags/release");
        std::fs::create_dir_all(&tags).expect("made");
        std::fs::write(tags.join("1"), "").expect("written");
        // A moment that no write of today can have.
        let old = std::fs::File::open(&tags).expect("opened");
        old.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1)).expect("set");
        let above = std::fs::File::open(dir.path().join("refs/tags")).expect("opened");
        above.set_modified(SystemTime::UNIX_EPOCH).expect("set");
        let before = written(dir.path());
        std::fs::write(tags.join("2"), "").expect("written");
        assert_eq!(modified(&dir.path().join("refs/tags")), SystemTime::UNIX_EPOCH, "it shows nothing of it");
        assert_ne!(written(dir.path()), before);
        assert_eq!(places(dir.path()).1, 2);
    }

    #[test]
    fn tags_stand_in_the_order_of_their_names_with_what_they_point_to() {
        let text = "3 refs/tags/v2\n^4\n1 refs/tags/v1\n2 refs/tags/v10\n^5\n";
        assert_eq!(in_order(text), "1 refs/tags/v1\n2 refs/tags/v10\n^5\n3 refs/tags/v2\n^4\n");
    }
}
