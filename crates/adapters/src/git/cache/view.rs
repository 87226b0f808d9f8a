//! A git directory for one call to a remote: the objects of a bare repository, and of its refs only the branches and
//! tags of the remote. With its own refs, git would read every ref of every agent that ever ran for each fetch and push.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;

use crate::bounded_file;
use crate::git::repositories::GitRepositories;
use crate::git::{bare_repository, loose_refs, private_files, ref_files};

/// Most branches that a fetch names as what is there already; more would only cost.
const HAVES: usize = 32;
/// Age from which a directory of this kind was left by a server that is gone: no call takes as long.
const LEFT: Duration = Duration::from_secs(3600);

/// The directory; removed with the value.
pub(crate) struct View {
    pub(crate) dir: PathBuf,
    /// The object directory of the bare repository.
    pub(crate) objects: PathBuf,
}

impl View {
    /// Makes one in `place` for a bare repository.
    fn new(place: &Path, bare: &Path) -> io::Result<Self> {
        let view = Self {
            dir: place.join(uuid::Uuid::new_v4().simple().to_string()),
            objects: bare.join("objects"),
        };
        let branches = loose_refs::branches(bare);
        let haves: Vec<CommitId> =
            branches.iter().filter_map(|name| ref_files::read_ref(bare, name)).take(HAVES).collect();
        let sha256 = bounded_file::read_text(&bare.join("config"), limits::MARKER_BYTES)?
            .contains("objectFormat = sha256");
        bare_repository::skeleton(&view.dir, true, sha256, "")?;
        // Tags that a fetch brings along land where the others are.
        let tags = bare.join("refs/tags");
        private_files::private_dir(&tags)?;
        std::os::unix::fs::symlink(&tags, view.dir.join("refs/tags"))?;
        let mut packed = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for (number, commit) in haves.iter().enumerate() {
            packed.push_str(&format!("{commit} refs/haves/{number:02}\n"));
        }
        let known = bounded_file::read(&bare.join("packed-refs"), limits::GIT_FILE_BYTES).unwrap_or_default();
        fs::write(view.dir.join("packed-refs"), [packed.as_bytes(), &tags_of(&known)].concat())?;
        Ok(view)
    }

    /// Returns the directory and where it has its objects, for a call that is to go through it.
    pub(crate) fn places(&self) -> (&Path, &Path) {
        (&self.dir, &self.objects)
    }

    /// Reads a ref that a fetch wrote.
    pub(crate) fn tip(&self, name: &str) -> Option<CommitId> {
        ref_files::read_ref(&self.dir, name)
    }
}

/// Returns the lines of the tags, each with what it points to: a fetch must not ask for what is there.
fn tags_of(packed: &[u8]) -> Vec<u8> {
    let mut is_tag = false;
    let lines = packed.split_inclusive(|byte| *byte == b'\n').filter(|line| {
        if !line.starts_with(b"^") {
            is_tag = line.windows(11).any(|part| part == b" refs/tags/");
        }
        is_tag
    });
    lines.collect::<Vec<_>>().concat()
}

impl Drop for View {
    fn drop(&mut self) {
        // One that stays is small, and the next start deletes it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl GitRepositories {
    pub(crate) fn view(&self, bare: &Path) -> io::Result<View> {
        bounded_file::put_aside_unless_directory(&self.views())?;
        View::new(&self.views(), bare)
    }

    fn views(&self) -> PathBuf {
        self.layout.data.join("git/views")
    }

    /// Removes what a server that was killed left of these.
    pub(crate) fn clear_views(&self) {
        for entry in fs::read_dir(self.views()).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > LEFT) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::bare_repository;

    #[test]
    fn a_view_has_the_branches_and_nothing_of_the_agents_and_goes_with_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let bare = dir.path().join("x.git");
        bare_repository::ensure(&bare, false).unwrap();
        let commit: CommitId = "a".repeat(40).parse().unwrap();
        ref_files::write_ref(&bare, "refs/heads/deep/main", &commit).unwrap();
        ref_files::write_ref(&bare, "refs/agents/someone/head", &commit).unwrap();
        let view = View::new(&dir.path().join("views"), &bare).unwrap();
        let packed = fs::read_to_string(view.dir.join("packed-refs")).unwrap();
        assert_eq!(packed.lines().skip(1).collect::<Vec<_>>(), [format!("{commit} refs/haves/00")]);
        let path = view.dir.clone();
        drop(view);
        assert!(!path.exists());
    }
}
